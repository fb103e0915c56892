//! What the machine has to know of the journal, and of what is live.

use crate::executor::Executor;
use crate::journal::{self, OpenAttempt, Step};
use crate::machine::{self, Facts};

/// As the process finds it.
pub(super) fn facts<E: Executor>(executor: &E, state: journal::State) -> Facts {
    let open = state.open.as_ref().map(|open| machine::Open {
        attempt: open.attempt,
        generation: open.generation,
        from_version: open.from_version.clone(),
        target_version: open.target_version.clone(),
        live: executor.live(open),
        changed_by: executor.changed_by(open),
        swap: swap(open),
        rollback: open.rollback.clone().map(Into::into),
    });
    Facts {
        running: executor.describe().version,
        generation: state.generation,
        open,
        unsent: state.unsent,
        remembered: state.remembered,
        finished: state.finished,
    }
}

fn swap(open: &OpenAttempt) -> machine::Swap {
    if open.step == Step::Applying { machine::Swap::Intended } else { machine::Swap::Made }
}
