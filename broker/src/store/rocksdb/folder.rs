//! What a folder holds, looked at before the database is opened: what would be read without end, and what would be taken for nothing.

use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;

/// The file that says which manifest counts; it holds one short line and is read whole.
const CURRENT: &str = "CURRENT";
const CURRENT_BYTES_MAX: u64 = 4 * 1024;

/// What is wrong with `folder`, if anything is. A folder that is not there yet is new. Changes nothing.
pub(super) fn fault(folder: &Path) -> io::Result<Option<String>> {
    let files = match fs::read_dir(folder) {
        Ok(files) => files.collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if let Some(fault) = files.iter().find_map(file_fault) {
        return Ok(Some(fault));
    }
    // Without it the database would be made anew, and what the tables hold removed as nobody's. The first log comes after it.
    let is_new = folder.join(CURRENT).try_exists()? || !files.iter().any(is_data);
    Ok((!is_new).then(|| format!("{CURRENT} is missing beside tables and logs")))
}

fn file_fault(file: &DirEntry) -> Option<String> {
    let name = file.file_name().to_string_lossy().into_owned();
    match fs::metadata(file.path()) {
        // Removed since it was listed: another process runs here, and will be met at its lock.
        Err(_) if file.path().symlink_metadata().is_err() => None,
        Err(error) => Some(format!("{name} cannot be looked at: {error}")),
        // A pipe would be waited for.
        Ok(about) if !about.is_file() && !about.is_dir() => Some(format!("{name} is not a regular file")),
        Ok(about) if name == CURRENT && about.len() > CURRENT_BYTES_MAX => Some(format!("{name} has {} bytes", about.len())),
        Ok(_) => None,
    }
}

fn is_data(file: &DirEntry) -> bool {
    file.path().extension().is_some_and(|extension| extension == "sst" || extension == "log")
}
