//! `values.yaml` and `values.schema.json` of a chart: the same keys in both, each explained, and no object that would take a key
//! it does not know; and what they lead to is known to the programs.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, ensure};
use harness::helm;
use harness::parts::{trial, workspace};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::Result;
use crate::golden::CHARTS;

/// Keys of the control plane's settings that the chart writes itself, or that are secret.
const OURS: [&str; 14] = [
    "data_dir",
    "database_url",
    "database_listen_url",
    "api_listen",
    "executor_listen",
    "executor_endpoint",
    "server_names",
    "tls_certificate",
    "tls_key",
    "authority_certificate",
    "authority_key",
    "release_keys",
    "trusted_clusters",
    "oidc",
];

/// The two ways to say the key that opens the authority's.
const KEYS: [&str; 2] = ["authority_encryption_key_file", "authority_encryption_key"];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("every_value_has_a_default_and_a_rule", &[], complete),
        trial("every_setting_of_the_server_is_a_value", &[], settings),
    ]
}

fn schema(chart: &str) -> Result<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(helm::chart(chart).join("values.schema.json"))?)?)
}

fn complete() -> Result {
    for (chart, _) in CHARTS {
        let defaults: Value = serde_yaml_ng::from_str(&fs::read_to_string(helm::chart(chart).join("values.yaml"))?)?;
        compare(chart, &defaults, &schema(chart)?, "")?;
    }
    Ok(())
}

/// One object of the values, and those below it.
fn compare(chart: &str, defaults: &Value, schema: &Value, place: &str) -> Result {
    let Some(rules) = schema.get("properties").and_then(Value::as_object) else { return Ok(()) };
    ensure!(schema["additionalProperties"] == false, "{chart}: {place}/ takes what it does not know");
    for (key, rule) in rules {
        let place = format!("{place}/{key}");
        ensure!(rule.get("description").is_some(), "{chart}: {place} says nothing of itself");
        // Settings of the server have their defaults there.
        if place == "/global" || place.starts_with("/settings/") {
            continue;
        }
        let default = defaults.get(key).with_context(|| format!("{chart}: {place} has no default"))?;
        compare(chart, default, rule, &place)?;
    }
    for key in defaults.as_object().into_iter().flatten().map(|(key, _)| key) {
        ensure!(rules.contains_key(key), "{chart}: {place}/{key} has no rule");
        // A null would take the default away, and what hangs on it.
        let required = schema["required"].as_array().is_some_and(|required| required.iter().any(|name| name == key));
        ensure!(required || place == "/settings", "{chart}: {place}/{key} may be taken away");
    }
    Ok(())
}

fn settings() -> Result {
    let schema = schema("novacula-server")?;
    let taken = schema["properties"]["settings"]["properties"].as_object().context("settings")?;
    let taken: BTreeSet<&str> = taken.keys().map(String::as_str).collect();
    let known = server::args::Settings::KEYS.iter().copied().filter(|key| !OURS.contains(key) && !KEYS.contains(key));
    ensure!(taken == known.collect(), "{taken:?}");
    // The Job that migrates takes some of them from its environment: by the names that they have there.
    let job = fs::read_to_string(workspace().join("deploy/helm/novacula-server/templates/migrate.yaml"))?;
    let args = fs::read_to_string(workspace().join("server/src/args.rs"))?;
    let picked = job.split("pick .Values.settings ").nth(1).and_then(|rest| rest.split('}').next());
    for key in picked.context("what the Job picks")?.split_whitespace().map(|key| key.trim_matches('"')) {
        let named = format!("{key} = \"NOVACULA_{}\"", key.to_uppercase());
        ensure!(args.contains(&named), "{key} is called otherwise in the environment");
    }
    Ok(())
}
