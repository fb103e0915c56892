//! The smallest executor that means it: one binary that replaces itself, and keeps the old one beside it.
//!
//! ```text
//! cargo run --example executor -- <state directory> [<join token, the first time>]
//! ```
//!
//! A real agent does more: it checks its host before the first byte, syncs what it renames, and comes back by itself when the
//! new version fails. See `novacula-agent`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use domain::attempt::{ErrorCode, Stage};
use domain::{AttemptId, Kind};
use novacula_executor_sdk::executor::{
    Applied, Artifact, Description, Executor, Failure, Leave, Plan, Prepared, Workplace,
};
use novacula_executor_sdk::journal::{Journal, OpenAttempt};
use novacula_executor_sdk::{credentials::CredentialStore, driver, enrol, report};
use tokio_util::sync::CancellationToken;

/// How long another process may hold the journal's lock.
const PATIENCE: Duration = Duration::from_secs(5);

struct Myself {
    binary: PathBuf,
    journal: Journal,
}

impl Executor for Myself {
    fn describe(&self) -> Description {
        Description::new(Kind::Agent, env!("CARGO_PKG_VERSION").parse().expect("cargo's versions are SemVer"))
    }

    async fn preflight(&self, _: &Plan) -> Result<Workplace, Failure> {
        Ok(Workplace::Directory(self.binary.parent().unwrap_or(Path::new("/")).to_owned()))
    }

    async fn apply(&self, prepared: Prepared, leave: Leave) -> Result<Applied, Failure> {
        let Artifact::File(mut file) = prepared.artifact else {
            return Ok(Applied::Elsewhere);
        };
        let journal = self.journal.lock(PATIENCE).map_err(|error| failed(Stage::Swap, &error))?;
        let open = OpenAttempt::of(&prepared.plan, &leave);
        journal.update(|state| state.open = Some(open)).map_err(|error| failed(Stage::Swap, &error))?;
        let swap = || {
            fs::copy(&self.binary, self.binary.with_extension("prev"))
                .and_then(|_| fs::rename(file.path(), &self.binary))
        };
        swap().map_err(|error| failed(Stage::Swap, &error))?;
        file.keep();
        Ok(Applied::Restart)
    }

    async fn roll_back(&self, _: AttemptId) -> Result<Applied, Failure> {
        fs::rename(self.binary.with_extension("prev"), &self.binary)
            .map_err(|error| failed(Stage::Rollback, &error))?;
        Ok(Applied::Restart)
    }
}

fn failed(stage: Stage, error: &(dyn Error + 'static)) -> Failure {
    Failure::failed(stage, ErrorCode::Io, report::chain(error))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let state = PathBuf::from(env::args_os().nth(1).ok_or("name a state directory")?);
    if let Some(token) = env::args().nth(2) {
        enrol::enrol(&token.parse()?, None, &CredentialStore::new(&state)).await?;
    }
    let myself = Arc::new(Myself { binary: env::current_exe()?, journal: Journal::new(&state) });
    driver::run(myself, driver::Options::new(&state), CancellationToken::new()).await?;
    Ok(())
}
