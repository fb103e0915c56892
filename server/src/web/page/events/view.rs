//! An event as a row for people. Pure.

use proto::v1;

use crate::web::show::{self, At};

/// A row.
#[derive(Debug)]
pub struct Row {
    /// Its number.
    pub sequence: u64,
    /// When.
    pub time: At,
    /// `executor.connected`.
    pub kind: String,
    /// How grave it is, as a class of the style: `bad`, `warn`, or nothing.
    pub class: &'static str,
    /// Who, in short.
    pub actor: String,
    /// Who, whole.
    pub actor_name: String,
    /// To what, in short.
    pub target: String,
    /// To what, whole.
    pub target_name: String,
    /// The target's page; empty: it has none.
    pub href: String,
    /// The facts, by name.
    pub details: Vec<(String, String)>,
}

/// An event's row.
#[must_use]
pub fn row(event: v1::Event) -> Row {
    let mut details: Vec<(String, String)> = event.details.into_iter().collect();
    details.sort();
    Row {
        sequence: event.sequence,
        time: show::at(event.time.as_ref()),
        class: class(&event.r#type, &details),
        kind: event.r#type,
        actor: show::who(&event.actor, &event.actor_display_name),
        actor_name: event.actor,
        target: short(&event.target, &details),
        href: href(&event.target),
        target_name: event.target,
        details,
    }
}

/// What a person looking through the feed should not pass over.
fn class(kind: &str, details: &[(String, String)]) -> &'static str {
    let outcome = details.iter().find(|(name, _)| name == "outcome").map(|(_, value)| value.as_str());
    match (kind, outcome) {
        ("attempt.ended" | "attempt.corrected", Some("rolled_back" | "failed" | "refused"))
        | ("artifact.refused" | "attempt.refused" | "release.yanked" | "executor.duplicated", _) => "bad",
        ("access.denied" | "executor.hold_set" | "attempt.rollback_requested", _)
        | ("attempt.ended" | "attempt.corrected", Some("expired")) => "warn",
        _ => "",
    }
}

/// `web-1`, `token of Kim`, `token 0197…`: what it is called, the last pair of its resource name, or itself.
fn short(name: &str, details: &[(String, String)]) -> String {
    let mut parts = name.rsplit('/');
    let (last, collection) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let noun = match collection {
        "executors" => return last.to_owned(),
        "releases" => return last.to_owned(),
        "tokens" => match details.iter().find(|(name, value)| name == "display_name" && !value.is_empty()) {
            Some((_, called)) => return format!("token of {called}"),
            None => "token",
        },
        "joinTokens" => "join token",
        "attempts" => {
            let executor = parts.next().unwrap_or_default();
            return format!("attempt of {executor}");
        }
        "organizations" => "organization",
        _ => return name.to_owned(),
    };
    format!("{noun} {last}")
}

/// The page of a target that has one.
fn href(target: &str) -> String {
    let parts: Vec<&str> = target.split('/').collect();
    match parts[..] {
        ["releases", _]
        | ["organizations", _, "executors", _]
        | ["organizations", _, "executors", _, "attempts", _] => {
            format!("/{target}")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_lead_to_their_pages() {
        for (name, said, page) in [
            ("organizations/acme/executors/web-1", "web-1", true),
            ("organizations/acme/executors/web-1/attempts/0197", "attempt of web-1", true),
            ("releases/agent-1.2.0", "agent-1.2.0", true),
            ("organizations/acme/tokens/t1", "token t1", false),
            ("organizations/acme/joinTokens/j1", "join token j1", false),
            ("organizations/acme", "organization acme", false),
            ("console", "console", false),
            ("system/expiry", "system/expiry", false),
            ("/novacula.v1.TokenService/CreateToken", "/novacula.v1.TokenService/CreateToken", false),
        ] {
            assert_eq!((short(name, &[]).as_str(), !href(name).is_empty()), (said, page), "{name}");
        }
    }

    #[test]
    fn a_token_is_known_by_whom_it_is_for() {
        let called = |name: &str| short("tokens/t1", &[("display_name".to_owned(), name.to_owned())]);
        assert_eq!((called("Kim").as_str(), called("").as_str()), ("token of Kim", "token t1"));
    }

    #[test]
    fn what_went_wrong_is_marked() {
        let ended = |outcome: &str| class("attempt.ended", &[("outcome".to_owned(), outcome.to_owned())]);
        assert_eq!((ended("rolled_back"), ended("expired"), ended("succeeded")), ("bad", "warn", ""));
        assert_eq!(class("executor.connected", &[]), "");
    }
}
