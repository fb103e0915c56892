//! Tables in documents that promise something about the sources.

use std::path::Path;

use domain::Reason;
use proto::v1;

use crate::{
    finding::{Finding, Findings},
    source::House,
};

const ATTACKS: &str = "docs/attacks.md";

const REASONS: &str = "docs/reasons.md";

/// How many rules the design states, numbered from 1.
const RULES: u32 = 15;

/// Every rule of the design is a test by name: `rule_07_…`, a function or a trial.
pub(crate) fn rules(house: &House) -> Findings {
    let missing = (1..=RULES).map(|rule| format!("rule_{rule:02}_")).filter(|rule| {
        let named = |token: &crate::source::Token| token.text.trim_start_matches('"').starts_with(rule.as_str());
        !house.under("tests").any(|file| file.tokens.iter().any(named))
    });
    let places = missing.map(|rule| Finding {
        path: "tests".to_owned(),
        line: 0,
        what: format!("no test is named `{rule}…`"),
        remedy: "name the test that shows the rule after it; it runs against a store, not the domain alone",
    });
    Findings::Places(places.collect())
}

/// Every attack names a test that exists, in the file that the link leads to.
pub(crate) fn attacks(house: &House) -> Findings {
    let documents = house.documents("md");
    let Some((path, text)) = documents.iter().find(|(path, _)| path == ATTACKS) else {
        return Findings::Waiting("docs/attacks.md does not exist yet");
    };
    let mut places = Vec::new();
    let mut note = |line: usize, what: String| {
        let remedy = "name a test that shows it: [its_name](../path/of/its/file.rs)";
        places.push(Finding { path: path.clone(), line, what, remedy });
    };
    for (line, [attack, _, tests]) in rows(text) {
        let links: Vec<_> = links(tests).collect();
        if links.is_empty() {
            note(line, format!("no test shows `{attack}`"));
        }
        for (name, target) in links {
            let file = target.trim_start_matches("../");
            if !house.files.iter().any(|source| source.path == file && has_test(&source.tokens, name)) {
                note(line, format!("`{file}` has no test `{name}`"));
            }
        }
    }
    Findings::Places(places)
}

/// The page, the domain and the proto have the same reasons, in one order, and the page has the codes that are sent.
pub(crate) fn reasons(house: &House) -> Findings {
    let documents = house.documents("md");
    let Some((path, text)) = documents.iter().find(|(path, _)| path == REASONS) else {
        return Findings::Waiting("docs/reasons.md does not exist yet");
    };
    let mut told: Vec<_> =
        rows(text).map(|(line, [reason, code, ..])| (line, reason.trim_matches('`'), code)).collect();
    let wire = (1..).map_while(|number| v1::Reason::try_from(number).ok());
    let wire: Vec<_> = wire.map(|reason| reason.as_str_name().trim_start_matches("REASON_")).collect();
    let mut places = Vec::new();
    let mut note = |line: usize, what: String, remedy: &'static str| {
        places.push(Finding { path: path.clone(), line, what, remedy });
    };
    for reason in Reason::ALL {
        let name = reason.as_str();
        if !wire.contains(&name) {
            note(0, format!("`{name}` is not in the proto's enum Reason"), "add it there, too");
        }
        let Some(at) = told.iter().position(|(_, told, _)| *told == name) else {
            note(0, format!("`{name}` has no row"), "say what it means and what to do");
            continue;
        };
        let (line, _, code) = told.remove(at);
        let sent = screaming(&format!("{:?}", server::grpc::error::code(*reason)));
        if code != sent {
            note(line, format!("`{name}` is sent as {sent}, not {code}"), "correct the code");
        }
    }
    for (line, name, _) in told {
        note(line, format!("`{name}` is no reason"), "correct or delete the row");
    }
    for name in wire.iter().filter(|name| !Reason::ALL.iter().any(|reason| reason.as_str() == **name)) {
        note(0, format!("the proto's `{name}` is no reason of the domain"), "add it to domain::Reason");
    }
    Findings::Places(places)
}

/// Whether a function has the name, or a trial that is named by a literal.
fn has_test(tokens: &[crate::source::Token], name: &str) -> bool {
    let literal = format!("\"{name}\"");
    tokens.windows(2).any(|pair| pair[1].text == literal || (pair[0].text == "fn" && pair[1].text == name))
}

/// The first three cells of each row of every table, heads left out, with the line's number.
fn rows(text: &str) -> impl Iterator<Item = (usize, [&str; 3])> {
    let lines: Vec<_> = text.lines().collect();
    let head = |index: usize| lines.get(index + 1).is_some_and(|next| next.starts_with("| ---"));
    let body: Vec<_> = lines
        .iter()
        .enumerate()
        .filter(|(index, line)| line.starts_with("| ") && !line.starts_with("| ---") && !head(*index))
        .filter_map(|(index, line)| {
            let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
            Some((index + 1, [cells.next()?, cells.next()?, cells.next()?]))
        })
        .collect();
    body.into_iter()
}

/// Name and target of each link to a source file.
fn links(cell: &str) -> impl Iterator<Item = (&str, &str)> {
    cell.split('[').skip(1).filter_map(|rest| {
        let (name, rest) = rest.split_once("](")?;
        let (target, _) = rest.split_once(')')?;
        Path::new(target).extension().is_some_and(|end| end == "rs").then_some((name, target))
    })
}

/// `FailedPrecondition` as `FAILED_PRECONDITION`.
fn screaming(name: &str) -> String {
    let mut screamed = String::new();
    for (index, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && index > 0 {
            screamed.push('_');
        }
        screamed.push(letter.to_ascii_uppercase());
    }
    screamed
}
