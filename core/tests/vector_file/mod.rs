//! Golden vectors as annotated text: what the code makes today is what it made when the file was written.

use std::fmt::Write as _;
use std::path::PathBuf;

/// Text of one file of `docs/vectors`, as it should be.
pub(crate) struct VectorFile {
    text: String,
}

impl VectorFile {
    /// Starts with a title.
    pub(crate) fn new(title: &str) -> Self {
        Self { text: format!("# {title}\n") }
    }

    /// A paragraph of comment, one line for each line of `note`.
    pub(crate) fn note(&mut self, note: &str) {
        self.text.push_str("#\n");
        note.lines().for_each(|line| self.comment(line));
    }

    /// A value on a line of its own.
    pub(crate) fn value(&mut self, name: &str, bytes: impl AsRef<[u8]>) {
        writeln!(self.text, "{name} = {}", hex(bytes.as_ref())).expect("writing to a string");
    }

    /// An encoding: a table of its fields (name and length) with offset and value of each, then the whole.
    pub(crate) fn object(&mut self, name: &str, bytes: &[u8], fields: &[(&str, usize)]) {
        self.text.push_str("#\n");
        self.comment(&format!("{name}, {} bytes: offset, length, field, value", bytes.len()));
        let mut offset = 0;
        for (field, length) in fields {
            let value = hex(&bytes[offset..offset + length]);
            self.comment(&format!("{offset:>5} {length:>5}  {field:<20}  {value}"));
            offset += length;
        }
        assert_eq!(offset, bytes.len(), "the fields of {name} cover it");
        self.value(name, bytes);
    }

    /// Compares with the file; with `TIDINGS_BLESS=1` in the environment, writes it.
    pub(crate) fn check(self, name: &str) {
        let path = manifest_dir().join("../docs/vectors").join(name);
        if std::env::var_os("TIDINGS_BLESS").is_some_and(|bless| bless == "1") {
            std::fs::write(&path, &self.text).expect("docs/vectors can be written");
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(published == self.text, "{} is not what this build makes:\n{}", path.display(), self.text);
    }

    fn comment(&mut self, line: &str) {
        self.text.push_str(format!("# {line}").trim_end());
        self.text.push('\n');
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// This package's folder, as cargo says when it runs the test: what is compiled into it may be of another checkout that shares the target
/// folder.
fn manifest_dir() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}
