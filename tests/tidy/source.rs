//! Text files of the repository as the tidy checks see them.

use std::fs;
use std::path::{Path, PathBuf};

const SKIPPED_FOLDERS: [&str; 3] = [".git", "target", "node_modules"];
const TEXT_KINDS: [&str; 9] = ["rs", "md", "toml", "proto", "sh", "yml", "yaml", "service", "json"];

/// One text file.
pub(crate) struct Source {
    /// Path from the repository's root, with `/`.
    pub(crate) path: String,
    /// The text as it is.
    pub(crate) text: String,
    /// For Rust: the text with comments and literals blanked, byte for byte as long; else empty.
    pub(crate) code: String,
    /// For each line, whether it is compiled for tests only.
    test_lines: Vec<bool>,
}

impl Source {
    /// A file that need not exist: checks are shown to fail on such.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") { blank(text) } else { String::new() };
        let test_lines = test_lines(path, text, &code);
        Self { path: path.to_owned(), text: text.to_owned(), code, test_lines }
    }

    /// Whether this is Rust.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether line `line` (the first is 1) is compiled for tests only.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        self.test_lines.get(line - 1).copied().unwrap_or(false)
    }

    /// Line of a byte position; the first is 1.
    pub(crate) fn line_of(&self, at: usize) -> usize {
        self.text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// `path:line: what`.
    pub(crate) fn violation(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }

    /// Functions as (first line, last line).
    pub(crate) fn functions(&self) -> Vec<(usize, usize)> {
        words(&self.code, "fn")
            .filter_map(|at| {
                let body = body_start(&self.code[at..])?;
                Some((self.line_of(at), self.line_of(block_end(&self.code, at + body))))
            })
            .collect()
    }
}

/// All text files below the current folder, which is the package's root in a test run, in the order of their paths.
pub(crate) fn repository() -> Vec<Source> {
    let mut paths = Vec::new();
    collect(Path::new("."), &mut paths);
    paths.sort();
    let mut sources: Vec<_> = paths
        .iter()
        .filter_map(|path| {
            let text = fs::read_to_string(path).ok()?;
            Some(Source::new(&path.to_string_lossy().trim_start_matches("./").replace('\\', "/"), &text))
        })
        .collect();
    assert!(sources.iter().any(|source| source.path == "Cargo.toml"), "run this in the repository's root");
    mark_test_modules(&mut sources);
    sources
}

/// Files that another file declares as `#[cfg(test)] mod name;` are for tests only, whole.
fn mark_test_modules(sources: &mut [Source]) {
    let modules: Vec<_> = sources.iter().flat_map(declared_test_modules).collect();
    for source in sources {
        if modules.iter().any(|module| source.path.strip_prefix(module.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/')))
        {
            source.test_lines.fill(true);
        }
    }
}

/// Paths, without `.rs`, of modules that `source` declares for tests only.
fn declared_test_modules(source: &Source) -> Vec<String> {
    let path = source.path.trim_end_matches(".rs");
    let folder = ["/mod", "/lib", "/main"].into_iter().find_map(|root| path.strip_suffix(root)).unwrap_or(path);
    let items = source.code.match_indices("#[cfg(test)]").map(|(at, attribute)| source.code[at + attribute.len()..].trim_start());
    let names = items.filter_map(|item| item.split_once(';')?.0.rsplit_once("mod "));
    names.filter(|(before, _)| before.is_empty() || before.starts_with("pub")).map(|(_, name)| format!("{folder}/{name}")).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the folder is readable").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !SKIPPED_FOLDERS.contains(&name.as_str()) {
                collect(&path, paths);
            }
        } else if is_text(&path, &name) {
            paths.push(path);
        }
    }
}

fn is_text(path: &Path, name: &str) -> bool {
    let kind = path.extension().unwrap_or_default().to_string_lossy();
    TEXT_KINDS.contains(&kind.as_ref()) || name == "Makefile" || path.starts_with("./.ci")
}

/// Byte positions at which `word` stands as a whole identifier.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = at.checked_sub(1).map_or(b' ', |before| bytes[before]);
        let after = bytes.get(at + word.len()).copied().unwrap_or(b' ');
        !is_word(before) && !is_word(after)
    })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Replaces comments and literals by blanks, so that only code is left to search. Lines and positions stay.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    while out.len() < bytes.len() {
        let at = out.len();
        let after_word = at > 0 && is_word(bytes[at - 1]);
        match opaque(&bytes[at..], after_word) {
            0 => out.push(bytes[at]),
            length => out.extend(bytes[at..at + length].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' })),
        }
    }
    String::from_utf8(out).expect("only whole characters are blanked")
}

/// Length of the comment or literal at the front; 0 if there is none.
fn opaque(rest: &[u8], after_word: bool) -> usize {
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => string(rest),
        [b'r', b'"' | b'#', ..] if !after_word => raw_string(rest, 1),
        [b'b', b'r', b'"' | b'#', ..] if !after_word => raw_string(rest, 2),
        [b'\'', ..] => character(rest),
        _ => 0,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_string(rest: &[u8], hashes_at: usize) -> usize {
    let hashes = rest[hashes_at..].iter().take_while(|byte| **byte == b'#').count();
    let open = hashes_at + hashes;
    if rest.get(open) != Some(&b'"') {
        return 0; // a raw identifier
    }
    let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    rest[open + 1..].windows(close.len()).position(|window| window == close).map_or(rest.len(), |at| open + 1 + at + close.len())
}

fn character(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        return rest.iter().skip(3).position(|byte| *byte == b'\'').map_or(0, |at| at + 4);
    }
    // One character of up to four bytes and a quote; anything else is a lifetime.
    let width = match rest.get(1) {
        Some(0xf0..) => 4,
        Some(0xe0..) => 3,
        Some(0xc0..) => 2,
        _ => 1,
    };
    if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
}

fn test_lines(path: &str, text: &str, code: &str) -> Vec<bool> {
    let whole = ["tests/", "benches/", "fuzz/", "/tests/", "/benches/"].iter().any(|folder| match folder.strip_prefix('/') {
        Some(_) => path.contains(folder),
        None => path.starts_with(folder),
    });
    let whole = whole || path.ends_with("tests.rs") || path.contains("conformance");
    let mut lines = vec![whole; text.lines().count()];
    for (at, _) in code.match_indices("#[cfg(test)]") {
        let end = match body_start(&code[at..]) {
            Some(body) => block_end(code, at + body),
            None => code[at..].find(';').map_or(code.len(), |end| at + end),
        };
        let first = code[..at].matches('\n').count();
        let last = code[..end].matches('\n').count();
        lines.iter_mut().take(last + 1).skip(first).for_each(|line| *line = true);
    }
    lines
}

/// Position of the `{` that opens the item's body; `None` if the item ends with `;` before one.
fn body_start(item: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, byte) in item.bytes().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(at),
            b';' if depth == 0 => return None,
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    None
}

/// Position of the `}` that closes the `{` at `open`.
fn block_end(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len().saturating_sub(1)
}

/// Comments, literals and lifetimes are told apart, or every other check would be wrong.
#[test]
fn literals_and_comments_are_blanked_and_nothing_else() {
    let text = "a(\"x\\\"y\", 'q', '\\'', b\"z\", r#\"r\"#) /* b /* c */ */ fn f<'a>() {} // d\n";
    assert_eq!(blank(text).split_whitespace().collect::<String>(), "a(,,,b,)fnf<'a>(){}");
    assert_eq!(blank(text).len(), text.len());
}

#[test]
fn lines_of_a_test_module_are_told_from_the_others() {
    let source = Source::new("core/src/x.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n    fn g() {}\n}\nfn h() {}\n");
    let told: Vec<_> = (1..=6).map(|line| source.is_test(line)).collect();
    assert_eq!(told, [false, true, true, true, true, false]);
}

#[test]
fn a_file_that_is_declared_for_tests_only_is_one() {
    let declaring = Source::new("core/src/lib.rs", "#[cfg(test)]\nmod bench_owner;\nmod owner;\n");
    let mut sources = [declaring, Source::new("core/src/bench_owner.rs", "fn f() {}\n"), Source::new("core/src/owner.rs", "fn f() {}\n")];
    mark_test_modules(&mut sources);
    assert_eq!(sources.map(|source| source.is_test(1)), [true, true, false]);
}
