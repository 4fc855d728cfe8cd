//! A second opinion about the newest head: a broker that freezes its answers is alone with them. [P-21]

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings_core::SignedHead;
use tidings_proto::HeadRank;
use tokio::time::{Instant, sleep_until, timeout};

use crate::stream::SILENCE_MAX;

/// Knows an owner's newest head from elsewhere than a broker.
pub trait Witness: Send + Sync + 'static {
    /// The newest signed head it knows, verbatim; `None` if it knows none or cannot be reached. Whoever asks verifies it.
    /// Dropping the future gives up.
    fn newest<'a>(&'a self) -> Answer<'a>;
}

/// How long a broker may take to announce what the witness has already.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// A witness's answer on its way.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Option<Bytes>> + Send + 'a>>;

/// When the witness is asked, and since when it contradicts the broker.
pub(super) struct SecondOpinion {
    witness: Option<Arc<dyn Witness>>,
    every: Duration,
    grace: Duration,
    state: Asking,
    ahead: Option<Ahead>,
}

enum Asking {
    /// No broker is connected that could be compared with it.
    Idle,
    Waiting(Instant),
    Asked(Answer<'static>),
}

/// A head that the broker should show and does not.
struct Ahead {
    head: SignedHead,
    since: Instant,
}

impl SecondOpinion {
    pub(super) fn new(witness: Option<Arc<dyn Witness>>, every: Duration, grace: Duration) -> Self {
        Self { witness, every, grace, state: Asking::Idle, ahead: None }
    }

    /// A broker is connected: ask now and from time to time.
    pub(super) fn begin(&mut self) {
        let Some(witness) = self.witness.clone() else { return };
        let answer = async move { timeout(SILENCE_MAX, witness.newest()).await.ok().flatten() };
        self.state = Asking::Asked(Box::pin(answer));
    }

    /// No broker is connected. What it failed to show it may show at the next attempt: the grace goes on.
    pub(super) fn pause(&mut self) {
        self.state = Asking::Idle;
    }

    /// Waits for the next answer. Safe to cancel.
    pub(super) async fn answer(&mut self) -> Option<Bytes> {
        loop {
            match &mut self.state {
                Asking::Idle => return pending().await,
                Asking::Waiting(until) => {
                    sleep_until(*until).await;
                    self.begin();
                }
                Asking::Asked(answer) => {
                    let newest = answer.await;
                    self.state = Asking::Waiting(Instant::now() + self.every);
                    return newest;
                }
            }
        }
    }

    /// The witness knows `head`, which the owner signed. Its first one that the broker does not show begins the grace.
    pub(super) fn heard(&mut self, head: SignedHead, shown: Option<HeadRank>) {
        self.shown(shown);
        // One that has announced nothing yet has its time: what it shows then counts.
        if self.ahead.is_none() && shown.is_none_or(|shown| head.rank() > shown) {
            self.ahead = Some(Ahead { head, since: Instant::now() });
        }
    }

    /// What a broker has announced by now.
    pub(super) fn shown(&mut self, shown: Option<HeadRank>) {
        self.ahead.take_if(|ahead| shown.is_some_and(|shown| shown >= ahead.head.rank()));
    }

    /// Whether the broker shows less than the witness.
    pub(super) fn is_ahead(&self) -> bool {
        self.ahead.is_some()
    }

    /// Whether that is so for longer than an announcement takes that is on its way.
    pub(super) fn stays_ahead(&self) -> bool {
        self.ahead.as_ref().is_some_and(|ahead| ahead.since.elapsed() >= ON_ITS_WAY)
    }

    /// Whether the witness's answer is on its way.
    pub(super) fn is_asking(&self) -> bool {
        matches!(self.state, Asking::Asked(_))
    }

    /// When the grace ends.
    pub(super) fn accused_at(&self) -> Option<Instant> {
        // Only a broker that is there can be accused.
        self.ahead.as_ref().map(|ahead| ahead.since + self.grace).filter(|_| !matches!(self.state, Asking::Idle))
    }

    /// The grace is over: the head that the broker keeps back. A new grace begins, so that it is named once.
    pub(super) fn withheld(&mut self) -> Option<SignedHead> {
        self.ahead.take().map(|ahead| ahead.head)
    }
}
