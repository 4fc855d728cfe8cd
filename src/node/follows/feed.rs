//! What one watch is told of one follow.

use std::time::Duration;

use tidings_client::{CaughtUp, Rewound, VerdictReport, View};
use tidings_datastore::{Unprinted, Wanted};
use tidings_proto::{Offset, Timestamp};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::is_caught_up;
use super::kept_up::Lease;
use super::verdicts::Verdicts;
use crate::failure::Failure;
use crate::node::failures::follower_failure;

/// Changes that one watch prints at a time.
const CLAIM: usize = 256;
/// What happens within this time is looked at together: a look passes over all that waits.
const TOGETHER: Duration = Duration::from_millis(20);

/// News of a follow in their order: changes, the catch-up that they led to, the verdict about it; then what is fetched.
pub(crate) struct Feed {
    wanted: Wanted,
    view: watch::Receiver<View>,
    merged: watch::Receiver<Option<CaughtUp>>,
    progress: watch::Receiver<Option<(Offset, Offset)>>,
    rewound: watch::Receiver<Option<Rewound>>,
    changed: watch::Receiver<u64>,
    told_catch_up: Option<CaughtUp>,
    verdicts: Verdicts,
    told_progress: Option<(Offset, Offset)>,
    told_waiting: u64,
    lease: Lease,
}

/// One piece of news.
#[derive(Debug)]
pub(crate) enum News {
    /// Changes that no other watch is given, until this one has dropped them.
    Changes(Vec<Unprinted>),
    /// The newest announced head is verified, and its changes were told, except those whose values are on their way.
    CaughtUp(CaughtUp),
    /// The verdict is another one.
    Verdict(VerdictReport),
    /// The owner went on from an earlier head than the one held here, and that is verified; of when the view is.
    Rewound(Rewound, Timestamp),
    /// A delta has come to the first offset, and goes to the second. Told before what it brought.
    Progress(Offset, Offset),
    /// Of what was told to have been caught up with, so many values are still on their way; told when that changes.
    Waiting(u64),
}

impl Feed {
    pub(super) fn new(lease: Lease, wanted: Wanted) -> Self {
        let (view, merged, progress, changed) = (lease.view(), lease.merged(), lease.progress(), lease.changed());
        // What came before this watch is no progress.
        let (told_catch_up, told_progress) = (None, *lease.progress().borrow());
        let told_waiting = 0;
        let (rewound, verdicts) = (lease.rewound(), Verdicts::since(&lease.view().borrow()));
        Self { wanted, view, merged, progress, rewound, changed, told_catch_up, verdicts, told_progress, told_waiting, lease }
    }

    /// The next news; `None` once the follow has ended. Safe to cancel. Blocks for what it takes to look.
    ///
    /// # Errors
    /// The state fails.
    pub(crate) async fn next(&mut self) -> Result<Option<News>, Failure> {
        loop {
            let looked = Instant::now();
            self.changed.mark_unchanged();
            // Before the view: what led to a rewind is in it by then.
            let rewound = self.rewound.borrow_and_update().clone();
            let (view, merged) = (self.view.borrow_and_update().clone(), *self.merged.borrow_and_update());
            if let Some(news) = self.untold(&view, merged, rewound)? {
                return Ok(Some(news));
            }
            let goes_on = tokio::select! {
                changed = self.view.changed() => changed.is_ok(),
                changed = self.merged.changed() => changed.is_ok(),
                changed = self.progress.changed() => changed.is_ok(),
                changed = self.rewound.changed() => changed.is_ok(),
                changed = self.changed.changed() => changed.is_ok(),
                () = self.lease.ended() => false,
            };
            if !goes_on {
                return Ok(None);
            }
            sleep_until(looked + TOGETHER).await;
        }
    }

    /// Changes that were told are printed.
    ///
    /// # Errors
    /// The state fails; they come again.
    pub(crate) fn printed(&self, changes: &[Unprinted]) -> Result<(), Failure> {
        if self.lease.has_ended() { Ok(()) } else { self.lease.printed(changes).map_err(follower_failure) }
    }

    /// A person was told of a rewind.
    ///
    /// # Errors
    /// The state fails; it is told again.
    pub(crate) fn told(&self, rewound: &Rewound) -> Result<(), Failure> {
        if self.lease.has_ended() { Ok(()) } else { self.lease.told_rewound(rewound).map_err(follower_failure) }
    }

    /// Changes are told without their values from now on.
    pub(crate) fn wait_no_more(&mut self) {
        self.wanted = Wanted::NotNeeded;
    }

    /// The next changes, if there are any.
    ///
    /// # Errors
    /// The state fails.
    pub(crate) fn changes(&self) -> Result<Option<Vec<Unprinted>>, Failure> {
        let changes = self.lease.unprinted(self.wanted, CLAIM).map_err(follower_failure)?;
        Ok((!changes.is_empty()).then_some(changes))
    }

    /// What is known now.
    pub(crate) fn verdict(&self) -> VerdictReport {
        self.view.borrow().verdict.clone()
    }

    fn untold(&mut self, view: &View, merged: Option<CaughtUp>, rewound: Option<Rewound>) -> Result<Option<News>, Failure> {
        let progress = *self.progress.borrow_and_update();
        if let Some((staged, of)) = progress.filter(|progress| self.told_progress.replace(*progress) != Some(*progress)) {
            return Ok(Some(News::Progress(staged, of)));
        }
        if let Some(news) = rewound.and_then(|rewound| self.verdicts.rewound(view, rewound)) {
            return Ok(Some(news));
        }
        if let Some(changes) = self.changes()? {
            return Ok(Some(News::Changes(changes)));
        }
        // Before all else that is known: the view may be verified by now, by another route, and would show nothing of it.
        if let Some(accusation) = self.verdicts.accusation(view) {
            return Ok(Some(accusation));
        }
        // The follow may have caught up before this watch began, or again since: only with all that led there.
        let is_whole = merged == view.caught_up;
        let whole = merged.filter(|_| is_whole && is_caught_up(view));
        if let Some(caught_up) = whole.filter(|caught_up| self.told_catch_up != Some(*caught_up)) {
            self.told_catch_up = Some(caught_up);
            self.told_waiting = self.waiting()?;
            return Ok(Some(News::CaughtUp(caught_up)));
        }
        let waits = !is_whole && is_caught_up(view);
        if let Some(verdict) = (!waits && !is_silent(view)).then(|| self.verdicts.standing(view)).flatten() {
            return Ok(Some(verdict));
        }
        let waiting = if self.told_catch_up.is_some() { self.waiting()? } else { 0 };
        let before = std::mem::replace(&mut self.told_waiting, waiting);
        Ok((before != waiting).then_some(News::Waiting(waiting)))
    }

    /// Values that are on their way; none if nobody waits for them.
    pub(crate) fn waiting(&self) -> Result<u64, Failure> {
        match self.wanted {
            Wanted::Fetched => self.lease.fetches().map(|fetches| fetches.waiting).map_err(follower_failure),
            Wanted::NotNeeded => Ok(0),
        }
    }
}

/// Nothing was heard yet: the first attempt to reach somebody is under way. What stood before says nothing about now.
fn is_silent(view: &View) -> bool {
    view.blocks == 0 && view.caught_up.is_none()
}
