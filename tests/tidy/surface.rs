//! What outsiders rely on: every RPC has its row, every metric its name.

use std::collections::BTreeSet;

use crate::{
    finding::{Finding, Findings},
    source::House,
};

/// Says who may call each RPC.
const ACCESS: &str = "server/src/grpc/access.rs";

/// The metrics of the public surface; each is named by one literal of the server and nowhere else.
const METRICS: &[&str] = &[
    "novacula_streams",
    "novacula_streams_opened_total",
    "novacula_streams_closed_total",
    "novacula_upgrade_requests_total",
    "novacula_attempts_total",
    "novacula_pending_upgrades",
    "novacula_delivery_seconds",
    "novacula_receipt_seconds",
    "novacula_store_seconds",
    "novacula_certificates_issued_total",
];

/// The table and the proto files name the same RPCs, as `Service/Method`.
pub(crate) fn access(house: &House) -> Findings {
    let Some(table) = house.files.iter().find(|file| file.path == ACCESS) else {
        return Findings::Waiting("server/src/grpc/access.rs does not exist yet");
    };
    let offered = rpcs(house);
    let listed: BTreeSet<_> = table
        .tokens
        .iter()
        .filter(|token| !table.is_test(token.line))
        .filter_map(|token| method(&token.text).map(|name| (name, token.line)))
        .collect();
    let unlisted =
        offered.iter().filter(|(name, ..)| !listed.iter().any(|(row, _)| row == name)).map(|(name, path, line)| {
            Finding {
                path: path.clone(),
                line: *line,
                what: format!("`{name}` is in no row of {ACCESS}"),
                remedy: "add its row to the table, naming it \"Service/Method\", and a test that refuses a stranger",
            }
        });
    let unknown =
        listed.iter().filter(|(row, _)| !offered.iter().any(|(name, ..)| name == row)).map(|(row, line)| Finding {
            path: ACCESS.to_owned(),
            line: *line,
            what: format!("`{row}` is no RPC"),
            remedy: "correct the name or delete the row",
        });
    Findings::Places(unlisted.chain(unknown).collect())
}

/// One literal for each metric in the server, and none that the public surface lacks.
pub(crate) fn metrics(house: &House) -> Findings {
    let mut named = Vec::new();
    for file in house.under("server/src") {
        for token in file.tokens.iter().filter(|token| !file.is_test(token.line)) {
            let name = token.text.trim_matches('"');
            if token.text.starts_with("\"novacula_") && name.bytes().all(is_metric_letter) {
                named.push((name, &file.path, token.line));
            }
        }
    }
    if named.is_empty() {
        return Findings::Waiting("the server names no metric yet");
    }
    let missing = METRICS.iter().filter(|metric| !named.iter().any(|(name, ..)| name == *metric));
    let mut places: Vec<_> = missing
        .map(|metric| Finding {
            path: "server/src".to_owned(),
            line: 0,
            what: format!("metric `{metric}` is named nowhere"),
            remedy: "add its variant to the enum of metrics",
        })
        .collect();
    let mut seen = BTreeSet::new();
    places.extend(named.into_iter().filter(|(name, ..)| !seen.insert(*name)).map(|(name, path, line)| Finding {
        path: path.clone(),
        line,
        what: format!("metric `{name}` is named again"),
        remedy: "use the enum variant that names it",
    }));
    Findings::Places(places)
}

/// `Service/Method` with file and line, from the proto files.
fn rpcs(house: &House) -> Vec<(String, String, usize)> {
    let mut rpcs = Vec::new();
    for (path, text) in house.documents("proto") {
        let mut service = "";
        for (index, line) in text.lines().enumerate() {
            let mut words =
                line.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty());
            match (words.next(), words.next()) {
                (Some("service"), Some(name)) if line.starts_with("service ") => service = name,
                (Some("rpc"), Some(name)) if line.trim_start().starts_with("rpc ") => {
                    rpcs.push((format!("{service}/{name}"), path.clone(), index + 1));
                }
                _ => {}
            }
        }
    }
    rpcs
}

/// `"/novacula.v1.UpgradeService/RequestUpgrade"` and shorter forms; other literals are no method.
fn method(literal: &str) -> Option<String> {
    let (service, name) = literal.strip_prefix('"')?.strip_suffix('"')?.rsplit_once('/')?;
    let service = service.rsplit(['.', '/']).next()?;
    let word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    // Reflection and health are foreign services beside ours; they have rows but no proto file here.
    (service.ends_with("Service") && word(service) && word(name) && !literal.contains("grpc."))
        .then(|| format!("{service}/{name}"))
}

fn is_metric_letter(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte == b'_'
}
