//! Damage that was met since the store was opened, told to the operator once for each queue.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tidings_proto::QueueId;

use super::super::{AFTER_DAMAGE, StoreError};

/// Queues that are told apart. Where a table's index is damaged, whoever asks for made-up queues could name any number of them.
pub(super) const TOLD_MAX: usize = 256;
/// Characters of what the database said.
const DETAIL_CHARS_MAX: usize = 512;

/// What was met.
#[derive(Debug, Default)]
pub(super) struct Damages {
    /// `None` for what is of no single queue.
    met: Mutex<BTreeSet<Option<QueueId>>>,
}

impl Damages {
    /// Tells the operator of an error that is damage, unless damage of that queue was told before, and gives it back.
    pub(super) fn told(&self, error: StoreError) -> StoreError {
        if let StoreError::Damaged { queue, detail } = &error {
            self.tell(*queue, detail);
        }
        error
    }

    pub(super) fn tell(&self, queue: Option<QueueId>, detail: &str) {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        if met.len() > TOLD_MAX || !met.insert(queue) {
            return;
        }
        if met.len() > TOLD_MAX {
            tracing::error!("more queues are damaged and not named here: `tidings broker inspect` names them; {AFTER_DAMAGE}");
            return;
        }
        let detail: String = detail.chars().take(DETAIL_CHARS_MAX).collect();
        match queue {
            Some(queue) => tracing::error!(%queue, detail, "stored data of this queue is damaged; {AFTER_DAMAGE}"),
            None => tracing::error!(detail, "stored data is damaged; {AFTER_DAMAGE}"),
        }
    }

    /// In how many queues; no more are counted than are told apart, and one more.
    pub(super) fn count(&self) -> usize {
        self.met.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_of_damage_is_bounded() {
        let damages = Damages::default();
        let damage = |number: u16| {
            let mut id = [0; 32];
            id[..2].copy_from_slice(&number.to_be_bytes());
            StoreError::Damaged { queue: Some(QueueId::new(id)), detail: "rubbish".repeat(1_000) }
        };
        for number in 0..2_000 {
            assert_eq!(damages.told(damage(number % 1_000)), damage(number % 1_000));
        }
        assert_eq!(damages.count(), TOLD_MAX + 1);
    }

    #[test]
    fn nothing_but_damage_is_counted() {
        let damages = Damages::default();
        damages.told(StoreError::Poisoned);
        assert_eq!(damages.count(), 0);
        damages.tell(None, "rubbish");
        damages.tell(None, "other rubbish");
        assert_eq!(damages.count(), 1);
    }
}
