//! Small files that are read whole: keys, settings, evidence.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The bytes of a regular file of at most `bytes_max` bytes.
///
/// # Errors
/// `InvalidInput` for anything but a regular file: a pipe would be waited for without end. `InvalidData` for a longer one, of which no
/// more than that is read. Otherwise those of the file system.
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let about = fs::metadata(path)?;
    if !about.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    // Not grown step by step: that would leave copies of a key behind.
    let mut bytes = Vec::with_capacity(about.len().min(bytes_max) as usize + 1);
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > bytes_max {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {bytes_max} bytes"))),
        false => Ok(bytes),
    }
}

/// The same as text.
///
/// # Errors
/// As [`read`], and `InvalidData` for what is not UTF-8.
pub(crate) fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
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
    }
}
