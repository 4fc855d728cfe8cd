//! What a file can be instead of what a program wrote.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// Length of a sparse file that nobody may read whole.
const HUGE_BYTES: u64 = 10 * 1024 * 1024 * 1024;

/// What is laid where a file was.
#[derive(Clone, Debug)]
pub(crate) enum Instead {
    Bytes(Vec<u8>),
    /// The good bytes, and zeros behind.
    Huge(Vec<u8>),
    Folder,
    Pipe,
    /// A link that leads to itself.
    Loop,
}

/// Everything that is laid: with a name for messages. `cuts` parts, of which each end is one; `flips` single bits, from a seed.
pub(crate) fn everything(good: &[u8], cuts: usize, flips: u64) -> Vec<(String, Instead)> {
    let mut all = vec![
        ("empty".to_owned(), Instead::Bytes(Vec::new())),
        ("random".to_owned(), Instead::Bytes(random(good.len().clamp(64, 4_096)))),
        ("10 GB".to_owned(), Instead::Huge(good.to_vec())),
    ];
    all.extend((1..cuts).map(|cut| {
        let length = good.len() * cut / cuts;
        (format!("{length} of {} bytes", good.len()), Instead::Bytes(good[..length].to_vec()))
    }));
    all.extend((0..flips).map(|seed| {
        let bit = (mixed(seed) % (good.len().max(1) as u64 * 8)) as usize;
        let mut bytes = good.to_vec();
        if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
        (format!("bit {bit} flipped"), Instead::Bytes(bytes))
    }));
    all.extend(no_files());
    all
}

/// What is no file at all.
pub(crate) fn no_files() -> Vec<(String, Instead)> {
    vec![("a folder".to_owned(), Instead::Folder), ("a pipe".to_owned(), Instead::Pipe), ("a loop of links".to_owned(), Instead::Loop)]
}

/// Lays it at `path`, for its owner alone to read.
pub(crate) fn lay(path: &Path, instead: &Instead) {
    clear(path);
    match instead {
        Instead::Bytes(bytes) => fs::write(path, bytes).expect("the folder is writable"),
        Instead::Huge(good) => {
            let mut file = File::create(path).expect("the folder is writable");
            file.write_all(good).and_then(|()| file.set_len(HUGE_BYTES)).expect("a sparse file");
        }
        Instead::Folder => fs::create_dir(path).expect("the folder is writable"),
        Instead::Pipe => assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success()),
        Instead::Loop => return symlink(path, path).expect("the folder is writable"),
    }
    let mode = if matches!(instead, Instead::Folder) { 0o700 } else { 0o600 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// What was laid is still there as it was.
pub(crate) fn is_as_laid(path: &Path, instead: &Instead) -> bool {
    let Ok(about) = path.symlink_metadata() else { return false };
    match instead {
        Instead::Bytes(bytes) => fs::read(path).is_ok_and(|found| found == *bytes),
        Instead::Huge(_) => about.len() == HUGE_BYTES,
        Instead::Folder => about.is_dir(),
        Instead::Pipe => about.file_type().is_fifo(),
        Instead::Loop => about.is_symlink(),
    }
}

/// Removes whatever is there.
pub(crate) fn clear(path: &Path) {
    match path.symlink_metadata() {
        Ok(about) if about.is_dir() => fs::remove_dir_all(path).expect("it is ours"),
        Ok(_) => fs::remove_file(path).expect("it is ours"),
        Err(_) => {}
    }
}

/// Bytes that depend on their number alone.
pub(crate) fn random(length: usize) -> Vec<u8> {
    (0..length as u64).map(|place| mixed(place) as u8).collect()
}

fn mixed(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 32)
}
