//! What came on a publish stream and was not answered yet. [P-19]

use std::time::Duration;

use tidings_proto::caps::PUBLISHES_IN_FLIGHT_MAX;
use tidings_proto::frames::{Publish, Transfer};
use tidings_proto::{Refusal, Request};
use tokio::time::Instant;

use super::budget::Held;
use super::frames::{Ended, out_of_place};

/// Parts of a transfer that wait to be taken: nothing else slows down an owner whose parts are not answered.
const PARTS_MAX: usize = 2;
/// How long the next part of a transfer may take to come: until the last one nobody else can send any.
const PART_WAIT: Duration = Duration::from_secs(30);

/// A request that waits to be checked.
pub(super) enum Job {
    Publish(Box<Publish>, Option<Held>),
    AskReaders,
    Recover,
    Part(Box<Transfer>, Option<Held>),
    /// Not even looked at: the answer is known.
    Refuse(Refusal),
}

/// Requests of one stream.
#[derive(Default)]
pub(super) struct Intake {
    waiting: Vec<Job>,
    /// Requests taken and not answered yet.
    in_flight: usize,
    /// Parts among them.
    parts: usize,
    /// A transfer began, and its last part did not come yet.
    transferring: bool,
    /// When the next part has to be there.
    due: Option<Instant>,
    over: bool,
}

impl Intake {
    /// Whether another request is taken now.
    pub(super) fn is_open(&self) -> bool {
        !self.over && self.in_flight < PUBLISHES_IN_FLIGHT_MAX && self.parts < PARTS_MAX
    }

    /// No more requests come: the owner ended the stream, sent nonsense, or the broker drains.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Over, and everything was answered.
    pub(super) fn is_done(&self) -> bool {
        self.over && self.in_flight == 0
    }

    /// Takes nothing more.
    pub(super) fn end(&mut self) {
        self.over = true;
    }

    /// When a transfer that began is given up, unless its next part comes.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.filter(|_| !self.over)
    }

    /// Takes what came. Between the parts of a transfer only pulses may come, and those do not come here. [P-10]
    pub(super) fn take(&mut self, request: Result<(Request, Option<Held>), Ended>) {
        let job = match request {
            Ok((Request::Transfer(part), held)) => {
                self.transferring = part.head.is_empty();
                self.parts += 1;
                Job::Part(Box::new(part), held)
            }
            Ok((Request::Publish(publish), held)) if !self.transferring => Job::Publish(Box::new(publish), held),
            Ok((Request::AskReaders, _)) if !self.transferring => Job::AskReaders,
            Ok((Request::Recover, _)) if !self.transferring => Job::Recover,
            Ok(_) => return self.take(Err(out_of_place())),
            Err(Ended::Refused(refusal)) => {
                self.over = true;
                Job::Refuse(refusal)
            }
            Err(Ended::Gone) => return self.end(),
        };
        self.in_flight += 1;
        self.due = None;
        self.waiting.push(job);
    }

    /// What waits to be checked, if anything does.
    pub(super) fn batch(&mut self) -> Option<Vec<Job>> {
        (!self.waiting.is_empty()).then(|| std::mem::take(&mut self.waiting))
    }

    /// The batch was checked; so many of it get no answer.
    pub(super) fn checked(&mut self, silent: usize) {
        self.in_flight -= silent;
        self.parts = self.waiting.iter().filter(|job| matches!(job, Job::Part(..))).count();
        self.due = (self.transferring && self.parts == 0).then(|| Instant::now() + PART_WAIT);
    }

    /// One answer left.
    pub(super) fn answered(&mut self) {
        self.in_flight -= 1;
    }
}
