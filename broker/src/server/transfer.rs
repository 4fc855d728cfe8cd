//! A transfer on its way: parts are staged as they come, the last one gives the step to commit. [P-10]

use std::collections::VecDeque;
use std::sync::Arc;

use tidings_core::QueueDescriptor;
use tidings_proto::caps::PUBLISHES_IN_FLIGHT_MAX;
use tidings_proto::frames::Transfer;
use tidings_proto::{HeadHash, Refusal, RefusalCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::engine::{Adoption, LastPart, Overlay, TransferCheck, refusal_of};
use crate::store::Store;

/// What transfers share in one broker.
#[derive(Clone, Debug)]
pub(super) struct Transfers {
    places: Arc<Semaphore>,
    live_bytes_max: u64,
}

/// The one place for a transfer. Whoever stages holds it until the step is committed or given up.
pub(super) type Place = OwnedSemaphorePermit;

/// The transfer of one stream.
#[derive(Debug, Default)]
pub(super) enum Incoming {
    #[default]
    None,
    Running(Box<TransferCheck>, Place),
    /// It was refused; what still comes of it is dropped.
    Refused,
}

/// Heads that the owner at the other end of a stream knows of: the one it was told, and its own ones.
#[derive(Debug)]
pub(super) struct Told {
    heads: VecDeque<HeadHash>,
}

impl Told {
    /// At the beginning of a stream.
    pub(super) fn new(standing: HeadHash) -> Self {
        Self { heads: VecDeque::from([standing]) }
    }

    /// The owner sent this one.
    pub(super) fn add(&mut self, head: HeadHash) {
        if self.heads.len() > PUBLISHES_IN_FLIGHT_MAX {
            self.heads.pop_front();
        }
        self.heads.push_back(head);
    }

    /// A branch may be replaced only by an owner that saw all of it: another home of the same key may have published since this stream
    /// was told, and what was receipted to that one would be in no merge. [P-10]
    fn allows(&self, standing: &HeadHash) -> Result<(), Refusal> {
        match self.heads.contains(standing) {
            true => Ok(()),
            false => {
                Err(Refusal::new(RefusalCode::Conflict, "the queue went on since this stream was told; open another one, and compare"))
            }
        }
    }
}

/// What became of a part.
#[derive(Debug)]
pub(super) enum Part {
    /// It needs no answer: more has to come, or the answer was given.
    Silent,
    /// The transfer is refused.
    Refused(Refusal),
    /// It was the last one, and everything fits.
    Whole(Box<Adoption>, Place),
}

impl Transfers {
    /// One at a time: each may hold a hundred megabytes.
    pub(super) fn new(live_bytes_max: u64) -> Self {
        Self { places: Arc::new(Semaphore::new(1)), live_bytes_max }
    }
}

impl Incoming {
    /// Takes a part. Blocks as the store does.
    pub(super) fn take(
        &mut self,
        transfers: &Transfers,
        store: &dyn Store,
        descriptor: &QueueDescriptor,
        admitted: &Result<(), Refusal>,
        told: &Told,
        part: Transfer,
    ) -> Part {
        let last = !part.head.is_empty();
        let (check, place) = match std::mem::take(self) {
            Self::Running(check, place) => (check, place),
            Self::None => match admitted.clone().and_then(|()| begin(transfers, store, descriptor, told)) {
                Ok(begun) => begun,
                Err(refusal) => return self.refused(refusal, last),
            },
            Self::Refused => {
                *self = if last { Self::None } else { Self::Refused };
                return Part::Silent;
            }
        };
        let queue = check.queue();
        match admitted.clone().and_then(|()| step(check, store, descriptor, part)) {
            Ok(Step::More(check)) => *self = Self::Running(check, place),
            Ok(Step::Whole(adoption)) => return Part::Whole(adoption, place),
            Err(refusal) => {
                // What this leaves is no harm; the next transfer tries again to remove it.
                let _ = store.unstage(&queue);
                return self.refused(refusal, last);
            }
        }
        Part::Silent
    }

    /// Answered once, now: whoever is told stops sending, and what is on its way is dropped.
    fn refused(&mut self, refusal: Refusal, last: bool) -> Part {
        *self = if last { Self::None } else { Self::Refused };
        Part::Refused(refusal)
    }
}

enum Step {
    More(Box<TransferCheck>),
    Whole(Box<Adoption>),
}

fn begin(
    transfers: &Transfers,
    store: &dyn Store,
    descriptor: &QueueDescriptor,
    told: &Told,
) -> Result<(Box<TransferCheck>, Place), Refusal> {
    let place = transfers.places.clone().try_acquire_owned();
    let place = place.map_err(|_| Refusal::new(RefusalCode::Busy, "another transfer is on its way; nothing changed, repeat later"))?;
    let check = TransferCheck::open(descriptor.clone(), store, transfers.live_bytes_max)?;
    told.allows(&check.standing())?;
    Ok((Box::new(check), place))
}

fn step(mut check: Box<TransferCheck>, store: &dyn Store, descriptor: &QueueDescriptor, part: Transfer) -> Result<Step, Refusal> {
    for staged in check.take(&part)? {
        store.stage(&staged).map_err(|error| refusal_of(&error))?;
    }
    if part.head.is_empty() {
        return Ok(Step::More(check));
    }
    let last = LastPart::check(descriptor, part.head, part.rows)?;
    // Whether the queue still stands there is seen when it is committed.
    let found = Overlay::default().find(store, &check.queue(), &check.lookups()).map_err(|error| refusal_of(&error))?;
    Ok(Step::Whole(Box::new(check.finish(last, &found)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::test_owner::{TestOwner, puts};
    use crate::store::MemoryStore;

    fn take(incoming: &mut Incoming, transfers: &Transfers, admitted: Result<(), Refusal>, last: bool) -> Option<RefusalCode> {
        let (mut owner, store) = (TestOwner::new(1), MemoryStore::new());
        let mut part = Transfer { history: vec![[1; 32]], ..Transfer::default() };
        if last {
            part.head = owner.sign(puts(&[1])).publish().head;
        }
        let told = Told::new(tidings_core::Cursor::start(&owner.descriptor().id()).head);
        match incoming.take(transfers, &store, owner.descriptor(), &admitted, &told, part) {
            Part::Refused(refusal) => Some(refusal.code),
            Part::Silent => None,
            Part::Whole(..) => panic!("nothing here is a whole transfer"),
        }
    }

    /// [P-19]
    #[test]
    fn one_transfer_is_taken_at_a_time() {
        let transfers = Transfers::new(0);
        let (mut one, mut two) = (Incoming::default(), Incoming::default());
        assert_eq!(take(&mut one, &transfers, Ok(()), false), None);
        assert_eq!(take(&mut two, &transfers, Ok(()), false), Some(RefusalCode::Busy));
        drop(one);
        assert_eq!([take(&mut two, &transfers, Ok(()), false), take(&mut two, &transfers, Ok(()), true)], [None; 2], "dropped");
        assert_eq!(take(&mut two, &transfers, Ok(()), true), Some(RefusalCode::Invalid), "a transfer of its own again");
        assert_eq!(take(&mut Incoming::default(), &transfers, Ok(()), false), None, "the place is free");
    }

    #[test]
    fn an_owner_that_is_not_admitted_any_more_brings_nothing() {
        let (transfers, mut incoming) = (Transfers::new(0), Incoming::default());
        let refusal = || Err(Refusal::new(RefusalCode::NotAdmitted, "the operator does not admit this owner"));
        assert_eq!(take(&mut incoming, &transfers, Ok(()), false), None);
        assert_eq!(take(&mut incoming, &transfers, refusal(), false), Some(RefusalCode::NotAdmitted));
    }
}
