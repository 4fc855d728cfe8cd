//! Evidence as files. [P-14]

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tidings_core::Object;
use tidings_core::reader::Evidence;
use tidings_proto::Timestamp;

use crate::folder::{self, Access};
use crate::whole_file;

/// Writes evidence as a file of the folder `place` and syncs both. The name says verdict, queue and time.
pub(super) fn keep(place: &Path, evidence: &Evidence, now: Timestamp) -> std::io::Result<PathBuf> {
    folder::make(place, Access::Usual)?;
    let name = format!("{}-{}-{}", evidence.verdict, evidence.descriptor.id(), now);
    let draft = place.join(format!("{name}.draft"));
    let path = place.join(format!("{name}.evidence"));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    whole_file::require_or_none(&draft)?;
    let mut file = options.open(&draft)?;
    file.write_all(&evidence.encode())?;
    file.sync_all()?;
    fs::rename(&draft, &path)?;
    folder::sync(place)?;
    Ok(path)
}
