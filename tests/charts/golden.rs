//! What the charts render, kept beside the values: `<chart>/<case>/values.yaml` and `rendered.yaml`. `just charts` writes the
//! latter anew; read the difference then.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use harness::daemon::succeeded;
use harness::helm::{self, BOTH, Helm};
use harness::parts::{Part, trial, workspace};
use libtest_mimic::Trial;
use serde::Deserialize as _;
use serde_json::Value;

use crate::Result;

/// The charts, and the versions of Kubernetes whose schemas judge them: the oldest that the chart says it is for, and the newest.
pub(crate) const CHARTS: [(&str, [&str; 2]); 2] =
    [("novacula-operator", ["1.29.0", "1.37.0"]), ("novacula-server", ["1.34.0", "1.37.0"])];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("the_charts_render_what_is_kept_beside_the_values", &[Part::Helm3, Part::Helm4], golden),
        trial("the_charts_render_what_kubernetes_accepts", &[Part::KubernetesValidate], accepted),
        trial("the_charts_are_without_faults_to_helm", &[Part::Helm3, Part::Helm4], linted),
    ]
}

/// The folders of a chart's cases.
pub(crate) fn cases(chart: &str) -> Result<Vec<PathBuf>> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(workspace().join("tests/charts").join(chart))? {
        cases.push(entry?.path());
    }
    cases.sort();
    Ok(cases)
}

/// The documents that a case is to render.
pub(crate) fn documents(case: &Path) -> Result<Vec<Value>> {
    parsed(&fs::read_to_string(case.join("rendered.yaml"))?)
}

/// The documents of a stream.
pub(crate) fn parsed(text: &str) -> Result<Vec<Value>> {
    let mut documents = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        documents.push(Value::deserialize(document).with_context(|| text.to_owned())?);
    }
    documents.retain(|document| !document.is_null());
    Ok(documents)
}

fn golden() -> Result {
    for (chart, _) in CHARTS {
        for case in cases(chart)? {
            let values = case.join("values.yaml");
            let values = values.to_str().context("a path of text")?;
            for helm in BOTH {
                let rendered = helm.template(chart, &helm::chart(chart), &["--values", values])?;
                same(helm, &case.join("rendered.yaml"), &rendered)?;
            }
        }
    }
    Ok(())
}

/// The two print other empty lines.
fn same(helm: Helm, kept: &Path, rendered: &str) -> Result {
    let lines = rendered.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let rendered = lines.map(|line| format!("{line}\n")).collect::<String>();
    if std::env::var_os("NOVACULA_UPDATE").is_some() && helm == Helm::Three {
        fs::write(kept, &rendered)?;
    }
    let wanted = fs::read_to_string(kept).unwrap_or_default();
    let first = rendered.lines().zip(wanted.lines()).find(|(now, kept)| now != kept);
    ensure!(rendered == wanted, "{helm:?} renders another {}: {first:?}; `just charts` keeps it", kept.display());
    Ok(())
}

fn accepted() -> Result {
    for (chart, versions) in CHARTS {
        for version in versions {
            let mut validate = Command::new(Part::KubernetesValidate.find()?);
            validate.args(["--strict", "-k", version]);
            for case in cases(chart)? {
                validate.arg(case.join("rendered.yaml"));
            }
            succeeded(&validate.output()?).with_context(|| format!("{chart} in {version}"))?;
        }
    }
    Ok(())
}

fn linted() -> Result {
    for (chart, _) in CHARTS {
        for case in cases(chart)? {
            for helm in BOTH {
                helm.lint(&helm::chart(chart), &case.join("values.yaml"))?;
            }
        }
    }
    Ok(())
}
