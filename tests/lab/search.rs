//! Looks for clear text among bytes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Length of the pieces that are looked for: long enough that chance finds none in any amount of random bytes seen here.
const PIECE: usize = 12;
/// Pieces one behind the other, each a byte further on, that are not there by chance in words either.
const RUN: usize = 8;

/// What must not be found: pieces of texts, and where each came from.
#[derive(Default)]
pub(crate) struct Secrets {
    pieces: HashMap<Vec<u8>, String>,
}

impl Secrets {
    /// Every piece of a text, at every place in it.
    pub(crate) fn add(&mut self, from: &str, text: &[u8]) {
        for piece in text.windows(PIECE) {
            if is_telling(piece) {
                self.pieces.entry(piece.to_vec()).or_insert_with(|| from.to_owned());
            }
        }
    }

    /// The same, and how it would look in hexadecimal and in base64 with each of its alignments.
    pub(crate) fn add_disguised(&mut self, from: &str, text: &[u8]) {
        self.add(from, text);
        let hex: String = text.iter().map(|byte| format!("{byte:02x}")).collect();
        self.add(from, hex.as_bytes());
        for skipped in 0..3.min(text.len()) {
            self.add(from, base64(&text[skipped..]).as_bytes());
        }
    }

    /// Forgets pieces that stand in `bytes`, where nothing of what is secret can be: names of tables, words of a log. Any other digits
    /// in the place of theirs make no difference: a log counts.
    pub(crate) fn forget_those_in(&mut self, bytes: &[u8]) {
        let mut alike: HashMap<Vec<u8>, Vec<Vec<u8>>> = HashMap::new();
        self.pieces.keys().for_each(|piece| alike.entry(without_digits(piece)).or_default().push(piece.clone()));
        for window in without_digits(bytes).windows(PIECE) {
            alike.remove(window).iter().flatten().for_each(|piece| drop(self.pieces.remove(piece)));
        }
    }

    /// How many pieces are looked for.
    pub(crate) fn count(&self) -> usize {
        self.pieces.len()
    }

    /// The first piece that `bytes` hold, and where it came from.
    pub(crate) fn found_in(&self, bytes: &[u8]) -> Option<String> {
        let (piece, from) = bytes.windows(PIECE).find_map(|window| self.pieces.get_key_value(window))?;
        Some(format!("{from}: {}", piece.escape_ascii()))
    }

    /// The same in words that people read, where a few of them may stand in both: only what goes on longer counts.
    pub(crate) fn found_in_words(&self, words: &[u8]) -> Option<String> {
        let is_piece: Vec<bool> = words.windows(PIECE).map(|window| self.pieces.contains_key(window)).collect();
        let place = is_piece.windows(RUN).position(|run| run.iter().all(|is_piece| *is_piece))?;
        self.found_in(&words[place..])
    }

    /// Files below `folder`, their names too, that hold a piece: file and where the piece came from.
    pub(crate) fn found_below(&self, folder: &Path) -> Vec<(PathBuf, String)> {
        let mut found = Vec::new();
        for path in files(folder) {
            let content = std::fs::read(&path).expect("a readable file");
            let name = path.strip_prefix(folder).expect("below").to_string_lossy().into_owned();
            if let Some(from) = self.found_in(&content).or_else(|| self.found_in(name.as_bytes())) {
                found.push((path, from));
            }
        }
        found
    }
}

/// All files below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let entry = entry.expect("a readable folder");
        match entry.file_type().expect("a type") {
            kind if kind.is_dir() => found.extend(files(&entry.path())),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found.sort();
    found
}

/// Runs of one or two characters, like padding or rulers, are in every file.
fn is_telling(piece: &[u8]) -> bool {
    let mut distinct = piece.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    distinct.len() >= 6
}

fn without_digits(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| if byte.is_ascii_digit() { b'0' } else { *byte }).collect()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let whole = bytes.as_chunks::<3>().0.iter();
    let letters = whole.flat_map(|[a, b, c]| {
        let all = u32::from_be_bytes([0, *a, *b, *c]);
        [18, 12, 6, 0].map(|shift| char::from(LETTERS[(all >> shift & 63) as usize]))
    });
    letters.collect()
}

#[test]
fn the_search_finds_a_text_also_in_disguise_and_nothing_else() {
    let mut secrets = Secrets::default();
    secrets.add_disguised("it", b"the quick brown fox");
    let found = |text: &str| secrets.found_in(text.as_bytes());
    assert_eq!(found("xx quick brown xx").as_deref(), Some("it:  quick brown"));
    assert!(found("xx717569636b2062726f776exx").is_some());
    assert!(found("dGhlIHF1aWNrIGJyb3duIGZveA==").is_some());
    assert_eq!(found("another text altogether"), None);
    let found = |text: &str| secrets.found_in_words(text.as_bytes()).is_some();
    assert_eq!((found("a quick brown dog"), found("a the quick brown fox")), (false, true));
}
