//! Pages under `docs/` that say what becomes of something when it is broken at each of its steps: a table a part, a row an experiment.
//!
//! A suite compares the rows that it ran with the page, or with `NOVACULA_UPDATE=1` writes them into it. The page as a whole is
//! compared with what would be printed from the endings it holds: so a step that is new in the code, or gone, shows at once.

use std::{
    collections::HashMap,
    env, fmt,
    fmt::Write as _,
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};

use crate::parts::workspace;

const COLUMNS: &str =
    "| step | fault | runs afterwards | outcome | stage | error code |\n| --- | --- | --- | --- | --- | --- |\n";

/// One trial's write must not undo another's.
static WRITING: Mutex<()> = Mutex::new(());

/// A page.
#[derive(Debug)]
pub struct Page {
    /// Where it is, from the workspace's root.
    pub file: &'static str,
    /// What stands above its tables.
    pub head: &'static str,
    /// What to do when it is stale.
    pub remedy: &'static str,
    /// Its tables, in order.
    pub tables: Vec<Table>,
}

/// A table of it.
#[derive(Debug)]
pub struct Table {
    /// Its heading; no other has it.
    pub title: &'static str,
    /// What it is about.
    pub story: &'static str,
    /// Its rows, in order.
    pub rows: Vec<Row>,
}

/// An experiment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// The heading of its table.
    pub table: &'static str,
    /// At which step.
    pub step: String,
    /// What happened.
    pub fault: String,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The version that runs afterwards.
    pub runs: &'static str,
    /// What the attempt says.
    pub outcome: String,
    /// In which stage it failed.
    pub stage: String,
    /// By which error.
    pub code: String,
}

// === impl Page ===

impl Page {
    /// Prints the rows that were run, and compares them with the page or, when told so, writes them into it.
    ///
    /// # Errors
    /// The rows that differ, with what to do about them; or the page cannot be read or written.
    #[expect(clippy::print_stdout, reason = "the matrix is what its suite is run for")]
    pub fn hold(&self, endings: &[(Row, Ending)]) -> Result<()> {
        for (row, ending) in endings {
            println!("{row} → {ending}");
        }
        let _guard = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = self.read()?;
        if is_update() {
            known.extend(endings.iter().map(|(row, ending)| (row.clone(), ending.to_string())));
            return self.write(&known);
        }
        let differing = endings.iter().filter_map(|(row, ending)| {
            let (now, page) = (ending.to_string(), known.get(row));
            let held = page.map_or("nothing", String::as_str);
            (page != Some(&now)).then(|| format!("{row}: ended with {now}, and the page says {held}"))
        });
        let differing: Vec<_> = differing.collect();
        ensure!(differing.is_empty(), "{}\n{}", differing.join("\n"), self.stale());
        Ok(())
    }

    /// Whether the page shows exactly the rows that there are.
    ///
    /// # Errors
    /// What it lacks.
    pub fn is_whole(&self) -> Result<()> {
        let _guard = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.read()?;
        if is_update() {
            return self.write(&known);
        }
        for row in self.tables.iter().flat_map(|table| &table.rows) {
            ensure!(known.contains_key(row), "{row}: {}", self.stale());
        }
        let text = fs::read_to_string(self.path()).context("read the page")?;
        ensure!(
            text == self.print(&known),
            "the page shows a row that is none, or was edited by hand: {}",
            self.stale()
        );
        Ok(())
    }

    fn stale(&self) -> String {
        format!("{} does not say so: look whether the change is meant, then `{}`", self.file, self.remedy)
    }

    fn path(&self) -> PathBuf {
        workspace().join(self.file)
    }

    /// A page that is not there yet holds nothing.
    fn read(&self) -> Result<HashMap<Row, String>> {
        match fs::read_to_string(self.path()) {
            Ok(text) => Ok(self.parse(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(HashMap::new()),
            Err(error) => Err(error).context("read the page"),
        }
    }

    fn write(&self, known: &HashMap<Row, String>) -> Result<()> {
        fs::write(self.path(), self.print(known)).context("write the page")
    }

    fn parse(&self, text: &str) -> HashMap<Row, String> {
        let mut known = HashMap::new();
        let mut table = None;
        for line in text.lines() {
            if let Some(title) = line.strip_prefix("## ") {
                table = self.tables.iter().map(|table| table.title).find(|known| *known == title);
                continue;
            }
            let cells = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |"));
            let mut cells = cells.into_iter().flat_map(|cells| cells.splitn(3, " | "));
            if let (Some(table), Some(step), Some(fault), Some(rest)) =
                (table, cells.next(), cells.next(), cells.next())
            {
                known.insert(Row { table, step: step.to_owned(), fault: fault.to_owned() }, rest.to_owned());
            }
        }
        known
    }

    /// Rows without an ending are left out; [`is_whole`](Self::is_whole) misses them.
    fn print(&self, known: &HashMap<Row, String>) -> String {
        let mut text = self.head.to_owned();
        for table in &self.tables {
            let _ = write!(text, "\n## {}\n\n{}\n\n{COLUMNS}", table.title, table.story);
            for row in &table.rows {
                if let Some(cells) = known.get(row) {
                    let _ = writeln!(text, "| {} | {} | {cells} |", row.step, row.fault);
                }
            }
        }
        text
    }
}

fn is_update() -> bool {
    env::var_os("NOVACULA_UPDATE").is_some()
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, {}", self.table, self.step, self.fault)
    }
}

/// The last four cells of its row.
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, outcome, stage, code } = self;
        write!(f, "{runs} | {outcome} | {stage} | {code}")
    }
}
