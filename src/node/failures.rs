//! What the client's errors mean for a person.

use tidings_client::{FollowError, PublisherError, StateError, VerdictReport};
use tidings_core::reader::Verdict;

use crate::clock;
use crate::failure::{Exit, Failure};

/// The state cannot be used. Nothing was changed.
pub(crate) fn state_failure(error: StateError) -> Failure {
    let action = match &error {
        StateError::Damaged(_) => "put a good copy of state.redb in its place; it was left as it is",
        StateError::Locked => "end the other process",
        StateError::TooNew { .. } => "use the version of Tidings that wrote it, or a newer one",
        _ => "check the free space and the rights of the folder, then repeat",
    };
    Failure::new(format!("state.redb: {error}"), action)
}

/// The own queue cannot be opened.
pub(crate) fn publisher_failure(error: PublisherError) -> Failure {
    match error {
        PublisherError::State(error) => state_failure(error),
        PublisherError::OtherKey => Failure::new("state.redb belongs to another node.key", "put the two files of one node together again"),
        error => Failure::new(error, "repeat later"),
    }
}

/// A follow cannot be begun, found or ended.
pub(crate) fn follow_failure(error: FollowError) -> Failure {
    match error {
        FollowError::State(error) => state_failure(error),
        FollowError::Grant(_) => {
            Failure::new(&error, "send the owner the card that `tidings id --card` prints, and ask for another invitation")
        }
        FollowError::AlreadyFollowing => Failure::new(&error, "nothing is to be done; `tidings status` lists it"),
        FollowError::NotFollowing => Failure::new(&error, "see `tidings status` for who is"),
        error => Failure::new(error, "check which invitation was meant"),
    }
}

/// A view that is not what was asked for.
pub(crate) fn verdict_failure(report: &VerdictReport, action: &str) -> Failure {
    let as_of = clock::text_or_none(report.as_of).map_or_else(|| "nothing verified yet".to_owned(), |time| format!("as of {time}"));
    let error = match report.detail.as_str() {
        "" => format!("{} ({as_of})", report.verdict),
        detail => format!("{}: {detail} ({as_of})", report.verdict),
    };
    let action = match &report.evidence {
        Some(path) => format!("keep the evidence in {} and show it to the owner", path.display()),
        None => action.to_owned(),
    };
    Failure::new(error, action).exit(verdict_exit(report.verdict).unwrap_or(Exit::Failed))
}

/// The exit code of a view with this verdict; `None` for 0.
pub(crate) fn verdict_exit(verdict: Verdict) -> Option<Exit> {
    match verdict {
        Verdict::Withheld | Verdict::Forked => Some(Exit::Lie),
        Verdict::Denied => Some(Exit::Refused),
        Verdict::Stale | Verdict::Offline => Some(Exit::Unreachable),
        _ => None,
    }
}
