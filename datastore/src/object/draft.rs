//! Files that are written before they get their name.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Ending of every file that has no name yet.
const ENDING: &str = "part";

/// A file with a random name. Removed when this is dropped, unless it was given its name before.
#[derive(Debug)]
pub(crate) struct Draft {
    path: PathBuf,
}

impl Draft {
    /// Creates one in `folder`, readable by this user only.
    pub(crate) fn create(folder: &Path) -> io::Result<(Self, File)> {
        let random = getrandom::u64().map_err(io::Error::other)?;
        let path = folder.join(format!("{random:016x}.{ENDING}"));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path)?;
        Ok((Self { path }, file))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name.
    pub(crate) fn rename(self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a rename there is nothing of that name. What cannot be removed is cleaned away at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// Creates `folder` if it is missing, and removes the drafts that an earlier process left in it.
pub(crate) fn clean(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == ENDING) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
