//! A value in the form that both sides share, and what is wrong with one that has none.

use std::collections::BTreeMap;
use std::fmt;

use domain::Sha256;
use serde::de::IgnoredAny;
use uuid::Uuid;

use super::table::{Kind, Table};

/// The first instant of a timestamptz, 4713 BC, in microseconds since 1970. Its last one is past what we can count.
const TIME_FIRST: i64 = -210_866_803_200_000_000;

/// A value. Ids and digests are their canonical text; a [`Kind::Map`] is written in order of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Datum {
    /// Nothing.
    Null,
    /// Any kind of text.
    Text(String),
    /// A number.
    Integer(i64),
    /// Yes or no.
    Flag(bool),
    /// Microseconds since 1970.
    Time(i64),
}

/// A row, in the order of its table's columns.
pub(crate) type Row = Vec<Datum>;

impl Datum {
    /// Text that SQLite has for a column of this kind.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub(crate) fn of_text(kind: Kind, text: &str) -> Result<Self, &'static str> {
        if text.contains('\0') {
            return Err("holds a NUL, which PostgreSQL keeps in no text");
        }
        match kind {
            Kind::Text => {}
            Kind::Id if text.parse::<Uuid>().is_ok_and(|id| id.to_string() == text) => {}
            Kind::Id => return Err("is no UUID in lower case"),
            Kind::Digest if text.parse::<Sha256>().is_ok_and(|digest| digest.to_string() == text) => {}
            Kind::Digest => return Err("is no SHA-256 in lower-case hex digits"),
            Kind::Json if serde_json::from_str::<IgnoredAny>(text).is_ok() => {}
            Kind::Map => return canonical(text).map(Self::Text).ok_or("is no JSON object"),
            Kind::Json => return Err("is no JSON"),
            Kind::Integer | Kind::Flag | Kind::Time => return Err("is text, and should be a number"),
        }
        Ok(Self::Text(text.to_owned()))
    }

    /// A number that SQLite has for a column of this kind.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub(crate) fn of_integer(kind: Kind, number: i64) -> Result<Self, &'static str> {
        match (kind, number) {
            (Kind::Integer, _) => Ok(Self::Integer(number)),
            (Kind::Flag, 0 | 1) => Ok(Self::Flag(number == 1)),
            (Kind::Flag, _) => Err("is neither 0 nor 1"),
            (Kind::Time, TIME_FIRST..) => Ok(Self::Time(number)),
            (Kind::Time, _) => Err("is a time that PostgreSQL cannot keep"),
            (Kind::Text | Kind::Id | Kind::Digest | Kind::Json | Kind::Map, _) => {
                Err("is a number, and should be text")
            }
        }
    }
}

/// For people: keys are made of it.
impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) | Self::Time(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
        }
    }
}

/// The one way to write an object that is searched.
pub(crate) fn canonical(text: &str) -> Option<String> {
    let map: BTreeMap<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    serde_json::to_string(&map).ok()
}

/// A row's key, for people.
pub(crate) fn key_of(table: &Table, row: &[Datum]) -> String {
    let values = table.columns.iter().zip(row).filter(|(column, _)| table.key.contains(&column.name));
    values.map(|(_, value)| value.to_string()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_postgres_could_not_give_back_is_refused() {
        let id = "0192f0c4-5b1e-7c3a-9d2f-0123456789ab";
        for (kind, text) in [
            (Kind::Text, "a\0b"),
            (Kind::Id, "0192F0C4-5B1E-7C3A-9D2F-0123456789AB"),
            (Kind::Digest, "zz"),
            (Kind::Json, "{"),
            (Kind::Map, "[]"),
            (Kind::Time, "soon"),
        ] {
            assert!(Datum::of_text(kind, text).is_err(), "{kind:?} {text:?}");
        }
        assert_eq!(Datum::of_text(Kind::Id, id), Ok(Datum::Text(id.to_owned())));
        assert_eq!(Datum::of_integer(Kind::Flag, 1), Ok(Datum::Flag(true)));
        for (kind, number) in [(Kind::Flag, 2), (Kind::Time, i64::MIN), (Kind::Text, 1)] {
            assert!(Datum::of_integer(kind, number).is_err(), "{kind:?} {number}");
        }
    }

    #[test]
    fn a_map_is_what_it_means() {
        let one = Datum::of_text(Kind::Map, r#"{"b":"2","a":"1"}"#);
        assert_eq!(one, Datum::of_text(Kind::Map, r#"{ "a": "1", "b": "2" }"#));
        assert_ne!(one, Datum::of_text(Kind::Map, r#"{"a":"1"}"#));
        let json = Datum::of_text(Kind::Json, r#"{"b":"2","a":"1"}"#);
        assert_ne!(json, Datum::of_text(Kind::Json, r#"{"a":"1","b":"2"}"#), "a document is how it was written");
    }
}
