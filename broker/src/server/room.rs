//! Memory for what was sent and is not known to have arrived. [P-19]
//!
//! QUIC keeps all of it until the peer says that it came, up to a window for each connection. The peer decides how long that is: one that
//! takes a catch-up and confirms nothing holds the whole window. So each connection has a small window, and larger ones, while there is
//! much to send, out of what all connections share. Where nothing is left of that, a catch-up is slower over a long path, and no other
//! harm is done.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What every connection has, bytes.
pub(super) const WINDOW_BYTES_MIN: usize = 64 * 1024;
/// The largest window of one connection, bytes: 320 Mbit/s over a path of 100 ms.
const WINDOW_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Shorter frames never widen a window: receipts, and news to readers who are up to date, which share their bytes.
const LONG_FRAME_BYTES: usize = 16 * 1024;

type SetWindow = Box<dyn Fn(usize) + Send + Sync>;

/// What all connections share.
#[derive(Clone, Debug)]
pub(super) struct SendBudget(Arc<Semaphore>);

impl SendBudget {
    /// So many bytes for all connections, beside their smallest windows.
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    /// The window of one connection, the smallest one now; `set` changes it.
    pub(super) fn for_connection(&self, set: impl Fn(usize) + Send + Sync + 'static) -> Arc<Room> {
        let window = Mutex::new(Window { share: None, streams: 0, sent: 0, narrowed: 0 });
        Arc::new(Room { budget: self.clone(), widened: AtomicBool::new(false), window, set: Box::new(set) })
    }
}

/// The window of one connection.
pub(super) struct Room {
    budget: SendBudget,
    /// It has a share, or a stream that wants one.
    widened: AtomicBool,
    window: Mutex<Window>,
    set: SetWindow,
}

struct Window {
    share: Option<OwnedSemaphorePermit>,
    /// Streams with much to send.
    streams: usize,
    /// What they sent since the first of them began, bytes.
    sent: usize,
    /// How often it was made narrow again.
    narrowed: u64,
}

impl Window {
    fn share_bytes(&self) -> usize {
        self.share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }
}

impl Room {
    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes as much as is wanted, or nothing more. Whether the window is another one then.
    fn widen(&self, window: &mut Window) -> bool {
        let wanted = (window.sent * 2).next_power_of_two().min(WINDOW_BYTES_MAX) - WINDOW_BYTES_MIN;
        let more = u32::try_from(wanted.saturating_sub(window.share_bytes())).unwrap_or(0);
        if more == 0 {
            return false;
        }
        let Ok(permit) = self.budget.0.clone().try_acquire_many_owned(more) else { return false };
        match &mut window.share {
            Some(share) => share.merge(permit),
            None => window.share = Some(permit),
        }
        true
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Room")
    }
}

/// What one stream has to do with the window of its connection.
#[derive(Debug)]
pub(super) struct Sending {
    room: Arc<Room>,
    /// There is much to send on this stream.
    much: bool,
    /// How often the window had been made narrow when the frame on its way was begun.
    begun: Option<u64>,
}

impl Sending {
    pub(super) fn new(room: Arc<Room>) -> Self {
        Self { room, much: false, begun: None }
    }

    /// A frame of so many bytes is about to be handed to the stream.
    pub(super) fn begins(&mut self, bytes: usize) {
        let long = bytes >= LONG_FRAME_BYTES;
        if !long && !self.room.widened.load(Ordering::Relaxed) {
            return;
        }
        let mut window = self.room.window();
        self.begun = Some(window.narrowed);
        if !long {
            return;
        }
        let was_narrow = window.streams == 0;
        if !std::mem::replace(&mut self.much, true) {
            window.streams += 1;
        }
        window.sent += bytes;
        self.room.widened.store(true, Ordering::Relaxed);
        // A share that is still taken from before is used again.
        if self.room.widen(&mut window) || was_narrow {
            (self.room.set)(WINDOW_BYTES_MIN + window.share_bytes());
        }
    }

    /// The frame was taken whole. If it was begun and taken while the window was the smallest, then less than that is on its way.
    pub(super) fn was_taken(&mut self) {
        let Some(begun) = self.begun.take() else { return };
        let mut window = self.room.window();
        if window.streams == 0 && begun == window.narrowed {
            window.share = None;
            self.room.widened.store(false, Ordering::Relaxed);
        }
    }

    /// The frame was taken back: that says nothing of what has arrived.
    pub(super) fn was_withdrawn(&mut self) {
        self.begun = None;
    }

    /// All was handed to the stream. Most of it may still be on its way, so the share stays taken; but nothing more is taken than the
    /// smallest window allows.
    pub(super) fn rests(&mut self) {
        if !std::mem::replace(&mut self.much, false) {
            return;
        }
        let mut window = self.room.window();
        window.streams -= 1;
        if window.streams == 0 {
            window.sent = 0;
            window.narrowed += 1;
            (self.room.set)(WINDOW_BYTES_MIN);
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.rests();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    const CHUNK: usize = 256 * 1024;
    const BROKER_BYTES_MAX: usize = 64 * 1024 * 1024;

    /// A connection and the window that it has.
    fn connection(budget: &SendBudget) -> (Arc<Room>, Arc<AtomicUsize>) {
        let window = Arc::new(AtomicUsize::new(WINDOW_BYTES_MIN));
        let set = window.clone();
        (budget.for_connection(move |bytes| set.store(bytes, Ordering::Relaxed)), window)
    }

    fn now(window: &AtomicUsize) -> usize {
        window.load(Ordering::Relaxed)
    }

    fn chunk(sending: &mut Sending) {
        sending.begins(CHUNK);
        sending.was_taken();
    }

    #[test]
    fn a_window_grows_with_what_is_sent_and_goes_back_when_that_has_arrived() {
        let budget = SendBudget::new(BROKER_BYTES_MAX);
        let (room, window) = connection(&budget);
        let mut sending = Sending::new(room);
        sending.begins(200);
        assert_eq!(now(&window), WINDOW_BYTES_MIN);
        chunk(&mut sending);
        assert_eq!(now(&window), 2 * CHUNK);
        (0..40).for_each(|_| chunk(&mut sending));
        assert_eq!(now(&window), WINDOW_BYTES_MAX);
        sending.rests();
        assert_eq!(
            (now(&window), budget.0.available_permits()),
            (WINDOW_BYTES_MIN, BROKER_BYTES_MAX - WINDOW_BYTES_MAX + WINDOW_BYTES_MIN)
        );
        // The peer confirmed enough for a frame to be taken again.
        sending.begins(200);
        sending.was_taken();
        assert_eq!(budget.0.available_permits(), BROKER_BYTES_MAX);
        chunk(&mut sending);
        assert_eq!(now(&window), 2 * CHUNK);
    }

    /// A frame that was begun in a wide window says nothing of what has arrived.
    #[test]
    fn a_share_stays_taken_until_a_frame_fits_into_the_smallest_window() {
        let budget = SendBudget::new(BROKER_BYTES_MAX);
        let (room, window) = connection(&budget);
        let (mut catching_up, mut live) = (Sending::new(room.clone()), Sending::new(room));
        (0..40).for_each(|_| chunk(&mut catching_up));
        live.begins(200);
        catching_up.rests();
        live.was_taken();
        assert_eq!(
            (now(&window), budget.0.available_permits()),
            (WINDOW_BYTES_MIN, BROKER_BYTES_MAX - WINDOW_BYTES_MAX + WINDOW_BYTES_MIN)
        );
        live.begins(200);
        live.was_withdrawn();
        live.was_taken();
        live.begins(200);
        assert_eq!(budget.0.available_permits(), BROKER_BYTES_MAX - WINDOW_BYTES_MAX + WINDOW_BYTES_MIN);
        live.was_taken();
        assert_eq!(budget.0.available_permits(), BROKER_BYTES_MAX);
    }

    #[test]
    fn two_streams_of_one_connection_share_its_window() {
        let budget = SendBudget::new(BROKER_BYTES_MAX);
        let (room, window) = connection(&budget);
        let (mut one, mut other) = (Sending::new(room.clone()), Sending::new(room));
        (0..40).for_each(|_| chunk(&mut one));
        (0..40).for_each(|_| chunk(&mut other));
        assert_eq!(now(&window), WINDOW_BYTES_MAX);
        drop(one);
        assert_eq!(now(&window), WINDOW_BYTES_MAX);
        drop(other);
        assert_eq!(now(&window), WINDOW_BYTES_MIN);
    }

    #[test]
    fn who_comes_when_nothing_is_left_has_the_smallest_window() {
        let budget = SendBudget::new(BROKER_BYTES_MAX);
        let greedy: Vec<_> = (0..17)
            .map(|_| {
                let (room, _) = connection(&budget);
                let mut sending = Sending::new(room);
                (0..40).for_each(|_| chunk(&mut sending));
                sending
            })
            .collect();
        assert!(budget.0.available_permits() < WINDOW_BYTES_MAX);
        let rest = budget.0.clone().try_acquire_many_owned(budget.0.available_permits() as u32).expect("it is there");
        let (room, window) = connection(&budget);
        let mut sending = Sending::new(room);
        (0..40).for_each(|_| chunk(&mut sending));
        assert_eq!(now(&window), WINDOW_BYTES_MIN);
        drop((greedy, rest));
        chunk(&mut sending);
        assert_eq!(now(&window), WINDOW_BYTES_MAX);
    }
}
