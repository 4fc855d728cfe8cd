//! Files of a folder as records.

use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

use tidings_core::{PathError, RecordPath};
use tidings_proto::caps::OBJECT_BYTES_MAX;

use super::import::{SkipReason, Skipped};

/// A file that becomes a record.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) file: PathBuf,
    pub(super) path: RecordPath,
    pub(super) size: u64,
}

/// Files below `folder` in the order of their names, and what is no record.
///
/// # Errors
/// `folder` itself cannot be read.
pub(super) fn walk(folder: &Path, prefix: &str) -> io::Result<(Vec<Found>, Vec<Skipped>)> {
    let mut walk = Walk::default();
    let entries = sorted(folder)?;
    walk.entries(entries, prefix);
    Ok((walk.found, walk.skipped))
}

#[derive(Default)]
struct Walk {
    found: Vec<Found>,
    skipped: Vec<Skipped>,
}

impl Walk {
    fn entries(&mut self, entries: Vec<DirEntry>, prefix: &str) {
        for entry in entries {
            if let Err(reason) = self.entry(&entry, prefix) {
                self.skipped.push(Skipped { file: entry.path(), reason });
            }
        }
    }

    fn entry(&mut self, entry: &DirEntry, prefix: &str) -> Result<(), SkipReason> {
        // Of the entry itself: what a link points to may be outside of the folder.
        let kind = entry.file_type().map_err(|_| SkipReason::Unreadable)?;
        if kind.is_symlink() {
            return Err(SkipReason::Link);
        }
        let name = entry.file_name();
        let path = format!("{prefix}/{}", name.to_str().ok_or(SkipReason::Name)?);
        let record: RecordPath = path.parse().map_err(|_: PathError| SkipReason::Name)?;
        if kind.is_dir() {
            let entries = sorted(&entry.path()).map_err(|_| SkipReason::Unreadable)?;
            self.entries(entries, &path);
            return Ok(());
        }
        if !kind.is_file() {
            return Err(SkipReason::Special);
        }
        let size = entry.metadata().map_err(|_| SkipReason::Unreadable)?.len();
        if size > OBJECT_BYTES_MAX {
            return Err(SkipReason::TooLarge);
        }
        self.found.push(Found { file: entry.path(), path: record, size });
        Ok(())
    }
}

fn sorted(folder: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn files_come_in_order_and_what_is_no_record_is_listed() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("b")).expect("a folder");
        for name in ["b/2", "b/1", "a", "c", "cafe\u{301}", "new\nline"] {
            fs::write(at(name), name).expect("a file");
        }
        std::os::unix::fs::symlink(at("a"), at("link")).expect("a link");
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("a socket");
        let (found, skipped) = walk(folder.path(), "/x").expect("walked");
        let paths: Vec<_> = found.iter().map(|found| found.path.as_str()).collect();
        assert_eq!(paths, ["/x/a", "/x/b/1", "/x/b/2", "/x/c"]);
        let reasons: Vec<_> = skipped.iter().map(|skipped| (skipped.file.strip_prefix(folder.path()).ok(), skipped.reason)).collect();
        let expected = [
            ("cafe\u{301}", SkipReason::Name),
            ("link", SkipReason::Link),
            ("new\nline", SkipReason::Name),
            ("socket", SkipReason::Special),
        ];
        assert_eq!(reasons, expected.map(|(name, reason)| (Some(Path::new(name)), reason)));
    }
}
