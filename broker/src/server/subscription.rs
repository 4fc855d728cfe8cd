//! One subscription: does the reads that the engine asks for, and sends what it says.
//!
//! A reader that stops reading costs its position, one frame and what QUIC buffers for it; of what happens meanwhile only the
//! newest head is kept. Whoever keeps up gets each commit as it is, the same bytes for everybody, without any read.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tidings_proto::frames::Subscribe;
use tidings_proto::{HeadRank, Refusal, RefusalCode, Reply, Request, VerifyingKey};

use super::connection::Peer;
use super::frames::{Ended, Replies, Requests, out_of_place};
use super::quic::Trust;
use super::shared::drained;
use super::wakes::{Changes, Heard, Wake};
use crate::engine::{Answer, Committed, FanOut, Next, Read, Subscription, check_acknowledgement};
use crate::store::StoreError;

type Reading = Pin<Box<dyn Future<Output = Result<Answer, StoreError>> + Send>>;
type Keeping = Pin<Box<dyn Future<Output = Result<HeadRank, Refusal>> + Send>>;

/// Serves the subscription until its reader ends it, loses access, or the broker drains.
pub(super) async fn run(peer: Arc<Peer>, subscribe: Subscribe, mut requests: Requests, mut replies: Replies) {
    let mut streaming = match open(&peer, &subscribe) {
        Ok(subscription) => Streaming::new(peer.clone(), subscription),
        Err(refusal) => return replies.end(Ended::Refused(refusal)).await,
    };
    let mut draining = peer.shared.draining.clone();
    // Before the first read: no commit falls between them.
    let mut heard = peer.shared.wakes.listen(subscribe.queue);
    if let Some(pulse) = peer.shared.pulses.newest(&subscribe.queue) {
        streaming.subscription.on_pulse(pulse);
    }
    loop {
        streaming.hear(heard.changes());
        if let Some(code) = streaming.subscription.cut()
            && !replies.withdraw()
        {
            // The rest of a frame that the reader may not have any more; why, it is told when it comes again. [P-10] [P-17]
            return replies.abandon(code);
        }
        if replies.is_idle() || streaming.subscription.is_doubted() {
            match streaming.next() {
                Some(frame) => replies.put(frame),
                None if streaming.ended => return replies.finish().await,
                None if streaming.reading.is_none() => replies.rest(),
                None => {}
            }
        }
        let idle = replies.is_idle();
        tokio::select! {
            // In this order: no further piece of a frame leaves after a revocation that can be heard of.
            biased;
            () = drained(&mut draining) => return replies.abandon(RefusalCode::ShuttingDown),
            news = heard.next() => if let Some(frames) = streaming.on_heard(news, heard.changes(), idle) {
                replies.put(frames);
            },
            sent = replies.flush(), if !idle && !streaming.subscription.is_doubted() => if sent.is_err() {
                return;
            },
            answer = wait_for(&mut streaming.reading) => streaming.on_answer(answer),
            kept = wait_for(&mut streaming.keeping) => streaming.on_kept(kept),
            request = requests.next(), if idle && streaming.takes_request() => if let Err(ended) = request.and_then(|request| streaming.on_request(request)) {
                return replies.end(ended).await;
            },
        }
    }
}

/// The reader's key must be proven; whether it has access, the engine reads. [P-18]
fn open(peer: &Peer, subscribe: &Subscribe) -> Result<Subscription, Refusal> {
    if !peer.has_proven(&VerifyingKey::new(*subscribe.reader.bytes())) {
        return Err(Refusal::new(RefusalCode::NotProven, "the reader's key is not proven on this connection"));
    }
    Subscription::open(subscribe)
}

/// The engine's state with what is under way for it.
struct Streaming {
    peer: Arc<Peer>,
    subscription: Subscription,
    reading: Option<Reading>,
    /// An acknowledgement on its way to the disk. One at a time: the next is taken when this one was answered.
    keeping: Option<Keeping>,
    acknowledged: Option<Reply>,
    /// Newest commit that came while a frame was waiting to be taken; without its entries.
    missed: Option<Committed>,
    ended: bool,
}

impl Streaming {
    fn new(peer: Arc<Peer>, subscription: Subscription) -> Self {
        Self { peer, subscription, reading: None, keeping: None, acknowledged: None, missed: None, ended: false }
    }

    /// The next frame to send, if there is one now.
    fn next(&mut self) -> Option<Bytes> {
        if self.subscription.is_doubted() {
            self.ask();
            return None;
        }
        if let Some(reply) = self.acknowledged.take_if(|_| self.subscription.cut().is_none()) {
            self.ended |= matches!(reply, Reply::Refused(_));
            return Some(reply.encode_prefixed());
        }
        if let Some(missed) = self.missed.take() {
            self.subscription.on_committed(&missed);
        }
        if self.ended || self.reading.is_some() {
            return None;
        }
        let reply = self.ask()?;
        if !matches!(reply, Reply::Refused(_)) {
            self.peer.trust(Trust::Known);
        }
        Some(reply.encode_prefixed())
    }

    /// What the engine wants sent, or else begins what it wants done, if nothing is under way.
    fn ask(&mut self) -> Option<Reply> {
        if self.reading.is_some() {
            return None;
        }
        match self.subscription.next() {
            Next::Send(reply) => {
                if let Reply::Refused(refusal) = &reply
                    && refusal.code == RefusalCode::Damaged
                {
                    self.peer.shared.store.contradicted(&self.subscription.queue(), &refusal.detail);
                }
                return Some(reply);
            }
            Next::Read(read) => self.reading = Some(Box::pin(perform(self.peer.clone(), read))),
            Next::Wait(_) => {}
            Next::End => self.ended = true,
        }
        None
    }

    fn on_answer(&mut self, answer: Result<Answer, StoreError>) {
        self.reading = None;
        match answer {
            Ok(answer) => self.subscription.on_answer(answer),
            Err(error) => self.subscription.on_failure(&error),
        }
    }

    fn hear(&mut self, changes: Changes) {
        self.subscription.on_access_changed(changes.access);
        self.subscription.on_replaced(changes.replaced);
    }

    /// `changes` are the newest that are durable, perhaps later than the news itself.
    fn on_heard(&mut self, news: Heard, changes: Changes, idle: bool) -> Option<Bytes> {
        self.hear(changes);
        match news {
            Heard::Commit(wake) => return self.on_wake(&wake, idle),
            Heard::Pulse(pulse) => self.subscription.on_pulse(pulse),
            Heard::Changes => {}
        }
        None
    }

    /// Frames to send at once if the reader is up to date; otherwise what to catch up with is only noted.
    fn on_wake(&mut self, wake: &Wake, idle: bool) -> Option<Bytes> {
        if idle {
            let shared = self.subscription.on_committed(&wake.committed) == FanOut::Shared;
            return shared.then(|| wake.frames());
        }
        let Committed { queue, ref head, previous, access_changed, replaced, .. } = *wake.committed;
        self.missed = Some(Committed { queue, head: head.clone(), previous, entries: None, access_changed, replaced });
        None
    }

    fn takes_request(&self) -> bool {
        self.keeping.is_none() && self.acknowledged.is_none() && !self.ended
    }

    fn on_request(&mut self, request: Request) -> Result<(), Ended> {
        match request {
            Request::AskBitmap => self.subscription.on_ask_bitmap(),
            Request::Acknowledge(signed) => {
                // One signature, about fifty microseconds: moving it to another thread would cost more than it saves.
                let acked = check_acknowledgement(&self.subscription.queue(), &self.subscription.reader(), signed);
                let acknowledgements = self.peer.shared.acknowledgements.clone();
                let acked = acked.map_err(Ended::Refused)?;
                self.keeping = Some(Box::pin(async move { acknowledgements.keep(acked).await }));
            }
            _ => return Err(out_of_place()),
        }
        Ok(())
    }

    fn on_kept(&mut self, kept: Result<HeadRank, Refusal>) {
        self.keeping = None;
        self.acknowledged = Some(kept.map_or_else(Reply::Refused, Reply::Acknowledged));
    }
}

async fn perform(peer: Arc<Peer>, read: Read) -> Result<Answer, StoreError> {
    peer.shared.read(move |store| read.perform(store)).await
}

async fn wait_for<T>(under_way: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match under_way {
        Some(future) => future.await,
        None => pending().await,
    }
}
