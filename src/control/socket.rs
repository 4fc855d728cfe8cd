//! `control.sock` of a home.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Its name.
const NAME: &str = "control.sock";
/// Longest path that every Unix takes for a socket; the shortest of their limits is 104 with the final zero.
const PATH_BYTES_MAX: usize = 100;

/// A socket that is listened on. Its file goes with it.
#[derive(Debug)]
pub(super) struct Bound {
    path: PathBuf,
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Listens in `folder`, whose lock the caller holds: a socket that is there already is stale, and is replaced.
///
/// # Errors
/// The folder cannot hold a socket.
pub(super) fn listen(folder: &Path) -> io::Result<(UnixListener, Bound)> {
    let draft = "control.sock.new";
    let _ = fs::remove_file(folder.join(draft));
    let listener = short(folder, draft, |path| UnixListener::bind(path))?;
    // Nobody knows the draft's name, so nobody connects before the rights are set.
    fs::set_permissions(folder.join(draft), Permissions::from_mode(0o600))?;
    let path = folder.join(NAME);
    fs::rename(folder.join(draft), &path)?;
    Ok((listener, Bound { path }))
}

/// Connects to whoever listens in `folder`.
///
/// # Errors
/// Nobody does.
pub(super) fn connect(folder: &Path) -> io::Result<UnixStream> {
    short(folder, NAME, |path| UnixStream::connect(path))
}

/// A socket's address has room for about a hundred bytes. A longer path is given through an open folder, where the system has that.
fn short<T>(folder: &Path, name: &str, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let path = folder.join(name);
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return act(&path);
    }
    let opened = File::open(folder)?;
    act(&PathBuf::from(format!("/proc/self/fd/{}/{name}", opened.as_raw_fd())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_owner_may_connect() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (_listener, _bound) = listen(folder.path()).expect("it listens");
        let mode = fs::metadata(folder.path().join(NAME)).expect("the socket is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_stale_socket_is_replaced_and_none_is_left_behind() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join(NAME), "stale").expect("the folder is writable");
        let (_listener, bound) = listen(folder.path()).expect("it listens");
        assert!(connect(folder.path()).is_ok());
        drop(bound);
        assert_eq!(fs::read_dir(folder.path()).expect("the folder is readable").count(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_path_that_is_too_long_for_a_socket_is_shortened() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let deep = folder.path().join("a".repeat(200));
        fs::create_dir(&deep).expect("the folder is writable");
        let (_listener, _bound) = listen(&deep).expect("it listens");
        assert!(connect(&deep).is_ok());
    }
}
