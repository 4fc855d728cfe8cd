//! What the client's errors mean for a person.

use tidings_client::{FollowError, PublisherError, StateError, VerdictReport};
use tidings_core::reader::Verdict;
use tidings_datastore::{DatastoreError, FollowerError, Unfetched};

use crate::clock;
use crate::failure::{Effect, Exit, Failure};

/// The state cannot be used. Nothing was changed, but by a change whose sync failed.
pub(crate) fn state_failure(error: StateError) -> Failure {
    failed_state(&error)
}

/// The same of an error that others see too.
pub(crate) fn failed_state(error: &StateError) -> Failure {
    let action = match error {
        StateError::Full(_) => "free some space, then repeat",
        StateError::Unsynced(_) => "check the disk; then see `tidings ls` and `tidings readers`, and repeat what is not there",
        StateError::Failed => "check the free space and the disk, then repeat",
        StateError::Damaged(_) => {
            "it was left as it is; put a good copy in its place, which, if it is not the newest, needs `tidings init --take-over`, or make \
             the node anew in another folder: `tidings init --restore` with its node.key"
        }
        StateError::Mark(..) => "remove what is in its place, then repeat: it is made anew",
        StateError::Locked => "end the other process",
        StateError::TooNew { .. } => "use the version of Tidings that wrote it, or a newer one",
        _ => "check the free space and the rights of the folder, then repeat",
    };
    let effect = if matches!(error, StateError::Unsynced(_)) { Effect::Unknown } else { Effect::None };
    Failure::new(of_state(error), action).effect(effect)
}

/// What is wrong with the state, with the name of its file.
pub(crate) fn of_state(error: &StateError) -> String {
    let text = error.to_string();
    match text.strip_prefix("the state ") {
        _ if matches!(error, StateError::Mark(..)) => text,
        Some(rest) => format!("state.redb {rest}"),
        None => format!("state.redb: {text}"),
    }
}

/// Why a verdict is what it is, without its own word in front: a refusal says it again.
pub(crate) fn detail(report: &VerdictReport) -> &str {
    match report.detail.split_once(": ") {
        Some((word, rest)) if word.eq_ignore_ascii_case(report.verdict.word()) => rest,
        _ => &report.detail,
    }
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
        FollowError::OldInvitation => Failure::new(&error, "ask the owner for a new one: `tidings grant` prints it"),
        FollowError::NameTooLong => Failure::usage(&error, "choose a shorter one with --as"),
        FollowError::NotFollowing => Failure::new(&error, "see `tidings status` for who is"),
        error => Failure::new(error, "check which invitation was meant"),
    }
}

/// A follow cannot be kept up, or a value of it is not here.
pub(crate) fn follower_failure(error: FollowerError) -> Failure {
    match error {
        FollowerError::Follow(error) => follow_failure(error),
        FollowerError::State(error) => state_failure(error),
        FollowerError::Unfetched(unfetched) => unfetched_failure(&unfetched),
        error => Failure::new(error, "check the free space and the rights of the folder, then repeat"),
    }
}

fn unfetched_failure(unfetched: &Unfetched) -> Failure {
    let action = match unfetched {
        Unfetched::NoStorage => "ask the owner where it is; name it with `tidings follow --storage` after `tidings unfollow`",
        Unfetched::NotHere => "repeat without --offline",
        Unfetched::Altered => "tell the owner; nothing of it was used",
        Unfetched::Damaged(_) => "repeat without --offline: it is fetched again; nothing of it was used",
        Unfetched::TooNew => "use a newer version of Tidings",
        _ => "repeat later, or with a longer --timeout",
    };
    Failure::new(unfetched, action).exit(Exit::Unreachable)
}

/// The own values cannot be opened. Nothing was changed.
pub(crate) fn opening_failure(error: DatastoreError) -> Failure {
    match error {
        DatastoreError::State(error) => state_failure(error),
        DatastoreError::Spool(_) => Failure::new(error, "check the free space and the rights of the folder, then repeat"),
        error => Failure::new(error, "repeat later"),
    }
}

/// Another writer has the key of this node, and what was asked for is not done before a person decides. [P-4]
pub(crate) fn conflict_failure(error: impl std::fmt::Display) -> Failure {
    let action = "nothing of it is saved: end the other one, run `tidings init --take-over` where it is to go on, then repeat";
    Failure::new(error, action)
}

/// A view that is not what was asked for.
pub(crate) fn verdict_failure(report: &VerdictReport, action: &str) -> Failure {
    let as_of = clock::text_or_none(report.as_of).map_or_else(|| "nothing verified yet".to_owned(), |time| format!("as of {time}"));
    let error = match detail(report) {
        "" => format!("{} ({as_of})", report.verdict),
        detail => format!("{}: {detail} ({as_of})", report.verdict),
    };
    let action = match &report.evidence {
        Some(path) => format!("keep the evidence in {} and show it to the owner", path.display()),
        None if report.verdict == Verdict::Denied => "ask the owner, who can grant it anew; what is here stays readable".to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_proto::Timestamp;

    #[test]
    fn no_word_is_said_twice() {
        let report =
            VerdictReport { verdict: Verdict::Denied, as_of: Timestamp::new(1000), detail: "Denied: no row".into(), evidence: None };
        let failure = verdict_failure(&report, "repeat later");
        assert_eq!(failure.error, "denied: no row (as of 1970-01-01T00:00:01.000Z)");
        assert!(failure.action.starts_with("ask the owner"), "waiting brings nothing: {}", failure.action);
        assert_eq!(of_state(&StateError::Locked), "state.redb is in use by another process");
        let mark = StateError::Mark("state.mark".into(), std::io::Error::other("why"));
        assert_eq!(of_state(&mark), "state.mark cannot be used: why", "the state is not to blame");
    }
}
