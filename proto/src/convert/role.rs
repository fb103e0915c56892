//! Roles. The organization travels beside the role, in the token's name.

use domain::{OrganizationId, Role};

use crate::convert::Error;
use crate::v1;

impl From<&Role> for v1::Role {
    fn from(role: &Role) -> Self {
        match role {
            Role::Owner(_) => Self::Owner,
            Role::Admin(_) => Self::Admin,
            Role::Member(_) => Self::Member,
            Role::Publisher => Self::Publisher,
            Role::InstallationAdmin => Self::InstallationAdmin,
        }
    }
}

/// A role in `organization`, or of the installation when there is none.
///
/// # Errors
/// [`Error`] when it is not set, not known, or does not belong where it is asked for.
pub fn role(field: &'static str, value: i32, organization: Option<OrganizationId>) -> Result<Role, Error> {
    let refuse = |rule: &str| Error::new(field, rule, &value.to_string());
    match (v1::Role::try_from(value), organization) {
        (Ok(v1::Role::Owner), Some(organization)) => Ok(Role::Owner(organization)),
        (Ok(v1::Role::Admin), Some(organization)) => Ok(Role::Admin(organization)),
        (Ok(v1::Role::Member), Some(organization)) => Ok(Role::Member(organization)),
        (Ok(v1::Role::Publisher), None) => Ok(Role::Publisher),
        (Ok(v1::Role::InstallationAdmin), None) => Ok(Role::InstallationAdmin),
        (Ok(v1::Role::Unspecified), _) => Err(Error::missing(field)),
        (Ok(v1::Role::Owner | v1::Role::Admin | v1::Role::Member), None) => {
            Err(refuse("is a role in an organization; name the organization as parent"))
        }
        (Ok(v1::Role::Publisher | v1::Role::InstallationAdmin), Some(_)) => {
            Err(refuse("is a role of the installation; leave parent empty"))
        }
        (Err(_), _) => Err(refuse("is not a role that this version knows")),
    }
}
