//! How much goes into one publish.

use tidings_proto::caps::{ENTRY_BYTES_MAX, PUBLISH_BYTES_MAX, PUBLISH_ENTRIES_MAX};
use tidings_proto::frames::Limits;

/// Entries and bytes that one publish still takes.
#[derive(Clone, Debug)]
pub(super) struct Room {
    entries: usize,
    bytes: usize,
}

/// More than the smallest padded entry and everything around its mutation, bytes.
const ENTRY_OVERHEAD: usize = 512;

impl Room {
    /// What both the broker and the protocol allow.
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            entries: PUBLISH_ENTRIES_MAX.min(limits.publish_entries_max as usize).max(1),
            // The largest entry always has room: a smaller limit is for the broker to refuse, not to hang on.
            bytes: PUBLISH_BYTES_MAX.min(limits.publish_bytes_max as usize).max(2 * ENTRY_BYTES_MAX),
        }
    }

    /// For a publish without entries.
    pub(super) fn none() -> Self {
        Self { entries: 0, bytes: 0 }
    }

    /// Takes a mutation of `encoded` bytes; false if it does not fit.
    pub(super) fn take(&mut self, encoded: usize) -> bool {
        // Padme adds at most an eighth.
        let sealed = encoded + encoded / 8 + ENTRY_OVERHEAD;
        if self.entries == 0 || sealed > self.bytes {
            return false;
        }
        self.entries -= 1;
        self.bytes = self.bytes.saturating_sub(sealed);
        true
    }

    /// Half as much; false if that is nothing.
    pub(super) fn halve(&mut self) -> bool {
        self.entries /= 2;
        self.bytes /= 2;
        self.entries > 0
    }
}

/// What two brokers both take.
pub(super) fn smallest(one: Limits, other: Limits) -> Limits {
    Limits {
        publish_entries_max: one.publish_entries_max.min(other.publish_entries_max),
        publish_bytes_max: one.publish_bytes_max.min(other.publish_bytes_max),
        entry_bytes_max: one.entry_bytes_max.min(other.entry_bytes_max),
        publishes_in_flight_max: one.publishes_in_flight_max.min(other.publishes_in_flight_max),
        readers_max: lowest(u64::from(one.readers_max), u64::from(other.readers_max)) as u32,
        live_bytes_max: lowest(one.live_bytes_max, other.live_bytes_max),
    }
}

/// The lower of two limits, of which 0 is none.
fn lowest(one: u64, other: u64) -> u64 {
    if one == 0 || other == 0 { one.max(other) } else { one.min(other) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(entries: u32, bytes: u32) -> Limits {
        Limits {
            publish_entries_max: entries,
            publish_bytes_max: bytes,
            entry_bytes_max: 16_384,
            publishes_in_flight_max: 1,
            readers_max: 1,
            live_bytes_max: 0,
        }
    }

    #[test]
    fn a_publish_takes_no_more_than_the_broker_said() {
        let mut room = Room::new(&limits(3, 1 << 20));
        assert_eq!((0..10).take_while(|_| room.take(100)).count(), 3);
        let mut room = Room::new(&limits(1_000, 40_000));
        assert_eq!((0..100).take_while(|_| room.take(100)).count(), 64);
    }

    #[test]
    fn a_publish_without_entries_takes_none() {
        assert!(!Room::none().take(1));
    }
}
