//! What the reader printed, life by life, held to docs/consistency.md.

use std::collections::BTreeMap;

use serde_json::Value;

use super::written::{Records, Written};

/// Changes that a watch prints before it notes durably that they are printed: only so many may come again after a kill.
const BATCH: usize = 256;

/// Everything that was printed in a world.
#[derive(Default)]
pub(crate) struct Printed {
    seen: BTreeMap<String, Seen>,
    /// Records printed in this life and not known to be noted, in the order of their changes, with their offsets.
    batch: Vec<(String, u64)>,
    life: u32,
    caught_up: (u64, u64, u64),
    /// Changes that were printed.
    pub(crate) changes: u64,
    /// Changes that were printed again after a kill.
    pub(crate) repeated: u64,
    /// Updates and deletes of records of which no create was printed, because a kill came between.
    pub(crate) unseen_creates: u64,
    /// What contradicts a promise.
    pub(crate) violations: Vec<String>,
}

/// What was printed last of a record.
struct Seen {
    life: u32,
    op: String,
    term: u64,
    offset: u64,
    hash: Option<String>,
    /// Which of the record's writes it was.
    write: usize,
    /// It stands for a create that was never printed as well.
    unseen_create: bool,
    /// The reader may not have noted it: before it, the record was there or not, as far as that is known.
    unnoted: Option<Presence>,
}

/// Whether a record may be there, and whether it may be absent.
#[derive(Clone, Copy, Default)]
struct Presence {
    there: bool,
    absent: bool,
}

impl Printed {
    /// A line of this life.
    pub(crate) fn take(&mut self, event: &Value, written: &Written) {
        match event["event"].as_str() {
            Some("change") => self.change(event, written),
            Some("caught-up") => {
                self.note_all();
                self.caught_up(event);
            }
            // A line that is no change is printed only after what was printed before is noted.
            Some("verdict") => {
                self.note_batch(0);
                self.verdict(event);
            }
            _ => self.violations.push(format!("no event: {event}")),
        }
    }

    /// The reader was killed: the next line is of another life.
    pub(crate) fn killed(&mut self) {
        self.note_batch(BATCH);
        self.batch.clear();
        self.life += 1;
    }

    /// What somebody knows who believed every line.
    pub(crate) fn records(&self) -> Records {
        self.seen.iter().filter_map(|(path, seen)| Some((path.clone(), seen.hash.clone()?))).collect()
    }

    fn change(&mut self, event: &Value, written: &Written) {
        self.changes += 1;
        let text = |field: &str| event[field].as_str().map(str::to_owned);
        let (path, op, hash) = (text("path").unwrap_or_default(), text("op").unwrap_or_default(), text("hash"));
        if (op == "delete") != hash.is_none() || event["fetched"] != true {
            self.violations.push(format!("no whole change: {event}"));
        }
        let before = self.seen.remove(&path);
        let last = before.as_ref().map(|seen| seen.write);
        let place = (event["term"].as_u64().unwrap_or(0), event["offset"].as_u64().unwrap_or(0));
        let again = before.as_ref().is_some_and(|seen| (seen.term, seen.offset) == place);
        let write = if again { last } else { written.index(&path, hash.as_ref(), last) };
        let Some(write) = write else { return self.violations.push(format!("nobody wrote what was printed, or not any more: {event}")) };
        let unnoted = Some(presence(before.as_ref(), self.life));
        let mut now = Seen { life: self.life, op, term: place.0, offset: place.1, hash, write, unseen_create: false, unnoted };
        now.unseen_create = had_unseen_create(before.as_ref(), &now);
        self.repeated += u64::from(again);
        self.unseen_creates += u64::from(now.unseen_create);
        if let Some(fault) = fault(before.as_ref(), &now, again) {
            self.violations.push(format!("{fault}: {event}, before it {}", before.map_or_else(String::new, |seen| seen.words())));
        }
        self.seen.insert(path.clone(), now);
        self.batch.push((path, place.1));
        self.note_batch(BATCH);
    }

    /// All but the newest `left` changes of this life are noted.
    fn note_batch(&mut self, left: usize) {
        let noted = self.batch.len().saturating_sub(left);
        for (path, offset) in self.batch.drain(..noted) {
            if let Some(seen) = self.seen.get_mut(&path).filter(|seen| seen.offset == offset) {
                seen.unnoted = None;
            }
        }
    }

    /// At a catch-up nothing waits to be printed, except that a record whose newest value is on its way may wait for it.
    fn note_all(&mut self) {
        self.note_batch(0);
        let small = |path: &str| !super::load::may_be_large(path);
        self.seen.iter_mut().filter(|(path, _)| small(path)).for_each(|(_, seen)| seen.unnoted = None);
    }

    fn caught_up(&mut self, event: &Value) {
        let number = |field: &str| event[field].as_u64().unwrap_or(0);
        let now = (number("term"), number("number"), number("offset"));
        if now < self.caught_up {
            self.violations.push(format!("the view went back from {:?}: {event}", self.caught_up));
        }
        self.caught_up = now;
    }

    fn verdict(&mut self, event: &Value) {
        let may_be = ["up-to-date", "catching-up", "stale", "offline"];
        if !event["verdict"].as_str().is_some_and(|word| may_be.contains(&word)) || !event["evidence"].is_null() {
            self.violations.push(format!("nobody gave cause for a verdict: {event}"));
        }
    }
}

impl Seen {
    fn words(&self) -> String {
        let noted = if self.unnoted.is_some() { ", perhaps not noted" } else { "" };
        format!("{} at {}.{} in life {}{noted}", self.op, self.term, self.offset, self.life)
    }
}

/// What the reader of this life may believe of the record when it prints the next change of it. In one life it knows what it printed.
fn presence(seen: Option<&Seen>, life: u32) -> Presence {
    let Some(seen) = seen else { return Presence { there: false, absent: true } };
    let earlier = seen.unnoted.filter(|_| seen.life != life).unwrap_or_default();
    Presence { there: earlier.there || seen.hash.is_some(), absent: earlier.absent || seen.hash.is_none() }
}

/// A reader that was killed may have been about to print a create. It cannot know, so what comes next is told as if it had. [P-15]
/// That can be so once after each kill.
fn had_unseen_create(before: Option<&Seen>, now: &Seen) -> bool {
    let again = before.is_some_and(|seen| seen.offset == now.offset || (seen.unseen_create && seen.life == now.life));
    now.op != "create" && !presence(before, now.life).there && now.life > 0 && !again
}

/// Why the one must not be printed after the other.
fn fault(before: Option<&Seen>, now: &Seen, again: bool) -> Option<&'static str> {
    let believed = presence(before, now.life);
    let last = before.map_or((0, 0), |seen| (seen.term, seen.offset));
    if again {
        let first = before?;
        return match first {
            _ if first.unnoted.is_none() || first.life == now.life => Some("printed again after it was noted"),
            _ if first.hash != now.hash || first.op != now.op => Some("another effect under the same id"),
            _ => None,
        };
    }
    match now.op.as_str() {
        _ if (now.term, now.offset) < last => Some("an order that goes back"),
        _ if before.is_some_and(|seen| now.write < seen.write) => Some("an older write after a newer one"),
        _ if now.unseen_create => None,
        "create" if !believed.absent => Some("a create of what exists"),
        "update" | "delete" if !believed.there => Some("an update or a delete of what does not exist"),
        "create" | "update" | "delete" => None,
        _ => Some("no operation"),
    }
}
