//! What the verified view is worth: a verdict with its date, from the owner's word and not from the broker's. [P-16]

use std::time::Duration;

use bytes::Bytes;
use tidings_core::reader::{PulseTaken, Reader, Verdict};
use tidings_proto::{HeadRank, Timestamp};
use tokio::time::Instant;

use super::task::Task;
use crate::clock;
use crate::state::StateError;
use crate::stream::SILENCE_MAX;

/// The wall clock is looked at so often: it may be set, and it goes on while the machine sleeps.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How long the first word of a session waits, if it would be that the view is stale.
const OTHERS_WAIT: Duration = Duration::from_secs(4);

/// When something is owed or late.
#[derive(Default)]
pub(super) struct Deadlines {
    /// When to look again at the age of the view.
    pub(super) look_at: Option<Instant>,
    /// When a broker that owes a delta is left.
    pub(super) silent_at: Option<Instant>,
    /// A head that the owner named in a pulse, and when whoever does not show it is left.
    owed: Option<(HeadRank, Instant)>,
    /// The owed head was not shown in time, or was known before this connection was.
    overdue: bool,
    /// Until when the first word about a view that is stale waits for other brokers; `None` before there was a view.
    held_until: Option<Instant>,
    /// That word was given.
    judged: bool,
}

impl Deadlines {
    /// A subscription begins, to a broker that owes a first head, and what an earlier pulse named.
    pub(super) fn begin(&mut self, owed: Option<HeadRank>) {
        let end = Instant::now() + SILENCE_MAX;
        self.silent_at = Some(end);
        self.owed = owed.map(|rank| (rank, end));
        self.overdue = owed.is_some();
    }

    /// A subscription ended.
    pub(super) fn end(&mut self) {
        (self.silent_at, self.owed) = (None, None);
    }

    /// A broker that owes a delta has so long for each step of it; what brings nothing forward buys no time.
    pub(super) fn expect_more(&mut self, delta: &Delta) {
        if !delta.due {
            self.silent_at = None;
        } else if delta.moved || self.silent_at.is_none() {
            self.silent_at = Some(Instant::now() + SILENCE_MAX);
        }
        match (delta.owed, self.owed) {
            (None, _) => (self.owed, self.overdue) = (None, false),
            // Pulses that name ever newer heads buy no time either.
            (Some(_), Some((rank, _))) if rank > delta.verified => {}
            (Some(rank), _) => self.owed = Some((rank, Instant::now() + SILENCE_MAX)),
        }
    }

    pub(super) fn owed_at(&self) -> Option<Instant> {
        self.owed.map(|(_, end)| end)
    }
}

/// What a run of frames did to the delta on its way.
pub(super) struct Delta {
    moved: bool,
    /// The broker owes something.
    pub(super) due: bool,
    owed: Option<HeadRank>,
    verified: HeadRank,
    pub(super) announced: Option<HeadRank>,
}

impl Delta {
    pub(super) fn of(reader: &Reader, moved: bool) -> Self {
        let verified = reader.cursor().rank;
        Self { moved, due: reader.awaits(), owed: reader.owed(), verified, announced: reader.announced() }
    }
}

/// The age of the verified view.
struct Age {
    /// More is on its way.
    awaits: bool,
    contradicted: bool,
    promised: bool,
    fresh_until: Timestamp,
}

impl Task {
    /// Says what the view of this connection is worth at this moment, once it has caught up.
    pub(super) async fn judge_view(&mut self) -> Result<(), StateError> {
        let max_age = self.config.max_age;
        let age = self.look_at(|following| age(following.reader(), max_age));
        let left = clock::until(age.fresh_until, Duration::ZERO, (self.config.clock)());
        let now = Instant::now();
        self.deadlines.look_at = (!left.is_zero()).then(|| now + left.min(LOOK_EVERY));
        if !self.caught_up || age.awaits {
            return Ok(());
        }
        let stale = |why| (Verdict::Stale, why);
        let (verdict, detail) = match () {
            () if self.opinion.is_ahead() => stale(AHEAD),
            () if age.contradicted => stale(CONTRADICTED),
            () if self.deadlines.overdue => stale(OVERDUE),
            () if left.is_zero() && age.promised => stale("the owner promised to be heard of by now and was not"),
            () if left.is_zero() => stale("the owner has signed nothing for longer than the maximum age"),
            () if self.route().is_some_and(|route| route.is_storage) => (Verdict::UpToDate, "from storage"),
            () => (Verdict::UpToDate, ""),
        };
        if !self.is_storage() {
            self.look_around(verdict);
        }
        if verdict == Verdict::Stale && self.waits_for_others(now) {
            return self.judge(Verdict::CatchingUp, "others are asked for more", false).await;
        }
        self.deadlines.judged = true;
        self.judge(verdict, detail, false).await
    }

    /// The broker that serves may lag: the others know. [P-13]
    fn look_around(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Stale => self.probe.hurry(),
            _ => self.probe.calm(),
        }
    }

    /// Whoever asks once is to be told what other brokers know, if they are quick. [P-13]
    fn waits_for_others(&mut self, now: Instant) -> bool {
        let until = *self.deadlines.held_until.get_or_insert(now + OTHERS_WAIT);
        let storage_may_serve = self.opinion.is_ahead() && self.routes.iter().any(|route| route.is_storage);
        let is_asking = self.probe.is_first() || self.opinion.is_asking() || storage_may_serve;
        let waits = !self.deadlines.judged && now < until && is_asking && !self.is_storage();
        if waits {
            self.deadlines.look_at = Some(until);
        }
        waits
    }

    /// Time has passed.
    pub(super) async fn look(&mut self) -> Result<(), StateError> {
        self.deadlines.look_at = None;
        self.judge_view().await
    }

    pub(super) async fn pulse(&mut self, taken: PulseTaken) -> Result<(), StateError> {
        match taken {
            PulseTaken::Heard | PulseTaken::Ahead(_) => self.judge_view().await,
            // Only the other head could prove it: this accuses nobody.
            PulseTaken::Contradicts => self.judge(Verdict::Stale, CONTRADICTED, false).await,
            PulseTaken::Void => Ok(()),
        }
    }

    /// The head that the owner named did not come.
    pub(super) async fn overdue(&mut self) -> Result<(), StateError> {
        self.deadlines.overdue = true;
        self.next_address(Verdict::Stale, OVERDUE.into()).await
    }

    /// The witness has answered.
    pub(super) async fn second_opinion(&mut self, newest: Option<Bytes>) -> Result<(), StateError> {
        let Some(newest) = newest else { return self.judge_view().await };
        let (head, shown) = self.step(move |following| (following.reader().witnessed(&newest), following.reader().announced())).await?;
        let was_ahead = self.opinion.is_ahead();
        if let Some(head) = head {
            self.opinion.heard(head, shown);
        }
        if self.opinion.is_ahead() && !was_ahead {
            self.probe.renew_pace();
        }
        self.judge_view().await
    }

    /// The grace is over in which a broker may show less than the witness.
    pub(super) async fn accuse(&mut self) -> Result<(), StateError> {
        let Some(head) = self.opinion.withheld() else { return Ok(()) };
        match self.step(move |following| following.overdue(&head)).await?? {
            Some(end) => self.ended(end).await,
            None => Ok(()),
        }
    }
}

pub(super) const AHEAD: &str = "the owner's storage shows a newer head than this broker";
const CONTRADICTED: &str = "the owner named another head than the verified one of the same number";
const OVERDUE: &str = "the owner signed a newer head than this broker shows";

fn age(reader: &Reader, max_age: Duration) -> Age {
    Age {
        awaits: reader.awaits(),
        contradicted: reader.is_contradicted(),
        promised: reader.is_promised(),
        fresh_until: reader.fresh_until(max_age),
    }
}
