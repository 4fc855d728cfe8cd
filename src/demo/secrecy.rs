//! A look for clear text at what the broker and the storage hold.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use super::sources::SourceFile;

/// Length of the pieces that are looked for: the beginnings of lines and of paths.
const PIECE: usize = 24;

/// Pieces of what must not stand in the clear.
pub(super) struct Pieces(HashSet<Vec<u8>>);

/// What was searched.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Searched {
    /// Files.
    pub(super) files: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Names of files that hold a piece.
    pub(super) found: Vec<String>,
}

impl Pieces {
    /// The beginnings of all lines and paths of `files`.
    pub(super) fn of(files: &[SourceFile]) -> Self {
        let mut pieces = HashSet::new();
        for (name, content) in files {
            let lines = content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_start).chain([name.as_bytes()]);
            pieces.extend(lines.filter_map(|line| line.get(..PIECE)).map(<[u8]>::to_vec));
        }
        Self(pieces)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Looks through all files below these folders.
    pub(super) fn search(&self, folders: &[&Path]) -> io::Result<Searched> {
        let mut searched = Searched::default();
        for folder in folders {
            for (name, content) in super::sources::below(folder)? {
                searched.files += 1;
                searched.bytes += content.len() as u64;
                if self.is_in(&content) || self.is_in(name.as_bytes()) {
                    searched.found.push(name);
                }
            }
        }
        Ok(searched)
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        bytes.windows(PIECE).any(|window| self.0.contains(window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_line_is_found_wherever_it_stands() {
        let folder = tempfile::tempdir().expect("a folder");
        let pieces = Pieces::of(&[("a.rs".to_owned(), b"short\n    a line that is long enough to tell\n".to_vec())]);
        let search = |content: &str| {
            std::fs::write(folder.path().join("file"), content).expect("writable");
            pieces.search(&[folder.path()]).expect("readable").found
        };
        assert_eq!(search("\0\0a line that is long enough to tell"), ["file"]);
        assert_eq!(search("a line that is long but another"), Vec::<String>::new());
        assert_eq!(pieces.count(), 1);
    }
}
