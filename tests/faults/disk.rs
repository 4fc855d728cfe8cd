//! A small file system of its own, which can be filled and emptied.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Fills what is left.
const BALLAST: &str = "ballast";

/// A mounted file system; unmounted when it is dropped, also by a panic.
pub(crate) struct Disk {
    at: PathBuf,
}

impl Disk {
    /// Mounts one of `mib` MiB at `at`. `None`, said and counted in the output, where this process may not mount.
    pub(crate) fn mount(at: &Path, mib: u32) -> Option<Self> {
        fs::create_dir_all(at).expect("a folder");
        let size = format!("size={mib}m,mode=700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { at: at.to_owned() }),
            _ => {
                println!("skipped 1 test: this process may not mount a file system");
                None
            }
        }
    }

    /// Takes all space.
    pub(crate) fn fill(&self) {
        let mut ballast = File::create(self.at.join(BALLAST)).expect("a name is free");
        for piece in [1 << 20, 4096, 1] {
            let piece = vec![0x5a; piece];
            while ballast.write_all(&piece).is_ok() {}
        }
    }

    /// Takes all space but so many bytes.
    pub(crate) fn fill_but(&self, bytes: u64) {
        self.fill();
        let ballast = File::options().write(true).open(self.at.join(BALLAST)).expect("it is there");
        let length = ballast.metadata().expect("it is there").len();
        ballast.set_len(length.saturating_sub(bytes)).expect("it is ours");
    }

    /// Gives the space back.
    pub(crate) fn free(&self) {
        fs::remove_file(self.at.join(BALLAST)).expect("it was filled");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that is killed a moment later may still have files open there.
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}
