//! Messages as JSON Schema (draft 2020-12), each under its full name, as proto3 JSON writes them.

use std::collections::BTreeMap;

use prost_reflect::{EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

/// A length of time in proto3 JSON.
const DURATION: &str = r"^-?[0-9]+(\.[0-9]{1,9})?s$";

/// What was met so far.
#[derive(Debug, Default)]
pub(super) struct Schemas(BTreeMap<String, Value>);

// === impl Schemas ===

impl Schemas {
    /// A reference to a message, which is described with everything that it holds.
    pub(super) fn reference(&mut self, message: &MessageDescriptor) -> Value {
        let name = message.full_name().to_owned();
        if !self.0.contains_key(&name) {
            // Its place is taken first: a message may hold itself.
            self.0.insert(name.clone(), Value::Null);
            let described = self.message(message);
            self.0.insert(name.clone(), described);
        }
        reference_to(&name)
    }

    pub(super) fn into_components(self) -> Map<String, Value> {
        self.0.into_iter().collect()
    }

    fn message(&mut self, message: &MessageDescriptor) -> Value {
        let properties: Map<String, Value> =
            message.fields().map(|field| (field.json_name().to_owned(), self.field(&field))).collect();
        let mut schema = json!({ "type": "object", "properties": properties });
        let mut words = comment(&message.parent_file(), message.path());
        for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            let names: Vec<_> = oneof.fields().map(|field| format!("`{}`", field.json_name())).collect();
            words.push_str(&format!(" At most one of {} is set.", names.join(", ")));
        }
        describe(&mut schema, words.trim());
        schema
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        let mut schema = match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                json!({ "type": "object", "additionalProperties": self.single(&entry.map_entry_value_field().kind()) })
            }
            kind if field.is_list() => json!({ "type": "array", "items": self.single(&kind) }),
            kind => self.single(&kind),
        };
        describe(&mut schema, &comment(&field.parent_file(), field.path()));
        schema
    }

    fn single(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Float | Kind::Double => json!({ "type": "number" }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({ "type": "integer", "format": "int32" }),
            Kind::Uint32 | Kind::Fixed32 => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
            // Larger than what JSON's numbers hold for sure.
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({ "type": "string", "format": "int64", "pattern": "^-?[0-9]+$" })
            }
            Kind::Uint64 | Kind::Fixed64 => json!({ "type": "string", "format": "uint64", "pattern": "^[0-9]+$" }),
            Kind::Enum(kind) => self.enumeration(kind),
            Kind::Message(message) => match message.full_name() {
                "google.protobuf.Timestamp" => json!({ "type": "string", "format": "date-time" }),
                "google.protobuf.Duration" => json!({ "type": "string", "pattern": DURATION, "examples": ["3600s"] }),
                "google.protobuf.FieldMask" => {
                    json!({ "type": "string", "description": "Names of fields, parted by commas." })
                }
                _ => self.reference(message),
            },
        }
    }

    fn enumeration(&mut self, kind: &EnumDescriptor) -> Value {
        let name = kind.full_name().to_owned();
        if !self.0.contains_key(&name) {
            let names: Vec<_> = kind.values().map(|value| value.name().to_owned()).collect();
            let mut schema = json!({ "type": "string", "enum": names });
            let mut words = comment(&kind.parent_file(), kind.path());
            for value in kind.values() {
                let said = comment(&value.parent_file(), value.path());
                words.push_str(&format!("\n- `{}`: {said}", value.name()));
            }
            describe(&mut schema, words.trim());
            self.0.insert(name.clone(), schema);
        }
        reference_to(&name)
    }
}

/// What the proto file says above something.
pub(super) fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location = info.and_then(|info| info.location.iter().find(|location| location.path == path));
    let words = location.map(|location| location.leading_comments()).unwrap_or_default();
    words.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned()
}

fn reference_to(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Beside a reference, too: JSON Schema 2020-12 allows it.
fn describe(schema: &mut Value, words: &str) {
    if !words.is_empty() {
        schema["description"] = Value::from(words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::schema;

    #[test]
    fn fields_are_described_as_proto3_json_writes_them() {
        let mut schemas = Schemas::default();
        for name in ["RequestUpgradeRequest", "UpdateExecutorRequest", "ListReleasesResponse", "Event"] {
            schemas.reference(&schema::message(&format!("novacula.v1.{name}")).expect(name));
        }
        let components = Value::from(schemas.into_components());
        let property = |message: &str, field: &str| &components[format!("novacula.v1.{message}")]["properties"][field];
        assert_eq!(property("RequestUpgradeRequest", "ttl")["examples"][0], "3600s");
        assert_eq!(property("UpdateExecutorRequest", "updateMask")["type"], "string");
        assert_eq!(property("Release", "sequence")["format"], "uint64");
        assert_eq!(property("Release", "createTime")["format"], "date-time");
        assert_eq!(property("Release", "channel")["$ref"], "#/components/schemas/novacula.v1.Channel");
        assert_eq!(property("Event", "details")["additionalProperties"]["type"], "string");
        let words = components["novacula.v1.Release"]["description"].as_str().expect("words");
        assert_eq!(words, "A row of the global catalog.");
        assert!(components["novacula.v1.Channel"]["enum"].as_array().is_some_and(|values| values.len() > 3));
    }
}
