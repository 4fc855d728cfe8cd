//! The file system where processes see it, and what is done to it from outside.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fuser::{BackgroundSession, Config, Errno, MountOption};

use super::chance::Chance;
use super::kernel::Kernel;
use super::rules::{Operation, Rule};
use super::tree::{Keep, Names, Tree};

/// Longest wait for a failure that was ordered.
const LONG: Duration = Duration::from_secs(90);

/// A mounted file system; it ends when this is dropped.
pub(crate) struct Disk {
    shared: Arc<Shared>,
    session: Option<BackgroundSession>,
    place: PathBuf,
}

/// What the kernel and the test look at.
pub(super) struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
}

/// All of a file system.
pub(super) struct Inner {
    pub(super) tree: Tree,
    pub(super) rules: Vec<Rule>,
    pub(super) capacity: Option<u64>,
    pub(super) names: Names,
    pub(super) lies: bool,
    power: Power,
    /// Changes and syncs that were asked for.
    steps: u64,
    /// Operations that were made to fail.
    failures: u64,
    /// Before this one everything stops.
    stop_before: Option<u64>,
    /// And before one like this on a path that ends so.
    stop_at: Option<(Operation, &'static str)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    On,
    /// Nobody gets an answer.
    Stopped,
    /// Everybody gets an error: who asks is about to end.
    Off,
}

impl Disk {
    /// Mounts an empty file system at `place`, which is made. `None` where that is not possible; then a line says so.
    pub(crate) fn mount(place: &Path) -> Option<Self> {
        std::fs::create_dir_all(place).expect("a folder to mount at");
        let shared = Arc::new(Shared::new());
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("tidings-power".to_owned()), MountOption::NoAtime];
        let mounted = if Path::new("/dev/fuse").exists() {
            fuser::spawn_mount(Kernel(shared.clone()), place, &config)
        } else {
            Err(io::ErrorKind::NotFound.into())
        };
        match mounted {
            Ok(session) => Some(Self { shared, session: Some(session), place: place.to_owned() }),
            Err(error) => {
                // Past the harness, which shows nothing of a test that passes.
                let _ = writeln!(io::stderr(), "skipped 1: no file system can be mounted with FUSE here ({error})");
                None
            }
        }
    }

    /// Where it is.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// What makes names durable from now on.
    pub(crate) fn set_names(&self, names: Names) {
        self.shared.lock().names = names;
    }

    /// Whether it says of every sync that it was done, and does nothing.
    pub(crate) fn set_lies(&self, lies: bool) {
        self.shared.lock().lies = lies;
    }

    /// Bytes that all files together may have.
    pub(crate) fn set_capacity(&self, capacity: Option<u64>) {
        self.shared.lock().capacity = capacity;
    }

    /// Bytes that all files together have.
    pub(crate) fn used(&self) -> u64 {
        self.shared.lock().tree.used()
    }

    /// Fails what the rule says.
    pub(crate) fn add(&self, rule: Rule) {
        self.shared.lock().rules.push(rule);
    }

    /// Waits until so many operations have failed, by a rule or for want of space.
    pub(crate) fn wait_for_failures(&self, failures: u64) {
        let deadline = Instant::now() + LONG;
        let mut inner = self.shared.lock();
        while inner.failures < failures {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nothing failed");
            inner = self.shared.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Stops everything after `steps` more changes and syncs, or after `patience`: nobody gets an answer any more. Whoever uses it is
    /// to be killed then, without waiting for the end, before [`Self::cut`].
    pub(crate) fn stop_after(&self, steps: u64, patience: Duration) {
        let mut inner = self.shared.lock();
        inner.stop_before = Some(inner.steps + steps + 1);
        self.wait_until_stopped(inner, patience);
    }

    /// The same before an operation on a path that ends so.
    pub(crate) fn stop_at(&self, operation: Operation, ending: &'static str) {
        let mut inner = self.shared.lock();
        inner.stop_at = Some((operation, ending));
        self.wait_until_stopped(inner, LONG);
    }

    fn wait_until_stopped<'a>(&'a self, mut inner: MutexGuard<'a, Inner>, patience: Duration) {
        let deadline = Instant::now() + patience;
        while inner.power == Power::On {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                inner.power = Power::Stopped;
            } else {
                inner = self.shared.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// The same at once.
    pub(crate) fn stop(&self) {
        self.shared.lock().power = Power::Stopped;
    }

    /// Lets those who wait for an answer end with an error. They were killed before.
    pub(crate) fn release(&self) {
        self.shared.lock().power = Power::Off;
        self.shared.changed.notify_all();
    }

    /// Cuts the power: from now on it holds what was durable, and of the rest what `keep` and the seed say. Nobody uses it meanwhile.
    pub(crate) fn cut(&self, keep: Keep, seed: u64) {
        let mut inner = self.shared.lock();
        inner.tree.cut(keep, &mut Chance::new(seed));
        (inner.power, inner.stop_before, inner.stop_at) = (Power::On, None, None);
    }
}

/// What a disk held, to cut its power there in more than one way.
pub(crate) struct Saved(Tree);

impl Disk {
    /// All that it holds, with what is not durable. Nobody uses it.
    pub(crate) fn save(&self) -> Saved {
        Saved(self.shared.lock().tree.clone())
    }

    /// Makes it hold that again. Nobody uses it.
    pub(crate) fn restore(&self, saved: &Saved) {
        self.shared.lock().tree.replace(saved.0.clone());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.release();
        if let Some(session) = self.session.take() {
            let _ = session.umount_and_join();
        }
    }
}

impl Shared {
    fn new() -> Self {
        let inner = Inner {
            tree: Tree::new(),
            rules: Vec::new(),
            capacity: None,
            names: Names::WithTheirFolder,
            lies: false,
            power: Power::On,
            steps: 0,
            failures: 0,
            stop_before: None,
            stop_at: None,
        };
        Self { inner: Mutex::new(inner), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it, for a look; waits while everything stands still.
    pub(super) fn look(&self) -> Result<MutexGuard<'_, Inner>, Errno> {
        self.answered(self.lock())
    }

    /// The same for a change or sync at this path, which may be told to fail, or be the one before which everything stops.
    pub(super) fn change(&self, operation: Operation, path: impl Fn(&Tree) -> String) -> Result<MutexGuard<'_, Inner>, Errno> {
        let mut inner = self.look()?;
        inner.steps += 1;
        let is_meant = |at: (Operation, &str)| at.0 == operation && path(&inner.tree).ends_with(at.1);
        if inner.stop_before == Some(inner.steps) || inner.stop_at.is_some_and(is_meant) {
            inner.power = Power::Stopped;
            self.changed.notify_all();
            inner = self.answered(inner)?;
        }
        if !inner.rules.is_empty() {
            let path = path(&inner.tree);
            if let Some(error) = inner.rules.iter_mut().find_map(|rule| rule.error_for(operation, &path)) {
                self.failed(&mut inner);
                return Err(error);
            }
        }
        Ok(inner)
    }

    /// Notes that an operation fails because it was told to.
    pub(super) fn failed(&self, inner: &mut Inner) {
        inner.failures += 1;
        self.changed.notify_all();
    }

    fn answered<'a>(&'a self, mut inner: MutexGuard<'a, Inner>) -> Result<MutexGuard<'a, Inner>, Errno> {
        while inner.power == Power::Stopped {
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        if inner.power == Power::Off { Err(Errno::EIO) } else { Ok(inner) }
    }
}
