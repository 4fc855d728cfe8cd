//! Which ranges of a queue keep their objects and which are written again.
//!
//! Size-tiered: neighbours are merged until each is more than twice as large as the next one, so there are logarithmically many,
//! and whatever is merged becomes at least half as large again, so nothing is written more than logarithmically often. What is
//! mostly dead is written again without its dead. Full ranges stay as they are until most of them is dead.

/// A range as it stands, or what is new. Weights are bytes or hashes, whatever the caller counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u64,
    pub(super) last: u64,
    /// What still counts of it; 0 and it goes.
    pub(super) live: u64,
    /// What is in it and does not count any more.
    pub(super) dead: u64,
    /// The object it has, by the caller's number; `None` if it must be written.
    pub(super) object: Option<usize>,
}

/// Neighbours are merged while the earlier one is at most so many times as heavy as the later one.
const FACTOR: u64 = 2;

/// The ranges as they should stand: in order, without a gap between them, each with something live.
pub(super) fn plan(ranges: impl IntoIterator<Item = Range>, full: u64) -> Vec<Range> {
    let mut planned: Vec<Range> = Vec::new();
    let mut uncovered = None;
    for mut range in ranges {
        range.first = uncovered.take().unwrap_or(range.first);
        match planned.last_mut() {
            // Its object stays right: the range has nothing more that lives.
            Some(before) if range.live == 0 => before.last = range.last,
            None if range.live == 0 => uncovered = Some(range.first),
            _ => settle(&mut planned, range, full),
        }
    }
    for range in planned.iter_mut().filter(|range| range.dead > range.live) {
        range.object = None;
    }
    planned
}

/// Puts a range behind those planned, after merging it with those that are not heavy enough to stand before it.
fn settle(planned: &mut Vec<Range>, mut range: Range, full: u64) {
    while let Some(before) = planned.pop_if(|before| before.live < full && before.live <= range.live.saturating_mul(FACTOR)) {
        range = Range { first: before.first, last: range.last, live: before.live.saturating_add(range.live), dead: 0, object: None };
    }
    planned.push(range);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(first: u64, last: u64, live: u64, dead: u64, object: usize) -> Range {
        Range { first, last, live, dead, object: Some(object) }
    }

    fn new(first: u64, last: u64, live: u64) -> Range {
        Range { first, last, live, dead: 0, object: None }
    }

    #[test]
    fn a_small_addition_leaves_what_is_large() {
        let large = range(1, 100, 1_000, 10, 0);
        assert_eq!(plan([large, new(101, 102, 20)], u64::MAX), [large, new(101, 102, 20)]);
    }

    #[test]
    fn what_is_not_much_larger_than_the_addition_merges_with_it() {
        assert_eq!(
            plan([range(1, 9, 1_000, 0, 0), range(10, 11, 40, 5, 1), new(12, 13, 20)], u64::MAX),
            [range(1, 9, 1_000, 0, 0), new(10, 13, 60)]
        );
    }

    #[test]
    fn what_is_mostly_dead_is_written_again() {
        assert_eq!(plan([range(1, 9, 10, 11, 0)], u64::MAX)[0].object, None);
    }

    #[test]
    fn a_range_without_anything_live_is_covered_by_its_neighbour() {
        assert_eq!(plan([range(1, 4, 0, 9, 0), range(5, 9, 50, 0, 1), range(10, 12, 0, 7, 2)], u64::MAX), [range(1, 12, 50, 0, 1)]);
    }

    #[test]
    fn what_is_full_is_not_merged() {
        assert_eq!(plan([range(1, 4, 100, 0, 0), new(5, 9, 99)], 100).len(), 2);
    }

    proptest! {
        /// Equal additions for ever: few ranges, and each unit is written a logarithmic number of times.
        #[test]
        fn ranges_stay_few_and_writes_stay_few(sizes in prop::collection::vec(1u64..50, 1..300)) {
            let (mut ranges, mut last, mut written, mut total) = (Vec::<Range>::new(), 0, 0, 0);
            for size in sizes {
                let addition = new(last + 1, last + size, size);
                (last, total) = (last + size, total + size);
                ranges = plan(ranges.into_iter().chain([addition]), u64::MAX);
                written += ranges.iter().filter(|range| range.object.is_none()).map(|range| range.live).sum::<u64>();
                ranges.iter_mut().enumerate().for_each(|(at, range)| range.object = Some(at));
                prop_assert!(ranges.windows(2).all(|pair| pair[0].live > 2 * pair[1].live && pair[0].last + 1 == pair[1].first));
                prop_assert_eq!((ranges[0].first, ranges[ranges.len() - 1].last), (1, last));
            }
            let levels = u64::from(total.ilog2()) + 1;
            prop_assert!(ranges.len() as u64 <= levels && written <= total * 2 * levels);
        }
    }
}
