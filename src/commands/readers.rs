//! `tidings readers`: who can read, and how far each has come.

use clap::Args;
use serde::{Deserialize, Serialize};
use tidings_client::ReaderStatus;

use super::branches::Conflicting;
use crate::args::Globals;
use crate::failure::Failure;
use crate::node::{Node, Reach, state_failure};

/// List who can read, with the acknowledged position and the lag
#[derive(Debug, Args, Serialize, Deserialize)]
pub(crate) struct ReadersArgs {}

/// A reader as JSON.
#[derive(Serialize)]
struct Listed {
    name: String,
    did: String,
    acknowledged: Option<Position>,
    lag: u64,
}

#[derive(Serialize)]
struct Position {
    term: u64,
    number: u64,
    offset: u64,
}

impl From<ReaderStatus> for Listed {
    fn from(reader: ReaderStatus) -> Self {
        let acknowledged = reader.acknowledged.map(|cursor| Position {
            term: cursor.rank.term.value(),
            number: cursor.rank.number.value(),
            offset: cursor.offset.value(),
        });
        Self { name: reader.name, did: reader.did.to_string(), acknowledged, lag: reader.lag }
    }
}

impl Listed {
    fn words(&self) -> String {
        let name = if self.name.is_empty() { "-" } else { &self.name };
        match &self.acknowledged {
            Some(position) => format!("{name}\t{}\tat offset {}, {} behind", self.did, position.offset, self.lag),
            None => format!("{name}\t{}\tnothing acknowledged yet, {} behind", self.did, self.lag),
        }
    }
}

/// Asks the broker; without one, lists what it said last. The owner, who is one of its own readers, is left out.
pub(crate) async fn run(globals: Globals, _: ReadersArgs) -> Result<(), Failure> {
    let node = Node::open(&globals, Reach::Online).await?;
    let connected = node.connected().await?;
    match node.publisher.status().map_err(state_failure)?.conflict {
        Some(conflict) => globals.console.tell(Conflicting::from(&conflict).words()),
        None if !connected => globals.console.tell("no broker is connected; this is what was known last"),
        None => {}
    }
    let readers = node.publisher.readers().await.map_err(|error| Failure::new(error, "repeat"));
    let listed = readers.and_then(|readers| {
        let others = readers.into_iter().filter(|reader| !reader.owner).map(Listed::from);
        others.into_iter().try_for_each(|reader| globals.form().line(&reader, || reader.words()))
    });
    node.close().await;
    listed
}
