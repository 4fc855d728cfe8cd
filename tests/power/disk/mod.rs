//! A file system in memory that knows, of all it was told, what a power cut would leave.
//!
//! A file's content is durable once the file is synced, a name once its folder is synced. Until then a cut keeps or loses each write
//! and each change of a folder for itself. Rights and times are kept at once.

mod chance;
mod content; // of one file
mod kernel; // what the kernel asks
mod mount;
mod rules; // errors on command
mod tree; // folders, names, files

pub(crate) use chance::Chance;
pub(crate) use mount::Disk;
pub(crate) use rules::{Operation, Rule};
pub(crate) use tree::{Keep, Names};
