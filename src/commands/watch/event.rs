//! The events that a watch prints. Scripts rely on their fields.

use data_encoding::HEXLOWER;
use serde::Serialize;
use tidings_client::{CaughtUp, FollowedValue, Rewound, VerdictReport};
use tidings_core::RecordPath;
use tidings_core::reader::{ChangeKind, Verdict};
use tidings_datastore::Unprinted;
use tidings_proto::Timestamp;

use crate::clock;
use crate::commands::record;
use crate::failure::Failure;
use crate::output::Form;

/// Paths of a rewound queue that one line names.
const GONE_MAX: usize = 100;
/// The same of a line in words.
const GONE_SHOWN: usize = 3;

/// One line.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Line<'a> {
    /// A record changed.
    Change { owner: &'a str, path: &'a str, op: &'static str, term: u64, offset: u64, hash: Option<String>, size: u64, fetched: bool },
    /// The newest announced head is verified.
    CaughtUp { owner: &'a str, term: u64, number: u64, offset: u64, entries: u64, bytes: u64, as_of: String },
    /// What is known about the view changed.
    Verdict {
        owner: &'a str,
        verdict: &'static str,
        as_of: Option<String>,
        detail: &'a str,
        evidence: Option<String>,
        /// Records that are there no more, the first ones; only where a rewound queue is verified.
        #[serde(skip_serializing_if = "Option::is_none")]
        gone: Option<Vec<&'a str>>,
        /// How many are there no more.
        #[serde(skip_serializing_if = "Option::is_none")]
        gone_count: Option<u64>,
    },
}

impl<'a> Line<'a> {
    /// A change as it was handed out.
    pub(super) fn change(owner: &'a str, change: &'a Unprinted) -> Self {
        let op = match change.kind {
            ChangeKind::Create => "create",
            ChangeKind::Update => "update",
            ChangeKind::Delete => "delete",
        };
        Self::Change {
            owner,
            path: change.path.as_str(),
            op,
            term: change.term.value(),
            offset: change.offset.value(),
            hash: change.hash.map(|hash| HEXLOWER.encode(&hash)),
            size: change.size,
            fetched: change.fetched,
        }
    }

    /// A record that is here, as if it had just been created.
    pub(super) fn present(owner: &'a str, value: &'a FollowedValue, fetched: bool) -> Self {
        Self::Change {
            owner,
            path: value.mutation.path.as_str(),
            op: "create",
            term: value.term.value(),
            offset: value.offset.value(),
            hash: record::hash(&value.mutation),
            size: value.mutation.size(),
            fetched,
        }
    }

    /// A verified head.
    pub(super) fn caught_up(owner: &'a str, caught_up: &CaughtUp) -> Self {
        let cursor = &caught_up.cursor;
        Self::CaughtUp {
            owner,
            term: cursor.rank.term.value(),
            number: cursor.rank.number.value(),
            offset: cursor.offset.value(),
            entries: caught_up.entries,
            bytes: caught_up.bytes,
            as_of: clock::text(caught_up.as_of),
        }
    }

    /// A verdict.
    pub(super) fn verdict(owner: &'a str, report: &'a VerdictReport) -> Self {
        Self::Verdict {
            owner,
            verdict: report.verdict.word(),
            as_of: clock::text_or_none(report.as_of),
            detail: &report.detail,
            evidence: report.evidence.as_ref().map(|path| path.display().to_string()),
            gone: None,
            gone_count: None,
        }
    }

    /// The owner went on from an earlier head, and what it signed since is verified. [P-14]
    pub(super) fn rewound(owner: &'a str, rewound: &'a Rewound, as_of: Timestamp) -> Self {
        Self::Verdict {
            owner,
            verdict: Verdict::Rewound.word(),
            as_of: clock::text_or_none(as_of),
            detail: "the owner went on from an earlier head; what differs follows as changes",
            evidence: None,
            gone: Some(rewound.gone.iter().take(GONE_MAX).map(RecordPath::as_str).collect()),
            gone_count: Some(rewound.gone_count),
        }
    }

    /// Prints it as one flushed line.
    pub(super) fn print(&self, form: &Form) -> Result<(), Failure> {
        form.line(self, || self.words())
    }

    fn words(&self) -> String {
        match self {
            Self::Change { owner, path, op, size, fetched, .. } => {
                let missing = if *fetched { "" } else { ", not fetched" };
                format!("{op} {owner}:{path} ({size} bytes{missing})")
            }
            Self::CaughtUp { owner, entries, bytes, as_of, .. } => {
                format!("caught up with {owner}: {entries} entries, {bytes} bytes, as of {as_of}")
            }
            Self::Verdict { owner, verdict, as_of, detail, evidence, gone, gone_count } => {
                let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
                let evidence = evidence.as_ref().map_or_else(String::new, |path| format!("; evidence in {path}"));
                let gone = gone_count.map_or_else(String::new, |count| no_more(gone.as_deref().unwrap_or_default(), count));
                format!("{owner} is {verdict}{detail}, as of {}{evidence}{gone}", as_of.as_deref().unwrap_or("never"))
            }
        }
    }
}

fn no_more(gone: &[&str], count: u64) -> String {
    let shown = gone.iter().take(GONE_SHOWN).copied().collect::<Vec<_>>().join(", ");
    let more = if count > GONE_SHOWN as u64 { ", ..." } else { "" };
    let names = if shown.is_empty() { String::new() } else { format!(": {shown}{more}") };
    format!("; {count} records are there no more{names}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::{Cursor, Mutation, Operation, Version};
    use tidings_proto::{Offset, QueueId, Term};

    fn json(line: &Line<'_>) -> String {
        serde_json::to_string(line).expect("it is JSON")
    }

    fn mutation(path: &str, inline: Option<bytes::Bytes>) -> Mutation {
        let (path, operation) = (path.parse().expect("a path"), Operation::Update);
        Mutation { path, operation, version: Version::ZERO, object: None, inline, headers: vec![], unknown: vec![] }
    }

    /// Fields may be added, never removed or renamed.
    #[test]
    fn a_change_is_printed_as_documented() {
        let mutation = mutation("/favorites/color", Some(b"blue".to_vec().into()));
        let value = FollowedValue { mutation, term: Term::new(1), offset: Offset::new(7), as_of: Timestamp::ZERO };
        let hash = "2f16cf640fe39abfad274e65537fe801be2f412b84000c3e3fa2b104db805f59";
        let expected = format!(
            r#"{{"event":"change","owner":"did:key:z","path":"/favorites/color","op":"create","term":1,"offset":7,"hash":"{hash}","size":4,"fetched":true}}"#
        );
        assert_eq!(json(&Line::present("did:key:z", &value, true)), expected);
    }

    /// [P-14] What is gone is named, and how much it is where not all of it is.
    #[test]
    fn a_rewound_queue_is_printed_with_what_is_gone() {
        let gone = (0..GONE_MAX + 1).map(|number| format!("/{number}").parse().expect("a path")).collect();
        let start = Cursor::start(&QueueId::new([0; 32]));
        let rewound = Rewound { from: start, to: start, gone, gone_count: 20_000 };
        let line: serde_json::Value = serde_json::from_str(&json(&Line::rewound("o", &rewound, Timestamp::new(1000)))).expect("JSON");
        assert_eq!((&line["verdict"], line["gone_count"].as_u64(), &line["gone"][99]), (&"rewound".into(), Some(20_000), &"/99".into()));
        assert_eq!(line["gone"].as_array().map(Vec::len), Some(GONE_MAX));
        let words = Line::rewound("o", &rewound, Timestamp::new(1000)).words();
        assert!(words.ends_with("; 20000 records are there no more: /0, /1, /2, ..."), "{words}");
        let one = Rewound { gone: vec!["/a".parse().expect("a path")], gone_count: 1, ..rewound };
        assert!(Line::rewound("o", &one, Timestamp::ZERO).words().ends_with("; 1 records are there no more: /a"));
    }

    /// [P-16] No verdict without the time of what it rests on.
    #[test]
    fn a_verdict_is_printed_as_documented() {
        let report = VerdictReport { verdict: Verdict::UpToDate, as_of: Timestamp::new(1000), detail: "d".into(), evidence: None };
        let expected =
            r#"{"event":"verdict","owner":"o","verdict":"up-to-date","as_of":"1970-01-01T00:00:01.000Z","detail":"d","evidence":null}"#;
        assert_eq!(json(&Line::verdict("o", &report)), expected);
    }
}
