//! The one task of a follow: receives one thing at a time and takes one step for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidings_core::Cursor;
use tidings_core::reader::{Accepted, Change, Verdict};
use tidings_proto::{Reply, Request};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::SubscriberConfig;
use super::ending::unreached;
use super::event::{CaughtUp, Event};
use super::following::{Following, Listening};
use super::inbox::Inbox;
use super::line::{Line, LineEvent};
use super::probe::Probe;
use super::round::Round;
use super::route::{Route, named, routes, together};
use super::standing::{Deadlines, Delta};
use super::witness::SecondOpinion;
use crate::backoff::Backoff;
use crate::connection::{Connection, ConnectionError};
use crate::state::StateError;

/// How long a last acknowledgement may take when the task ends.
const LAST_WORD: Duration = Duration::from_secs(1);

pub(super) struct Task {
    following: Arc<Mutex<Following>>,
    pub(super) config: SubscriberConfig,
    /// Brokers that the invitation names.
    invited: Vec<String>,
    pub(super) routes: Vec<Route>,
    pub(super) inbox: Arc<Inbox>,
    /// What the application makes durable.
    acknowledged: watch::Receiver<Option<Cursor>>,
    /// The newest of that.
    reached: Option<Cursor>,
    pub(super) line: Line,
    /// What other brokers show while one or the storage serves.
    pub(super) probe: Probe,
    /// Which route is in use or being tried.
    pub(super) at: usize,
    pub(super) restarts: u32,
    /// A view was verified on this connection that is as new as what it announced first.
    pub(super) caught_up: bool,
    pub(super) round: Round,
    pub(super) deadlines: Deadlines,
    pub(super) opinion: SecondOpinion,
    pub(super) backoff: Backoff,
}

impl Task {
    pub(super) fn new(
        following: Following,
        config: SubscriberConfig,
        (invited, routes): (Vec<String>, Vec<Route>),
        inbox: Arc<Inbox>,
        acknowledged: watch::Receiver<Option<Cursor>>,
    ) -> Self {
        let following = Arc::new(Mutex::new(following));
        let opinion = SecondOpinion::new(config.witness.clone(), config.witness_every, config.witness_grace);
        Self {
            following,
            config,
            probe: Probe::new(&routes),
            invited,
            routes,
            inbox,
            acknowledged,
            reached: None,
            line: Line::Down,
            at: 0,
            restarts: 0,
            caught_up: false,
            round: Round::default(),
            deadlines: Deadlines::default(),
            opinion,
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
            let (look_at, silent_at, owed_at) = (self.deadlines.look_at, self.deadlines.silent_at, self.deadlines.owed_at());
            // One of several may never have had what the storage shows: a receipt is one broker's. [P-21]
            let accused_at = self.opinion.accused_at().filter(|_| self.caught_up && self.probe.is_sole());
            let outcome = tokio::select! {
                _ = &mut closing => break,
                event = self.line.event() => self.line_event(event).await,
                event = self.probe.event() => self.probed(event).await,
                newest = self.opinion.answer() => self.second_opinion(newest).await,
                Ok(()) = self.acknowledged.changed() => {
                    self.acknowledge();
                    Ok(())
                }
                () = reached(look_at) => self.look().await,
                () = reached(silent_at) => self.silent().await,
                () = reached(owed_at) => self.overdue().await,
                () = reached(accused_at) => self.accuse().await,
            };
            if let Err(error) = outcome {
                self.local_failure(&error);
            }
        }
        if let Err(error) = self.keep_part().await {
            tracing::error!(%error, "what came of a delta is not kept; it will be fetched again");
        }
        // The wish to end may have come together with an acknowledgement and been seen first.
        self.acknowledge();
        if let Line::Up(stream) = self.line {
            let _ = timeout(LAST_WORD, stream.finish()).await;
        }
    }

    pub(super) async fn step<T: Send + 'static>(
        &mut self,
        step: impl FnOnce(&mut Following) -> T + Send + 'static,
    ) -> Result<T, StateError> {
        let following = self.following.clone();
        let run = move || step(&mut following.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(run).await.map_err(|error| StateError::Io(std::io::Error::other(error)))
    }

    /// Looks at what is in memory. Never waits: nobody else holds it between two steps.
    pub(super) fn look_at<T>(&self, look: impl FnOnce(&Following) -> T) -> T {
        look(&self.following.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn route(&self) -> Option<&Route> {
        self.routes.get(self.at)
    }

    pub(super) fn is_storage(&self) -> bool {
        self.route().is_some_and(|route| route.is_storage)
    }

    async fn start(&mut self) -> Result<(), StateError> {
        if self.routes.is_empty() {
            self.judge(Verdict::Offline, "the invitation names no broker", true).await?;
        }
        self.dial(0).await
    }

    pub(super) async fn dial(&mut self, at: usize) -> Result<(), StateError> {
        if at >= self.routes.len() {
            return Ok(());
        }
        let key = self.look_at(|following| following.reader().pseudonym_key());
        (self.at, self.restarts) = (at, 0);
        self.line = Line::dial(together(&self.routes, at, self.round.in_turn), key);
        Ok(())
    }

    async fn line_event(&mut self, event: LineEvent) -> Result<(), StateError> {
        match event {
            LineEvent::Retry => self.dial(0).await,
            LineEvent::Dialed(reached) => self.dialed(reached).await,
            LineEvent::Subscribed(Ok(stream)) => {
                self.line = Line::Up(stream);
                self.caught_up = false;
                self.begun().await?;
                self.acknowledge();
                Ok(())
            }
            LineEvent::Reply(Ok(reply)) => self.replied(reply).await,
            LineEvent::Subscribed(Err(error)) | LineEvent::Reply(Err(error)) => {
                self.round.answered |= matches!(error, ConnectionError::Refused(_));
                let (verdict, detail) = unreached(&error, self.is_storage());
                self.next_address(verdict, detail).await
            }
        }
    }

    async fn begun(&mut self) -> Result<(), StateError> {
        self.deadlines.begin(self.look_at(|following| following.reader().owed()));
        let acknowledged = self.step(|following| following.acknowledged()).await??;
        self.reached(acknowledged);
        self.inbox.connected(true);
        match self.is_storage() {
            true => self.probe.wait(),
            // Only a broker is compared with the witness: storage that is behind proves nothing. [P-21]
            false => self.opinion.begin(),
        }
        Ok(())
    }

    pub(super) async fn subscribe(&mut self, connection: Connection) -> Result<(), StateError> {
        self.round.answered = true;
        let broker = self.route().map(|route| route.name.clone()).unwrap_or_default();
        let subscribe = self.step(move |following| following.begin(&broker)).await??;
        self.line = Line::subscribe(connection, subscribe);
        Ok(())
    }

    /// A reply, those that are there already, and why no more of them come.
    fn together(&mut self, first: Reply) -> (Vec<Reply>, Option<ConnectionError>) {
        let mut frames = vec![first];
        let Line::Up(stream) = &mut self.line else { return (frames, None) };
        while let Some(reply) = stream.received() {
            match reply {
                Ok(frame) => frames.push(frame),
                Err(error) => return (frames, Some(error)),
            }
        }
        (frames, None)
    }

    /// Takes a reply and those that are there already, in one step.
    async fn replied(&mut self, first: Reply) -> Result<(), StateError> {
        let (frames, lost) = self.together(first);
        let now = (self.config.clock)();
        let limit = self.config.changes_max.max(1);
        let listening = self.inbox.listening().map(|open| Listening { limit, open });
        let (outcome, progress, delta, locator) = self
            .step(move |following| {
                let (before, named) = (following.reader().mark(), following.reader().locator().to_owned());
                let outcome = following.take(frames, now, listening);
                let moved = following.reader().mark() != before;
                let locator = Some(following.reader().locator()).filter(|locator| *locator != named).map(str::to_owned);
                (outcome, progress(following), Delta::of(following.reader(), moved), locator)
            })
            .await?;
        let outcome = outcome?;
        let moves = locator.is_some_and(|locator| self.take_locator(&locator));
        self.deadlines.expect_more(&delta);
        self.opinion.shown(delta.announced);
        if let Some(rewound) = outcome.rewound {
            self.inbox.rewound(rewound);
        }
        match (outcome.accepted, progress) {
            (Some(accepted), _) => {
                if !self.caught_up {
                    // However few steps it took, a catch-up that carried something shows its end.
                    self.inbox.tell(whole(&accepted));
                }
                self.accepted(accepted, outcome.handed_out).await?;
            }
            (None, Some(progress)) if delta.due => {
                // Not earlier: a broker that refuses is not catching anybody up.
                if outcome.end.is_none() && self.deadlines.silent_at.is_some() {
                    self.judge(Verdict::CatchingUp, "", false).await?;
                }
                self.inbox.tell(progress);
            }
            (None, _) => {}
        }
        if let Some(taken) = outcome.pulse {
            self.pulse(taken).await?;
        }
        if outcome.acknowledge.is_some() {
            self.reached(outcome.acknowledge);
            self.acknowledge();
        }
        if outcome.ask_bitmap
            && let Line::Up(stream) = &self.line
            && !stream.send(Request::AskBitmap)
        {
            return self.next_address(Verdict::Offline, "the connection takes no requests any more".into()).await;
        }
        match (outcome.end, lost) {
            (Some(end), _) => self.ended(end).await,
            (None, _) if moves && matches!(self.line, Line::Up(_)) => {
                self.leave();
                self.round.serves();
                self.dial(0).await
            }
            (None, Some(error)) => {
                let (verdict, detail) = unreached(&error, self.is_storage());
                self.next_address(verdict, detail).await
            }
            (None, None) => Ok(()),
        }
    }

    async fn accepted(&mut self, accepted: Accepted, handed_out: Option<Vec<Change>>) -> Result<(), StateError> {
        let caught_up = accepted.caught_up.then_some(CaughtUp {
            cursor: accepted.cursor,
            entries: accepted.entries,
            bytes: accepted.bytes,
            as_of: accepted.signed_at,
        });
        let waits = accepted.changes > 0 && handed_out.is_none();
        if let Some(changes) = handed_out {
            let more = changes.len() >= self.config.changes_max.max(1);
            self.inbox.handed_out(changes, more);
        }
        self.inbox.accepted(waits, caught_up);
        if caught_up.is_some() && accepted.closed {
            return self.closed().await;
        }
        if caught_up.is_some() {
            if self.look_at(Following::is_rewound) {
                self.step(|following| following.end_rewind()).await??;
            }
            self.backoff.succeeded();
            self.caught_up = true;
            self.round.serves();
            self.restarts = 0;
            if !self.is_storage() {
                self.probe.succeeded();
            }
            self.judge_view().await?;
        }
        Ok(())
    }

    /// The owner names other brokers from now on. True if one of those is to be gone to at once.
    fn take_locator(&mut self, locator: &str) -> bool {
        let here = self.route().map(|route| route.address.clone());
        self.routes = routes(locator, &self.invited, &self.config);
        self.probe.renew(&self.routes);
        self.round.renew();
        let at = self.routes.iter().position(|route| Some(&route.address) == here.as_ref());
        self.at = at.unwrap_or(self.routes.len());
        let mut named = named(locator).peekable();
        named.peek().is_some() && !named.any(|address| Some(&address) == here.as_ref())
    }

    pub(super) async fn judge(&mut self, verdict: Verdict, detail: &str, blocks: bool) -> Result<(), StateError> {
        let unchanged = self.look_at(|following| following.unchanged(verdict, detail, ""));
        let (report, news) = match unchanged {
            Some(report) => (report, false),
            None => {
                let detail = detail.to_owned();
                self.step(move |following| following.judge(verdict, &detail, None)).await??
            }
        };
        self.inbox.verdict(&report, blocks, news);
        Ok(())
    }

    /// The application has made this durable, or something newer.
    fn reached(&mut self, cursor: Option<Cursor>) {
        let newer = |before: Option<Cursor>| before.is_none_or(|before| cursor.is_some_and(|cursor| cursor.rank > before.rank));
        if newer(self.reached) {
            self.reached = cursor;
        }
    }

    /// Tells the broker what the application has made durable.
    fn acknowledge(&mut self) {
        let newest = *self.acknowledged.borrow_and_update();
        self.reached(newest);
        if let (Some(cursor), Line::Up(stream)) = (self.reached, &self.line) {
            stream.send(Request::Acknowledge(self.look_at(|following| following.acknowledgement(cursor))));
        }
    }

    /// The state fails: nothing is taken until it works again.
    fn local_failure(&mut self, error: &StateError) {
        tracing::error!(%error, "the reader's state fails");
        let as_of = self.following.lock().unwrap_or_else(PoisonError::into_inner).reader().as_of();
        let report = super::VerdictReport { verdict: Verdict::LocalDamage, as_of, detail: error.to_string(), evidence: None };
        self.inbox.verdict(&report, true, true);
        self.leave();
        self.line = Line::Waiting(Instant::now() + self.backoff.failed(u64::MAX));
    }
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
