//! The reader's steps: each is one transaction over the held set, the reader and the waiting changes. [P-15]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use redb::WriteTransaction;
use tidings_core::reader::{self as core, Accepted, Change, Evidence, Fault, Finding, PulseTaken, Reader, Step, Verdict};
use tidings_core::{Acknowledgement, Cursor, NodeKey, SignedHead};
use tidings_proto::frames::Subscribe;
use tidings_proto::{QueueId, Refusal, RefusalCode, Reply, Timestamp};

use super::event::VerdictReport;
use super::evidence;
use super::follow::FollowError;
use super::handout::{HandOut, Session};
use super::unwritten::Unwritten;
use crate::clock;
use crate::state::{About, Claim, Claimed, FollowStep, FollowTables, FollowView, Keep, Rewound, Staged, State, StateError};

/// After so many steps that a crash may lose, one is durable: an interrupted catch-up begins at most that far back.
const VOLATILE_STEPS_MAX: u32 = 32;

/// One follow: the reader in memory and its rows on disk.
pub(super) struct Following {
    state: State,
    key: Arc<NodeKey>,
    queue: QueueId,
    reader: Reader,
    handout: HandOut,
    /// What is kept about the follow, but for what the application acknowledged since: nobody else changes that while this runs.
    known: About,
    evidence_dir: Option<PathBuf>,
    /// Evidence files of this session, and the cursor that they are about.
    kept: (Cursor, HashMap<Kept, PathBuf>),
    volatile_steps: u32,
    /// Of the delta that is on its way.
    unwritten: Unwritten,
    _claimed: Claimed,
}

/// What one evidence file is about: broker, verdict, detail.
type Kept = (String, Verdict, String);

/// What a run of frames led to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) ask_bitmap: bool,
    pub(super) accepted: Option<Accepted>,
    /// The last pulse that was not void.
    pub(super) pulse: Option<PulseTaken>,
    /// The acknowledged cursor moved: nothing waits for the application.
    pub(super) acknowledge: Option<Cursor>,
    /// The owner went on from an earlier head, and that is verified now; with what the application has not confirmed of before.
    pub(super) rewound: Option<Rewound>,
    /// Changes that were handed out in the same step.
    pub(super) handed_out: Option<Vec<Change>>,
    pub(super) end: Option<End>,
}

/// A step that is done.
struct Stepped {
    outcome: Outcome,
    reader: Reader,
    written: Written,
}

/// How far the end of a step is written.
enum Written {
    Not(Staged),
    UntilCrash,
    Durably,
}

/// An application that waits for changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listening {
    /// It takes so many at once.
    pub(super) limit: usize,
    /// Also before this session has caught up.
    pub(super) open: bool,
}

/// Why a subscription ends.
#[derive(Debug)]
pub(super) enum End {
    Behind,
    Restart(Fault),
    LocalDamage,
    Verdict(Box<Finding>),
    Refused(Refusal),
    OutOfTurn,
}

impl Following {
    pub(super) fn open(handout: HandOut, key: Arc<NodeKey>, evidence_dir: Option<PathBuf>) -> Result<Self, FollowError> {
        let (state, queue) = (handout.state.clone(), handout.queue);
        let claimed = state.claim(Claim::Follow(queue)).ok_or(FollowError::AlreadyStarted)?;
        let (reader, known) = state.read(|transaction| {
            let view = FollowView(transaction);
            Ok((view.reader(&queue)?, view.about(&queue)?))
        })?;
        let (reader, known) = reader.zip(known).ok_or(FollowError::NotFollowing)?;
        let kept = (reader.cursor(), HashMap::new());
        let (volatile_steps, unwritten) = (0, Unwritten::default());
        let following =
            Self { state, key, queue, reader, handout, known, evidence_dir, kept, volatile_steps, unwritten, _claimed: claimed };
        match following.reopen() {
            // The first frames meet the damage, and mend it.
            Err(StateError::Damaged(_)) => {}
            reopened => reopened?,
        }
        Ok(following)
    }

    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// What to subscribe with at `broker`.
    pub(super) fn begin(&mut self, broker: &str) -> Result<Subscribe, StateError> {
        self.stepped(Keep::UntilCrash, |reader, tables| reader.begin(broker, tables))
    }

    /// What to subscribe with at a broker that is only looked at. Changes nothing.
    pub(super) fn look(&self) -> Subscribe {
        let Ok(subscribe) = self.reader.clone().begin("", &mut core::MemoryReaderStore::default());
        subscribe
    }

    /// Takes frames that came by `now` up to the first that ends the subscription, all in one transaction. What they change is handed
    /// out in the same one to an application that waits for it. [P-15]
    pub(super) fn take(&mut self, frames: Vec<Reply>, now: Timestamp, listening: Option<Listening>) -> Result<Outcome, StateError> {
        let may_wait = self.unwritten.admits(&frames, &self.state.deltas);
        let (frames, ahead) = ((frames, now), self.unwritten.take(&mut self.reader));
        let taken = self.handout.within(|session| {
            let step = |transaction: &_| self.step(transaction, session, ahead, frames, (listening, may_wait));
            let stepped = self.state.write_with(step)?;
            if let (Some(listening), Some(changes)) = (&listening, &stepped.outcome.handed_out) {
                session.remember(changes, Some(stepped.reader.cursor()).filter(|_| changes.len() < listening.limit));
            }
            Ok(stepped)
        });
        let stepped = match taken {
            Ok(stepped) => stepped,
            Err(error) => {
                self.unwritten.end();
                // A row that cannot be read any more is damage of this node like any other. [P-14]
                return if let StateError::Damaged(detail) = error { self.rebuild(&detail) } else { Err(error) };
            }
        };
        match stepped.written {
            Written::Not(rows) => self.unwritten.keep(rows, &self.reader),
            Written::UntilCrash => (self.volatile_steps, self.unwritten) = (self.volatile_steps + 1, Unwritten::default()),
            Written::Durably => (self.volatile_steps, self.unwritten) = (0, Unwritten::default()),
        }
        self.reader = stepped.reader;
        Ok(stepped.outcome)
    }

    /// One transaction of [`Self::take`]. What is staged need not be written if it `may_wait` and nothing else is to be.
    fn step(
        &self,
        transaction: &WriteTransaction,
        session: &mut Session,
        (mut reader, staged): (Reader, Staged),
        (frames, now): (Vec<Reply>, Timestamp),
        (listening, may_wait): (Option<Listening>, bool),
    ) -> Result<(Stepped, Keep), StateError> {
        let (promised, mut outcome) = (reader.is_promised(), Outcome::default());
        let mut tables = FollowTables::open_with(transaction, &self.queue, staged)?;
        // The highest head seen must survive: it keeps older ones out. [P-11]
        let mut durable = self.volatile_steps >= VOLATILE_STEPS_MAX
            || self.unwritten.is_due()
            || frames.iter().any(|frame| matches!(frame, Reply::Announce(_)));
        for frame in frames {
            take_frame(&mut reader, &mut tables, &self.key, (frame, now), &mut outcome)?;
            if outcome.end.is_some() {
                break;
            }
        }
        if may_wait && outcome.end.is_none() {
            return Ok((Stepped { outcome, reader, written: Written::Not(tables.into_staged()) }, Keep::Nothing));
        }
        tables.keep_staged()?;
        // A lost pulse makes a later one of the same promise due earlier; a lost first one would be a promise forgotten. [P-16]
        durable |= outcome.accepted.is_some() || outcome.end.is_some() || (reader.is_promised() && !promised);
        let settled = outcome.accepted.is_some() && tables.none_waits()?;
        session.unseen.changed(tables.take_touched());
        if let (Some(listening), Some(accepted)) = (&listening, &outcome.accepted)
            && accepted.changes > 0
            && (listening.open || accepted.caught_up)
        {
            outcome.handed_out = Some(session.mark(&mut tables, listening.limit)?);
        }
        drop(tables);
        let step = FollowStep(transaction);
        step.put_reader(&reader)?;
        if let Some(accepted) = &mut outcome.accepted
            && let Some(core::Rewound { from, gone, gone_count }) = accepted.rewound.take()
        {
            let rewound = Rewound { from, to: accepted.cursor, gone, gone_count };
            outcome.rewound = Some(step.add_rewound(&self.queue, rewound)?);
        }
        if settled {
            outcome.acknowledge = step.acknowledge(&self.queue, Some(reader.cursor()))?;
        }
        let (written, keep) = if durable { (Written::Durably, Keep::Durably) } else { (Written::UntilCrash, Keep::UntilCrash) };
        Ok((Stepped { outcome, reader, written }, keep))
    }

    /// One step of the reader alone, in a transaction of its own.
    fn stepped<T>(
        &mut self,
        keep: Keep,
        step: impl FnOnce(&mut Reader, &mut FollowTables<'_>) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let (mut reader, staged) = self.unwritten.take(&mut self.reader);
        let done = self.handout.within(|session| {
            self.state.write_with(|transaction| {
                let mut tables = FollowTables::open_with(transaction, &self.queue, staged)?;
                let done = step(&mut reader, &mut tables)?;
                tables.keep_staged()?;
                session.unseen.changed(tables.take_touched());
                drop(tables);
                FollowStep(transaction).put_reader(&reader)?;
                Ok::<_, StateError>((done, keep))
            })
        });
        self.unwritten.end();
        if done.is_ok() {
            self.reader = reader;
        }
        done
    }

    /// Writes what is only in memory of a delta: whether it goes on, nobody knows.
    pub(super) fn keep_part(&mut self) -> Result<(), StateError> {
        if !self.has_part() {
            return Ok(());
        }
        self.stepped(Keep::Durably, |_, _| Ok(()))
    }

    /// Whether a part of a delta is only in memory.
    pub(super) fn has_part(&self) -> bool {
        self.unwritten.has_waited()
    }

    fn rebuild(&mut self, detail: &str) -> Result<Outcome, StateError> {
        tracing::error!(%detail, "the held set cannot be read; it is read again from the broker");
        self.stepped(Keep::Durably, |reader, tables| reader.rebuild(tables).map(drop))?;
        Ok(Outcome { end: Some(End::LocalDamage), ..Outcome::default() })
    }

    /// The witness's head was not shown in all the time there was. [P-21]
    pub(super) fn overdue(&mut self, witnessed: &SignedHead) -> Result<Option<End>, StateError> {
        let step = self.stepped(Keep::Durably, |reader, tables| reader.on_overdue(witnessed, tables))?;
        let mut outcome = Outcome::default();
        apply(step, &mut outcome);
        Ok(outcome.end)
    }

    /// What an older build could not read may be readable now. [P-20]
    fn reopen(&self) -> Result<(), StateError> {
        if !self.state.read(|transaction| FollowView(transaction).has_quarantined(&self.queue))? {
            return Ok(());
        }
        self.handout.within(|session| {
            self.state.write(|transaction| {
                let mut tables = FollowTables::open(transaction, &self.queue)?;
                self.reader.reopen(&mut tables)?;
                session.unseen.changed(tables.take_touched());
                Ok(())
            })
        })
    }

    /// What the application has made durable in this session or an earlier one.
    pub(super) fn acknowledged(&self) -> Result<Option<Cursor>, StateError> {
        let about = self.state.read(|transaction| FollowView(transaction).about(&self.queue))?;
        about.map(|about| about.acknowledged).ok_or_else(|| StateError::Damaged("the follow was removed while it runs".into()))
    }

    /// The signed acknowledgement of what the application has made durable. Does not touch the state.
    pub(super) fn acknowledgement(&self, cursor: Cursor) -> Bytes {
        let body = Acknowledgement { queue: self.queue, reader: self.reader.pseudonym(), cursor };
        body.sign(&self.reader.pseudonym_key())
    }

    pub(super) fn addresses(&self) -> &[String] {
        &self.known.addresses
    }

    /// The verdict that a session begins with: what was so in the last one is not known to be so now. An accusation stands.
    pub(super) fn first_report(&mut self) -> Result<VerdictReport, StateError> {
        if !accuses(self.known.verdict) {
            self.put_verdict(Verdict::Offline, "not connected yet", "", Keep::UntilCrash)?;
        }
        Ok(self.report())
    }

    fn report(&self) -> VerdictReport {
        report(&self.known, self.reader.as_of())
    }

    /// Keeps the evidence of a finding, once for each cursor, and the verdict.
    pub(super) fn find(&mut self, finding: &Finding) -> Result<(VerdictReport, bool), StateError> {
        let known = &self.known;
        let is_known = known.verdict == finding.verdict && known.detail == finding.detail && !known.evidence.is_empty();
        let file = match &finding.evidence {
            // Otherwise a broker that lies at every attempt would fill the disk.
            Some(_) if is_known => Some(PathBuf::from(&known.evidence)),
            Some(evidence) => self.keep(evidence)?,
            None => None,
        };
        self.judge(finding.verdict, &finding.detail, file)
    }

    fn keep(&mut self, evidence: &Evidence) -> Result<Option<PathBuf>, StateError> {
        let Some(folder) = &self.evidence_dir else { return Ok(None) };
        if self.kept.0 != self.reader.cursor() {
            self.kept = (self.reader.cursor(), HashMap::new());
        }
        let about = (evidence.broker.clone(), evidence.verdict, evidence.detail.clone());
        if let Some(file) = self.kept.1.get(&about) {
            return Ok(Some(file.clone()));
        }
        let file = evidence::keep(folder, evidence, clock::now())?;
        self.kept.1.insert(about, file.clone());
        Ok(Some(file))
    }

    /// Keeps a verdict. Gives it, and whether it is news. An accusation stands until the view is verified again: that nobody
    /// can be reached does not clear anybody.
    pub(super) fn judge(&mut self, verdict: Verdict, detail: &str, evidence: Option<PathBuf>) -> Result<(VerdictReport, bool), StateError> {
        let evidence = evidence.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some(report) = self.unchanged(verdict, detail, &evidence) {
            return Ok((report, false));
        }
        self.put_verdict(verdict, detail, &evidence, Keep::Durably)?;
        Ok((self.report(), true))
    }

    /// What is reported if this verdict is no news. Does not touch the state.
    pub(super) fn unchanged(&self, verdict: Verdict, detail: &str, evidence: &str) -> Option<VerdictReport> {
        let stays = accuses(self.known.verdict) && !accuses(verdict) && verdict != Verdict::UpToDate;
        (stays || self.says(verdict, detail, evidence)).then(|| self.report())
    }

    fn says(&self, verdict: Verdict, detail: &str, evidence: &str) -> bool {
        let known = &self.known;
        known.verdict == verdict && known.evidence == evidence && known.detail.chars().eq(detail.chars().take(DETAIL_CHARS_MAX))
    }

    /// Whether the last word is that the owner had gone back.
    pub(super) fn is_rewound(&self) -> bool {
        self.known.verdict == Verdict::Rewound
    }

    /// What the owner went on with is verified: that it had gone back is said of the view no more, however old that is. [P-14]
    pub(super) fn end_rewind(&mut self) -> Result<(), StateError> {
        if !self.is_rewound() {
            return Ok(());
        }
        self.put_verdict(Verdict::CatchingUp, "", "", Keep::UntilCrash)
    }

    /// Keeps what is said about the follow, if that is news. The application may acknowledge meanwhile: that stays.
    fn put_verdict(&mut self, verdict: Verdict, detail: &str, evidence: &str, keep: Keep) -> Result<(), StateError> {
        if self.says(verdict, detail, evidence) {
            return Ok(());
        }
        let detail = detail.chars().take(DETAIL_CHARS_MAX).collect();
        let about = About { verdict, detail, evidence: evidence.to_owned(), ..self.known.clone() };
        self.state.write_with(|transaction| {
            let step = FollowStep(transaction);
            let acknowledged = step.about(&self.queue)?.and_then(|now| now.acknowledged);
            step.put_about(&self.queue, &About { acknowledged, ..about.clone() })?;
            Ok::<_, StateError>(((), keep))
        })?;
        self.known = about;
        Ok(())
    }
}

/// Longest detail kept, characters.
const DETAIL_CHARS_MAX: usize = 250;

/// A follow's verdict as it is reported.
pub(super) fn report(about: &About, as_of: Timestamp) -> VerdictReport {
    let evidence = (!about.evidence.is_empty()).then(|| PathBuf::from(&about.evidence));
    VerdictReport { verdict: about.verdict, as_of, detail: about.detail.clone(), evidence }
}

pub(super) fn accuses(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Withheld | Verdict::Forked | Verdict::Rewound)
}

fn take_frame(
    reader: &mut Reader,
    tables: &mut FollowTables<'_>,
    key: &NodeKey,
    (frame, now): (Reply, Timestamp),
    outcome: &mut Outcome,
) -> Result<(), StateError> {
    let step = match frame {
        Reply::Grant(grant) => reader.on_grant(&grant, key, tables)?,
        Reply::Announce(announce) => reader.on_announce(&announce, tables)?,
        Reply::Chunk(chunk) => reader.on_chunk(&chunk, tables)?,
        Reply::Bitmap(part) => reader.on_bitmap(&part, tables)?,
        Reply::Acknowledged(_) => Step::Continue,
        Reply::Pulse(pulse) => {
            let taken = reader.on_pulse(&pulse, now);
            outcome.pulse = Some(taken).filter(|taken| *taken != PulseTaken::Void).or(outcome.pulse);
            Step::Continue
        }
        // What it announced or owes cannot be had from this broker; whoever holds all of it lacks nothing.
        Reply::Refused(refusal) if refusal.code == RefusalCode::Damaged && reader.awaits() => reader.on_damaged(&refusal.detail, tables)?,
        Reply::Refused(refusal) => {
            outcome.end = Some(End::Refused(refusal));
            return Ok(());
        }
        _ => {
            outcome.end = Some(End::OutOfTurn);
            return Ok(());
        }
    };
    apply(step, outcome);
    Ok(())
}

fn apply(step: Step, outcome: &mut Outcome) {
    match step {
        Step::Continue => {}
        Step::AskBitmap => outcome.ask_bitmap = true,
        Step::Accepted(accepted) => outcome.accepted = Some(merged(outcome.accepted.take(), accepted)),
        Step::Behind => outcome.end = Some(End::Behind),
        Step::Restart(fault) => outcome.end = Some(End::Restart(fault)),
        Step::LocalDamage => outcome.end = Some(End::LocalDamage),
        Step::Verdict(finding) => outcome.end = Some(End::Verdict(finding)),
    }
}

fn merged(earlier: Option<Accepted>, mut accepted: Accepted) -> Accepted {
    if let Some(earlier) = earlier {
        accepted.entries += earlier.entries;
        accepted.bytes += earlier.bytes;
        accepted.changes += earlier.changes;
        accepted.caught_up |= earlier.caught_up;
        accepted.rewound = accepted.rewound.or(earlier.rewound);
    }
    accepted
}
