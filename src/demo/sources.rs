//! What alice imports: the source folders of the current folder, if it is a checkout; else a few files of the demo's own.

use std::io;
use std::path::{Path, PathBuf};

/// Folders that hold no sources.
const OTHERS: [&str; 3] = ["target", "node_modules", "tests"];
/// Written if there are no source folders: name and content.
const OWN: [(&str, &str); 2] = [("story.rs", include_str!("story.rs")), ("sources.rs", include_str!("sources.rs"))];

/// A file: its path below the folder it is in, and its content.
pub(super) type SourceFile = (String, Vec<u8>);

/// Copies the sources below `target`, so that nobody changes them while they are compared. Gives the files, in order.
pub(super) fn copy_to(target: &Path) -> io::Result<Vec<SourceFile>> {
    let mut copied = Vec::new();
    for folder in folders(Path::new(".")) {
        collect(&folder, &mut copied)?;
    }
    if copied.is_empty() {
        copied.extend(OWN.map(|(name, content)| (name.to_owned(), content.as_bytes().to_vec())));
    }
    copied.sort();
    for (name, content) in &copied {
        let file = target.join(name);
        std::fs::create_dir_all(file.parent().unwrap_or(target))?;
        std::fs::write(file, content)?;
    }
    Ok(copied)
}

/// All files below `folder`, as [`copy_to`] gives them.
pub(super) fn below(folder: &Path) -> io::Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    walk(folder, &mut |file| {
        let name = file.strip_prefix(folder).unwrap_or(file).to_string_lossy().into_owned();
        files.push((name, std::fs::read(file)?));
        Ok(())
    })?;
    files.sort();
    Ok(files)
}

/// `src` here and one level below.
fn folders(root: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path().join("src")).collect();
    folders.retain(|folder| !OTHERS.iter().any(|other| folder.parent().is_some_and(|parent| parent.ends_with(other))));
    folders.push(root.join("src"));
    folders.retain(|folder| folder.is_dir());
    folders.sort();
    folders
}

fn collect(folder: &Path, copied: &mut Vec<SourceFile>) -> io::Result<()> {
    walk(folder, &mut |file| {
        let name = file.to_string_lossy().trim_start_matches("./").to_owned();
        copied.push((name, std::fs::read(file)?));
        Ok(())
    })
}

fn walk(folder: &Path, visit: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => walk(&entry.path(), visit)?,
            kind if kind.is_file() => visit(&entry.path())?,
            _ => {}
        }
    }
    Ok(())
}
