//! `tidings init`: makes a node.

use clap::Args;
use tidings_proto::BrokerAddress;

use super::id::Identity;
use crate::args::Globals;
use crate::failure::Failure;
use crate::home::{Config, Home, Passphrase, Storages};
use crate::node;

/// Make a node: its key, its folder, its settings
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Broker of this node's queue: the second line that `tidings broker` prints. May be given several times, best first
    #[arg(long, value_name = "ADDR")]
    broker: Vec<BrokerAddress>,
    /// Storage for values that do not fit into the queue: file:///DIR, s3://BUCKET/PREFIX, http(s)://... May be given several times:
    /// each keeps everything, and readers ask the first one first. Else the folder `storage` of the home
    #[arg(long, value_name = "URL")]
    storage: Vec<String>,
    /// Seal the key under a passphrase that is asked for; TIDINGS_PASSPHRASE_FILE does so without asking
    #[arg(long)]
    passphrase: bool,
}

/// Makes the node and prints who it is.
pub(crate) fn run(globals: Globals, args: InitArgs) -> Result<(), Failure> {
    if let Some(unpinned) = args.broker.iter().find(|address| address.pin.is_none()) {
        let error = format!("{unpinned} names no pin, and this version knows a broker only by its pin");
        return Err(Failure::usage(error, "give the whole second line that `tidings broker` prints"));
    }
    let prompt = if args.passphrase { Passphrase::Ask } else { Passphrase::FromFile };
    let folder = globals.folder()?;
    Storages::open(&args.storage, &folder).map_err(|error| Failure::usage(error, "name a storage that lasts, like file:///DIR"))?;
    let config = Config { brokers: args.broker.iter().map(BrokerAddress::to_string).collect(), storage: args.storage };
    let home = Home::create(&folder, config, prompt, globals.timeout)?;
    node::create_state(&home)?;
    let identity = Identity::of(&home.key);
    globals.form().line(&identity, || identity.words())
}
