//! What a real API server says of every case that is kept: strictly, and in a namespace that warns of whatever is not `restricted`.

use std::fs;

use anyhow::{Context as _, ensure};
use harness::parts::trial;
use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::Result;
use crate::golden::{CHARTS, cases};
use crate::release::{PARTS, restricted};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("a_real_api_server_takes_every_case_without_a_warning", PARTS, taken)]
}

fn taken() -> Result {
    let namespace = restricted("cases")?;
    let folder = TempDir::new()?;
    for (chart, _) in CHARTS {
        for case in cases(chart)? {
            let written = fs::read_to_string(case.join("rendered.yaml"))?;
            let here = written.replace("namespace: there", &format!("namespace: {}", namespace.name()));
            let file = folder.path().join("case.yaml");
            fs::write(&file, here)?;
            let mut command = namespace.cluster().command()?;
            command.args(["apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename"]).arg(&file);
            let output = command.output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success() && said.is_empty(), "{}: {said}", case.display());
        }
    }
    // It would warn.
    let privileged = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i}]}\n";
    let refused = namespace.apply(privileged).err().context("a pod that says nothing is refused")?;
    ensure!(format!("{refused:?}").contains("violates PodSecurity"), "{refused:?}");
    Ok(())
}
