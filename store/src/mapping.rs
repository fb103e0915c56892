//! From a row to what it means: one function a noun, written once for every backend.
//!
//! A backend says how it reads a column ([`Columns`]); what a column means, and what is wrong with one that cannot be read,
//! is said here. Nothing panics: a disk holds foreign bytes too. Columns are read in the order of the SELECT.

mod attempt;

mod authority;

mod catalog;

mod executor;

mod session;

mod token;

use std::error::Error as StdError;
use std::str::FromStr;

use domain::Timestamp;
use serde::de::DeserializeOwned;

use crate::error::Error;

pub(crate) use attempt::attempt;
pub(crate) use authority::{authority, authority_use, executor_name};
pub(crate) use catalog::{event, node, organization, release};
pub(crate) use executor::{certificate, change, executor, executor_count, restore};
pub(crate) use session::{presence, session};
pub(crate) use token::{join_token, token};

/// Why a column cannot be read.
pub(crate) type Cause = Box<dyn StdError + Send + Sync>;

/// A row holds something that this build cannot read, or was asked to hold something that it may not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Defect {
    #[error("column {column} cannot be read")]
    Column {
        column: &'static str,
        #[source]
        source: Cause,
    },
    #[error("{value:?} is none of the words this build knows")]
    Word { value: String },
    #[error("it is null")]
    Null,
    #[error("{column} {value} does not fit 63 bits")]
    Range { column: &'static str, value: u64 },
}

/// One row being read. What a column holds is asked for in its plainest form; ids and digests are text in their canonical
/// form, however the backend keeps them.
pub(crate) trait Columns {
    /// Which noun the row is of, and its key: for errors.
    fn key(&self) -> (&'static str, String);

    /// Text, an id or a digest.
    fn text_column(&mut self, column: &'static str) -> Result<Option<String>, Cause>;

    /// A signed number.
    fn integer_column(&mut self, column: &'static str) -> Result<Option<i64>, Cause>;

    /// A yes or a no.
    fn flag_column(&mut self, column: &'static str) -> Result<Option<bool>, Cause>;

    /// An instant.
    fn time_column(&mut self, column: &'static str) -> Result<Option<Timestamp>, Cause>;

    /// A JSON document.
    fn json_column(&mut self, column: &'static str) -> Result<Option<String>, Cause>;

    /// A value that was read from its column and is not what it should be.
    fn refuse(&self, column: &'static str, why: impl Into<Cause>) -> Error {
        let (noun, key) = self.key();
        Error::Corrupt { noun, key, source: Box::new(Defect::Column { column, source: why.into() }) }
    }

    /// Text as it is, or null.
    fn string_or_null(&mut self, column: &'static str) -> Result<Option<String>, Error> {
        self.text_column(column).map_err(|error| self.refuse(column, error))
    }

    /// Text as it is.
    fn string(&mut self, column: &'static str) -> Result<String, Error> {
        self.string_or_null(column)?.ok_or_else(|| self.refuse(column, Defect::Null))
    }

    /// A text that parses, or null.
    fn text_or_null<T>(&mut self, column: &'static str) -> Result<Option<T>, Error>
    where
        T: FromStr,
        T::Err: Into<Cause>,
    {
        let text = self.string_or_null(column)?;
        text.map(|text| text.parse()).transpose().map_err(|error: T::Err| self.refuse(column, error))
    }

    /// A text that parses.
    fn text<T>(&mut self, column: &'static str) -> Result<T, Error>
    where
        T: FromStr,
        T::Err: Into<Cause>,
    {
        self.text_or_null(column)?.ok_or_else(|| self.refuse(column, Defect::Null))
    }

    /// One of a closed set of words, or null.
    fn word_or_null<T>(&mut self, column: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Error> {
        let Some(value) = self.string_or_null(column)? else {
            return Ok(None);
        };
        parse(&value).map(Some).ok_or_else(|| self.refuse(column, Defect::Word { value }))
    }

    /// One of a closed set of words.
    fn word<T>(&mut self, column: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
        self.word_or_null(column, parse)?.ok_or_else(|| self.refuse(column, Defect::Null))
    }

    /// A number that is never negative, or null.
    fn number_or_null<T: TryFrom<i64>>(&mut self, column: &'static str) -> Result<Option<T>, Error>
    where
        T::Error: Into<Cause>,
    {
        let value = self.integer_column(column).map_err(|error| self.refuse(column, error))?;
        value.map(T::try_from).transpose().map_err(|error| self.refuse(column, error))
    }

    /// A number that is never negative.
    fn number<T: TryFrom<i64>>(&mut self, column: &'static str) -> Result<T, Error>
    where
        T::Error: Into<Cause>,
    {
        self.number_or_null(column)?.ok_or_else(|| self.refuse(column, Defect::Null))
    }

    /// A yes or a no.
    fn flag(&mut self, column: &'static str) -> Result<bool, Error> {
        let value = self.flag_column(column).map_err(|error| self.refuse(column, error))?;
        value.ok_or_else(|| self.refuse(column, Defect::Null))
    }

    /// An instant, or null.
    fn time_or_null(&mut self, column: &'static str) -> Result<Option<Timestamp>, Error> {
        self.time_column(column).map_err(|error| self.refuse(column, error))
    }

    /// An instant.
    fn time(&mut self, column: &'static str) -> Result<Timestamp, Error> {
        self.time_or_null(column)?.ok_or_else(|| self.refuse(column, Defect::Null))
    }

    /// A JSON document of this shape, or null.
    fn json_or_null<T: DeserializeOwned>(&mut self, column: &'static str) -> Result<Option<T>, Error> {
        let text = self.json_column(column).map_err(|error| self.refuse(column, error))?;
        text.map(|text| serde_json::from_str(&text)).transpose().map_err(|error| self.refuse(column, error))
    }

    /// A JSON document of this shape.
    fn json<T: DeserializeOwned>(&mut self, column: &'static str) -> Result<T, Error> {
        self.json_or_null(column)?.ok_or_else(|| self.refuse(column, Defect::Null))
    }
}

/// Reads a list of shapes as what they stand for.
pub(crate) fn read_all<S, T>(shapes: Vec<S>) -> Result<Vec<T>, Cause>
where
    T: TryFrom<S, Error = Cause>,
{
    shapes.into_iter().map(T::try_from).collect()
}
