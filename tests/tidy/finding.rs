//! What a rule found, and what it lets pass.

use std::fmt;

use libtest_mimic::{Completion, Failed};

/// One place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Relative to the workspace.
    pub(crate) path: String,
    /// From 1; 0 is the file as a whole.
    pub(crate) line: usize,
    /// What is wrong here.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) remedy: &'static str,
}

/// What came of applying one rule.
#[derive(Debug)]
pub(crate) enum Findings {
    /// The rule was applied.
    Places(Vec<Finding>),
    /// What the rule is about does not exist yet.
    Waiting(&'static str),
}

/// A file that may break a rule, and why.
pub(crate) struct Allowance {
    /// Relative to the workspace.
    pub(crate) path: &'static str,
    /// Why this is better than following the rule.
    pub(crate) reason: &'static str,
}

/// Drops what is allowed, and adds a finding for each allowance that nothing needs any more.
pub(crate) fn allowing(findings: Vec<Finding>, allowances: &[Allowance]) -> Vec<Finding> {
    let unneeded = allowances
        .iter()
        .filter(|allowance| !findings.iter().any(|found| found.path == allowance.path))
        .map(|allowance| Finding {
            path: allowance.path.to_owned(),
            line: 0,
            what: format!("no longer needs its allowance ({})", allowance.reason),
            remedy: "delete the entry in tests/tidy: the lists only shrink",
        })
        .collect::<Vec<_>>();
    findings
        .into_iter()
        .filter(|found| !allowances.iter().any(|allowance| allowance.path == found.path))
        .chain(unneeded)
        .collect()
}

/// Turns findings into the outcome of a trial.
pub(crate) fn verdict(findings: Findings) -> Result<Completion, Failed> {
    match findings {
        Findings::Waiting(reason) => Ok(Completion::ignored_with(reason)),
        Findings::Places(places) if places.is_empty() => Ok(Completion::Completed),
        Findings::Places(places) => Err(places.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n").into()),
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.path, self.line, self.what, self.remedy)
    }
}
