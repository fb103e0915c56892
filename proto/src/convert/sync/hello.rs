//! Hello, both ways.

use domain::Generation;
use domain::sync::{AttemptReport, Hello};

use crate::convert::{Error, field, text, vocabulary};
use crate::v1;

/// Most entries of a list in `hello` (key ids, capabilities, unsent outcomes): a hundred times what a good executor sends.
const LIST_MAX: usize = 256;

impl From<Hello> for v1::Hello {
    fn from(hello: Hello) -> Self {
        Self {
            uid: hello.uid.to_string(),
            instance_id: hello.instance.to_string(),
            kind: v1::Kind::from(hello.kind).into(),
            version: hello.version.to_string(),
            binary_sha256: field::text(hello.binary_sha256.as_ref()),
            platform: field::text(hello.platform.as_ref()),
            release_key_ids: hello.release_key_ids,
            capabilities: hello.capabilities,
            generation: hello.generation.0,
            open_attempt: field::text(hello.open_attempt.as_ref()),
            phase: vocabulary::number(hello.phase.map(v1::Phase::from)),
            unsent_outcomes: hello.unsent_outcomes.into_iter().map(v1::Report::from).collect(),
            pinned: hello.pinned.is_some(),
            pinned_reason: hello.pinned.unwrap_or_default(),
            channel: vocabulary::number(hello.channel.map(v1::Channel::from)),
            channel_ceiling: vocabulary::number(hello.channel_ceiling.map(v1::Channel::from)),
            floor: field::text(hello.floor.as_ref()),
        }
    }
}

impl TryFrom<v1::Hello> for Hello {
    type Error = Error;

    fn try_from(wire: v1::Hello) -> Result<Self, Error> {
        let unknown_kind = || Error::new("kind", "is neither agent nor operator", &wire.kind.to_string());
        Ok(Self {
            uid: field::required("uid", &wire.uid)?,
            instance: field::required("instance_id", &wire.instance_id)?,
            kind: vocabulary::kind(wire.kind).ok_or_else(unknown_kind)?,
            version: field::required("version", &wire.version)?,
            binary_sha256: field::optional("binary_sha256", &wire.binary_sha256)?,
            platform: field::optional("platform", &wire.platform)?,
            release_key_ids: key_ids(wire.release_key_ids)?,
            capabilities: capabilities(wire.capabilities),
            generation: Generation(field::counter("generation", wire.generation)?),
            open_attempt: field::optional("open_attempt", &wire.open_attempt)?,
            phase: vocabulary::phase(wire.phase),
            unsent_outcomes: unsent(wire.unsent_outcomes)?,
            pinned: wire.pinned.then(|| pinned(&wire.pinned_reason)),
            channel: vocabulary::channel(wire.channel),
            channel_ceiling: vocabulary::channel(wire.channel_ceiling),
            floor: field::optional("floor", &wire.floor)?,
        })
    }
}

fn key_ids(ids: Vec<String>) -> Result<Vec<String>, Error> {
    // minisign prints an id as a number, without leading zeros.
    let fits = |id: &String| {
        (1..=16).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
    };
    if let Some(bad) = ids.iter().find(|id| !fits(id)) {
        return Err(Error::new("release_key_ids", "is not 1 to 16 upper-case hexadecimal digits", bad));
    }
    if ids.len() > LIST_MAX {
        return Err(too_many("release_key_ids", ids.len()));
    }
    Ok(ids)
}

/// Only what could be the name of a capability; the rest nobody here would know anyway.
fn capabilities(names: Vec<String>) -> Vec<String> {
    let fits = |name: &String| (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
    names.into_iter().filter(fits).take(LIST_MAX).collect()
}

fn unsent(reports: Vec<v1::Report>) -> Result<Vec<AttemptReport>, Error> {
    if reports.len() > LIST_MAX {
        return Err(too_many("unsent_outcomes", reports.len()));
    }
    let one = |report: v1::Report| report.try_into().map_err(|error: Error| error.within("unsent_outcomes"));
    reports.into_iter().map(one).collect()
}

fn too_many(field: &'static str, given: usize) -> Error {
    Error::new(field, format!("has more than {LIST_MAX} entries"), &given.to_string())
}

fn pinned(reason: &str) -> String {
    let reason = text::line(reason, text::NOTE_MAX_BYTES);
    if reason.is_empty() { "no reason given".to_owned() } else { reason }
}
