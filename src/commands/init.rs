//! `tidings init`: makes a node.

use clap::Args;
use tidings_proto::BrokerAddress;

use super::id::Identity;
use crate::args::Globals;
use crate::failure::Failure;
use crate::home::{Config, Home, Passphrase};
use crate::node;

/// Make a node: its key, its folder, its settings
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Broker of this node's queue: the second line that `tidings broker` prints. May be given several times, best first
    #[arg(long, value_name = "ADDR")]
    broker: Vec<BrokerAddress>,
    /// Storage for values that are not inline. None is supported yet
    #[arg(long, value_name = "URL")]
    storage: Vec<String>,
    /// Seal the key under a passphrase that is asked for; TIDINGS_PASSPHRASE_FILE does so without asking
    #[arg(long)]
    passphrase: bool,
}

/// Makes the node and prints who it is.
pub(crate) fn run(globals: Globals, args: InitArgs) -> Result<(), Failure> {
    refuse_storage(&args.storage)?;
    if let Some(unpinned) = args.broker.iter().find(|address| address.pin.is_none()) {
        let error = format!("{unpinned} names no pin, and this version knows a broker only by its pin");
        return Err(Failure::usage(error, "give the whole second line that `tidings broker` prints"));
    }
    let prompt = if args.passphrase { Passphrase::Ask } else { Passphrase::FromFile };
    let config = Config { brokers: args.broker.iter().map(BrokerAddress::to_string).collect() };
    let home = Home::create(&globals.folder()?, config, prompt, globals.timeout)?;
    node::create_state(&home)?;
    let identity = Identity::of(&home.key);
    globals.form().line(&identity, || identity.words())
}

/// Every kind of storage is refused: this version keeps values inside the queue.
pub(crate) fn refuse_storage(locators: &[String]) -> Result<(), Failure> {
    let Some(locator) = locators.first() else { return Ok(()) };
    let error = format!("{locator}: this version of Tidings has no storage drivers; values of up to 4,096 bytes travel in the queue");
    Err(Failure::usage(error, "leave --storage out"))
}
