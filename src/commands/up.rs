//! `tidings up`: runs the node.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::args::Globals;
use crate::control::Server;
use crate::failure::Failure;
use crate::node::{Node, Reach};

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

/// Runs it until SIGINT or SIGTERM. Prints one line once it serves.
pub(crate) async fn run(globals: Globals, _: UpArgs) -> Result<(), Failure> {
    let stop = globals.stop()?;
    let node = Node::open(&globals, Reach::Standing).await?;
    let server = serve(&globals, &node);
    let told = node.keep_up_all().and_then(|()| tell(&globals, &node));
    if told.is_ok() {
        tracing::info!(follows = node.follows()?.len(), "up");
        tokio::select! {
            () = stop.wait() => {}
            () = collect(&node) => {}
        }
        tracing::info!("ending");
    }
    if let Some(server) = server {
        server.close().await;
    }
    node.close().await;
    told
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
