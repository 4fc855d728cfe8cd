//! Owners that write, and what came of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_client::{Publisher, Write};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep_until};

use super::connections::Connections;
use super::ground::{Ground, task_failure};
use super::owner::{Owner, put};
use super::pace::{Pace, Timer};
use super::summary::Spent;
use super::tally::{Tally, Total};
use super::window::{Length, Window};
use crate::commands::failures::write_failure;
use crate::console::Progress;
use crate::failure::{Exit, Failure};

/// How often it is looked how far a run is.
const LOOK: Duration = Duration::from_millis(100);
/// How long answers are waited for after somebody ended the run.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// How much longer than its schedule a run may take that kept its rate; at least a twentieth of it.
const LATE: Duration = Duration::from_millis(250);

/// What the owners of a run do.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Bytes of a value.
    pub(super) size: usize,
    /// Records of each owner that are written in turn; `None`: each write makes a new one.
    pub(super) records: Option<u64>,
    /// Calls that wait beside each other, for each owner; at most as many as there are records for all their writes.
    pub(super) slots: u64,
    /// Writes in one call.
    pub(super) batch: u64,
    /// Calls in a second, of all owners together; `None`: as fast as answers come.
    pub(super) rate: Option<f64>,
    /// Time before anything counts.
    pub(super) warm_up: Duration,
    /// How long it counts.
    pub(super) length: Length,
}

/// What came of a run.
#[derive(Debug)]
pub(super) struct Driven {
    /// From when it counted.
    pub(super) begin: Instant,
    /// Messages and latencies.
    pub(super) total: Total,
    /// From the first moment that counted to the last answer.
    pub(super) time: Duration,
    /// What this process used in that time.
    pub(super) spent: Spent,
    /// Whether the rate was kept; `None` without a rate.
    pub(super) rate_kept: Option<bool>,
    /// Somebody ended it.
    pub(super) interrupted: bool,
}

/// What all tasks of a run share.
struct Shared {
    plan: Plan,
    ground: Arc<Ground>,
    window: Window,
    pace: Pace,
    tally: Tally,
    ended: watch::Receiver<bool>,
}

/// Writes as planned until the end, and waits for all answers. Ends early when somebody says so, or when nothing is answered for as long
/// as the ground has patience.
///
/// # Errors
/// A write was not taken by its owner.
pub(super) async fn drive(ground: &Arc<Ground>, owners: &[Owner], connections: &[&Connections], plan: Plan) -> Result<Driven, Failure> {
    let (end, ended) = watch::channel(false);
    let (window, pace) = plan.begin();
    let shared = Arc::new(Shared { plan, ground: Arc::clone(ground), window, pace, tally: Tally::default(), ended });
    let mut slots = JoinSet::new();
    for owner in owners {
        let each = (0..shared.plan.slots).map(|slot| Arc::clone(&shared).write_on(owner.publisher.clone(), slot));
        each.for_each(|slot| drop(slots.spawn(slot)));
    }
    let mut overseer = Overseer::new(&shared, &end);
    let begin = sleep_until(shared.window.begin().into());
    tokio::pin!(begin);
    let mut before = None;
    loop {
        tokio::select! {
            slot = slots.join_next() => match slot {
                None => break,
                Some(outcome) => outcome.map_err(task_failure)??,
            },
            () = &mut begin, if before.is_none() => before = Some(Spent::now(connections)),
            () = ground.stop.wait(), if !overseer.interrupted => overseer.interrupt(),
            _ = overseer.look.tick() => overseer.look(),
        }
    }
    let after = Spent::now(connections);
    let spent = before.map_or_else(Spent::default, |before| after.since(before));
    Ok(shared.driven(spent, &overseer))
}

impl Plan {
    fn begin(&self) -> (Window, Pace) {
        let now = Instant::now();
        let window = Window::new(now + self.warm_up, self.length);
        let pace = self.rate.map_or(Pace::AtOnce, |rate| Pace::Schedule(Timer::start(now, rate, self.moments(rate))));
        (window, pace)
    }

    /// Moments of warm-up and measurement.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "options bound rate and time")]
    fn moments(&self, rate: f64) -> u64 {
        let in_time = |time: Duration| (time.as_secs_f64() * rate).ceil() as u64;
        match self.length {
            Length::Time(time) => in_time(self.warm_up + time),
            Length::Count(count) => in_time(self.warm_up) + count,
        }
    }

    /// The record of a slot's write; each slot has records of its own, so that no write replaces one that waits.
    fn record(&self, slot: u64, step: u64) -> u64 {
        match self.records {
            Some(records) => slot + self.slots * (step % (records / self.slots).max(1)),
            None => 1 + slot + self.slots * step,
        }
    }
}

impl Driven {
    /// Fails if something that was written had no receipt, although nobody ended the run.
    pub(super) fn whole(&self, ground: &Ground) -> Result<(), Failure> {
        let unanswered = self.total.unanswered;
        if unanswered == 0 || self.interrupted {
            return Ok(());
        }
        let error = format!("{unanswered} writes had no receipt, and none came for {} s", ground.patience.as_secs());
        let action = "see what the broker's log says; give a longer --timeout, or less to do";
        Err(Failure::new(error, action).exit(Exit::Unreachable))
    }
}

impl Shared {
    async fn write_on(self: Arc<Self>, publisher: Publisher, slot: u64) -> Result<(), Failure> {
        let (mut step, mut ended) = (0, self.ended.clone());
        while let Some(due) = self.pace.next().await {
            let Some(share) = self.window.take(due, self.plan.batch) else { break };
            let due = share.counts.then_some(due);
            let value = |_| self.ground.stamps.value(due, self.plan.size);
            let writes = (step..step + share.count).map(|step| put(self.plan.record(slot, step), value(step))).collect();
            step += share.count;
            self.publish(&publisher, writes, due, &mut ended).await?;
        }
        Ok(())
    }

    async fn publish(
        &self,
        publisher: &Publisher,
        writes: Vec<Write>,
        due: Option<Instant>,
        ended: &mut watch::Receiver<bool>,
    ) -> Result<(), Failure> {
        let mut waiting = writes.len() as u64;
        let answered = async {
            for ticket in publisher.write(writes).await.map_err(write_failure)? {
                ticket.receipted().await.map_err(|error| Failure::new(error, "repeat"))?;
                self.tally.answered(due);
                waiting -= 1;
            }
            Ok(())
        };
        tokio::select! {
            outcome = answered => return outcome,
            _ = ended.wait_for(|ended| *ended) => {}
        }
        if let Some(due) = due {
            self.tally.unanswered(due, waiting);
        }
        Ok(())
    }

    fn driven(&self, spent: Spent, overseer: &Overseer<'_>) -> Driven {
        let (begin, now) = (self.window.begin(), Instant::now());
        self.pace.close();
        self.pace.tell_missed(&self.tally, begin, overseer.stopped.unwrap_or(now));
        let total = self.tally.total();
        let time = total.last.map_or(Duration::ZERO, |last| last.duration_since(begin));
        let rate_kept =
            self.pace.last().map(|last| total.missed + total.unanswered == 0 && overseer.interrupted | in_time(begin, last, &total));
        Driven { begin, total, time, spent, rate_kept, interrupted: overseer.interrupted }
    }
}

/// Whether everything was answered about when the last of it was due.
fn in_time(begin: Instant, due: Instant, total: &Total) -> bool {
    total.last.is_some_and(|last| last.saturating_duration_since(due) <= late(begin, due))
}

fn late(begin: Instant, due: Instant) -> Duration {
    LATE.max(due.saturating_duration_since(begin) / 20)
}

/// Looks after a run: how far it is, and when it has to end.
struct Overseer<'a> {
    shared: &'a Shared,
    end: &'a watch::Sender<bool>,
    look: Interval,
    progress: Progress,
    answered: (u64, Instant),
    /// When somebody ended it, or the schedule ran out.
    stopped: Option<Instant>,
    interrupted: bool,
}

impl<'a> Overseer<'a> {
    fn new(shared: &'a Shared, end: &'a watch::Sender<bool>) -> Self {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (progress, answered) = (shared.ground.progress("publishing"), (0, Instant::now()));
        Self { shared, end, look, progress, answered, stopped: None, interrupted: false }
    }

    fn interrupt(&mut self) {
        self.interrupted = true;
        self.stop();
    }

    /// No more writes are begun.
    fn stop(&mut self) {
        self.stopped.get_or_insert_with(Instant::now);
        self.shared.window.close();
        self.shared.pace.close();
    }

    fn look(&mut self) {
        let (shared, now) = (self.shared, Instant::now());
        let (done, of) = match shared.plan.length {
            Length::Time(time) => (now.saturating_duration_since(shared.window.begin()).as_secs(), time.as_secs()),
            Length::Count(count) => (shared.tally.total().messages, count),
        };
        self.progress.step(done.min(of), of);
        let overdue = shared.pace.last().is_some_and(|last| now > last + late(shared.window.begin(), last));
        if overdue && self.stopped.is_none() {
            self.stop();
        }
        if self.answered.0 != shared.tally.progress() {
            self.answered = (shared.tally.progress(), now);
        }
        let patience = if self.interrupted { LAST_WAIT } else { shared.ground.patience };
        let since = if self.interrupted { self.stopped.unwrap_or(now) } else { self.answered.1 };
        // An open loop of few writes is silent between them, and a warm-up may be long: only what waits for an answer is waited for.
        if now.duration_since(since) >= patience && (self.interrupted || shared.is_awaited(now, patience)) {
            self.stop();
            self.end.send_replace(true);
        }
    }
}

impl Shared {
    /// Whether something that was due `patience` ago has no answer.
    fn is_awaited(&self, now: Instant, patience: Duration) -> bool {
        self.pace.is_behind(now.checked_sub(patience).unwrap_or(now), self.tally.progress())
    }
}

impl Drop for Overseer<'_> {
    fn drop(&mut self) {
        self.progress.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn plan(records: Option<u64>, slots: u64) -> Plan {
        let (warm_up, length) = (Duration::from_secs(1), Length::Time(Duration::from_secs(2)));
        Plan { size: 256, records, slots, batch: 2, rate: None, warm_up, length }
    }

    #[test]
    fn no_two_slots_write_the_same_record() {
        for plan in [plan(Some(1_000), 7), plan(None, 7)] {
            let of = |slot| (0..500).map(move |step| (slot, step));
            let records: HashSet<(u64, u64)> = (0..7).flat_map(of).map(|(slot, step)| (plan.record(slot, step), slot)).collect();
            let distinct: HashSet<u64> = records.iter().map(|(record, _)| *record).collect();
            assert_eq!(distinct.len(), records.len());
            assert!(plan.records.is_none_or(|most| distinct.iter().all(|record| *record < most)));
        }
    }

    #[test]
    fn a_schedule_has_a_moment_for_each_write() {
        let open = Plan { rate: Some(50.0), ..plan(Some(10), 1) };
        assert_eq!((open.moments(50.0), Plan { length: Length::Count(7), ..open }.moments(50.0)), (150, 57));
    }
}
