//! Release notes: CommonMark by people, shown as HTML that can do nothing.
//!
//! What the parser tells goes through a list of what is allowed before anything is written: raw HTML becomes the text it is, a link
//! leads to the web or to a mailbox or is only its words, and an image is its words, since loading it would tell who reads. What
//! is left is written by the parser's own writer, which escapes.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

use crate::web::show::Safe;

/// Longest text that is looked at, in bytes; notes are capped below that when they are written.
const MAX: usize = 64 * 1024;

/// Where a link may lead. Everything else, scripts and paths of ours among it, is no link.
const SCHEMES: [&str; 3] = ["https://", "http://", "mailto:"];

/// Notes as HTML.
#[must_use]
pub fn render(text: &str) -> Safe {
    let end = text.floor_char_boundary(MAX);
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut is_link = Vec::new();
    let events = Parser::new_ext(&text[..end], options).filter_map(|event| allowed(event, &mut is_link));
    let mut shown = String::with_capacity(end + end / 2);
    html::push_html(&mut shown, events);
    Safe(shown)
}

/// What becomes of an event; none: nothing. `is_link` says of each open link whether it is one.
fn allowed<'a>(event: Event<'a>, is_link: &mut Vec<bool>) -> Option<Event<'a>> {
    match event {
        Event::Html(raw) | Event::InlineHtml(raw) => Some(Event::Text(raw)),
        Event::Start(Tag::HtmlBlock) | Event::End(TagEnd::HtmlBlock) => None,
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => None,
        Event::Start(Tag::Link { link_type, dest_url, .. }) => {
            let leads = SCHEMES
                .iter()
                .any(|scheme| dest_url.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)));
            is_link.push(leads);
            let tag = Tag::Link { link_type, dest_url, title: "".into(), id: "".into() };
            leads.then_some(Event::Start(tag))
        }
        Event::End(TagEnd::Link) => is_link.pop().unwrap_or(false).then_some(Event::End(TagEnd::Link)),
        // Below the page's own headings.
        Event::Start(Tag::Heading { level, .. }) => {
            let level = lower(level);
            Some(Event::Start(Tag::Heading { level, id: None, classes: Vec::new(), attrs: Vec::new() }))
        }
        Event::End(TagEnd::Heading(level)) => Some(Event::End(TagEnd::Heading(lower(level)))),
        event => Some(event),
    }
}

fn lower(level: HeadingLevel) -> HeadingLevel {
    match level {
        HeadingLevel::H1 => HeadingLevel::H3,
        HeadingLevel::H2 => HeadingLevel::H4,
        HeadingLevel::H3 => HeadingLevel::H5,
        HeadingLevel::H4 | HeadingLevel::H5 | HeadingLevel::H6 => HeadingLevel::H6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_commonmark() {
        let shown = render("# 1.2.0\n\n- **fast**\n- [docs](https://novacula.dev)\n").0;
        assert!(shown.contains("<h3>1.2.0</h3>") && shown.contains("<strong>fast</strong>"), "{shown}");
        assert!(shown.contains("<a href=\"https://novacula.dev\">docs</a>"), "{shown}");
    }

    #[test]
    fn nothing_in_notes_runs() {
        for attack in [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "[x](javascript:alert(1))",
            "[x](data:text/html;base64,PHNjcmlwdD4=)",
            "![x](https://evil.example/pixel.png)",
            "<a href=\"javascript:alert(1)\">x</a>",
            "<svg/onload=alert(1)>",
            "```\n</code></pre><script>alert(1)</script>\n```",
            "<iframe src=//evil.example>",
            "[x](  JaVaScRiPt:alert(1))",
            "[x](/signout)",
            "[x](//evil.example)",
            "<https://a\"onmouseover=alert(1)>",
            "[x](https://a \"\\\" onmouseover=alert(1)\")",
            "[![x](javascript:1)](vbscript:1)",
        ] {
            let shown = render(attack).0;
            for way in [
                "<script",
                "<img",
                "<svg",
                "<iframe",
                "<a href=\"javascript",
                "<a href=\"data",
                "<a href=\"JaVa",
                "<a href=\"/",
                "<a href=\"vb",
                "\" onmouseover",
            ] {
                assert!(!shown.contains(way), "{attack} became {shown}");
            }
        }
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let long = "ä".repeat(MAX);
        assert!(render(&long).0.len() <= MAX + 64);
    }
}
