//! The world of the model: one control plane, one host, time, and a network that loses, repeats and delays.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use domain::attempt::{Attempt, Input as Word, next_deadline};
use domain::sync::{Request, Response};
use domain::{AttemptId, Timestamp};
use novacula_executor_sdk::machine::Input;

use crate::event::{Bounds, Broken, Event, Fault, Key, Person};
use crate::host::{Forgets, Host, Luck};
use crate::server::{POLICY, Said, Server};
use crate::shared::{Shared, fingerprint};
use crate::{UNIT, version};

/// All that is.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) now: u8,
    pub(crate) faults: u8,
    pub(crate) persons: u8,
    pub(crate) server: Shared<Server>,
    pub(crate) host: Shared<Host>,
    backup: Shared<Server>,
    pub(crate) restored: bool,
    /// Every message ever sent and not yet impossible to arrive: any of them may arrive now, or never, or again.
    up: Arc<BTreeMap<Key, Arc<Request>>>,
    /// For the process that lives: a stream ends with its process.
    down: Arc<BTreeMap<Key, Arc<Response>>>,
    /// Attempts that the control plane gave leave.
    leaves: Vec<AttemptId>,
    /// The first rule that was broken.
    pub(crate) wrong: Option<&'static str>,
}

/// What was said in one event, in order.
#[derive(Debug, Default)]
pub(crate) struct Spoken {
    pub(crate) up: Vec<Request>,
    pub(crate) down: Vec<Response>,
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.now, self.faults, self.persons, self.restored, self.wrong).hash(state);
        (self.server.fingerprint(), self.host.fingerprint(), &self.leaves).hash(state);
        self.up.len().hash(state);
        self.up.keys().for_each(|key| key.hash(state));
        self.down.keys().for_each(|key| key.hash(state));
    }
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        fingerprint(self) == fingerprint(other)
    }
}

impl World {
    /// The first request was just made; the executor has yet to dial.
    pub(crate) fn new(bounds: Bounds, broken: Broken) -> Self {
        let mut server = Server::new();
        let asked = server.ask(version(2), 0, &mut Said::default());
        assert!(asked, "an idle executor takes the request");
        let forgets = match broken {
            Broken::Memory => Forgets::Attempts,
            Broken::Decision => Forgets::TakingBack,
            Broken::Nothing | Broken::LeaveUnseen | Broken::LeaveUnasked | Broken::NoDeadlines => Forgets::Nothing,
        };
        Self {
            now: 0,
            faults: bounds.faults,
            persons: bounds.persons,
            backup: Shared::new(server.clone()),
            server: Shared::new(server),
            host: Shared::new(Host::new(forgets)),
            restored: false,
            up: Arc::default(),
            down: Arc::default(),
            leaves: Vec::new(),
            wrong: None,
        }
    }

    /// Differs when the world does: messages are only ever added, or all gone with the process or database that they were for.
    fn place(&self) -> impl PartialEq + use<> {
        let counts = (self.up.len(), self.down.len(), self.leaves.len(), self.wrong);
        (self.core(), self.faults, self.persons, counts)
    }

    /// What a fair run from here on depends on.
    pub(crate) const fn core(&self) -> (u8, bool, u64, u64) {
        (self.now, self.restored, self.server.fingerprint(), self.host.fingerprint())
    }

    /// What may happen next.
    pub(crate) fn events(&self, bounds: Bounds, events: &mut Vec<Event>) {
        let lucks = self.host.lucks().iter().filter(|luck| **luck == Luck::Good || self.faults > 0);
        events.extend(lucks.map(|luck| Event::Work(*luck)));
        if !self.host.process.linked {
            events.push(Event::Connect);
        }
        if self.machine_is_due() {
            events.push(Event::MachineTick);
        }
        if self.server_is_due() {
            events.push(Event::ServerTick);
        }
        if self.now < bounds.time {
            events.push(Event::Time);
        }
        events.extend(self.down.keys().map(|key| Event::Down(*key)));
        events.extend(self.up.keys().map(|key| Event::Up(*key)));
        if self.faults > 0 {
            let faults = [Fault::Crash, Fault::Cut, Fault::ServerRestart, Fault::Restore, Fault::Rescue, Fault::ByHand];
            events.extend(faults.into_iter().filter(|fault| self.may(*fault)).map(Event::Fault));
        }
        if self.persons > 0 {
            events.extend([Person::Cancel, Person::AskBack, Person::AskOther].map(Event::Person));
        }
    }

    fn may(&self, fault: Fault) -> bool {
        match fault {
            Fault::Crash => true,
            Fault::Cut => self.host.process.linked,
            Fault::ServerRestart => self.server.session.is_some(),
            Fault::Restore => !self.restored,
            Fault::Rescue | Fault::ByHand => self.host.may_go_back(),
        }
    }

    pub(crate) fn machine_is_due(&self) -> bool {
        self.host.process.machine.next_wake().is_some_and(|wake| wake <= crate::host::clock(self.now))
    }

    pub(crate) fn server_is_due(&self) -> bool {
        let now = Timestamp::EPOCH.plus(UNIT.saturating_mul(self.now.into()));
        let due = |attempt: &Attempt| next_deadline(attempt, &POLICY).is_some_and(|deadline| deadline <= now);
        self.server.attempts.iter().any(due)
    }

    /// Lets an event happen; what is said in it is out on the network. None: it changes nothing.
    pub(crate) fn happen(&mut self, event: &Event, broken: Broken) -> Option<()> {
        let (before, process) = (self.place(), self.host.process.number);
        let spoken = match event {
            Event::Up(key) => {
                let request = self.up.get(key)?.clone();
                self.hear(&request, broken)
            }
            Event::Down(key) => {
                let response = self.down.get(key)?.clone();
                self.tell(&response, broken)
            }
            event => self.turn(event, broken)?,
        };
        if self.host.process.number != process {
            self.down = Arc::default();
        }
        for request in spoken.up {
            let key = fingerprint(&request);
            if !self.up.contains_key(&key) {
                Arc::make_mut(&mut self.up).insert(key, Arc::new(request));
            }
        }
        for response in spoken.down {
            let key = fingerprint(&response);
            if !self.down.contains_key(&key) {
                Arc::make_mut(&mut self.down).insert(key, Arc::new(response));
            }
        }
        (self.place() != before).then_some(())
    }

    /// An event as a line of a story.
    pub(crate) fn tell_event(&self, event: &Event) -> String {
        match event {
            Event::Up(key) => format!("{:?}", self.up.get(key)),
            Event::Down(key) => format!("{:?}", self.down.get(key)),
            event => format!("{event:?}"),
        }
    }

    /// Everything that happens but arrivals.
    pub(crate) fn turn(&mut self, event: &Event, broken: Broken) -> Option<Spoken> {
        let (now, mut said, mut requests) = (self.now, Said::default(), Vec::new());
        let before = self.server.executor.generation;
        match event {
            Event::Work(luck) => {
                self.faults -= u8::from(*luck != Luck::Good);
                self.work(*luck, &mut requests);
            }
            Event::Connect => {
                // The driver hands in what the newest stream says, so no acknowledgement outlives its stream. Everything else
                // is let arrive late here all the same: the machine numbers it.
                let is_ack = |response: &Response| matches!(response, Response::ReportAck { .. });
                Arc::make_mut(&mut self.down).retain(|_, response| !is_ack(response));
                let machine = &self.host.process.machine;
                let (number, who) = (self.host.process.number, machine.introduction());
                let running = machine.running().clone();
                self.server.change(|server| server.hello(number, &running, who, now, &mut said));
                let heartbeat_interval = UNIT.saturating_mul(1_000);
                let welcome = Input::Connected { heartbeat_interval, probation: UNIT };
                self.host.change(|host| host.tell(welcome, now, &mut requests));
            }
            Event::Time => self.now += 1,
            Event::MachineTick => self.host.change(|host| host.tell(Input::Tick, now, &mut requests)),
            Event::ServerTick if broken == Broken::NoDeadlines => {}
            Event::ServerTick => {
                let ids: Vec<AttemptId> = self.server.attempts.iter().map(|attempt| attempt.id).collect();
                let tick = |server: &mut Server| {
                    ids.into_iter().for_each(|id| server.say(id, &Word::Tick, now, &mut said));
                };
                self.server.change(tick);
            }
            Event::Fault(fault) => {
                self.faults -= 1;
                self.fail(*fault, &mut requests);
            }
            Event::Person(person) => {
                self.persons -= 1;
                self.person(*person, &mut said);
            }
            Event::Up(_) | Event::Down(_) => return None,
        }
        let backwards = self.server.executor.generation < before;
        if backwards && !matches!(event, Event::Fault(Fault::Restore)) {
            self.wrong.get_or_insert("the generation ran backwards");
        }
        Some(self.spoken(requests, said))
    }

    /// A request arrives.
    pub(crate) fn hear(&mut self, request: &Request, broken: Broken) -> Spoken {
        let (now, mut said) = (self.now, Said::default());
        self.server.change(|server| server.hear(request, now, &mut said));
        if broken == Broken::LeaveUnseen
            && let Request::ReadyToSwap { attempt, generation } = request
        {
            let down = vec![Response::Proceed { attempt: *attempt, generation: *generation }];
            self.spoken(Vec::new(), said);
            return Spoken { up: Vec::new(), down };
        }
        self.spoken(Vec::new(), said)
    }

    /// A response arrives.
    pub(crate) fn tell(&mut self, response: &Response, broken: Broken) -> Spoken {
        let (now, seen, mut requests) = (self.now, self.host.journal.generation, Vec::new());
        let input = match response {
            Response::Desired(desired) => Input::Desired(desired.clone()),
            Response::Proceed { attempt, generation } => Input::Proceed { attempt: *attempt, generation: *generation },
            Response::Withdrawn { attempt, .. } if broken == Broken::LeaveUnasked => {
                let generation = self.host.process.machine.introduction().generation;
                Input::Proceed { attempt: *attempt, generation }
            }
            Response::Withdrawn { attempt, .. } => Input::Withdrawn { attempt: *attempt },
            Response::ReportAck { attempt } => Input::ReportAcknowledged { attempt: *attempt },
            Response::Welcome(_) | Response::Reconnect { .. } | Response::HeartbeatAck => {
                return Spoken::default();
            }
        };
        self.host.change(|host| host.tell(input, now, &mut requests));
        if self.host.journal.generation < seen {
            self.wrong.get_or_insert("the executor went back to an older generation");
        }
        self.spoken(requests, Said::default())
    }

    fn spoken(&mut self, up: Vec<Request>, said: Said) -> Spoken {
        for response in &said.responses {
            if let Response::Proceed { attempt, .. } = response
                && !self.leaves.contains(attempt)
            {
                self.leaves.push(*attempt);
            }
        }
        if said.rewrote_a_report {
            self.wrong.get_or_insert("an end that was reported was changed");
        }
        Spoken { up, down: said.responses }
    }

    fn work(&mut self, luck: Luck, requests: &mut Vec<Request>) {
        let (now, swaps, truths) = (self.now, self.host.swaps.len(), self.host.truths.len());
        let open = self.host.journal.open.as_ref().map(|open| open.attempt);
        self.host.change(|host| host.work(luck, now, requests));
        if let Some(swapped) = self.host.swaps.get(swaps).copied() {
            if self.host.swaps[..swaps].contains(&swapped) {
                self.wrong.get_or_insert("an attempt was swapped twice");
            }
            if !self.leaves.contains(&swapped) {
                self.wrong.get_or_insert("a swap without leave");
            }
        }
        let now_open = self.host.journal.open.as_ref().map(|open| open.attempt);
        if open.is_some() && now_open.is_some() && open != now_open {
            self.wrong.get_or_insert("another apply began before the first was confirmed");
        }
        if let Some((ended, _)) = self.host.truths.get(truths)
            && self.host.truths[..truths].iter().any(|(known, _)| known == ended)
        {
            self.wrong.get_or_insert("an attempt ended twice on its host");
        }
    }

    fn fail(&mut self, fault: Fault, requests: &mut Vec<Request>) {
        let now = self.now;
        match fault {
            Fault::Crash => self.host.change(|host| host.restart(now)),
            Fault::Cut => self.host.change(|host| host.tell(Input::Disconnected, now, requests)),
            Fault::ServerRestart => self.server.change(|server| server.session = None),
            Fault::Restore => {
                self.server = self.backup.clone();
                self.restored = true;
                // No stream to the control plane that was, lives on.
                self.up = Arc::default();
            }
            Fault::Rescue => self.host.change(|host| host.rescue(now)),
            Fault::ByHand => self.host.change(|host| host.restore_by_hand(now)),
        }
    }

    fn person(&mut self, person: Person, said: &mut Said) {
        let now = self.now;
        let open = self.server.open().map(|open| open.id);
        self.server.change(|server| match (person, open) {
            (Person::Cancel, Some(open)) => server.say(open, &Word::Cancel, now, said),
            (Person::AskBack, Some(_)) => {
                server.ask(version(1), now, said);
            }
            // One more attempt is enough to meet the first in every way.
            (Person::AskOther, _) if server.attempts.len() < 2 => {
                server.ask(version(3), now, said);
            }
            (Person::Cancel | Person::AskBack, None) | (Person::AskOther, _) => {}
        });
    }
}
