//! Values that say when they were due, so that a reader knows how long they were on their way.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tidings_core::reader::Change;
use tidings_core::{Mutation, Object};

/// Shortest value: a stamp and nothing else, bytes.
pub(super) const STAMP_BYTES: usize = 8;

/// Time in values: nanoseconds since the run began, 0 for what is not measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamps {
    began: Instant,
}

impl Stamps {
    /// A clock that begins now.
    pub(super) fn begin() -> Self {
        Self { began: Instant::now() }
    }

    /// A value of `size` bytes, at least [`STAMP_BYTES`]. `None`: it is not measured.
    pub(super) fn value(&self, due: Option<Instant>, size: usize) -> Bytes {
        let passed = due.map_or(0, |due| u64::try_from(due.duration_since(self.began).as_nanos()).unwrap_or(u64::MAX).max(1));
        let mut value = vec![b'.'; size.max(STAMP_BYTES)];
        value[..STAMP_BYTES].copy_from_slice(&passed.to_be_bytes());
        value.into()
    }

    /// When the value of a change was due; `None` if it is not measured or none of this run.
    pub(super) fn due(&self, change: &Change) -> Option<Instant> {
        let value = Mutation::decode(&change.mutation).ok()?.inline?;
        let passed = u64::from_be_bytes(*value.first_chunk::<STAMP_BYTES>()?);
        (passed > 0).then(|| self.began.checked_add(Duration::from_nanos(passed)))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::reader::ChangeKind;
    use tidings_core::{Operation, Version};
    use tidings_proto::{Offset, Term};

    fn change(value: Bytes) -> Change {
        let path: tidings_core::RecordPath = "/a".parse().expect("a path");
        let mutation = Mutation {
            path: path.clone(),
            operation: Operation::Create,
            version: Version::ZERO,
            object: None,
            inline: Some(value),
            headers: Vec::new(),
            unknown: Vec::new(),
        };
        Change { path, kind: ChangeKind::Create, term: Term::new(1), offset: Offset::new(1), mutation: mutation.encode().into() }
    }

    #[test]
    fn a_reader_finds_when_a_value_was_due() {
        let stamps = Stamps::begin();
        let due = stamps.began + Duration::from_micros(1_500);
        let value = stamps.value(Some(due), 256);
        assert_eq!((value.len(), stamps.due(&change(value))), (256, Some(due)));
        assert_eq!(stamps.due(&change(stamps.value(None, 256))), None);
    }
}
