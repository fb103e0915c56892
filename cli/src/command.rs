//! One invocation, from arguments to calls.

mod event;

mod executor;

mod login;

mod organization;

mod release;

mod token;

mod upgrade;

use std::time::Duration;

use clap::CommandFactory as _;
use tokio::sync::OnceCell;

use crate::args::{Args, Command, Connection};
use crate::connect::{self, Api};
use crate::context::Settings;
use crate::error::Error;
use crate::names::Names;
use crate::output::Printer;

/// What a command works with. The channel opens at the first call, so that usage mistakes need no server.
pub(crate) struct Session {
    pub(crate) settings: Settings,
    pub(crate) names: Names,
    pub(crate) printer: Printer,
    timeout: Duration,
    api: OnceCell<Api>,
}

impl Session {
    fn new(connection: &Connection) -> Result<Self, Error> {
        let settings = Settings::resolve(connection)?;
        let names = Names::new(settings.organization.clone());
        let printer = Printer::new(connection.output);
        Ok(Self { settings, names, printer, timeout: connection.timeout, api: OnceCell::new() })
    }

    /// The channel for calls, each with the time limit.
    pub(crate) async fn api(&self) -> Result<Api, Error> {
        self.api.get_or_try_init(|| connect::open(&self.settings, Some(self.timeout))).await.cloned()
    }

    /// A channel for streams, without a time limit.
    pub(crate) async fn streaming_api(&self) -> Result<Api, Error> {
        connect::open(&self.settings, None).await
    }
}

/// Runs one invocation.
pub(crate) async fn run(args: Args) -> Result<(), Error> {
    match args.command {
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "novacula", &mut std::io::stdout());
            Ok(())
        }
        Command::Login(login) => login::login(&args.connection, &login).await,
        Command::Context(command) => login::context(&args.connection, &command),
        Command::Whoami => login::whoami(&Session::new(&args.connection)?).await,
        Command::Executor(command) => executor::run(&Session::new(&args.connection)?, command).await,
        Command::Upgrade(command) => upgrade::run(&Session::new(&args.connection)?, command).await,
        Command::Release(command) => release::run(&Session::new(&args.connection)?, command).await,
        Command::Organization(command) => organization::run(&Session::new(&args.connection)?, command).await,
        Command::JoinToken(command) => token::join(&Session::new(&args.connection)?, command).await,
        Command::Token(command) => token::run(&Session::new(&args.connection)?, command).await,
        Command::Event(command) => event::run(&Session::new(&args.connection)?, command).await,
    }
}

/// Rows asked for in one page; the server's largest.
pub(crate) const PAGE_SIZE: i32 = 1000;
