//! A message as the body says it: proto3 JSON, or bare protobuf.
//!
//! JSON is written as `novacula --output json` and grpcurl write it, fields with their default value included.

use prost::Message as _;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use tonic::Status;

use crate::grpc::error;

/// Proto3 JSON.
pub const JSON: &str = "application/json";

/// Bare protobuf.
const PROTO: &str = "application/proto";

/// How bodies are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Proto3 JSON.
    Json,
    /// Bare protobuf.
    Proto,
}

// === impl Codec ===

impl Codec {
    /// Of a media type.
    #[must_use]
    pub fn of(media_type: &str) -> Option<Self> {
        match media_type.to_ascii_lowercase().as_str() {
            JSON => Some(Self::Json),
            PROTO => Some(Self::Proto),
            _ => None,
        }
    }

    /// The media type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Proto => PROTO,
        }
    }

    /// What a caller sent, as protobuf.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with what is wrong and where. Bare protobuf is judged by whoever decodes it for good.
    pub fn read(self, kind: &MessageDescriptor, body: &[u8]) -> Result<Vec<u8>, Status> {
        if self == Self::Proto {
            return Ok(body.to_owned());
        }
        if body.is_empty() {
            return Err(error::field("body", "is empty; an empty message is {}"));
        }
        let wrong = |said: serde_json::Error| error::field("body", format!("is no {} in JSON: {said}", kind.name()));
        let mut json = serde_json::Deserializer::from_slice(body);
        let strict = DeserializeOptions::new().deny_unknown_fields(true);
        let message = DynamicMessage::deserialize_with_options(kind.clone(), &mut json, &strict).map_err(wrong)?;
        json.end().map_err(wrong)?;
        Ok(message.encode_to_vec())
    }

    /// What a caller is answered.
    ///
    /// # Errors
    /// The protobuf is none: something of ours is wrong.
    pub fn write(self, kind: MessageDescriptor, protobuf: &[u8]) -> Result<Vec<u8>, Status> {
        match self {
            Self::Proto => Ok(protobuf.to_owned()),
            Self::Json => json(kind, protobuf).ok_or_else(error::internal),
        }
    }
}

/// A message in JSON; none: the protobuf is no such message.
#[must_use]
pub fn json(kind: MessageDescriptor, protobuf: &[u8]) -> Option<Vec<u8>> {
    let message = DynamicMessage::decode(kind, protobuf).ok()?;
    let mut text = Vec::with_capacity(protobuf.len() * 2);
    let all = SerializeOptions::new().skip_default_fields(false);
    message.serialize_with_options(&mut serde_json::Serializer::new(&mut text), &all).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;
    use crate::json::schema;

    #[test]
    fn what_is_no_message_is_refused_with_what_is_wrong_and_where() {
        let kind = schema::message("novacula.v1.RequestUpgradeRequest").expect("a message");
        for (body, said) in [
            ("", "is empty"),
            ("{", "EOF"),
            ("[]", "invalid type"),
            ("{} {}", "trailing"),
            (r#"{"nmae":"x"}"#, "'nmae'"),
            (r#"{"ttl":"soon"}"#, "line 1 column"),
            (r#"{"name":7}"#, "invalid type"),
        ] {
            let status = Codec::Json.read(&kind, body.as_bytes()).expect_err(body);
            assert!(status.message().contains(said), "{body}: {}", status.message());
            let details = status.get_error_details();
            assert_eq!(details.bad_request().expect("fields").field_violations[0].field, "body");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(noise in ".{0,200}", field in "[a-zA-Z]{1,12}", bytes in proptest::collection::vec(0_u8.., 0..64)) {
            let kind = schema::message("novacula.v1.UpdateExecutorRequest").expect("a message");
            let bodies = [noise.clone().into_bytes(), format!("{{\"{field}\":{noise}}}").into_bytes(), bytes.clone()];
            for body in bodies {
                if let Ok(read) = Codec::Json.read(&kind, &body) {
                    proptest::prop_assert!(Codec::Json.write(kind.clone(), &read).is_ok(), "what was read is written");
                }
            }
            let _ = json(kind, &bytes);
        }
    }

    #[test]
    fn both_spellings_of_a_field_are_read_and_all_fields_are_written() {
        let kind = schema::message("novacula.v1.RequestUpgradeRequest").expect("a message");
        let camel = Codec::Json.read(&kind, br#"{"targetVersion":"1.1.0","ttl":"3600s"}"#).expect("read");
        let snake = Codec::Json.read(&kind, br#"{"target_version":"1.1.0","ttl":"3600s"}"#).expect("read");
        assert_eq!(camel, snake);
        let text = Codec::Json.write(kind, &camel).expect("written");
        let value: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(value["ttl"], "3600s");
        assert_eq!(value["validateOnly"], false);
    }
}
