//! `tidings up`: runs the node.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tidings_client::StateFailure;

use crate::args::Globals;
use crate::control::Server;
use crate::failure::Failure;
use crate::node::{self, Node, Reach};
use crate::signal::Stop;

/// How often the storage is rid of what no record names any more.
const COLLECT: Duration = Duration::from_secs(10 * 60);

/// Run the node until it is interrupted: publish what waits, keep up every follow, carry out the commands of others
#[derive(Debug, Args)]
pub(crate) struct UpArgs {}

/// What runs.
#[derive(Serialize)]
struct Up {
    did: String,
    home: String,
}

/// Runs it until SIGINT or SIGTERM. Prints one line once it serves. A node whose disk was full is opened anew when there is space.
pub(crate) async fn run(globals: Globals, _: UpArgs) -> Result<(), Failure> {
    let stop = globals.stop()?;
    let mut failed = stand(&globals, &stop, Node::open(&globals, Reach::Standing).await?, true).await?;
    while let Some(failure) = failed {
        node::pause(failure, &stop).await?;
        let Some(node) = open_again(&globals, &stop).await else { return Ok(()) };
        failed = stand(&globals, &stop, node, false).await?;
    }
    Ok(())
}

/// Opens the node as soon as that can be; `None` if it is asked to end before.
pub(super) async fn open_again(globals: &Globals, stop: &Stop) -> Option<Node> {
    while !stop.is_set() {
        match Node::open(globals, Reach::Standing).await {
            Ok(node) => {
                tracing::info!("the node is open again");
                return Some(node);
            }
            Err(failure) => {
                tracing::warn!(error = failure.error, "the node cannot be opened yet");
                node::wait(stop).await;
            }
        }
    }
    None
}

/// Runs a node until it is asked to end, or its state fails: then how.
async fn stand(globals: &Globals, stop: &Stop, node: Node, is_first: bool) -> Result<Option<StateFailure>, Failure> {
    let server = serve(globals, &node);
    let told = node.keep_up_all().and_then(|()| if is_first { tell(globals, &node) } else { Ok(()) });
    let mut failed = None;
    if told.is_ok() {
        tracing::info!(follows = node.follows().map_or(0, |follows| follows.len()), "up");
        tokio::select! {
            () = stop.wait() => {}
            () = collect(&node) => {}
            failure = node.state_failed() => failed = Some(failure),
        }
        tracing::info!("ending");
    }
    if let Some(server) = server {
        server.close().await;
    }
    failed = failed.or(node.state.failure());
    match failed {
        None => node.close().await,
        Some(_) => node.abandon().await,
    }
    if failed.is_some() { Ok(failed) } else { told.map(|()| None) }
}

/// Has the storage rid of what no record names any more, again and again.
async fn collect(node: &Node) {
    let mut due = tokio::time::interval(COLLECT);
    loop {
        due.tick().await;
        match node.datastore.collect().await {
            Ok(collected) if collected.removed + collected.failed > 0 => {
                tracing::info!(removed = collected.removed, failed = collected.failed, "collected");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "values that nobody names cannot be removed now"),
        }
    }
}

/// Carries out the commands of other processes from now on. If that cannot be, they wait for this one, and are told so.
pub(super) fn serve(globals: &Globals, node: &Node) -> Option<Server> {
    match Server::start(node.running()) {
        Ok(server) => Some(server),
        Err(failure) => {
            globals.console.tell(format_args!("{}: {}", failure.error, failure.action));
            None
        }
    }
}

fn tell(globals: &Globals, node: &Node) -> Result<(), Failure> {
    let up = Up { did: node.home.key.did().to_string(), home: node.home.folder().display().to_string() };
    globals.form().line(&up, || format!("up: {} at {}", up.did, up.home))
}
