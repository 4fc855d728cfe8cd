//! `tidings broker`: keeps queues for others, and who may publish there.

mod inspect;
mod serve;
mod settings;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use tidings_broker::server::AdmissionList;
use tidings_core::Did;

use crate::args::Globals;
use crate::failure::Failure;
use settings::{Admit, Public, Settings};

/// Run a broker: it keeps sealed queues durably and can read nothing
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BrokerArgs {
    #[command(subcommand)]
    command: Option<BrokerCommand>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum BrokerCommand {
    /// Let an owner publish here. Takes effect at once, also beside a running broker
    Allow(AdmissionArgs),
    /// Let an owner publish here no longer. What it published stays and is served
    Deny(AdmissionArgs),
    Inspect(inspect::InspectArgs),
}

#[derive(Debug, Args)]
struct AdmissionArgs {
    /// The owner, as its `tidings id` prints it
    did: Did,
    /// Folder of the broker
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// What is not given here is taken from the settings file, then from the defaults.
#[derive(Debug, Args)]
struct ServeArgs {
    /// Folder of the broker: its keys and all queues
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// UDP address to serve on.
    // Not as a doc comment: rustdoc takes the brackets for a link.
    #[arg(long, value_name = "ADDR", help = "UDP address to serve on; port 0 picks one. [default: [::]:4433]")]
    listen: Option<SocketAddr>,
    /// Host and port that clients are told. [default: the address served on]
    #[arg(long, value_name = "HOST:PORT")]
    public: Option<Public>,
    /// Who may publish: everybody, or who was allowed. [default: list; open on loopback]
    #[arg(long, value_name = "WHO")]
    admit: Option<Admit>,
    /// Settings as TOML: data, listen, public, admit
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Serves until SIGINT or SIGTERM, or changes the admission list.
pub(crate) async fn run(globals: Globals, args: BrokerArgs) -> Result<(), Failure> {
    match args.command {
        None => serve::run(&globals.console, settings(args.serve)?).await,
        Some(BrokerCommand::Allow(args)) => admit(&globals, &args, true),
        Some(BrokerCommand::Deny(args)) => admit(&globals, &args, false),
        Some(BrokerCommand::Inspect(args)) => inspect::run(&globals, &args),
    }
}

fn settings(args: ServeArgs) -> Result<Settings, Failure> {
    let file = args.config.as_deref().map(Settings::read).transpose()?.unwrap_or_default();
    Ok(Settings {
        data: args.data.or(file.data),
        listen: args.listen.or(file.listen),
        public: args.public.or(file.public),
        admit: args.admit.or(file.admit),
    })
}

/// What was decided about an owner.
#[derive(Serialize)]
struct Decided {
    owner: String,
    admitted: bool,
}

fn admit(globals: &Globals, args: &AdmissionArgs, admitted: bool) -> Result<(), Failure> {
    if !serve::store(&args.data).is_dir() {
        let error = format!("{} is no broker's folder", args.data.display());
        return Err(Failure::new(
            error,
            "name the one that `tidings broker --data` serves from; a new broker makes its folder when it starts",
        ));
    }
    AdmissionList::in_folder(&args.data).set(&args.did, admitted).map_err(|error| {
        Failure::new(
            format!("the admission list cannot be changed: {error}"),
            "check that --data names the broker's folder, and its rights",
        )
    })?;
    if !admitted {
        globals
            .console
            .tell("this counts where the broker runs with --admit list; with --admit open, the default on loopback, everybody may publish");
    }
    let decided = Decided { owner: args.did.to_string(), admitted };
    globals.form().line(&decided, || format!("{} {}", if admitted { "allowed" } else { "denied" }, decided.owner))
}
