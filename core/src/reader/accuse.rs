//! From a contradiction to a verdict. [P-14]

use bytes::Bytes;
use tidings_proto::Birth;
use tidings_proto::caps::TEXT_BYTES_MAX;

use super::store::PAGE;
use super::verdict::EVIDENCE_ENTRIES_MAX;
use super::{Evidence, Fault, Finding, Reader, ReaderStore, Staging, Step, Verdict};
use crate::head::SignedHead;
use crate::set_hash::{SetHash, SetKind};

pub(super) type Leaf = Option<([u8; 32], Vec<[u8; 32]>)>;

/// What is to be kept as evidence.
struct Found {
    verdict: Verdict,
    detail: String,
    fault: Option<Fault>,
    announced: Vec<Bytes>,
    leaf: Leaf,
}

impl Reader {
    /// What a connection sent contradicts itself or the owner's signature.
    ///
    /// The first time everything staged is dropped and read once more from the cursor at this broker alone: something staged
    /// earlier, perhaps from another broker, may have been the lie. The second time it is this broker's.
    pub(super) fn contradiction<S: ReaderStore>(&mut self, fault: Fault, store: &mut S) -> Result<Step, S::Error> {
        let broker = self.attempt.as_ref().map(|attempt| attempt.broker.clone()).unwrap_or_default();
        if self.suspect.as_ref() == Some(&broker) {
            let newest = self.attempt.as_ref().and_then(|attempt| attempt.head()).cloned();
            let announced = self.announcements(newest.as_ref());
            let found = Found { verdict: Verdict::Withheld, detail: fault.to_string(), fault: Some(fault), announced, leaf: None };
            return self.find(found, store);
        }
        if !self.own_state_matches(store)? {
            return self.rebuild(store);
        }
        self.drop_staging(store)?;
        self.attempt = None;
        self.suspect = Some(broker);
        Ok(Step::Restart(fault))
    }

    /// A signed head proves by itself what is wrong.
    pub(super) fn accuse<S: ReaderStore>(
        &mut self,
        verdict: Verdict,
        detail: &str,
        head: &SignedHead,
        leaf: Leaf,
        store: &mut S,
    ) -> Result<Step, S::Error> {
        let announced = self.announcements(Some(head));
        self.find(Found { verdict, detail: detail.to_owned(), fault: None, announced, leaf }, store)
    }

    /// Reads a signed head that somebody else than a broker shows; `None` if the owner did not sign it for this queue.
    pub fn witnessed(&self, bytes: &Bytes) -> Option<SignedHead> {
        let head = SignedHead::parse(bytes.clone()).ok()?;
        let owned = head.head().queue == self.queue && head.verify(&self.descriptor.signing_key).is_ok();
        owned.then_some(head)
    }

    /// The broker had its time to show `witnessed`, which is newer than all that it announced. [P-21]
    pub fn on_overdue<S: ReaderStore>(&mut self, witnessed: &SignedHead, store: &mut S) -> Result<Step, S::Error> {
        let newest = self.attempt.as_ref().and_then(|attempt| attempt.head());
        let announced = newest.into_iter().chain([witnessed]).map(|head| head.bytes().clone()).collect();
        let detail = "the owner's storage shows a newer head, and this broker did not in all the time it had".to_owned();
        self.find(Found { verdict: Verdict::Withheld, detail, fault: None, announced, leaf: None }, store)
    }

    /// The broker says that it cannot serve what it announced or owes, since its storage is damaged.
    pub fn on_damaged<S: ReaderStore>(&mut self, words: &str, store: &mut S) -> Result<Step, S::Error> {
        let newest = self.attempt.as_ref().and_then(|attempt| attempt.head()).cloned();
        let announced = self.announcements(newest.as_ref());
        let words: String = words.chars().take(TEXT_BYTES_MAX / 8).collect();
        let detail = format!("the broker says that its storage of this queue is damaged: {words}");
        self.find(Found { verdict: Verdict::Withheld, detail, fault: None, announced, leaf: None }, store)
    }

    /// A version this build does not know is nobody's fault. [P-20]
    pub(super) fn too_new(&mut self, object: &str) -> Step {
        self.attempt = None;
        let detail = format!("the broker sent a newer version of: {object}; this build is too old for the queue");
        Step::Verdict(Box::new(Finding { verdict: Verdict::TooNew, detail, fault: None, evidence: None }))
    }

    pub(super) fn drop_staging<S: ReaderStore>(&mut self, store: &mut S) -> Result<(), S::Error> {
        self.staging = Staging { position: self.cursor.offset, stamp: self.staging.stamp, floor: None };
        store.clear_staged()
    }

    /// The first head of this connection and `last`.
    fn announcements(&self, last: Option<&SignedHead>) -> Vec<Bytes> {
        let first = self.attempt.as_ref().and_then(|attempt| attempt.first());
        let mut announced: Vec<Bytes> = [first, last].into_iter().flatten().map(|head| head.bytes().clone()).collect();
        announced.dedup();
        announced
    }

    fn find<S: ReaderStore>(&mut self, found: Found, store: &mut S) -> Result<Step, S::Error> {
        if !self.own_state_matches(store)? {
            return self.rebuild(store);
        }
        let (verdict, detail, fault) = (found.verdict, found.detail.clone(), found.fault.clone());
        let evidence = Some(self.evidence(found, store)?);
        self.drop_staging(store)?;
        self.attempt = None;
        Ok(Step::Verdict(Box::new(Finding { verdict, detail, fault, evidence })))
    }

    fn evidence<S: ReaderStore>(&self, found: Found, store: &S) -> Result<Evidence, S::Error> {
        let verified = self.head.as_ref().or(self.ancestor.as_ref());
        let broker = self.attempt.as_ref().map(|attempt| attempt.broker.as_str()).unwrap_or_default();
        let mut staged = Vec::new();
        let mut after = Birth::ZERO;
        while staged.len() < EVIDENCE_ENTRIES_MAX {
            let rows = store.staged_after(after, PAGE.min(EVIDENCE_ENTRIES_MAX - staged.len()))?;
            let Some(last) = rows.last() else { break };
            after = last.birth;
            staged.extend(rows.iter().map(|row| (row.offset, row.birth, row.digest)));
        }
        Ok(Evidence {
            verdict: found.verdict,
            broker: broker.chars().take(TEXT_BYTES_MAX / 4).collect(),
            as_of: verified.map(|head| head.head().time).unwrap_or_default(),
            detail: found.detail,
            descriptor: self.descriptor.clone(),
            verified: verified.map(|head| head.bytes().clone()).unwrap_or_default(),
            announced: found.announced,
            leaf: found.leaf,
            staged,
            stamp: self.staging.stamp,
        })
    }

    /// Whether the held rows are the set that the verified head signs. Reads all of them.
    ///
    /// Checked before anybody is accused, and by whoever wants to know.
    pub fn own_state_matches<S: ReaderStore>(&self, store: &S) -> Result<bool, S::Error> {
        let (mut live, mut count) = (SetHash::new(SetKind::Live), 0u64);
        let mut after = Birth::ZERO;
        loop {
            let rows = store.held_after(after, PAGE)?;
            let Some(last) = rows.last() else { break };
            after = last.birth;
            rows.iter().for_each(|row| live.add(row.digest.bytes()));
            count += rows.len() as u64;
        }
        let signed = match &self.head {
            Some(head) => head.head().live_root == live.root() && head.head().live_count == count && head.cursor() == self.cursor,
            None => count == 0 && self.cursor.is_start(),
        };
        Ok(signed && live == self.live && count == self.live_count)
    }

    /// The own state is damaged: set it aside, read again from zero, give the net difference once that is verified.
    ///
    /// Also for a caller whose store finds a row that cannot be read any more.
    pub fn rebuild<S: ReaderStore>(&mut self, store: &mut S) -> Result<Step, S::Error> {
        self.damaged = true;
        self.read_from_zero(store)?;
        Ok(Step::LocalDamage)
    }
}
