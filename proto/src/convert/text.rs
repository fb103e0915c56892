//! Text that strangers wrote, made fit for terminals, logs and pages.
//!
//! Whole ANSI control sequences are left out, since they carry colours and worse but no words. Any other control
//! character, and the characters that reorder or hide what stands beside them, become their `\u{…}` escapes: nothing is
//! lost that a person may need, and nothing moves a cursor.

use domain::attempt::outcome::LOG_TAIL_MAX_BYTES;

/// Longest message kept, in bytes: a few sentences.
pub const MESSAGE_MAX_BYTES: usize = 4 * 1024;

/// Longest sentence kept of what an executor waits out, in bytes: it comes again with each progress.
pub const WAITING_MAX_BYTES: usize = 1024;

/// Longest name or note kept, in bytes.
pub const NOTE_MAX_BYTES: usize = 256;

/// One printable line of at most `max_bytes`, cut at a character's edge.
#[must_use]
pub fn line(text: &str, max_bytes: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max_bytes));
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if let Some(after) = past_sequence(character, rest.as_str()) {
            rest = after.chars();
            continue;
        }
        let before = out.len();
        push(&mut out, character);
        if out.len() > max_bytes {
            out.truncate(before);
            break;
        }
    }
    out
}

/// The last lines of a log, printable, at most [`LOG_TAIL_MAX_BYTES`] in all (line ends counted): the oldest go first.
#[must_use]
pub fn log_tail<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    // Not `str::lines`, which takes an empty line for none.
    let lines: Vec<&str> =
        lines.into_iter().flat_map(|text| text.strip_suffix('\n').unwrap_or(text).split('\n')).collect();
    let mut kept = Vec::new();
    let mut left = LOG_TAIL_MAX_BYTES;
    for text in lines.into_iter().rev() {
        let text = line(text, LOG_TAIL_MAX_BYTES - 1);
        match left.checked_sub(text.len() + 1) {
            Some(remaining) => left = remaining,
            None => break,
        }
        kept.push(text);
    }
    kept.reverse();
    kept
}

fn push(out: &mut String, character: char) {
    match character {
        '\t' => out.push('\t'),
        _ if character.is_control() || is_deceptive(character) => out.extend(character.escape_unicode()),
        _ => out.push(character),
    }
}

/// Bidirectional controls (Trojan Source), zero-width characters, line and paragraph separators, and the byte order mark.
const fn is_deceptive(character: char) -> bool {
    matches!(character, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// When `character` begins a control sequence that is complete within `rest`: what follows the sequence.
fn past_sequence(character: char, rest: &str) -> Option<&str> {
    match character {
        '\u{1b}' => {
            let mut next = rest.chars();
            match next.next()? {
                '[' => past_csi(next.as_str()),
                ']' | 'P' | 'X' | '^' | '_' => past_string(next.as_str()),
                _ => None,
            }
        }
        '\u{9b}' => past_csi(rest),
        '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => past_string(rest),
        _ => None,
    }
}

/// ECMA-48 control sequence: parameter bytes, intermediate bytes, one final byte.
fn past_csi(rest: &str) -> Option<&str> {
    let end = rest.find(|c: char| !matches!(c, '\u{20}'..='\u{3f}'))?;
    let last = rest[end..].chars().next()?;
    matches!(last, '\u{40}'..='\u{7e}').then(|| &rest[end + last.len_utf8()..])
}

/// ECMA-48 control string: up to BEL or ST.
fn past_string(rest: &str) -> Option<&str> {
    let end = rest.find(|c: char| c.is_control())?;
    let tail = &rest[end..];
    tail.strip_prefix('\u{7}').or_else(|| tail.strip_prefix("\u{1b}\\")).or_else(|| tail.strip_prefix('\u{9c}'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn terminal_escapes_never_pass_the_border() {
        for (written, shown) in [
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("\u{1b}]52;c;aGk=\u{1b}\\after", "after"),
            ("\u{9b}2Jgone", "gone"),
            ("half \u{1b}[31", "half \\u{1b}[31"),
            ("\u{1b}c reset", "\\u{1b}c reset"),
            ("one\r\ntwo", "one\\u{d}\\u{a}two"),
            ("bell\u{7} nul\0", "bell\\u{7} nul\\u{0}"),
            ("safe\u{202e}exe.txt", "safe\\u{202e}exe.txt"),
            ("tab\tand umlaut ä stay", "tab\tand umlaut ä stay"),
        ] {
            assert_eq!(line(written, 1_000), shown, "{written:?}");
        }
    }

    #[test]
    fn a_log_tail_keeps_the_newest_64_kib() {
        let lines: Vec<String> = (0..100_000).map(|n| format!("line {n}")).collect();
        let tail = log_tail(lines.iter().map(String::as_str));
        assert_eq!(tail.last().map(String::as_str), Some("line 99999"));
        let bytes: usize = tail.iter().map(|line| line.len() + 1).sum();
        assert!((LOG_TAIL_MAX_BYTES - 32..=LOG_TAIL_MAX_BYTES).contains(&bytes), "{bytes}");
        let long = "x".repeat(10 * LOG_TAIL_MAX_BYTES);
        assert_eq!(log_tail([long.as_str()]).iter().map(String::len).sum::<usize>(), LOG_TAIL_MAX_BYTES - 1);
        assert_eq!(log_tail(["a\nb", "c"]), ["a", "b", "c"]);
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_bounded_printable_line(text in any::<String>(), max in 0usize..200) {
            let shown = line(&text, max);
            prop_assert!(shown.len() <= max);
            prop_assert!(shown.chars().all(|c| c == '\t' || !(c.is_control() || is_deceptive(c))));
            prop_assert_eq!(line(&shown, max), shown);
        }
    }
}
