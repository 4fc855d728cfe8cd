//! Owners of a run.

use std::sync::Arc;

use tidings_client::{Dial, Publisher, PublisherConfig, PublisherError, Write};
use tidings_core::{NodeKey, RecordPath};
use tokio::task::JoinSet;

use super::connections::Connections;
use super::ground::{Ground, Whose, joined};
use super::stamp::STAMP_BYTES;
use crate::commands::failures::write_failure;
use crate::failure::{Effect, Exit, Failure};
use crate::node::{published_in_time, state_failure};

/// Owners of one run.
pub(super) const OWNERS_MAX: u64 = 100_000;

/// One owner with its queue at the broker.
pub(super) struct Owner {
    /// Its queue.
    pub(super) publisher: Publisher,
}

impl Owner {
    /// Opens `count` owners beside each other, each with its first head receipted.
    ///
    /// # Errors
    /// The broker cannot be reached, or does not take one of them.
    pub(super) async fn open_all(ground: &Arc<Ground>, count: u64, connections: &Arc<Connections>) -> Result<Vec<Self>, Failure> {
        let (mut keys, _) = ground.keys();
        let mut opening = JoinSet::new();
        for number in 0..count {
            let (key, ground, dial) = (keys.next(), Arc::clone(ground), Arc::clone(connections));
            opening.spawn(async move { Self::open(&ground, number, key, dial).await });
        }
        ground.unless_stopped(joined(opening)).await
    }

    async fn open(ground: &Ground, number: u64, key: NodeKey, dial: Arc<dyn Dial>) -> Result<Self, Failure> {
        let state = ground.state(Whose::Owner, number)?;
        let mut config = PublisherConfig::new(dial, vec![ground.broker.clone()]);
        config.grant_wait = ground.patience;
        // The queue of an owner that is made again is there already.
        config.restoring = ground.is_seeded();
        let owner = Self { publisher: Publisher::open(state, key, config).map_err(publisher_failure)? };
        owner.first_write(ground).await.map(|()| owner)
    }

    /// Record 0: a queue is made with its first head, which is not what is measured.
    async fn first_write(&self, ground: &Ground) -> Result<(), Failure> {
        let writing = async {
            let write = put(0, vec![0; STAMP_BYTES].into());
            let tickets = self.publisher.write(vec![write]).await.map_err(write_failure)?;
            for ticket in tickets {
                ticket.receipted().await.map_err(|error| Failure::new(error, "repeat"))?;
            }
            Ok(())
        };
        published_in_time(&self.publisher, ground.patience, writing).await.map_err(untaken)?
    }

    /// Ends it. What it wrote stays at the broker.
    pub(super) async fn close_all(owners: &[Self]) {
        let closing: JoinSet<()> = owners.iter().map(|owner| owner.publisher.clone().close()).collect();
        closing.join_all().await;
    }
}

/// A write of a record of a run.
pub(super) fn put(record: u64, value: bytes::Bytes) -> Write {
    let path: RecordPath = format!("/b/{record}").parse().expect("digits behind a slash are a path");
    Write::Put { path, value, content_type: String::new() }
}

/// The broker does not take what an owner writes. Nothing that anybody needs is lost.
pub(super) fn untaken(failure: Failure) -> Failure {
    let action = match failure.exit {
        Exit::Refused => {
            "let the owners of this run publish: choose a seed, have the broker's operator run `tidings broker allow` with each line of \
             `tidings bench ids --seed HEX64 --owners N`, then repeat with --seed HEX64"
        }
        Exit::Unreachable => "check that the address is that of a broker that runs and can be reached from here, then repeat",
        _ => "see what the broker's log says, then repeat",
    };
    failure.effect(Effect::None).action(action)
}

fn publisher_failure(error: PublisherError) -> Failure {
    match error {
        PublisherError::State(error) => state_failure(error),
        error => Failure::new(error, "repeat later"),
    }
}
