//! Tokens as rows for people. Pure.

use domain::sign_in::SignIn;
use prost_types::Timestamp;
use proto::v1;

use crate::web::show::{self, At};

/// A join token.
#[derive(Debug)]
pub struct JoinRow {
    /// `organizations/acme/joinTokens/…`.
    pub name: String,
    /// Its id.
    pub id: String,
    /// For whom.
    pub executor: String,
    /// Whether it may take the name over.
    pub replace: bool,
    /// `1 of 5`.
    pub uses: String,
    /// When it was made.
    pub created: At,
    /// When it ends.
    pub expires: At,
    /// `good`, or why not.
    pub state: &'static str,
    /// Whether it still lets somebody in.
    pub is_live: bool,
}

/// A bearer token.
#[derive(Debug)]
pub struct TokenRow {
    /// `organizations/acme/tokens/…`.
    pub name: String,
    /// Its id.
    pub id: String,
    /// `owner`.
    pub role: String,
    /// For people.
    pub display_name: String,
    /// Of a browser's session, what it was signed in with: `token t1`, or the subject and issuer of an identity.
    pub signed_in_by: String,
    /// When it was made.
    pub created: At,
    /// When it ends.
    pub expires: At,
    /// `good`, or why not.
    pub state: &'static str,
    /// Whether it counts.
    pub is_live: bool,
    /// Whether a browser holds it.
    pub is_browser: bool,
    /// Whether it is the reader's own session.
    pub is_own: bool,
}

/// A join token's row.
#[must_use]
pub fn join_row(token: v1::JoinToken, now: Timestamp) -> JoinRow {
    let state = match state(token.revoke_time.as_ref(), token.expire_time.as_ref(), now) {
        "good" if token.uses >= token.max_uses => "used up",
        state => state,
    };
    JoinRow {
        id: show::last(&token.name).to_owned(),
        name: token.name,
        executor: token.executor_id,
        replace: token.replace,
        uses: format!("{} of {}", token.uses, token.max_uses),
        created: show::at(token.create_time.as_ref()),
        expires: show::at(token.expire_time.as_ref()),
        state,
        is_live: state == "good",
    }
}

/// A bearer token's row, for a reader whose session is `own`.
#[must_use]
pub fn token_row(token: v1::Token, own: &str, now: Timestamp) -> TokenRow {
    let state = state(token.revoke_time.as_ref(), token.expire_time.as_ref(), now);
    let role = role_word(token.role());
    TokenRow {
        id: show::last(&token.name).to_owned(),
        is_own: token.name == own,
        name: token.name,
        role,
        display_name: token.display_name,
        is_browser: !token.signed_in_by.is_empty(),
        signed_in_by: match token.signed_in_by.parse() {
            Ok(SignIn::Token(id)) => format!("token {id}"),
            Ok(SignIn::Identity(identity)) => format!("{} of {}", identity.subject(), identity.issuer()),
            Err(_) => String::new(),
        },
        created: show::at(token.create_time.as_ref()),
        expires: show::at(token.expire_time.as_ref()),
        state,
        is_live: state == "good",
    }
}

/// `installation admin`.
#[must_use]
pub fn role_word(role: v1::Role) -> String {
    show::word(role.as_str_name())
}

/// A role by its word in a form; what is none is unspecified.
#[must_use]
pub fn role(word: &str) -> v1::Role {
    let known = [v1::Role::Owner, v1::Role::Admin, v1::Role::Member, v1::Role::Publisher, v1::Role::InstallationAdmin];
    known.into_iter().find(|role| role_word(*role) == word).unwrap_or_default()
}

fn state(revoked: Option<&Timestamp>, expires: Option<&Timestamp>, now: Timestamp) -> &'static str {
    let is_over = expires.is_some_and(|expires| (expires.seconds, expires.nanos) <= (now.seconds, now.nanos));
    match (revoked, is_over) {
        (Some(_), _) => "revoked",
        (None, true) => "expired",
        (None, false) => "good",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    #[test]
    fn a_join_token_is_good_until_it_is_used_up_expires_or_is_revoked() {
        let now = Timestamp { seconds: 100, nanos: 0 };
        let token = v1::JoinToken { max_uses: 2, uses: 1, expire_time: at(101), ..v1::JoinToken::default() };
        let said = |token: &v1::JoinToken| join_row(token.clone(), now).state;
        assert_eq!(said(&token), "good");
        assert_eq!(said(&v1::JoinToken { uses: 2, ..token.clone() }), "used up");
        assert_eq!(said(&v1::JoinToken { expire_time: at(100), ..token.clone() }), "expired");
        assert_eq!(said(&v1::JoinToken { revoke_time: at(1), expire_time: at(1), ..token }), "revoked");
    }

    #[test]
    fn a_browser_s_session_is_known_and_so_is_the_reader_s_own() {
        let now = Timestamp { seconds: 100, nanos: 0 };
        let token = v1::Token {
            name: "tokens/s1".to_owned(),
            display_name: "for ann".to_owned(),
            signed_in_by: "token:t1".to_owned(),
            expire_time: at(101),
            ..v1::Token::default()
        };
        let row = token_row(token.clone(), "tokens/s1", now);
        assert!(row.is_browser && row.is_own && row.is_live);
        assert_eq!((row.display_name.as_str(), row.signed_in_by.as_str()), ("for ann", "token t1"));
        assert!(!token_row(token, "tokens/s2", now).is_own);
    }

    #[test]
    fn roles_have_the_same_word_both_ways() {
        for word in ["owner", "admin", "member", "publisher", "installation admin"] {
            assert_eq!(role_word(role(word)), word);
        }
        assert_eq!(role("root"), v1::Role::Unspecified);
    }
}
