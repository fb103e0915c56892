//! Who is enrolled: forty hosts and clusters of one company.

use harness::control_plane::ControlPlane;
use harness::fake_executor::{FakeExecutor, Hello};
use proto::v1;

use crate::Result;

/// One executor of the stage, as it is at the end.
pub(crate) struct Member {
    /// It, enrolled.
    pub(crate) executor: FakeExecutor,
    /// What it is said to be.
    pub(crate) row: Row,
}

/// What it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) id: &'static str,
    /// What it runs first.
    pub(crate) version: &'static str,
    /// `site rack team`.
    pub(crate) labels: [&'static str; 3],
    /// What is special about it.
    pub(crate) bent: Bent,
}

/// What is special about an executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bent {
    /// Nothing.
    Plain,
    /// It is away.
    Away,
    /// Its host keeps it from upgrades.
    Pinned,
    /// It looks at the next release early.
    Beta,
    /// Another processor.
    Arm,
    /// It is an operator in a cluster.
    Operator,
}

use Bent::{Arm, Away, Beta, Operator, Pinned, Plain};

/// The fleet.
const FLEET: [Row; 38] = [
    row("api-1", "4.1.0", ["ams", "a1", "checkout"], Plain),
    row("api-2", "4.1.0", ["ams", "a1", "checkout"], Away),
    row("api-3", "4.1.0", ["ams", "a2", "checkout"], Away),
    row("api-4", "4.2.0", ["fra", "f1", "checkout"], Plain),
    row("api-5", "4.2.0", ["fra", "f1", "checkout"], Plain),
    row("billing-1", "2.8.3", ["fra", "f7", "finance"], Plain),
    row("billing-2", "3.9.2", ["fra", "f7", "finance"], Plain),
    row("cache-1", "4.2.1", ["ams", "a2", "platform"], Plain),
    row("cache-2", "4.2.1", ["ams", "a3", "platform"], Plain),
    row("cache-3", "4.2.0", ["fra", "f2", "platform"], Away),
    row("canary-1", "4.3.0-beta.1", ["ams", "a9", "platform"], Beta),
    row("db-1", "4.1.0", ["ams", "a4", "storage"], Pinned),
    row("db-2", "4.1.0", ["ams", "a4", "storage"], Plain),
    row("db-3", "4.1.0", ["fra", "f4", "storage"], Plain),
    row("db-4", "4.0.0", ["fra", "f4", "storage"], Plain),
    row("edge-ams-1", "4.2.0", ["ams", "e1", "edge"], Plain),
    row("edge-ams-2", "4.2.0", ["ams", "e1", "edge"], Plain),
    row("edge-fra-1", "4.2.0", ["fra", "e2", "edge"], Plain),
    row("edge-nyc-1", "4.2.0", ["nyc", "e3", "edge"], Away),
    row("edge-sin-1", "4.2.0", ["sin", "e4", "edge"], Plain),
    row("edge-sin-2", "4.2.0", ["sin", "e4", "edge"], Arm),
    row("k8s-ams", "4.1.0", ["ams", "a5", "platform"], Operator),
    row("k8s-fra", "4.2.0", ["fra", "f5", "platform"], Operator),
    row("mail-1", "4.1.0", ["ams", "a6", "platform"], Plain),
    row("queue-1", "4.2.0", ["ams", "a6", "platform"], Plain),
    row("queue-2", "4.2.0", ["fra", "f6", "platform"], Plain),
    row("search-1", "4.2.0", ["ams", "a7", "search"], Plain),
    row("search-2", "4.2.0", ["ams", "a7", "search"], Plain),
    row("search-3", "4.1.0", ["fra", "f7", "search"], Plain),
    row("web-1", "4.1.0", ["ams", "a1", "checkout"], Plain),
    row("web-2", "4.1.0", ["ams", "a1", "checkout"], Plain),
    row("web-3", "4.1.0", ["ams", "a1", "checkout"], Plain),
    row("web-4", "4.1.0", ["ams", "a2", "checkout"], Plain),
    row("web-5", "4.1.0", ["ams", "a2", "checkout"], Plain),
    row("web-6", "4.2.0", ["fra", "f1", "checkout"], Plain),
    row("web-7", "4.2.0", ["fra", "f1", "checkout"], Plain),
    row("web-8", "4.2.0", ["fra", "f2", "checkout"], Plain),
    row("web-9", "4.2.0", ["fra", "f2", "checkout"], Plain),
];

// === impl Member ===

impl Member {
    /// What it says first, when it runs `version`.
    pub(crate) fn hello(&self, version: &str) -> Hello {
        let hello = Hello { version: version.to_owned(), ..self.executor.hello() };
        match self.row.bent {
            Plain | Away => hello,
            Pinned => Hello { pinned: true, pinned_reason: "schema migration until Thursday".to_owned(), ..hello },
            Beta => Hello { channel: v1::Channel::Beta.into(), ..hello },
            Arm => Hello { platform: "linux/arm64".to_owned(), ..hello },
            Operator => Hello {
                kind: v1::Kind::Operator.into(),
                platform: String::new(),
                binary_sha256: String::new(),
                ..hello
            },
        }
    }
}

/// Enrols everybody, and labels them.
pub(crate) async fn enrol(plane: &ControlPlane) -> Result<Vec<Member>> {
    let owner = plane.owner();
    let mut fleet = Vec::new();
    for row in FLEET {
        let executor = FakeExecutor::enrol(plane, row.id, row.version).await?;
        let labels = ["site", "rack", "team"].map(str::to_owned).into_iter().zip(row.labels.map(str::to_owned));
        let named =
            v1::Executor { name: executor.name().to_owned(), labels: labels.collect(), ..v1::Executor::default() };
        let mask = prost_types::FieldMask { paths: vec!["labels".to_owned()] };
        let update = v1::UpdateExecutorRequest { executor: Some(named), update_mask: Some(mask) };
        owner.executors().update_executor(update).await?;
        fleet.push(Member { executor, row });
    }
    Ok(fleet)
}

const fn row(id: &'static str, version: &'static str, labels: [&'static str; 3], bent: Bent) -> Row {
    Row { id, version, labels, bent }
}
