//! The rows: every passage of every phase, with every fault.

use std::fmt;
use std::time::Duration;

use agent::Misbehaviour;
use agent::fault::{self, JOURNAL_WRITE, Passage, SWAP_SYNCED};
use harness::fleet::{Pace, edition::Edition};

/// The part of an upgrade in which a fault comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// The old version downloads and swaps.
    Apply,
    /// The new version, probation over, confirms.
    Confirm,
    /// The new version is another than was asked for, and puts the old one back before it is ready.
    PutBack,
    /// The new version crashes three times, and the old one's code puts itself back.
    CrashLoop,
    /// The swap is made; the new version becomes ready and does nothing.
    Hang,
    /// The swap is made; the new version becomes ready and ends with status 0.
    ExitClean,
    /// The swap is made; the new version never reaches the control plane.
    NoConnection,
}

/// What happens at the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    /// SIGKILL: everything written stays written.
    Kill,
    /// The machine loses its power: what was not synced is gone.
    PowerCut,
}

/// One experiment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) phase: Phase,
    pub(crate) passage: Passage,
    pub(crate) fault: Fault,
}

// === impl Phase ===

impl Phase {
    pub(crate) const ALL: [Self; 7] =
        [Self::Apply, Self::Confirm, Self::PutBack, Self::CrashLoop, Self::Hang, Self::ExitClean, Self::NoConnection];

    pub(crate) fn passages(self) -> Vec<Passage> {
        match self {
            Self::Apply => fault::apply_passages(),
            Self::Confirm => fault::confirm_passages(),
            Self::PutBack => fault::back_passages(),
            // The journal's own points are the same ones; what differs is who is hit and who comes next.
            Self::CrashLoop => {
                let mut passages = fault::back_passages();
                passages.retain(|passage| !JOURNAL_WRITE.contains(&passage.point));
                passages
            }
            Self::Hang | Self::ExitClean | Self::NoConnection => {
                let mut passages = fault::apply_passages();
                passages.retain(|passage| passage.point == SWAP_SYNCED);
                passages
            }
        }
    }

    pub(crate) const fn slug(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Confirm => "confirm",
            Self::PutBack => "put_back",
            Self::CrashLoop => "crash_loop",
            Self::Hang => "then_a_hang",
            Self::ExitClean => "then_an_exit",
            Self::NoConnection => "then_no_connection",
        }
    }

    /// The heading of its table.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Apply => "Download and swap",
            Self::Confirm => "Confirmation",
            Self::PutBack => "Way back, taken by the new version itself",
            Self::CrashLoop => "Way back, taken by the old version's code after a crash loop",
            Self::Hang | Self::ExitClean | Self::NoConnection => "A fault right after the swap, and then a bad version",
        }
    }

    /// What its table is about.
    pub(crate) const fn story(self) -> &'static str {
        match self {
            Self::Apply => {
                "The old version fetches a good new one and takes its own place; the fault hits the old version."
            }
            Self::Confirm => {
                "A good new version has been up for the whole probation; the fault hits it while it writes that down."
            }
            Self::PutBack => {
                "The new binary says that it is another version than the one that was asked for. It puts the old one back before \
                 it is ready; the fault hits it meanwhile."
            }
            Self::CrashLoop => {
                "The new version crashes at every start. After the third, `novacula-agent-rollback.service` puts the old one \
                 back with the old one's code; the fault hits that service. The journal's own steps are those of the table above."
            }
            Self::Hang | Self::ExitClean | Self::NoConnection => {
                "The fault hits the old version when the swap has just become durable; what starts afterwards is bad in a way \
                 that only shows later, and that the old version's code has to find."
            }
        }
    }

    /// How fast things go: the dead man comes only where nobody else would.
    pub(crate) const fn pace(self) -> Pace {
        let window = match self {
            Self::Hang | Self::NoConnection => Duration::from_secs(5),
            Self::Apply | Self::Confirm | Self::PutBack | Self::CrashLoop | Self::ExitClean => Duration::from_secs(600),
        };
        // Longer than a start.
        Pace { probation: Duration::from_secs(1), window }
    }

    /// The new version whose upgrade comes to this phase.
    pub(crate) fn edition(self, version: &str) -> Edition {
        match self {
            Self::Apply | Self::Confirm => Edition::good(version),
            Self::PutBack => Edition::good("1.0.9"),
            Self::CrashLoop => Edition::bad(version, Misbehaviour::CrashAtStart),
            Self::Hang => Edition::bad(version, Misbehaviour::HangAfterReady),
            Self::ExitClean => Edition::bad(version, Misbehaviour::ExitClean),
            Self::NoConnection => Edition::bad(version, Misbehaviour::NeverConnects),
        }
    }
}

// === impl Fault ===

impl Fault {
    pub(crate) const ALL: [Self; 2] = [Self::Kill, Self::PowerCut];

    pub(crate) const fn slug(self) -> &'static str {
        match self {
            Self::Kill => "killed",
            Self::PowerCut => "power_cut",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "SIGKILL",
            Self::PowerCut => "power cut",
        })
    }
}

// === impl Row ===

impl Row {
    /// The step as the page shows it.
    pub(crate) fn step(&self) -> String {
        let Passage { point, nth, .. } = self.passage;
        let step = if JOURNAL_WRITE.contains(&point) {
            format!("journal write {nth}: `{point}`")
        } else {
            format!("`{point}`")
        };
        match self.phase {
            Phase::Apply | Phase::Confirm | Phase::PutBack | Phase::CrashLoop => step,
            Phase::Hang => format!("{step}, then it hangs"),
            Phase::ExitClean => format!("{step}, then it exits with status 0"),
            Phase::NoConnection => format!("{step}, then it never connects"),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.phase.slug(), self.step(), self.fault)
    }
}

/// Every row, in the page's order.
pub(crate) fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    for phase in Phase::ALL {
        for passage in phase.passages() {
            rows.extend(Fault::ALL.map(|fault| Row { phase, passage: passage.clone(), fault }));
        }
    }
    rows
}
