//! Words that belong in few files, or in none.

use crate::{
    finding::{Allowance, Finding, Findings, allowing},
    source::{House, SourceFile},
};

/// Where a word is banned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Everywhere,
    Production,
}

struct Ban {
    /// Tokens parted by spaces.
    pattern: &'static str,
    reach: Reach,
    /// Files of this name are where the word belongs.
    home: Option<&'static str>,
    remedy: &'static str,
    allowed: &'static [Allowance],
}

const SPAWN_REMEDY: &str = "start it through supervise, with a name, a cancel rule and an error rule: a dead detached task leaves a healthy-looking corpse";
const CLOCK_REMEDY: &str = "take the time from the injected clock, or as an argument";
const SILENCE_REMEDY: &str =
    "use `#[expect(lint, reason = \"…\")]` on the smallest item: it fails when it is no longer needed";

const BANS: &[Ban] = &[
    Ban {
        pattern: ". unwrap (",
        reach: Reach::Production,
        home: None,
        remedy: "return the error, or `expect(\"why it cannot fail\")`",
        allowed: &[],
    },
    Ban {
        pattern: ". unwrap_err (",
        reach: Reach::Production,
        home: None,
        remedy: "match on the result",
        allowed: &[],
    },
    Ban {
        pattern: "unsafe",
        reach: Reach::Everywhere,
        home: None,
        remedy: "unsafe is forbidden in the workspace: use a crate that has done it well",
        allowed: &[],
    },
    Ban {
        pattern: "# [ ignore",
        reach: Reach::Everywhere,
        home: None,
        remedy: "name the part it needs with harness::parts::trial, so that it says why",
        allowed: &[],
    },
    Ban {
        pattern: "# [ should_panic",
        reach: Reach::Everywhere,
        home: None,
        remedy: "assert on a returned error",
        allowed: &[],
    },
    Ban {
        pattern: "# [ allow (",
        reach: Reach::Everywhere,
        home: None,
        remedy: SILENCE_REMEDY,
        allowed: &[Allowance {
            path: "proto/src/lib.rs",
            reason: "the generated code: which lints it breaks depends on the generator's version",
        }],
    },
    Ban { pattern: "# ! [ allow (", reach: Reach::Everywhere, home: None, remedy: SILENCE_REMEDY, allowed: &[] },
    Ban {
        pattern: "tokio :: spawn",
        reach: Reach::Production,
        home: Some("supervise.rs"),
        remedy: SPAWN_REMEDY,
        allowed: &[Allowance {
            path: "executor-sdk/src/driver/jobs.rs",
            reason: "the SDK's own supervision: every handle is kept, aborted with the loop, and a panic is a failed job",
        }],
    },
    Ban {
        pattern: "task :: spawn",
        reach: Reach::Production,
        home: Some("supervise.rs"),
        remedy: SPAWN_REMEDY,
        allowed: &[],
    },
    Ban {
        pattern: "SystemTime :: now",
        reach: Reach::Production,
        home: Some("clock.rs"),
        remedy: CLOCK_REMEDY,
        allowed: &[Allowance {
            path: "cli/src/time.rs",
            reason: "only `3m ago` in tables for people; nothing is decided by it",
        }],
    },
    Ban {
        pattern: "Uuid :: now_v7",
        reach: Reach::Production,
        home: Some("clock.rs"),
        remedy: CLOCK_REMEDY,
        allowed: &[],
    },
];

/// The only file, with its children, that turns an error into what the wire says.
const STATUS_HOME: &str = "server/src/grpc/error";

/// Constructors of `tonic::Status`; `Status::ok` is no refusal.
const STATUS_MAKERS: &[&str] = &[
    "new",
    "with_details",
    "with_metadata",
    "with_error_details",
    "with_error_details_vec",
    "from_error",
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
];

/// Every ban of the table.
pub(crate) fn banned(house: &House) -> Findings {
    let places = BANS
        .iter()
        .flat_map(|ban| {
            let found = house.files.iter().flat_map(|file| apply(ban, file)).collect();
            allowing(found, ban.allowed)
        })
        .collect();
    Findings::Places(places)
}

/// STYLE, Errors: one door from errors to the wire.
pub(crate) fn status(house: &House) -> Findings {
    let mut places = Vec::new();
    for file in house.under("server/src") {
        let stem = file.path.trim_end_matches(".rs");
        if stem == STATUS_HOME || stem.starts_with(&format!("{STATUS_HOME}/")) {
            continue;
        }
        for maker in STATUS_MAKERS {
            let lines = file.occurrences(&format!("Status :: {maker}"));
            places.extend(lines.into_iter().filter(|&line| !file.is_test(line)).map(|line| Finding {
                path: file.path.clone(),
                line,
                what: format!("`Status::{maker}` outside its file"),
                remedy: "return an error, and map it in server/src/grpc/error.rs: code, public sentence, reason",
            }));
        }
    }
    Findings::Places(places)
}

fn apply(ban: &Ban, file: &SourceFile) -> Vec<Finding> {
    if ban.home.is_some_and(|home| file.path.ends_with(&format!("/{home}"))) {
        return Vec::new();
    }
    file.occurrences(ban.pattern)
        .into_iter()
        .filter(|&line| ban.reach == Reach::Everywhere || !file.is_test(line))
        .map(|line| Finding {
            path: file.path.clone(),
            line,
            what: format!("`{}`", ban.pattern.replace(' ', "")),
            remedy: ban.remedy,
        })
        .collect()
}
