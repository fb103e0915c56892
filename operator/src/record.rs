//! What is written on the Deployment in the same change as its image: the attempt, and what to go back to. It is all that a pod of
//! any version needs to go on where another one ended.

use std::collections::BTreeMap;

use executor_sdk::journal::{self, OpenAttempt, State};
use serde_json::{Map, Value, json};

use crate::cluster::Names;
use crate::deployment::Own;

/// The attempt that is open, as JSON; absent when none is.
pub const ANNOTATION: &str = "novacula.dev/attempt";

/// The image that this operator last moved to. The chart keeps it.
pub const IMAGE: &str = "novacula.dev/image";

/// A sentence for whoever looks at the Deployment.
pub const MESSAGE: &str = "novacula.dev/message";

/// Our annotations beside the record.
pub const NOTES: [&str; 2] = [IMAGE, MESSAGE];

/// The version of the form. A greater one is refused: it says that this release would misread it.
const FORMAT: u64 = 1;

/// An attempt that changed the image.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// As every executor keeps it.
    pub open: OpenAttempt,
    /// What the template named before, and names again when the target fails.
    pub previous_image: String,
    /// What was asked, by digest.
    pub target_image: String,
}

impl Record {
    /// As an annotation's value.
    #[must_use]
    pub fn print(&self) -> String {
        let mut state = State::default();
        state.open = Some(self.open.clone());
        let journal: Value = serde_json::from_slice(&journal::print(&state)).expect("the journal's own form is JSON");
        json!({
            "format": FORMAT,
            "previous_image": self.previous_image,
            "target_image": self.target_image,
            "journal": journal,
        })
        .to_string()
    }

    /// From an annotation's value.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
        match value.get("format").and_then(Value::as_u64) {
            Some(FORMAT) => {}
            Some(other) => return Err(format!("it has format {other}, and this release reads format {FORMAT}")),
            None => return Err("it names no format".to_owned()),
        }
        let image = |key: &str| {
            let found = value.get(key).and_then(Value::as_str).filter(|image| !image.is_empty());
            found.map(str::to_owned).ok_or_else(|| format!("{key} is missing"))
        };
        let (previous_image, target_image) = (image("previous_image")?, image("target_image")?);
        let journal = value.get("journal").map(Value::to_string).unwrap_or_default();
        let open = journal::parse(journal.as_bytes()).map_err(|why| format!("journal: {why}"))?.open;
        let open = open.ok_or("journal: it holds no open attempt")?;
        Ok(Self { open, previous_image, target_image })
    }
}

/// Our fields of the Deployment, complete: what is left out is taken away. `own` is what they follow.
#[must_use]
pub fn fields(
    names: &Names,
    own: &Own,
    image: &str,
    record: Option<&Record>,
    notes: &BTreeMap<String, String>,
) -> Value {
    let mut annotations: Map<String, Value> =
        notes.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect();
    match record {
        // What was said of an attempt goes with it.
        None => drop(annotations.remove(MESSAGE)),
        Some(record) => drop(annotations.insert(ANNOTATION.to_owned(), Value::String(record.print()))),
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": names.deployment,
            "namespace": names.namespace,
            "resourceVersion": own.resource_version,
            "annotations": annotations,
        },
        "spec": { "template": { "spec": { "containers": [{ "name": names.container, "image": image }] } } },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use domain::{AttemptId, Generation};

    fn record() -> Record {
        let version = |text: &str| text.parse().expect("a version");
        let attempt: AttemptId = "0190a0a0-0000-7000-8000-000000000007".parse().expect("an id");
        Record {
            open: OpenAttempt::new(attempt, Generation(3), version("1.1.0"), version("1.2.0")),
            previous_image: "registry.example/operator:1.1.0".to_owned(),
            target_image: format!("registry.example/operator@sha256:{}", "ab".repeat(32)),
        }
    }

    fn own() -> Own {
        let container = json!({ "name": "operator", "image": "image" });
        let document = json!({
            "metadata": { "name": "novacula-operator", "resourceVersion": "7" },
            "spec": { "selector": {}, "template": { "spec": { "containers": [container] } } },
        });
        Own::read(&serde_json::from_value(document).expect("a Deployment"), "operator").expect("our Deployment")
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(Record::parse(&record().print()), Ok(record()));
    }

    #[test]
    fn another_releases_form_is_not_misread() {
        let newer = record().print().replace("\"format\":1,\"journal\"", "\"format\":2,\"journal\"");
        assert_eq!(Record::parse(&newer).expect_err("refused"), "it has format 2, and this release reads format 1");
    }

    #[test]
    fn what_was_said_of_an_attempt_goes_with_it() {
        let names = Names {
            namespace: "novacula-system".to_owned(),
            deployment: "novacula-operator".to_owned(),
            container: "operator".to_owned(),
            secret: String::new(),
            lease: String::new(),
            pod: String::new(),
        };
        let own = own();
        let notes = BTreeMap::from([IMAGE, MESSAGE].map(|key| (key.to_owned(), "said".to_owned())));
        let written = |record| fields(&names, &own, "image", record, &notes)["metadata"]["annotations"].clone();
        assert_eq!(written(None), json!({ IMAGE: "said" }));
        assert_eq!(written(Some(&record()))[MESSAGE], "said");
    }

    proptest! {
        #[test]
        fn no_annotation_makes_it_panic(text in "\\PC*") {
            let _ = Record::parse(&text);
        }
    }
}
