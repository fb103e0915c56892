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

struct Screen {
    printer: Printer,
    bar: Option<ProgressBar>,
    last_phase: Option<v1::Phase>,
}

impl Screen {
    fn new(printer: Printer) -> Self {
        let bar = (!printer.is_json() && io::stderr().is_terminal()).then(|| {
            // A bar has a length, and before the first answer there is none.
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { printer, bar, last_phase: None }
    }

    fn show(&mut self, attempt: &v1::Attempt) -> Result<(), Error> {
        let new_phase = self.last_phase.replace(attempt.phase()) != Some(attempt.phase());
        match &self.bar {
            Some(bar) => draw(bar, attempt),
            None if self.printer.is_json() => self.printer.streamed(attempt, |_| String::new())?,
            None if new_phase => {
                eprintln!("{} -> {}: {}", attempt.from_version, attempt.target_version, phase(attempt))
            }
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
    // First, or the next phase's bar would be seen beside the name of the one before.
    bar.set_message(format!("{} -> {} {}", attempt.from_version, attempt.target_version, phase(attempt)));
    let template = if bytes {
        "{spinner} {msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}"
    } else {
        "{spinner} {msg} {elapsed}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_length(attempt.bytes_total);
    bar.set_position(attempt.bytes_done);
}
