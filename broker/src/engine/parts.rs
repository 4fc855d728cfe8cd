//! A bitmap of live offsets in parts that fit a frame each.

use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_proto::Offset;

/// Live offsets above `after`, up to and including `through`, in roaring's portable format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) after: Offset,
    pub(super) through: Offset,
    pub(super) live: Bytes,
}

/// Parts of at most `bytes_max` that cover (0, `through`] without a gap, ascending. One offset always fits.
pub(super) fn parts(live: RoaringTreemap, through: Offset, bytes_max: usize) -> Vec<Part> {
    let mut parts = Vec::new();
    split(live, Offset::ZERO, through, bytes_max, &mut parts);
    parts
}

/// Halves by count, not by range, so that a sparse set does not fall into as many parts as its range is wide.
fn split(mut live: RoaringTreemap, after: Offset, through: Offset, bytes_max: usize, parts: &mut Vec<Part>) {
    let middle = live.len().checked_div(2).filter(|half| *half > 0).and_then(|half| live.select(half - 1));
    match middle {
        Some(middle) if live.serialized_size() > bytes_max => {
            let mut upper = live.clone();
            upper.remove_range(..=middle);
            live.remove_range((std::ops::Bound::Excluded(middle), std::ops::Bound::Unbounded));
            split(live, after, Offset::new(middle), bytes_max, parts);
            split(upper, Offset::new(middle), through, bytes_max, parts);
        }
        _ => parts.push(Part { after, through, live: serialize(&live) }),
    }
}

fn serialize(live: &RoaringTreemap) -> Bytes {
    let mut bytes = Vec::with_capacity(live.serialized_size());
    live.serialize_into(&mut bytes).expect("writing to memory cannot fail");
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(parts: &[Part]) -> RoaringTreemap {
        let whole = |part: &Part| RoaringTreemap::deserialize_from(&part.live[..]).expect("own bytes");
        parts.iter().map(whole).fold(RoaringTreemap::new(), |all, part| all | part)
    }

    /// [P-9] What a reader puts together is the bitmap, and every offset belongs to one part.
    #[test]
    fn parts_together_are_the_bitmap_and_leave_no_gap() {
        let live: RoaringTreemap = (1..200_000).filter(|offset| offset % 3 != 0).chain([1 << 40, 1 << 50]).collect();
        let through = Offset::new((1 << 50) + 7);
        let parts = parts(live.clone(), through, 4_096);
        assert!(parts.len() > 4 && parts.iter().all(|part| part.live.len() <= 4_096));
        assert!(parts.windows(2).all(|pair| pair[0].through == pair[1].after));
        assert_eq!((parts[0].after, parts.last().expect("a part").through), (Offset::ZERO, through));
        assert_eq!(covered(&parts), live);
    }

    #[test]
    fn an_empty_bitmap_is_one_part() {
        let parts = parts(RoaringTreemap::new(), Offset::new(9), 64);
        assert_eq!(parts.len(), 1);
        assert!(covered(&parts).is_empty());
    }
}
