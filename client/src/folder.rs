//! Folders whose names outlive a power cut.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Who may look into a folder that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// As the process makes folders.
    Usual,
    /// Only the user of this process.
    Private,
}

/// Makes a folder and those above it that are missing. When this returns, the names of all of them are durable, also if another
/// process or thread made them a moment ago. Blocks for a sync of the folder above, and one more for each that is made.
///
/// # Errors
/// Those of the file system; some of the folders may be there then.
pub fn make(folder: &Path, access: Access) -> io::Result<()> {
    let parent = folder.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
    // The root of a file system has no name.
    let Some(parent) = parent else { return Ok(()) };
    if folder.is_dir() {
        // Whoever made it may have ended before the sync. A folder that may not be read cannot be synced, and was there before us.
        return sync(parent).or_else(|error| if error.kind() == io::ErrorKind::PermissionDenied { Ok(()) } else { Err(error) });
    }
    make(parent, access)?;
    match create(folder, access) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !folder.is_dir() => return Err(error),
        _ => {}
    }
    sync(parent)
}

/// The names in a folder, and that others are gone from it, are durable when this returns.
///
/// # Errors
/// Those of the file system.
pub fn sync(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn create(folder: &Path, access: Access) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    if access == Access::Private {
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    }
    #[cfg(not(unix))]
    let _ = access;
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_missing_is_made_and_making_it_again_changes_nothing() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("a/b/c");
        for _ in 0..2 {
            make(&folder, Access::Private).expect("made");
        }
        assert!(folder.is_dir());
        fs::write(folder.join("file"), b"").expect("written");
        assert!(make(&folder.join("file"), Access::Usual).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_private_folder_is_nobody_elses() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().expect("a folder");
        make(&root.path().join("a/b"), Access::Private).expect("made");
        let mode = |name: &str| fs::metadata(root.path().join(name)).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode("a"), mode("a/b")), (0o700, 0o700));
    }
}
