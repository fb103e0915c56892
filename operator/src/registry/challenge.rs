//! What a registry asks for with 401: `WWW-Authenticate` (RFC 9110, section 11.6.1), read without believing anything in it.

/// Longest header looked at, in bytes: honest ones are under 500.
const HEADER_MAX: usize = 8 << 10;

/// How a registry wants to be convinced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// By a token of another service.
    Bearer(Bearer),
    /// By user name and password.
    Basic,
}

/// Where the token is had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bearer {
    pub(super) realm: String,
    pub(super) service: Option<String>,
    pub(super) scope: Option<String>,
}

/// The challenge that we can answer, of any number of headers; a token is preferred to a password.
pub(super) fn answerable<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for (scheme, parameters) in headers.flat_map(parse) {
        let value = |name: &str| {
            parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
        };
        if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = value("realm")
        {
            return Some(Challenge::Bearer(Bearer { realm, service: value("service"), scope: value("scope") }));
        }
        if scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        }
    }
    basic
}

/// Schemes with their parameters. A word before `=` is a parameter, any other a scheme; what is neither is passed over.
fn parse(header: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut challenges: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = header.get(..HEADER_MAX.min(header.len())).unwrap_or("");
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=', '"']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            // A stray `=` or quote: one character on, so that this ends.
            let mut left = rest.chars();
            if left.next().is_none() {
                return challenges;
            }
            rest = left.as_str();
            continue;
        }
        match (after.trim_start_matches([' ', '\t']).strip_prefix('='), challenges.last_mut()) {
            (Some(value), Some((_, parameters))) => {
                let (value, left) = parameter(value.trim_start_matches([' ', '\t']));
                parameters.push((word.to_owned(), value));
                rest = left;
            }
            (Some(left), None) => rest = left,
            (None, _) => {
                challenges.push((word.to_owned(), Vec::new()));
                rest = after;
            }
        }
    }
}

/// A token, or a quoted string with its escapes; and what follows.
fn parameter(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find([' ', '\t', ',']).unwrap_or(text.len()));
        return (value.to_owned(), rest);
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match (escaped, c) {
            (false, '"') => return (value, &quoted[at + 1..]),
            (false, '\\') => escaped = true,
            (_, c) => {
                value.push(c);
                escaped = false;
            }
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(header: &str, expected: Option<(&str, Option<&str>, Option<&str>)>) {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let expected = expected.map(|(realm, service, scope)| {
            Challenge::Bearer(Bearer { realm: realm.to_owned(), service: text(service), scope: text(scope) })
        });
        assert_eq!(answerable(std::iter::once(header)), expected, "{header}");
    }

    #[test]
    fn what_registries_ask_for_is_understood() {
        check(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull""#,
            Some(("https://auth.docker.io/token", Some("registry.docker.io"), Some("repository:a/b:pull"))),
        );
        check(r#"bearer  Realm = "https://x/y\"z" , error="invalid_token""#, Some(("https://x/y\"z", None, None)));
        check("Basic realm=registry, Bearer realm=https://x/token", Some(("https://x/token", None, None)));
        check(
            r#"Negotiate abc==, Bearer realm="https://x",scope="a,b c=d""#,
            Some(("https://x", None, Some("a,b c=d"))),
        );
        check("Bearer service=x", None);
        check("", None);
        assert_eq!(answerable(["Digest realm=x", r#"Basic realm="x""#].into_iter()), Some(Challenge::Basic));
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_harm(header in "\\PC{0,200}", odd in "[ ,=\"\\\\a]{0,60}") {
            let _ = answerable([header.as_str(), odd.as_str()].into_iter());
        }

        #[test]
        fn quoted_values_come_through_whole(realm in "https://[a-z./]{1,20}", scope in "[ -~]{0,40}") {
            let quoted = scope.replace('\\', "\\\\").replace('"', "\\\"");
            let header = format!("Bearer scope=\"{quoted}\", realm=\"{realm}\"");
            let bearer = Bearer { realm, service: None, scope: Some(scope) };
            prop_assert_eq!(answerable(std::iter::once(header.as_str())), Some(Challenge::Bearer(bearer)));
        }
    }
}
