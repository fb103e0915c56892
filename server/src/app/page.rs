//! Pages: how many rows, and an opaque token that says where the next page begins.
//!
//! A token is the last key that was seen behind a digest of what was asked (list, parent, filter), in base64url. It is no
//! secret and grants nothing: the key is only a place in a list that the caller is authorized for each time.

use std::fmt::Display;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::app::error::Error;
use crate::tls::authority::sha256;

/// Most rows of one page (API.md).
pub const MAX_SIZE: usize = 1_000;

/// Bytes of the digest: enough that a token of one list is not taken for another's by mistake.
const SCOPE_BYTES: usize = 6;

/// Which page, as it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// At most this many rows; 0: the list's default.
    pub size: i32,
    /// Where it begins, from the page before; empty: at the beginning.
    pub token: String,
}

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page begins; empty: this was the last.
    pub next_page_token: String,
}

/// A page request that was judged.
#[derive(Clone, Debug)]
pub(crate) struct Cut<K> {
    pub(crate) after: Option<K>,
    pub(crate) limit: usize,
    scope: String,
}

// === impl PageRequest ===

impl PageRequest {
    /// Judges size and token for the list that `scope` describes.
    pub(crate) fn judge<K: FromStr>(&self, scope: impl Into<String>, default_size: usize) -> Result<Cut<K>, Error> {
        let limit = match usize::try_from(self.size) {
            Ok(0) => default_size,
            Ok(size) => size.min(MAX_SIZE),
            Err(_) => {
                let rule = format!("{} is negative; ask for 1 to {MAX_SIZE} rows", self.size);
                return Err(Error::field("page_size", rule));
            }
        };
        let scope = scope.into();
        let after = match self.token.as_str() {
            "" => None,
            token => Some(key(token, &scope).ok_or_else(|| {
                let rule = "is not from a page of this list with this filter; begin again without it";
                Error::field("page_token", rule)
            })?),
        };
        Ok(Cut { after, limit, scope })
    }
}

// === impl Cut ===

impl<K> Cut<K> {
    /// One row more than the page has: it tells whether there is a next page.
    pub(crate) const fn one_more(&self) -> usize {
        self.limit + 1
    }

    /// Cuts the rows that were read ([`Self::one_more`] of them) to the page.
    pub(crate) fn page<T, D: Display>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> D) -> Listed<T> {
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let last = rows.last().filter(|_| more);
        let next_page_token = last.map(|row| self.token(key(row))).unwrap_or_default();
        Listed { rows, next_page_token }
    }

    /// The token of a page that ends with `key`.
    pub(crate) fn token(&self, key: impl Display) -> String {
        let mut bytes = scope_digest(&self.scope).to_vec();
        bytes.extend_from_slice(key.to_string().as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

fn key<K: FromStr>(token: &str, scope: &str) -> Option<K> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (digest, key) = bytes.split_at_checked(SCOPE_BYTES)?;
    if digest != scope_digest(scope) {
        return None;
    }
    std::str::from_utf8(key).ok()?.parse().ok()
}

fn scope_digest(scope: &str) -> [u8; SCOPE_BYTES] {
    let digest = sha256(scope.as_bytes());
    let mut bytes = [0; SCOPE_BYTES];
    bytes.copy_from_slice(&digest.as_bytes()[..SCOPE_BYTES]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(size: i32, token: &str) -> PageRequest {
        PageRequest { size, token: token.to_owned() }
    }

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let all: Vec<u64> = (1..=5).collect();
        let mut seen = Vec::new();
        let mut token = String::new();
        loop {
            let cut: Cut<u64> = ask(2, &token).judge("numbers", 100).expect("judged");
            let after = cut.after.unwrap_or(0);
            let rows: Vec<u64> = all.iter().copied().filter(|n| *n > after).collect();
            let page = cut.page(rows.into_iter().take(cut.one_more()).collect(), |n| *n);
            seen.extend(page.rows);
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn a_token_of_another_list_is_refused() {
        let cut: Cut<u64> = ask(2, "").judge("numbers", 100).expect("judged");
        let token = cut.token(7);
        assert_eq!(ask(2, &token).judge::<u64>("numbers", 100).expect("judged").after, Some(7));
        for (scope, token) in [("others", token.as_str()), ("numbers", "garbage!"), ("numbers", "AAAA")] {
            assert!(ask(2, token).judge::<u64>(scope, 100).is_err(), "{scope} {token}");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        let limit = |size| ask(size, "").judge::<u64>("numbers", 50).map(|cut| cut.limit).ok();
        assert_eq!([limit(0), limit(7), limit(5_000), limit(-1)], [Some(50), Some(7), Some(1_000), None]);
    }
}
