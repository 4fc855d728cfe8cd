//! Files that appear only when they are whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use tidings_client::folder;
use tidings_datastore::Value;

/// Around the random digits of a draft's name.
const NAME: (&str, &str) = (".tidings-", ".part");
const DIGITS: usize = 16;
/// No value is written for so long: a draft that nobody touched since is of a process that was killed.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// Writes a value beside `target`, and gives it its name once it is whole and on disk; a file of that name is replaced. The folder
/// exists. When this returns, the name is durable too. Blocks.
///
/// # Errors
/// `target` is as it was, or it is the value and only its name may not outlive a power cut.
pub(crate) fn place(value: Value, target: &Path) -> io::Result<()> {
    let folder = folder_of(target);
    let random = getrandom::u64().map_err(io::Error::other)?;
    let draft = folder.join(format!("{}{random:016x}{}", NAME.0, NAME.1));
    let placed = write(value, &draft).and_then(|()| fs::rename(&draft, target));
    if placed.is_err() {
        // What cannot be removed has a name that says what it is.
        let _ = fs::remove_file(&draft);
        return placed;
    }
    match folder::sync(folder) {
        // A folder that may be written and not read cannot be synced.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

/// Removes the drafts in a folder that nobody has touched for a day. What cannot be removed stays. Blocks.
pub(crate) fn sweep(folder: &Path) {
    let Ok(files) = fs::read_dir(folder) else { return };
    for file in files.filter_map(Result::ok).filter(|file| file.file_name().to_str().is_some_and(is_draft)) {
        // Not through a link: what it leads to is not ours.
        let touched = file.metadata().ok().filter(fs::Metadata::is_file).and_then(|about| about.modified().ok());
        // One from the future is left alone.
        let age = touched.and_then(|touched| touched.elapsed().ok());
        if age.is_some_and(|age| age > ABANDONED) {
            let _ = fs::remove_file(file.path());
        }
    }
}

/// Where `target` is, and its drafts.
pub(crate) fn folder_of(target: &Path) -> &Path {
    target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn is_draft(name: &str) -> bool {
    let digits = name.strip_prefix(NAME.0).and_then(|rest| rest.strip_suffix(NAME.1));
    digits.is_some_and(|digits| digits.len() == DIGITS && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')))
}

fn write(value: Value, draft: &Path) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(draft)?;
    match value {
        Value::Inline(bytes) => file.write_all(&bytes)?,
        Value::File(value) => drop(io::copy(&mut value.into_file(), &mut file)?),
    }
    // Without this a crash could leave a file with the right name and nothing in it.
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &'static str) -> Value {
        Value::Inline(text.into())
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("file");
        fs::write(&target, "a longer text from before").expect("a file");
        place(value("new"), &target).expect("it is placed");
        assert_eq!(fs::read(&target).expect("a file"), b"new");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    /// A killed `get --to` or `export` once left its draft for ever.
    #[test]
    fn drafts_of_a_killed_process_go_after_a_day_and_nothing_else_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let old = std::time::SystemTime::now() - 2 * ABANDONED;
        let file = |name: &str, time| {
            let file = File::create(folder.path().join(name)).expect("a file");
            file.set_modified(time).expect("its time");
        };
        file(".tidings-0123456789abcdef.part", old);
        let kept = [".tidings-0123456789ABCDEF.part", ".tidings-0123.part", ".tidings-0123456789abcdef.parts", "part"];
        kept.iter().for_each(|name| file(name, old));
        file(".tidings-00000000000000ff.part", std::time::SystemTime::now());
        fs::create_dir(folder.path().join(".tidings-0000000000000000.part")).expect("a folder");
        sweep(folder_of(&folder.path().join("target")));
        assert!(!folder.path().join(".tidings-0123456789abcdef.part").exists());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), kept.len() + 2);
    }

    #[test]
    fn what_cannot_be_placed_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("folder");
        fs::create_dir(&target).expect("a folder");
        assert!(place(value("new"), &target).is_err());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }
}
