//! Folders whose names outlive a power cut.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Makes a folder and those above it that are missing. When this returns, the names of all of them are durable, also if a process
/// that was killed had made them. Blocks for a sync of the folder above, and one more for each that is made.
///
/// # Errors
/// Those of the file system; some of the folders may be there then.
pub fn make(folder: &Path) -> io::Result<()> {
    let parent = folder.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
    // The root of a file system has no name.
    let Some(parent) = parent else { return Ok(()) };
    if folder.is_dir() {
        // A folder that may not be read cannot be synced; what is in it was there before.
        return sync(parent).or_else(|error| if error.kind() == io::ErrorKind::PermissionDenied { Ok(()) } else { Err(error) });
    }
    make(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !folder.is_dir() => return Err(error),
        _ => {}
    }
    sync(parent)
}

/// The names in a folder, and that others are gone from it, are durable when this returns.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
