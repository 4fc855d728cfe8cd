//! Which readers were on an access list before: of each queue the newest, so that revoking for ever fills no disk. [P-17]

use std::collections::BTreeMap;

use tidings_proto::{HeadRank, Pseudonym};

/// Former readers remembered of one queue: four times as many as may have access at once.
pub const REMOVED_MAX: usize = 4_096;

/// Former readers of one queue, each with the rank of the head that removed it.
pub(super) type Removed = BTreeMap<Pseudonym, HeadRank>;

/// Takes up what the head of `rank` removed and what it put (again); forgets those removed longest ago.
pub(super) fn record(
    removed: &mut Removed,
    rank: HeadRank,
    gone: impl IntoIterator<Item = Pseudonym>,
    put: impl IntoIterator<Item = Pseudonym>,
) {
    removed.extend(gone.into_iter().map(|reader| (reader, rank)));
    for reader in put {
        removed.remove(&reader);
    }
    let beyond = removed.len().saturating_sub(REMOVED_MAX);
    if beyond > 0 {
        let mut oldest: Vec<_> = removed.iter().map(|(reader, rank)| (*rank, *reader)).collect();
        oldest.sort_unstable();
        for (_, reader) in &oldest[..beyond] {
            removed.remove(reader);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_proto::{HeadNumber, Term};

    fn rank(number: u64) -> HeadRank {
        HeadRank { term: Term::new(1), number: HeadNumber::new(number) }
    }

    fn reader(number: u64) -> Pseudonym {
        let mut bytes = [0; 32];
        // The newest has the smallest name: the order of names is not the order of time.
        bytes[..8].copy_from_slice(&(u64::MAX - number).to_be_bytes());
        Pseudonym::new(bytes)
    }

    /// [P-19]
    #[test]
    fn those_removed_longest_ago_are_forgotten_first() {
        let mut removed = Removed::new();
        for number in 1..=REMOVED_MAX as u64 + 3 {
            record(&mut removed, rank(number), [reader(number)], []);
        }
        assert_eq!(removed.len(), REMOVED_MAX);
        assert!(!removed.contains_key(&reader(3)) && removed.contains_key(&reader(4)));
    }

    #[test]
    fn a_reader_that_is_put_again_is_no_former_one() {
        let mut removed = Removed::new();
        record(&mut removed, rank(1), [reader(1), reader(2)], []);
        record(&mut removed, rank(2), [], [reader(1)]);
        assert_eq!(removed.into_keys().collect::<Vec<_>>(), [reader(2)]);
    }
}
