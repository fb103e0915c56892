//! Roles: what the bearer of a token may do. In an organization: owner, admin (may deploy), member (may look); for the
//! installation: publisher (release catalog) and installation admin.

use crate::id::OrganizationId;

/// What a token says its bearer is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Manages an organization's tokens, and all an admin may.
    Owner(OrganizationId),
    /// May deploy in an organization.
    Admin(OrganizationId),
    /// May look at an organization.
    Member(OrganizationId),
    /// Changes the release catalog.
    Publisher,
    /// Creates organizations and installation tokens.
    InstallationAdmin,
}

/// What one RPC demands of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Demand {
    /// Any valid token.
    AnyToken,
    /// To look at an organization: member, admin, owner.
    Look,
    /// To deploy in an organization: admin, owner.
    Deploy,
    /// To manage an organization's tokens: owner.
    Own,
    /// To change the release catalog.
    Publish,
    /// To manage the installation.
    Install,
}

impl Role {
    /// Whether this role meets `demand` in `organization` (the one the request names; none for the catalog and the installation).
    #[must_use]
    pub fn meets(&self, demand: Demand, organization: Option<&OrganizationId>) -> bool {
        let within = |own: &OrganizationId| organization.is_some_and(|asked| asked == own);
        match demand {
            Demand::AnyToken => true,
            Demand::Look => {
                matches!(self, Self::Owner(own) | Self::Admin(own) | Self::Member(own) if within(own))
            }
            Demand::Deploy => matches!(self, Self::Owner(own) | Self::Admin(own) if within(own)),
            Demand::Own => matches!(self, Self::Owner(own) if within(own)) || *self == Self::InstallationAdmin,
            Demand::Publish => *self == Self::Publisher,
            Demand::Install => *self == Self::InstallationAdmin,
        }
    }

    /// The organization it is a role in.
    #[must_use]
    pub const fn organization(&self) -> Option<&OrganizationId> {
        match self {
            Self::Owner(own) | Self::Admin(own) | Self::Member(own) => Some(own),
            Self::Publisher | Self::InstallationAdmin => None,
        }
    }

    /// The role's name without its organization, as in SQL, flags and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Owner(_) => "owner",
            Self::Admin(_) => "admin",
            Self::Member(_) => "member",
            Self::Publisher => "publisher",
            Self::InstallationAdmin => "installation_admin",
        }
    }

    /// From a name and the organization it belongs to.
    #[must_use]
    pub fn parse(name: &str, organization: Option<OrganizationId>) -> Option<Self> {
        match (name, organization) {
            ("owner", Some(own)) => Some(Self::Owner(own)),
            ("admin", Some(own)) => Some(Self::Admin(own)),
            ("member", Some(own)) => Some(Self::Member(own)),
            ("publisher", None) => Some(Self::Publisher),
            ("installation_admin", None) => Some(Self::InstallationAdmin),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_end_at_their_organization() {
        let acme = OrganizationId::new("acme").expect("a label");
        let other = OrganizationId::new("other").expect("a label");
        assert!(Role::Member(acme.clone()).meets(Demand::Look, Some(&acme)));
        assert!(!Role::Member(acme.clone()).meets(Demand::Deploy, Some(&acme)));
        assert!(Role::Admin(acme.clone()).meets(Demand::Deploy, Some(&acme)));
        assert!(!Role::Admin(acme.clone()).meets(Demand::Own, Some(&acme)));
        assert!(!Role::Owner(acme.clone()).meets(Demand::Look, Some(&other)));
        assert!(!Role::Owner(acme).meets(Demand::Publish, None));
        assert!(!Role::Publisher.meets(Demand::Deploy, Some(&other)));
        assert!(!Role::InstallationAdmin.meets(Demand::Deploy, Some(&other)));
    }
}
