//! One publish stream: check, commit, answer in order.
//!
//! A check hashes up to 4 MiB and verifies a signature: from fifty microseconds to some milliseconds, long enough to hold up
//! the packets of everybody else. So all publishes that wait on a stream are checked together on a thread that may block,
//! one such batch for each stream at a time: their order is that of the heads. A small publish that waits alone is checked in place:
//! to wake that thread and be woken by it costs more than the check.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tidings_core::{Cursor, DecodeError, Object, QueueDescriptor, SignedHead};
use tidings_proto::caps::FRAME_BYTES_MAX;
use tidings_proto::frames::{Open, Publish, Readers};
use tidings_proto::{QueueId, Refusal, RefusalCode, Reply, Request};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::budget::Held;
use super::connection::Peer;
use super::frames::{Ended, Replies, Requests};
use super::intake::{Intake, Job};
use super::quic::Trust;
use super::recover::{PART_WAIT, Parts};
use super::shared::{Shared, drained};
use super::transfer::{Incoming, Part, Place, Told};
use crate::commit::{CommitJob, Work};
use crate::engine::{Receipted, check, refusal_of};

/// An answer that is on its way. Only the first in line is polled, so what it does happens after all before it.
enum Answer {
    One(Pin<Box<dyn Future<Output = Reply> + Send>>),
    /// What a queue holds.
    Parts(Parts),
}

/// The largest publish that is checked in place, bytes: its signature costs more than hashing it.
const CHECKED_IN_PLACE_MAX: usize = 16 * 1024;

type Batch = Pin<Box<dyn Future<Output = Vec<Option<Answer>>> + Send>>;

/// A request that was checked.
enum Judged {
    Commit(Work, Option<Held>, Option<Place>),
    AskReaders,
    Recover,
    Refused(Refusal),
    /// A part of a transfer that needs no answer.
    Silent,
}

/// Serves the stream that `open` began, until the owner ends it or the broker drains.
pub(super) async fn run(peer: Arc<Peer>, open: Open, mut requests: Requests, mut replies: Replies) {
    match stand(&peer, &open).await {
        Ok((descriptor, standing)) => {
            requests.allow(FRAME_BYTES_MAX, peer.budget.hold());
            peer.trust(Trust::Known);
            if replies.send(&standing).await.is_ok() {
                let told = told(&descriptor, &standing);
                serve(peer.shared.clone(), Arc::new(descriptor), told, requests, replies).await;
            }
        }
        Err(refusal) => replies.end(Ended::Refused(refusal)).await,
    }
}

/// Cheap before dear: structure, proof, admission, store. [P-18]
async fn stand(peer: &Peer, open: &Open) -> Result<(QueueDescriptor, Reply), Refusal> {
    let descriptor = QueueDescriptor::decode(&open.descriptor).map_err(|error| unreadable(&error))?;
    if !peer.has_proven(&descriptor.signing_key) {
        return Err(Refusal::new(RefusalCode::NotProven, "the owner's key is not proven on this connection"));
    }
    peer.shared.admit(descriptor.signing_key).await?;
    let queue = descriptor.id();
    let row = peer.shared.read(move |store| store.queue(&queue)).await.map_err(|error| refusal_of(&error))?;
    Ok((descriptor, Reply::Standing(row.map(|row| row.head).unwrap_or_default())))
}

/// [P-20]
fn unreadable(error: &DecodeError) -> Refusal {
    let code = if matches!(error, DecodeError::TooNew { .. }) { RefusalCode::TooNew } else { RefusalCode::Malformed };
    Refusal::new(code, format!("queue descriptor: {error}"))
}

/// The head that the owner is told of at the beginning.
fn told(descriptor: &QueueDescriptor, standing: &Reply) -> Told {
    let head = match standing {
        Reply::Standing(head) => SignedHead::parse(head.clone()).ok().map(|head| head.hash()),
        _ => None,
    };
    Told::new(head.unwrap_or_else(|| Cursor::start(&descriptor.id()).head))
}

async fn serve(shared: Arc<Shared>, descriptor: Arc<QueueDescriptor>, told: Told, mut requests: Requests, mut replies: Replies) {
    let mut draining = shared.draining.clone();
    let incoming = Arc::new(Mutex::new((Incoming::default(), told)));
    let mut intake = Intake::default();
    let mut checking: Option<Batch> = None;
    let mut answers: VecDeque<Answer> = VecDeque::new();
    // When the part of a recovery that is on its way has to be taken.
    let mut stalled = None;
    loop {
        if checking.is_none()
            && let Some(batch) = intake.batch()
        {
            checking = Some(Box::pin(submit(shared.clone(), descriptor.clone(), incoming.clone(), batch)));
        }
        if intake.is_done() && replies.is_idle() {
            // A transfer that is not whole never will be: its place is free before the owner sees the end.
            drop(incoming);
            return replies.finish().await;
        }
        if replies.is_idle() && answers.is_empty() {
            replies.rest();
        }
        tokio::select! {
            request = requests.next_held(), if intake.is_open() => match request {
                Ok((Request::Pulse(pulse), _)) => if let Err(refusal) = take_pulse(&shared, &descriptor, &pulse).await {
                    intake.take(Err(Ended::Refused(refusal)));
                },
                request => intake.take(request),
            },
            batch = wait_for(&mut checking) => {
                checking = None;
                intake.checked(batch.iter().filter(|answer| answer.is_none()).count());
                answers.extend(batch.into_iter().flatten());
            }
            (reply, last) = first(&mut answers), if replies.is_idle() => {
                if last {
                    answers.pop_front();
                    intake.answered();
                }
                stalled = (!last).then(|| Instant::now() + PART_WAIT);
                replies.put(reply.encode_prefixed());
            }
            () = until(stalled), if !replies.is_idle() => return replies.abandon(RefusalCode::Unavailable),
            sent = replies.flush(), if !replies.is_idle() => if sent.is_err() {
                return;
            },
            () = until(intake.due()) => {
                let detail = "the next part of the transfer did not come in time; nothing changed";
                intake.take(Err(Ended::Refused(Refusal::new(RefusalCode::Unavailable, detail))));
            }
            () = drained(&mut draining), if !intake.is_over() => intake.end(),
        }
    }
}

/// What is wrong with a pulse ends the stream; what is wrong with the broker is no business of its owner. [P-16]
async fn take_pulse(shared: &Shared, descriptor: &QueueDescriptor, pulse: &Bytes) -> Result<(), Refusal> {
    match shared.take_pulse(descriptor, pulse).await {
        Err(refusal) if matches!(refusal.code, RefusalCode::Unavailable | RefusalCode::Damaged) => Ok(()),
        taken => taken,
    }
}

/// Checks a batch and hands what passes to the commit thread, in order. What gets no answer has a `None` in its place.
async fn submit(
    shared: Arc<Shared>,
    descriptor: Arc<QueueDescriptor>,
    incoming: Arc<Mutex<(Incoming, Told)>>,
    batch: Vec<Job>,
) -> Vec<Option<Answer>> {
    let admitted = shared.admit(descriptor.signing_key).await;
    let queue = descriptor.id();
    let (count, is_brief) = (batch.len(), is_brief(&batch));
    let broker = shared.clone();
    let judge = move || {
        // A check that panicked took its transfer with it.
        let mut incoming = incoming.lock().unwrap_or_else(PoisonError::into_inner);
        let (incoming, told) = &mut *incoming;
        batch.into_iter().map(|job| judge(&broker, &descriptor, &admitted, (&mut *incoming, &mut *told), job)).collect::<Vec<_>>()
    };
    let judged = if is_brief { Ok(judge()) } else { tokio::task::spawn_blocking(judge).await };
    let Ok(judged) = judged else {
        let refusal = Refusal::new(RefusalCode::Unavailable, "the check did not end; nothing changed");
        return (0..count).map(|_| Some(refuse(refusal.clone()))).collect();
    };
    let mut answers = Vec::with_capacity(count);
    for judged in judged {
        answers.push(match judged {
            Judged::Commit(work, held, place) => Some(commit(&shared, work, held, place).await),
            Judged::AskReaders => Some(Answer::One(Box::pin(readers(shared.clone(), queue)))),
            Judged::Recover => Some(Answer::Parts(Parts::new(shared.clone(), queue))),
            Judged::Refused(refusal) => Some(refuse(refusal)),
            Judged::Silent => None,
        });
    }
    answers
}

fn is_brief(batch: &[Job]) -> bool {
    let bytes = |publish: &Publish| {
        let parts = publish.entries.iter().chain(&publish.attachments).chain(&publish.access_put);
        parts.map(Bytes::len).sum::<usize>()
    };
    matches!(batch, [Job::Publish(publish, _)] if bytes(publish) <= CHECKED_IN_PLACE_MAX)
}

fn judge(
    shared: &Shared,
    descriptor: &QueueDescriptor,
    admitted: &Result<(), Refusal>,
    (incoming, told): (&mut Incoming, &mut Told),
    job: Job,
) -> Judged {
    match job {
        Job::Publish(publish, held) => match admitted.clone().and_then(|()| check(descriptor, *publish)) {
            Ok(checked) => {
                told.add(checked.head().hash());
                Judged::Commit(checked.into(), held, None)
            }
            Err(refusal) => Judged::Refused(refusal),
        },
        Job::AskReaders => Judged::AskReaders,
        Job::Recover => Judged::Recover,
        Job::Part(part, _held) => match incoming.take(&shared.transfers, &*shared.store, descriptor, admitted, told, *part) {
            Part::Silent => Judged::Silent,
            Part::Refused(refusal) => Judged::Refused(refusal),
            Part::Whole(adoption, place) => {
                told.add(adoption.head());
                Judged::Commit(Work::Adopt(adoption), None, Some(place))
            }
        },
        Job::Refuse(refusal) => Judged::Refused(refusal),
    }
}

/// Waits for room in the commit queue, then gives the answer that comes after the sync. [P-7]
async fn commit(shared: &Arc<Shared>, work: Work, held: Option<Held>, place: Option<Place>) -> Answer {
    let (answer, outcome) = oneshot::channel();
    match shared.jobs.send(CommitJob { work, answer, place }).await {
        Ok(()) => Answer::One(Box::pin(receipt(shared.clone(), outcome, held))),
        Err(_) => refuse(Refusal::new(RefusalCode::Unavailable, "the broker takes no publishes any more; nothing changed")),
    }
}

async fn receipt(shared: Arc<Shared>, outcome: oneshot::Receiver<Result<Receipted, Refusal>>, _held: Option<Held>) -> Reply {
    match outcome.await {
        Ok(Ok(receipted)) => Reply::Receipt(receipted.receipt.sign(&shared.receipt_key)),
        Ok(Err(refusal)) => Reply::Refused(refusal),
        Err(_) => Reply::Refused(Refusal::new(RefusalCode::OutcomeUnknown, "the broker stopped during the write; repeat the same bytes")),
    }
}

async fn readers(shared: Arc<Shared>, queue: QueueId) -> Reply {
    let rows = shared.read(move |store| Ok((store.access_list(&queue)?, store.acknowledgements(&queue)?))).await;
    match rows {
        Ok((rows, acknowledgements)) => {
            let second = |pairs: Vec<(_, _)>| pairs.into_iter().map(|(_, bytes)| bytes).collect();
            Reply::Readers(Readers { rows: second(rows), acknowledgements: second(acknowledgements) })
        }
        Err(error) => Reply::Refused(refusal_of(&error)),
    }
}

fn refuse(refusal: Refusal) -> Answer {
    Answer::One(Box::pin(std::future::ready(Reply::Refused(refusal))))
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

async fn wait_for(batch: &mut Option<Batch>) -> Vec<Option<Answer>> {
    match batch {
        Some(batch) => batch.await,
        None => pending().await,
    }
}

/// What leaves next, and whether its request is answered then.
async fn first(answers: &mut VecDeque<Answer>) -> (Reply, bool) {
    match answers.front_mut() {
        Some(Answer::One(reply)) => (reply.await, true),
        Some(Answer::Parts(parts)) => parts.next().await,
        None => pending().await,
    }
}
