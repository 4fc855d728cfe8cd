//! A file of a home that no crash and no power cut leaves by half.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use tidings_client::{folder, whole_file};

/// Writes a file, mode 0600; durable with its name when this returns. Beside its place first: what stands at `path` is whole. Only one
/// caller at a time: the draft has the same name each time, so that a crash leaves at most one, and the next write takes its place.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = Path::new(&draft);
    whole_file::require_or_none(draft)?;
    let placed = write(draft, bytes).and_then(|()| std::fs::rename(draft, path));
    // It may be half a key, on a disk that is full.
    placed.inspect_err(|_| drop(std::fs::remove_file(draft)))?;
    path.parent().map_or(Ok(()), folder::sync)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
