//! Files that appear only when they are whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use tidings_datastore::Value;

/// Writes a value beside `target`, and gives it its name once it is whole and on disk; a file of that name is replaced. The folder
/// exists. Blocks.
///
/// # Errors
/// `target` is as it was.
pub(crate) fn place(value: Value, target: &Path) -> io::Result<()> {
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let random = getrandom::u64().map_err(io::Error::other)?;
    let draft = folder.join(format!(".tidings-{random:016x}.part"));
    let placed = write(value, &draft).and_then(|()| fs::rename(&draft, target));
    if placed.is_err() {
        // What cannot be removed has a name that says what it is.
        let _ = fs::remove_file(&draft);
    }
    placed
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

    #[test]
    fn what_cannot_be_placed_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("folder");
        fs::create_dir(&target).expect("a folder");
        assert!(place(value("new"), &target).is_err());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }
}
