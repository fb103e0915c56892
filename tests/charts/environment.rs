//! The border between the operator's chart and the operator: what the one writes the other understands.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, ensure};
use clap::{Args as _, Command};
use harness::helm;
use harness::parts::trial;
use libtest_mimic::Trial;
use operator::deployment::{self, Own};
use operator::{args, cluster, record};
use serde_json::Value;

use crate::Result;
use crate::golden::{cases, documents};
use crate::image::MANAGER;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("the_operator_takes_what_the_chart_tells_it", &[], told),
        trial("chart_and_operator_call_the_same_things_the_same", &[], called),
    ]
}

fn told() -> Result {
    let run = args::Run::augment_args(Command::new("novacula-operator"));
    let mut flags = BTreeMap::new();
    for argument in run.get_arguments() {
        if let (Some(variable), Some(flag)) = (argument.get_env().and_then(|name| name.to_str()), argument.get_long()) {
            flags.insert(variable.to_owned(), flag.to_owned());
        }
    }
    for case in cases("novacula-operator")? {
        let documents = documents(&case)?;
        let pod = documents.iter().find(|document| document["kind"] == "Deployment").context("a Deployment")?;
        let container = &pod["spec"]["template"]["spec"]["containers"][0];
        let mut words = vec!["novacula-operator".to_owned()];
        for variable in container["env"].as_array().context("an environment")? {
            let name = variable["name"].as_str().context("a name")?;
            let flag = flags.get(name).with_context(|| format!("{}: nobody reads {name}", case.display()))?;
            // What Kubernetes puts in is a name, as any other.
            words.push(format!("--{flag}={}", variable["value"].as_str().unwrap_or("name")));
        }
        let own = own(pod)?;
        ensure!(own.hazards.is_empty() && own.managed.is_none(), "{}: {own:?}", case.display());
        run.clone().try_get_matches_from(&words).with_context(|| case.display().to_string())?;
        ensure!(container["name"] == "operator" && container["command"][1] == "run", "{container}");
    }
    Ok(())
}

/// The Deployment as the operator reads it.
pub(crate) fn own(deployment: &Value) -> Result<Own> {
    Ok(Own::read(&serde_json::from_value(deployment.clone())?, "operator")?)
}

fn called() -> Result {
    ensure!(cluster::FIELD_MANAGER == MANAGER, "{}", cluster::FIELD_MANAGER);
    let helpers = fs::read_to_string(helm::chart("novacula-operator").join("templates/_helpers.tpl"))?;
    ensure!(helpers.contains(&format!("\"annotations\" \"{}\"", record::IMAGE)), "the chart keeps {}", record::IMAGE);
    let most = cases("novacula-operator")?.into_iter().find(|case| case.ends_with("most")).context("the most")?;
    let documents = documents(&most)?;
    let annotations = |document: &Value| document["metadata"]["annotations"][deployment::GITOPS].clone();
    ensure!(documents.iter().any(|document| annotations(document) == deployment::GITOPS_IGNORED));
    Ok(())
}
