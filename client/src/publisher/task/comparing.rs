//! With whom this session was compared, when it may sign, and what comes of another branch. [P-4, P-5]

use std::collections::BTreeMap;
use std::time::Duration;

use tidings_core::SignedHead;
use tidings_core::recovery::Recovered;
use tidings_proto::{BrokerAddress, HeadRank, Reply, Timestamp};
use tokio::time::{Instant, sleep_until};

use super::super::compare::{ArchiveEvent, Compared, Comparison, Conflict, Standing, Stranger, TakeOverError, TakenOver};
use super::super::lines::{Line, Up};
use super::super::merge::MergeError;
use super::super::owner::SignError;
use super::super::recovering::Recovering;
use super::super::session::{Opened, Session};
use super::super::status::BrokerState;
use super::Task;
use crate::clock;
use crate::connection::ConnectionError;
use crate::state::StateError;

/// What the archive is called in conflicts and notes.
const ARCHIVE: &str = "the storage";

/// Whether something may be signed.
#[derive(Debug)]
pub(super) struct Comparing {
    /// Until when brokers that do not answer are waited for.
    until: Instant,
    waited: bool,
    open: bool,
    settled: bool,
    /// Everything that is configured was compared with.
    whole: bool,
    /// By where its head was found.
    strangers: BTreeMap<String, (Stranger, Timestamp)>,
}

impl Comparing {
    pub(super) fn new(patience: Duration) -> Self {
        Self { until: Instant::now() + patience, waited: false, open: false, settled: false, whole: false, strangers: BTreeMap::new() }
    }

    /// Whether something may be signed now.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    pub(super) fn conflict(&self) -> Option<Conflict> {
        self.strangers.iter().map(|(source, (stranger, since))| stranger.conflict(source, *since)).min_by_key(|found| found.since)
    }

    /// Waits until nobody is waited for any longer; once. Safe to cancel.
    pub(super) async fn over(&mut self) {
        if self.waited || self.settled {
            return std::future::pending().await;
        }
        sleep_until(self.until).await;
        self.waited = true;
    }
}

impl Task {
    /// Looks whether something may be signed, and settles in which term if that is so for the first time.
    pub(super) async fn open_gate(&mut self) -> Result<(), StateError> {
        let whole = self.lines.are_compared() && self.archive.is_compared();
        let free = self.comparing.strangers.is_empty() && !self.lines.is_recovering() && !self.archive.is_recovering();
        let urgent = !self.deferred.is_empty() || (self.lines.ways().is_empty() && self.snapshots.are_awaited());
        let late = Instant::now() >= self.comparing.until && (self.lines.any_up() || urgent);
        let settling = free && !self.comparing.settled && (whole || late);
        let (before, mut failed) = (self.comparing.open, None);
        if settling || whole != self.comparing.whole {
            let outcome = self.step(move |owner| {
                owner.compared = whole;
                owner.restoring &= !whole;
                if settling { owner.settle(whole) } else { Ok(()) }
            });
            match outcome.await? {
                Ok(()) => (self.comparing.settled, self.comparing.whole) = (self.comparing.settled || settling, whole),
                Err(SignError::State(error)) => return Err(error),
                Err(error) => failed = Some(error),
            }
        }
        self.comparing.open = free && self.comparing.settled;
        self.due |= self.comparing.open != before;
        self.tell_compared();
        if let Some(error) = failed {
            self.shared.fail(&error);
        }
        Ok(())
    }

    fn tell_compared(&self) {
        let missing = |way: &super::super::lines::Way| !way.compared && !way.leaving;
        let missing: Vec<BrokerAddress> = self.lines.ways().iter().filter(|way| missing(way)).map(|way| way.address.clone()).collect();
        let archive_missing = !self.archive.is_compared();
        let head: HeadRank = self.watched.mark.borrow().signed;
        let now = Compared { missing, archive_missing, conflict: self.comparing.conflict(), head };
        self.watched.compared.send_if_modified(|known| {
            let news = *known != now;
            *known = now.clone();
            news
        });
        self.shared.conflict(now.conflict);
    }

    /// A publish stream is open: where the broker stands says what comes next.
    pub(super) async fn opened(&mut self, at: usize, opened: Opened) -> Result<(), StateError> {
        let Some(way) = self.lines.ways_mut().get_mut(at) else { return Ok(()) };
        way.backoff.answered();
        let source = way.address.to_string();
        let standing = opened.standing.clone();
        let comparison = self.step(move |owner| owner.compare(&standing)).await??;
        self.comparing.strangers.remove(&source);
        self.due = true;
        match comparison {
            Comparison::Fits(standing) => self.begin(at, opened, standing).await?,
            Comparison::Other(head) => self.recover(at, opened, &head),
            Comparison::Stranger(stranger) => {
                self.comparing.strangers.insert(source, (stranger, clock::now()));
                let detail =
                    format!("it stands at head {}, of another writer with this key or of a state that was lost", stranger.cursor.rank);
                self.failed(at, (BrokerState::Conflict, detail));
            }
            Comparison::Broken(detail) => self.failed(at, (BrokerState::Broken, detail.to_owned())),
        }
        Ok(())
    }

    async fn begin(&mut self, at: usize, opened: Opened, standing: Standing) -> Result<(), StateError> {
        let mut session = self.step(move |owner| Session::begin(opened, &standing, owner)).await??;
        let (asks, pulses) = (self.config.ask_readers_every, self.config.pulse_every);
        let Some(way) = self.lines.ways_mut().get_mut(at) else { return Ok(()) };
        session.ask_readers();
        way.compared = true;
        let (address, state, now) = (way.address.clone(), session.state(), Instant::now());
        way.line = Line::Up(Box::new(Up { session, ask_at: now + asks, pulse_at: pulses.map(|_| now) }));
        self.shared.broker(&address, state, String::new());
        Ok(())
    }

    /// One branch at a time is merged; the next one is looked at afterwards.
    fn recover(&mut self, at: usize, opened: Opened, head: &SignedHead) {
        if self.lines.is_recovering() || self.archive.is_recovering() {
            return self.failed(at, (BrokerState::Comparing, "another branch of the queue is merged first".into()));
        }
        let recovering = Recovering::begin(opened, self.descriptor.clone(), head);
        if let Some(way) = self.lines.ways_mut().get_mut(at) {
            self.shared.broker(&way.address, BrokerState::Recovering, String::new());
            way.line = Line::Recovering(Box::new(recovering));
        }
    }

    /// Parts of what a broker holds came.
    pub(super) async fn recovered_part(
        &mut self,
        at: usize,
        mut recovering: Box<Recovering>,
        first: Result<Reply, ConnectionError>,
    ) -> Result<(), StateError> {
        let (recovering, taken) = self
            .step(move |_| {
                let taken = recovering.take(first);
                (recovering, taken)
            })
            .await?;
        let Some(way) = self.lines.ways_mut().get_mut(at) else { return Ok(()) };
        let source = way.address.to_string();
        match taken {
            Ok(None) => way.line = Line::Recovering(recovering),
            Ok(Some(recovered)) => {
                if let Err(detail) = self.merge(recovered, source).await? {
                    self.failed(at, (BrokerState::Broken, detail));
                }
            }
            Err(unfit) => self.failed(at, unfit),
        }
        Ok(())
    }

    /// Merges, and begins anew with everybody: what they were compared with is not the history any more.
    async fn merge(&mut self, recovered: Recovered, source: String) -> Result<Result<(), String>, StateError> {
        let now = clock::now();
        let merged = self.step(move |owner| owner.merge(&recovered, &source, now)).await?;
        match merged {
            Ok(true) => {}
            // Beginning anew with everybody at once would be a loop without a pause, at the pace of whoever lies.
            Ok(false) => return Ok(Err("it gives back another head than the one it stood at".into())),
            Err(MergeError::State(error)) => return Err(error),
            Err(error) => return Ok(Err(error.to_string())),
        }
        self.comparing.settled = true;
        self.due = true;
        self.lines.begin_anew();
        self.archive.begin_anew(false);
        self.tickets.forget_signed();
        Ok(Ok(()))
    }

    pub(super) async fn archive_event(&mut self, event: ArchiveEvent) -> Result<(), StateError> {
        self.due = true;
        match event {
            ArchiveEvent::Retry => self.archive.ask(),
            ArchiveEvent::Newest(Ok(newest)) => {
                let standing = newest.unwrap_or_default();
                let comparison = self.step(move |owner| owner.compare(&standing)).await??;
                self.archive_compared(comparison);
            }
            ArchiveEvent::Recovered(recovered) => match *recovered {
                Ok(recovered) => match self.merge(recovered, ARCHIVE.to_owned()).await? {
                    Ok(()) => self.archive.succeeded(),
                    Err(detail) => {
                        tracing::warn!(detail, "the storage cannot be compared with");
                        self.archive.failed();
                    }
                },
                Err(error) => {
                    tracing::warn!(%error, "the storage cannot be compared with");
                    self.archive.failed();
                }
            },
            ArchiveEvent::Newest(Err(error)) => {
                tracing::warn!(%error, "the storage cannot be compared with");
                self.archive.failed();
            }
        }
        Ok(())
    }

    fn archive_compared(&mut self, comparison: Comparison) {
        self.comparing.strangers.remove(ARCHIVE);
        match comparison {
            Comparison::Fits(_) => self.archive.succeeded(),
            Comparison::Other(_) if self.lines.is_recovering() => self.archive.failed(),
            Comparison::Other(head) => self.archive.recover(self.descriptor.clone(), &head),
            Comparison::Stranger(stranger) => {
                self.comparing.strangers.insert(ARCHIVE.to_owned(), (stranger, clock::now()));
                self.archive.failed();
            }
            Comparison::Broken(detail) => {
                tracing::warn!(detail, "the storage cannot be compared with");
                self.archive.failed();
            }
        }
    }

    /// A person says that this writer goes on.
    pub(super) async fn take_over(&mut self) -> Result<TakenOver, TakeOverError> {
        let found = std::mem::take(&mut self.comparing.strangers);
        if found.is_empty() {
            return Err(TakeOverError::NoConflict);
        }
        let strangers: Vec<Stranger> = found.values().map(|(stranger, _)| *stranger).collect();
        let confirmed = found.iter().map(|(source, (stranger, since))| stranger.conflict(source, *since)).collect();
        let known = self.step(move |owner| {
            owner.unsettle();
            owner.know(&strangers)
        });
        if let Err(error) = known.await.and_then(|known| known) {
            self.comparing.strangers = found;
            return Err(error.into());
        }
        self.lines.begin_anew();
        // Until they are compared again, what they hold is not merged: nothing is signed before.
        let names: Vec<String> = found.into_keys().collect();
        self.archive.begin_anew(names.iter().any(|name| name == ARCHIVE));
        (self.comparing.settled, self.comparing.waited) = (false, false);
        self.comparing.until = Instant::now() + self.config.compare_wait;
        self.lines.ways_mut().iter_mut().filter(|way| names.contains(&way.address.to_string())).for_each(|way| way.compared = false);
        self.due = true;
        // Whoever asks after this was answered must not be told of the conflict that it ended.
        self.tell_compared();
        Ok(TakenOver { confirmed })
    }
}
