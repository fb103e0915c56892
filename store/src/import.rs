//! Carries an embedded installation over to PostgreSQL.
//!
//! ```text
//! lock and snapshot of the file → BEGIN, no other writer → the schema is empty → copy, table by table
//!   → read both sides back, row by row → sequences → COMMIT
//! ```
//!
//! One transaction: whatever ends it before COMMIT leaves the schema empty, and the import is run again. Rows go through in
//! batches, so memory does not grow with a table. Everything is carried: tombstones, used and revoked tokens, ended attempts,
//! and numbers, which go on where they were. The file is never written.

pub(crate) mod table;

pub(crate) mod datum;

pub(crate) mod catalog;

mod compare;

use std::path::{Path, PathBuf};

use crate::mapping::Cause;
use crate::postgres::target::{Target, TargetError};
use crate::postgres::{OpenError, Options};
use crate::sqlite::source::{Scan, Source, SourceError};

pub use self::compare::Difference;

use self::datum::Row;
use self::table::{TABLES, Table};

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The source.
    #[error("the embedded store {} cannot be imported", path.display())]
    Source {
        /// Where it is.
        path: PathBuf,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The target.
    #[error("open the PostgreSQL store")]
    Open(#[source] OpenError),
    /// There is something in it.
    #[error(
        "the schema {schema:?} is not empty ({found}): import into a new one (--database-schema), or drop it (DROP SCHEMA {schema} \
         CASCADE) when nothing in it is needed"
    )]
    Filled {
        /// Which.
        schema: String,
        /// Tables and their rows.
        found: String,
    },
    /// Its tables are not those that are carried.
    #[error("the schema {schema:?} is not one that this release can import into: {what}")]
    Schema {
        /// Which.
        schema: String,
        /// What is more, less or other.
        what: String,
    },
    /// A step failed.
    #[error("{step} {what} in PostgreSQL; nothing was imported")]
    Target {
        /// What was being done.
        step: &'static str,
        /// To what.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: Cause,
    },
    /// What was copied is not what the source has.
    #[error("the copy was checked and is not the same; nothing was imported")]
    Different(#[source] Difference),
    /// The connection broke while COMMIT was under way.
    #[error(
        "whether the import was kept is not known: run it again; when the schema is not empty then, it was, after all rows were checked"
    )]
    InDoubt(#[source] Cause),
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub step: Step,
    /// To which table.
    pub table: &'static str,
    /// Rows of it so far.
    pub n_rows: u64,
}

/// What an import does with each table, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes it.
    Copy,
    /// Reads it back on both sides.
    Check,
}

/// What was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Rows of each table, checked.
    pub tables: Vec<(&'static str, u64)>,
    /// Changes go on above this number.
    pub change_number: u64,
    /// Events go on above this number.
    pub event_number: u64,
}

/// Imports the database at `path` into the schema that `options` name, and tells `progress` after each batch.
///
/// # Errors
/// One sentence for each thing that an operator can mend. Nothing was imported then, but for [`ImportError::InDoubt`].
pub async fn import(
    path: &Path,
    options: &Options,
    mut progress: impl FnMut(Progress),
) -> Result<Imported, ImportError> {
    let of_source = |source: SourceError| ImportError::Source { path: path.to_owned(), source: source.into() };
    let place = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || {
        let source = Source::open(&place)?;
        Ok((source.catalog()?, source.numbers()?, source))
    });
    let opened = opened.await.map_err(|error| SourceError::Engine(error.into())).and_then(|opened| opened);
    let (catalog, numbers, source) = opened.map_err(of_source)?;
    if let Some(what) = catalog::differs_at_source(&catalog) {
        return Err(ImportError::Source { path: path.to_owned(), source: what.into() });
    }
    let target = Target::open(options).await.map_err(ImportError::Open)?;
    let work = Work { path, source: &source, target: &target };
    match Box::pin(work.run(numbers, &mut progress)).await {
        Ok(imported) => match target.commit().await {
            Ok(()) => Ok(imported),
            Err(error) if error.is_in_doubt() => Err(ImportError::InDoubt(error.into())),
            Err(error) => Err(of_target("commit", "the transaction")(error)),
        },
        Err(error) => {
            target.rollback().await;
            Err(error)
        }
    }
}

/// Both sides.
struct Work<'a> {
    path: &'a Path,
    source: &'a Source,
    target: &'a Target,
}

impl Work<'_> {
    /// Everything between BEGIN and COMMIT.
    async fn run(&self, numbers: [i64; 2], progress: &mut impl FnMut(Progress)) -> Result<Imported, ImportError> {
        let schema = self.target.schema();
        self.target.begin().await.map_err(of_target("lock", "the tables"))?;
        let catalog = self.target.catalog().await.map_err(of_target("read", "the catalog"))?;
        if let Some(what) = catalog::differs_at_target(&catalog) {
            return Err(ImportError::Schema { schema: schema.to_owned(), what });
        }
        let filled = self.target.filled().await.map_err(of_target("count", "the rows"))?;
        if !filled.is_empty() {
            let found = filled.iter().map(|(table, n_rows)| format!("{table} {n_rows}")).collect::<Vec<_>>();
            return Err(ImportError::Filled { schema: schema.to_owned(), found: found.join(", ") });
        }
        for table in TABLES {
            self.copy(table, progress).await?;
        }
        self.target.analyze().await.map_err(of_target("analyze", "the tables"))?;
        let mut tables = Vec::new();
        for table in TABLES {
            tables.push((table.name, self.check(table, progress).await?));
        }
        let set = self.target.go_on_above(numbers).await.map_err(of_target("set", "the sequences"))?;
        let [change_number, event_number] = set.map(i64::unsigned_abs);
        Ok(Imported { tables, change_number, event_number })
    }

    async fn copy(&self, table: &'static Table, progress: &mut impl FnMut(Progress)) -> Result<(), ImportError> {
        let failed = of_target("copy", table.name);
        let mut scan = self.source.scan(table);
        let mut n_rows = 0;
        while let Some(batch) = self.batch(&mut scan).await? {
            self.target.insert(table, &batch).await.map_err(&failed)?;
            n_rows += batch.len() as u64;
            progress(Progress { step: Step::Copy, table: table.name, n_rows });
        }
        Ok(())
    }

    async fn check(&self, table: &'static Table, progress: &mut impl FnMut(Progress)) -> Result<u64, ImportError> {
        let failed = of_target("check", table.name);
        let mut found = self.target.rows(table).await.map_err(&failed)?;
        let mut scan = self.source.scan(table);
        let mut n_rows = 0;
        while let Some(batch) = self.batch(&mut scan).await? {
            for wanted in &batch {
                let row = found.next().await.map_err(&failed)?;
                same(table, Some(wanted), row.as_ref())?;
            }
            n_rows += batch.len() as u64;
            progress(Progress { step: Step::Check, table: table.name, n_rows });
        }
        same(table, None, found.next().await.map_err(&failed)?.as_ref())?;
        Ok(n_rows)
    }

    async fn batch(&self, scan: &mut Scan) -> Result<Option<Vec<Row>>, ImportError> {
        let batch = scan.next().await;
        batch.map_err(|source| ImportError::Source { path: self.path.to_owned(), source: source.into() })
    }
}

fn same(table: &Table, wanted: Option<&Row>, found: Option<&Row>) -> Result<(), ImportError> {
    match compare::difference(table, wanted, found) {
        None => Ok(()),
        Some(difference) => Err(ImportError::Different(difference)),
    }
}

fn of_target(step: &'static str, what: &'static str) -> impl Fn(TargetError) -> ImportError {
    move |source| ImportError::Target { step, what, source: source.into() }
}
