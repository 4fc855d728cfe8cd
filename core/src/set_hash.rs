//! Commitment to a set that is changed one element at a time: LtHash.
//!
//! Bellare and Micciancio, "A New Paradigm for Collision-Free Hashing", 1997; parameters of Lewi et al., "Securing
//! Update Propagation with Homomorphic Hashing", 2019: 1024 lanes of 16 bits, above 200 bits of security.

use crate::label::Label;

/// Lanes of the sum.
const LANES: usize = 1024;

/// Length of a state, bytes.
pub const SET_STATE_BYTES: usize = LANES * 2;

/// Which set: elements and commitments of one kind mean nothing to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// Live entries; an element is the 32 bytes of an entry digest.
    Live,
    /// Access list; an element is an encoded access row.
    Access,
}

impl SetKind {
    fn element_label(self) -> Label {
        match self {
            Self::Live => Label::LIVE_SET,
            Self::Access => Label::ACCESS_SET,
        }
    }

    fn root_label(self) -> Label {
        match self {
            Self::Live => Label::LIVE_SET_ROOT,
            Self::Access => Label::ACCESS_SET_ROOT,
        }
    }
}

/// Running hash of a set. Independent of the order of additions and removals.
///
/// It counts copies modulo 2^16: the caller adds what is not in the set and removes what is, and signs the count beside it.
#[derive(Clone, PartialEq, Eq)]
pub struct SetHash {
    kind: SetKind,
    lanes: Box<[u16; LANES]>,
}

impl SetHash {
    /// The empty set: every lane zero.
    pub fn new(kind: SetKind) -> Self {
        Self { kind, lanes: Box::new([0; LANES]) }
    }

    /// Continues from [`Self::state`]. Every state is possible, so nothing is checked here; the root is.
    pub fn from_state(kind: SetKind, state: &[u8; SET_STATE_BYTES]) -> Self {
        let mut set = Self::new(kind);
        for (lane, bytes) in set.lanes.iter_mut().zip(lanes_of(state)) {
            *lane = bytes;
        }
        set
    }

    /// The lanes in order, each big-endian.
    pub fn state(&self) -> [u8; SET_STATE_BYTES] {
        let mut state = [0; SET_STATE_BYTES];
        for (bytes, lane) in state.chunks_exact_mut(2).zip(self.lanes.iter()) {
            bytes.copy_from_slice(&lane.to_be_bytes());
        }
        state
    }

    /// Adds an element that is not in the set.
    pub fn add(&mut self, element: &[u8]) {
        self.combine(element, u16::wrapping_add);
    }

    /// Removes an element that is in the set.
    pub fn remove(&mut self, element: &[u8]) {
        self.combine(element, u16::wrapping_sub);
    }

    /// The commitment a head signs: labelled hash of the state.
    pub fn root(&self) -> [u8; 32] {
        self.kind.root_label().hash(&[&self.state()])
    }

    fn combine(&mut self, element: &[u8], step: fn(u16, u16) -> u16) {
        let mut expanded = [0; SET_STATE_BYTES];
        self.kind.element_label().expand(&[element]).fill(&mut expanded);
        for (lane, term) in self.lanes.iter_mut().zip(lanes_of(&expanded)) {
            *lane = step(*lane, term);
        }
    }
}

impl std::fmt::Debug for SetHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, ..] = self.root();
        write!(f, "SetHash({:?}, {a:02x}{b:02x}{c:02x}{d:02x})", self.kind)
    }
}

fn lanes_of(bytes: &[u8; SET_STATE_BYTES]) -> impl Iterator<Item = u16> {
    bytes.as_chunks::<2>().0.iter().map(|lane| u16::from_be_bytes(*lane))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set_of<'a>(elements: impl IntoIterator<Item = &'a [u8; 32]>) -> SetHash {
        let mut set = SetHash::new(SetKind::Live);
        elements.into_iter().for_each(|element| set.add(element));
        set
    }

    #[test]
    fn the_empty_set_is_all_zero() {
        assert_eq!(SetHash::new(SetKind::Live).state(), [0; SET_STATE_BYTES]);
    }

    #[test]
    fn the_same_elements_of_another_kind_give_another_root() {
        let mut access = SetHash::new(SetKind::Access);
        assert_ne!(access.root(), set_of([]).root());
        access.add(&[1; 32]);
        assert_ne!(access.state(), set_of([&[1; 32]]).state());
    }

    /// A set is no multiset: the caller keeps elements distinct, and a copy would show in the root.
    #[test]
    fn an_element_twice_is_not_an_element_once() {
        assert_ne!(set_of([&[1; 32], &[1; 32]]).root(), set_of([&[1; 32]]).root());
    }

    #[test]
    fn a_set_shows_no_more_than_its_root_in_logs() {
        assert!(format!("{:?}", set_of([&[1; 32]])).len() < 32);
    }

    proptest! {
        #[test]
        fn the_order_of_elements_does_not_matter(elements in prop::collection::vec(any::<[u8; 32]>(), 0..8).prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))) {
            prop_assert_eq!(set_of(&elements.0).root(), set_of(&elements.1).root());
        }

        #[test]
        fn removing_undoes_adding(kept: [[u8; 32]; 3], gone: [u8; 32]) {
            let mut set = set_of(kept.iter().chain([&gone]));
            prop_assert_ne!(&set, &set_of(&kept));
            set.remove(&gone);
            prop_assert_eq!(set, set_of(&kept));
        }

        #[test]
        fn a_state_continues_where_it_was(kept: [[u8; 32]; 3], added: [u8; 32]) {
            let mut continued = SetHash::from_state(SetKind::Live, &set_of(&kept).state());
            continued.add(&added);
            prop_assert_eq!(continued, set_of(kept.iter().chain([&added])));
        }
    }
}
