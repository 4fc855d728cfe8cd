//! How a subscription ends, and what comes after it: once more, the next route, or a verdict. [P-14]

use tidings_core::reader::{Fault, Finding, Verdict};
use tidings_proto::{Refusal, RefusalCode};
use tokio::time::Instant;

use super::following::{End, Following, accuses};
use super::line::Line;
use super::reach::Reached;
use super::task::Task;
use crate::backoff::chance;
use crate::connection::ConnectionError;
use crate::state::StateError;

/// What is said where every address shows the closed head.
const CLOSED: &str = "closed by its owner";

/// Subscriptions begun again on one connection before another address is tried.
const RESTARTS_MAX: u32 = 4;

impl Task {
    pub(super) async fn silent(&mut self) -> Result<(), StateError> {
        self.next_address(Verdict::Stale, format!("{} owes a delta and sends nothing", self.who())).await
    }

    fn who(&self) -> &'static str {
        if self.is_storage() { "the storage" } else { "the broker" }
    }

    pub(super) async fn ended(&mut self, end: End) -> Result<(), StateError> {
        match end {
            End::Behind => self.next_address(Verdict::Stale, format!("{} lags behind what was seen before", self.who())).await,
            End::Restart(fault) => {
                tracing::debug!(%fault, "reading once more from the cursor");
                self.restart(&fault.to_string()).await
            }
            End::LocalDamage => {
                self.judge(Verdict::LocalDamage, "the own state did not match its head; it is read again", false).await?;
                self.restart("the own state is read again").await
            }
            End::Verdict(finding) => self.found(*finding).await,
            End::Refused(refusal) => {
                let (verdict, detail) = refused(&refusal, self.is_storage());
                // The branch that was being read stands there no more.
                if refusal.code == RefusalCode::Conflict {
                    return self.restart(&detail).await;
                }
                if verdict != Verdict::Denied {
                    return self.next_address(verdict, detail).await;
                }
                if self.step(move |following| following.reader().is_denied(&refusal)).await? {
                    return self.denied(&detail).await;
                }
                // Only the owner's signed list ends access; whoever just says so is no better than one that is silent. [P-17]
                let detail = format!("{} refuses and does not show that the owner ended the access", self.who());
                self.next_address(Verdict::Stale, detail).await
            }
            End::OutOfTurn => self.next_address(Verdict::Offline, "the broker does not keep to the protocol".into()).await,
        }
    }

    /// The owner ended the access and says so itself: another route could only show what was before. [P-17]
    async fn denied(&mut self, detail: &str) -> Result<(), StateError> {
        self.leave();
        self.keep_part().await?;
        self.round.serves();
        self.line = Line::Waiting(Instant::now() + self.backoff.failed(chance()));
        self.judge(Verdict::Denied, detail, true).await
    }

    async fn found(&mut self, finding: Finding) -> Result<(), StateError> {
        let (verdict, detail) = (finding.verdict, finding.detail.clone());
        // Storage is written in steps and read through caches: only a set that is not the signed one shows that somebody altered it.
        if self.is_storage() && verdict == Verdict::Withheld && finding.fault != Some(Fault::Set) {
            return self.next_address(Verdict::Stale, format!("the owner's storage cannot be read as it is: {detail}")).await;
        }
        let (report, news) = self.step(move |following| following.find(&finding)).await??;
        tracing::warn!(verdict = verdict.word(), "a verdict");
        self.inbox.accused(&report);
        self.inbox.verdict(&report, true, news);
        self.deadlines.look_at = None;
        self.next_address(verdict, detail).await
    }

    /// Subscribes again on the same connection. [P-14]
    async fn restart(&mut self, why: &str) -> Result<(), StateError> {
        self.restarts += 1;
        let Line::Up(stream) = &self.line else { return Ok(()) };
        if self.restarts > RESTARTS_MAX {
            return self.next_address(Verdict::Stale, format!("no verified view came of several attempts: {why}")).await;
        }
        let connection = stream.connection().clone();
        self.subscribe(connection).await
    }

    /// This address does not serve now: the next one, or after the last one a pause. What the round came to is reported then.
    pub(super) async fn next_address(&mut self, verdict: Verdict, detail: String) -> Result<(), StateError> {
        self.round.note(verdict, detail);
        self.go_on().await
    }

    /// An attempt at some addresses is over.
    pub(super) async fn dialed(&mut self, reached: Reached) -> Result<(), StateError> {
        for (at, error) in reached.failed {
            self.at = self.at.max(at);
            self.round.answered |= matches!(error, ConnectionError::Refused(_));
            let is_storage = self.routes.get(at).is_some_and(|route| route.is_storage);
            let (verdict, detail) = unreached(&error, is_storage);
            self.round.note(verdict, detail);
        }
        let Some((at, connection)) = reached.found else { return self.go_on().await };
        (self.at, self.round.passed) = (at, reached.passed);
        self.subscribe(connection).await
    }

    async fn go_on(&mut self) -> Result<(), StateError> {
        self.leave();
        self.keep_part().await?;
        if self.round.begins_anew() {
            return self.dial(0).await;
        }
        // A faster one that does not serve keeps nobody from a slower one.
        if let Some(passed) = self.round.passed.take() {
            self.round.in_turn = true;
            return self.dial(passed).await;
        }
        if self.at + 1 < self.routes.len() {
            return self.dial(self.at + 1).await;
        }
        let (now, (gravest, answered)) = (Instant::now(), self.round.end());
        let delay = match answered {
            true => self.backoff.failed(chance()),
            false => self.backoff.unanswered(now, chance()),
        };
        self.line = Line::Waiting(now + delay);
        match gravest {
            // Reported with its evidence already.
            Some((verdict, _)) if accuses(verdict) => Ok(()),
            Some((Verdict::UpToDate, detail)) => self.judge(Verdict::UpToDate, &detail, false).await,
            Some((verdict, detail)) => self.judge(verdict, &detail, true).await,
            None => Ok(()),
        }
    }

    /// What is held is the last head of a broker that the owner left, or of a queue that it ended: another address may know more. [P-13]
    pub(super) async fn closed(&mut self) -> Result<(), StateError> {
        self.next_address(Verdict::UpToDate, CLOSED.into()).await
    }

    /// What came of a delta stays, however long nobody goes on with it. [P-11]
    pub(super) async fn keep_part(&mut self) -> Result<(), StateError> {
        if !self.look_at(Following::has_part) {
            return Ok(());
        }
        self.step(Following::keep_part).await?
    }

    /// Ends the subscription on this side.
    pub(super) fn leave(&mut self) {
        self.line = Line::Down;
        self.caught_up = false;
        self.deadlines.end();
        self.opinion.pause();
        self.probe.end();
        self.inbox.connected(false);
    }
}

/// Why nothing comes from an address.
pub(super) fn unreached(error: &ConnectionError, is_storage: bool) -> (Verdict, String) {
    match error {
        ConnectionError::Refused(refusal) => refused(refusal, is_storage),
        error => (Verdict::Offline, error.to_string()),
    }
}

fn refused(refusal: &Refusal, is_storage: bool) -> (Verdict, String) {
    let verdict = match refusal.code {
        RefusalCode::Denied => Verdict::Denied,
        RefusalCode::TooNew => Verdict::TooNew,
        // Storage that has nothing says nothing about the queue: it may never have been written.
        RefusalCode::UnknownQueue if is_storage => Verdict::Offline,
        RefusalCode::UnknownQueue | RefusalCode::Damaged => Verdict::Stale,
        _ => Verdict::Offline,
    };
    (verdict, refusal.to_string())
}
