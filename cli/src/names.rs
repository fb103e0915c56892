//! Short names on the command line: `web-1` with an organization is `organizations/acme/executors/web-1`.

use crate::error::Error;

/// Fills short names up with the organization that was given.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    organization: Option<String>,
}

impl Names {
    pub(crate) const fn new(organization: Option<String>) -> Self {
        Self { organization }
    }

    /// `organizations/{organization}`.
    pub(crate) fn parent(&self) -> Result<String, Error> {
        match &self.organization {
            Some(name) if name.starts_with("organizations/") => Ok(name.clone()),
            Some(id) => Ok(format!("organizations/{id}")),
            None => Err(Error::Config(
                "no organization: give --organization, set NOVACULA_ORGANIZATION, or use a context that has one"
                    .to_owned(),
            )),
        }
    }

    /// The organization's name when one was given; empty for the installation.
    pub(crate) fn parent_or_installation(&self) -> Result<String, Error> {
        if self.organization.is_some() { self.parent() } else { Ok(String::new()) }
    }

    /// A full name of `collection`, from a full name or an id.
    pub(crate) fn in_organization(&self, collection: &str, name: &str) -> Result<String, Error> {
        if name.contains('/') { Ok(name.to_owned()) } else { Ok(format!("{}/{collection}/{name}", self.parent()?)) }
    }

    /// `organizations/{organization}/executors/{executor}`.
    pub(crate) fn executor(&self, name: &str) -> Result<String, Error> {
        self.in_organization("executors", name)
    }

    /// `releases/agent-1.2.0`, from that or `agent-1.2.0`.
    pub(crate) fn release(name: &str) -> String {
        if name.starts_with("releases/") { name.to_owned() } else { format!("releases/{name}") }
    }

    /// A token's name: in the organization when one was given, else the installation's.
    pub(crate) fn token(&self, name: &str) -> Result<String, Error> {
        if name.contains('/') {
            return Ok(name.to_owned());
        }
        match self.organization {
            Some(_) => self.in_organization("tokens", name),
            None => Ok(format!("tokens/{name}")),
        }
    }
}

/// The last part of a resource name.
pub(crate) fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_filled_up_and_full_ones_kept() {
        let names = Names::new(Some("acme".to_owned()));
        assert_eq!(names.executor("web-1").expect("fills up"), "organizations/acme/executors/web-1");
        let full = "organizations/other/executors/web-1";
        assert_eq!(names.executor(full).expect("keeps"), full);
        assert_eq!(Names::release("agent-1.2.0"), "releases/agent-1.2.0");
        assert_eq!(Names::new(None).token("t1").expect("installation"), "tokens/t1");
    }

    #[test]
    fn a_missing_organization_says_how_to_give_one() {
        let error = Names::new(None).executor("web-1").expect_err("no organization");
        assert!(error.to_string().contains("--organization"));
        assert_eq!(error.exit_code(), 78);
    }
}
