//! A throw-away PostgreSQL: a cluster of its own, on a unix socket and on TCP with TLS and SCRAM, gone when it is dropped.
//!
//! The store's suites and the harness both need one, and the harness stands on the store: hence a crate. The tests never
//! install PostgreSQL; where it is missing, [`Error::Missing`] says what to install.
//!
//! Clusters run under `timeout`, so that one whose test was killed is gone within the hour.

mod certificates;

mod create;

mod disk;

pub mod proxy;

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use self::disk::Disk;

/// Whom PostgreSQL runs as when the tests run as root, which it refuses.
const ACCOUNT: &str = "postgres";

/// The user of the database, and its password over TCP.
pub const USER: &str = "app";

/// Of [`USER`].
pub const PASSWORD: &str = "not-a-secret";

/// The database of the tests.
pub const DATABASE: &str = "novacula";

/// The longest that a cluster lives.
const LIFE: &str = "3600";

/// Longest wait for a start or an end.
const PATIENCE: Duration = Duration::from_secs(60);

/// How PostgreSQL is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Connections are cut, and it shuts down in order.
    Fast,
    /// As a crash: it recovers from its log at the next start.
    Immediate,
}

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine lacks it.
    #[error("PostgreSQL 15 or newer is missing: apt-get install postgresql")]
    Missing,
    /// The system's.
    #[error("{0}")]
    Io(&'static str, #[source] io::Error),
    /// What a program said.
    #[error("{what} failed: {said}")]
    Failed {
        /// Which.
        what: &'static str,
        /// Its last words.
        said: String,
    },
    /// Certificates could not be made.
    #[error("make certificates")]
    Certificates(#[source] rcgen::Error),
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
    programs: PathBuf,
    account: Option<Account>,
    port: u16,
    child: Option<Child>,
    /// Where its data is, when that is a disk of its own. After the process on it.
    disk: Option<Disk>,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    uid: u32,
    gid: u32,
}

/// Does a cluster's commits wait for the disk?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// As in production.
    On,
    /// For suites that lose nothing but their own time.
    Off,
}

impl Cluster {
    /// Makes a cluster and starts it.
    ///
    /// # Errors
    /// [`Error::Missing`], or why it does not start.
    pub fn start(durability: Durability) -> Result<Self, Error> {
        Self::start_on(durability, None)
    }

    /// The same with its data on a disk of this size: 80 MiB are enough to begin with. Needs root.
    ///
    /// # Errors
    /// [`Error::Missing`], or why it does not start.
    pub fn start_on_disk(mebibytes: u32) -> Result<Self, Error> {
        Self::start_on(Durability::On, Some(mebibytes))
    }

    fn start_on(durability: Durability, disk: Option<u32>) -> Result<Self, Error> {
        let programs = programs().ok_or(Error::Missing)?;
        let account = account()?;
        let folder = tempfile::Builder::new().prefix("novacula-postgres-").tempdir();
        let folder = folder.map_err(|error| Error::Io("make a folder", error))?;
        let port = free_port()?;
        let mut cluster = Self { folder, programs, account, port, child: None, disk: None };
        if let Some(mebibytes) = disk {
            let owner = account.map_or((0, 0), |account| (account.uid, account.gid));
            cluster.disk = Some(Disk::make(&cluster.data(), mebibytes, owner)?);
        }
        cluster.create(durability)?;
        cluster.run()?;
        cluster.psql("postgres", &format!("CREATE DATABASE {DATABASE}"))?;
        Ok(cluster)
    }

    /// By the unix socket, without TLS or password.
    #[must_use]
    pub fn socket_url(&self) -> String {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://{USER}@{folder}:{}/{DATABASE}", self.port)
    }

    /// By TCP, with TLS, names checked, and a password.
    #[must_use]
    pub fn tls_url(&self) -> String {
        let roots = self.root_certificate();
        format!(
            "postgres://{USER}:{PASSWORD}@localhost:{}/{DATABASE}?sslmode=verify-full&sslrootcert={}",
            self.port,
            roots.display()
        )
    }

    /// Where its socket is.
    #[must_use]
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// The port on 127.0.0.1, and of the socket.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The authority that signed the server's certificate, PEM.
    #[must_use]
    pub fn root_certificate(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// A certificate of [`USER`] by that authority, and its key, PEM.
    #[must_use]
    pub fn client_certificate(&self) -> (PathBuf, PathBuf) {
        (self.folder.path().join("client.pem"), self.folder.path().join("client.key"))
    }

    /// Runs SQL as the superuser [`USER`]; what it printed, unaligned.
    ///
    /// # Errors
    /// With what psql said.
    pub fn sql(&self, sql: &str) -> Result<String, Error> {
        self.psql(DATABASE, sql)
    }

    /// Stops it. What was committed stays.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self, how: Stop) -> Result<(), Error> {
        let signal = match how {
            Stop::Fast => Signal::INT,
            Stop::Immediate => Signal::QUIT,
        };
        self.signal(signal);
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if child.try_wait().map_err(|error| Error::Io("wait for PostgreSQL", error))?.is_some() {
                return Ok(());
            }
            pause(Duration::from_millis(20));
        }
        self.child = Some(child);
        Err(Error::Failed { what: "pg_ctl stop", said: self.last_words() })
    }

    /// Starts it again, on the same port.
    ///
    /// # Errors
    /// When it does not accept connections.
    pub fn run(&mut self) -> Result<(), Error> {
        let log = File::options().append(true).create(true).open(self.log());
        let log = log.map_err(|error| Error::Io("open the log", error))?;
        let mut command = Command::new("timeout");
        // In front: the child's pid is `timeout`'s, which hands signals on.
        command.args(["--kill-after=5", LIFE]);
        self.as_account(&mut command).arg(self.programs.join("postgres")).arg("-D").arg(self.data());
        let errors = log.try_clone().map_err(|error| Error::Io("open the log", error))?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        self.child = Some(command.spawn().map_err(|error| Error::Io("start PostgreSQL", error))?);
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if self.psql("postgres", "SELECT 1").is_ok() {
                return Ok(());
            }
            if let Some(Ok(Some(_))) = self.child.as_mut().map(Child::try_wait) {
                break;
            }
            pause(Duration::from_millis(50));
        }
        Err(Error::Failed { what: "postgres", said: self.last_words() })
    }

    /// Leaves no room on its disk.
    ///
    /// # Errors
    /// The system's.
    pub fn fill_disk(&self) -> Result<(), Error> {
        self.disk.as_ref().map_or(Ok(()), Disk::fill)
    }

    /// Makes room again, and starts the server when it has given up meanwhile, as a service manager does.
    ///
    /// # Errors
    /// The system's, or why it does not start.
    pub fn free_disk(&mut self) -> Result<(), Error> {
        self.disk.as_ref().map_or(Ok(()), Disk::free)?;
        match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(None)) => Ok(()),
            _ => self.run(),
        }
    }

    /// What it wrote into its log.
    #[must_use]
    pub fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// The process of the server itself, for signals that a test sends.
    #[must_use]
    pub fn postmaster(&self) -> Option<u32> {
        let text = fs::read_to_string(self.seen(&self.data()).join("postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok()
    }

    fn psql(&self, database: &str, sql: &str) -> Result<String, Error> {
        let mut psql = Command::new("timeout");
        // Filling tables for a hundred thousand executors takes a minute where everything else runs beside it.
        psql.arg("240").arg(self.programs.join("psql"));
        psql.arg("-h").arg(self.folder.path()).args(["-p", &self.port.to_string(), "-U", USER, "-d", database]);
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        finished("psql", psql.output())
    }

    /// What follows runs as the account that PostgreSQL wants.
    fn as_account<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        if let Some(disk) = &self.disk {
            command.arg("nsenter").arg(format!("--mount={}", disk.namespace())).arg("--");
        }
        match self.account {
            None => command.arg("env"),
            // It replaces itself by the program, so that signals meet that.
            Some(Account { uid, gid }) => {
                command.arg("setpriv").arg(format!("--reuid={uid}")).arg(format!("--regid={gid}")).arg("--clear-groups")
            }
        }
    }

    fn give(&self, path: &Path) -> Result<(), Error> {
        let Some(Account { uid, gid }) = self.account else {
            return Ok(());
        };
        chown(path, Some(uid), Some(gid)).map_err(|error| Error::Io("give PostgreSQL its files", error))
    }

    fn signal(&self, signal: Signal) {
        let pid = self.postmaster().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may be gone.
            let _ = kill_process(pid, signal);
        }
    }

    /// A path of the server's, as it is seen from here.
    fn seen(&self, path: &Path) -> PathBuf {
        self.disk.as_ref().map_or_else(|| path.to_owned(), |disk| disk.seen(path))
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn last_words(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.signal(Signal::QUIT);
        if let Some(mut child) = self.child.take() {
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_secs(5) && matches!(child.try_wait(), Ok(None)) {
                pause(Duration::from_millis(10));
            }
            self.signal(Signal::KILL);
            // Nothing more can be done for it here; it has its time limit.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn finished(what: &'static str, output: io::Result<Output>) -> Result<String, Error> {
    let output = output.map_err(|error| Error::Io(what, error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    // Past its time limit a program says nothing.
    let said = if said.is_empty() { output.status.to_string() } else { said };
    Err(Error::Failed { what, said })
}

/// The newest installed version's programs, which Debian keeps off PATH.
#[must_use]
pub fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            let programs = entry.path().join("bin");
            (version >= 15 && programs.join("initdb").is_file()).then_some((version, programs))
        })
        .collect();
    found.sort();
    found.pop().map(|(_, programs)| programs)
}

fn account() -> Result<Option<Account>, Error> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let number = |flag: &str| -> Option<u32> {
        let output = Command::new("id").arg(flag).arg(ACCOUNT).output().ok()?;
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    };
    match (number("-u"), number("-g")) {
        (Some(uid), Some(gid)) => Ok(Some(Account { uid, gid })),
        _ => Err(Error::Missing),
    }
}

#[expect(clippy::disallowed_methods, reason = "between two looks at a process, on a thread of the caller's own")]
fn pause(duration: Duration) {
    thread::sleep(duration);
}

fn free_port() -> Result<u16, Error> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| Error::Io("find a free port", error))
}
