//! Rewinds that the application has not confirmed. [P-14]

use redb::ReadableTable;
use tidings_core::reader::REWOUND_GONE_MAX;
use tidings_core::{Cursor, Decoder, Encoder, Object, RecordPath};
use tidings_proto::QueueId;
use tidings_proto::caps::{PATH_BYTES_MAX, TEXT_BYTES_MAX};

use super::{FollowStep, FollowView, StateError, rows, tables};

/// The owner went on from an earlier head than the one held here, and what it signed since is verified. The changes that lead from
/// the one to the other come as changes, deletes among them. [P-14]
///
/// Of several that were not confirmed, this is all together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewound {
    /// What was held.
    pub from: Cursor,
    /// What was verified in its place.
    pub to: Cursor,
    /// Records that were there no more, ascending; the first [`REWOUND_GONE_MAX`] if they are many.
    pub gone: Vec<RecordPath>,
    /// How many were there no more.
    pub gone_count: u64,
}

impl Rewound {
    /// This, after `earlier` ones.
    fn after(mut self, earlier: Self) -> Self {
        let is_whole = |rewound: &Self| rewound.gone.len() as u64 == rewound.gone_count;
        let all_named = is_whole(&self) && is_whole(&earlier);
        let sum = self.gone_count.saturating_add(earlier.gone_count);
        self.gone.extend(earlier.gone);
        self.gone.sort();
        self.gone.dedup();
        // Of those that are not named nobody knows whether they are the same.
        self.gone_count = if all_named { self.gone.len() as u64 } else { sum };
        self.gone.truncate(REWOUND_GONE_MAX);
        Self { from: earlier.from, ..self }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.bytes(&self.from.encode());
        out.bytes(&self.to.encode());
        out.u64(self.gone_count);
        out.count(self.gone.len());
        self.gone.iter().for_each(|path| out.bytes(path.as_str().as_bytes()));
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let mut input = Decoder::new(bytes);
        let from = Cursor::decode(input.bytes(TEXT_BYTES_MAX, "from")?)?;
        let to = Cursor::decode(input.bytes(TEXT_BYTES_MAX, "to")?)?;
        let gone_count = input.u64("gone")?;
        let count = input.count(REWOUND_GONE_MAX, "paths")?;
        let gone = (0..count).map(|_| rows::path(input.text(PATH_BYTES_MAX, "path")?)).collect::<Result<_, _>>()?;
        input.finish()?;
        Ok(Self { from, to, gone, gone_count })
    }
}

impl FollowView<'_> {
    /// What the application has not confirmed.
    pub(crate) fn rewound(&self, queue: &QueueId) -> Result<Option<Rewound>, StateError> {
        let table = self.0.open_table(tables::REWOUND)?;
        table.get(queue.bytes())?.map(|row| Rewound::decode(row.value())).transpose()
    }
}

impl FollowStep<'_> {
    /// Keeps a rewind until it is confirmed. Gives it with those that were not confirmed before.
    pub(crate) fn add_rewound(&self, queue: &QueueId, rewound: Rewound) -> Result<Rewound, StateError> {
        let mut table = self.0.open_table(tables::REWOUND)?;
        let earlier = table.get(queue.bytes())?.map(|row| Rewound::decode(row.value())).transpose()?;
        let whole = match earlier {
            Some(earlier) => rewound.after(earlier),
            None => rewound,
        };
        table.insert(queue.bytes(), whole.encode().as_slice())?;
        Ok(whole)
    }

    /// The application knows of the rewinds that led up to `to`. A later one stays, with them.
    pub(crate) fn confirm_rewound(&self, queue: &QueueId, to: &Cursor) -> Result<(), StateError> {
        let mut table = self.0.open_table(tables::REWOUND)?;
        let is_told = table.get(queue.bytes())?.map(|row| Rewound::decode(row.value())).transpose()?.is_some_and(|row| row.to == *to);
        if is_told {
            table.remove(queue.bytes())?;
        }
        Ok(())
    }

    pub(super) fn remove_rewound(&self, queue: &QueueId) -> Result<(), StateError> {
        self.0.open_table(tables::REWOUND)?.remove(queue.bytes())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{HeadNumber, HeadRank, Offset, Term};

    use super::*;
    use crate::state::State;

    fn cursor(term: u64) -> Cursor {
        let start = Cursor::start(&QueueId::new([1; 32]));
        Cursor { rank: HeadRank { term: Term::new(term), number: HeadNumber::new(7) }, offset: Offset::new(9), ..start }
    }

    fn rewound(from: u64, to: u64, gone: &[&str], gone_count: u64) -> Rewound {
        let gone = gone.iter().map(|path| path.parse().expect("a path")).collect();
        Rewound { from: cursor(from), to: cursor(to), gone, gone_count }
    }

    #[test]
    fn a_rewind_is_kept_until_it_is_confirmed_and_joins_those_before() {
        let (state, queue) = (State::in_memory().expect("a state"), QueueId::new([1; 32]));
        let add = |row| state.write(|transaction| FollowStep(transaction).add_rewound(&queue, row)).expect("written");
        let confirm = |to| state.write(|transaction| FollowStep(transaction).confirm_rewound(&queue, &to)).expect("written");
        let kept = || state.read(|transaction| FollowView(transaction).rewound(&queue)).expect("read");

        assert_eq!(add(rewound(1, 2, &["/a", "/c"], 2)), rewound(1, 2, &["/a", "/c"], 2));
        let both = rewound(1, 3, &["/a", "/b", "/c"], 3);
        assert_eq!((add(rewound(2, 3, &["/a", "/b"], 2)), kept()), (both.clone(), Some(both)));
        confirm(cursor(2));
        assert!(kept().is_some(), "only the first of two was told");
        confirm(cursor(3));
        assert_eq!(kept(), None);
    }

    #[test]
    fn of_many_that_are_gone_the_first_are_named_and_all_counted() {
        let many = |prefix: &str| (0..REWOUND_GONE_MAX).map(|number| format!("/{prefix}/{number:05}").parse().expect("a path")).collect();
        let first = Rewound { gone: many("b"), gone_count: 20_000, ..rewound(1, 2, &[], 0) };
        let second = Rewound { gone: many("a"), gone_count: 10_000, ..rewound(2, 3, &[], 0) };
        let both = second.after(first);
        assert_eq!((both.gone.len(), both.gone_count), (REWOUND_GONE_MAX, 30_000));
        assert!(both.gone.last().is_some_and(|path| path.as_str().starts_with("/a/")));
        assert_eq!(Rewound::decode(&both.encode()).expect("a row"), both);
    }
}
