//! The authenticated caller of the API listener, and the first line of every use case: may it?

use domain::role::Demand;
use domain::{Actor, OrganizationId, Reason, Refusal, Role, TokenId};

/// Whoever showed a valid bearer token, and what the RPC it calls demands of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its token.
    pub token: TokenId,
    /// What the token says it is.
    pub role: Role,
    /// What this RPC demands: its row in the access table.
    pub demand: Demand,
}

impl Caller {
    /// Whether it may do what it asks in `organization` (the one that the request names; none for the catalog and the installation).
    ///
    /// Looking at the installation itself (its own feed) is for installation admins.
    ///
    /// # Errors
    /// [`Reason::RoleRequired`], with the role it has and what would be enough.
    pub fn authorize(&self, organization: Option<&OrganizationId>) -> Result<(), Refusal> {
        let demand = match (self.demand, organization) {
            (Demand::Look, None) => Demand::Install,
            (demand, _) => demand,
        };
        if self.role.meets(demand, organization) {
            return Ok(());
        }
        let enough = enough(demand);
        let place = organization.map_or_else(|| "the installation".to_owned(), |id| format!("organizations/{id}"));
        let message = format!(
            "this needs {enough} of {place}, and the token's role is {}; ask for a token with that role",
            self.role.as_str()
        );
        let refusal =
            Refusal::new(Reason::RoleRequired, message).with("role", self.role.as_str()).with("required", enough);
        Err(match organization {
            Some(id) => refusal.with("organization", id),
            None => refusal,
        })
    }

    /// It, for the feed.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::Token(self.token.clone())
    }
}

const fn enough(demand: Demand) -> &'static str {
    match demand {
        Demand::AnyToken => "any role",
        Demand::Look => "role member, admin or owner",
        Demand::Deploy => "role admin or owner",
        Demand::Own => "role owner or installation_admin",
        Demand::Publish => "role publisher",
        Demand::Install => "role installation_admin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(role: Role, demand: Demand) -> Caller {
        Caller { token: TokenId::new("t1").expect("a label"), role, demand }
    }

    #[test]
    fn a_member_that_asks_for_a_deploy_is_told_which_role_it_needs() {
        let acme = OrganizationId::new("acme").expect("a label");
        let refusal = caller(Role::Member(acme.clone()), Demand::Deploy).authorize(Some(&acme)).expect_err("refused");
        assert_eq!(refusal.reason, Reason::RoleRequired);
        assert_eq!(
            refusal.values,
            [
                ("role", "member".to_owned()),
                ("required", "role admin or owner".to_owned()),
                ("organization", "acme".to_owned())
            ]
        );
    }

    #[test]
    fn the_installation_is_looked_at_by_its_admins_only() {
        let acme = OrganizationId::new("acme").expect("a label");
        assert!(caller(Role::Owner(acme), Demand::Look).authorize(None).is_err());
        assert!(caller(Role::Publisher, Demand::Look).authorize(None).is_err());
        assert!(caller(Role::InstallationAdmin, Demand::Look).authorize(None).is_ok());
    }
}
