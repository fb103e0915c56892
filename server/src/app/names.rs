//! What actors are called, for people: a row keeps an id, and nobody is known by one.
//!
//! Whoever may look at a row hears the names of the row's own organization, of revoked tokens too: a log of who did what
//! without the who is none. What tokens of the installation and of another organization are called is told to installation
//! admins only, who may list them.

use std::collections::{BTreeMap, BTreeSet};

use domain::role::Demand;
use domain::{Actor, ExecutorUid, OrganizationId, TokenId};

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::error::Error;

/// Names of actors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    tokens: BTreeMap<TokenId, String>,
    executors: BTreeMap<ExecutorUid, String>,
}

/// The actor of a row of the feed. None: it is no token and no executor, and its text is its name.
#[must_use]
pub fn actor(text: &str) -> Option<Actor> {
    match text.split_once('/')? {
        ("tokens", id) => id.parse().ok().map(Actor::Token),
        ("executors", uid) => uid.parse().ok().map(Actor::Executor),
        _ => None,
    }
}

// === impl Names ===

impl Names {
    /// What `actor` is called; empty: it is not known, or not told.
    #[must_use]
    pub fn of(&self, actor: &Actor) -> String {
        let name = match actor {
            Actor::Token(id) => self.tokens.get(id),
            Actor::Executor(uid) => self.executors.get(uid),
            Actor::System(_) | Actor::Console => None,
        };
        name.cloned().unwrap_or_default()
    }
}

impl App {
    /// What these actors are called who did something in `place` (none: the installation); one look for any number of them.
    ///
    /// # Errors
    /// The caller may not look at `place`; the store.
    pub async fn names(
        &self,
        caller: &Caller,
        place: Option<&OrganizationId>,
        actors: impl IntoIterator<Item = Actor>,
    ) -> Result<Names, Error> {
        caller.authorize(place)?;
        let (mut tokens, mut executors) = (BTreeSet::new(), BTreeSet::new());
        for actor in actors {
            match actor {
                Actor::Token(id) => drop(tokens.insert(id)),
                Actor::Executor(uid) => drop(executors.insert(uid)),
                Actor::System(_) | Actor::Console => {}
            }
        }
        let told = |own: Option<&OrganizationId>| own == place || caller.role.meets(Demand::Install, None);
        let mut names = Names::default();
        if !tokens.is_empty() {
            let asked: Vec<TokenId> = tokens.into_iter().collect();
            let found = self.store.token_list_by_id(&asked).await?.into_iter();
            let found = found.filter(|record| told(record.role.organization()));
            names.tokens = found.map(|record| (record.id, record.display_name)).collect();
        }
        if !executors.is_empty() {
            let asked: Vec<ExecutorUid> = executors.into_iter().collect();
            let found = self.store.executor_list_by_uid(&asked).await?.into_iter();
            let found = found.filter(|executor| told(Some(&executor.name.organization)));
            names.executors = found.map(|executor| (executor.uid, executor.name.executor.to_string())).collect();
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_an_id_is_looked_up_and_what_has_a_name_is_not() {
        let token = Actor::Token(TokenId::new("t1").expect("a label"));
        assert_eq!(actor("tokens/t1"), Some(token.clone()));
        assert!(matches!(actor("executors/0adc412d-dd95-41c9-b56f-e855b89ea6b3"), Some(Actor::Executor(_))));
        for named in ["console", "system/expiry", "tokens/", "executors/web-1"] {
            assert_eq!(actor(named), None, "{named}");
        }
        let names =
            Names { tokens: [(TokenId::new("t1").expect("a label"), "Kim".to_owned())].into(), ..Names::default() };
        assert_eq!((names.of(&token).as_str(), names.of(&Actor::Console).as_str()), ("Kim", ""));
    }
}
