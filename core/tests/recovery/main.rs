//! A queue is recovered from what a broker holds: random histories of a real writer become parts, a recovery, and a writer that goes on;
//! and no part can be changed without being refused.

#[path = "../paper/mod.rs"]
#[allow(unreachable_pub, reason = "shared by test binaries of two packages")]
mod paper;

mod goes_on;
mod refused;

use bytes::Bytes;
use paper::{Dice, Owner, PaperBroker, path};
use tidings_core::key::NodeKey;
use tidings_core::{Recovered, Recovery, RecoveryError};
use tidings_proto::Offset;
use tidings_proto::frames::Transfer;

/// A node that may be granted.
fn node(number: u64) -> NodeKey {
    NodeKey::from_seed([100 + number as u8; 32])
}

/// An owner after `publishes` random publishes: values, deletes, floors, readers that come and go.
fn owner(dice: &mut Dice, seed: u64, publishes: u64) -> Owner {
    let mut owner = Owner::new(seed);
    let mut granted = 0;
    for _ in 0..publishes {
        match dice.roll(10) {
            0 if granted < 4 => {
                owner.grant(&node(granted));
                granted += 1;
            }
            1 => {
                let own = |row: &&tidings_core::writer::GrantedReader| row.row.rights == tidings_core::Rights::Read;
                let gone = owner.writer.readers().iter().find(own).filter(|_| granted > 1).map(|reader| reader.row.pseudonym);
                owner.rotate(gone.into_iter().collect());
            }
            _ => publish(dice, &mut owner),
        }
    }
    owner
}

fn publish(dice: &mut Dice, owner: &mut Owner) {
    let change = |dice: &mut Dice| {
        let value = (!dice.chance(35)).then(|| Bytes::from(dice.roll(1 << 40).to_string()));
        (path(dice.roll(14)), value)
    };
    let changes: Vec<_> = (0..dice.roll(5)).map(|_| change(dice)).collect();
    let offset = owner.writer.head().expect("a head").head().offset.value();
    let floor = dice.chance(30).then(|| Offset::new(dice.roll(offset + 1)));
    owner.publish(&changes, floor);
}

fn broker(owner: &Owner) -> PaperBroker {
    let mut broker = PaperBroker::default();
    broker.receive(&owner.log, usize::MAX);
    broker
}

fn recover(owner: &Owner, parts: Vec<Transfer>) -> Result<Recovered, RecoveryError> {
    let mut recovery = Recovery::new(owner.writer.descriptor().clone());
    for part in parts {
        if let Some(whole) = recovery.take(part)? {
            return Ok(whole);
        }
    }
    Err(RecoveryError::NotSigned("the test gave no last part"))
}
