//! The one task of a follow: receives one thing at a time and takes one step for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidings_core::Cursor;
use tidings_core::reader::{Accepted, Verdict};
use tidings_proto::{BrokerAddress, Refusal, RefusalCode, Reply, Request, Timestamp};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::SubscriberConfig;
use super::event::{CaughtUp, Event};
use super::following::{End, Following, as_of};
use super::inbox::Inbox;
use super::line::{Line, LineEvent};
use crate::backoff::{Backoff, chance};
use crate::clock;
use crate::connection::{Connection, ConnectionError};
use crate::state::StateError;
use crate::stream::SILENCE_MAX;

/// Subscriptions begun again on one connection before another address is tried.
const RESTARTS_MAX: u32 = 4;
/// How long a last acknowledgement may take when the task ends.
const LAST_WORD: Duration = Duration::from_secs(1);

pub(super) struct Task {
    following: Arc<Mutex<Following>>,
    config: SubscriberConfig,
    addresses: Vec<BrokerAddress>,
    inbox: Arc<Inbox>,
    /// What the application has made durable.
    acknowledged: watch::Receiver<Option<Cursor>>,
    line: Line,
    /// Which address is in use or being tried.
    at: usize,
    restarts: u32,
    /// A view was verified on this connection that is as new as what it announced first.
    caught_up: bool,
    /// The gravest reason in this round of addresses.
    round: Option<(Verdict, String)>,
    /// When the verified view becomes stale.
    stale_at: Option<Instant>,
    /// When a broker that owes a delta is left.
    silent_at: Option<Instant>,
    backoff: Backoff,
}

impl Task {
    pub(super) fn new(
        following: Following,
        config: SubscriberConfig,
        addresses: Vec<BrokerAddress>,
        inbox: Arc<Inbox>,
        acknowledged: watch::Receiver<Option<Cursor>>,
    ) -> Self {
        let following = Arc::new(Mutex::new(following));
        Self {
            following,
            config,
            addresses,
            inbox,
            acknowledged,
            line: Line::Down,
            at: 0,
            restarts: 0,
            caught_up: false,
            round: None,
            stale_at: None,
            silent_at: None,
            backoff: Backoff::default(),
        }
    }

    /// Runs until `closing` is sent or dropped.
    pub(super) async fn run(mut self, mut closing: oneshot::Receiver<()>) {
        let _farewell = Farewell(self.inbox.clone());
        if let Err(error) = self.start().await {
            self.local_failure(&error);
        }
        loop {
            let (stale_at, silent_at) = (self.stale_at, self.silent_at);
            let outcome = tokio::select! {
                _ = &mut closing => break,
                event = self.line.event() => self.line_event(event).await,
                Ok(()) = self.acknowledged.changed() => self.acknowledge().await,
                () = reached(stale_at) => self.grown_stale().await,
                () = reached(silent_at) => self.silent().await,
            };
            if let Err(error) = outcome {
                self.local_failure(&error);
            }
        }
        // The wish to end may have come together with an acknowledgement and been seen first.
        if let Err(error) = self.acknowledge().await {
            self.local_failure(&error);
        }
        if let Line::Up(stream) = self.line {
            let _ = timeout(LAST_WORD, stream.finish()).await;
        }
    }

    async fn step<T: Send + 'static>(&mut self, step: impl FnOnce(&mut Following) -> T + Send + 'static) -> Result<T, StateError> {
        let following = self.following.clone();
        let run = move || step(&mut following.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(run).await.map_err(|error| StateError::Io(std::io::Error::other(error)))
    }

    async fn start(&mut self) -> Result<(), StateError> {
        if self.addresses.is_empty() {
            self.judge(Verdict::Offline, "the invitation names no broker", true).await?;
        }
        self.dial(0).await
    }

    async fn dial(&mut self, at: usize) -> Result<(), StateError> {
        let Some(address) = self.addresses.get(at).cloned() else { return Ok(()) };
        let key = self.step(|following| following.reader().pseudonym_key()).await?;
        (self.at, self.restarts) = (at, 0);
        self.line = Line::dial(self.config.dial.clone(), address, key);
        Ok(())
    }

    async fn line_event(&mut self, event: LineEvent) -> Result<(), StateError> {
        match event {
            LineEvent::Retry => self.dial(0).await,
            LineEvent::Dialed(Ok(connection)) => self.subscribe(connection).await,
            LineEvent::Subscribed(Ok(stream)) => {
                self.line = Line::Up(stream);
                self.caught_up = false;
                self.silent_at = Some(Instant::now() + SILENCE_MAX);
                self.acknowledge().await
            }
            LineEvent::Reply(Ok(reply)) => self.replied(reply).await,
            LineEvent::Dialed(Err(error)) | LineEvent::Subscribed(Err(error)) | LineEvent::Reply(Err(error)) => {
                let (verdict, detail) = unreached(&error);
                self.next_address(verdict, detail).await
            }
        }
    }

    async fn subscribe(&mut self, connection: Connection) -> Result<(), StateError> {
        let broker = self.addresses.get(self.at).map(ToString::to_string).unwrap_or_default();
        let subscribe = self.step(move |following| following.begin(&broker)).await??;
        self.line = Line::subscribe(connection, subscribe);
        Ok(())
    }

    /// Takes a reply and those that are there already, in one step.
    async fn replied(&mut self, first: Reply) -> Result<(), StateError> {
        let (mut frames, mut lost) = (vec![first], None);
        if let Line::Up(stream) = &mut self.line {
            while let Some(reply) = stream.received() {
                match reply {
                    Ok(frame) => frames.push(frame),
                    Err(error) => {
                        lost = Some(error);
                        break;
                    }
                }
            }
        }
        let (outcome, progress, delta) = self
            .step(move |following| {
                let before = following.reader().mark();
                let outcome = following.take(frames);
                let moved = following.reader().mark() != before;
                (outcome, progress(following), Delta { moved, due: following.reader().awaits() })
            })
            .await?;
        let outcome = outcome?;
        self.expect_more(delta);
        match (outcome.accepted, progress) {
            (Some(accepted), _) => {
                if !self.caught_up {
                    // However few steps it took, a catch-up that carried something shows its end.
                    self.inbox.progress(whole(&accepted));
                }
                self.accepted(accepted).await?;
            }
            (None, Some(progress)) => {
                // Not earlier: a broker that refuses is not catching anybody up.
                if outcome.end.is_none() && self.silent_at.is_some() {
                    self.judge(Verdict::CatchingUp, "", false).await?;
                }
                self.inbox.progress(progress);
            }
            (None, None) => {}
        }
        if outcome.acknowledge.is_some() {
            self.acknowledge().await?;
        }
        if outcome.ask_bitmap
            && let Line::Up(stream) = &self.line
            && !stream.send(Request::AskBitmap)
        {
            return self.next_address(Verdict::Offline, "the connection takes no requests any more".into()).await;
        }
        match (outcome.end, lost) {
            (Some(end), _) => self.ended(end).await,
            (None, Some(error)) => {
                let (verdict, detail) = unreached(&error);
                self.next_address(verdict, detail).await
            }
            (None, None) => Ok(()),
        }
    }

    /// A broker that owes a delta has so long for each step of it; what brings nothing forward buys no time.
    fn expect_more(&mut self, delta: Delta) {
        if !delta.due {
            self.silent_at = None;
        } else if delta.moved || self.silent_at.is_none() {
            self.silent_at = Some(Instant::now() + SILENCE_MAX);
        }
    }

    async fn accepted(&mut self, accepted: Accepted) -> Result<(), StateError> {
        let caught_up = accepted.caught_up.then_some(CaughtUp {
            cursor: accepted.cursor,
            entries: accepted.entries,
            bytes: accepted.bytes,
            as_of: accepted.signed_at,
        });
        self.inbox.accepted(accepted.changes > 0, caught_up);
        if caught_up.is_some() {
            self.backoff.succeeded();
            self.caught_up = true;
            (self.round, self.restarts) = (None, 0);
            self.judge(Verdict::UpToDate, "", false).await?;
            self.await_staleness(accepted.signed_at).await?;
        }
        Ok(())
    }

    /// Without a promise of the owner, what is verified is stale after the reader's own maximum age. [P-16]
    async fn await_staleness(&mut self, signed_at: Timestamp) -> Result<(), StateError> {
        let left = clock::until(signed_at, self.config.max_age, clock::now());
        self.stale_at = Instant::now().checked_add(left);
        if left.is_zero() { self.grown_stale().await } else { Ok(()) }
    }

    async fn grown_stale(&mut self) -> Result<(), StateError> {
        self.stale_at = None;
        self.judge(Verdict::Stale, "the owner has signed nothing for longer than the maximum age", false).await
    }

    async fn silent(&mut self) -> Result<(), StateError> {
        self.next_address(Verdict::Stale, "the broker owes a delta and sends nothing".into()).await
    }

    async fn ended(&mut self, end: End) -> Result<(), StateError> {
        match end {
            End::Behind => self.next_address(Verdict::Stale, "the broker lags behind what was seen before".into()).await,
            End::Restart(fault) => {
                tracing::debug!(%fault, "reading once more from the cursor");
                self.restart(&fault.to_string()).await
            }
            End::LocalDamage => {
                self.judge(Verdict::LocalDamage, "the own state did not match its head; it is read again", false).await?;
                self.restart("the own state is read again").await
            }
            End::Verdict(finding) => {
                let (verdict, detail) = (finding.verdict, finding.detail.clone());
                let (report, news) = self.step(move |following| following.find(&finding)).await??;
                tracing::warn!(verdict = verdict.word(), "a verdict");
                self.inbox.verdict(&report, true, news);
                self.stale_at = None;
                self.next_address(verdict, detail).await
            }
            End::Refused(refusal) => {
                let (mut verdict, mut detail) = refused(&refusal);
                if verdict == Verdict::Denied && !self.step(move |following| following.reader().is_denied(&refusal)).await? {
                    // Only the owner's signed list ends access; whoever just says so is no better than one that is silent. [P-17]
                    (verdict, detail) = (Verdict::Stale, "the broker refuses and does not show that the owner ended the access".into());
                }
                self.next_address(verdict, detail).await
            }
            End::OutOfTurn => self.next_address(Verdict::Offline, "the broker does not keep to the protocol".into()).await,
        }
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
    async fn next_address(&mut self, verdict: Verdict, detail: String) -> Result<(), StateError> {
        self.line = Line::Down;
        self.silent_at = None;
        if self.round.as_ref().is_none_or(|(before, _)| gravity(*before) < gravity(verdict)) {
            self.round = Some((verdict, detail));
        }
        if self.at + 1 < self.addresses.len() {
            return self.dial(self.at + 1).await;
        }
        self.line = Line::Waiting(Instant::now() + self.backoff.failed(chance()));
        match self.round.take() {
            // Reported with its evidence already.
            Some((verdict, _)) if super::following::accuses(verdict) => Ok(()),
            Some((verdict, detail)) => self.judge(verdict, &detail, true).await,
            None => Ok(()),
        }
    }

    async fn judge(&mut self, verdict: Verdict, detail: &str, blocks: bool) -> Result<(), StateError> {
        let detail = detail.to_owned();
        let (report, news) = self.step(move |following| following.judge(verdict, &detail, None)).await??;
        self.inbox.verdict(&report, blocks, news);
        Ok(())
    }

    /// Tells the broker what the application has made durable.
    async fn acknowledge(&mut self) -> Result<(), StateError> {
        let signed = self.step(|following| following.acknowledgement()).await??;
        if let (Some((_, bytes)), Line::Up(stream)) = (signed, &self.line) {
            stream.send(Request::Acknowledge(bytes));
        }
        Ok(())
    }

    /// The state fails: nothing is taken until it works again.
    fn local_failure(&mut self, error: &StateError) {
        tracing::error!(%error, "the reader's state fails");
        let as_of = as_of(self.following.lock().unwrap_or_else(PoisonError::into_inner).reader());
        let report = super::VerdictReport { verdict: Verdict::LocalDamage, as_of, detail: error.to_string(), evidence: None };
        self.inbox.verdict(&report, true, true);
        self.line = Line::Waiting(Instant::now() + self.backoff.failed(u64::MAX));
    }
}

/// What a run of frames did to the delta on its way.
struct Delta {
    moved: bool,
    due: bool,
}

/// Says that the task is gone, however it ended.
struct Farewell(Arc<Inbox>);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Waits for a moment, for ever if there is none.
async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn whole(accepted: &Accepted) -> Event {
    Event::Progress { staged: accepted.cursor.offset, of: accepted.cursor.offset, entries_max: accepted.entries }
}

fn progress(following: &Following) -> Option<Event> {
    let (staged, of) = following.reader().progress()?;
    Some(Event::Progress { staged, of, entries_max: following.reader().announced_count()? })
}

fn unreached(error: &ConnectionError) -> (Verdict, String) {
    match error {
        ConnectionError::Refused(refusal) => refused(refusal),
        error => (Verdict::Offline, error.to_string()),
    }
}

fn refused(refusal: &Refusal) -> (Verdict, String) {
    let verdict = match refusal.code {
        RefusalCode::Denied => Verdict::Denied,
        RefusalCode::TooNew => Verdict::TooNew,
        RefusalCode::UnknownQueue => Verdict::Stale,
        _ => Verdict::Offline,
    };
    (verdict, refusal.to_string())
}

/// Which reason is reported if several addresses fail for different ones.
fn gravity(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Offline => 1,
        Verdict::Stale => 2,
        Verdict::Denied => 3,
        Verdict::TooNew => 4,
        _ => 5,
    }
}
