//! A file of a home that no crash and no power cut leaves by half.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use tidings_client::folder;

/// Writes a file, mode 0600; durable with its name when this returns. Beside its place first: what stands at `path` is whole.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), folder::sync)
}
