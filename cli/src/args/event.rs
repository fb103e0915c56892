//! `novacula event …`: the feed and the audit log.

use clap::Subcommand;

/// `novacula event …`
#[derive(Debug, Subcommand)]
pub(crate) enum Event {
    /// Events, newest last
    List(Events),
    /// Print new events until interrupted
    Watch {
        /// Only these types, `attempt.*`; may be repeated
        #[arg(long = "type", value_name = "TYPE")]
        types: Vec<String>,
        /// Begin after this number instead of now
        #[arg(long, default_value_t = 0)]
        after: u64,
    },
}

/// `novacula event list`
#[derive(Debug, clap::Args)]
pub(crate) struct Events {
    /// Only these types, `executor.*`; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<String>,
    /// Only about this resource name
    #[arg(long, default_value = "")]
    pub(crate) target: String,
    /// The newest this many
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: usize,
    /// Of the installation instead of an organization
    #[arg(long)]
    pub(crate) installation: bool,
}
