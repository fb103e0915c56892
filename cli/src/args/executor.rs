//! `novacula executor …`: who is there.

use clap::Subcommand;

use crate::args::Channel;

/// `novacula executor …`
#[derive(Debug, Subcommand)]
pub(crate) enum Executor {
    /// List executors
    List {
        /// Terms that must all hold: `version=1.2.0 channel=stable online=true state=active pinned=true label.rack=a7 name:web`
        #[arg(long, default_value = "")]
        filter: String,
    },
    /// One executor
    Get {
        /// `web-1` or the full resource name
        name: String,
    },
    /// Print every change until interrupted
    Watch {
        /// As in `list`
        #[arg(long, default_value = "")]
        filter: String,
    },
    /// Why an upgrade stands where it stands, and what to do next
    Explain {
        /// `web-1` or the full resource name
        name: String,
    },
    /// Change channel or labels
    Update {
        /// `web-1` or the full resource name
        name: String,
        /// Which releases it is shown
        #[arg(long, value_enum)]
        channel: Option<Channel>,
        /// Set a label, `rack=a7`; `rack=` removes it; may be repeated
        #[arg(long = "label", value_name = "KEY=VALUE")]
        labels: Vec<String>,
    },
    /// End its stream at once and refuse its certificate
    Deactivate {
        /// `web-1` or the full resource name
        name: String,
    },
    /// Let it sync again; also decides after DUPLICATE_IDENTITY
    Activate {
        /// `web-1` or the full resource name
        name: String,
    },
    /// Delete it for ever
    Delete {
        /// `web-1` or the full resource name
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Forget that a version rolled back or was refused here
    ClearHold {
        /// `web-1` or the full resource name
        name: String,
        /// The version
        version: String,
    },
    /// The machines it reports
    Nodes {
        /// `web-1` or the full resource name
        name: String,
    },
}
