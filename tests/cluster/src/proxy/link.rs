//! One direction of one connection: each piece is passed on when nothing stands against it, and the trap looks at it on
//! its way.

use std::io::{Read, Write};
use std::sync::PoisonError;

use super::{Shared, State, Step, Then, Toward, Trap};

/// The message that sends `COMMIT` alone: kind, length, text.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// PostgreSQL is ready, and in no transaction.
const READY: &[u8] = b"Z\0\0\0\x05I";

/// Larger than anything that one write says.
const PIECE: usize = 256 * 1024;

/// What becomes of a piece.
enum Verdict {
    Pass,
    /// So much of it is passed on, and then the connection is caught.
    Catch(usize, Then),
}

/// Passes on until either end is gone.
pub(super) fn pump(shared: &Shared, id: u64, toward: Toward, mut from: impl Read, mut to: impl Write) {
    let mut piece = vec![0; PIECE];
    loop {
        let n = match from.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(n) => n,
        };
        if !pass(shared, id, toward, &piece[..n], &mut to) {
            break;
        }
    }
    if let Some(link) = shared.lock().links.remove(&id) {
        link.cut();
    }
}

/// Whether the connection is still there.
fn pass(shared: &Shared, id: u64, toward: Toward, piece: &[u8], to: &mut impl Write) -> bool {
    if !wait(shared, id, toward) {
        return false;
    }
    let verdict = shared.lock().judge(id, toward, piece);
    let Verdict::Catch(n, then) = verdict else {
        return to.write_all(piece).is_ok();
    };
    let is_passed = to.write_all(&piece[..n]).is_ok();
    shared.change(|state| state.caught(id, then));
    is_passed && wait(shared, id, toward) && to.write_all(&piece[n..]).is_ok()
}

/// Waits until nothing stands against passing on; whether the connection is still there.
fn wait(shared: &Shared, id: u64, toward: Toward) -> bool {
    let mut state = shared.lock();
    loop {
        match state.links.get(&id) {
            None => return false,
            Some(link) if !link.held && !state.still.contains(&toward) => return true,
            Some(_) => state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }
}

// === impl State ===

impl State {
    fn judge(&mut self, id: u64, toward: Toward, piece: &[u8]) -> Verdict {
        let Some(link) = self.links.get_mut(&id) else {
            return Verdict::Pass;
        };
        if toward == Toward::Server && link.chosen.is_none() && self.trap.as_ref().is_some_and(|trap| trap.is_in(piece))
        {
            link.chosen = self.trap.take();
        }
        let Some(Trap { step, then, .. }) = link.chosen.clone() else {
            return Verdict::Pass;
        };
        let at = match (step, toward) {
            (Step::Said, Toward::Server) => Some(0),
            (Step::BeforeCommit, Toward::Server) => find(piece, COMMIT),
            (Step::Committing, Toward::Server) => find(piece, COMMIT).map(|_| piece.len()),
            (Step::Committed, Toward::Client) => find(piece, READY).map(|_| 0),
            (_, _) => None,
        };
        let Some(at) = at else {
            return Verdict::Pass;
        };
        // Held before anything of the piece is passed on: its answer must not overtake what is to become of the connection.
        link.held = true;
        Verdict::Catch(at, then)
    }

    fn caught(&mut self, id: u64, then: Then) {
        self.caught = true;
        match then {
            Then::Hold => self.links.get_mut(&id).into_iter().for_each(|link| (link.held, link.chosen) = (true, None)),
            Then::Cut => self.links.remove(&id).into_iter().for_each(|link| link.cut()),
        }
    }
}

// === impl Trap ===

impl Trap {
    fn is_in(&self, piece: &[u8]) -> bool {
        self.words.iter().all(|word| find(piece, word.as_bytes()).is_some())
    }
}

fn find(piece: &[u8], words: &[u8]) -> Option<usize> {
    piece.windows(words.len()).position(|window| window == words)
}
