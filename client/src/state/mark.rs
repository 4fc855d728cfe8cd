//! Whether this state lies where it lay when it was last open. [P-4]
//!
//! Beside the state lies a small file. What the file system says of it, and which machine it is on, is kept in the state. A copy of
//! both has another file; a state that is put back over a newer one does not know what the file became meanwhile.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use tidings_core::Encoder;

use super::{State, StateError, tables};
use crate::whole_file;

/// What the state remembers of the file.
const MARK: &str = "mark";
/// Length of the file, bytes.
const MARK_BYTES: u64 = 16;
/// Tells machines apart whose file systems number alike.
const MACHINE: &str = "/etc/machine-id";
/// More than the name of any machine.
const MACHINE_BYTES_MAX: u64 = 4 * 1024;

impl State {
    /// Whether this was copied, put back from a copy, or moved to another machine since [`State::renew_mark`]. A state that never
    /// had a mark was not. False in memory.
    pub(crate) fn is_moved(&self) -> Result<bool, StateError> {
        let Some(path) = &self.mark else { return Ok(false) };
        let kept = self.read(|transaction| {
            let settings = transaction.open_table(tables::SETTINGS)?;
            Ok(settings.get(MARK)?.map(|row| row.value().to_vec()))
        })?;
        Ok(kept.is_some() && look(path)? != kept)
    }

    /// Makes the mark anew: from now on this is where the state lies. Durable when this returns. If it does not get that far, the
    /// state counts as moved, which costs a new term and nothing else.
    pub(crate) fn renew_mark(&self) -> Result<(), StateError> {
        let Some(path) = &self.mark else { return Ok(()) };
        let random = getrandom_bytes()?;
        write(path, &random).map_err(|error| StateError::of_mark(path, error))?;
        let seen = look(path)?.ok_or_else(|| io::Error::other("the mark is gone"))?;
        self.write(|transaction| {
            transaction.open_table(tables::SETTINGS)?.insert(MARK, seen.as_slice())?;
            Ok(())
        })
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // What was not made here is not written through: a link may lead elsewhere, a pipe waits for a reader.
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        fs::remove_file(path)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn getrandom_bytes() -> Result<[u8; MARK_BYTES as usize], io::Error> {
    let mut bytes = [0; MARK_BYTES as usize];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

/// What there is to remember of the file; `None` if it is not there, or is none that was made here.
fn look(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found.map_err(|error| StateError::of_mark(path, error))?,
    };
    if !found.is_file() || found.len() != MARK_BYTES {
        return Ok(None);
    }
    let mut out = Encoder::new();
    out.bytes(whole_file::read(Path::new(MACHINE), MACHINE_BYTES_MAX).unwrap_or_default().trim_ascii());
    // Whoever puts a state back may put the file back too: what it holds then is of an older time.
    out.bytes(&whole_file::read(path, MARK_BYTES).map_err(|error| StateError::of_mark(path, error))?);
    place(&found, &mut out);
    Ok(Some(out.finish()))
}

#[cfg(unix)]
fn place(found: &fs::Metadata, out: &mut Encoder) {
    use std::os::unix::fs::MetadataExt;
    out.u64(found.dev());
    out.u64(found.ino());
    out.u64(found.ctime().cast_unsigned());
    out.u64(found.ctime_nsec().cast_unsigned());
}

#[cfg(not(unix))]
fn place(found: &fs::Metadata, out: &mut Encoder) {
    let since = found.created().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    out.u64(since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)));
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn opened(folder: &Path) -> State {
        State::open(&folder.join("state.redb")).expect("opened")
    }

    fn copy(from: &Path, to: &Path, name: &str) {
        fs::copy(from.join(name), to.join(name)).expect("copied");
    }

    fn is_moved(folder: &Path) -> bool {
        opened(folder).is_moved().expect("looked")
    }

    fn marked() -> tempfile::TempDir {
        let home = tempfile::tempdir().expect("a folder");
        opened(home.path()).renew_mark().expect("marked");
        home
    }

    /// [P-4]
    #[test]
    fn a_state_that_stays_where_it_lay_is_not_moved() {
        let home = marked();
        assert!(!is_moved(home.path()));
        assert!(!is_moved(home.path()));
    }

    /// A folder cannot be replaced; the state was blamed for it.
    #[test]
    fn a_folder_in_the_place_of_the_mark_is_named_and_a_longer_one_is_another() {
        let home = marked();
        let mark = home.path().join("state.mark");
        File::options().write(true).open(&mark).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
        assert!(is_moved(home.path()));
        fs::remove_file(&mark).and_then(|()| fs::create_dir(&mark)).expect("a folder");
        let state = opened(home.path());
        assert!(state.is_moved().expect("looked"));
        let error = state.renew_mark().expect_err("it is a folder");
        assert!(matches!(&error, StateError::Mark(path, _) if *path == mark), "{error}");
    }

    #[test]
    fn a_state_of_before_there_were_marks_is_not_moved() {
        let home = tempfile::tempdir().expect("a folder");
        assert!(!is_moved(home.path()));
        assert!(!State::in_memory().expect("a state").is_moved().expect("looked"));
    }

    /// Whatever took the place of the file was read whole, or waited for: 10 GB, a pipe. And a new mark went through a link to
    /// whatever it leads to.
    #[cfg(unix)]
    #[test]
    fn whatever_takes_the_place_of_the_mark_is_neither_read_nor_written() {
        use std::os::unix::fs::symlink;
        let home = marked();
        let (mark, other) = (home.path().join("state.mark"), home.path().join("other"));
        fs::write(&other, "precious").expect("written");
        let put: [&dyn Fn(); 5] = [
            &|| drop(File::create(&mark).expect("made").set_len(10 << 30)),
            &|| symlink(&other, &mark).expect("linked"),
            &|| symlink("/dev/zero", &mark).expect("linked"),
            &|| symlink("state.mark", &mark).expect("linked"),
            &|| assert!(std::process::Command::new("mkfifo").arg(&mark).status().expect("it runs").success()),
        ];
        for put in put {
            fs::remove_file(&mark).expect("removed");
            put();
            assert!(is_moved(home.path()));
            opened(home.path()).renew_mark().expect("marked");
            assert!(!is_moved(home.path()));
        }
        assert_eq!(fs::read(&other).expect("read"), b"precious");
        fs::remove_file(&mark).expect("removed");
        fs::create_dir(&mark).expect("made");
        assert!(is_moved(home.path()) && opened(home.path()).renew_mark().is_err());
    }

    /// What the state remembers is compared and not read: any other bytes count as moved.
    #[test]
    fn a_row_of_the_mark_that_rotted_is_moved() {
        let home = marked();
        let state = opened(home.path());
        let look = state.read(|transaction| Ok(transaction.open_table(tables::SETTINGS)?.get(MARK)?.map(|row| row.value().to_vec())));
        let honest = look.expect("read").expect("a mark");
        tidings_hostile::feed("mark", tidings_hostile::Meal::SMALL, &[honest], |bytes| {
            let put = |transaction: &redb::WriteTransaction| -> Result<((), super::super::Keep), StateError> {
                transaction.open_table(tables::SETTINGS)?.insert(MARK, bytes)?;
                Ok(((), super::super::Keep::UntilCrash))
            };
            state.write_with(put).expect("written");
            (!state.is_moved().expect("looked")).then(|| bytes.to_vec())
        });
    }

    /// [P-4]
    #[test]
    fn a_copy_of_a_state_is_moved_with_its_mark_and_without() {
        let (home, other) = (marked(), tempfile::tempdir().expect("a folder"));
        copy(home.path(), other.path(), "state.redb");
        assert!(is_moved(other.path()));
        copy(home.path(), other.path(), "state.mark");
        assert!(is_moved(other.path()));
        assert!(!is_moved(home.path()));
    }

    /// [P-4] The file beside it lies where it lay, but the state that was put back does not know it.
    #[test]
    fn a_state_that_was_put_back_over_a_newer_one_is_moved() {
        let (home, backup) = (marked(), tempfile::tempdir().expect("a folder"));
        copy(home.path(), backup.path(), "state.redb");
        opened(home.path()).renew_mark().expect("marked");
        copy(backup.path(), home.path(), "state.redb");
        assert!(is_moved(home.path()));
        opened(home.path()).renew_mark().expect("marked");
        assert!(!is_moved(home.path()));
    }
}
