//! What the control plane tells beside its answer: for people on stderr or beside a row. Programs find it in the document.

use proto::v1;

use crate::command::Session;
use crate::names::short;
use crate::output::printable;
use crate::time;

/// Tells people, on stderr: what was asked for is done all the same.
pub(super) fn tell(session: &Session, attempt: &v1::Attempt) {
    if session.printer.is_json() {
        return;
    }
    for warning in &attempt.warnings {
        eprintln!("warning: {}: {}", short(&attempt.executor), sentence(warning));
    }
}

/// What stands beside a target in the table. A control plane that is older than this program says only that it is held.
pub(super) fn note(target: &v1::UpgradeTarget) -> String {
    if !target.blocked_message.is_empty() {
        return target.blocked_message.clone();
    }
    match (target.warnings.is_empty(), target.held) {
        (true, true) => "held: rolled back or refused here before".to_owned(),
        (true, false) => String::new(),
        (false, _) => target.warnings.iter().map(sentence).collect::<Vec<_>>().join("; "),
    }
}

/// Below the facts of an attempt.
pub(super) fn lines(attempt: &v1::Attempt) -> String {
    let told = attempt.warnings.iter().map(|warning| format!("\n  ! {}", sentence(warning)));
    let lines: String = told.collect();
    if lines.is_empty() { lines } else { format!("\ntold when it was asked for:{lines}") }
}

fn sentence(warning: &v1::UpgradeWarning) -> String {
    let when = warning.time.as_ref().map(|time| format!(" ({})", time::stamp(Some(time)))).unwrap_or_default();
    printable(&format!("{} [{}]{when}", warning.message, warning.code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(code: &str, message: &str) -> v1::UpgradeWarning {
        v1::UpgradeWarning { code: code.to_owned(), message: message.to_owned(), ..v1::UpgradeWarning::default() }
    }

    #[test]
    fn a_code_that_this_program_does_not_know_is_shown() {
        let target = v1::UpgradeTarget {
            allowed_as_direct_target: true,
            warnings: vec![warning("NOT_YET_KNOWN", "think twice"), warning("HELD_BEFORE", "it is held")],
            ..v1::UpgradeTarget::default()
        };
        assert_eq!(note(&target), "think twice [NOT_YET_KNOWN]; it is held [HELD_BEFORE]");
    }

    #[test]
    fn what_blocks_a_target_comes_before_what_speaks_against_it() {
        let blocked = v1::UpgradeTarget {
            blocked_message: "requires upgrade to 2.x first".to_owned(),
            warnings: vec![warning("HELD_BEFORE", "it is held")],
            ..v1::UpgradeTarget::default()
        };
        assert_eq!(note(&blocked), "requires upgrade to 2.x first");
        let older = v1::UpgradeTarget { held: true, ..v1::UpgradeTarget::default() };
        assert!(note(&older).starts_with("held"));
    }

    #[test]
    fn an_attempt_that_nothing_spoke_against_has_no_lines() {
        let told = v1::Attempt { warnings: vec![warning("HELD_BEFORE", "a\u{1b}[2Jb")], ..v1::Attempt::default() };
        assert_eq!(lines(&told), "\ntold when it was asked for:\n  ! a\u{fffd}[2Jb [HELD_BEFORE]");
        assert_eq!(lines(&v1::Attempt::default()), "");
    }
}
