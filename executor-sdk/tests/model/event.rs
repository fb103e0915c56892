//! What may happen in the world of the model, how much of it, and which rule of it is broken on purpose.

use crate::host::Luck;

/// A message's place in the network.
pub(crate) type Key = u64;

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// The job in hand comes to its end.
    Work(Luck),
    /// The process dials, and the control plane takes its hello.
    Connect,
    /// A message from the executor arrives; it may arrive again.
    Up(Key),
    /// A message from the control plane arrives; it may arrive again.
    Down(Key),
    /// Time passes.
    Time,
    /// The machine looks at the time.
    MachineTick,
    /// The sweep looks at the time.
    ServerTick,
    /// What goes wrong.
    Fault(Fault),
    /// What a person does.
    Person(Person),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    /// The process dies, or the machine loses power.
    Crash,
    /// The executor sees its stream break; the control plane does not, yet.
    Cut,
    /// The control plane restarts: it knows of no session.
    ServerRestart,
    /// Its database is restored to just after the first request.
    Restore,
    /// The crash loop or the dead man brings the old version back.
    Rescue,
    /// A person does, on the host, telling nobody.
    ByHand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Person {
    /// Cancels. (A yank is the same decision under another name.)
    Cancel,
    /// Asks for what ran first.
    AskBack,
    /// Asks for a third version, with replace.
    AskOther,
}

/// A rule broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Broken {
    Nothing,
    /// The control plane gives leave without looking.
    LeaveUnseen,
    /// The executor takes a refusal for leave.
    LeaveUnasked,
    /// The host's journal forgets its attempts.
    Memory,
    /// The host's journal keeps the decision for a rollback that could not be made.
    Decision,
    /// The control plane never looks at the time.
    NoDeadlines,
}

/// How much may happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Units of time that pass.
    pub(crate) time: u8,
    /// Faults, besides lost, repeated and late messages: those are free.
    pub(crate) faults: u8,
    /// Things that people do.
    pub(crate) persons: u8,
}

impl Bounds {
    pub(crate) const fn new(time: u8, faults: u8, persons: u8) -> Self {
        Self { time, faults, persons }
    }
}
