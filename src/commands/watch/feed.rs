//! One follow while it is watched.

use std::time::{Duration, Instant};

use tidings_client::{CaughtUp, Follow, Subscriber, VerdictReport};
use tidings_core::reader::Verdict;
use tidings_datastore::{Unprinted, Wanted};

use super::WatchArgs;
use super::event::Line;
use crate::args::Globals;
use crate::console::Progress;
use crate::failure::{Exit, Failure};
use crate::node::{self, News, Node, state_failure, verdict_exit, verdict_failure};
use crate::output::Form;
use crate::signal::Stop;

/// Prints the events of one follow.
pub(super) struct Feed {
    owner: String,
    news: node::Feed,
    form: Form,
    progress: Progress,
    until: Until,
    patience: Duration,
    /// Values that are fetched while this watches.
    fetching: Progress,
    /// The most values that were on their way at once.
    most: u64,
    /// The last verdict that was printed.
    printed: Option<VerdictReport>,
    /// The last verified head.
    caught_up: Option<CaughtUp>,
}

/// When a watch of one owner ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// Never.
    Stopped,
    /// When it has caught up and fetched, or cannot.
    CaughtUp,
}

/// How a watch of one owner ended.
#[derive(Debug)]
pub(super) struct Ended {
    owner: String,
    /// The verdict it ended with.
    report: VerdictReport,
    caught_up: bool,
}

impl Ended {
    /// The failure that this is, if it is one: a bad verdict, or no catch-up in time.
    pub(super) fn failure(mut self) -> Option<Failure> {
        let exit = match (verdict_exit(self.report.verdict), self.report.verdict) {
            (Some(exit), _) => exit,
            (None, _) if self.caught_up => return None,
            (None, Verdict::TooNew) => Exit::Failed,
            (None, _) => Exit::Unreachable,
        };
        if !self.caught_up && exit == Exit::Unreachable {
            late(&mut self.report);
        }
        let failure = verdict_failure(&self.report, "repeat later; what was printed is done, the rest is kept").exit(exit);
        Some(Failure { error: format!("{}: {}", self.owner, failure.error), ..failure })
    }
}

impl Feed {
    /// Begins to watch a follow, which is kept up from now on.
    pub(super) fn open(globals: &Globals, node: &Node, follow: &Follow, args: &WatchArgs) -> Result<Self, Failure> {
        let wanted = if args.no_fetch { Wanted::NotNeeded } else { Wanted::Fetched };
        Ok(Self {
            owner: follow.did.to_string(),
            news: node.kept_up.feed(follow.queue, wanted)?,
            form: globals.form(),
            progress: globals.console.progress(globals.progress, "catching up"),
            fetching: globals.console.progress(globals.progress, "fetching"),
            most: 0,
            until: if args.once { Until::CaughtUp } else { Until::Stopped },
            patience: globals.timeout,
            printed: None,
            caught_up: None,
        })
    }

    /// Prints every record that is here.
    pub(super) fn print_all(&self, node: &Node, follow: &Follow) -> Result<(), Failure> {
        let values = Subscriber::values(&node.state, &follow.queue, "").map_err(state_failure)?;
        let line = |value| Line::present(&self.owner, value, node.kept_up.is_fetched(&value.mutation)).print(&self.form);
        values.iter().try_for_each(line)
    }

    /// Prints events until it is stopped or, if only once, until it has caught up and fetched, or cannot.
    pub(super) async fn run(mut self, stop: Stop) -> Result<Ended, Failure> {
        let deadline = Instant::now() + self.patience;
        let mut is_last = false;
        while !is_last {
            is_last = tokio::select! {
                () = stop.wait() => true,
                () = tokio::time::sleep_until(deadline.into()), if self.until == Until::CaughtUp => true,
                news = self.news.next() => match news? {
                    Some(news) => self.take(news)?,
                    None => true,
                },
            };
        }
        self.progress.finish();
        self.fetching.finish();
        // A lie that was named is not made up for by another route that led to a verified view meanwhile.
        let lie = self.printed.clone().filter(|printed| verdict_exit(printed.verdict) == Some(Exit::Lie));
        let report = lie.unwrap_or_else(|| self.news.verdict());
        if self.until == Until::CaughtUp && !stop.is_set() {
            self.print_rest(&report)?;
        }
        Ok(Ended { owner: self.owner, report, caught_up: self.caught_up.is_some() })
    }

    /// Whether this was the last event of interest.
    fn take(&mut self, news: News) -> Result<bool, Failure> {
        match news {
            News::Changes(changes) => self.print_changes(&changes).map(|()| false),
            News::CaughtUp(caught_up) => {
                self.progress.finish();
                self.caught_up = Some(caught_up);
                match self.until {
                    Until::CaughtUp => self.fetched(self.news.waiting()?),
                    Until::Stopped => Line::caught_up(&self.owner, &caught_up).print(&self.form).map(|()| false),
                }
            }
            // The catch-up that is printed at the end says it.
            News::Verdict(report) if self.until == Until::CaughtUp && report.verdict == Verdict::UpToDate => Ok(false),
            News::Verdict(report) => {
                Line::verdict(&self.owner, &report).print(&self.form)?;
                let is_final = matches!(report.verdict, Verdict::Withheld | Verdict::Forked | Verdict::Denied | Verdict::TooNew);
                self.printed = Some(report);
                Ok(is_final && self.until == Until::CaughtUp)
            }
            News::Rewound(rewound, as_of) => {
                Line::rewound(&self.owner, &rewound, as_of).print(&self.form)?;
                self.news.told(&rewound).map(|()| false)
            }
            News::Progress(staged, of) => {
                self.progress.step(staged.value(), of.value());
                Ok(false)
            }
            News::Waiting(waiting) => self.fetched(waiting),
        }
    }

    /// So many values are on their way. Whether that was all.
    fn fetched(&mut self, waiting: u64) -> Result<bool, Failure> {
        self.most = self.most.max(waiting);
        match waiting {
            0 => {
                self.most = 0;
                self.fetching.finish();
            }
            _ => self.fetching.step(self.most - waiting, self.most),
        }
        Ok(waiting == 0 && self.until == Until::CaughtUp && self.caught_up.is_some())
    }

    /// Confirms only what is printed: what is not comes again. [P-15]
    fn print_changes(&mut self, changes: &[Unprinted]) -> Result<(), Failure> {
        for change in changes {
            Line::change(&self.owner, change).print(&self.form)?;
        }
        self.news.printed(changes)
    }

    /// At the end: what is verified is printed although its value did not come in time, and the catch-up that all of it led to.
    fn print_rest(&mut self, report: &VerdictReport) -> Result<(), Failure> {
        let Some(caught_up) = self.caught_up else { return self.print_late(report.clone()) };
        self.news.wait_no_more();
        while let Some(changes) = self.news.changes()? {
            self.print_changes(&changes)?;
        }
        Line::caught_up(&self.owner, &caught_up).print(&self.form)?;
        // One with a detail says more than that: from where, or how old.
        match self.printed.as_ref() != Some(report) && !report.detail.is_empty() {
            true => Line::verdict(&self.owner, report).print(&self.form),
            false => Ok(()),
        }
    }

    /// A script that reads only standard output must learn of it too.
    fn print_late(&self, mut report: VerdictReport) -> Result<(), Failure> {
        if self.printed.as_ref() == Some(&report) {
            return Ok(());
        }
        if verdict_exit(report.verdict).is_none_or(|exit| exit == Exit::Unreachable) && report.verdict != Verdict::TooNew {
            late(&mut report);
        }
        Line::verdict(&self.owner, &report).print(&self.form)
    }
}

/// What was known before says nothing about now.
fn late(report: &mut VerdictReport) {
    "not caught up in time".clone_into(&mut report.detail);
    report.verdict = Verdict::Offline;
}
