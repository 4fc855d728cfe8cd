//! A file with evidence. [P-14]

use std::path::Path;

use bytes::Bytes;
use serde::Serialize;
use tidings_core::reader::{Evidence, Verdict};
use tidings_core::{Did, Object, SignedHead, verify_inclusion};

use crate::args::Globals;
use crate::clock;
use crate::failure::Failure;
use crate::whole_file;

/// Longest file that is taken for evidence.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What the file says, and what of it needs no trust in who wrote it.
#[derive(Serialize)]
struct Checked {
    verdict: &'static str,
    owner: String,
    queue: String,
    broker: String,
    as_of: Option<String>,
    detail: String,
    /// Heads that the owner's key has signed: the verified one first, then those that the broker announced.
    heads: Vec<HeadLine>,
    staged: usize,
    /// Whether the heads alone prove that the owner's key signed two histories. The rest is the reader's word.
    proves: bool,
}

#[derive(Serialize)]
struct HeadLine {
    term: u64,
    number: u64,
    offset: u64,
    signed: String,
    hash: String,
}

/// Checks it and prints what it says.
///
/// # Errors
/// It is no evidence: not of that form, or with a head that the owner's key never signed.
pub(super) fn run(globals: &Globals, path: &Path) -> Result<(), Failure> {
    let none =
        |why: String| Failure::new(format!("{} is no evidence: {why}", path.display()), "ask whoever gave it to you for the whole file");
    let evidence = Evidence::decode(&read(path)?).map_err(|error| none(error.to_string()))?;
    let heads = heads(&evidence).map_err(none)?;
    let checked = Checked::of(&evidence, &heads);
    globals.form().line(&checked, || checked.words())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    whole_file::read(path, FILE_BYTES_MAX)
        .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display()), "name a file that can"))
}

/// Every head in it, if each is signed by the owner of the queue.
fn heads(evidence: &Evidence) -> Result<Vec<SignedHead>, String> {
    let head = |bytes: &Bytes| {
        let head = SignedHead::parse(bytes.clone()).map_err(|error| format!("a head is none: {error}"))?;
        head.verify(&evidence.descriptor.signing_key).map_err(|_| "a head is not signed by the owner".to_owned())?;
        match head.head().queue == evidence.descriptor.id() {
            true => Ok(head),
            false => Err("a head is of another queue".to_owned()),
        }
    };
    let verified = Some(&evidence.verified).filter(|bytes| !bytes.is_empty());
    verified.into_iter().chain(&evidence.announced).map(head).collect()
}

/// Two heads of one rank that differ; or a head whose history holds another than the verified one at its number.
fn proves(evidence: &Evidence, heads: &[SignedHead]) -> bool {
    let twins = heads.iter().any(|one| heads.iter().any(|other| one.rank() == other.rank() && one.hash() != other.hash()));
    let verified = heads.first().filter(|_| !evidence.verified.is_empty());
    let (Some(verified), Some((leaf, proof))) = (verified, &evidence.leaf) else { return twins };
    let number = verified.rank().number.value();
    let leads_there = |head: &SignedHead| {
        let (root, leaves) = (&head.head().history_root, head.rank().number.value());
        let is_next = number.checked_add(1) == Some(leaves);
        let leads = if is_next { head.head().previous.bytes() == leaf } else { verify_inclusion(root, leaves, number, leaf, proof) };
        head.rank().term == verified.rank().term && leads
    };
    twins || (verified.hash().bytes() != leaf && heads.iter().skip(1).any(leads_there))
}

impl Checked {
    fn of(evidence: &Evidence, heads: &[SignedHead]) -> Self {
        Self {
            verdict: Verdict::word(evidence.verdict),
            owner: Did(evidence.descriptor.signing_key).to_string(),
            queue: evidence.descriptor.id().to_string(),
            broker: evidence.broker.clone(),
            as_of: clock::text_or_none(evidence.as_of),
            detail: evidence.detail.clone(),
            heads: heads.iter().map(HeadLine::of).collect(),
            staged: evidence.staged.len(),
            proves: proves(evidence, heads),
        }
    }

    fn words(&self) -> String {
        let mut lines = vec![
            format!("{}: {} (as of {})", self.verdict, self.detail, self.as_of.as_deref().unwrap_or("never")),
            format!("owner {}", self.owner),
            format!("broker {}", self.broker),
        ];
        lines.extend(
            self.heads.iter().map(|head| format!("signed head {}.{}, offset {}, {}", head.term, head.number, head.offset, head.signed)),
        );
        lines.push(match self.proves {
            true => "the heads alone prove that the owner's key signed two histories".to_owned(),
            false => "the heads are signed by the owner; what the broker sent is the reader's word".to_owned(),
        });
        lines.join("\n")
    }
}

impl HeadLine {
    fn of(head: &SignedHead) -> Self {
        Self {
            term: head.rank().term.value(),
            number: head.rank().number.value(),
            offset: head.head().offset.value(),
            signed: clock::text(head.head().time),
            hash: data_encoding::HEXLOWER.encode(head.hash().bytes()),
        }
    }
}
