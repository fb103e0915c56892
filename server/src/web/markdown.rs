//! Release notes: CommonMark by people, shown as HTML that can do nothing.
//!
//! Raw HTML is shown as the text it is, and what is left goes through a list of allowed elements (ammonia), so that a mistake in
//! one does not open a door. Links say that they lead away; images are not loaded, since they would tell who reads.

use std::collections::HashSet;
use std::sync::LazyLock;

use ammonia::Builder;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, html};

use crate::web::show::Safe;

/// Longest text that is looked at, in bytes; notes are capped below that when they are written.
const MAX: usize = 64 * 1024;

/// What may be in notes. Headings begin below the page's own.
static ALLOWED: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut builder = Builder::default();
    let tags = [
        "p",
        "br",
        "em",
        "strong",
        "del",
        "code",
        "pre",
        "blockquote",
        "ul",
        "ol",
        "li",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "a",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    ];
    builder
        .tags(tags.into_iter().collect())
        .url_schemes(HashSet::from(["https", "http", "mailto"]))
        .url_relative(ammonia::UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer nofollow"));
    builder
});

/// Notes as HTML.
#[must_use]
pub fn render(text: &str) -> Safe {
    let end = text.floor_char_boundary(MAX);
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let events = Parser::new_ext(&text[..end], options).filter_map(|event| match event {
        Event::Html(raw) | Event::InlineHtml(raw) => Some(Event::Text(raw)),
        // The words of an image stay.
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => None,
        Event::Start(Tag::Heading { level, .. }) => {
            let level = lower(level);
            Some(Event::Start(Tag::Heading { level, id: None, classes: Vec::new(), attrs: Vec::new() }))
        }
        Event::End(TagEnd::Heading(level)) => Some(Event::End(TagEnd::Heading(lower(level)))),
        event => Some(event),
    });
    let mut unsafe_html = String::with_capacity(end + end / 2);
    html::push_html(&mut unsafe_html, events);
    Safe(ALLOWED.clean(&unsafe_html).to_string())
}

fn lower(level: pulldown_cmark::HeadingLevel) -> pulldown_cmark::HeadingLevel {
    use pulldown_cmark::HeadingLevel as Level;
    match level {
        Level::H1 => Level::H3,
        Level::H2 => Level::H4,
        Level::H3 => Level::H5,
        Level::H4 | Level::H5 | Level::H6 => Level::H6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_commonmark() {
        let shown = render("# 1.2.0\n\n- **fast**\n- [docs](https://novacula.dev)\n").0;
        assert!(shown.contains("<h3>1.2.0</h3>") && shown.contains("<strong>fast</strong>"), "{shown}");
        assert!(shown.contains("rel=\"noopener noreferrer nofollow\""), "{shown}");
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
        ] {
            let shown = render(attack).0;
            for way in
                ["<script", "<img", "<svg", "<iframe", "<a href=\"javascript", "<a href=\"data", "<a href=\"JaVa"]
            {
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
