//! Waiting for brokers to take what this node writes.

use std::time::{Duration, Instant};

use tidings_client::{BrokerState, BrokerStatus, Compared, Conflict, OwnStatus, Publisher};

use crate::failure::{Effect, Exit, Failure};

/// How often the brokers' states are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How often a connection on its way is looked at.
const GLANCE: Duration = Duration::from_millis(10);
/// How long nothing may happen any more before brokers that do not answer are waited for no longer.
const QUIET: Duration = Duration::from_millis(500);
/// Looks in a row at which every broker refuses before that counts as an answer: a broker that drains refuses for a moment.
const REFUSALS: u32 = 10;

/// Waits for `work` until `patience` is over or no broker can do it.
pub(crate) async fn wait<T>(publisher: &Publisher, patience: Duration, work: impl Future<Output = T>) -> Result<T, Failure> {
    let deadline = Instant::now() + patience;
    let mut refusals = 0;
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            () = tokio::time::sleep(LOOK.min(deadline.saturating_duration_since(Instant::now()))) => {}
        }
        let status = publisher.status().map_err(super::state_failure)?;
        refusals = if status.brokers.iter().all(|broker| is_refusal(broker.state)) { refusals + 1 } else { 0 };
        if let Some(found) = &status.conflict {
            // Work that is not to be done then says so itself.
            return tokio::time::timeout(LOOK, work).await.map_err(|_| conflict(found));
        }
        if status.brokers.is_empty() || refusals >= REFUSALS || Instant::now() >= deadline {
            return Err(saved(&status));
        }
    }
}

/// Waits until a broker takes publishes, or each was tried and none does, or `patience` is over. Whether one does.
pub(super) async fn connected(publisher: &Publisher, patience: Duration) -> Result<bool, Failure> {
    let deadline = Instant::now() + patience;
    loop {
        let status = publisher.status().map_err(super::state_failure)?;
        let connected = status.brokers.iter().any(|broker| broker.state == BrokerState::Connected);
        if connected || all_tried(&status) || Instant::now() >= deadline {
            return Ok(connected);
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// Waits until each broker takes publishes or was tried, or `patience` is over.
pub(super) async fn tried(publisher: &Publisher, patience: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + patience;
    while !all_tried(&publisher.status().map_err(super::state_failure)?) && Instant::now() < deadline {
        tokio::time::sleep(GLANCE).await;
    }
    Ok(())
}

/// Waits until everything that is configured was compared with or does not answer, or something keeps this node from signing, or
/// `patience` is over. [P-5]
pub(super) async fn compared(publisher: &Publisher, patience: Duration) -> Result<Compared, Failure> {
    let (began, mut quiet) = (Instant::now(), Instant::now());
    loop {
        let compared = publisher.compared(LOOK).await;
        let tried = all_tried(&publisher.status().map_err(super::state_failure)?);
        if !tried {
            quiet = Instant::now();
        }
        // A broker that was read back from is compared with anew a moment later.
        let longest = if compared.archive_missing { super::DELIVER } else { QUIET };
        let done = tried && (compared.is_whole() || quiet.elapsed() >= longest);
        if done || compared.conflict.is_some() || began.elapsed() >= patience {
            return Ok(compared);
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// A broker that is tried once more keeps its last error.
fn all_tried(status: &OwnStatus) -> bool {
    use BrokerState::{Comparing, Connecting, Idle, Recovering};
    let tried = |broker: &BrokerStatus| match broker.state {
        Idle | Comparing | Recovering => false,
        Connecting => !broker.error.is_empty(),
        _ => true,
    };
    status.brokers.iter().all(tried)
}

/// Another writer has the key of this node. [P-4]
pub(crate) fn conflict(conflict: &Conflict) -> Failure {
    let Conflict { broker, rank, .. } = conflict;
    let error = format!("{broker} stands at head {rank} of another writer with this key, or of a state that was lost here");
    let action = "do not repeat; nothing is published before you decide: end the other one, then run `tidings init --take-over` where it is \
                  to go on; nothing of either is lost";
    Failure::new(error, action).effect(Effect::Done)
}

/// Why what was written is saved, but not receipted.
pub(crate) fn saved(status: &OwnStatus) -> Failure {
    let Some(first) = status.brokers.first() else {
        let failure = Failure::new("no broker is configured", "").exit(Exit::Unreachable).saved();
        return Failure { action: format!("name one under `brokers` in config.toml; {}", failure.action), ..failure };
    };
    // A broker that might still take it says more about what to do than one that never will.
    let broker = status.brokers.iter().find(|broker| !is_refusal(broker.state)).unwrap_or(first);
    let place = format!("{}:{}", broker.address.host, broker.address.port);
    let detail = cause(&broker.error);
    let error = match broker.state {
        BrokerState::Idle | BrokerState::Connecting | BrokerState::Connected => {
            format!("the broker at {place} did not answer in time{detail}")
        }
        state => format!("the broker at {place}: {}{detail}", state.words()),
    };
    let failure = Failure::new(error, "").exit(exit(broker.state)).saved();
    match action(broker.state) {
        Some(action) => Failure { action: action.to_owned(), ..failure },
        None => failure,
    }
}

/// The last error behind a colon, without the address that stands before it already.
fn cause(error: &str) -> String {
    let rest = error.strip_prefix("no broker answers at ").and_then(|rest| rest.split_once(": ")).map_or(error, |(_, cause)| cause);
    if rest.is_empty() { String::new() } else { format!(": {rest}") }
}

/// What to do where the next command alone will not publish.
fn action(state: BrokerState) -> Option<&'static str> {
    match state {
        BrokerState::Refused => Some(
            "do not repeat: it is kept and published once the broker takes it; if it does not admit this node, its operator runs \
             `tidings broker allow` with what `tidings id` prints here",
        ),
        BrokerState::Conflict => Some(
            "do not repeat: it is kept; another writer has this key, or this state is older than what was published: see to it that only \
             the newest state of this node is used",
        ),
        BrokerState::NeedsTransfer => Some(
            "do not repeat: it is kept, and published once the broker takes the refill: its operator finds the reason above in its limits",
        ),
        _ => None,
    }
}

fn is_refusal(state: BrokerState) -> bool {
    use BrokerState::{Broken, Conflict, NeedsTransfer, Refused};
    matches!(state, Refused | Conflict | NeedsTransfer | Broken)
}

/// A broker that breaks the protocol was caught at a lie.
fn exit(state: BrokerState) -> Exit {
    match state {
        BrokerState::Refused => Exit::Refused,
        BrokerState::Broken => Exit::Lie,
        BrokerState::Conflict | BrokerState::NeedsTransfer => Exit::Failed,
        _ => Exit::Unreachable,
    }
}
