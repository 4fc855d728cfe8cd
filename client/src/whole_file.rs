//! Files that may be something else than what was written: opened only if they are files, and read whole only if they are small.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Opens a regular file for reading.
///
/// # Errors
/// `InvalidInput` for anything else: a pipe would be waited for without end. Otherwise those of the file system.
pub fn open(path: &Path) -> io::Result<File> {
    require(path)?;
    File::open(path)
}

/// Before a file is opened: it is a regular one.
///
/// # Errors
/// As [`open`].
pub fn require(path: &Path) -> io::Result<()> {
    match fs::metadata(path)?.is_file() {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    }
}

/// Before a file is written: there is none of that name, or a regular one.
///
/// # Errors
/// As [`open`]: a pipe would be waited for without end here too.
pub fn require_or_none(path: &Path) -> io::Result<()> {
    require(path).or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// The bytes of a regular file of at most `bytes_max` bytes.
///
/// # Errors
/// As [`open`], and `InvalidData` for a longer one, of which no more than that is read.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    // Not grown step by step: that would leave copies of a key behind.
    let mut bytes = Vec::with_capacity(file.metadata()?.len().min(bytes_max) as usize + 1);
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > bytes_max {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {bytes_max} bytes"))),
        false => Ok(bytes),
    }
}

/// The same as text.
///
/// # Errors
/// As [`read`], and `InvalidData` for what is not UTF-8.
pub fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    String::from_utf8(read(path, bytes_max)?).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_at_its_cap_is_read_and_a_longer_one_is_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("file");
        fs::write(&path, [7; 8]).expect("the folder is writable");
        assert_eq!(read(&path, 8).expect("it is short enough"), [7; 8]);
        assert_eq!(read(&path, 7).expect_err("it is too long").kind(), io::ErrorKind::InvalidData);
        assert_eq!(read(folder.path(), 8).expect_err("a folder").kind(), io::ErrorKind::InvalidInput);
        assert!(require_or_none(&path).is_ok() && require_or_none(&folder.path().join("none")).is_ok());
        assert_eq!(require_or_none(folder.path()).expect_err("a folder").kind(), io::ErrorKind::InvalidInput);
    }
}
