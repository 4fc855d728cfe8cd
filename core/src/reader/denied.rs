//! A refusal of access is believed only with the owner's signature behind it. [P-17]

use tidings_proto::{Refusal, RefusalCode};

use super::Reader;
use crate::access::AccessRow;
use crate::codec::Object;
use crate::head::SignedHead;
use crate::set_hash::{SetHash, SetKind};

impl Reader {
    /// Whether the owner's own access list, at a head not older than any seen, has no row for this reader.
    ///
    /// Anything less is a broker's word: it may refuse, but it cannot say in the owner's name that access has ended.
    pub fn is_denied(&self, refusal: &Refusal) -> bool {
        if refusal.code != RefusalCode::Denied {
            return false;
        }
        let Ok(head) = SignedHead::parse(refusal.head.clone()) else { return false };
        let owned = head.head().queue == self.queue && head.verify(&self.descriptor.signing_key).is_ok();
        let newest = head.rank() >= self.cursor.rank.max(self.staging.stamp);
        let mut list = SetHash::new(SetKind::Access);
        refusal.rows.iter().for_each(|row| list.add(row));
        let whole = list.root() == head.head().access_root && u32::try_from(refusal.rows.len()) == Ok(head.head().access_count);
        let own = self.pseudonym();
        let absent = refusal.rows.iter().all(|row| AccessRow::decode(row).is_ok_and(|row| row.pseudonym != own));
        owned && newest && whole && absent
    }
}
