//! What is listed for people: organizations, releases, nodes, events.

use domain::{Channel, Release, Revision};

use super::{Columns, read_all};
use crate::column::{ArtifactShape, status_parse};
use crate::error::Error;
use crate::event::EventRow;
use crate::node::NodeRecord;
use crate::organization::Organization;

/// Reads an organization.
pub(crate) fn organization(mut row: impl Columns) -> Result<Organization, Error> {
    Ok(Organization {
        id: row.text("id")?,
        display_name: row.string("display_name")?,
        create_time: row.time("create_time")?,
    })
}

/// Reads a release.
pub(crate) fn release(mut row: impl Columns) -> Result<Release, Error> {
    Ok(Release {
        id: row.text("id")?,
        revision: Revision(row.number("revision")?),
        channel: row.text::<Channel>("channel")?,
        status: row.word("status", status_parse)?,
        notes: row.string("notes")?,
        floor: row.text_or_null("floor")?,
        sequence: row.number_or_null("sequence")?,
        artifacts: {
            let shapes: Vec<ArtifactShape> = row.json("artifacts")?;
            read_all(shapes).map_err(|error| row.refuse("artifacts", error))?
        },
        create_time: row.time("create_time")?,
        publish_time: row.time_or_null("publish_time")?,
        yank_reason: row.string_or_null("yank_reason")?,
    })
}

/// Reads a node.
pub(crate) fn node(mut row: impl Columns) -> Result<NodeRecord, Error> {
    Ok(NodeRecord {
        name: row.string("name")?,
        platform: row.string("platform")?,
        kernel_version: row.string("kernel_version")?,
        os_image: row.string("os_image")?,
        kubelet_version: row.string("kubelet_version")?,
        ready: row.flag("ready")?,
        report_time: row.time("report_time")?,
    })
}

/// Reads an event.
pub(crate) fn event(mut row: impl Columns) -> Result<EventRow, Error> {
    Ok(EventRow {
        sequence: row.number("sequence")?,
        kind: row.string("kind")?,
        actor: row.string("actor")?,
        target: row.string("target")?,
        organization: row.text_or_null("organization")?,
        time: row.time("time")?,
        details: row.json("details")?,
    })
}
