//! What an executor waits out: said with progress, shown with attempts. Its words are a stranger's.

use domain::attempt::{ErrorCode, Waiting, WaitingSince};

use crate::convert::{field, text};
use crate::v1;

/// From the wire; none: nothing is waited out. An error of a later version is kept as text in the message, in front.
#[must_use]
pub(super) fn waiting(wire: &v1::Waiting) -> Option<Waiting> {
    let message = text::line(&wire.message, text::WAITING_MAX_BYTES);
    match (wire.error_code.as_str(), ErrorCode::parse(&wire.error_code)) {
        ("", _) => None,
        (_, Some(error_code)) => Some(Waiting { error_code, message }),
        (name, None) => {
            let message = format!("({}) {message}", text::line(name, 64));
            let message = text::line(message.trim_end(), text::WAITING_MAX_BYTES);
            Some(Waiting { error_code: ErrorCode::Other, message })
        }
    }
}

impl v1::Waiting {
    /// `REGISTRY_UNREACHABLE: registry r.example cannot be reached`, for people.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self.message.as_str() {
            "" => self.error_code.clone(),
            message => format!("{}: {message}", self.error_code),
        }
    }
}

impl From<&Waiting> for v1::Waiting {
    fn from(waiting: &Waiting) -> Self {
        Self {
            error_code: waiting.error_code.as_str().to_owned(),
            message: text::line(&waiting.message, text::WAITING_MAX_BYTES),
            since_time: None,
        }
    }
}

impl From<&WaitingSince> for v1::Waiting {
    fn from(kept: &WaitingSince) -> Self {
        Self { since_time: Some(field::to_timestamp(kept.since)), ..Self::from(&kept.waiting) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(error_code: &str, message: &str) -> Option<(ErrorCode, String)> {
        let wire = v1::Waiting { error_code: error_code.to_owned(), message: message.to_owned(), since_time: None };
        waiting(&wire).map(|waiting| (waiting.error_code, waiting.message))
    }

    #[test]
    fn a_strangers_words_are_printable_and_bounded() {
        let away = |message: &str| Some((ErrorCode::RegistryUnreachable, message.to_owned()));
        assert_eq!(said("REGISTRY_UNREACHABLE", "\u{1b}[31maway\u{1b}[0m"), away("away"));
        assert_eq!(said("REGISTRY_UNREACHABLE", &"x".repeat(100_000)), away(&"x".repeat(text::WAITING_MAX_BYTES)));
        assert_eq!(said("", "a sentence without an error says nothing"), None);
    }

    #[test]
    fn an_error_of_a_later_version_is_kept_as_text() {
        let other = |message: &str| Some((ErrorCode::Other, message.to_owned()));
        assert_eq!(said("MOON_IN_THE_WAY", "wait"), other("(MOON_IN_THE_WAY) wait"));
        assert_eq!(said("MOON\u{1b}[2J", ""), other("(MOON)"));
        let (_, long) = said(&"Y".repeat(100_000), &"x".repeat(100_000)).expect("something");
        assert_eq!(long.len(), text::WAITING_MAX_BYTES);
    }
}
