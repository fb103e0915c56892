//! What the machine does with each word, step and silence.

mod after_leave;

mod before_leave;

mod waits;

use domain::sync::Progress;
use domain::{AgentUpgradeSpec, Sha256, Want};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

fn id(n: u128) -> AttemptId {
    AttemptId::new(uuid::Uuid::from_u128(n))
}

fn facts(running: &str) -> Facts {
    Facts {
        running: version(running),
        generation: Generation(0),
        open: None,
        unsent: Vec::new(),
        remembered: Vec::new(),
        finished: Vec::new(),
    }
}

fn spec(target: &str) -> Spec {
    Spec::Agent(AgentUpgradeSpec {
        download_uri: "/artifacts/x".to_owned(),
        size_bytes: 100,
        sha256: Sha256::new([0; 32]),
        minisign_signatures: Vec::new(),
        target_version: version(target),
    })
}

/// A machine, its clock, and what it last said to do.
struct Bench {
    machine: Machine,
    now: Duration,
    actions: Vec<Action>,
}

impl Bench {
    fn start(facts: Facts) -> Self {
        let now = Duration::from_secs(1_000);
        let (machine, actions) = Machine::start(facts, now);
        Self { machine, now, actions }
    }

    /// An idle agent 1.1.0 with its stream up.
    fn connected() -> Self {
        let mut bench = Self::start(facts("1.1.0"));
        bench.connect();
        bench
    }

    /// With attempt 1 to 1.2.0 in hand, downloading.
    fn downloading() -> Self {
        let mut bench = Self::connected();
        bench.desire(1, 1, "1.2.0");
        bench.done(Done::Fit { bytes_total: 100 });
        bench
    }

    /// With attempt 1 to 1.2.0 verified, and leave asked under generation 1.
    fn ready() -> Self {
        let mut bench = Self::downloading();
        bench.done(Done::Downloaded);
        bench.done(Done::Verified);
        assert_eq!(bench.told(), ["ready 1 under 1"]);
        bench
    }

    fn put(&mut self, input: Input) {
        self.actions = self.machine.handle(input, self.now);
    }

    fn connect(&mut self) {
        self.put(Input::Connected { heartbeat_interval: Duration::from_secs(5), probation: MINUTE * 2 });
    }

    fn want(&mut self, generation: u64, want: Want) {
        self.put(Input::Desired(Desired { generation: Generation(generation), want }));
    }

    /// Fifteen minutes to pick it up.
    fn desire(&mut self, generation: u64, attempt: u128, target: &str) {
        self.want(generation, Want::Upgrade { attempt: id(attempt), spec: spec(target), remaining_ttl: MINUTE * 15 });
    }

    fn proceed(&mut self, attempt: u128, generation: u64) {
        self.put(Input::Proceed { attempt: id(attempt), generation: Generation(generation) });
    }

    /// The job that was started last comes to this.
    fn done(&mut self, done: Done) {
        let job = self.machine.last_job;
        self.put(Input::Job { job, done });
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.put(Input::Tick);
    }

    /// The journal has what was to be finished or confirmed last.
    fn journalled(&mut self) -> Outcome {
        let report = self.actions.iter().find_map(|action| match action {
            Action::Finish { report, .. } | Action::Confirm { report, .. } => Some(report.clone()),
            _ => None,
        });
        let report = report.expect("something to journal");
        let outcome = report.report.outcome;
        self.put(Input::Finished(report));
        outcome
    }

    /// What it last said to do, in short; heartbeats left out.
    fn told(&self) -> Vec<String> {
        self.actions.iter().filter_map(in_short).collect()
    }
}

fn in_short(action: &Action) -> Option<String> {
    let n = |attempt: &AttemptId| attempt.as_uuid().as_u128();
    Some(match action {
        Action::Say(request) => match request.as_ref() {
            Request::Heartbeat { .. } => return None,
            Request::Progress(Progress { phase, bytes_done, waiting, .. }) => {
                let waiting = waiting.as_ref().map_or_else(String::new, |waiting| format!(", {}", waiting.sentence()));
                format!("say {} {bytes_done}{waiting}", phase.as_str())
            }
            Request::ReadyToSwap { attempt, generation } => format!("ready {} under {generation}", n(attempt)),
            Request::Report(report) => format!("report {} {}", n(&report.attempt), report.report.outcome.as_str()),
            Request::Hello(_) | Request::Inventory(_) => format!("{request:?}"),
        },
        Action::NoteGeneration(generation) => format!("note {generation}"),
        Action::Preflight { attempt, .. } => format!("preflight {}", n(attempt)),
        Action::Download { attempt, .. } => format!("download {}", n(attempt)),
        Action::Verify { attempt, .. } => format!("verify {}", n(attempt)),
        Action::Swap { attempt, generation, .. } => format!("swap {} under {generation}", n(attempt)),
        Action::Abort { attempt } => format!("abort {}", n(attempt)),
        Action::Confirm { report, .. } => format!("confirm {}", n(&report.attempt)),
        Action::RollBack { attempt, cause, .. } => format!("roll back {} {}", n(attempt), cause.code.as_str()),
        Action::Finish { report, .. } => {
            let code = report.report.error_code.map_or("", ErrorCode::as_str);
            format!("finish {} {} {code}", n(&report.attempt), report.report.outcome.as_str())
        }
        Action::Watch { attempt, .. } => format!("watch {}", n(attempt)),
        Action::Forget { attempt } => format!("forget {}", n(attempt)),
        Action::Exit => "exit".to_owned(),
    })
}

fn rolled_back() -> AttemptReport {
    AttemptReport {
        attempt: id(1),
        target_version: Some(version("1.2.0")),
        from_version: Some(version("1.1.0")),
        report: domain::attempt::Report {
            outcome: Outcome::RolledBack,
            stage: Some(ErrorStage::Start),
            error_code: Some(ErrorCode::CrashLoop),
            message: String::new(),
            running_version: version("1.1.0"),
            rolled_back_to: Some(version("1.1.0")),
            log_tail: Vec::new(),
        },
    }
}
