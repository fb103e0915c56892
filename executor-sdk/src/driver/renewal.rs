//! When the certificate is renewed, and the renewal under way.
//!
//! It is due from a third of its life, later by a jitter of this process's own, and goes over the stream's connection. When
//! the certificate is over, or was refused, the next connection is used to renew before it is used for anything else.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::link::Certificate;
use crate::clock;
use crate::connect::Connection;
use crate::credentials::{Credentials, Keeper};
use crate::enrol;

/// A renewal that failed is tried again after this long, and up to ten times that: there are weeks left.
const AGAIN: Duration = Duration::from_secs(60);

type Answer = Result<Credentials, enrol::Error>;

pub(super) struct Renewal {
    /// 0 to 1: this process's place in the fleet's renewals.
    jitter: f64,
    running: Option<Pin<Box<dyn Future<Output = Answer> + Send>>>,
    /// Not again before this, whoever wishes it: the last one failed.
    not_before: Option<Instant>,
    /// Not by its own word before this. Without it a host whose clock runs ahead would renew without end.
    own_not_before: Option<Instant>,
    /// The control plane's wish.
    by: Option<Instant>,
    need: Need,
}

/// Whether a new certificate is needed before a stream can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// By what the host's clock says of it.
    Unknown,
    /// It was refused.
    Yes,
    /// It was renewed just now, or renewing it did not help.
    No,
}

impl Renewal {
    pub(super) fn new() -> Self {
        Self {
            jitter: rand::random(),
            running: None,
            not_before: None,
            own_not_before: None,
            by: None,
            need: Need::Unknown,
        }
    }

    /// How long until it should be started; none while it runs, or without a stream to do it over.
    pub(super) fn due_in(&self, credentials: &Credentials, up: bool) -> Option<Duration> {
        if self.running.is_some() || !up {
            return None;
        }
        let now = Instant::now();
        let left = |at: Instant| at.saturating_duration_since(now);
        let own = credentials.validity().renew_in(clock::wall(), self.jitter);
        let own = own.max(self.own_not_before.map_or(Duration::ZERO, left));
        // The control plane wishes it once a welcome, and knows why: its authority was rotated.
        let due = self.by.map_or(own, |by| own.min(left(by)));
        Some(due.max(self.not_before.map_or(Duration::ZERO, left)))
    }

    pub(super) fn must_come_first(&self, credentials: &Credentials) -> bool {
        match self.need {
            Need::Yes => true,
            Need::No => false,
            Need::Unknown => credentials.validity().is_over(clock::wall()),
        }
    }

    pub(super) fn start(&mut self, connection: Connection, credentials: &Credentials, store: &Arc<dyn Keeper>) {
        let (credentials, store) = (credentials.clone(), Arc::clone(store));
        self.running = Some(Box::pin(async move { enrol::renew(&connection, &credentials, &store).await }));
    }

    /// The end of the renewal under way. Cancel safe.
    pub(super) async fn next(&mut self) -> Answer {
        let Some(running) = &mut self.running else {
            return pending().await;
        };
        let answer = running.await;
        self.running = None;
        self.need = Need::No;
        match &answer {
            Ok(credentials) => {
                self.by = None;
                let validity = credentials.validity();
                let pause = validity.not_after.since(validity.not_before) / 10;
                self.own_not_before = Some(Instant::now() + pause);
            }
            Err(_) => self.not_before = Some(Instant::now() + AGAIN + AGAIN.mul_f64(9.0 * self.jitter)),
        }
        answer
    }

    /// The control plane let us in, and may want the certificate renewed earlier.
    pub(super) fn welcomed(&mut self, renew_after: Option<Duration>) {
        self.need = Need::Unknown;
        self.by = renew_after.and_then(|after| Instant::now().checked_add(after));
    }

    /// It did not let us in.
    pub(super) fn refused(&mut self, certificate: Certificate) {
        self.need = match certificate {
            Certificate::Refused if self.need != Need::Yes => Need::Yes,
            Certificate::Refused => Need::No,
            Certificate::NotTheTrouble => self.need,
        };
    }
}
