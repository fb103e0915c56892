//! Following an attempt: a progress bar on a terminal, a line a phase elsewhere, one JSON document a line for programs.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use proto::v1;
use proto::v1::upgrade_service_client::UpgradeServiceClient;

use crate::connect::Api;
use crate::error::Error;
use crate::output::{Printer, printable};

/// How often the spinner turns; the bar's only timer.
const TICK: Duration = Duration::from_millis(120);

/// Follows an attempt to its outcome, or until the executor refused it. A stream that breaks is opened again: the attempt goes on whether we look or not.
pub(crate) async fn follow(api: &Api, name: &str, printer: Printer, limit: Duration) -> Result<v1::Attempt, Error> {
    let followed = tokio::time::timeout(limit, follow_for_ever(api, name, printer)).await;
    followed.unwrap_or_else(|_| {
        let limit = humantime::format_duration(limit);
        Err(Error::TimedOut(format!("no outcome after {limit}; the attempt goes on: novacula upgrade watch {name}")))
    })
}

async fn follow_for_ever(api: &Api, name: &str, printer: Printer) -> Result<v1::Attempt, Error> {
    let mut screen = Screen::new(printer);
    let mut client = UpgradeServiceClient::new(api.clone());
    let mut failures = 0u32;
    loop {
        match watch_once(&mut client, name, &mut screen).await {
            Ok(Some(attempt)) => {
                screen.finish();
                return Ok(attempt);
            }
            Ok(None) => failures = 0,
            Err(error @ Error::Unreachable { .. }) if failures < 5 => {
                failures += 1;
                screen.note(&format!("{}; trying again", error.sentence()));
            }
            Err(error) => {
                screen.finish();
                return Err(error);
            }
        }
        tokio::time::sleep(Duration::from_millis(250 * u64::from(failures + 1))).await;
    }
}

/// One stream: the attempt that ended or was refused, or none when the stream closed before.
async fn watch_once(
    client: &mut UpgradeServiceClient<Api>,
    name: &str,
    screen: &mut Screen,
) -> Result<Option<v1::Attempt>, Error> {
    let request = v1::WatchAttemptRequest { name: name.to_owned() };
    let mut stream = client.watch_attempt(request).await?.into_inner();
    while let Some(response) = stream.message().await? {
        let Some(attempt) = response.attempt else {
            continue;
        };
        screen.show(&attempt)?;
        // What the executor refused has no outcome until its TTL, and nothing more will come of it.
        if attempt.refused || attempt.outcome() != v1::Outcome::Unspecified {
            return Ok(Some(attempt));
        }
    }
    Ok(None)
}

/// The name of a phase, for people.
pub(crate) fn phase(attempt: &v1::Attempt) -> String {
    attempt.phase().as_str_name().trim_start_matches("PHASE_").to_lowercase()
}

/// The name of an outcome, for people; a dash while there is none.
pub(crate) fn outcome(attempt: &v1::Attempt) -> String {
    match attempt.outcome() {
        v1::Outcome::Unspecified if attempt.refused => "refused".to_owned(),
        v1::Outcome::Unspecified => "-".to_owned(),
        outcome => outcome.as_str_name().trim_start_matches("OUTCOME_").to_lowercase(),
    }
}

/// `REGISTRY_UNREACHABLE: registry r.example cannot be reached`: what the executor waits out; empty: nothing.
pub(crate) fn waits_out(attempt: &v1::Attempt) -> String {
    attempt.waiting.as_ref().map(v1::Waiting::sentence).unwrap_or_default()
}

/// How it stands, in a line.
fn headline(attempt: &v1::Attempt) -> String {
    let line = format!("{} -> {}: {}", attempt.from_version, attempt.target_version, phase(attempt));
    match waits_out(attempt).as_str() {
        "" => line,
        waits_out => format!("{line}, waits out {waits_out}"),
    }
}

struct Screen {
    printer: Printer,
    bar: Option<ProgressBar>,
    /// The phase and the error that is waited out, as they were last written.
    last: Option<(v1::Phase, String)>,
}

impl Screen {
    fn new(printer: Printer) -> Self {
        let bar = (!printer.is_json() && io::stderr().is_terminal()).then(|| {
            // A bar has a length, and before the first answer there is none.
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { printer, bar, last: None }
    }

    fn show(&mut self, attempt: &v1::Attempt) -> Result<(), Error> {
        let error_code = attempt.waiting.as_ref().map(|waiting| waiting.error_code.clone()).unwrap_or_default();
        let now = Some((attempt.phase(), error_code));
        let is_new = self.last != now;
        self.last = now;
        match &self.bar {
            Some(bar) => draw(bar, attempt),
            None if self.printer.is_json() => self.printer.streamed(attempt, |_| String::new())?,
            None if is_new => eprintln!("{}", printable(&headline(attempt))),
            None => {}
        }
        Ok(())
    }

    fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(printable(text)),
            None => eprintln!("{}", printable(text)),
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn draw(bar: &ProgressBar, attempt: &v1::Attempt) {
    let bytes = attempt.phase() == v1::Phase::Downloading && attempt.bytes_total > 0;
    let waits = attempt.waiting.is_some();
    // First, or the next phase's bar would be seen beside the name of the one before. What is waited out may be a long sentence, and
    // comes when there is a place that cuts it.
    if !waits {
        bar.set_message(headline(attempt));
    }
    let template = if waits {
        "{spinner} {wide_msg}"
    } else if bytes {
        "{spinner} {msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}"
    } else {
        "{spinner} {msg} {elapsed}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    if waits {
        bar.set_message(printable(&headline(attempt)).replace('\n', " "));
    }
    bar.set_length(attempt.bytes_total);
    bar.set_position(attempt.bytes_done);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_out_stands_beside_the_phase() {
        let mut attempt = v1::Attempt {
            from_version: "1.1.0".to_owned(),
            target_version: "1.2.0".to_owned(),
            phase: v1::Phase::Delivered.into(),
            ..v1::Attempt::default()
        };
        assert_eq!(headline(&attempt), "1.1.0 -> 1.2.0: delivered");
        let mut waits = |message: &str| {
            let (error_code, message) = ("REGISTRY_UNREACHABLE".to_owned(), message.to_owned());
            attempt.waiting = Some(v1::Waiting { error_code, message, since_time: None });
            headline(&attempt)
        };
        assert_eq!(waits("away"), "1.1.0 -> 1.2.0: delivered, waits out REGISTRY_UNREACHABLE: away");
        assert_eq!(waits(""), "1.1.0 -> 1.2.0: delivered, waits out REGISTRY_UNREACHABLE");
    }
}
