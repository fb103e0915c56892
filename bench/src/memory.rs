//! `cargo bench-memory`: what the programs that people run hold in memory, each in a process of its own: a control plane with a fleet on
//! it, and an agent with the parent it has where there is no systemd. And how often the two wake while nothing happens.
//!
//! Pages of files are shown apart: everybody who runs the same program shares them, and the kernel takes them back when it needs room.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use harness::fleet::control_plane::{As, ControlPlane};
use harness::fleet::{Fleet, Manager, Pace, Programs};
use harness::resident::{kib, of_files_kib};
use harness::sleeps::Sleeps;

use crate::held::Beside;

/// How long the agent is watched while nothing happens.
const QUIET: Duration = Duration::from_secs(30);

/// How often the fleet lets go and dials again: what was given back is not where it is needed.
const AGAIN: u32 = 3;

/// At most for a control plane with [`BAR_STREAMS`], however often they dialled.
const SERVER_MIB: u64 = 64;

/// At most for an idle agent.
const AGENT_MIB: u64 = 10;

/// With how many streams a control plane keeps its bar.
pub(crate) const BAR_STREAMS: usize = 1000;

/// Memory of one process in KiB.
struct Held {
    all: u64,
    of_files: u64,
}

impl Held {
    fn of(process: u32) -> anyhow::Result<Self> {
        Ok(Self { all: kib(process)?, of_files: of_files_kib(process)? })
    }

    fn within(&self, what: &str, bar_mib: u64) -> anyhow::Result<()> {
        ensure!(self.all <= bar_mib * 1024, "{what} holds {} KiB; its bar is {bar_mib} MiB", self.all);
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn print(&self, what: &str) {
        let mib = |kib: u64| kib as f64 / 1024.0;
        let own = self.all.saturating_sub(self.of_files);
        println!("{what:<44} {:>7.1} {:>7.1} {:>7.1}", mib(self.all), mib(own), mib(self.of_files));
    }
}

/// What there are bars for.
pub(crate) struct Figures {
    executors: usize,
    connected: Held,
    worn: Held,
    agent: Held,
}

impl Figures {
    /// Fails where a program is over its bar.
    pub(crate) fn hold(&self) -> anyhow::Result<()> {
        if self.executors <= BAR_STREAMS {
            self.connected.within("novacula-server", SERVER_MIB)?;
            self.worn.within("novacula-server, worn in", SERVER_MIB)?;
        }
        self.agent.within("novacula-agent", AGENT_MIB)
    }
}

/// Runs the programs in `folder`, and prints what they hold.
pub(crate) async fn run(folder: &Path, executors: usize) -> anyhow::Result<Figures> {
    let program = |name: &str| {
        let path = folder.join(name);
        ensure!(path.is_file(), "there is no {}: build {name} first, or say --binaries", path.display());
        Ok(path)
    };
    let programs = Programs {
        server: program("novacula-server")?,
        novacula: program("novacula")?,
        agent: program("novacula-agent")?,
    };
    let pace = Pace { probation: Duration::from_secs(10), window: Duration::from_secs(60) };
    eprintln!("a control plane, and an agent that is watched for {QUIET:?} ...");
    let mut fleet = Fleet::start(&programs, Manager::Supervise, pace)?;
    let (server, agent, parent) = (fleet.control.pid()?, fleet.host.pid()?, fleet.host.parent_pid()?);
    let before = (Sleeps::of(agent)?, Sleeps::of(parent)?);
    tokio::time::sleep(QUIET).await;
    let woken = (before.0.woken_since()?, before.1.woken_since()?);
    let (alone, agent, parent) = (Held::of(server)?, Held::of(agent)?, Held::of(parent)?);

    eprintln!("{executors} executors enrol beside, and the control plane starts anew ...");
    let words = join_words(&fleet.control, executors)?;
    let mut beside = Beside::enrol(&words).await?;
    fleet.control.turn_off();
    fleet.control.turn_on()?;
    eprintln!("they dial ...");
    beside.dial().await?;
    let connected = Held::of(fleet.control.pid()?)?;
    eprintln!("they dial again, {AGAIN} times ...");
    for _ in 0..AGAIN {
        beside.dial().await?;
    }
    let worn = Held::of(fleet.control.pid()?)?;
    beside.end().await?;
    fleet.host.kill()?;

    println!("{:<44} {:>7} {:>7} {:>7}", "resident, in MiB", "all", "own", "files");
    alone.print("novacula-server, one agent");
    connected.print(&format!("novacula-server, {executors} streams more"));
    worn.print(&format!("novacula-server, all {executors} dialled {AGAIN} times more"));
    agent.print("novacula-agent, idle");
    parent.print("its parent (run --supervise)");
    println!("wake-ups in {QUIET:?} of a heartbeat a second: agent {}, parent {}", woken.0, woken.1);
    Ok(Figures { executors, connected, worn, agent })
}

/// One for each executor: a join token is spent by one.
fn join_words(control: &ControlPlane, executors: usize) -> anyhow::Result<Vec<String>> {
    (0..executors)
        .map(|i| {
            let word = control.succeed(As::Owner, &["join-token", "create", "--executor", &format!("held-{i}")])?;
            Ok(word.trim().to_owned())
        })
        .collect()
}
