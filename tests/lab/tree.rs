//! Something to import: this repository's own sources.

use std::path::{Path, PathBuf};

/// Folders of this repository that are imported.
const FOLDERS: [&str; 3] = ["proto/src", "core/src", "docs"];

/// A copy of some source folders below `folder`; gives its place and the files as (path below it, content).
pub(crate) fn plant(folder: &Path) -> (PathBuf, Vec<(String, Vec<u8>)>) {
    let root = crate::world::repository();
    let planted = folder.join("sources");
    let mut files = Vec::new();
    for source in FOLDERS.iter().flat_map(|name| super::search::files(&root.join(name))) {
        let below = source.strip_prefix(&root).expect("below").to_owned();
        let target = planted.join(&below);
        std::fs::create_dir_all(target.parent().expect("a folder")).expect("writable");
        std::fs::copy(&source, &target).expect("writable");
        files.push((below.to_string_lossy().into_owned(), std::fs::read(&source).expect("readable")));
    }
    (planted, files)
}
