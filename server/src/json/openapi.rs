//! The OpenAPI 3.1 document of what [`crate::json`] and [`crate::upload`] offer, made from the descriptors and the access table: what is not
//! offered is not in it, and what the proto files say of a message or a field is its description.

mod schemas;

use prost_reflect::MethodDescriptor;
use serde_json::{Map, Value, json};

use self::schemas::{Schemas, comment};
use super::codec::JSON;
use super::schema;
use crate::grpc::access::{Access, Listener, Proof, TABLE};

/// Where it is.
pub const PATH: &str = "/openapi.json";

/// What a reader has to know before the first call.
const DESCRIPTION: &str = "The unary calls of Novacula's API in JSON, as the unary Connect protocol has them. Watches and \
     UploadArtifact are streams and are offered over gRPC (watches over gRPC-Web, too); the bytes of artifacts are sent to \
     `/upload/{sha256}`, and images are named there. A field that a message does not have is refused by its name. Answers hold every field, also those with \
     their default value; new fields may come with any release.";

/// What every refusal is, by its HTTP status.
const REFUSALS: [(&str, &str); 10] = [
    ("400", "A field may not be so: `BadRequest` names it."),
    ("401", "No bearer token, or none that is valid: `TOKEN_INVALID`."),
    ("403", "The token's role does not allow it: `ROLE_REQUIRED`."),
    ("404", "No such resource: `NOT_FOUND`."),
    ("409", "As things stand it is not done; `ErrorInfo.reason` says why (`OUT_OF_SUPPORT`, `EXECUTOR_OFFLINE`, …)."),
    ("413", "The body is too large."),
    ("415", "The content type is none that is taken here."),
    ("429", "Too many of these calls: ask again after `retry-after` seconds."),
    ("503", "The server is draining, or its store is away: ask again after `retry-after` seconds."),
    ("504", "Not done inside its deadline; whether it was carried out is not known."),
];

/// The document.
#[must_use]
pub fn document(server_version: &str) -> Value {
    let mut schemas = Schemas::default();
    let mut paths = Map::new();
    let mut tags = Vec::new();
    for row in TABLE.iter().filter(|row| row.listener == Listener::Api) {
        let Some(method) = schema::method(row.path).filter(schema::is_unary) else { continue };
        let service = method.parent_service();
        let tag = json!({ "name": service.name(), "description": comment(&service.parent_file(), service.path()) });
        if !tags.contains(&tag) {
            tags.push(tag);
        }
        paths.insert(row.path.to_owned(), json!({ "post": operation(row, &method, &mut schemas) }));
    }
    paths.insert("/upload/{sha256}".to_owned(), upload(&mut schemas));
    tags.push(json!({ "name": "Upload", "description": "The bytes of artifacts." }));
    for detail in ["google.rpc.ErrorInfo", "google.rpc.BadRequest", "google.rpc.RetryInfo"] {
        if let Some(message) = schema::message(detail) {
            schemas.reference(&message);
        }
    }
    let mut components = schemas.into_components();
    components.insert("Error".to_owned(), error());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Novacula",
            "version": server_version,
            "description": DESCRIPTION,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "bearer": [] }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": responses(),
            "securitySchemes": { "bearer": {
                "type": "http",
                "scheme": "bearer",
                "description": "A token of `CreateToken` or of `bootstrap`: `nvt_…`.",
            } },
        },
    })
}

fn operation(row: &Access, method: &MethodDescriptor, schemas: &mut Schemas) -> Value {
    let service = method.parent_service().name();
    let mut operation = json!({
        "operationId": format!("{service}_{}", method.name()),
        "tags": [service],
        "summary": comment(&method.parent_file(), method.path()),
        "parameters": [{
            "name": "connect-timeout-ms",
            "in": "header",
            "description": "How long the caller waits. The server's own deadline counts where it is earlier.",
            "schema": { "type": "string", "pattern": "^[0-9]{1,10}$" },
        }],
        "requestBody": { "required": true, "content": { JSON: { "schema": schemas.reference(&method.input()) } } },
        "responses": refusals(&[]),
    });
    operation["responses"]["200"] = json!({
        "description": "Done.",
        "content": { JSON: { "schema": schemas.reference(&method.output()) } },
    });
    if row.proof == Proof::Nothing {
        operation["security"] = json!([]);
    }
    operation
}

/// The one door that is no RPC.
fn upload(schemas: &mut Schemas) -> Value {
    let query = |name: &str, description: &str| json!({ "name": name, "in": "query", "required": true, "description": description, "schema": { "type": "string" } });
    let offset = json!({
        "upload-offset": { "description": "How many bytes are here.", "schema": { "type": "integer", "format": "int64" } },
        "upload-complete": { "description": "`?1`: all of them.", "schema": { "enum": ["?0", "?1"] } },
    });
    let release = schema::message("novacula.v1.Release").map(|release| schemas.reference(&release));
    let mut put = json!({
        "operationId": "Upload_Put",
        "tags": ["Upload"],
        "summary": "Sends an agent's binary into a draft, from where it was cut.",
        "parameters": [
            query("release", "The draft: `releases/agent-1.2.0`."),
            query("platform", "`linux/amd64`."),
            query("file", "The file's name, as the signed manifest says it."),
            {
                "name": "content-range",
                "in": "header",
                "description": "`bytes 4096-9999/10000`: from byte 4,096 on. `bytes */10000`: take what is complete already. Without it the body is the whole.",
                "schema": { "type": "string", "pattern": "^bytes ([0-9]+-[0-9]+|\\*)/[0-9]+$" },
            },
        ],
        "requestBody": { "content": { "application/octet-stream": {} } },
        "responses": refusals(&["504"]),
    });
    put["responses"]["200"] = json!({
        "description": "Whole and verified: the draft has the artifact.",
        "headers": offset,
        "content": { JSON: { "schema": release } },
    });
    put["responses"]["202"] =
        json!({ "description": "These bytes are here, and the end is to come.", "headers": offset });
    let mut head = json!({
        "operationId": "Upload_Head",
        "tags": ["Upload"],
        "summary": "Says how much of an upload is here.",
        "responses": { "200": { "description": "This much.", "headers": offset } },
    });
    for code in ["401", "403", "404", "429", "503"] {
        head["responses"][code] = json!({ "description": "Refused: as PUT is, without a body." });
    }
    json!({
        "parameters": [{
            "name": "sha256",
            "in": "path",
            "required": true,
            "description": "SHA-256 of all the bytes.",
            "schema": { "type": "string", "pattern": "^[0-9a-f]{64}$" },
        }],
        "put": put,
        "head": head,
    })
}

fn refusals(without: &[&str]) -> Value {
    let codes = REFUSALS.iter().map(|(code, _)| *code).filter(|code| !without.contains(code));
    let named = codes.map(|code| (code.to_owned(), json!({ "$ref": format!("#/components/responses/{code}") })));
    named.chain([("default".to_owned(), json!({ "$ref": "#/components/responses/default" }))]).collect()
}

fn responses() -> Value {
    let content = json!({ JSON: { "schema": { "$ref": "#/components/schemas/Error" } } });
    let others = ("default", "Something of ours is wrong; the log knows more under the `x-request-id`.");
    let named = REFUSALS.into_iter().chain([others]);
    named.map(|(code, text)| (code.to_owned(), json!({ "description": text, "content": content }))).collect()
}

fn error() -> Value {
    let known = ["google.rpc.ErrorInfo", "google.rpc.BadRequest", "google.rpc.RetryInfo"];
    let debug: Vec<_> = known.iter().map(|name| json!({ "$ref": format!("#/components/schemas/{name}") })).collect();
    json!({
        "type": "object",
        "description": "What is refused, as Connect writes it.",
        "required": ["code", "message"],
        "properties": {
            "code": { "type": "string", "description": "gRPC's code: `failed_precondition`." },
            "message": { "type": "string", "description": "A sentence for people." },
            "details": { "type": "array", "items": {
                "type": "object",
                "required": ["type", "value"],
                "properties": {
                    "type": { "type": "string", "description": "`google.rpc.ErrorInfo` has the reason, `google.rpc.BadRequest` the fields." },
                    "value": { "type": "string", "contentEncoding": "base64", "description": "The detail in protobuf, without padding." },
                    "debug": { "anyOf": debug, "description": "The same in JSON." },
                },
            } },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unary_rpc_of_the_listener_has_its_path_and_its_words() {
        let document = document("1.5.0");
        let mut n = 0;
        for row in TABLE.iter().filter(|row| row.listener == Listener::Api && row.path.starts_with("/novacula.")) {
            let method = schema::method(row.path).expect(row.path);
            let operation = &document["paths"][row.path]["post"];
            assert_eq!(operation.is_object(), schema::is_unary(&method), "{}", row.path);
            if operation.is_object() {
                assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{}", row.path);
                assert!(operation["security"].is_null(), "{}", row.path);
                n += 1;
            }
        }
        assert!(n > 25, "{n}");
        assert!(document["paths"]["/novacula.v1.SyncService/Probe"].is_null(), "it is the executors' own");
        let health = &document["paths"]["/grpc.health.v1.Health/Check"]["post"];
        assert_eq!(health["security"], json!([]), "it needs no token");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document("1.5.0");
        let mut stack = vec![&document];
        let mut n = 0;
        while let Some(value) = stack.pop() {
            if let Some(target) = value.get("$ref").and_then(Value::as_str) {
                assert!(document.pointer(target.trim_start_matches('#')).is_some(), "{target}");
                n += 1;
            }
            match value {
                Value::Object(map) => stack.extend(map.values()),
                Value::Array(rows) => stack.extend(rows),
                _ => {}
            }
        }
        assert!(n > 100, "{n}");
    }
}
