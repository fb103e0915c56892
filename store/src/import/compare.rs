//! Holds two sides of a table against each other, row by row in order of the key, every column. Values are not told: digests of
//! secrets are among them.

use super::datum::{Datum, Row, key_of};
use super::table::Table;

/// What is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// A column of a row.
    #[error("column {column} of {table} {key} is not what the source has")]
    Column {
        /// Of which table.
        table: &'static str,
        /// Of which row.
        key: String,
        /// Which.
        column: &'static str,
    },
    /// Rows of other keys.
    #[error("{table} has {found} where the source has {wanted}")]
    Row {
        /// Which table.
        table: &'static str,
        /// The key that is there.
        found: String,
        /// The key that should be.
        wanted: String,
    },
    /// Fewer rows.
    #[error("{table} lacks {key}")]
    Lacks {
        /// Which table.
        table: &'static str,
        /// The first row that is not there.
        key: String,
    },
    /// More rows.
    #[error("{table} has {key}, which the source has not")]
    More {
        /// Which table.
        table: &'static str,
        /// The first row that should not be there.
        key: String,
    },
}

/// How the next rows of both sides differ.
pub(crate) fn difference(table: &Table, wanted: Option<&Row>, found: Option<&Row>) -> Option<Difference> {
    let name = table.name;
    match (wanted, found) {
        (None, None) => None,
        (Some(wanted), None) => Some(Difference::Lacks { table: name, key: key_of(table, wanted) }),
        (None, Some(found)) => Some(Difference::More { table: name, key: key_of(table, found) }),
        (Some(wanted), Some(found)) => {
            let (key, other) = (key_of(table, wanted), key_of(table, found));
            if key != other {
                return Some(Difference::Row { table: name, found: other, wanted: key });
            }
            let column = first_unequal(table, wanted, found)?;
            Some(Difference::Column { table: name, key, column })
        }
    }
}

fn first_unequal(table: &Table, wanted: &[Datum], found: &[Datum]) -> Option<&'static str> {
    let at = (0..table.columns.len()).find(|at| wanted.get(*at) != found.get(*at))?;
    Some(table.columns[at].name)
}
