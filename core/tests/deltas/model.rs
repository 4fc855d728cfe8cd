//! Random branches of one owner's key, brokers that hold any of them, and a reader between them, against a model that knows all.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use tidings_core::path::RecordPath;
use tidings_core::reader::Rewound;
use tidings_core::{NewTerm, SignedHead, Step, Verdict};
use tidings_proto::frames::Reply;
use tidings_proto::{Epoch, HeadHash, HeadNumber, Offset, Term};

use crate::paper::{Dice, Owner, PaperBroker, Session, path};
use crate::world::Follower;

type View = BTreeMap<RecordPath, Bytes>;

/// Everything that was ever signed.
struct Branches {
    dice: Dice,
    /// Homes as they were; any of them may be put back.
    copies: Vec<Owner>,
    owner: Owner,
    /// Each branch up to now, for brokers to hold some of.
    logs: Vec<Vec<tidings_proto::frames::Publish>>,
    views: HashMap<HeadHash, View>,
    parents: HashMap<HeadHash, HeadHash>,
    seen: (Term, Epoch),
    salt: u64,
}

impl Branches {
    fn new(seed: u64) -> (Self, Follower) {
        let mut owner = Owner::new(seed);
        let follower = Follower::new(&mut owner);
        let dice = Dice::new(seed ^ 0x5EED);
        let mut branches = Self {
            dice,
            copies: vec![owner.clone()],
            owner,
            logs: vec![Vec::new()],
            views: HashMap::new(),
            parents: HashMap::new(),
            seen: (Term::ZERO, Epoch::ZERO),
            salt: 1,
        };
        branches.remember();
        (branches, follower)
    }

    fn remember(&mut self) {
        let head = self.owner.writer.head().expect("a head").clone();
        self.seen = (self.seen.0.max(head.head().term), self.seen.1.max(head.head().epoch));
        self.views.insert(head.hash(), visible(&self.owner.values));
        for publish in &self.owner.log {
            let head = SignedHead::parse(publish.head.clone()).expect("a head");
            self.parents.insert(head.hash(), head.head().previous);
        }
        *self.logs.last_mut().expect("a branch") = self.owner.log.clone();
    }

    /// The owner publishes, changes keys, is copied, or an old copy of it is put back and goes on in a new term.
    fn tick(&mut self) {
        match self.dice.roll(20) {
            0 => self.copies.push(self.owner.clone()),
            1 => self.put_back(),
            2 => _ = self.owner.rotate(Vec::new()),
            _ => self.publish(),
        }
        self.remember();
    }

    fn put_back(&mut self) {
        let pick = self.dice.roll(self.copies.len() as u64) as usize;
        self.salt += 1;
        self.owner = self.copies[pick].copied(self.salt);
        self.logs.push(Vec::new());
        // One that could not compare keeps its keys, so that branches give one epoch to two secrets.
        let how = if self.dice.chance(60) { NewTerm::ON_OWN_HEAD } else { NewTerm::on_found_head(self.seen.1) };
        self.owner.open_term(self.seen.0, how);
        self.publish();
    }

    fn publish(&mut self) {
        let changes: Vec<_> = (0..self.dice.roll(5)).map(|_| self.change()).collect();
        let offset = self.owner.writer.head().expect("a head").head().offset.value();
        let floor = self.dice.chance(25).then(|| Offset::new(self.dice.roll(offset + 1)));
        self.owner.publish(&changes, floor);
    }

    fn change(&mut self) -> (RecordPath, Option<Bytes>) {
        let number = self.dice.roll(14);
        let path = if number == 13 { "/.tidings/rescued/aa".parse().expect("a path") } else { path(number) };
        (path, (!self.dice.chance(35)).then(|| Bytes::from(self.dice.roll(1 << 40).to_string())))
    }

    /// A broker that holds some branch up to somewhere, most often the newest one.
    fn broker(&mut self) -> PaperBroker {
        let newest = self.logs.len() - 1;
        let branch = if self.dice.chance(60) { newest } else { self.dice.roll(self.logs.len() as u64) as usize };
        let log = self.logs[branch].clone();
        let lag = if self.dice.chance(60) { 0 } else { self.dice.roll(4) as usize };
        let mut broker = PaperBroker::default();
        broker.receive(&log, log.len().saturating_sub(lag).max(1));
        broker
    }

    fn is_in_history_of(&self, earlier: HeadHash, head: HeadHash) -> bool {
        let mut at = Some(head);
        while let Some(hash) = at {
            if hash == earlier {
                return true;
            }
            at = self.parents.get(&hash).copied();
        }
        false
    }
}

/// What an application sees of the owner's records.
fn visible(values: &View) -> View {
    values.iter().filter(|(path, _)| !path.is_reserved()).map(|(path, value)| (path.clone(), value.clone())).collect()
}

/// What happened, so that a test cannot pass by nothing happening.
#[derive(Debug, Default)]
struct Tally {
    accepted: u64,
    rewound: u64,
    gone: u64,
    verdicts: u64,
    behind: u64,
    restarts: u64,
    proven_again: u64,
}

/// A reader, and what the model says of it.
struct Watched {
    follower: Follower,
    /// The verified head.
    at: (HeadHash, Term, HeadNumber),
    /// It was told that the owner left this branch.
    told: bool,
    restarts_in_a_row: u64,
}

impl Watched {
    fn check_accepted(&mut self, branches: &Branches, accepted: &tidings_core::reader::Accepted, tally: &mut Tally) {
        let head = accepted.cursor.head;
        let (before, after) = (self.view(branches, self.at.0), self.view(branches, head));
        assert_eq!(visible(&self.follower.holds()), after, "a wrong view");
        assert_eq!(self.follower.seen, after, "the net difference is wrong");
        let descends = branches.is_in_history_of(self.at.0, head);
        assert_eq!(accepted.rewound.is_none(), descends);
        if let Some(Rewound { from, gone, gone_count }) = &accepted.rewound {
            let expected: Vec<_> = before.keys().filter(|path| !after.contains_key(*path)).cloned().collect();
            assert_eq!((from.head, gone, *gone_count), (self.at.0, &expected, expected.len() as u64));
            assert!(self.told, "rewound without a verdict");
            (tally.rewound, tally.gone) = (tally.rewound + 1, tally.gone + gone_count);
        } else if self.told {
            tally.proven_again += 1;
        }
        self.at = (head, accepted.cursor.rank.term, accepted.cursor.rank.number);
        (self.told, self.restarts_in_a_row) = (false, 0);
        tally.accepted += 1;
    }

    fn view(&self, branches: &Branches, head: HeadHash) -> View {
        branches.views.get(&head).cloned().unwrap_or_default()
    }

    /// One connection to an honest broker, cut anywhere.
    fn connect(&mut self, branches: &mut Branches, tally: &mut Tally) {
        let broker = branches.broker();
        let subscribe = self.follower.reader.begin("an honest broker", &mut self.follower.store).expect("memory does not fail");
        let mut session = Session::new(&subscribe);
        let mut waiting: std::collections::VecDeque<Reply> = broker.grant_for(&subscribe).map(Reply::Grant).into_iter().collect();
        loop {
            if waiting.is_empty() {
                waiting.extend(session.next(&broker, 1 + branches.dice.roll(4) as usize));
            }
            let reply = waiting.pop_front().expect("a broker always answers");
            match self.follower.take(&reply) {
                Step::Continue => {}
                Step::AskBitmap => waiting.extend(session.bitmap(&broker, 1 + branches.dice.roll(2), 2)),
                Step::Accepted(accepted) => return self.check_accepted(branches, &accepted, tally),
                Step::Behind => return tally.behind += 1,
                Step::Restart(fault) => {
                    (tally.restarts, self.restarts_in_a_row) = (tally.restarts + 1, self.restarts_in_a_row + 1);
                    assert!(self.restarts_in_a_row < 20, "no end: {fault}");
                    return;
                }
                Step::LocalDamage => panic!("nobody damaged the reader"),
                Step::Verdict(finding) => return self.check_verdict(branches, finding.verdict, &broker, tally),
            }
            if branches.dice.chance(10) {
                return;
            }
        }
    }

    /// [P-14] The only verdict between honest brokers is that the owner went on elsewhere, said once, and only if it is so.
    fn check_verdict(&mut self, branches: &Branches, verdict: Verdict, broker: &PaperBroker, tally: &mut Tally) {
        assert_eq!(verdict, Verdict::Rewound);
        assert!(!self.told, "said twice");
        assert!(broker.head().rank().term > self.at.1 && !branches.is_in_history_of(self.at.0, broker.head().hash()));
        self.told = true;
        tally.verdicts += 1;
    }
}

/// [P-13] [P-14] [P-15]
#[test]
fn between_random_branches_no_view_is_wrong_and_no_honest_broker_is_accused_of_anything_but_a_rewind() {
    let mut tally = Tally::default();
    for seed in 0..300 {
        let (mut branches, follower) = Branches::new(seed);
        let start = HeadHash::new(*follower.reader.queue().bytes());
        let at = (start, Term::ZERO, HeadNumber::ZERO);
        let mut watched = Watched { follower, at, told: false, restarts_in_a_row: 0 };
        for _ in 0..40 {
            for _ in 0..branches.dice.roll(4) {
                branches.tick();
            }
            if branches.dice.chance(25) {
                watched.follower.restart();
            }
            watched.connect(&mut branches, &mut tally);
        }
    }
    println!("{tally:?}");
    let enough = [tally.accepted > 3_000, tally.rewound > 300, tally.gone > 300, tally.behind > 300, tally.restarts > 10];
    assert_eq!(enough, [true; 5], "{tally:?}");
    assert!(tally.proven_again > 0, "{tally:?}");
}

/// [P-14] A lie between two branches: replayed grants of the branch that was given up, sent by a broker before it goes silent.
#[test]
fn grants_of_a_branch_that_was_given_up_keep_no_reader_from_the_other_one() {
    for seed in 0..60 {
        let (mut branches, follower) = Branches::new(seed);
        let mut replayed: Vec<Bytes> = Vec::new();
        let mut known = HashSet::new();
        let at = (HeadHash::new(*follower.reader.queue().bytes()), Term::ZERO, HeadNumber::ZERO);
        let mut watched = Watched { follower, at, told: false, restarts_in_a_row: 0 };
        let mut tally = Tally::default();
        for _ in 0..40 {
            branches.tick();
            if branches.dice.chance(20) {
                branches.owner.rotate(Vec::new());
                branches.remember();
            }
            let subscribe = watched.follower.reader.begin("a liar", &mut watched.follower.store).expect("memory does not fail");
            let newest = branches.broker().grant_for(&subscribe);
            replayed.extend(newest.filter(|grant| known.insert(grant.clone())));
            if !replayed.is_empty() {
                let pick = branches.dice.roll(replayed.len() as u64) as usize;
                let step = watched.follower.take(&Reply::Grant(replayed[pick].clone()));
                assert!(matches!(step, Step::Continue));
            }
            watched.connect(&mut branches, &mut tally);
        }
        assert!(tally.accepted > 0);
    }
}
