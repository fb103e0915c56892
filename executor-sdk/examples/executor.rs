//! The smallest executor that means it: one binary that replaces itself, and keeps the old one beside it.
//!
//! ```text
//! cargo run --example executor -- <state directory> [<join token, the first time>]
//! ```
//!
//! A real agent does more: it checks its host before the first byte and comes back by itself when the new version fails. See
//! `novacula-agent`.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use domain::attempt::{ErrorCode, Stage};
use domain::{AttemptId, Kind};
use novacula_executor_sdk::executor::{
    Applied, Artifact, Description, Executor, Failure, Leave, Plan, Prepared, Workplace,
};
use novacula_executor_sdk::journal::{Journal, OpenAttempt, Step};
use novacula_executor_sdk::{credentials::CredentialStore, disk, driver, enrol, report};
use tokio_util::sync::CancellationToken;

/// A binary in a folder that may be written to.
pub(crate) struct Myself {
    pub(crate) folder: PathBuf,
    pub(crate) binary: PathBuf,
    pub(crate) journal: Journal,
}

impl Executor for Myself {
    fn describe(&self) -> Description {
        Description::new(Kind::Agent, env!("CARGO_PKG_VERSION").parse().expect("cargo's versions are SemVer"))
    }

    async fn preflight(&self, _: &Plan) -> Result<Workplace, Failure> {
        Ok(Workplace::Directory(self.folder.clone()))
    }

    async fn apply(&self, prepared: Prepared, leave: Leave) -> Result<Applied, Failure> {
        let Artifact::File(mut file) = prepared.artifact else { return Ok(Applied::Elsewhere) };
        let open = OpenAttempt::of(&prepared.plan, &leave);
        let journal = self.journal.lock(Duration::from_secs(5)).map_err(failed)?;
        journal.update(|state| state.open = Some(open)).map_err(failed)?;
        file.file().sync_all().map_err(failed)?;
        let _ = fs::remove_file(self.binary.with_extension("prev"));
        fs::hard_link(&self.binary, self.binary.with_extension("prev")).map_err(failed)?;
        disk::sync_directory(&self.folder).map_err(failed)?;
        fs::rename(file.path(), &self.binary).map_err(failed)?;
        file.keep();
        // Nothing undoes the swap from here: what fails now, the next start reads from the disk.
        let _ = disk::sync_directory(&self.folder);
        let _ = journal.update(|state| state.open.iter_mut().for_each(|open| open.step = Step::Swapped));
        Ok(Applied::Restart)
    }

    async fn roll_back(&self, _: AttemptId) -> Result<Applied, Failure> {
        fs::rename(self.binary.with_extension("prev"), &self.binary).map_err(failed)?;
        let _ = disk::sync_directory(&self.folder);
        Ok(Applied::Restart)
    }
}

fn failed(error: impl Error + 'static) -> Failure {
    Failure::failed(Stage::Swap, ErrorCode::Io, report::chain(&error))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let state = PathBuf::from(env::args_os().nth(1).ok_or("name a state directory")?);
    if let Some(token) = env::args().nth(2) {
        enrol::enrol(&token.parse()?, None, &CredentialStore::new(&state)).await?;
    }
    let binary = env::current_exe()?;
    let folder = binary.parent().ok_or("a binary lies in a folder")?.to_owned();
    let myself = Arc::new(Myself { folder, binary, journal: Journal::new(&state) });
    driver::run(myself, driver::Options::new(&state), CancellationToken::new()).await?;
    Ok(())
}
