//! The admission list: one small file for each owner in `admitted/` of the broker's folder.
//!
//! A running broker has its store locked, so the list is beside it. A broker looks at the folder when an owner publishes:
//! a change counts from the next publish on, with no signal and no restart, and an operator can list or restore it with `ls` and `cp`.
//! The name of a file is the owner's key in hex, so that no file system folds two of them into one; it holds the DID.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use tidings_core::Did;
use tidings_proto::VerifyingKey;

use crate::folder;

/// Owners that may publish.
#[derive(Clone, Debug)]
pub struct AdmissionList {
    folder: PathBuf,
}

impl AdmissionList {
    /// That of the broker whose folder is `data`. Nothing is made before an owner is added.
    pub fn in_folder(data: &Path) -> Self {
        Self { folder: data.join("admitted") }
    }

    /// Adds or removes an owner, durably. Doing so twice changes nothing.
    ///
    /// # Errors
    /// Those of the file system; the owner may then be on the list or not: repeat it.
    pub fn set(&self, owner: &Did, admitted: bool) -> io::Result<()> {
        let path = self.path(&owner.0);
        if admitted {
            folder::make(&self.folder)?;
            let mut file = File::create(&path)?;
            writeln!(file, "{owner}")?;
            file.sync_all()?;
        } else if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        if self.folder.exists() { folder::sync(&self.folder) } else { Ok(()) }
    }

    /// Whether an owner is on the list. Blocks as the file system does.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn admits(&self, owner: &VerifyingKey) -> io::Result<bool> {
        self.path(owner).try_exists()
    }

    /// Owners on the list, ascending. Files whose names are no keys are none.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn owners(&self) -> io::Result<Vec<Did>> {
        if !self.folder.exists() {
            return Ok(Vec::new());
        }
        let names = fs::read_dir(&self.folder)?.map(|file| Ok(file?.file_name())).collect::<io::Result<Vec<_>>>()?;
        let key = |name: &OsString| <[u8; 32]>::try_from(HEXLOWER.decode(name.to_str()?.as_bytes()).ok()?).ok();
        let mut owners: Vec<Did> = names.iter().filter_map(key).map(|key| Did(VerifyingKey::new(key))).collect();
        owners.sort_unstable();
        Ok(owners)
    }

    fn path(&self, owner: &VerifyingKey) -> PathBuf {
        self.folder.join(HEXLOWER.encode(owner.bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Did {
        tidings_core::NodeKey::from_seed([7; 32]).did()
    }

    #[test]
    fn who_was_allowed_is_admitted_until_denied() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let list = AdmissionList::in_folder(folder.path());
        let mut admitted = vec![list.admits(&owner().0).expect("the folder is readable")];
        for allowed in [true, true, false, false] {
            list.set(&owner(), allowed).expect("the folder is writable");
            admitted.push(list.admits(&owner().0).expect("the folder is readable"));
        }
        assert_eq!(admitted, [false, true, true, false, false]);
    }
}
