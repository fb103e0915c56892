//! What the organization may move to: seven releases, one of them withdrawn and one not yet offered.

use domain::Channel;
use harness::catalog::Draft;
use harness::control_plane::ControlPlane;
use proto::v1;

use crate::Result;

/// As large as a page's numbers should look, as small as a debug build can hash in a moment.
const SIZE: usize = 1_300_000;

const NOTES_420: &str = "\
## What changes

- **Resumable downloads.** A cut link costs the piece that was on its way, not the file.
- The dead-man timer no longer counts the time a host slept.
- `novacula-agent doctor` says which release keys it trusts.

## Before you upgrade

Hosts with a read-only `/var` need `state_dir` in `agent.toml`; see [the operator's page](https://docs.example/agent/state).

```toml
[agent]
state_dir = \"/data/novacula\"
```
";

const NOTES_421: &str = "\
Fixes a crash on hosts whose `/etc/resolv.conf` is empty.

1. Names are looked up once a connection, no longer once a request.
2. A journal of an older format is read again.
";

const NOTES_410: &str = "\
- Labels may be changed while an upgrade runs.
- Memory of an idle agent: 9.1 MiB (was 12.4 MiB).
";

/// Publishes all of it.
pub(crate) async fn publish(plane: &ControlPlane) -> Result {
    let released = [
        agent("3.9.2", 1).with_notes("The last release of the 3.x line. It is kept for hosts on their way to 4.x."),
        agent("4.0.0", 2)
            .with_notes("**The journal has a new format.** 3.9 and later read it; what is older does not."),
        agent("4.1.0", 3).with_notes(NOTES_410),
        agent("4.1.1", 4).with_notes("Fills the disk with logs on ARM."),
        agent("4.2.0", 5).with_notes(NOTES_420),
        agent("4.2.1", 6).with_notes(NOTES_421),
        agent("4.3.0-beta.1", 7).on(Channel::Beta).with_notes("Delta downloads, for those who want to look early."),
    ];
    for draft in &released {
        plane.release(draft).await?;
    }
    let yanked =
        v1::YankReleaseRequest { name: "releases/agent-4.1.1".to_owned(), reason: "fills the disk with logs".into() };
    plane.publisher().releases().yank_release(yanked).await?;
    plane.draft(&agent("4.3.0", 8).with_notes("Delta downloads.")).await?;
    Ok(())
}

fn agent(version: &str, sequence: u64) -> Draft {
    let mut draft = Draft::new(version, sequence);
    let pattern = format!("{version} ").into_bytes();
    // Another size a release: equal numbers in a column look invented.
    draft.bytes = pattern.into_iter().cycle().take(SIZE + usize::try_from(sequence).unwrap_or(0) * 7_919).collect();
    draft
}
