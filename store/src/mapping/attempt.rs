//! Attempts.

use domain::attempt::{Ending, Outcome, OutcomeSource, Phase, Report, WaitingSince};
use domain::{Attempt, ExecutorName, Generation, RequestId, Revision};

use super::Columns;
use crate::column::{EndingShape, ReportShape, WaitingShape, actor_parse};
use crate::error::Error;

/// Reads an attempt.
pub(crate) fn attempt(mut row: impl Columns) -> Result<Attempt, Error> {
    Ok(Attempt {
        id: row.text("id")?,
        executor: row.text("executor")?,
        executor_name: ExecutorName { organization: row.text("organization")?, executor: row.text("executor_name")? },
        revision: Revision(row.number("revision")?),
        release: row.text("release")?,
        from_version: row.text("from_version")?,
        generation: Generation(row.number("generation")?),
        phase: row.word("phase", Phase::parse)?,
        refused: {
            let shape: Option<ReportShape> = row.json_or_null("refused")?;
            shape.map(Report::try_from).transpose().map_err(|error| row.refuse("refused", error))?
        },
        rollback_requested: row.flag("rollback_requested")?,
        ending: ending(&mut row)?,
        corrected: row.flag("corrected")?,
        bytes_done: row.number("bytes_done")?,
        bytes_total: row.number("bytes_total")?,
        request_time: row.time("request_time")?,
        deliver_time: row.time_or_null("deliver_time")?,
        progress_time: row.time_or_null("progress_time")?,
        apply_time: row.time_or_null("apply_time")?,
        end_time: row.time_or_null("end_time")?,
        expire_time: row.time("expire_time")?,
        requested_by: {
            let actor = row.string("requested_by")?;
            actor_parse(&actor).map_err(|error| row.refuse("requested_by", error))?
        },
        request_id: {
            let id = row.string_or_null("request_id")?;
            id.map(|id| RequestId::new(&id)).transpose().map_err(|error| row.refuse("request_id", error))?
        },
        waiting: row.json_or_null::<WaitingShape>("waiting")?.map(WaitingSince::from),
    })
}

fn ending(row: &mut impl Columns) -> Result<Option<Ending>, Error> {
    let outcome = row.word_or_null("outcome", Outcome::parse)?;
    let source = row.word_or_null("outcome_source", OutcomeSource::parse)?;
    let shape: Option<EndingShape> = row.json_or_null("ending")?;
    match (outcome, source, shape) {
        (None, None, None) => Ok(None),
        (Some(outcome), Some(source), Some(shape)) => {
            shape.with(outcome, source).map(Some).map_err(|error| row.refuse("ending", error))
        }
        _ => Err(row.refuse("ending", "outcome, outcome_source and ending are not set together")),
    }
}
