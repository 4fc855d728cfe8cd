//! Who gets in: a bounded number of strangers, at addresses at which they receive. [P-19]

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::config::BrokerConfig;
use super::connection;
use super::shared::{Shared, drained};

/// Accepts until the broker drains, then waits for the connections that are left.
pub(super) async fn run(endpoint: quinn::Endpoint, shared: Arc<Shared>, config: BrokerConfig) {
    let mut gate = Gate::new(shared.clone(), &config);
    let mut draining = shared.draining.clone();
    drop(shared);
    loop {
        tokio::select! {
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => gate.admit(incoming),
                None => break,
            },
            Some(_) = gate.connections.join_next() => {}
            () = drained(&mut draining) => break,
        }
    }
    // From here on newcomers are refused by the endpoint itself.
    endpoint.set_server_config(None);
    while gate.connections.join_next().await.is_some() {}
}

/// What to do with somebody who knocks.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Accept,
    /// Show first that you receive there: a forged address gets one small packet and costs nothing more.
    Retry,
    /// Anything sent would serve an attack.
    Ignore,
    Refuse,
}

struct Gate {
    shared: Arc<Shared>,
    connections: JoinSet<()>,
    connections_max: usize,
    unproven: Arc<Semaphore>,
    unproven_max: usize,
}

impl Gate {
    fn new(shared: Arc<Shared>, config: &BrokerConfig) -> Self {
        Self {
            shared,
            connections: JoinSet::new(),
            connections_max: config.connections_max,
            unproven: Arc::new(Semaphore::new(config.unproven_max)),
            unproven_max: config.unproven_max,
        }
    }

    fn admit(&mut self, incoming: quinn::Incoming) {
        let unproven = self.unproven_max.saturating_sub(self.unproven.available_permits());
        match judge(unproven, self.unproven_max, incoming.remote_address_validated(), self.connections.len() >= self.connections_max) {
            Verdict::Accept => self.accept(incoming),
            // It fails only for a client that was sent a retry before, and then its address is validated.
            Verdict::Retry => drop(incoming.retry()),
            Verdict::Ignore => incoming.ignore(),
            Verdict::Refuse => incoming.refuse(),
        }
    }

    fn accept(&mut self, incoming: quinn::Incoming) {
        let Ok(permit) = self.unproven.clone().try_acquire_owned() else { return incoming.ignore() };
        let Ok(connecting) = incoming.accept() else { return };
        let shared = self.shared.clone();
        self.connections.spawn(async move {
            let handshake = timeout(shared.deadlines.handshake, connecting).await;
            if let Ok(Ok(connection)) = handshake {
                connection::serve(shared, connection, permit).await;
            }
        });
    }
}

fn judge(unproven: usize, unproven_max: usize, validated: bool, full: bool) -> Verdict {
    match () {
        () if unproven >= unproven_max => Verdict::Ignore,
        () if unproven >= unproven_max / 4 && !validated => Verdict::Retry,
        () if full => Verdict::Refuse,
        () => Verdict::Accept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [P-19]
    #[test]
    fn strangers_are_asked_to_retry_above_a_quarter_of_the_budget_and_ignored_above_it() {
        assert_eq!(judge(249, 1_000, false, false), Verdict::Accept);
        assert_eq!(judge(250, 1_000, false, false), Verdict::Retry);
        assert_eq!(judge(250, 1_000, true, false), Verdict::Accept);
        assert_eq!(judge(1_000, 1_000, true, false), Verdict::Ignore);
        assert_eq!(judge(0, 1_000, true, true), Verdict::Refuse);
    }
}
