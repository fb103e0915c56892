//! Who starts this agent, restarts it and keeps its output: systemd, or our own `--supervise` parent. Both keep one contract.
//!
//! - A restart runs whatever binary is on disk then, and does not count as a failure.
//! - A start that is not ready in time, an exit and a kill are followed by another start; too many of them too soon lead to
//!   [`crate::rollback`], never to a unit that stays failed.
//! - The log is asked from a cursor on, taken before the swap, so that the tail is the failing version's.

pub mod systemd;

pub mod supervise;

pub mod contract;

use std::env;
use std::future::Future;
use std::path::Path;

use domain::attempt::outcome::LOG_TAIL_MAX_BYTES;

use crate::command;
use crate::layout::Layout;

/// Says to a child which process supervises it.
pub const SUPERVISED: &str = "NOVACULA_SUPERVISED";

/// What an agent asks of whoever started it.
pub trait ServiceManager: Send + Sync {
    /// Asks for a start of the binary on disk in this process's place, as a healthy restart. Returns before it happens.
    fn restart(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Where in the log the next line will be.
    fn log_cursor(&self) -> impl Future<Output = Option<String>> + Send;

    /// The last lines logged after `cursor`, oldest first, at most [`LOG_TAIL_MAX_BYTES`] of them.
    fn log_tail(&self, cursor: Option<&str>) -> impl Future<Output = Vec<String>> + Send;
}

/// A service manager did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program of it failed.
    #[error("ask systemd")]
    Command(#[source] command::Error),
    /// The supervising parent could not be told.
    #[error("tell the supervisor")]
    Supervisor(#[source] std::io::Error),
    /// There is none.
    #[error("neither systemd nor --supervise started this process")]
    Nobody,
}

/// The service manager of this host.
#[derive(Clone, Debug)]
pub enum Manager {
    /// systemd, through systemctl and journalctl.
    Systemd(systemd::Systemd),
    /// Our own parent process.
    Supervisor(supervise::Child),
    /// Started by hand.
    Nobody,
}

impl Manager {
    /// Who started this process, by what it was given.
    #[must_use]
    pub fn of_this_process(layout: &Layout) -> Self {
        if env::var_os(SUPERVISED).is_some() {
            Self::Supervisor(supervise::Child::new(layout))
        } else if Path::new("/run/systemd/system").is_dir() && env::var_os("NOTIFY_SOCKET").is_some() {
            Self::Systemd(systemd::Systemd::default())
        } else {
            Self::Nobody
        }
    }

    /// Who runs the agent of this host, as a command typed by a person sees it.
    #[must_use]
    pub fn of_host(layout: &Layout) -> Self {
        let supervisor = supervise::Child::new(layout);
        if supervisor.is_listening() {
            Self::Supervisor(supervisor)
        } else if Path::new("/run/systemd/system").is_dir() {
            Self::Systemd(systemd::Systemd::default())
        } else {
            Self::Nobody
        }
    }

    /// Its name, for people.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Systemd(_) => "systemd",
            Self::Supervisor(_) => "supervise",
            Self::Nobody => "none",
        }
    }
}

impl ServiceManager for Manager {
    async fn restart(&self) -> Result<(), Error> {
        match self {
            Self::Systemd(systemd) => systemd.restart().await,
            Self::Supervisor(child) => child.restart().await,
            Self::Nobody => Err(Error::Nobody),
        }
    }

    async fn log_cursor(&self) -> Option<String> {
        match self {
            Self::Systemd(systemd) => systemd.log_cursor().await,
            Self::Supervisor(child) => child.log_cursor().await,
            Self::Nobody => None,
        }
    }

    async fn log_tail(&self, cursor: Option<&str>) -> Vec<String> {
        match self {
            Self::Systemd(systemd) => systemd.log_tail(cursor).await,
            Self::Supervisor(child) => child.log_tail(cursor).await,
            Self::Nobody => Vec::new(),
        }
    }
}

/// The last lines of a log as a report may carry them: control characters out, since people's terminals will show them, and
/// at most [`LOG_TAIL_MAX_BYTES`] with their line ends, whole lines only, the newest kept.
#[must_use]
pub fn tail(text: &str) -> Vec<String> {
    let mut room = LOG_TAIL_MAX_BYTES;
    let mut lines = Vec::new();
    for line in text.lines().rev() {
        let line: String = line.chars().filter(|letter| !letter.is_control() || *letter == '\t').collect();
        let Some(left) = room.checked_sub(line.len() + 1) else {
            break;
        };
        room = left;
        lines.push(line);
    }
    lines.reverse();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_keeps_the_newest_whole_lines_and_no_terminal_escapes() {
        let text = format!("first\n{}\nlast \u{1b}[31mred\u{7}\ttab\r\n", "x".repeat(LOG_TAIL_MAX_BYTES - 5));
        let lines = tail(&text);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0], "last [31mred\ttab");
        assert_eq!(tail("a\nb\n"), ["a", "b"]);
        assert!(tail("").is_empty());
    }
}
