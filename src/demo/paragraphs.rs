//! What alice publishes: the paragraphs of the Markdown files below the current folder.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use tidings_core::RecordPath;
use tidings_proto::caps::INLINE_BYTES_MAX;

/// Published if there are no Markdown files.
const README: &str = include_str!("../../README.md");
/// More would make the demo long, not better.
const PARAGRAPHS_MAX: usize = 2_000;

/// A record's path and its value.
pub(super) type Paragraph = (String, String);

/// The paragraphs of all files, each with a path of its own.
pub(super) fn all() -> Vec<Paragraph> {
    let mut files = Vec::new();
    collect(Path::new("."), &mut files);
    files.sort();
    let mut texts: Vec<_> = files.iter().filter_map(|file| Some((name(file), std::fs::read_to_string(file).ok()?))).collect();
    if texts.is_empty() {
        texts.push(("README.md".to_owned(), README.to_owned()));
    }
    let mut paragraphs: Vec<_> = texts.iter().flat_map(|(name, text)| of_file(name, text)).collect();
    paragraphs.retain(|(path, _)| path.parse::<RecordPath>().is_ok());
    paragraphs.truncate(PARAGRAPHS_MAX);
    paragraphs
}

/// The lines that `tidings apply` reads.
pub(super) fn as_lines(paragraphs: &[Paragraph]) -> String {
    paragraphs.iter().fold(String::new(), |mut lines, (path, value)| {
        let line = serde_json::json!({ "op": "put", "path": path, "value": value });
        writeln!(lines, "{line}").expect("a string takes every line");
        lines
    })
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_skipped = name.starts_with('.') || ["target", "node_modules"].contains(&name.as_str());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !is_skipped => collect(&entry.path(), files),
            Ok(kind) if kind.is_file() && name.ends_with(".md") => files.push(entry.path()),
            _ => {}
        }
    }
}

fn name(file: &Path) -> String {
    file.to_string_lossy().trim_start_matches("./").to_owned()
}

fn of_file(name: &str, text: &str) -> Vec<Paragraph> {
    let paragraphs = text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty());
    paragraphs.flat_map(pieces).enumerate().map(|(at, piece)| (format!("/text/{name}/{at:04}"), piece.to_owned())).collect()
}

/// A paragraph in pieces that fit into a record.
fn pieces(mut paragraph: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    while paragraph.len() > INLINE_BYTES_MAX {
        let (piece, rest) = paragraph.split_at(paragraph.floor_char_boundary(INLINE_BYTES_MAX));
        pieces.push(piece);
        paragraph = rest;
    }
    pieces.push(paragraph);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_paragraph_is_split_between_characters_and_nothing_is_lost() {
        let long = "ä".repeat(INLINE_BYTES_MAX);
        let pieces = pieces(&long);
        assert!(pieces.iter().all(|piece| piece.len() <= INLINE_BYTES_MAX));
        assert_eq!(pieces.concat(), long);
    }

    #[test]
    fn each_paragraph_is_a_record() {
        let paragraphs = of_file("a.md", "# One\n\ntwo\nlines\n\n\n\nthree\n");
        assert_eq!(paragraphs.len(), 3);
        assert_eq!(paragraphs[1], ("/text/a.md/0001".to_owned(), "two\nlines".to_owned()));
    }
}
