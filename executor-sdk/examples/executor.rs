//! The smallest executor that means it: one binary that replaces itself, durably, and keeps the version before beside it.
//!
//! ```text
//! cargo run --example executor -- <state directory> [<join token, the first time>]
//! ```
//!
//! Somebody has to start it again when it ends (`Restart=always`). A real agent does more: it checks its host before the first
//! byte, and comes back by itself when the new version does not start. See `novacula-agent`.

use std::{env, error::Error, path::Path, sync::Arc};

use domain::AttemptId;
use novacula_executor_sdk::executor::{Applied, Description, Executor, Failure, Leave, Plan, Prepared, Workplace};
use novacula_executor_sdk::{credentials::CredentialStore, driver, enrol, in_place::InPlace};
use tokio_util::sync::CancellationToken;

pub(crate) struct Mine(pub(crate) InPlace);

impl Executor for Mine {
    fn describe(&self) -> Description {
        self.0.describe(env!("CARGO_PKG_VERSION").parse().expect("cargo's versions are SemVer"))
    }
    async fn preflight(&self, _: &Plan) -> Result<Workplace, Failure> {
        self.0.workplace()
    }
    async fn apply(&self, prepared: Prepared, leave: Leave) -> Result<Applied, Failure> {
        self.0.swap(prepared, leave).await
    }
    async fn roll_back(&self, attempt: AttemptId) -> Result<Applied, Failure> {
        self.0.put_back(attempt).await
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let state = env::args().nth(1).ok_or("name a state directory")?;
    let (state, join) = (Path::new(&state), env::args().nth(2).map(|token| token.parse()).transpose()?);
    enrol::once(join.as_ref(), &CredentialStore::new(state)).await?;
    let mine = Arc::new(Mine(InPlace::of_this_process(state)?));
    driver::run(mine, driver::Options::new(state), CancellationToken::new()).await?;
    Ok(())
}
