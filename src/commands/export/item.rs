//! A record that becomes a file.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tidings_core::{Mutation, RecordPath, ValueHasher};
use tidings_datastore::Value;

use crate::commands::draft;
use crate::failure::{Exit, Failure};
use crate::output::Form;

/// Piece in which a file is hashed.
const PIECE_BYTES: usize = 256 * 1024;

/// A record and where its file is.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) path: RecordPath,
    /// Its name below the folder.
    name: String,
    file: PathBuf,
    size: u64,
    hash: Option<[u8; 32]>,
    /// Why it has no place.
    conflict: Option<&'static str>,
    /// Whether its value needs no fetch.
    pub(super) is_here: bool,
    /// Why its value did not come so far.
    pub(super) failure: Option<Failure>,
}

/// What became of an item.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Its file is new or replaced; bytes.
    Written(u64),
    /// Its file has this content already.
    Unchanged,
    /// It has no place; why.
    Skipped(&'static str),
    /// Why, and what that is as an exit code.
    Failed(String, Exit),
}

/// One result line.
#[derive(Serialize)]
struct Line<'a> {
    op: &'static str,
    path: &'a str,
    file: &'a str,
    size: u64,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// The items for records at and below `prefix`; with each whether its value is here.
pub(super) fn plan(records: impl Iterator<Item = (Mutation, bool)>, prefix: &str, folder: &Path) -> Vec<Item> {
    let prefix = prefix.trim_end_matches('/');
    let mut items: Vec<_> = records.map(|(mutation, is_here)| Item::new(&mutation, is_here, prefix, folder)).collect();
    let folders: HashSet<_> = items.iter().flat_map(|item| ancestors(item.path.as_str())).map(str::to_owned).collect();
    for item in items.iter_mut().filter(|item| folders.contains(item.path.as_str())) {
        item.conflict = Some("its path is a folder of other records");
    }
    items
}

impl Item {
    fn new(mutation: &Mutation, is_here: bool, prefix: &str, folder: &Path) -> Self {
        let path = mutation.path.as_str();
        let below = path.strip_prefix(prefix).unwrap_or(path).trim_start_matches('/');
        // The record at the prefix itself keeps its last name.
        let name = if below.is_empty() { path.rsplit('/').next().unwrap_or(path) } else { below };
        Self {
            path: mutation.path.clone(),
            name: name.to_owned(),
            file: folder.join(name),
            size: mutation.size(),
            hash: mutation.value_hash(),
            conflict: None,
            is_here,
            failure: None,
        }
    }

    /// What becomes of it without its value; `None` if that is to be written.
    pub(super) fn standing(&self, folder: &Path, force: bool) -> Option<Outcome> {
        if let Some(reason) = self.conflict {
            return Some(Outcome::Skipped(reason));
        }
        let standing = self.make_way(folder).and_then(|()| self.compare());
        match standing {
            Ok(None) => None,
            Ok(Some(true)) => Some(Outcome::Unchanged),
            Ok(Some(false)) if force => None,
            Ok(Some(false)) => Some(failed("there is another file of that name; --force replaces it")),
            Err(error) => Some(failed(error)),
        }
    }

    /// The folder of its file.
    pub(super) fn folder(&self) -> &Path {
        draft::folder_of(&self.file)
    }

    /// Writes its file.
    pub(super) fn place(&self, value: Option<Value>) -> Outcome {
        let Some(value) = value else { return Outcome::Skipped("it was deleted meanwhile") };
        let bytes = value.size();
        draft::place(value, &self.file).map_or_else(failed, |()| Outcome::Written(bytes))
    }

    /// Prints what became of it; for people only what was not done.
    pub(super) fn print(&self, form: &Form, outcome: &Outcome) -> Result<(), Failure> {
        let (result, reason) = match outcome {
            Outcome::Written(_) => ("written", None),
            Outcome::Unchanged => ("unchanged", None),
            Outcome::Skipped(reason) => ("skipped", Some(*reason)),
            Outcome::Failed(reason, _) => ("failed", Some(reason.as_str())),
        };
        if reason.is_none() && !form.is_json() {
            return Ok(());
        }
        let line = Line { op: "export", path: self.path.as_str(), file: &self.name, size: self.size, result, reason };
        form.line(&line, || format!("{result} {}: {}", self.path, reason.unwrap_or_default()))
    }

    /// Makes its folder. A link on the way could lead out of the folder that was named, to files that an owner must not write.
    fn make_way(&self, folder: &Path) -> io::Result<()> {
        for name in ancestors(&self.name) {
            let way = folder.join(name);
            match fs::symlink_metadata(&way) {
                Ok(about) if about.is_dir() => {}
                Ok(_) => return Err(io::Error::other("a link or a file is where its folder must be")),
                Err(error) if error.kind() == ErrorKind::NotFound => fs::create_dir(&way)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the file that is there has its content; `None` if there is none.
    fn compare(&self) -> io::Result<Option<bool>> {
        match fs::symlink_metadata(&self.file) {
            Ok(about) if about.is_dir() => Err(io::Error::other("a folder has its name")),
            Ok(about) if about.is_file() && about.len() == self.size => Ok(Some(self.hash == Some(hash(&self.file)?))),
            Ok(_) => Ok(Some(false)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn failed(error: impl ToString) -> Outcome {
    Outcome::Failed(error.to_string(), Exit::Failed)
}

/// The folders that a name is in, the outermost first; not the top.
fn ancestors(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at]).filter(|folder| !folder.is_empty())
}

fn hash(file: &Path) -> io::Result<[u8; 32]> {
    let (mut file, mut hasher, mut piece) = (File::open(file)?, ValueHasher::new(), vec![0; PIECE_BYTES]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&piece[..count]),
        }
    }
}
