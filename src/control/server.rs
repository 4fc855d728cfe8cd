//! Takes callers for the node that this process runs.

use std::collections::BTreeMap;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::frame::{Frame, Kind};
use super::session;
use super::socket::{self, Bound};
use crate::failure::Failure;
use crate::node::Running;

/// Commands that are carried out at once.
const CALLERS_MAX: usize = 64;
/// How long the commands of callers may take to end when the node does.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves callers until it is closed.
pub(crate) struct Server {
    accepting: JoinHandle<()>,
    callers: Callers,
    bound: Bound,
}

impl Server {
    /// Listens in the home of the node, and begins to serve on the current runtime.
    ///
    /// # Errors
    /// The home cannot hold a socket: commands wait for each other, as without it.
    pub(crate) fn start(running: &Arc<Running>) -> Result<Self, Failure> {
        let failed = |error| Failure::new(format!("no socket for other commands can be had: {error}"), "they wait until this one ends");
        let (listener, bound) = socket::listen(running.home.folder()).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        let callers = Callers::default();
        let accepting = tokio::spawn(accept(listener, callers.clone(), Arc::clone(running)));
        Ok(Self { accepting, callers, bound })
    }

    /// Takes no more callers, asks the commands that run to end, and cuts off those that do not.
    pub(crate) async fn close(self) {
        self.accepting.abort();
        let _ = self.accepting.await;
        drop(self.bound);
        self.callers.each(|caller| {
            caller.stop.send_replace(true);
        });
        if !self.callers.ended(FAREWELL).await {
            self.callers.each(|caller| drop(caller.stream.shutdown(Shutdown::Both)));
            self.callers.ended(FAREWELL).await;
        }
    }
}

async fn accept(listener: UnixListener, callers: Callers, running: Arc<Running>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(error) = callers.begin(stream, &running) {
                    tracing::warn!(%error, "a caller cannot be served");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "callers cannot be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Who is served. Clones are the same.
#[derive(Clone, Default)]
struct Callers {
    open: Arc<Mutex<BTreeMap<u64, Caller>>>,
    count: watch::Sender<usize>,
}

struct Caller {
    stream: UnixStream,
    stop: watch::Sender<bool>,
}

impl Callers {
    fn begin(&self, stream: tokio::net::UnixStream, running: &Arc<Running>) -> std::io::Result<()> {
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        let (stop, _) = watch::channel(false);
        let caller = Caller { stream: stream.try_clone()?, stop: stop.clone() };
        let Some(number) = self.add(caller) else {
            // Five bytes always fit into a new socket.
            return Frame::new(Kind::Full, Vec::new()).write(&mut &stream);
        };
        let (callers, running) = (self.clone(), Arc::clone(running));
        let begun = std::thread::Builder::new().name("caller".into()).spawn(move || {
            let _place = Place { callers, number };
            session::serve(stream, running, stop);
        });
        begun.map(drop).inspect_err(|_| self.remove(number))
    }

    /// A number for a caller, if there is room.
    fn add(&self, caller: Caller) -> Option<u64> {
        let mut open = self.lock();
        if open.len() >= CALLERS_MAX {
            return None;
        }
        let number = open.last_key_value().map_or(0, |(last, _)| last + 1);
        open.insert(number, caller);
        self.count.send_replace(open.len());
        Some(number)
    }

    fn remove(&self, number: u64) {
        let mut open = self.lock();
        open.remove(&number);
        self.count.send_replace(open.len());
    }

    fn each(&self, act: impl FnMut(&Caller)) {
        self.lock().values().for_each(act);
    }

    /// Whether all of them ended within `patience`.
    async fn ended(&self, patience: Duration) -> bool {
        let mut count = self.count.subscribe();
        let ended = tokio::time::timeout(patience, count.wait_for(|count| *count == 0)).await;
        matches!(ended, Ok(Ok(_)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Caller>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Given back however serving ends.
struct Place {
    callers: Callers,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.callers.remove(self.number);
    }
}
