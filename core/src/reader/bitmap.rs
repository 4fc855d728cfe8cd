//! Bitmaps: what a raised floor may have purged unseen. [P-12]

use roaring::RoaringTreemap;
use tidings_proto::caps::BITMAP_BYTES_MAX;
use tidings_proto::frames::Bitmap;
use tidings_proto::{Birth, Offset};

use super::attempt::BitmapState;
use super::store::PAGE;
use super::{Fault, Reader, ReaderStore, Step};
use crate::head::SignedHead;

impl Reader {
    /// Takes a part of a bitmap. With the last part, what it does not list is dropped; nothing is ever added from it.
    pub fn on_bitmap<S: ReaderStore>(&mut self, part: &Bitmap, store: &mut S) -> Result<Step, S::Error> {
        let Some((head, live)) = self.join_bitmap(part) else { return self.contradiction(Fault::Bitmap, store) };
        let Some(live) = live else { return Ok(Step::Continue) };
        let covered = part.through.min(self.staging.position);
        self.drop_held(&live, covered, store)?;
        unstage_missing(&live, covered, store)?;
        if let Some(attempt) = &mut self.attempt {
            attempt.witness = head.head().floor;
            attempt.bitmap_floor = head.head().floor;
            attempt.renew_budget(&head);
        }
        Ok(Step::Continue)
    }

    /// Adds a part; gives the whole with the head it belongs to once it is there. `None` if the part fits nothing asked.
    fn join_bitmap(&mut self, part: &Bitmap) -> Option<(SignedHead, Option<RoaringTreemap>)> {
        let attempt = self.attempt.as_mut()?;
        let head = attempt.head().filter(|head| head.rank() == part.stamp)?.clone();
        let BitmapState::Asked { live, through } = &mut attempt.bitmap else { return None };
        if part.after != *through || part.through < part.after || part.live.len() > BITMAP_BYTES_MAX {
            return None;
        }
        let offsets = RoaringTreemap::deserialize_from(&mut part.live.as_ref()).ok()?;
        // Bounded by what the owner signed: no more offsets than live entries, none above the head, no part that covers nothing.
        let covers = part.through <= head.head().offset && (part.last || part.through > part.after);
        if !covers || live.len().saturating_add(offsets.len()) > head.head().live_count {
            return None;
        }
        let fits =
            offsets.min().is_none_or(|low| low > part.after.value()) && offsets.max().is_none_or(|high| high <= part.through.value());
        if !fits {
            return None;
        }
        *live |= offsets;
        *through = part.through;
        if !part.last {
            return Some((head, None));
        }
        let whole = std::mem::take(live);
        attempt.bitmap = BitmapState::Idle;
        Some((head, Some(whole)))
    }

    fn drop_held<S: ReaderStore>(&mut self, live: &RoaringTreemap, covered: Offset, store: &S) -> Result<(), S::Error> {
        let Some(attempt) = &mut self.attempt else { return Ok(()) };
        let mut after = Birth::ZERO;
        loop {
            let rows = store.held_after(after, PAGE)?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.birth;
            let gone = rows.iter().filter(|row| row.offset <= covered && !live.contains(row.offset.value()));
            attempt.dropped.extend(gone.map(|row| row.birth));
        }
    }
}

fn unstage_missing<S: ReaderStore>(live: &RoaringTreemap, covered: Offset, store: &mut S) -> Result<(), S::Error> {
    let mut after = Birth::ZERO;
    loop {
        let rows = store.staged_after(after, PAGE)?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.birth;
        for row in rows.iter().filter(|row| row.offset <= covered && !live.contains(row.offset.value())) {
            store.unstage(row.birth)?;
        }
    }
}
