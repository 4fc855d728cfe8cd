//! One pass over all routes: what it came to, and which of them it went past.

use tidings_core::reader::Verdict;

/// From the first route until one has caught the reader up or the last one has failed.
#[derive(Default)]
pub(super) struct Round {
    /// The gravest reason so far.
    gravest: Option<(Verdict, String)>,
    /// Somebody answered, if only to refuse.
    pub(super) answered: bool,
    /// The first route that had not answered when one behind it did.
    pub(super) passed: Option<usize>,
    /// One route at a time from here on: what was gone past is asked after all.
    pub(super) in_turn: bool,
    /// The addresses are others since this round began.
    renewed: bool,
    /// That was reason once to begin at the first one.
    begun_anew: bool,
}

impl Round {
    /// One more reason why there is nothing newer.
    pub(super) fn note(&mut self, verdict: Verdict, detail: String) {
        if self.gravest.as_ref().is_none_or(|(before, _)| gravity(*before) < gravity(verdict)) {
            self.gravest = Some((verdict, detail));
        }
    }

    /// The addresses are others now.
    pub(super) fn renew(&mut self) {
        (self.renewed, self.passed) = (true, None);
    }

    /// Whether the first address is the next one: once in a round, whatever a broker sends that serves nothing.
    pub(super) fn begins_anew(&mut self) -> bool {
        std::mem::take(&mut self.renewed) && !std::mem::replace(&mut self.begun_anew, true)
    }

    /// Another one begins. What this one came to, and whether somebody answered.
    pub(super) fn end(&mut self) -> (Option<(Verdict, String)>, bool) {
        let Self { gravest, answered, .. } = std::mem::take(self);
        (gravest, answered)
    }

    /// A route serves: the reasons before are of no account.
    pub(super) fn serves(&mut self) {
        *self = Self { answered: self.answered, ..Self::default() };
    }
}

/// Which reason is reported if several routes fail for different ones.
fn gravity(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::UpToDate => 0,
        Verdict::Offline => 1,
        Verdict::Stale => 2,
        Verdict::Denied => 3,
        Verdict::TooNew => 4,
        _ => 5,
    }
}
