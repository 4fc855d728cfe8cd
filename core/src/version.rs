//! Versions of records: a hybrid logical clock and the node that ticked it.

use tidings_proto::Timestamp;

use crate::codec::{DecodeError, Decoder, Encoder};

/// Bits of the clock below the milliseconds: events that share one millisecond.
const COUNTER_BITS: u32 = 16;

/// Version of a record. Totally ordered: by clock, then by node. A later write of one node has a greater version even if
/// its wall clock went back. Kulkarni et al., "Logical Physical Clocks", 2014.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Milliseconds since 1970 in the upper 48 bits, a counter in the lower 16.
    pub clock: u64,
    /// Node that wrote; breaks ties.
    pub node: [u8; 16],
}

impl Version {
    /// Before every version.
    pub const ZERO: Self = Self { clock: 0, node: [0; 16] };

    /// A version of `node` at `now` that is later than `last`. Stays at the end of the range once `last` stands there.
    pub fn after(last: Version, now: Timestamp, node: [u8; 16]) -> Version {
        // Both saturate: a peer's version or a broken clock must not stop the owner from writing.
        let wall = now.value().min(u64::MAX >> COUNTER_BITS) << COUNTER_BITS;
        Self { clock: wall.max(last.clock.saturating_add(1)), node }
    }

    /// Writes 24 bytes inside another object.
    pub fn write_in(&self, out: &mut Encoder) {
        out.u64(self.clock);
        out.raw(&self.node);
    }

    /// Reads what [`Self::write_in`] wrote.
    ///
    /// # Errors
    /// The input ends inside it.
    pub fn read_in(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self { clock: input.u64("version clock")?, node: input.array("version node")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_version_starts_with_the_wall_clock() {
        let version = Version::after(Version::ZERO, Timestamp::new(1_700_000_000_000), [1; 16]);
        assert_eq!(version, Version { clock: 1_700_000_000_000 << 16, node: [1; 16] });
    }

    #[test]
    fn versions_of_one_millisecond_count_up() {
        let first = Version::after(Version::ZERO, Timestamp::new(5), [1; 16]);
        assert_eq!(Version::after(first, Timestamp::new(5), [1; 16]).clock, first.clock + 1);
    }

    #[test]
    fn the_end_of_the_range_stops_no_writer() {
        let last = Version { clock: u64::MAX, node: [9; 16] };
        assert_eq!(Version::after(last, Timestamp::new(u64::MAX), [1; 16]).clock, u64::MAX);
    }

    proptest! {
        #[test]
        fn a_version_is_later_than_the_last_whatever_the_clock_says(clock in 0..u64::MAX, now: u64, node: [u8; 16], other: [u8; 16]) {
            let last = Version { clock, node: other };
            prop_assert!(Version::after(last, Timestamp::new(now), node) > last);
        }

        #[test]
        fn a_version_reads_as_written(clock: u64, node: [u8; 16]) {
            let (version, mut out) = (Version { clock, node }, Encoder::new());
            version.write_in(&mut out);
            let bytes = out.finish();
            prop_assert_eq!(bytes.len(), 24);
            prop_assert_eq!(Version::read_in(&mut Decoder::new(&bytes)), Ok(version));
            prop_assert!(Version::read_in(&mut Decoder::new(&bytes[..23])).is_err());
        }
    }
}
