//! Sizes, names and first lines of files.

use crate::{
    finding::{Allowance, Finding, Findings, allowing},
    source::House,
};

/// Past this a file is more than one noun or verb, tests included.
const FILE_LINES: usize = 600;
/// Past this, production code is looked at twice; what passed the look is listed in `LOOKED_AT`.
const PRODUCTION_LINES: usize = 400;
/// Lines of code in a body, without blank lines and comments.
const FUNCTION_LINES: usize = 80;

/// Files above `PRODUCTION_LINES` that are better whole.
const LOOKED_AT: &[Allowance] = &[];

/// STYLE, Files and modules.
pub(crate) fn sizes(house: &House) -> Findings {
    let mut places = Vec::new();
    let mut long = Vec::new();
    for file in &house.files {
        let (lines, production) = (file.lines(), file.production_lines());
        if lines > FILE_LINES {
            places.push(Finding {
                path: file.path.clone(),
                line: FILE_LINES,
                what: format!("{lines} lines, {FILE_LINES} allowed"),
                remedy: "split by noun or verb into `foo.rs` and `foo/`; aim at 250",
            });
        }
        if production > PRODUCTION_LINES {
            long.push(Finding {
                path: file.path.clone(),
                line: PRODUCTION_LINES,
                what: format!("{production} lines of production code"),
                remedy: "split it, or list it with a reason in tests/tidy/shape.rs (LOOKED_AT)",
            });
        }
        let long_functions = file.functions.iter().filter(|function| function.code > FUNCTION_LINES);
        places.extend(long_functions.map(|function| Finding {
            path: file.path.clone(),
            line: function.line,
            what: format!("`{}` has {} lines, {FUNCTION_LINES} allowed", function.name, function.code),
            remedy: "name its parts; aim at 40",
        }));
    }
    places.extend(allowing(long, LOOKED_AT));
    Findings::Places(places)
}

/// STYLE, Module docs.
pub(crate) fn module_docs(house: &House) -> Findings {
    let mut places = Vec::new();
    for file in &house.files {
        // A program's first line may be for the kernel.
        let first = file.text.lines().find(|line| !line.starts_with("#!/"));
        if !first.is_some_and(|line| line.starts_with("//! ")) {
            places.push(Finding {
                path: file.path.clone(),
                line: 1,
                what: "no `//!` at the top".to_owned(),
                remedy: "begin with one sentence of what the file is, then why it is so",
            });
        }
    }
    Findings::Places(places)
}

/// `foo.rs` with children in `foo/`.
pub(crate) fn named_files(house: &House) -> Findings {
    let places = house
        .files
        .iter()
        .filter(|file| file.path.ends_with("/mod.rs"))
        .map(|file| Finding {
            path: file.path.clone(),
            line: 0,
            what: "a file named mod.rs".to_owned(),
            remedy: "name it after its folder: `foo.rs` beside `foo/`",
        })
        .collect();
    Findings::Places(places)
}

/// STYLE, Tests: the name is the claim.
pub(crate) fn claims(house: &House) -> Findings {
    let mut places = Vec::new();
    for file in &house.files {
        let names = file.tokens.windows(2).filter(|pair| pair[0].text == "fn");
        for pair in names.filter(|pair| pair[1].text.starts_with("test_")) {
            places.push(Finding {
                path: file.path.clone(),
                line: pair[1].line,
                what: format!("a function named `{}`", pair[1].text),
                remedy: "name the claim, as in `stale_generation_is_refused`",
            });
        }
    }
    Findings::Places(places)
}
