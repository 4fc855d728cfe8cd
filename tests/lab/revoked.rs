//! What a revocation takes, whom it ends and whom it leaves alone, whatever is killed meanwhile. [P-17]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidings_client::{Dial, Publisher, State, Subscriber};
use tidings_core::reader::Verdict;
use tidings_core::{Entry, Grant, Invitation, NodeKey, Object, seal};
use tidings_proto::{Offset, Pseudonym};
use tokio::task::JoinSet;

use super::child;
use super::nodes::{LONG, Reader, below, key, network, owner, published, put, rounds, until};
use crate::world::{Broker, World};

/// Readers of the crowd, and how many of them are there all the time.
/// In what time a revocation is to be receipted and told.
const GOAL: Duration = Duration::from_secs(1);
/// How much slower a machine may be that does other things too; the figure itself is printed.
const BUSY: u32 = 4;
const READERS: u64 = 1_000;
const LIVE: u64 = 50;
/// Offline ones that come back.
const SAMPLE: [u64; 5] = [51, 200, 500, 777, 999];
/// Entries of a queue that are looked at.
const ALL_BYTES: usize = 1 << 24;

/// An owner with many readers at a broker in another process.
struct Crowd {
    publisher: Publisher,
    dial: Arc<dyn Dial>,
    invitations: BTreeMap<u64, String>,
    live: Vec<(Reader, Subscriber)>,
    _broker: Broker,
    _world: World,
    _folder: TempDir,
}

impl Crowd {
    async fn gather() -> Self {
        let (world, folder) = (World::new(), tempfile::tempdir().expect("a folder"));
        let broker = world.broker("127.0.0.1:0", &[]);
        let state = State::open(&folder.path().join("state.redb")).expect("a state");
        let publisher = owner(&state, key(0), &broker.address);
        published(&publisher, vec![put("/before", "1")]).await;
        let invitations = granted(&publisher, 1..=READERS).await;
        let dial = network();
        let mut live = Vec::new();
        for number in 1..=LIVE {
            let reader = Reader::join(key(number), &invitations[&number]);
            let subscriber = reader.start(&dial);
            live.push((reader, subscriber));
        }
        for (reader, subscriber) in &live {
            reader.holds(subscriber, "/before", "1").await;
        }
        Self { publisher, dial, invitations, live, _broker: broker, _world: world, _folder: folder }
    }

    /// Revokes the first live reader; gives how long it took until the receipt, and until the reader was told. It calls itself denied
    /// only if the owner's signed list shows it.
    async fn revoke_first(&self) -> (Duration, Duration) {
        let gone = pseudonym(&self.invitations[&1], &key(1));
        let began = Instant::now();
        let denied = async {
            until(&self.live[0].1, |view| view.verdict.verdict == Verdict::Denied).await;
            began.elapsed()
        };
        let revoked = async {
            self.publisher.revoke(&gone).await.expect("revoked");
            began.elapsed()
        };
        tokio::join!(revoked, denied)
    }

    /// Comes with what it was given at first, and nothing else.
    fn returning(&self, number: u64) -> (Reader, Subscriber) {
        let reader = Reader::join(key(number), &self.invitations[&number]);
        let subscriber = reader.start(&self.dial);
        (reader, subscriber)
    }
}

/// All invitations at once: the owner signs them one after the other, the receipts come meanwhile.
async fn granted(publisher: &Publisher, numbers: impl Iterator<Item = u64>) -> BTreeMap<u64, String> {
    let mut grants = JoinSet::new();
    for number in numbers {
        let publisher = publisher.clone();
        grants.spawn(async move { (number, publisher.grant(key(number).card(), format!("reader {number}")).await.expect("granted")) });
    }
    grants.join_all().await.into_iter().collect()
}

fn grant(invitation: &str, key: &NodeKey) -> Grant {
    let invitation = Invitation::parse(invitation).expect("an invitation");
    Grant::open(&invitation.grant, key, &invitation.descriptor).expect("for this reader")
}

fn pseudonym(invitation: &str, key: &NodeKey) -> Pseudonym {
    tidings_core::PseudonymKey::from_seed(&grant(invitation, key).seed).pseudonym()
}

/// Records whose entries open under any secret of a grant.
async fn opened(publisher: &Publisher, grant: &Grant) -> Vec<String> {
    let snapshot = publisher.snapshot(LONG).await.expect("receipted").expect("a head");
    let entries = snapshot.entries(Offset::ZERO, snapshot.head().head().offset, ALL_BYTES).expect("readable");
    let entries = entries.iter().map(|(_, bytes)| Entry::decode(bytes).expect("an entry"));
    let open = |entry: Entry| grant.secrets.iter().find_map(|secret| seal::open(secret, &grant.queue, &entry).ok());
    entries.filter_map(open).map(|mutation| mutation.path.to_string()).collect()
}

/// [P-17] Of a thousand readers one is revoked, while fifty are connected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_a_thousand_readers_is_revoked_at_once_and_the_others_go_on() {
    let crowd = Crowd::gather().await;
    let (receipted, told) = crowd.revoke_first().await;
    println!("{READERS} readers, {LIVE} live: revoked and receipted in {receipted:?}, the reader told in {told:?}");
    published(&crowd.publisher, vec![put("/after", "2")]).await;

    for (reader, subscriber) in &crowd.live[1..] {
        reader.holds(subscriber, "/after", "2").await;
    }
    for number in SAMPLE {
        let (reader, subscriber) = crowd.returning(number);
        reader.holds(&subscriber, "/after", "2").await;
        assert_eq!(reader.value("/before").as_deref(), Some("1"), "reader {number}");
    }
    assert!(receipted < GOAL * BUSY && told < GOAL * BUSY, "{receipted:?} and {told:?}");
}

/// [P-17] It has its invitation, its grant and its state, and somebody hands it the entries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_reader_reads_nothing_new_with_all_it_has() {
    let world = World::new();
    let broker = world.broker("127.0.0.1:0", &[]);
    let publisher = owner(&State::in_memory().expect("a state"), key(0), &broker.address);
    published(&publisher, vec![put("/before", "1")]).await;
    let invitation = granted(&publisher, 1..=2).await.remove(&1).expect("granted");
    let (old, dial) = (Reader::join(key(1), &invitation), network());
    let subscriber = old.start(&dial);
    old.holds(&subscriber, "/before", "1").await;
    let grant = grant(&invitation, &key(1));
    assert_eq!(opened(&publisher, &grant).await, ["/before"]);

    publisher.revoke(&pseudonym(&invitation, &key(1))).await.expect("revoked");
    published(&publisher, vec![put("/after", "2")]).await;
    until(&subscriber, |view| view.verdict.verdict == Verdict::Denied).await;
    subscriber.close().await;

    let new = Reader::join(key(1), &invitation);
    for reader in [&old, &new] {
        let again = reader.start(&dial);
        until(&again, |view| view.verdict.verdict == Verdict::Denied).await;
        assert_eq!(reader.value("/after"), None);
    }
    assert_eq!((old.value("/before").as_deref(), new.value("/before")), (Some("1"), None));
    assert_eq!(opened(&publisher, &grant).await, ["/before"]);
}

/// Readers in a round with kills: the second one is revoked.
const ROUND_READERS: std::ops::RangeInclusive<u64> = 1..=3;
const GONE: u64 = 2;
/// Two to this many microseconds are longer than a revocation and the publish after it.
const KILL_WITHIN: u64 = 16;

/// One round: an owner of its own, and what it gave its readers.
struct Round {
    world: World,
    number: u64,
}

impl Round {
    fn key(&self) -> NodeKey {
        key(1_000_000 + self.number)
    }

    fn folder(&self) -> std::path::PathBuf {
        self.world.path("owner")
    }

    /// The owner's process revokes, and is killed meanwhile; so is the broker, if it is told to.
    fn kill(&self, broker: Broker, both: bool) -> (Broker, Vec<String>) {
        std::fs::create_dir(self.folder()).expect("a folder");
        let orders = [broker.address.as_str(), &(1_000_000 + self.number).to_string()];
        let mut process = child::begin("lab::revoked::the_owner_that_is_killed", &self.folder(), &orders);
        let invitations = ROUND_READERS.map(|_| child::said(&mut process).expect("an invitation")).collect();
        process.feed("go");
        let place = broker.place().to_owned();
        let mut broker = Some(broker);
        if both && below(2) == 0 {
            std::thread::sleep(any_moment());
            broker = None;
        }
        std::thread::sleep(any_moment());
        drop(process);
        if both {
            broker = None;
        }
        (broker.unwrap_or_else(|| self.world.broker(&place, &[])), invitations)
    }

    /// The owner is back, and so are all readers: those that have access read everything, the other one nothing new.
    async fn check(&self, address: &str, invitations: &[String]) -> bool {
        let state = State::open(&self.folder().join("state.redb")).expect("a state");
        let publisher = owner(&state, self.key(), address);
        published(&publisher, vec![put("/new", "3")]).await;
        let readers = publisher.readers().await.expect("open");
        let has_access = |reader: &Pseudonym| readers.iter().any(|row| row.pseudonym == *reader);
        let expected: Vec<String> = publisher.list("").expect("readable").iter().map(|own| own.mutation.path.to_string()).collect();
        let dial = network();
        let mut revoked = false;
        for (number, invitation) in ROUND_READERS.zip(invitations) {
            let reader = Reader::join(key(number), invitation);
            let subscriber = reader.start(&dial);
            if has_access(&pseudonym(invitation, &key(number))) {
                reader.holds(&subscriber, "/new", "3").await;
                let held = Subscriber::values(&reader.state, &reader.queue, "").expect("readable");
                let held: Vec<String> = held.iter().map(|value| value.mutation.path.to_string()).collect();
                assert_eq!(held, expected, "round {}, reader {number}", self.number);
            } else {
                assert_eq!(number, GONE, "round {}", self.number);
                until(&subscriber, |view| view.verdict.verdict == Verdict::Denied).await;
                let readable = opened(&publisher, &grant(invitation, &key(number))).await;
                assert_eq!(readable, ["/before"], "round {}", self.number);
                revoked = true;
            }
        }
        publisher.close().await;
        revoked
    }
}

/// [P-17] Wherever a kill comes: the reader has access to everything or to nothing new, and every other one goes on.
#[test]
fn a_revocation_that_is_cut_off_anywhere_is_done_or_not_done() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut revoked = 0;
    let all = rounds(20);
    for number in 0..all {
        let round = Round { world: World::new(), number };
        let broker = round.world.broker("127.0.0.1:0", &[]);
        let (broker, invitations) = round.kill(broker, number % 2 == 1);
        let done = runtime.block_on(round.check(&broker.address, &invitations));
        revoked += u64::from(done);
    }
    println!("{all} rounds, in {revoked} of them the reader was revoked");
}

/// A moment of what the owner does: its first steps take less time than the later ones.
fn any_moment() -> Duration {
    Duration::from_micros(below(1 << below(KILL_WITHIN + 1)))
}

/// No test by itself: the process of the owner.
#[tokio::test]
#[ignore = "it is begun by another test"]
async fn the_owner_that_is_killed() {
    let Some((folder, orders)) = child::orders() else { return };
    let publisher = owner(&state_in(&folder), key(orders[1].parse().expect("a number")), &orders[0]);
    published(&publisher, vec![put("/before", "1")]).await;
    let invitations = granted(&publisher, ROUND_READERS).await;
    invitations.values().for_each(|invitation| child::say(invitation));
    child::listen().await;
    let _ = publisher.revoke(&pseudonym(&invitations[&GONE], &key(GONE))).await;
    let _ = publisher.write(vec![put("/after", "2")]).await;
    let _ = publisher.flush(LONG).await;
    child::listen().await;
}

fn state_in(folder: &Path) -> State {
    State::open(&folder.join("state.redb")).expect("a state")
}
