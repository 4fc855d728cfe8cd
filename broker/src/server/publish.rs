//! One publish stream: check, commit, answer in order.
//!
//! A check hashes up to 4 MiB and verifies a signature: from fifty microseconds to some milliseconds, long enough to hold up
//! the packets of everybody else. So all publishes that wait on a stream are checked together on a thread that may block,
//! one such batch for each stream at a time: their order is that of the heads.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;

use tidings_core::{DecodeError, Object, QueueDescriptor};
use tidings_proto::caps::{FRAME_BYTES_MAX, PUBLISHES_IN_FLIGHT_MAX};
use tidings_proto::frames::{Open, Publish, Readers};
use tidings_proto::{QueueId, Refusal, RefusalCode, Reply, Request};
use tokio::sync::oneshot;

use super::budget::Held;
use super::connection::Peer;
use super::frames::{Ended, Replies, Requests, out_of_place};
use super::quic::Trust;
use super::shared::{Shared, drained};
use crate::commit::CommitJob;
use crate::engine::{Checked, Receipted, check, refusal_of};

/// An answer that is on its way. Only the first in line is polled, so what it does happens after all before it.
type Answer = Pin<Box<dyn Future<Output = Reply> + Send>>;
type Batch = Pin<Box<dyn Future<Output = Vec<Answer>> + Send>>;

/// A request that waits to be checked.
enum Job {
    Publish(Box<Publish>, Option<Held>),
    AskReaders,
    /// Not even looked at: the answer is known.
    Refuse(Refusal),
}

/// A request that was checked.
enum Judged {
    Publish(Box<Checked>, Option<Held>),
    AskReaders,
    Refused(Refusal),
}

/// Serves the stream that `open` began, until the owner ends it or the broker drains.
pub(super) async fn run(peer: Arc<Peer>, open: Open, mut requests: Requests, mut replies: Replies) {
    match stand(&peer, &open).await {
        Ok((descriptor, standing)) => {
            requests.allow(FRAME_BYTES_MAX, peer.budget.hold());
            peer.trust(Trust::Known);
            if replies.send(&standing).await.is_ok() {
                serve(peer.shared.clone(), Arc::new(descriptor), requests, replies).await;
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

async fn serve(shared: Arc<Shared>, descriptor: Arc<QueueDescriptor>, mut requests: Requests, mut replies: Replies) {
    let mut draining = shared.draining.clone();
    let mut waiting: Vec<Job> = Vec::new();
    let mut checking: Option<Batch> = None;
    let mut answers: VecDeque<Answer> = VecDeque::new();
    // Requests taken and not answered yet. [P-19]
    let mut in_flight = 0;
    // No more requests come: the owner ended the stream, sent nonsense, or the broker drains.
    let mut over = false;
    loop {
        if checking.is_none() && !waiting.is_empty() {
            checking = Some(Box::pin(submit(shared.clone(), descriptor.clone(), std::mem::take(&mut waiting))));
        }
        if over && in_flight == 0 && replies.is_idle() {
            return replies.finish().await;
        }
        tokio::select! {
            request = requests.next_held(), if !over && in_flight < PUBLISHES_IN_FLIGHT_MAX => match job(request) {
                (Some(job), more) => {
                    in_flight += 1;
                    over = !more;
                    waiting.push(job);
                }
                (None, more) => over = !more,
            },
            batch = wait_for(&mut checking) => {
                checking = None;
                answers.extend(batch);
            }
            reply = first(&mut answers), if replies.is_idle() => {
                answers.pop_front();
                in_flight -= 1;
                replies.put(reply.encode_prefixed());
            }
            sent = replies.flush(), if !replies.is_idle() => if sent.is_err() {
                return;
            },
            () = drained(&mut draining), if !over => over = true,
        }
    }
}

/// What to do about a request, and whether more may follow.
fn job(request: Result<(Request, Option<Held>), Ended>) -> (Option<Job>, bool) {
    match request {
        Ok((Request::Publish(publish), held)) => (Some(Job::Publish(Box::new(publish), held)), true),
        Ok((Request::AskReaders, _)) => (Some(Job::AskReaders), true),
        Ok(_) => job(Err(out_of_place())),
        Err(Ended::Refused(refusal)) => (Some(Job::Refuse(refusal)), false),
        Err(Ended::Gone) => (None, false),
    }
}

/// Checks a batch and hands what passes to the commit thread, in order.
async fn submit(shared: Arc<Shared>, descriptor: Arc<QueueDescriptor>, batch: Vec<Job>) -> Vec<Answer> {
    let admitted = shared.admit(descriptor.signing_key).await;
    let queue = descriptor.id();
    let count = batch.len();
    let judge = move || batch.into_iter().map(|job| judge(&descriptor, &admitted, job)).collect::<Vec<_>>();
    let Ok(judged) = tokio::task::spawn_blocking(judge).await else {
        return (0..count).map(|_| refuse(Refusal::new(RefusalCode::Unavailable, "the check did not end; nothing changed"))).collect();
    };
    let mut answers = Vec::with_capacity(count);
    for judged in judged {
        answers.push(match judged {
            Judged::Publish(checked, held) => commit(&shared, *checked, held).await,
            Judged::AskReaders => Box::pin(readers(shared.clone(), queue)),
            Judged::Refused(refusal) => refuse(refusal),
        });
    }
    answers
}

fn judge(descriptor: &QueueDescriptor, admitted: &Result<(), Refusal>, job: Job) -> Judged {
    match job {
        Job::Publish(publish, held) => match admitted.clone().and_then(|()| check(descriptor, *publish)) {
            Ok(checked) => Judged::Publish(Box::new(checked), held),
            Err(refusal) => Judged::Refused(refusal),
        },
        Job::AskReaders => Judged::AskReaders,
        Job::Refuse(refusal) => Judged::Refused(refusal),
    }
}

/// Waits for room in the commit queue, then gives the answer that comes after the sync. [P-7]
async fn commit(shared: &Arc<Shared>, checked: Checked, held: Option<Held>) -> Answer {
    let (answer, outcome) = oneshot::channel();
    match shared.jobs.send(CommitJob { checked, answer }).await {
        Ok(()) => Box::pin(receipt(shared.clone(), outcome, held)),
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
    Box::pin(std::future::ready(Reply::Refused(refusal)))
}

async fn wait_for(batch: &mut Option<Batch>) -> Vec<Answer> {
    match batch {
        Some(batch) => batch.await,
        None => pending().await,
    }
}

async fn first(answers: &mut VecDeque<Answer>) -> Reply {
    match answers.front_mut() {
        Some(answer) => answer.await,
        None => pending().await,
    }
}
