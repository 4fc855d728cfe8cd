//! How fresh the answers about a followed owner are.

use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use tidings_client::{Follow, VerdictReport};
use tidings_core::reader::Verdict;
use tidings_proto::Timestamp;

use crate::clock;
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::node::{Node, Reach, detail, verdict_failure};

/// Longest catch-up before the last verified state has to do.
const CATCH_UP: Duration = Duration::from_secs(5);

/// What to do about changes that are not here yet. Of no effect on own records.
#[derive(Clone, Copy, Debug, Args, Serialize, Deserialize)]
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

    /// How long to wait for a value, if the network may be used.
    pub(crate) fn patience(self, longest: Duration) -> Option<Duration> {
        (!self.offline).then_some(longest)
    }

    /// Brings a follow up to date, as far as it can be in time; says on standard error of when the state is if it is not the newest.
    ///
    /// # Errors
    /// Nothing of the owner is verified yet; or it must be fresh and is not.
    pub(crate) async fn catch_up(self, console: &Console, node: &Node, owner: &str) -> Result<Follow, Failure> {
        let follow = node.follow(owner)?;
        if self.offline {
            return usable(console, follow, None);
        }
        let Err(obstacle) = node.kept_up.catch_up(follow.queue, CATCH_UP.min(node.patience)).await? else {
            return stale_or_not(self.fresh, console, node.follow(owner)?);
        };
        let follow = node.follow(owner)?;
        if self.fresh {
            return Err(not_fresh(&obstacle));
        }
        usable(console, follow, Some(&obstacle))
    }
}

/// A caught-up state, which may be old all the same.
fn stale_or_not(fresh: bool, console: &Console, follow: Follow) -> Result<Follow, Failure> {
    match (follow.verdict.verdict == Verdict::Stale, fresh) {
        (false, _) => Ok(follow),
        (true, true) => Err(not_fresh(&follow.verdict)),
        (true, false) => {
            let obstacle = follow.verdict.clone();
            usable(console, follow, Some(&obstacle))
        }
    }
}

fn not_fresh(obstacle: &VerdictReport) -> Failure {
    verdict_failure(obstacle, "repeat later, or without --fresh for the last verified state")
}

/// The last verified state, said to be that.
fn usable(console: &Console, follow: Follow, obstacle: Option<&VerdictReport>) -> Result<Follow, Failure> {
    let as_of = follow.verdict.as_of;
    if as_of == Timestamp::ZERO {
        let nothing =
            Failure::new("nothing of this owner was verified yet", "repeat when its broker can be reached").exit(Exit::Unreachable);
        return Err(obstacle.map_or(nothing, |obstacle| verdict_failure(obstacle, "repeat when its broker can be reached")));
    }
    match obstacle {
        None => console.tell(format_args!("as of {}", clock::text(as_of))),
        Some(obstacle) => console.tell(format_args!("as of {} ({}: {})", clock::text(as_of), obstacle.verdict, detail(obstacle))),
    }
    Ok(follow)
}
