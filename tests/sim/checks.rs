//! What has to hold at every step, and when everything has come to rest.

use std::collections::BTreeMap;

use tidings_broker::store::Store;
use tidings_core::reader::Accepted;
use tidings_core::{Acknowledgement, SignedHead};
use tidings_proto::{HeadHash, HeadRank, Reply};

use crate::outcome::Kind;
use crate::world::World;

impl World {
    /// [P-17] What is sent is the reader's, at the moment when it was sealed.
    pub(crate) fn check_sent(&self, reader: usize, reply: &Reply) {
        if let Reply::Chunk(chunk) = reply {
            let reader = &self.readers[reader];
            self.truth.check_entries(&reader.reader().pseudonym(), &reader.queue, &chunk.entries);
        }
    }

    /// [P-14] [P-15] [P-17] What was accepted is what the owner had at that head, the reader had access at it, and it is called a rewind
    /// if and only if what was held is not in its history.
    pub(crate) fn check_view(&self, reader: usize, accepted: &Accepted, before: &HeadHash) {
        let reader = &self.readers[reader];
        let signed = self.truth.signed(&accepted.cursor.head);
        assert_eq!(reader.holds(), signed.view, "a view that its owner never had");
        assert!(signed.readers.contains(&reader.reader().pseudonym()), "accepted without access");
        let descends = self.truth.descends(&accepted.cursor.head, before);
        assert_eq!(accepted.rewound.is_none(), descends, "a rewind that was none, or one that was not named");
        assert!(accepted.rewound.is_none() || self.kind != Kind::Crashes, "nothing rewinds a queue here");
    }

    pub(crate) fn check_rewound(&self, head: &SignedHead, before: &HeadHash) {
        assert!(!self.truth.descends(&head.hash(), before), "a rewind that was none");
        assert!(self.kind != Kind::Crashes, "nothing rewinds a queue here");
    }

    pub(crate) fn check_denied(&self, reader: usize, head: &SignedHead) {
        let reader = self.readers[reader].reader().pseudonym();
        assert!(!self.truth.signed(&head.hash()).readers.contains(&reader), "denied with access");
    }

    /// [P-7] Whatever was receipted or acknowledged is there after a crash: in the history of the head that stands, unless a higher term
    /// took its place.
    pub(crate) fn check_durable(&self, broker: usize) {
        for ((_, queue), (rank, hash)) in self.promised.iter().filter(|((of, _), _)| *of == broker) {
            let stands = self.brokers[broker].stands_at(queue).expect("a queue of which something was receipted");
            assert!(stands.rank() >= *rank, "head {rank} was receipted and is lost");
            let goes_on = self.truth.descends(&stands.hash(), hash);
            assert!(goes_on || stands.rank().term > rank.term, "another head stands where {rank} was receipted");
        }
        for reader in &self.readers {
            let Some(acknowledged) = reader.acknowledged.get(&broker) else { continue };
            let kept = self.brokers[broker].store().acknowledgements(&reader.queue).expect("no read fails");
            let own = kept.iter().find(|(pseudonym, _)| *pseudonym == reader.reader().pseudonym());
            let rank = own.map_or(HeadRank::default(), |(_, bytes)| Acknowledgement::verify(bytes).expect("signed").cursor.rank);
            assert!(rank >= *acknowledged, "an acknowledgement was lost");
        }
    }

    /// Of who is no reader any more, or not in the branch that took the place, no acknowledgement is kept.
    pub(crate) fn forget_acknowledgements(&mut self, broker: usize) {
        for reader in &mut self.readers {
            let stands = self.brokers[broker].stands_at(&reader.queue);
            let listed = |head: SignedHead| self.truth.signed(&head.hash()).readers.contains(&reader.reader().pseudonym());
            if !stands.is_some_and(listed) {
                reader.acknowledged.remove(&broker);
            }
        }
    }

    /// Progress: once the trouble is over everybody gets everything, and what was promised is there.
    pub(crate) fn check_end(&mut self) {
        for broker in 0..self.brokers.len() {
            self.check_durable(broker);
        }
        for home in (0..self.homes.len()).filter(|home| !self.stopped.contains(home)).collect::<Vec<_>>() {
            self.check_home(home);
        }
    }

    fn check_home(&mut self, home: usize) {
        let home = &self.homes[home];
        let head = home.head().expect("a state that was lost is rebuilt").clone();
        assert!(home.state.outbox.is_empty() && !home.state.writer.term_is_open(), "something was never signed");
        for (number, broker) in self.brokers.iter().enumerate() {
            let stands = broker.stands_at(&home.queue).map(|stands| stands.rank());
            assert_eq!(stands, Some(head.rank()), "broker {number} was never brought on: {}", home.describe(number));
        }
        let granted = home.state.granted();
        let view: BTreeMap<_, _> = home.state.view().into_iter().filter(|(path, _)| !path.is_reserved()).collect();
        let mut ahead = 0;
        for reader in self.readers.iter().filter(|reader| granted.contains(&reader.reader().pseudonym())) {
            // [P-13] It saw a higher term, of which the owner and all brokers know nothing any more.
            if reader.seen_rank() > head.rank() {
                assert!(self.kind != Kind::Crashes && self.truth.is_forgotten(&home.queue), "a reader never caught up");
                ahead += 1;
                continue;
            }
            assert_eq!(reader.reader().cursor(), head.cursor(), "a reader never caught up at broker {}", reader.broker);
            assert_eq!(reader.seen, view, "an application does not see what the owner has");
        }
        self.truth.check_revocations(&head, &home.state.merged);
        let records = home.state.records.iter().map(|(path, kept)| (path.clone(), kept.mutation.clone())).collect();
        let judged = self.truth.judge(home.queue, &records);
        assert!(judged.excused == 0 || self.kind != Kind::Crashes, "nothing excuses a loss here");
        self.outcome.ahead += ahead;
        self.outcome.judge(&judged);
    }
}
