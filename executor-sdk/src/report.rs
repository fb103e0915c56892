//! Errors as one line for people: what each level was doing, down to the cause.

use std::error::Error;

/// `outer: inner: cause`. Levels that only repeat the one above are left out.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    let mut next = error.source();
    while let Some(inner) = next {
        let line = inner.to_string();
        if line != last {
            text.push_str(": ");
            text.push_str(&line);
        }
        last = line;
        next = inner.source();
    }
    text
}
