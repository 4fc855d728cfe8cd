//! One process owns a home at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::whole_file;

/// How often a held lock is tried again.
pub(crate) const RETRY: Duration = Duration::from_millis(20);

/// More than any pid with its line end.
const TEXT_BYTES_MAX: u64 = 32;

/// The lock on a home. The system releases it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock in `folder`; waits up to `patience` for another process.
    ///
    /// # Errors
    /// Another process holds it still; the failure names its pid. Nothing was changed.
    pub(crate) fn take(folder: &Path, patience: Duration) -> Result<Self, Failure> {
        let deadline = Instant::now() + patience;
        loop {
            match Self::attempt(folder)? {
                Some(lock) => return Ok(lock),
                None if Instant::now() < deadline => std::thread::sleep(RETRY),
                None => return Err(Self::held(folder)),
            }
        }
    }

    /// The same without waiting; `None` if another process holds it.
    pub(crate) fn attempt(folder: &Path) -> Result<Option<Self>, Failure> {
        let path = folder.join("lock");
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(|error| unusable(&path, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(unusable(&path, &error)),
        }
        name_owner(&mut file).map_err(|error| unusable(&path, &error))?;
        Ok(Some(Self { _file: file }))
    }

    /// The failure that another process holds it, with its pid.
    pub(crate) fn held(folder: &Path) -> Failure {
        // The owner may be between taking the lock and writing its pid.
        let text = whole_file::read_text(&folder.join("lock"), TEXT_BYTES_MAX).ok();
        let pid = text.and_then(|text| text.trim().parse::<u32>().ok());
        let owner = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
        Failure::new(format!("{owner} is using {}", folder.display()), "end it, or repeat with a longer --timeout")
    }
}

fn name_owner(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    let action = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space, then repeat",
        _ => "check the rights of the folder",
    };
    Failure::new(format!("{} cannot be locked: {error}", path.display()), action)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_told_the_pid_of_the_first() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let _first = Lock::take(folder.path(), Duration::ZERO).expect("nobody holds it");
        let second = Lock::take(folder.path(), Duration::ZERO).expect_err("the first holds it");
        assert!(second.error.contains(&format!("process {}", std::process::id())), "{}", second.error);
    }

    /// The text of a held lock was once read whole, whatever its length.
    #[test]
    fn a_lock_with_a_long_text_names_nobody() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let _first = Lock::take(folder.path(), Duration::ZERO).expect("nobody holds it");
        std::fs::write(folder.path().join("lock"), format!("{:>100}", 7)).expect("written");
        let second = Lock::take(folder.path(), Duration::ZERO).expect_err("the first holds it");
        assert!(second.error.starts_with("another process is using"), "{}", second.error);
    }

    #[test]
    fn a_lock_is_free_after_its_owner_is_gone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        drop(Lock::take(folder.path(), Duration::ZERO));
        assert!(Lock::take(folder.path(), Duration::ZERO).is_ok());
    }
}
