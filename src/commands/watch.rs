//! `tidings watch`: runs the node and prints what changes.

mod event;
mod feed;

use clap::{Args, ValueEnum};
use tokio::task::JoinSet;

use crate::args::Globals;
use crate::failure::{Exit, Failure};
use crate::node::{Node, Reach};
use crate::signal;
use feed::{Ended, Feed};

/// Run the node and print what changes at the owners it follows, until it is interrupted
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Exit when caught up with every owner; the exit code is that of the worst verdict
    #[arg(long)]
    once: bool,
    /// `start`: print every record that is here first
    #[arg(long, value_name = "WHERE")]
    from: Option<Beginning>,
    /// Do not fetch values from storages. This version has none: every value travels in the queue
    #[arg(long)]
    no_fetch: bool,
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Beginning {
    /// With every record that is here, then with what was not printed yet.
    Start,
}

/// Prints until SIGINT or SIGTERM, which are no failure; with `--once` until every owner has caught up or cannot.
pub(crate) async fn run(globals: Globals, args: WatchArgs) -> Result<(), Failure> {
    let node = Node::open(&globals, Reach::Online)?;
    let watched = watch(&globals, &args, &node).await;
    match &watched {
        Ok(()) => node.close().await,
        Err(_) => node.abandon().await,
    }
    watched
}

async fn watch(globals: &Globals, args: &WatchArgs, node: &Node) -> Result<(), Failure> {
    let stop = signal::Stop::listen()?;
    let mut feeds = JoinSet::new();
    for follow in node.follows()? {
        let feed = Feed::open(globals, node, &follow, args.once)?;
        if args.from.is_some() {
            feed.print_all()?;
        }
        feeds.spawn(feed.run(stop.clone()));
    }
    let mut ended = Vec::new();
    while let Some(feed) = feeds.join_next().await {
        ended.push(feed.map_err(|error| Failure::new(error, "report this as a bug"))??);
    }
    if !args.once {
        stop.wait().await;
        return Ok(());
    }
    if stop.is_set() { Ok(()) } else { worst(ended) }
}

/// The failure of the worst verdict: a lie before a denial before what is old.
fn worst(ended: Vec<Ended>) -> Result<(), Failure> {
    let rank = |failure: &Failure| match failure.exit {
        Exit::Lie => 0,
        Exit::Refused => 1,
        _ => 2,
    };
    ended.into_iter().filter_map(Ended::failure).min_by_key(rank).map_or(Ok(()), Err)
}
