//! Branches of one queue for the tests of engine, commit and server: what a list of publishes leaves, and the way there from zero.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidings_core::access::AccessRow;
use tidings_core::entry::Entry;
use tidings_core::grant::attachment_hash;
use tidings_core::{Object, QueueDescriptor, SignedHead};
use tidings_proto::frames::{Publish, Transfer};
use tidings_proto::{Offset, Refusal, Timestamp};

use super::lookup::Overlay;
use super::test_owner::{Request, TestOwner};
use super::transfer::{Adoption, LastPart, TransferCheck};
use crate::commit::{CommitQueue, CommitSettings, Work};
use crate::engine::{Receipted, check};
use crate::store::Store;

/// Two branches of one queue: the owner's state was copied after the first publishes, and the copy went on in a higher term.
pub(crate) struct Fork {
    /// The owner of the branch that was left.
    pub(crate) left: TestOwner,
    /// All publishes of that branch, from the first one.
    pub(crate) tail: Vec<Publish>,
    /// The owner in the higher term.
    pub(crate) owner: TestOwner,
    /// All publishes of its branch, from the first one.
    pub(crate) base: Vec<Publish>,
}

impl Fork {
    pub(crate) fn new(common: Vec<Request>, tail: Vec<Request>, base: Vec<Request>) -> Self {
        let mut left = TestOwner::new(1);
        let common: Vec<Publish> = common.into_iter().map(|request| left.sign(request).publish()).collect();
        let mut owner = left.copy();
        owner.open_term(0);
        let signed = |owner: &mut TestOwner, requests: Vec<Request>| -> Vec<Publish> {
            let own = requests.into_iter().map(|request| owner.sign(request).publish()).collect::<Vec<_>>();
            common.iter().cloned().chain(own).collect()
        };
        let (tail, base) = (signed(&mut left, tail), signed(&mut owner, base));
        Self { left, tail, owner, base }
    }
}

/// Live entries after these publishes.
pub(crate) fn live(publishes: &[Publish]) -> BTreeMap<Offset, Bytes> {
    let (mut live, mut births) = (BTreeMap::new(), BTreeMap::new());
    for publish in publishes {
        for bytes in &publish.entries {
            let entry = Entry::decode(bytes).expect("an own entry");
            births.insert(entry.birth, entry.offset).map(|old| live.remove(&old));
            live.insert(entry.offset, bytes.clone());
        }
        publish.purged.iter().for_each(|offset| drop(live.remove(offset)));
    }
    live
}

/// Access rows and the attachments that they name after these publishes.
pub(crate) fn access(publishes: &[Publish]) -> (Vec<Bytes>, Vec<Bytes>) {
    let (mut rows, mut attachments) = (BTreeMap::new(), BTreeMap::new());
    for publish in publishes {
        publish.access_removed.iter().for_each(|reader| drop(rows.remove(reader)));
        let decoded = publish.access_put.iter().map(|bytes| (AccessRow::decode(bytes).expect("an own row"), bytes.clone()));
        rows.extend(decoded.map(|(row, bytes)| (row.pseudonym, (row, bytes))));
        attachments.extend(publish.attachments.iter().map(|bytes| (attachment_hash(bytes), bytes.clone())));
    }
    let named = rows.values().flat_map(|(row, _)| [row.grant, row.owner_copy]).map(|hash| attachments[&hash].clone()).collect();
    (rows.into_values().map(|(_, bytes)| bytes).collect(), named)
}

/// Hashes of the heads of these publishes but the last.
pub(crate) fn hashes(publishes: &[Publish]) -> Vec<[u8; 32]> {
    let hash = |publish: &Publish| *SignedHead::parse(publish.head.clone()).expect("an own head").hash().bytes();
    publishes[..publishes.len() - 1].iter().map(hash).collect()
}

/// The way from zero to the last of these publishes, in one part.
pub(crate) fn anew(publishes: &[Publish]) -> Transfer {
    let (rows, attachments) = access(publishes);
    Transfer {
        history: hashes(publishes),
        entries: live(publishes).into_values().collect(),
        attachments,
        head: publishes.last().expect("a publish").head.clone(),
        rows,
        ..Transfer::default()
    }
}

/// The same in a part for each hash, entry and attachment.
pub(crate) fn split(whole: &Transfer) -> Vec<Transfer> {
    let mut parts: Vec<Transfer> = whole.history.iter().map(|hash| Transfer { history: vec![*hash], ..Transfer::default() }).collect();
    parts.extend(whole.entries.iter().map(|entry| Transfer { entries: vec![entry.clone()], ..Transfer::default() }));
    parts.extend(whole.attachments.iter().map(|bytes| Transfer { attachments: vec![bytes.clone()], ..Transfer::default() }));
    parts.push(Transfer { head: whole.head.clone(), rows: whole.rows.clone(), ..Transfer::default() });
    parts
}

/// Takes the parts as a server does.
pub(crate) fn judge(store: &dyn Store, descriptor: &QueueDescriptor, parts: &[Transfer]) -> Result<Adoption, Refusal> {
    let mut check = TransferCheck::open(descriptor.clone(), store, 0)?;
    let last = parts.last().expect("a part").clone();
    for part in parts {
        for staged in check.take(part)? {
            store.stage(&staged).expect("the store has no reason to fail");
        }
    }
    let last = LastPart::check(descriptor, last.head, last.rows)?;
    let found = Overlay::default().find(store, &check.queue(), &check.lookups()).expect("the store has no reason to fail");
    check.finish(last, &found)
}

/// Takes the parts as a server does, and commits.
pub(crate) fn adopt(store: &dyn Store, descriptor: &QueueDescriptor, parts: &[Transfer]) -> Result<Receipted, Refusal> {
    let work = Work::from(judge(store, descriptor, parts)?);
    CommitQueue::new(CommitSettings::default()).commit_group(store, Timestamp::new(77), vec![work]).remove(0)
}

/// Takes publishes as a server does, and commits each.
pub(crate) fn take(store: &dyn Store, descriptor: &QueueDescriptor, publishes: &[Publish]) -> Result<Vec<Receipted>, Refusal> {
    let mut commits = CommitQueue::new(CommitSettings::default());
    let one = |publish: &Publish| {
        let checked = check(descriptor, publish.clone())?;
        commits.commit_group(store, Timestamp::new(77), vec![checked]).remove(0)
    };
    publishes.iter().map(one).collect()
}
