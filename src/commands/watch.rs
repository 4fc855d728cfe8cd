//! `tidings watch`: runs the node and prints what changes.

mod event;
mod feed;

use std::collections::BTreeSet;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tidings_client::StateFailure;
use tokio::task::JoinSet;

use super::up;
use crate::args::Globals;
use crate::failure::{Exit, Failure};
use crate::node::{self, Node, Reach, state_failure};
use crate::signal::Stop;
use feed::{Ended, Feed};

/// Run the node and print what changes at the owners it follows, until it is interrupted
#[derive(Debug, Args, Serialize, Deserialize)]
pub(crate) struct WatchArgs {
    /// Exit when caught up with every owner and each value is here, or named as one that cannot be had; the exit code is that of the
    /// worst verdict
    #[arg(long)]
    once: bool,
    /// `start`: print every record that is here first
    #[arg(long, value_name = "WHERE")]
    from: Option<Beginning>,
    /// Print changes before their values are here
    #[arg(long)]
    no_fetch: bool,
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
enum Beginning {
    /// With every record that is here, then with what was not printed yet.
    Start,
}

/// Prints until SIGINT or SIGTERM, which are no failure; with `--once` until every owner has caught up or cannot. A node of its own
/// whose disk was full is opened anew when there is space, unless it is to be once.
pub(crate) async fn run(globals: Globals, mut args: WatchArgs) -> Result<(), Failure> {
    let stop = globals.stop()?;
    let mut node = Node::open(&globals, Reach::Standing).await?;
    while let Some(failure) = stand(&globals, &args, node, &stop).await? {
        node::pause(failure, &stop).await?;
        let Some(opened) = up::open_again(&globals, &stop).await else { return Ok(()) };
        (node, args.from) = (opened, None);
    }
    Ok(())
}

/// Watches with a node until it is asked to end, or the state of its own fails: then how.
async fn stand(globals: &Globals, args: &WatchArgs, node: Node, stop: &Stop) -> Result<Option<StateFailure>, Failure> {
    // The node of this watch serves others too, as that of `up`.
    let server = if node.is_borrowed() { None } else { up::serve(globals, &node) };
    let watched = tokio::select! {
        watched = watch(globals, args, &node, stop.clone()) => watched,
        failure = node.state_failed() => Err(state_failure(failure.into())),
    };
    if let Some(server) = server {
        server.close().await;
    }
    // What is not confirmed as printed comes again.
    let again = node.state.failure().filter(|_| !args.once && !node.is_borrowed() && watched.is_err());
    match &watched {
        Ok(()) => node.close().await,
        Err(_) => node.abandon().await,
    }
    if again.is_some() { Ok(again) } else { watched.map(|()| None) }
}

async fn watch(globals: &Globals, args: &WatchArgs, node: &Node, stop: Stop) -> Result<(), Failure> {
    let mut feeds = JoinSet::new();
    let mut watched = BTreeSet::new();
    let mut begun = node.kept_up.begun();
    let (mut ended, mut over) = (Vec::new(), BTreeSet::new());
    loop {
        begun.mark_unchanged();
        // One that was ended to take another invitation goes on.
        if !args.once && !stop.is_set() {
            over.retain(|queue| !(node.kept_up.runs(queue) && watched.remove(queue)));
        }
        let follows = node.follows()?;
        watched.retain(|queue| follows.iter().any(|follow| follow.queue == *queue));
        for follow in follows.iter().filter(|follow| watched.insert(follow.queue)).collect::<Vec<_>>() {
            let feed = Feed::open(globals, node, follow, args)?;
            if args.from.is_some() {
                feed.print_all(node, follow)?;
            }
            let (queue, stop) = (follow.queue, stop.clone());
            feeds.spawn(async move { (queue, feed.run(stop).await) });
        }
        tokio::select! {
            feed = feeds.join_next(), if !feeds.is_empty() => if let Some(feed) = feed {
                let (queue, end) = feed.map_err(|error| Failure::new(error, "report this as a bug"))?;
                ended.push(end?);
                over.insert(queue);
            },
            () = stop.wait(), if feeds.is_empty() => return Ok(()),
            _ = begun.changed(), if !args.once => {}
        }
        if args.once && feeds.is_empty() {
            return if stop.is_set() { Ok(()) } else { worst(ended) };
        }
    }
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
