//! How fresh the answers about a followed owner are.

use std::time::Duration;

use clap::Args;
use tidings_client::{Follow, VerdictReport};
use tidings_core::reader::Verdict;
use tidings_proto::Timestamp;

use crate::clock;
use crate::failure::{Exit, Failure};
use crate::node::{Node, Reach, follow_failure, verdict_failure};

/// Longest catch-up before the last verified state has to do.
const CATCH_UP: Duration = Duration::from_secs(5);

/// What to do about changes that are not here yet. Of no effect on own records.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Freshness {
    /// Of a followed owner: answer only if caught up, else exit 5
    #[arg(long, conflicts_with = "offline")]
    fresh: bool,
    /// Answer from what is here, without the network
    #[arg(long)]
    offline: bool,
}

impl Freshness {
    /// Whether the network may be used.
    pub(crate) fn reach(self) -> Reach {
        if self.offline { Reach::Offline } else { Reach::Online }
    }

    /// Brings a follow up to date, as far as it can be in time; says on standard error of when the state is if it is not the newest.
    ///
    /// # Errors
    /// Nothing of the owner is verified yet; or it must be fresh and is not.
    pub(crate) async fn catch_up(self, node: &Node, owner: &str) -> Result<Follow, Failure> {
        let follow = node.follow(owner)?;
        if self.offline {
            return usable(follow, None);
        }
        let mut subscriber = node.subscriber(follow.queue)?;
        let caught_up = tokio::time::timeout(CATCH_UP.min(node.patience), subscriber.caught_up()).await;
        let follow = subscriber.status().map_err(follow_failure)?;
        subscriber.close().await;
        let obstacle = match caught_up {
            Ok(Ok(_)) if follow.verdict.verdict != Verdict::Stale => return Ok(follow),
            Ok(Ok(_)) => follow.verdict.clone(),
            Err(_) => late(&follow.verdict),
            Ok(Err(obstacle)) => obstacle,
        };
        if self.fresh {
            return Err(verdict_failure(&obstacle, "repeat later, or without --fresh for the last verified state"));
        }
        usable(follow, Some(&obstacle))
    }
}

/// A catch-up that is not over in time. A verdict of before says nothing about now.
fn late(known: &VerdictReport) -> VerdictReport {
    VerdictReport { verdict: Verdict::Offline, detail: "not caught up in time".into(), evidence: None, ..known.clone() }
}

/// The last verified state, said to be that.
fn usable(follow: Follow, obstacle: Option<&VerdictReport>) -> Result<Follow, Failure> {
    let as_of = follow.verdict.as_of;
    if as_of == Timestamp::ZERO {
        let nothing =
            Failure::new("nothing of this owner was verified yet", "repeat when its broker can be reached").exit(Exit::Unreachable);
        return Err(obstacle.map_or(nothing, |obstacle| verdict_failure(obstacle, "repeat when its broker can be reached")));
    }
    match obstacle {
        None => eprintln!("as of {}", clock::text(as_of)),
        Some(obstacle) => eprintln!("as of {} ({}: {})", clock::text(as_of), obstacle.verdict, obstacle.detail),
    }
    Ok(follow)
}
