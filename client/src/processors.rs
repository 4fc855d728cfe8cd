//! Work for more than one processor.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

/// So many are done together; fewer are not worth a thread of their own.
const PART: usize = 128;
/// Threads at once, this one among them.
const THREADS_MAX: usize = 8;

/// Does a computation for each of these, on as many processors as there are. They come back in order.
pub(crate) fn side_by_side<T: Send, U: Send>(of: Vec<T>, compute: impl Fn(T) -> U + Sync) -> Vec<U> {
    // Asking the system takes longer than a few of them.
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    let processors = || *PROCESSORS.get_or_init(|| thread::available_parallelism().map_or(1, NonZeroUsize::get).min(THREADS_MAX));
    let threads = if of.len() < 2 * PART { 1 } else { processors().min(of.len() / PART) };
    if threads == 1 {
        return of.into_iter().map(compute).collect();
    }
    let (left, done) = (Mutex::new(parts(of).into_iter()), Mutex::new(BTreeMap::new()));
    let work = || {
        while let Some((at, part)) = next(&left) {
            let part: Vec<U> = part.into_iter().map(&compute).collect();
            lock(&done).insert(at, part);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // Where no thread is to be had, the others do it.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().flatten().collect()
}

fn parts<T>(of: Vec<T>) -> Vec<(usize, Vec<T>)> {
    let (mut of, mut parts) = (of.into_iter(), Vec::new());
    while of.len() > 0 {
        parts.push((parts.len(), of.by_ref().take(PART).collect()));
    }
    parts
}

fn next<T>(left: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    lock(left).next()
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{PART, side_by_side};

    #[test]
    fn all_come_back_in_order() {
        for count in [0, 1, PART - 1, 2 * PART, 3 * PART + 1, 5_000] {
            let done = side_by_side((0..count).collect(), |number| number * 2);
            assert_eq!(done, (0..count).map(|number| number * 2).collect::<Vec<_>>());
        }
    }
}
