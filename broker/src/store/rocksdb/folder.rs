//! What a folder holds, looked at before the database is opened: what would be read without end, and what would be taken for nothing.

use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;

/// The file that says which manifest counts.
const CURRENT: &str = "CURRENT";
/// It, and the file with the folder's name for itself, hold one short line each and are read whole.
const LINES: [&str; 2] = [CURRENT, "IDENTITY"];
const LINE_BYTES_MAX: u64 = 4 * 1024;
/// A manifest is read to its end, holes with it; a new one is begun at half of this.
const MANIFEST_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// So is a log; a broker keeps all its logs below 64 MiB, and one write more.
const LOG_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

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
        Ok(about) if !about.is_file() && (!about.is_dir() || is_data(file)) => Some(format!("{name} is not a regular file")),
        Ok(about) => (about.len() > bytes_max(&name)).then(|| format!("{name} has {} bytes, more than a broker writes there", about.len())),
    }
}

/// More than a file of this name ever has.
fn bytes_max(name: &str) -> u64 {
    match name {
        name if LINES.contains(&name) => LINE_BYTES_MAX,
        name if name.starts_with("MANIFEST-") => MANIFEST_BYTES_MAX,
        name if name.ends_with(".log") => LOG_BYTES_MAX,
        _ => u64::MAX,
    }
}

fn is_data(file: &DirEntry) -> bool {
    file.path().extension().is_some_and(|extension| extension == "sst" || extension == "log")
}
