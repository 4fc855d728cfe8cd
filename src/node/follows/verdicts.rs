//! Which verdicts one watch was told of, so that each is told once, and a rewind after what it rests on.

use tidings_client::{Rewound, VerdictReport, View};
use tidings_core::reader::Verdict;

use super::News;

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    last: Option<VerdictReport>,
    /// The last accusation of a rewind.
    rewind: Option<VerdictReport>,
    /// How many accusations of this session.
    accusations: u64,
    rewound: Option<Rewound>,
}

impl Verdicts {
    /// Of a watch that begins. An accusation of before is told by the verdict, if it stands, or with what a rewind came to.
    pub(super) fn since(view: &View) -> Self {
        Self { accusations: view.accused.as_ref().map_or(0, |(count, _)| *count), ..Self::default() }
    }

    /// What is to be told now of a rewind that is verified: the accusation with its evidence, then what it came to. [P-14]
    pub(super) fn rewound(&mut self, view: &View, rewound: Rewound) -> Option<News> {
        if self.rewound.as_ref() == Some(&rewound) {
            return None;
        }
        if let Some(found) = rewind(view).filter(|found| self.rewind.as_ref() != Some(*found)) {
            return Some(self.tell(view, found));
        }
        self.rewound = Some(rewound.clone());
        Some(News::Rewound(rewound, view.verdict.as_of))
    }

    /// An accusation of this session that was not told.
    pub(super) fn accusation(&mut self, view: &View) -> Option<News> {
        let untold = view.accused.as_ref().filter(|(count, _)| *count > self.accusations);
        untold.map(|(_, accusation)| self.tell(view, accusation))
    }

    /// The verdict that stands, if it is another one.
    pub(super) fn standing(&mut self, view: &View) -> Option<News> {
        let is_told = [&self.last, &self.rewind].into_iter().flatten().any(|told| *told == view.verdict);
        (!is_told).then(|| self.tell(view, &view.verdict))
    }

    fn tell(&mut self, view: &View, report: &VerdictReport) -> News {
        if let Some((count, _)) = view.accused.as_ref().filter(|(_, accusation)| accusation == report) {
            self.accusations = *count;
        }
        if report.verdict == Verdict::Rewound {
            self.rewind = Some(report.clone());
        }
        self.last = Some(report.clone());
        News::Verdict(report.clone())
    }
}

/// The accusation that a rewind rests on: the last one of this session, else the one that stood at its begin.
fn rewind(view: &View) -> Option<&VerdictReport> {
    let known = view.accused.iter().map(|(_, accusation)| accusation).chain([&view.verdict]);
    known.into_iter().find(|report| report.verdict == Verdict::Rewound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::Cursor;
    use tidings_proto::{QueueId, Timestamp};

    fn report(verdict: Verdict) -> VerdictReport {
        let evidence = (verdict == Verdict::Rewound).then(|| "evidence".into());
        VerdictReport { verdict, as_of: Timestamp::ZERO, detail: String::new(), evidence }
    }

    fn view(verdict: Verdict, accused: Option<Verdict>) -> View {
        let accused = accused.map(|accused| (1, report(accused)));
        View { verdict: report(verdict), caught_up: None, connected: true, blocks: 1, accused }
    }

    fn rewound() -> Rewound {
        let start = Cursor::start(&QueueId::new([1; 32]));
        Rewound { from: start, to: start, gone: vec!["/seen".parse().expect("a path")], gone_count: 1 }
    }

    /// Each line until there is nothing more to tell: the word of the verdict, or `gone`.
    fn told(verdicts: &mut Verdicts, view: &View, is_verified: bool) -> Vec<&'static str> {
        let mut next = || {
            let news = is_verified.then(|| verdicts.rewound(view, rewound())).flatten();
            news.or_else(|| verdicts.accusation(view)).or_else(|| verdicts.standing(view))
        };
        let word = |news| match news {
            News::Verdict(report) => report.verdict.word(),
            _ => "gone",
        };
        std::iter::from_fn(|| next().map(word)).take(8).collect()
    }

    /// [P-14] What a rewind came to has a channel of its own, and was once told before the accusation, or in its place.
    #[test]
    fn the_accusation_comes_before_what_a_rewind_came_to_and_once() {
        let both = view(Verdict::UpToDate, Some(Verdict::Rewound));
        assert_eq!(told(&mut Verdicts::default(), &both, true), ["rewound", "gone", "up-to-date"]);
        let mut verdicts = Verdicts::default();
        assert_eq!(told(&mut verdicts, &view(Verdict::Rewound, Some(Verdict::Rewound)), false), ["rewound"]);
        assert_eq!(told(&mut verdicts, &view(Verdict::Offline, Some(Verdict::Rewound)), false), ["offline"]);
        assert_eq!(told(&mut verdicts, &both, true), ["gone", "up-to-date"]);
    }

    /// It was found before this watch began, in this session or an earlier one.
    #[test]
    fn an_accusation_of_before_is_told_with_what_it_came_to_and_not_after_it() {
        let found = view(Verdict::UpToDate, Some(Verdict::Rewound));
        assert_eq!(told(&mut Verdicts::since(&found), &found, true), ["rewound", "gone", "up-to-date"]);
        let stands = view(Verdict::Rewound, None);
        assert_eq!(told(&mut Verdicts::since(&stands), &stands, true), ["rewound", "gone"]);
    }

    #[test]
    fn another_accusation_is_not_lost_to_a_rewind() {
        let lie = view(Verdict::Rewound, Some(Verdict::Withheld));
        assert_eq!(told(&mut Verdicts::default(), &lie, true), ["rewound", "gone", "withheld"]);
    }
}
