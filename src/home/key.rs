//! `node.key`: reading it, and making a new one.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use tidings_core::{Entropy, NodeKey, key_file};
use zeroize::Zeroizing;

use super::{Passphrase, file, unopened, unwritable};
use crate::failure::Failure;
use crate::whole_file;

/// Environment variable that names a file whose first line is the passphrase.
const PASSPHRASE_FILE: &str = "TIDINGS_PASSPHRASE_FILE";

/// More than any key file.
const FILE_BYTES_MAX: u64 = 4 * 1024;
/// Longest file with a passphrase; what is behind is not read.
const PASSPHRASE_BYTES_MAX: u64 = 64 * 1024;

/// Reads and opens the key file; asks for its passphrase if there is no file for it.
pub(super) fn read(path: &Path) -> Result<NodeKey, Failure> {
    let unreadable = |error: io::Error| Failure::new(format!("{} cannot be read: {error}", path.display()), "check its rights");
    check_rights(path)?;
    let file = Zeroizing::new(whole_file::read(path, FILE_BYTES_MAX).map_err(unreadable)?);
    let passphrase = match key_file::is_sealed(&file) {
        false => None,
        true => match passphrase_from_file()? {
            Some(passphrase) => Some(passphrase),
            None => ask("passphrase: "),
        },
    };
    key_file::open(&file, passphrase.as_ref().map(|text| text.as_bytes())).map_err(|error| unopened(path, error))
}

/// A key that others can read is nobody's alone.
#[cfg(unix)]
fn check_rights(path: &Path) -> Result<(), Failure> {
    let rights = std::fs::metadata(path).map(|file| std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o777);
    match rights {
        Ok(rights) if rights & 0o077 != 0 => {
            let error = format!("{} is open to other users of this machine (mode {rights:04o})", path.display());
            Err(Failure::new(error, format!("run `chmod 600 {}`; if others may have read it, make another node", path.display())))
        }
        // What cannot be looked at cannot be read either, which is told then.
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn check_rights(_: &Path) -> Result<(), Failure> {
    Ok(())
}

/// Copies a key file, sealed as it is, after it was opened; mode 0600, durably.
pub(super) fn adopt(path: &Path, from: &Path) -> Result<NodeKey, Failure> {
    let key = read(from)?;
    let unreadable = |error: io::Error| Failure::new(format!("{} cannot be read: {error}", from.display()), "check its rights");
    let file = Zeroizing::new(whole_file::read(from, FILE_BYTES_MAX).map_err(unreadable)?);
    file::write_new(path, &file).map_err(|error| unwritable(path, &error))?;
    Ok(key)
}

/// Makes a key and writes its file, mode 0600, durably.
pub(super) fn create(path: &Path, prompt: Passphrase) -> Result<NodeKey, Failure> {
    let passphrase = match passphrase_from_file()? {
        Some(passphrase) => Some(passphrase),
        None if prompt == Passphrase::Ask => Some(ask_twice()?),
        None => None,
    };
    let mut entropy = entropy()?;
    let key = NodeKey::generate(&mut entropy);
    let sealed = key_file::seal(&key, passphrase.as_ref().map(|text| text.as_bytes()), &mut entropy);
    file::write_new(path, &sealed).map_err(|error| unwritable(path, &error))?;
    Ok(key)
}

fn passphrase_from_file() -> Result<Option<Zeroizing<String>>, Failure> {
    let Some(path) = std::env::var_os(PASSPHRASE_FILE).filter(|path| !path.is_empty()) else { return Ok(None) };
    let unreadable = |error: io::Error| {
        Failure::new(format!("{PASSPHRASE_FILE} names a file that cannot be read: {error}"), "name one that holds the passphrase")
    };
    // It may be a pipe, which has no length.
    let mut text = Zeroizing::new(String::with_capacity(PASSPHRASE_BYTES_MAX as usize));
    File::open(path).and_then(|file| file.take(PASSPHRASE_BYTES_MAX).read_to_string(&mut text)).map_err(unreadable)?;
    Ok(Some(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())))
}

/// `None` without a terminal.
fn ask(prompt: &str) -> Option<Zeroizing<String>> {
    rpassword::prompt_password(prompt).ok().map(Zeroizing::new)
}

fn ask_twice() -> Result<Zeroizing<String>, Failure> {
    let missing = || Failure::usage("there is no terminal to ask for a passphrase", format!("name a file in {PASSPHRASE_FILE}"));
    let first = ask("new passphrase: ").ok_or_else(missing)?;
    if ask("again: ").ok_or_else(missing)? != first {
        return Err(Failure::new("the two passphrases differ", "repeat"));
    }
    Ok(first)
}

fn entropy() -> Result<Entropy, Failure> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|error| Failure::new(format!("the system gives no randomness: {error}"), "repeat later"))?;
    Ok(Entropy::new(*seed))
}
