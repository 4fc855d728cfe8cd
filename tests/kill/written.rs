//! What the owner was given to write, what it said became of it, and what may be there then.

use std::collections::BTreeMap;

/// Records and the hashes of their values; a deleted one is not there.
pub(crate) type Records = BTreeMap<String, String>;

/// All writes of a world. Every value is another one, so that its hash names its write.
#[derive(Default)]
pub(crate) struct Written {
    writes: BTreeMap<String, Vec<Write>>,
    lines: BTreeMap<Line, (String, usize)>,
    /// What contradicts a promise.
    pub(crate) violations: Vec<String>,
}

/// Which `apply`, and which of its lines.
pub(crate) type Line = (u32, u64);

/// One write; of a delete there is no hash.
struct Write {
    line: Line,
    hash: Option<String>,
    fate: Fate,
}

/// What is known of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It may have happened.
    Unknown,
    /// It happened, and is durable at least at the owner.
    Kept,
    /// It did not happen.
    Refused,
}

impl Written {
    /// Before the owner is given a line.
    pub(crate) fn give(&mut self, line: Line, path: &str, hash: Option<String>) {
        let writes = self.writes.entry(path.to_owned()).or_default();
        self.lines.insert(line, (path.to_owned(), writes.len()));
        writes.push(Write { line, hash, fate: Fate::Unknown });
    }

    /// The owner printed a result line.
    pub(crate) fn answered(&mut self, line: Line, result: &str) {
        let Some((path, at)) = self.lines.get(&line).cloned() else {
            return self.violations.push(format!("a result for line {line:?}, which nobody gave"));
        };
        let may_be_absent = self.may_be_absent(&path, at);
        let write = &mut self.writes.get_mut(&path).expect("it was given")[at];
        if write.fate == Fate::Refused {
            self.violations.push(format!("{path}: line {line:?} was refused before, and is {result} now"));
        }
        write.fate = match result {
            "receipted" | "saved" | "done" => Fate::Kept,
            _ if write.hash.is_none() && may_be_absent => Fate::Refused,
            _ => {
                self.violations.push(format!("{path}: line {line:?} was {result}, and nothing stood in its way"));
                Fate::Refused
            }
        };
    }

    /// What stands at the owner now. Every record is as the newest write left it that is known to have happened, or as a later one
    /// that is unknown; and what stands in a line happened together with all lines before it.
    pub(crate) fn found(&mut self, who: &str, records: &Records) {
        for (path, hash) in records {
            match self.index(path, Some(hash), None) {
                Some(at) => self.happened_up_to(path, at),
                None => self.violations.push(format!("{who}: {path} has a value that nobody wrote there")),
            }
        }
        for (path, writes) in &self.writes {
            let (first, found) = (newest_kept(writes), records.get(path));
            let later = first.map_or(0, |first| first);
            let fits = |write: &Write| write.fate != Fate::Refused && write.hash.as_ref() == found;
            if !(writes[later..].iter().any(fits) || (first.is_none() && found.is_none())) {
                let line = first.map(|first| writes[first].line);
                self.violations.push(format!("{who}: {path}: acknowledged line {line:?} is lost: {found:?} is there"));
            }
        }
    }

    /// Which write of a record this is: of a value the one that wrote it, of a delete the first one after `after`.
    pub(crate) fn index(&self, path: &str, hash: Option<&String>, after: Option<usize>) -> Option<usize> {
        let writes = self.writes.get(path)?;
        let from = if hash.is_some() { 0 } else { after.map_or(0, |after| after + 1) };
        (from..writes.len()).find(|at| writes[*at].fate != Fate::Refused && writes[*at].hash.as_ref() == hash)
    }

    /// Whether the newest write of a record left something there, as far as is known.
    pub(crate) fn is_probably_there(&self, path: &str) -> bool {
        let last = self.writes.get(path).and_then(|writes| writes.iter().rfind(|write| write.fate != Fate::Refused));
        last.is_some_and(|write| write.hash.is_some())
    }

    /// That a write stands proves that it happened, and with it the lines before it.
    fn happened_up_to(&mut self, path: &str, at: usize) {
        let line = self.writes[path][at].line;
        // From the end: what was proven before was proven with all before it.
        for (path, at) in self.lines.range((line.0, 0)..=line).map(|(_, place)| place).rev() {
            let write = &mut self.writes.get_mut(path).expect("it was given")[*at];
            if write.fate == Fate::Unknown {
                write.fate = Fate::Kept;
            }
        }
    }

    /// Whether a delete at `at` may find nothing.
    fn may_be_absent(&self, path: &str, at: usize) -> bool {
        let before = &self.writes[path][..at];
        let first = newest_kept(before);
        first.is_none() || before[first.unwrap_or(0)..].iter().any(|write| write.fate != Fate::Refused && write.hash.is_none())
    }
}

fn newest_kept(writes: &[Write]) -> Option<usize> {
    writes.iter().rposition(|write| write.fate == Fate::Kept)
}
