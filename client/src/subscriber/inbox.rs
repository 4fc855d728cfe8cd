//! Between the task and the application: bounded, and the task never waits for it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tidings_core::reader::Verdict;
use tidings_proto::Timestamp;
use tokio::sync::{Notify, watch};

use super::event::{CaughtUp, Event, VerdictReport, View};

/// Events that wait; beyond that the oldest ones go that neither accuse nor tell of a rewound queue.
const EVENTS_MAX: usize = 64;

/// What the application has not taken yet.
pub(super) struct Inbox {
    inner: Mutex<Inner>,
    changed: Notify,
    view: watch::Sender<View>,
}

#[derive(Default)]
struct Inner {
    events: VecDeque<Event>,
    /// Changes may be handed out.
    open: bool,
    /// Changes may wait that were not looked at.
    changes: bool,
    caught_up: Option<CaughtUp>,
    /// The last verdict that stood in the way, and how many there were.
    blocked: Option<VerdictReport>,
    blocks: u64,
    /// This session has told a verdict. The first one is told even if the session before told the same.
    told: bool,
    ended: bool,
}

/// What the application does next.
pub(super) enum Next {
    /// Look for changes.
    Changes,
    Event(Event),
    Wait,
    Ended,
}

impl Inbox {
    pub(super) fn new(verdict: VerdictReport) -> Self {
        let view = View { verdict, caught_up: None, connected: false, blocks: 0, accused: None };
        Self { inner: Mutex::new(Inner { changes: true, ..Inner::default() }), changed: Notify::new(), view: watch::Sender::new(view) }
    }

    pub(super) fn view(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    /// A subscription began or ended.
    pub(super) fn connected(&self, connected: bool) {
        self.view.send_if_modified(|view| std::mem::replace(&mut view.connected, connected) != connected);
    }

    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A delta was committed.
    pub(super) fn accepted(&self, changes: bool, caught_up: Option<CaughtUp>) {
        self.with(|inner| {
            inner.changes |= changes;
            if let Some(caught_up) = caught_up {
                inner.open = true;
                inner.blocked = None;
                inner.caught_up = Some(caught_up);
                inner.push(Event::CaughtUp(caught_up));
            }
        });
        if caught_up.is_some() {
            self.view.send_modify(|view| view.caught_up = caught_up);
        }
        self.changed.notify_waiters();
    }

    /// Somebody was caught now, whatever is known already.
    pub(super) fn accused(&self, report: &VerdictReport) {
        self.view.send_modify(|view| {
            let before = view.accused.as_ref().map_or(0, |(count, _)| *count);
            view.accused = Some((before + 1, report.clone()));
        });
    }

    /// A verdict changed; `blocks` if it is in the way of catching up.
    pub(super) fn verdict(&self, report: &VerdictReport, blocks: bool, news: bool) {
        self.with(|inner| {
            if blocks {
                inner.open = true;
                inner.blocked = Some(report.clone());
                inner.blocks += 1;
            }
            if !std::mem::replace(&mut inner.told, true) || news {
                inner.push(Event::Verdict(report.clone()));
            }
        });
        self.view.send_modify(|view| {
            view.verdict = report.clone();
            view.blocks += u64::from(blocks);
        });
        self.changed.notify_waiters();
    }

    /// Something happened that is no verdict.
    pub(super) fn tell(&self, event: Event) {
        self.with(|inner| inner.push(event));
        self.changed.notify_waiters();
    }

    pub(super) fn end(&self) {
        self.with(|inner| inner.ended = true);
        self.connected(false);
        self.changed.notify_waiters();
    }

    /// Nothing was found the last time somebody looked.
    pub(super) fn more_changes(&self) {
        self.with(|inner| inner.changes = true);
    }

    pub(super) fn next(&self) -> Next {
        self.with(|inner| {
            if inner.open && std::mem::take(&mut inner.changes) {
                return Next::Changes;
            }
            match inner.events.pop_front() {
                Some(event) => Next::Event(event),
                None if inner.ended => Next::Ended,
                None => Next::Wait,
            }
        })
    }

    /// Caught up, or a verdict that was not reported through `seen` before. `None`: wait.
    pub(super) fn caught_up(&self, seen: &mut u64) -> Option<Result<CaughtUp, VerdictReport>> {
        self.with(|inner| {
            if let Some(caught_up) = inner.caught_up {
                return Some(Ok(caught_up));
            }
            if inner.ended {
                return Some(Err(ended()));
            }
            if inner.blocks == *seen {
                return None;
            }
            *seen = inner.blocks;
            inner.blocked.clone().map(Err)
        })
    }

    /// Waits until something changes after this was called and first polled.
    pub(super) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }
}

fn ended() -> VerdictReport {
    VerdictReport { verdict: Verdict::Offline, as_of: Timestamp::ZERO, detail: "the subscriber has ended".into(), evidence: None }
}

impl Inner {
    fn push(&mut self, event: Event) {
        let same_kind = |last: &Event| {
            matches!((last, &event), (Event::Progress { .. }, Event::Progress { .. }) | (Event::CaughtUp(_), Event::CaughtUp(_)))
        };
        if self.events.back().is_some_and(same_kind) {
            self.events.pop_back();
        }
        if self.events.len() >= EVENTS_MAX {
            let dispensable = self.events.iter().position(|event| match event {
                Event::Verdict(report) => report.evidence.is_none(),
                event => !matches!(event, Event::Rewound { .. }),
            });
            self.events.remove(dispensable.unwrap_or(0));
        }
        self.events.push_back(event);
    }
}
