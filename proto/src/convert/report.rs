//! Reports: what an executor says about an attempt that is over for it. All of its text is a stranger's.

use domain::attempt::{ErrorCode, Outcome, Report, Stage};
use domain::sync::AttemptReport;

use crate::convert::{Error, field, text, vocabulary};
use crate::v1;

impl From<AttemptReport> for v1::Report {
    fn from(of: AttemptReport) -> Self {
        let AttemptReport { attempt, target_version, from_version, report } = of;
        Self {
            attempt: attempt.to_string(),
            outcome: v1::Outcome::from(report.outcome).into(),
            stage: report.stage.map(|stage| stage.as_str().to_owned()).unwrap_or_default(),
            error_code: report.error_code.map(|code| code.as_str().to_owned()).unwrap_or_default(),
            message: text::line(&report.message, text::MESSAGE_MAX_BYTES),
            running_version: report.running_version.to_string(),
            rolled_back_to: field::text(report.rolled_back_to.as_ref()),
            log_tail: text::log_tail(report.log_tail.iter().map(String::as_str)),
            target_version: field::text(target_version.as_ref()),
            from_version: field::text(from_version.as_ref()),
        }
    }
}

impl TryFrom<v1::Report> for AttemptReport {
    type Error = Error;

    fn try_from(wire: v1::Report) -> Result<Self, Error> {
        Ok(Self {
            attempt: field::required("attempt", &wire.attempt)?,
            target_version: field::optional("target_version", &wire.target_version)?,
            from_version: field::optional("from_version", &wire.from_version)?,
            report: report(&wire)?,
        })
    }
}

/// Words of a later version are kept as text in the message, in front, so that the end they tell about is not lost.
fn report(wire: &v1::Report) -> Result<Report, Error> {
    if wire.outcome == 0 {
        return Err(Error::missing("outcome"));
    }
    let mut unknown = Vec::new();
    let outcome = vocabulary::outcome(wire.outcome).unwrap_or_else(|| {
        unknown.push(format!("outcome {}", wire.outcome));
        Outcome::Failed
    });
    let stage = Stage::parse(&wire.stage);
    if stage.is_none() && !wire.stage.is_empty() {
        unknown.push(format!("stage {}", text::line(&wire.stage, 64)));
    }
    let error_code = match (wire.error_code.as_str(), ErrorCode::parse(&wire.error_code)) {
        ("", _) => None,
        (_, Some(known)) => Some(known),
        (name, None) => {
            unknown.push(text::line(name, 64));
            Some(ErrorCode::Other)
        }
    };
    let mut message = text::line(&wire.message, text::MESSAGE_MAX_BYTES);
    if !unknown.is_empty() {
        message = text::line(&format!("({}) {message}", unknown.join(", ")), text::MESSAGE_MAX_BYTES);
    }
    Ok(Report {
        outcome,
        stage,
        error_code,
        message,
        running_version: field::required("running_version", &wire.running_version)?,
        rolled_back_to: field::optional("rolled_back_to", &wire.rolled_back_to)?,
        log_tail: text::log_tail(wire.log_tail.iter().map(String::as_str)),
    })
}
