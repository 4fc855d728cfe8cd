//! One follow while it is watched.

use std::time::{Duration, Instant};

use tidings_client::{CaughtUp, ChangeId, Event, Follow, Subscriber, VerdictReport};
use tidings_core::reader::{Change, Verdict};

use super::event::Line;
use crate::args::Globals;
use crate::failure::{Exit, Failure};
use crate::node::{Node, follow_failure, state_failure, verdict_exit, verdict_failure};
use crate::output::Form;
use crate::progress::Progress;
use crate::signal::Stop;

/// Prints the events of one follow.
pub(super) struct Feed {
    owner: String,
    subscriber: Subscriber,
    form: Form,
    progress: Progress,
    until: Until,
    patience: Duration,
}

/// When a watch of one owner ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// Never.
    Stopped,
    /// When it has caught up or cannot.
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
            "not caught up in time".clone_into(&mut self.report.detail);
            self.report.verdict = Verdict::Offline;
        }
        let failure = verdict_failure(&self.report, "repeat later; what was printed is done, the rest is kept").exit(exit);
        Some(Failure { error: format!("{}: {}", self.owner, failure.error), ..failure })
    }
}

impl Feed {
    /// Starts to keep up a follow.
    pub(super) fn open(globals: &Globals, node: &Node, follow: &Follow, once: bool) -> Result<Self, Failure> {
        Ok(Self {
            owner: follow.did.to_string(),
            subscriber: node.subscriber(follow.queue)?,
            form: globals.form(),
            progress: Progress::new(globals.progress, "catching up"),
            until: if once { Until::CaughtUp } else { Until::Stopped },
            patience: globals.timeout,
        })
    }

    /// Prints every record that is here.
    pub(super) fn print_all(&self) -> Result<(), Failure> {
        let values = self.subscriber.list("").map_err(state_failure)?;
        values.iter().try_for_each(|value| Line::present(&self.owner, value).print(self.form))
    }

    /// Prints events until it is stopped or, if only once, until it has caught up or cannot.
    pub(super) async fn run(mut self, stop: Stop) -> Result<Ended, Failure> {
        let deadline = Instant::now() + self.patience;
        let mut caught_up = false;
        loop {
            let is_last = tokio::select! {
                () = stop.wait() => true,
                () = tokio::time::sleep_until(deadline.into()), if self.until == Until::CaughtUp => true,
                event = self.subscriber.next() => match event {
                    Some(event) => {
                        caught_up |= matches!(event, Event::CaughtUp(_));
                        self.take(event)?
                    }
                    None => true,
                },
            };
            if is_last {
                break;
            }
        }
        self.progress.finish();
        let report = self.subscriber.status().map_err(follow_failure)?.verdict;
        self.subscriber.close().await;
        Ok(Ended { owner: self.owner, report, caught_up })
    }

    /// Whether this was the last event of interest.
    fn take(&mut self, event: Event) -> Result<bool, Failure> {
        match event {
            Event::Changes(changes) => self.print_changes(&changes).map(|()| false),
            Event::CaughtUp(caught_up) => self.print_caught_up(&caught_up),
            Event::Verdict(report) => {
                Line::verdict(&self.owner, &report).print(self.form)?;
                let is_final = matches!(report.verdict, Verdict::Withheld | Verdict::Forked | Verdict::Denied | Verdict::TooNew);
                Ok(is_final && self.until == Until::CaughtUp)
            }
            Event::Progress { staged, of, .. } => {
                self.progress.step(staged.value(), of.value());
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// Acknowledges only what is printed: what is not comes again. [P-15]
    fn print_changes(&self, changes: &[Change]) -> Result<(), Failure> {
        for change in changes {
            Line::change(&self.owner, change).print(self.form)?;
        }
        let printed: Vec<_> = changes.iter().map(ChangeId::from).collect();
        self.subscriber.acknowledge(&printed).map_err(state_failure)
    }

    fn print_caught_up(&mut self, caught_up: &CaughtUp) -> Result<bool, Failure> {
        self.progress.finish();
        Line::caught_up(&self.owner, caught_up).print(self.form)?;
        Ok(self.until == Until::CaughtUp)
    }
}
