//! `tidings init`: makes a node.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use tidings_proto::BrokerAddress;

use super::id::Identity;
use super::restore;
use crate::args::Globals;
use crate::failure::Failure;
use crate::home::{Config, Home, Passphrase, Storages};
use crate::node;

/// Make a node: its key, its folder, its settings
#[derive(Debug, Args, Serialize, Deserialize)]
pub(crate) struct InitArgs {
    /// Broker of this node's queue: the second line that `tidings broker` prints. May be given several times, best first; everything is
    /// published to all of them
    #[arg(long, value_name = "ADDR")]
    #[serde(skip)]
    broker: Vec<BrokerAddress>,
    /// Storage for values that do not fit into the queue: file:///DIR, s3://BUCKET/PREFIX, http(s)://... May be given several times:
    /// each keeps everything, and readers ask the first one first. Else the folder `storage` of the home
    #[arg(long, value_name = "URL")]
    storage: Vec<String>,
    /// Seal the key under a passphrase that is asked for; TIDINGS_PASSPHRASE_FILE does so without asking
    #[arg(long)]
    passphrase: bool,
    /// Make the node from a copy of its key file: everything it published is read back from the brokers and storages that are named. Whom
    /// it followed is not kept there
    #[arg(long, value_name = "NODE.KEY", conflicts_with = "passphrase")]
    restore: Option<PathBuf>,
    /// In a home that stopped since another writer has its key: say that this one goes on, and merge what the other one published
    #[arg(long, conflicts_with_all = ["broker", "storage", "passphrase", "restore"])]
    take_over: bool,
}

impl InitArgs {
    /// Whether it is about a node that is there, and perhaps runs.
    pub(crate) fn needs_node(&self) -> bool {
        self.take_over
    }
}

/// Makes the node and prints who it is.
pub(crate) async fn run(globals: Globals, args: InitArgs) -> Result<(), Failure> {
    if args.take_over {
        return restore::take_over(globals).await;
    }
    if let Some(unpinned) = args.broker.iter().find(|address| address.pin.is_none()) {
        let error = format!("{unpinned} names no pin, and this version knows a broker only by its pin");
        return Err(Failure::usage(error, "give the whole second line that `tidings broker` prints"));
    }
    let folder = globals.folder()?;
    let storages = Storages::open(&args.storage, &folder);
    let storages = storages.map_err(|error| Failure::usage(error, "name a storage that lasts, like file:///DIR"))?;
    let crowded = |error| Failure::usage(error, "name fewer brokers, or storages with shorter addresses");
    storages.locator_with(&args.broker).map_err(crowded)?;
    let brokers = args.broker.iter().map(BrokerAddress::to_string).collect();
    let config = Config { brokers, storage: args.storage, ..Config::default() };
    if let Some(key) = &args.restore {
        if config.brokers.is_empty() && config.storage.is_empty() && !folder.join("storage").exists() {
            let error = "no place was named from which this node can be read back";
            return Err(Failure::usage(error, "name where it published to, with --broker or --storage"));
        }
        return restore::restore(globals, config, key).await;
    }
    let prompt = if args.passphrase { Passphrase::Ask } else { Passphrase::FromFile };
    let home = Home::create(&folder, config, prompt, globals.timeout)?;
    if let Err(failure) = node::create_state(&home) {
        home.unmake();
        return Err(failure);
    }
    let identity = Identity::of(&home.key);
    globals.form().line(&identity, || identity.words())
}
