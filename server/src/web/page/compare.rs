//! `/releases/compare?kind=agent&from=1.0.0&to=1.2.0`: what lies between two versions. The same stands in the page that asks for an
//! upgrade.

use askama::Template;
use axum::Router;
use axum::extract::Query;
use axum::routing::get;
use domain::Version;
use proto::v1;
use serde::Deserialize;

use crate::web::Web;
use crate::web::error::PageError;
use crate::web::markdown;
use crate::web::page::{Frame, Page, Place, html};
use crate::web::session::SignedIn;
use crate::web::show::{self, Safe};

/// The page.
#[derive(Template)]
#[template(path = "compare.html")]
struct ComparePage {
    frame: Frame,
    kind: String,
    comparison: Comparison,
}

/// What lies between.
#[derive(Debug)]
pub struct Comparison {
    /// The version before.
    pub from: String,
    /// The version after.
    pub to: String,
    /// Releases between, newest first.
    pub releases: Vec<Between>,
    /// `linux/amd64`, and by how much it grows or shrinks.
    pub sizes: Vec<(String, String)>,
    /// What changes in support.
    pub support: String,
    /// Whether it is more than one step.
    pub is_far: bool,
}

/// One release on the way.
#[derive(Debug)]
pub struct Between {
    /// As the API has it.
    pub release: v1::Release,
    /// What its makers say.
    pub notes: Safe,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
}

/// The routes.
pub fn routes() -> Router<Web> {
    Router::new().route("/releases/compare", get(compare))
}

async fn compare(signed_in: SignedIn, Query(asked): Query<Asked>) -> Page {
    let kind = match asked.kind.as_str() {
        "agent" => v1::Kind::Agent,
        "operator" => v1::Kind::Operator,
        _ => return Err(PageError::said(http::StatusCode::BAD_REQUEST, "kind is agent or operator")),
    };
    let comparison = Comparison::read(&signed_in, kind, &asked.from, &asked.to).await?;
    Ok(html(&ComparePage { frame: Frame::new(&signed_in.reader, None, Place::Releases), kind: asked.kind, comparison }))
}

// === impl Comparison ===

impl Comparison {
    /// Asks the API.
    ///
    /// # Errors
    /// A version is none, or the catalog does not hold the target.
    pub async fn read(signed_in: &SignedIn, kind: v1::Kind, from: &str, to: &str) -> Result<Self, tonic::Status> {
        let request =
            v1::CompareReleasesRequest { kind: kind.into(), from_version: from.to_owned(), to_version: to.to_owned() };
        let answer = signed_in.api.releases().compare_releases(request).await?.into_inner();
        Ok(Self::new(from, to, answer, &signed_in.reader.server_version))
    }

    fn new(from: &str, to: &str, answer: v1::CompareReleasesResponse, control_plane: &str) -> Self {
        let mut sizes: Vec<(String, String)> =
            answer.size_delta_bytes.into_iter().map(|(platform, delta)| (platform, signed(delta))).collect();
        sizes.sort();
        let between = |release: v1::Release| Between { notes: markdown::render(&release.release_notes), release };
        Self {
            support: support(from, to, control_plane),
            releases: answer.releases.into_iter().map(between).collect(),
            is_far: answer.major_hop,
            from: from.to_owned(),
            to: to.to_owned(),
            sizes,
        }
    }

    /// By how much the artifact for a platform grows or shrinks.
    #[must_use]
    pub fn size(&self, platform: &str) -> Option<&str> {
        self.sizes.iter().find(|(other, _)| other == platform).map(|(_, size)| size.as_str())
    }
}

/// `1.2 MiB more`, `3 B less`.
fn signed(delta: i64) -> String {
    match delta {
        0 => "the same size".to_owned(),
        delta if delta < 0 => format!("{} less", show::bytes(delta.unsigned_abs())),
        delta => format!("{} more", show::bytes(delta.unsigned_abs())),
    }
}

/// What a control plane of this version thinks of both.
fn support(from: &str, to: &str, control_plane: &str) -> String {
    let versions = (from.parse::<Version>(), to.parse::<Version>(), control_plane.parse::<Version>());
    let (Ok(before), Ok(after), Ok(plane)) = versions else { return String::new() };
    let behind = format!("more than one major behind the control plane, {plane}");
    match (before.is_out_of_support(&plane), after.is_out_of_support(&plane)) {
        (false, false) => String::new(),
        (true, false) => format!("{from} is out of support ({behind}); {to} is supported again."),
        (false, true) => format!(
            "{to} is out of support ({behind}): it syncs and takes upgrades, and what needs a newer protocol, such as the list of \
             nodes, is refused."
        ),
        (true, true) => format!("{to} is still out of support ({behind}): go on to the next major."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_in_support_is_said() {
        for (from, to, word) in [
            ("2.0.0", "2.1.0", ""),
            ("1.0.0", "2.0.0", "2.0.0 is supported again"),
            ("2.0.0", "1.9.0", "1.9.0 is out of support"),
            ("0.9.0", "1.0.0", "still out of support"),
        ] {
            let said = support(from, to, "3.2.0");
            assert!(said.contains(word) && said.is_empty() == word.is_empty(), "{from} {to}: {said}");
        }
        assert_eq!(support("x", "1.0.0", "3.0.0"), "");
    }

    #[test]
    fn sizes_are_told_by_platform() {
        let answer = v1::CompareReleasesResponse {
            size_delta_bytes: [("linux/arm64".to_owned(), -3), ("linux/amd64".to_owned(), 2 << 20)].into(),
            ..v1::CompareReleasesResponse::default()
        };
        let comparison = Comparison::new("1.0.0", "1.1.0", answer, "1.5.0");
        assert_eq!(comparison.size("linux/amd64"), Some("2.0 MiB more"));
        assert_eq!((comparison.size("linux/arm64"), comparison.size("linux/arm")), (Some("3 B less"), None));
        assert_eq!(signed(0), "the same size");
    }
}
