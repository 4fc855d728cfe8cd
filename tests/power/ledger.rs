//! What everybody said, and what must therefore be there.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::disk::Chance;

/// Records with values that fit into the queue, and such with values that are kept in storage.
const SMALL: u64 = 12;
const LARGE: u64 = 3;
/// Length of the first value of a record; each later one is a byte longer, so that its length tells which one it is.
const SMALL_BYTES: u64 = 40;
const LARGE_BYTES: u64 = 5_000;

/// Everything that was asked for, and what became of it as far as it was said.
pub(crate) struct Ledger {
    records: BTreeMap<String, Record>,
    chance: Chance,
    /// Highest head that anybody has a receipt for.
    pub(crate) receipted: u64,
    /// Result lines that said *receipted*, and all that said that something is durable.
    pub(crate) receipts: u64,
    pub(crate) promises: u64,
    /// Head hashes that a broker was seen to hold.
    heads: BTreeMap<u64, String>,
    /// What the broker was seen to hold as acknowledged.
    pub(crate) acknowledged: u64,
    /// What is not as it was said.
    pub(crate) violations: Vec<String>,
}

/// A record, and all that was asked for in its order.
#[derive(Default)]
struct Record {
    asked: Vec<Asked>,
    /// The last one of which somebody said, or it was seen, that it is durable.
    durable: Option<usize>,
    /// What a reader printed last.
    printed: Option<Option<u64>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Put,
    Remove,
    /// It was refused.
    Nothing,
}

/// A line of `apply`, and what it asks for.
pub(crate) struct Ask {
    /// The line.
    pub(crate) line: String,
    path: String,
    place: usize,
}

impl Ledger {
    /// Nothing was asked for.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            records: BTreeMap::new(),
            chance: Chance::new(seed),
            receipted: 0,
            receipts: 0,
            promises: 0,
            heads: BTreeMap::new(),
            acknowledged: 0,
            violations: Vec::new(),
        }
    }

    /// The next thing to ask for.
    pub(crate) fn ask(&mut self) -> Ask {
        let number = self.chance.below(SMALL + LARGE);
        let path = if number < SMALL { format!("/small/{number}") } else { format!("/large/{number}") };
        let removes = self.chance.below(10) == 0;
        let record = self.records.entry(path.clone()).or_default();
        let place = record.asked.len();
        let asked = if removes && record.asked.last() == Some(&Asked::Put) { Asked::Remove } else { Asked::Put };
        record.asked.push(asked);
        let line = match asked {
            Asked::Put => format!(r#"{{"op":"put","path":"{path}","value":"{}"}}"#, value(&path, length(&path, place))),
            _ => format!(r#"{{"op":"rm","path":"{path}"}}"#),
        };
        Ask { line, path, place }
    }

    /// What `apply` said of it.
    pub(crate) fn answered(&mut self, ask: &Ask, said: &Value) {
        let result = said["result"].as_str().unwrap_or_default();
        match result {
            "receipted" => {
                self.receipts += 1;
                self.receipted = self.receipted.max(said["number"].as_u64().unwrap_or_default());
            }
            "saved" | "done" => {}
            _ => {
                self.records.get_mut(&ask.path).into_iter().for_each(|record| record.asked[ask.place] = Asked::Nothing);
                if !said["error"].as_str().is_some_and(|error| error.ends_with("there is nothing to delete")) {
                    self.violate(format!("a write failed: {said}"));
                }
                return;
            }
        }
        self.promises += 1;
        let record = self.records.entry(ask.path.clone()).or_default();
        record.durable = record.durable.max(Some(ask.place));
    }

    /// What the owner has: each record must be as it was promised or as it was asked for later. From then on it must stay so.
    pub(crate) fn owner_has(&mut self, found: &BTreeMap<String, Vec<u8>>) {
        let mut wrong = Vec::new();
        for (path, record) in &mut self.records {
            let content = found.get(path);
            let at = content.map(|content| content.len() as u64);
            if content.is_some_and(|content| *content != value(path, content.len() as u64).into_bytes()) {
                wrong.push(format!("{path} has bytes that nobody wrote"));
            }
            match record.place_of(path, at) {
                Some(place) => record.durable = place,
                None => wrong.push(format!("{path} is lost: it is {at:?} and number {:?} was durable", record.durable)),
            }
        }
        wrong.extend(found.keys().filter(|path| !self.records.contains_key(*path)).map(|path| format!("nobody wrote {path}")));
        wrong.into_iter().for_each(|wrong| self.violate(wrong));
    }

    /// What a reader printed.
    pub(crate) fn printed(&mut self, event: &Value) {
        match event["event"].as_str() {
            Some("change") => {
                let path = event["path"].as_str().unwrap_or_default().to_owned();
                let length = if event["op"] == "delete" { None } else { event["size"].as_u64() };
                self.records.entry(path).or_default().printed = Some(length);
            }
            Some("verdict") if ["withheld", "forked", "rewound", "local-damage"].iter().any(|word| event["verdict"] == *word) => {
                self.violate(format!("a reader accuses: {event}"));
            }
            _ => {}
        }
    }

    /// In the end a reader has printed of each record what it is.
    pub(crate) fn reader_has(&mut self, found: &BTreeMap<String, Vec<u8>>) {
        let is_wrong = |(path, record): &(&String, &Record)| {
            let at = found.get(*path).map(|content| content.len() as u64);
            record.printed.is_some_and(|printed| printed != at) || (record.printed.is_none() && at.is_some())
        };
        let wrong: Vec<_> = self.records.iter().filter(is_wrong).map(|(path, record)| (path.clone(), record.printed)).collect();
        wrong.into_iter().for_each(|(path, printed)| self.violate(format!("the reader printed {printed:?} of {path} last")));
    }

    /// What the broker holds: the receipted head, and no other head where another one was. [P-3, P-7]
    pub(crate) fn broker_has(&mut self, newest: u64, heads: &BTreeMap<u64, String>, acknowledged: u64) {
        if newest < self.receipted {
            self.violate(format!("the broker has head {newest} and receipted {}", self.receipted));
        }
        for (number, hash) in heads {
            let before = self.heads.entry(*number).or_insert_with(|| hash.clone());
            if before != hash {
                let both = format!("head {number} was signed twice: {before} and {hash}");
                self.violations.push(both);
            }
        }
        if acknowledged < self.acknowledged {
            self.violate(format!("the broker knew {} as acknowledged and now {acknowledged}", self.acknowledged));
        }
        self.acknowledged = acknowledged;
    }

    /// Heads that were compared.
    pub(crate) fn heads(&self) -> u64 {
        self.heads.len() as u64
    }

    /// Notes that something is not as it was said.
    pub(crate) fn violate(&mut self, wrong: impl Into<String>) {
        self.violations.push(wrong.into());
    }
}

impl Record {
    /// The earliest thing asked for that explains the length and is not before what is durable. `None` if nothing does.
    fn place_of(&self, path: &str, length: Option<u64>) -> Option<Option<usize>> {
        let from = self.durable.unwrap_or_default();
        match length {
            None if self.durable.is_none() => Some(None),
            None => (from..self.asked.len()).find(|place| self.asked[*place] == Asked::Remove).map(Some),
            Some(length) => {
                let place = usize::try_from(length.checked_sub(self::length(path, 0))?).ok()?;
                (place >= from && self.asked.get(place) == Some(&Asked::Put)).then_some(Some(place))
            }
        }
    }
}

fn length(path: &str, place: usize) -> u64 {
    let first = if path.starts_with("/large/") { LARGE_BYTES } else { SMALL_BYTES };
    first + place as u64
}

/// The value of a record that has this length.
fn value(path: &str, length: u64) -> String {
    let mut value = format!("{path} {length} ");
    while (value.len() as u64) < length {
        let _ = write!(value, "{}.", value.len());
    }
    value.truncate(usize::try_from(length).expect("a length"));
    value
}
