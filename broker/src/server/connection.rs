//! One connection: greeting and proofs on its first stream, a task for each further one.

use std::collections::HashSet;
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tidings_core::verify_proof;
use tidings_proto::caps::PROOFS_PER_CONNECTION_MAX;
use tidings_proto::frames::Prove;
use tidings_proto::{Refusal, RefusalCode, Reply, Request, VerifyingKey};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::budget::Budget;
use super::frames::{Ended, Replies, Requests, out_of_place};
use super::quic::{self, Trust};
use super::room::Room;
use super::shared::{Shared, drained};
use super::{publish, subscription};

/// Who is at the other end: the keys it has proven.
pub(super) struct Peer {
    pub(super) shared: Arc<Shared>,
    /// Its share of the memory for publishes.
    pub(super) budget: Budget,
    /// Its share of the memory for what is sent.
    room: Arc<Room>,
    quic: quinn::Connection,
    proven: RwLock<HashSet<VerifyingKey>>,
    /// Limits are only ever loosened.
    known: AtomicBool,
    /// Streams that a known peer may have at once.
    streams: AtomicUsize,
}

impl Peer {
    fn new(shared: Arc<Shared>, quic: quinn::Connection) -> Self {
        let (proven, known, streams) = (RwLock::default(), AtomicBool::new(false), AtomicUsize::new(quic::STREAMS_AT_FIRST));
        let window = quic.clone();
        let room = shared.send_budget.for_connection(move |bytes| window.set_send_window(bytes as u64));
        Self { budget: shared.budget.for_connection(), room, shared, quic, proven, known, streams }
    }

    fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// Whether this key was proven on this connection. [P-18]
    pub(super) fn has_proven(&self, key: &VerifyingKey) -> bool {
        self.proven.read().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    /// Loosens the limits; repeating it changes nothing.
    pub(super) fn trust(&self, trust: Trust) {
        let was_known = match trust {
            Trust::Proven => self.is_known(),
            Trust::Known => self.known.swap(true, Ordering::Relaxed),
        };
        if !was_known {
            quic::raise_limits(&self.quic, trust);
        }
    }

    /// Allows more streams before those that a known peer may have are used up.
    fn make_room(&self, open: usize) {
        let allowed = self.streams.load(Ordering::Relaxed);
        let more = quic::streams_allowed(allowed, open);
        if self.is_known() && more > allowed {
            self.streams.store(more, Ordering::Relaxed);
            quic::allow_streams(&self.quic, more);
        }
    }

    fn close(&self, refusal: &Refusal) {
        self.quic.close(refusal.code.number().into(), refusal.detail.as_bytes());
    }
}

/// Serves a connection until it ends. `unproven` is its place among those that have proven nothing; it is given back with the
/// first proof.
pub(super) async fn serve(shared: Arc<Shared>, quic: quinn::Connection, unproven: OwnedSemaphorePermit) {
    let mut unproven = Some(unproven);
    let mut draining = shared.draining.clone();
    let now = Instant::now();
    let (authentication, acquaintance) = (now + shared.deadlines.authentication, now + shared.deadlines.acquaintance);
    let peer = Arc::new(Peer::new(shared, quic));
    let mut control = None;
    let mut streams = JoinSet::new();
    let mut drains = false;
    let mut is_old = false;
    loop {
        if drains && streams.is_empty() {
            return peer.close(&shutting_down());
        }
        tokio::select! {
            stream = peer.quic.accept_bi() => match stream {
                Ok(stream) if control.is_none() => control = Some(Control::new(stream, peer.room.clone())),
                Ok(stream) => {
                    streams.spawn(serve_stream(peer.clone(), stream));
                    // And the first one.
                    peer.make_room(streams.len() + 1);
                }
                Err(_) => return,
            },
            step = next_step(&mut control) => match step.and_then(|request| control_step(&peer, &mut control, request)) {
                Ok(Step::Proven) => {
                    unproven = None;
                    peer.trust(Trust::Proven);
                }
                Ok(Step::Other) => {}
                Err(Ended::Refused(refusal)) => return peer.close(&refusal),
                Err(Ended::Gone) => control = Some(Control::Ended),
            },
            Some(_) = streams.join_next() => {}
            () = sleep_until(authentication), if unproven.is_some() => {
                return peer.close(&Refusal::new(RefusalCode::NotProven, "no key was proven in time"));
            }
            // Anybody can make a key and prove it: without this, strangers could hold every place that there is.
            () = sleep_until(acquaintance), if !is_old => {
                if !peer.is_known() {
                    return peer.close(&Refusal::new(RefusalCode::Busy, "nothing was asked for that this key may have"));
                }
                is_old = true;
            }
            () = drained(&mut draining), if !drains => drains = true,
        }
    }
}

/// The first stream.
enum Control {
    Open(Box<(Requests, Replies, Greeting)>),
    /// The client needs to prove nothing more.
    Ended,
}

/// How far the conversation on the first stream is.
struct Greeting {
    greeted: bool,
    proofs: usize,
}

enum Step {
    Proven,
    Other,
}

impl Control {
    fn new((send, receive): (quinn::SendStream, quinn::RecvStream), room: Arc<Room>) -> Self {
        let greeting = Greeting { greeted: false, proofs: 0 };
        Self::Open(Box::new((Requests::new(receive), Replies::new(send, room), greeting)))
    }
}

/// Sends what is left of the last answer, then waits for the next request: a client that takes no answers asks nothing more.
async fn next_step(control: &mut Option<Control>) -> Result<Request, Ended> {
    match control {
        Some(Control::Open(open)) => {
            let (requests, replies, _) = &mut **open;
            replies.flush().await?;
            requests.next().await
        }
        Some(Control::Ended) | None => pending().await,
    }
}

fn control_step(peer: &Peer, control: &mut Option<Control>, request: Request) -> Result<Step, Ended> {
    let Some(Control::Open(open)) = control else { return Ok(Step::Other) };
    let (_, replies, greeting) = &mut **open;
    let (reply, step) = match request {
        Request::Hello(hello) if !greeting.greeted => {
            tracing::debug!(software = %hello.software.escape_debug(), "greeted");
            greeting.greeted = true;
            (Reply::Welcome(peer.shared.welcome()), Step::Other)
        }
        Request::Prove(proof) if greeting.greeted => {
            greeting.proofs += 1;
            prove(peer, greeting.proofs, &proof)?
        }
        _ => return Err(out_of_place()),
    };
    replies.put(reply.encode_prefixed());
    Ok(step)
}

/// Checks a proof where it arrives: one signature, about fifty microseconds, and only so many on a connection. [P-18] [P-19]
fn prove(peer: &Peer, proofs: usize, proof: &Prove) -> Result<(Reply, Step), Ended> {
    if proofs > PROOFS_PER_CONNECTION_MAX {
        return Err(Ended::Refused(Refusal::new(RefusalCode::TooLarge, "too many proofs on one connection")));
    }
    let exporter = quic::exporter(&peer.quic).ok_or(Ended::Gone)?;
    if !verify_proof(&proof.key, &exporter, &proof.signature) {
        let refusal = Refusal::new(RefusalCode::BadSignature, "the signature does not prove the key on this connection");
        return Ok((Reply::Refused(refusal), Step::Other));
    }
    peer.proven.write().unwrap_or_else(PoisonError::into_inner).insert(proof.key);
    Ok((Reply::Proven(proof.key), Step::Proven))
}

/// Serves a stream by what its first frame asks for.
async fn serve_stream(peer: Arc<Peer>, (send, receive): (quinn::SendStream, quinn::RecvStream)) {
    let mut requests = Requests::new(receive);
    let replies = Replies::new(send, peer.room.clone());
    if peer.shared.is_draining() {
        return replies.end(Ended::Refused(shutting_down())).await;
    }
    // Boxed, so that an idle stream costs what its own kind needs.
    match timeout(peer.shared.deadlines.authentication, requests.next()).await {
        Ok(Ok(Request::Open(open))) => Box::pin(publish::run(peer, open, requests, replies)).await,
        Ok(Ok(Request::Subscribe(subscribe))) => Box::pin(subscription::run(peer, subscribe, requests, replies)).await,
        Ok(Ok(_)) => replies.end(out_of_place()).await,
        Ok(Err(ended)) => replies.end(ended).await,
        Err(_) => replies.end(Ended::Refused(Refusal::new(RefusalCode::Malformed, "the first frame did not come in time"))).await,
    }
}

fn shutting_down() -> Refusal {
    Refusal::new(RefusalCode::ShuttingDown, "the broker stops; reconnect later")
}
