//! Between the task and the application: bounded, and the task never waits for it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tidings_core::reader::{Change, Verdict};
use tidings_proto::Timestamp;
use tokio::sync::{Notify, watch};

use super::event::{CaughtUp, Event, VerdictReport, View};
use crate::state::Rewound;

/// Events that wait; beyond that the oldest ones go that accuse nobody.
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
    /// What the application is told before all else.
    rewound: Option<Rewound>,
    /// Changes may be handed out.
    open: bool,
    /// Changes may wait that were not looked at.
    changes: bool,
    /// Handed out already, for whoever takes next.
    ready: Vec<Change>,
    /// The application found nothing when it looked last.
    listening: bool,
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
    /// These changes, which are handed out already.
    Ready(Vec<Change>),
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

    /// Whether changes may be handed out in the step that brings them, because the application waits for them and has had all earlier
    /// ones: `None` if not, otherwise whether that is so before this session has caught up. [P-15]
    pub(super) fn listening(&self) -> Option<bool> {
        self.with(|inner| (inner.listening && inner.ready.is_empty() && !(inner.open && inner.changes)).then_some(inner.open))
    }

    /// Changes were handed out; if there are no `more`, none wait beside them.
    pub(super) fn handed_out(&self, changes: Vec<Change>, more: bool) {
        self.with(|inner| (inner.ready, inner.changes) = (changes, more));
    }

    /// A delta was committed. `changes`: some may wait that are not handed out.
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

    /// The owner went on from an earlier head; with all that the application has not confirmed of that.
    pub(super) fn rewound(&self, rewound: Rewound) {
        self.with(|inner| inner.rewound = Some(rewound));
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
            let next = inner.next();
            inner.listening = matches!(next, Next::Wait);
            next
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
    fn next(&mut self) -> Next {
        if let Some(rewound) = self.rewound.take() {
            return Next::Event(Event::Rewound(rewound));
        }
        if self.open && !self.ready.is_empty() {
            return Next::Ready(std::mem::take(&mut self.ready));
        }
        if self.open && std::mem::take(&mut self.changes) {
            return Next::Changes;
        }
        match self.events.pop_front() {
            Some(event) => Next::Event(event),
            None if self.ended => Next::Ended,
            None => Next::Wait,
        }
    }

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
                _ => true,
            });
            self.events.remove(dispensable.unwrap_or(0));
        }
        self.events.push_back(event);
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::Cursor;
    use tidings_core::reader::ChangeKind;
    use tidings_proto::{Offset, QueueId, Term};

    use super::*;

    fn change() -> Change {
        let path = "/a".parse().expect("a path");
        Change { path, kind: ChangeKind::Create, term: Term::new(1), offset: Offset::new(1), mutation: bytes::Bytes::new() }
    }

    fn caught_up() -> CaughtUp {
        CaughtUp { cursor: Cursor::start(&QueueId::new([1; 32])), entries: 1, bytes: 1, as_of: Timestamp::ZERO }
    }

    fn inbox() -> Inbox {
        Inbox::new(ended())
    }

    /// [P-15] An application that never asks sees nothing, so nothing is called seen.
    #[test]
    fn nobody_listens_before_something_was_asked_for_and_not_found() {
        let inbox = inbox();
        assert_eq!(inbox.listening(), None);
        assert!(matches!(inbox.next(), Next::Wait));
        assert_eq!(inbox.listening(), Some(false));
        inbox.accepted(false, Some(caught_up()));
        // What waited from before this session was not looked at.
        assert_eq!(inbox.listening(), None);
    }

    #[test]
    fn what_was_handed_out_comes_before_the_event_of_its_delta_and_then_what_more_there_is() {
        for more in [false, true] {
            let inbox = inbox();
            assert!(matches!(inbox.next(), Next::Wait));
            inbox.handed_out(vec![change()], more);
            inbox.accepted(false, Some(caught_up()));
            assert_eq!(inbox.listening(), None);
            assert!(matches!(inbox.next(), Next::Ready(changes) if changes == [change()]));
            assert_eq!(matches!(inbox.next(), Next::Changes), more);
        }
    }
}
