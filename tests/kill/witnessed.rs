//! What was signed and said, by whom: heads, receipts, acknowledgements. None of it may be taken back.

use std::collections::BTreeMap;

use tidings_core::SignedHead;
use tidings_proto::HeadRank;

/// Everything that was seen of them in a world.
#[derive(Default)]
pub(crate) struct Witnessed {
    /// What was seen of each head, under the name of where it shows.
    heads: BTreeMap<(HeadRank, &'static str), String>,
    receipted: HeadRank,
    acknowledged: BTreeMap<String, HeadRank>,
    /// Result lines with a receipt.
    pub(crate) receipts: u64,
    /// Comparisons of an acknowledgement with one that was seen before, or with what the reader has.
    pub(crate) acknowledgements: u64,
    /// What contradicts a promise.
    pub(crate) violations: Vec<String>,
}

impl Witnessed {
    /// The owner printed that this head is receipted.
    pub(crate) fn receipt(&mut self, rank: HeadRank) {
        self.receipts += 1;
        self.receipted = self.receipted.max(rank);
    }

    /// A broker that was killed, or that runs, stands at this head; `signed` is what else it shows of it. [P-3] [P-7]
    pub(crate) fn stands(&mut self, rank: HeadRank, signed: String) {
        if rank < self.receipted {
            self.violations.push(format!("the broker stands at {rank} and had receipted {}", self.receipted));
        }
        self.seen(rank, "signed", signed);
    }

    /// A head in storage: itself and the hash of the one before it. [P-3]
    pub(crate) fn stored(&mut self, head: &SignedHead) {
        let rank = head.rank();
        self.seen(rank, "hash", head.hash().to_string());
        if let Some(number) = rank.number.value().checked_sub(1).filter(|number| *number > 0) {
            let before = HeadRank { number: tidings_proto::HeadNumber::new(number), ..rank };
            self.seen(before, "hash", head.head().previous.to_string());
        }
    }

    /// Somebody shows how far a reader has acknowledged. `who` names the reader and who shows it.
    pub(crate) fn acknowledged(&mut self, who: &str, rank: HeadRank) {
        self.acknowledgements += 1;
        let last = self.acknowledged.entry(who.to_owned()).or_default();
        if rank < *last {
            self.violations.push(format!("{who}: the acknowledgement fell from {last} to {rank}"));
        }
        *last = rank.max(*last);
    }

    /// A reader that was killed has this, and whoever is asked has its acknowledgement of that: it may not have said more than it kept.
    pub(crate) fn reader_has(&mut self, rank: HeadRank, acknowledged: HeadRank) {
        self.acknowledgements += 1;
        if rank < acknowledged {
            self.violations.push(format!("the reader has {rank} and had acknowledged {acknowledged}"));
        }
    }

    /// Heads of which something was seen.
    pub(crate) fn heads(&self) -> u64 {
        self.heads.len() as u64
    }

    fn seen(&mut self, rank: HeadRank, what: &'static str, value: String) {
        let first = self.heads.entry((rank, what)).or_insert_with(|| value.clone());
        if *first != value {
            self.violations.push(format!("head {rank} was signed twice: {first} and {value}"));
        }
    }
}
