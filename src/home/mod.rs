//! A node's home: its key, its local state, its settings, and the lock that gives them to one process at a time.
//!
//! `node.key`, `state.redb`, `config.toml`, `lock`, `control.sock`, `evidence/`, `storage/` (unless the settings name another
//! storage), `fetched/` (sealed values of others), `spool/`.

mod config;
mod file;
mod key;
mod lock;
mod storages;

pub(crate) use config::Config;
pub(crate) use lock::{Lock, RETRY};
pub(crate) use storages::{Storages, as_one, open as open_storage};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidings_client::folder::{Access, make};
use tidings_core::{KeyFileError, NodeKey};
use tidings_proto::BrokerAddress;

use crate::failure::Failure;

/// Its settings.
const SETTINGS: &str = "config.toml";
/// What its client knows.
const STATE: &str = "state.redb";
/// Stands in a home whose state is still to be rebuilt.
const RESTORING: &str = "restoring";

/// A home that this process owns until it is dropped.
#[derive(Debug)]
pub(crate) struct Home {
    folder: PathBuf,
    /// Who the node is.
    pub(crate) key: Arc<NodeKey>,
    /// Its settings.
    pub(crate) config: Config,
    _lock: Lock,
}

impl Home {
    /// Opens the home in `folder`, with its lock if the caller has it, else waits up to `patience` for another process.
    ///
    /// # Errors
    /// There is none, another process holds it, or its key or settings cannot be read. Nothing was changed.
    pub(crate) fn open(folder: &Path, lock: Option<Lock>, patience: Duration) -> Result<Self, Failure> {
        require(folder)?;
        let lock = lock.map_or_else(|| Lock::take(folder, patience), Ok)?;
        let config = Config::read(&folder.join(SETTINGS))?;
        let key = Arc::new(key::read(&key_path(folder))?);
        Ok(Self { folder: folder.to_owned(), key, config, _lock: lock })
    }

    /// Makes a home with a new key.
    ///
    /// # Errors
    /// There is one already, or the folder cannot be written: what was made is gone again. No key that was there is ever replaced.
    pub(crate) fn create(folder: &Path, config: Config, prompt: Passphrase, patience: Duration) -> Result<Self, Failure> {
        let (lock, settings) = prepare(folder, &config, patience)?;
        vacant(folder)?;
        unclaimed(&settings, &config)?;
        let made = file::write_new(&settings, config.text().as_bytes()).map_err(|error| unwritable(&settings, &error));
        let key = made.and_then(|()| key::create(&key_path(folder), prompt)).inspect_err(|_| unmake(folder))?;
        Ok(Self { folder: folder.to_owned(), key: Arc::new(key), config, _lock: lock })
    }

    /// Takes back a home that [`Home::create`] made a moment ago, and that was not used: where it is not whole it would be in the way
    /// of another one.
    pub(crate) fn unmake(self) {
        unmake(&self.folder);
    }

    /// Makes a home with the key in a file. It is marked as one that is to be rebuilt, until [`Home::restored`]. One that is marked
    /// already and has this key gets these settings.
    ///
    /// # Errors
    /// The key cannot be read or opened, there is another home, or the folder cannot be written. No key that was there is ever replaced.
    pub(crate) fn restore(folder: &Path, config: Config, key: &Path, patience: Duration) -> Result<Self, Failure> {
        let (lock, settings) = prepare(folder, &config, patience)?;
        let mark = folder.join(RESTORING);
        let (found, there) = (key::read(key)?, key_path(folder));
        let is_there = there.exists() && key::read(&there)?.verifying_key() == found.verifying_key();
        let goes_on = mark.exists() && is_there;
        if is_there && !goes_on {
            let error = format!("{} holds this node already: {}", folder.display(), found.did());
            return Err(Failure::new(error, "see `tidings status` there, or choose another folder with --home"));
        }
        if !goes_on {
            vacant(folder)?;
        }
        if !mark.exists() {
            unclaimed(&settings, &config)?;
        }
        for (path, bytes) in [(&settings, config.text().into_bytes()), (&mark, Vec::new())] {
            file::write_new(path, &bytes).map_err(|error| unwritable(path, &error))?;
        }
        let key = Arc::new(if goes_on { found } else { key::adopt(&there, key)? });
        Ok(Self { folder: folder.to_owned(), key, config, _lock: lock })
    }

    /// Whether its state is still to be rebuilt from brokers and storages.
    pub(crate) fn is_restoring(&self) -> bool {
        self.folder.join(RESTORING).exists()
    }

    /// Its state was rebuilt.
    ///
    /// # Errors
    /// It stays marked, which does no harm.
    pub(crate) fn restored(&self) -> Result<(), Failure> {
        let mark = self.folder.join(RESTORING);
        let removed = std::fs::remove_file(&mark).and_then(|()| tidings_client::folder::sync(&self.folder));
        removed.map_err(|error| unwritable(&mark, &error))
    }

    /// The brokers that the settings of the home in `folder` name. Needs no lock; none where there is no home.
    ///
    /// # Errors
    /// The settings cannot be read.
    pub(crate) fn brokers_of(folder: &Path) -> Result<Vec<BrokerAddress>, Failure> {
        Config::read(&folder.join(SETTINGS))?.addresses()
    }

    /// Its brokers, as the settings name them now.
    ///
    /// # Errors
    /// The settings cannot be read.
    pub(crate) fn brokers(&self) -> Result<Vec<BrokerAddress>, Failure> {
        Config::read(&self.folder.join(SETTINGS))?.addresses()
    }

    /// Replaces the brokers in the settings. One caller at a time: whoever holds the turn of a change of brokers.
    ///
    /// # Errors
    /// The settings cannot be read or written; they are as they were.
    pub(crate) fn keep_brokers(&self, brokers: &[BrokerAddress]) -> Result<(), Failure> {
        let path = self.folder.join(SETTINGS);
        let brokers = brokers.iter().map(BrokerAddress::to_string).collect();
        let config = Config { brokers, ..Config::read(&path)? };
        file::write_new(&path, config.text().as_bytes()).map_err(|error| unwritable(&path, &error))
    }

    /// What readers are told of the places of the queue with these brokers.
    ///
    /// # Errors
    /// As [`Home::storages`]; or readers cannot be told of all of them.
    pub(crate) fn locator(&self, brokers: &[BrokerAddress]) -> Result<String, Failure> {
        let crowded = |error| Failure::new(error, "name fewer brokers, or storages with shorter addresses, in config.toml");
        self.storages()?.locator_with(brokers).map_err(crowded)
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the client keeps its state.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.join(STATE)
    }

    /// Its own storages.
    ///
    /// # Errors
    /// The settings name one that cannot be.
    pub(crate) fn storages(&self) -> Result<Storages, Failure> {
        Storages::open(&self.config.storage, &self.folder)
            .map_err(|error| Failure::new(format!("config.toml: {error}"), "mend `storage` in config.toml"))
    }

    /// Where values are drafted.
    pub(crate) fn spool(&self) -> PathBuf {
        self.folder.join("spool")
    }

    /// Where values of others are kept.
    pub(crate) fn fetched(&self) -> PathBuf {
        self.folder.join("fetched")
    }

    /// Where evidence is kept.
    pub(crate) fn evidence(&self) -> PathBuf {
        self.folder.join("evidence")
    }
}

/// Whether a new key is sealed under a passphrase that is asked for. One in a file is always used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passphrase {
    /// Ask at the terminal.
    Ask,
    /// Only if `TIDINGS_PASSPHRASE_FILE` names a file.
    FromFile,
}

/// The key of a home, without taking its lock: a key never changes.
pub(crate) fn key(folder: &Path) -> Result<NodeKey, Failure> {
    require(folder)?;
    key::read(&key_path(folder))
}

/// The home that is meant: the one given, else `~/.tidings`.
pub(crate) fn folder(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let default = || std::env::home_dir().map(|home| home.join(".tidings"));
    given.or_else(default).ok_or_else(|| Failure::usage("there is no home folder", "name one with --home or TIDINGS_HOME"))
}

/// Whether a node was made in `folder`.
pub(crate) fn is_home(folder: &Path) -> bool {
    // Also a link that leads nowhere: what it stands for may be on a disk that is not there now, and must not be replaced.
    key_path(folder).symlink_metadata().is_ok()
}

fn require(folder: &Path) -> Result<(), Failure> {
    if is_home(folder) {
        return Ok(());
    }
    Err(Failure::new(format!("there is no node in {}", folder.display()), "make one with `tidings init`, or name its folder with --home"))
}

/// The folder with its lock, and the place of its settings.
fn prepare(folder: &Path, config: &Config, patience: Duration) -> Result<(Lock, PathBuf), Failure> {
    config.addresses()?;
    make(folder, Access::Private).map_err(|error| unwritable(folder, &error))?;
    Ok((Lock::take(folder, patience)?, folder.join(SETTINGS)))
}

/// No node is in the folder.
fn vacant(folder: &Path) -> Result<(), Failure> {
    if is_home(folder) {
        let error = format!("{} already holds a node", folder.display());
        let action = match folder.join(STATE).symlink_metadata() {
            Ok(_) => "choose another folder with --home, or edit its config.toml",
            Err(_) => "its state.redb is missing: put it back from a backup; if the node was never used, remove its folder and repeat",
        };
        return Err(Failure::new(error, action));
    }
    if folder.join(STATE).symlink_metadata().is_ok() {
        let error = format!("{} holds the state of a node whose key is missing", folder.display());
        return Err(Failure::new(error, "put its node.key back from a backup, or choose another folder with --home"));
    }
    Ok(())
}

/// Removes what a home is made of, the key last: without a state it keeps others from making one here.
fn unmake(folder: &Path) {
    for path in [folder.join(STATE), folder.join(SETTINGS), key_path(folder)] {
        let _ = std::fs::remove_file(path);
    }
    let _ = tidings_client::folder::sync(folder);
}

/// Nobody wrote other settings into a folder in which no node is: they may be all that is left of one, or a mistake in the folder's name.
/// The same ones are of an `init` that was interrupted.
fn unclaimed(settings: &Path, config: &Config) -> Result<(), Failure> {
    if settings.symlink_metadata().is_err() || Config::read(settings).is_ok_and(|found| found.text() == config.text()) {
        return Ok(());
    }
    let error = format!("{} is there already, and no node is in its folder", settings.display());
    Err(Failure::new(error, "put its node.key back from a backup, remove the file, or choose another folder with --home"))
}

fn key_path(folder: &Path) -> PathBuf {
    folder.join("node.key")
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{} cannot be written: {error}", path.display()), "check the rights of the folder and the free space")
}

fn unopened(path: &Path, error: KeyFileError) -> Failure {
    let action = match error {
        KeyFileError::PassphraseNeeded => "name a file that holds it in TIDINGS_PASSPHRASE_FILE, or run this at a terminal",
        KeyFileError::PassphraseWrong => "repeat with the right one",
        KeyFileError::TooNew => "use the version of Tidings that wrote it, or a newer one",
        KeyFileError::Memory => "free some memory and repeat",
        _ => "put a good copy of the file in its place; do not run `init`, which would make another node",
    };
    Failure::new(format!("{}: {error}", path.display()), action)
}
