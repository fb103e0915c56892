//! Executor and control plane together, in a world where every message may be lost, repeated or late, and either side may
//! restart at any point: explored exhaustively within stated bounds.
//!
//! Both machines are the product's: [`novacula_executor_sdk::machine`] on a host with a disk and a journal, and
//! [`domain::attempt`] with the executor's row. A message that was sent stays in the network for ever, so that it may
//! arrive now, never, or again and again, in any order. Hellos arrive with the stream that they open: the newest owns the
//! executor (rule 7).
//!
//! What is checked in every state: no swap without leave, no attempt swapped twice, no other apply before the first is
//! confirmed, no older generation, one outcome on the host, a reported end stays and is what the host journalled, what
//! was decided before leave is not carried out. And never stuck: from every state, a fair run (nothing more goes wrong, a
//! message arrives once, in order) comes to rest, with both sides saying the same of every attempt.

#[path = "model/event.rs"]
mod event;

#[path = "model/host.rs"]
mod host;

#[path = "model/judge.rs"]
mod judge;

#[path = "model/server.rs"]
mod server;

#[path = "model/shared.rs"]
mod shared;

#[path = "model/world.rs"]
mod world;

use std::collections::{HashSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use domain::Version;
use domain::attempt::Outcome;
use domain::sync::{Request, Response};
use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::event::{Bounds, Broken, Event};
use crate::host::Luck;
use crate::world::World;

/// The model's time goes in minutes: longer than either side waits before it repeats itself.
const UNIT: Duration = Duration::from_secs(60);

/// More events than any fair run needs before it comes to rest.
const FAIR_RUN_MAX: usize = 200;

/// What holds in every state.
const RULES: [&str; 4] = ["no rule is broken", "reports are true", "decisions hold", "never stuck, and one truth"];

fn version(n: u8) -> Version {
    format!("1.{n}.0").parse().expect("a version")
}

struct Upgrade {
    bounds: Bounds,
    broken: Broken,
    /// Fingerprints of worlds (without their network) from which a fair run is known to come to rest.
    settles: Mutex<HashSet<u64>>,
}

impl Upgrade {
    fn new(bounds: Bounds, broken: Broken) -> Self {
        Self { bounds, broken, settles: Mutex::default() }
    }

    /// Whether a fair run from here comes to rest in agreement.
    fn settles(&self, world: &World) -> bool {
        let mut run = FairRun { world: world.clone(), up: VecDeque::new(), down: VecDeque::new() };
        let mut seen = Vec::new();
        for _ in 0..FAIR_RUN_MAX {
            if run.up.is_empty() && run.down.is_empty() {
                let key = shared::fingerprint(&run.world.core());
                if self.known().contains(&key) {
                    self.known().extend(seen);
                    return true;
                }
                seen.push(key);
                if run.world.is_settled() && run.world.agrees() {
                    self.known().extend(seen);
                    return true;
                }
            }
            run.step(self.broken);
        }
        false
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<u64>> {
        self.settles.lock().expect("no holder panics")
    }
}

/// From here on nothing goes wrong: what was sent before is lost, and what is sent now arrives once and in order.
struct FairRun {
    world: World,
    up: VecDeque<Request>,
    down: VecDeque<Response>,
}

impl FairRun {
    fn step(&mut self, broken: Broken) {
        let process = self.world.host.process.number;
        let spoken = if let Some(request) = self.up.pop_front() {
            self.world.hear(&request, broken)
        } else if let Some(response) = self.down.pop_front() {
            self.world.tell(&response, broken)
        } else {
            let event = self.next_event();
            self.world.turn(&event, broken).unwrap_or_default()
        };
        if self.world.host.process.number != process {
            self.down.clear();
        }
        self.up.extend(spoken.up);
        self.down.extend(spoken.down);
    }

    fn next_event(&self) -> Event {
        let process = &self.world.host.process;
        if process.job.is_some() {
            Event::Work(Luck::Good)
        } else if !process.linked || self.world.server.session != Some(process.number) {
            // A stream that one side has given up is soon given up by the other: keep-alives are answered or not.
            Event::Connect
        } else if self.world.machine_is_due() {
            Event::MachineTick
        } else if self.world.server_is_due() {
            Event::ServerTick
        } else {
            Event::Time
        }
    }
}

impl Model for Upgrade {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.bounds, self.broken)]
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        world.events(self.bounds, events);
    }

    fn next_state(&self, world: &World, event: Event) -> Option<World> {
        let mut next = world.clone();
        next.happen(&event, self.broken)?;
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always(RULES[0], |_, world| world.wrong.is_none()),
            Property::<Self>::always(RULES[1], |_, world| world.reports_are_true()),
            Property::<Self>::always(RULES[2], |_, world| world.decisions_hold()),
            Property::<Self>::always(RULES[3], |model, world| model.settles(world)),
            // What makes the others worth something: the roads are there.
            Property::<Self>::sometimes("it succeeds", |_, world| ends(world, Outcome::Succeeded)),
            Property::<Self>::sometimes("it is rolled back", |_, world| ends(world, Outcome::RolledBack)),
            Property::<Self>::sometimes("it is refused", |_, world| ends(world, Outcome::Refused)),
            Property::<Self>::sometimes("it fails", |_, world| ends(world, Outcome::Failed)),
            Property::<Self>::sometimes("it expires", |_, world| ends(world, Outcome::Expired)),
            Property::<Self>::sometimes("it is cancelled", |_, world| ends(world, Outcome::Cancelled)),
            Property::<Self>::sometimes("it is superseded", |_, world| ends(world, Outcome::Superseded)),
            Property::<Self>::sometimes("a conclusion is corrected", |_, world| {
                world.server.attempts.iter().any(|attempt| attempt.corrected)
            }),
        ]
    }
}

fn ends(world: &World, outcome: Outcome) -> bool {
    world.server.attempts.iter().any(|attempt| attempt.ending.as_ref().is_some_and(|ending| ending.outcome == outcome))
}

fn explore(bounds: Bounds, broken: Broken, until: HasDiscoveries) -> impl Checker<Upgrade> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Upgrade::new(bounds, broken).checker().threads(threads).finish_when(until).spawn_bfs().join()
}

/// Explores everything within the bounds, and says how much that was.
fn check(bounds: Bounds, ends: &[&'static str]) -> String {
    let checker = explore(bounds, Broken::Nothing, HasDiscoveries::AnyFailures);
    for property in RULES {
        if let Some(path) = checker.discovery(property) {
            panic!("{property}: not so\n{}", story(path.into_vec()));
        }
    }
    for end in ends {
        assert!(checker.discovery(end).is_some(), "within {bounds:?}, it was never seen that {end}");
    }
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    format!("{bounds:?}: {states} states, exhausted at depth {depth}")
}

/// How a broken rule shows.
fn seen(bounds: Bounds, broken: Broken) -> Vec<&'static str> {
    let checker = explore(bounds, broken, HasDiscoveries::AnyFailures);
    RULES.into_iter().filter(|property| checker.discovery(property).is_some()).collect()
}

/// What led there, and what a fair run makes of it.
fn story(path: Vec<(World, Option<Event>)>) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut last = None;
    for (world, event) in path {
        lines.extend(event.map(|event| world.tell_event(&event)));
        last = Some(world);
    }
    let Some(world) = last else { return String::new() };
    lines.push(format!("then {:?}; a fair run from here:", world.wrong));
    let mut run = FairRun { world, up: VecDeque::new(), down: VecDeque::new() };
    for _ in 0..20 {
        lines.push(match (run.up.front(), run.down.front()) {
            (Some(request), _) => format!("  {request:?}"),
            (None, Some(response)) => format!("  {response:?}"),
            (None, None) => format!("  {:?}", run.next_event()),
        });
        run.step(Broken::Nothing);
    }
    lines.push(format!("on the host: {:?}", run.world.host.truths));
    for attempt in &run.world.server.attempts {
        lines.push(format!("on the control plane: {} {:?} {:?}", attempt.id, attempt.phase, attempt.ending));
    }
    lines.join("\n")
}

/// Bounds for a run by hand, `time,faults,persons`: 2,1,1 took two minutes and two cores optimized, with 1.3 million states.
const BY_HAND: &str = "NOVACULA_MODEL_BOUNDS";

#[test]
fn one_true_outcome_whatever_is_lost_repeated_or_late() {
    let ends = ["it succeeds", "it fails", "it expires", "a conclusion is corrected"];
    println!("{}", check(Bounds::new(3, 0, 0), &ends));
}

#[test]
fn one_true_outcome_wherever_either_side_restarts() {
    let ends =
        ["it succeeds", "it is rolled back", "it is refused", "it fails", "it expires", "a conclusion is corrected"];
    println!("{}", check(Bounds::new(2, 1, 0), &ends));
    println!("{}", check(Bounds::new(1, 2, 0), &ends[..4]));
}

#[test]
fn one_true_outcome_whatever_a_person_decides_meanwhile() {
    let ends = ["it succeeds", "it is rolled back", "it is cancelled", "it is superseded"];
    println!("{}", check(Bounds::new(2, 0, 1), &ends));
    println!("{}", check(Bounds::new(0, 0, 2), &ends[1..]));
    println!("{}", check(Bounds::new(0, 1, 1), &ends[1..]));
}

#[test]
fn bounds_given_by_hand_hold_as_well() {
    let given = std::env::var(BY_HAND).unwrap_or_default();
    let numbers: Vec<u8> = given.split(',').filter_map(|number| number.parse().ok()).collect();
    if let [time, faults, persons] = numbers[..] {
        println!("{}", check(Bounds::new(time, faults, persons), &[]));
    }
}

#[test]
fn a_broken_rule_is_seen() {
    let crash = Bounds::new(0, 1, 0);
    let person = Bounds::new(0, 0, 1);
    assert_eq!(seen(person, Broken::Nothing), Vec::<&str>::new());
    assert!(seen(person, Broken::LeaveUnseen).contains(&"no rule is broken"));
    assert!(seen(person, Broken::LeaveUnasked).contains(&"no rule is broken"));
    assert!(!seen(crash, Broken::Memory).is_empty());
    assert!(seen(Bounds::new(0, 1, 1), Broken::Decision).contains(&"never stuck, and one truth"));
    assert!(seen(crash, Broken::NoDeadlines).contains(&"never stuck, and one truth"));
}
