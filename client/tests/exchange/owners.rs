//! One queue and more than one past: brokers that lag or fork, states that are lost, copied and put back, and what a merge makes of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tidings_client::{BrokerState, Conflict, GrantFailure, Publisher, PublisherConfig, SnapshotError, State, WriteError};
use tidings_core::NodeKey;
use tidings_proto::BrokerAddress;

use crate::vault::Vaults;
use crate::{LONG, broker_is, delete, memory, owner_key, path, published, put, reader_key};

pub(super) struct Home(TempDir);

impl Home {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// Waits until a publisher that was dropped has let go of it.
    pub(super) fn state(&self) -> State {
        loop {
            match State::open(&self.0.path().join("state.redb")) {
                Err(tidings_client::StateError::Locked) => std::thread::yield_now(),
                opened => return opened.expect("opened"),
            }
        }
    }

    /// A copy of the folder as it is, with the mark.
    pub(super) fn copied(&self) -> Self {
        let copy = Self::new();
        copy.take(self.0.path());
        copy
    }

    fn take(&self, from: &Path) {
        for file in std::fs::read_dir(from).expect("a folder") {
            let file = file.expect("a file").path();
            std::fs::copy(&file, self.0.path().join(file.file_name().expect("a name"))).expect("copied");
        }
    }
}

pub(super) fn addresses(ports: &[u16]) -> Vec<BrokerAddress> {
    ports.iter().map(|port| Vaults::address(*port)).collect()
}

pub(super) fn config(vaults: &Vaults, ports: &[u16]) -> PublisherConfig {
    let mut config = PublisherConfig::new(Arc::new(vaults.clone()), addresses(ports));
    config.compare_wait = LONG;
    config
}

pub(super) fn open(state: &State, config: PublisherConfig) -> Publisher {
    Publisher::open(state.clone(), owner_key(), config).expect("opened")
}

pub(super) fn publisher(state: &State, vaults: &Vaults, ports: &[u16]) -> Publisher {
    open(state, config(vaults, ports))
}

pub(super) fn impatient(state: &State, vaults: &Vaults, ports: &[u16]) -> Publisher {
    open(state, PublisherConfig { compare_wait: Duration::ZERO, ..config(vaults, ports) })
}

pub(super) fn value(publisher: &Publisher, text: &str) -> Option<String> {
    let found = publisher.get(&path(text)).expect("read")?;
    Some(String::from_utf8(found.mutation.inline.expect("inline").to_vec()).expect("text"))
}

pub(super) fn rescued(publisher: &Publisher) -> Vec<(String, String)> {
    let text = |value: &tidings_client::Rescued| String::from_utf8(value.mutation.inline.clone().expect("inline").to_vec()).expect("text");
    publisher.rescued().expect("read").iter().map(|value| (value.path.to_string(), text(value))).collect()
}

pub(super) async fn conflict(publisher: &Publisher) -> Conflict {
    publisher.compared(LONG).await.conflict.expect("a conflict")
}

/// Waits until that broker stands at the newest head.
pub(super) async fn follows(publisher: &Publisher, vaults: &Vaults, port: u16) {
    let newest = publisher.mark().borrow().signed;
    tokio::time::timeout(LONG, vaults.until(port, |vault| vault.held.head.as_ref().is_some_and(|head| head.rank() >= newest)))
        .await
        .expect("in time");
}

/// [P-5] A second broker is brought on, whatever it missed.
#[tokio::test]
async fn every_broker_gets_everything_and_one_that_is_away_costs_nothing() {
    let (state, vaults) = (memory(), Vaults::new([1, 2]));
    let publisher = publisher(&state, &vaults, &[1, 2]);
    published(&publisher, &[put("/a", "1")]).await;
    follows(&publisher, &vaults, 2).await;
    vaults.set(2, |vault| vault.away = true);
    for number in 0..20 {
        published(&publisher, &[put("/a", &number.to_string())]).await;
    }
    vaults.set(2, |vault| vault.away = false);
    follows(&publisher, &vaults, 2).await;
    assert_eq!(vaults.rank(1), vaults.rank(2));
}

/// A kept publish is kept until as many brokers hold it as have to.
#[tokio::test]
async fn with_two_receipts_a_publish_is_done_when_two_brokers_hold_it() {
    let (state, vaults) = (memory(), Vaults::new([1, 2]));
    let publisher = open(&state, PublisherConfig { receipts: 2, ..config(&vaults, &[1, 2]) });
    published(&publisher, &[put("/a", "1")]).await;
    vaults.set(2, |vault| vault.away = true);
    broker_is(&publisher, 1, BrokerState::Unreachable).await;
    let ticket = publisher.write(vec![put("/a", "2")]).await.expect("written").pop().expect("a ticket");
    vaults.until(1, |vault| vault.held.head.as_ref().is_some_and(|head| head.rank().number.value() == 2)).await;
    assert_eq!(publisher.status().expect("read").unreceipted, 1);
    vaults.set(2, |vault| vault.away = false);
    tokio::time::timeout(LONG, ticket.receipted()).await.expect("in time").expect("receipted");
    assert_eq!(vaults.rank(1), vaults.rank(2));
}

/// [P-4] Nothing is signed while a broker that does not answer may know better; then in a new term.
#[tokio::test]
async fn a_broker_that_was_not_compared_with_costs_a_new_term_on_the_own_head() {
    let (state, vaults) = (memory(), Vaults::new([1, 2]));
    let first = publisher(&state, &vaults, &[1, 2]);
    published(&first, &[put("/a", "1")]).await;
    follows(&first, &vaults, 2).await;
    let writer = first.status().expect("read").writer;
    first.close().await;
    vaults.set(2, |vault| vault.away = true);
    let second = impatient(&state, &vaults, &[1, 2]);
    published(&second, &[put("/a", "2")]).await;
    let status = second.status().expect("read");
    assert!(status.term.value() > 1 && status.writer == writer && status.merged.is_empty());
    let head = vaults.look(1, |vault| vault.held.head.clone()).expect("a head");
    assert_eq!((head.head().base.rank.number.value(), head.head().epoch.value()), (1, 1));
    vaults.set(2, |vault| vault.away = false);
    follows(&second, &vaults, 2).await;
}

/// [P-4]
#[tokio::test]
async fn a_state_that_stays_and_compares_goes_on_in_its_term() {
    let (home, vaults) = (Home::new(), Vaults::new([1]));
    for number in 0..3 {
        let publisher = publisher(&home.state(), &vaults, &[1]);
        published(&publisher, &[put("/a", &number.to_string())]).await;
        assert_eq!(publisher.status().expect("read").term.value(), 1);
        publisher.close().await;
    }
}

/// [P-4] Nobody signs before everything is compared or the patience is over.
#[tokio::test]
async fn nothing_is_signed_while_a_broker_is_waited_for() {
    let (state, vaults) = (memory(), Vaults::new([1, 2]));
    vaults.set(2, |vault| vault.away = true);
    let publisher = publisher(&state, &vaults, &[1, 2]);
    publisher.write(vec![put("/a", "1")]).await.expect("written");
    broker_is(&publisher, 0, BrokerState::Connected).await;
    broker_is(&publisher, 1, BrokerState::Unreachable).await;
    assert_eq!(publisher.mark().borrow().signed.number.value(), 0);
    vaults.set(2, |vault| vault.away = false);
    publisher.flush(LONG).await.expect("published");
    assert_eq!(publisher.status().expect("read").term.value(), 1);
}

/// [P-5] What a broker lost is made good, and nothing is merged.
#[tokio::test]
async fn a_broker_that_was_rolled_back_is_brought_on() {
    let (state, vaults) = (memory(), Vaults::new([1]));
    let first = publisher(&state, &vaults, &[1]);
    published(&first, &[put("/a", "1")]).await;
    let old = vaults.look(1, |vault| vault.held.clone());
    published(&first, &[put("/a", "2")]).await;
    first.close().await;
    vaults.set(1, |vault| vault.held = old);
    let second = publisher(&state, &vaults, &[1]);
    published(&second, &[put("/b", "1")]).await;
    let status = second.status().expect("read");
    assert_eq!((status.losses.len(), status.merged.len(), status.term.value()), (1, 0, 1));
    assert_eq!(vaults.rank(1).number.value(), 3);
}

/// [P-4, P-5] A state that was lost is rebuilt from what a broker holds, and goes on in a new term under a new epoch.
#[tokio::test]
async fn a_lost_state_is_restored_from_a_broker() {
    let vaults = Vaults::new([1]);
    let first = publisher(&memory(), &vaults, &[1]);
    first.grant(reader_key().card(), "reader".into()).await.expect("granted");
    published(&first, &[put("/a", "1"), put("/b", "1"), put("/c", "1")]).await;
    published(&first, &[put("/a", "2"), delete("/b")]).await;
    first.close().await;
    let restored = open(&memory(), PublisherConfig { restoring: true, ..config(&vaults, &[1]) });
    assert!(restored.compared(LONG).await.is_whole());
    published(&restored, &[put("/d", "1")]).await;
    let values: Vec<_> = ["/a", "/b", "/c", "/d"].iter().map(|path| value(&restored, path)).collect();
    assert_eq!(values, [Some("2".into()), None, Some("1".into()), Some("1".into())]);
    let status = restored.status().expect("read");
    assert!(status.term.value() > 1 && status.merged.len() == 1 && status.conflict.is_none());
    assert_eq!(restored.readers().await.expect("open").len(), 2);
    assert_eq!(vaults.rank(1), status.head);
}

/// [P-4] An empty state that meets a queue of its own key does nothing by itself.
#[tokio::test]
async fn a_lost_state_waits_for_a_person() {
    let vaults = Vaults::new([1]);
    let first = publisher(&memory(), &vaults, &[1]);
    published(&first, &[put("/a", "1")]).await;
    first.close().await;
    let before = vaults.rank(1);
    let second = publisher(&memory(), &vaults, &[1]);
    second.write(vec![put("/b", "1")]).await.expect("written");
    assert_eq!(conflict(&second).await.rank, before);
    assert!(matches!(second.grant(reader_key().card(), String::new()).await, Err(GrantFailure::Conflict)));
    assert!(matches!(second.snapshot(LONG).await, Err(SnapshotError::Conflict)));
    assert_eq!((vaults.rank(1), second.status().expect("read").unsigned), (before, 1));
    assert_eq!(second.take_over().await.expect("taken over").confirmed.len(), 1);
    second.flush(LONG).await.expect("published");
    assert_eq!((value(&second, "/a"), value(&second, "/b")), (Some("1".into()), Some("1".into())));
}

/// [P-4, P-5] A state from a backup: what was signed since is there again, and no rank is signed twice.
#[tokio::test]
async fn a_state_that_was_put_back_is_rebuilt_once_a_person_says_so() {
    let (home, vaults) = (Home::new(), Vaults::new([1]));
    let first = publisher(&home.state(), &vaults, &[1]);
    published(&first, &[put("/a", "1")]).await;
    first.close().await;
    let backup = home.copied();
    let second = publisher(&home.state(), &vaults, &[1]);
    published(&second, &[put("/a", "2"), put("/b", "1")]).await;
    second.close().await;
    home.take(backup.0.path());
    let third = publisher(&home.state(), &vaults, &[1]);
    third.write(vec![put("/c", "1")]).await.expect("written");
    conflict(&third).await;
    third.take_over().await.expect("taken over");
    third.flush(LONG).await.expect("published");
    let values: Vec<_> = ["/a", "/b", "/c"].iter().map(|path| value(&third, path)).collect();
    assert_eq!(values, [Some("2".into()), Some("1".into()), Some("1".into())]);
    assert!(rescued(&third).is_empty());
}

/// Two copies of one state that both went on, each at a broker of its own.
pub(super) struct Forked {
    pub(super) vaults: Vaults,
    pub(super) one: Home,
    pub(super) other: Home,
}

/// Common: `/a`, `/b`, `/c`, `/d`, `/e` and a reader. Then each writes for itself, the first one last.
pub(super) async fn forked() -> Forked {
    let (one, vaults) = (Home::new(), Vaults::new([1, 2]));
    let first = publisher(&one.state(), &vaults, &[1, 2]);
    first.grant(reader_key().card(), "reader".into()).await.expect("granted");
    published(&first, &["/a", "/b", "/c", "/d", "/e"].map(|path| put(path, "common"))).await;
    follows(&first, &vaults, 2).await;
    first.close().await;
    let other = one.copied();
    Forked { vaults, one, other }
}

/// [P-4, P-5] Two devices with one key: neither overwrites the other before a person decides, and then nothing is lost.
#[tokio::test]
async fn of_two_copies_of_a_state_one_goes_on_and_keeps_what_both_wrote() {
    let Forked { vaults, one, other } = forked().await;
    let clone = publisher(&other.state(), &vaults, &[2]);
    published(&clone, &[put("/a", "clone"), put("/clone", "1"), delete("/d")]).await;
    assert!(clone.status().expect("read").term.value() > 1);
    clone.close().await;
    let original = publisher(&one.state(), &vaults, &[1]);
    published(&original, &[put("/a", "original"), put("/original", "1"), delete("/e")]).await;
    original.close().await;

    let both = publisher(&one.state(), &vaults, &[1, 2]);
    both.write(vec![put("/waits", "1")]).await.expect("written");
    assert_eq!(conflict(&both).await.rank, vaults.rank(2));
    assert_eq!(both.status().expect("read").unsigned, 1);
    both.take_over().await.expect("taken over");
    both.flush(LONG).await.expect("published");
    follows(&both, &vaults, 1).await;
    follows(&both, &vaults, 2).await;

    let values: Vec<_> = ["/a", "/b", "/d", "/e", "/clone", "/original", "/waits"].iter().map(|path| value(&both, path)).collect();
    let there = |text: &str| Some(text.to_owned());
    // What the original wrote last is later; both deletes hold.
    assert_eq!(values, [there("original"), there("common"), None, None, there("1"), there("1"), there("1")]);
    assert_eq!(rescued(&both), []);
    let status = both.status().expect("read");
    assert_eq!((status.merged.len(), vaults.rank(1)), (1, vaults.rank(2)));
    assert!(status.conflict.is_none());
    assert_eq!(vaults.look(1, |vault| vault.from_zero) + vaults.look(2, |vault| vault.from_zero), 1);
}

/// [P-4] The copy had drawn a name of its own and took what the other one signed by the old name for its own: it merged that unasked, and
/// the one that a person had chosen was stopped.
#[tokio::test]
async fn a_copy_that_was_given_up_signs_nothing_when_it_comes_back() {
    let Forked { vaults, one, other } = forked().await;
    let clone = publisher(&other.state(), &vaults, &[2]);
    published(&clone, &[put("/clone", "1")]).await;
    clone.close().await;
    // One broker is away: each session begins a term, until this branch is the higher one and is gone on from.
    vaults.set(2, |vault| vault.away = true);
    for session in 0..100 {
        let original = impatient(&one.state(), &vaults, &[1, 2]);
        published(&original, &[put("/original", &session.to_string())]).await;
        original.close().await;
        if vaults.rank(1) > vaults.rank(2) {
            break;
        }
    }
    assert!(vaults.rank(1) > vaults.rank(2));
    vaults.set(2, |vault| vault.away = false);
    let chosen = publisher(&one.state(), &vaults, &[1, 2]);
    chosen.write(vec![put("/chosen", "1")]).await.expect("written");
    conflict(&chosen).await;
    chosen.take_over().await.expect("taken over");
    chosen.flush(LONG).await.expect("published");

    let back = publisher(&other.state(), &vaults, &[1, 2]);
    back.write(vec![put("/back", "1")]).await.expect("written");
    conflict(&back).await;
    published(&chosen, &[put("/chosen", "2")]).await;
    assert_eq!(back.status().expect("read").unsigned, 1);
    assert_eq!(chosen.status().expect("read").conflict, None);
}

/// [P-5] A value of the tail that is older than what lives at the base waits for a person, as a record that every broker holds.
#[tokio::test]
async fn an_older_value_of_the_tail_is_rescued_taken_and_dropped() {
    let Forked { vaults, one, other } = forked().await;
    // The original writes first: its branch has the lower term and becomes the tail.
    let original = publisher(&one.state(), &vaults, &[1]);
    published(&original, &[put("/a", "original"), put("/b", "original"), put("/c", "original")]).await;
    original.close().await;
    let clone = publisher(&other.state(), &vaults, &[2]);
    published(&clone, &[put("/a", "clone"), put("/b", "clone"), delete("/c")]).await;
    clone.close().await;
    let both = publisher(&one.state(), &vaults, &[1, 2]);
    conflict(&both).await;
    both.take_over().await.expect("taken over");
    assert!(both.compared(LONG).await.is_whole());
    both.flush(LONG).await.expect("published");
    assert_eq!((value(&both, "/a"), value(&both, "/c")), (Some("clone".into()), None));
    let mut kept = rescued(&both);
    kept.sort();
    assert_eq!(kept, ["/a", "/b", "/c"].map(|path| (path.to_owned(), "original".to_owned())));
    assert_eq!(both.status().expect("read").rescued, 3);
    let paths: Vec<_> = both.list("/").expect("read").into_iter().map(|value| value.mutation.path.to_string()).collect();
    assert_eq!(paths, ["/a", "/b", "/d", "/e"]);

    let of = |wanted: &str| both.rescued().expect("read").into_iter().find(|value| value.path == path(wanted)).expect("there").id;
    both.take_rescued(&of("/a")).await.expect("taken");
    both.drop_rescued(&of("/b")).await.expect("dropped");
    both.flush(LONG).await.expect("published");
    assert_eq!((value(&both, "/a"), value(&both, "/b")), (Some("original".into()), Some("clone".into())));
    assert_eq!(rescued(&both), [("/c".to_owned(), "original".to_owned())]);
    let reserved = both.write(vec![put("/.tidings/rescued/00", "1")]).await;
    assert!(matches!(reserved, Err(WriteError::Reserved(_))));
}

/// [P-5] A revocation is never undone: not where it is on the tail.
#[tokio::test]
async fn a_reader_that_was_removed_on_the_tail_is_removed_by_the_merge() {
    let Forked { vaults, one, other } = forked().await;
    let original = publisher(&one.state(), &vaults, &[1]);
    let reader = original.readers().await.expect("open").into_iter().find(|reader| !reader.owner).expect("a reader").pseudonym;
    original.revoke(&reader).await.expect("revoked");
    original.grant(NodeKey::from_seed([3; 32]).card(), "only here".into()).await.expect("granted");
    original.close().await;
    let clone = publisher(&other.state(), &vaults, &[2]);
    published(&clone, &[put("/a", "clone")]).await;
    clone.close().await;
    let both = publisher(&one.state(), &vaults, &[1, 2]);
    conflict(&both).await;
    both.take_over().await.expect("taken over");
    assert!(both.compared(LONG).await.is_whole());
    both.flush(LONG).await.expect("published");
    let readers = both.readers().await.expect("open");
    assert!(readers.iter().all(|reader| reader.owner));
    let merge = both.status().expect("read").merged.pop().expect("a merge");
    assert_eq!((merge.removed.len(), merge.unknown_readers.len()), (1, 1));
    assert_eq!(merge.unknown_readers[0].name, "only here");
}

/// [P-3] A crash at any moment of a recovery and a merge: the next start goes on, and the outcome is the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_is_interrupted_anywhere_is_repeated_without_harm() {
    let Forked { vaults, one, other } = forked().await;
    let original = publisher(&one.state(), &vaults, &[1]);
    let many: Vec<_> = (0..40).map(|number| put(&format!("/many/{number}"), "original")).chain([put("/a", "original")]).collect();
    published(&original, &many).await;
    original.close().await;
    let clone = publisher(&other.state(), &vaults, &[2]);
    published(&clone, &[put("/a", "clone"), put("/many/0", "clone")]).await;
    clone.close().await;
    let first = publisher(&one.state(), &vaults, &[1, 2]);
    conflict(&first).await;
    first.take_over().await.expect("taken over");
    first.close().await;
    for steps in 0..12 {
        let config = PublisherConfig { restoring: true, ..config(&vaults, &[1, 2]) };
        let crashing = open(&one.state(), config);
        for _ in 0..steps * 5 {
            tokio::task::yield_now().await;
        }
        drop(crashing);
    }
    let last = open(&one.state(), PublisherConfig { restoring: true, ..config(&vaults, &[1, 2]) });
    assert!(last.compared(LONG).await.is_whole());
    last.flush(LONG).await.expect("published");
    follows(&last, &vaults, 1).await;
    follows(&last, &vaults, 2).await;
    assert_eq!(last.list("/many").expect("read").len(), 40);
    let mut kept = rescued(&last);
    kept.sort();
    assert_eq!(kept, [("/a".to_owned(), "original".to_owned()), ("/many/0".to_owned(), "original".to_owned())]);
    assert_eq!(last.status().expect("read").merged.len(), 1);
}

/// [P-13] A move: the new broker holds everything before the old one is told that it ended.
#[tokio::test]
async fn a_broker_that_is_left_gets_the_closed_head_after_another_one_has_everything() {
    let (state, vaults) = (memory(), Vaults::new([1, 2]));
    let publisher = publisher(&state, &vaults, &[1]);
    published(&publisher, &[put("/a", "1")]).await;
    let moved = publisher.set_brokers(addresses(&[2]), "tidings://there:1".into(), LONG).await.expect("moved");
    assert_eq!((moved.informed, moved.uninformed), (addresses(&[1]), Vec::new()));
    let closed = vaults.look(1, |vault| vault.held.head.clone()).expect("a head");
    assert_eq!(closed.head().state, tidings_core::QueueState::Closed);
    published(&publisher, &[put("/a", "2")]).await;
    let open = vaults.look(2, |vault| vault.held.head.clone()).expect("a head");
    assert_eq!(open.head().state, tidings_core::QueueState::Open);
    assert!(open.rank() > closed.rank() && open.head().base.rank == closed.rank());
    assert_eq!(vaults.rank(1), closed.rank());
}

/// [P-13] Nobody is left before somebody else holds everything.
#[tokio::test]
async fn a_move_to_a_broker_that_is_away_leaves_nobody() {
    let (state, vaults) = (memory(), Vaults::new([1, 2]));
    let publisher = impatient(&state, &vaults, &[1]);
    published(&publisher, &[put("/a", "1")]).await;
    vaults.set(2, |vault| vault.away = true);
    let moved = publisher.set_brokers(addresses(&[2]), String::new(), Duration::from_millis(50)).await;
    assert!(moved.is_err());
    published(&publisher, &[put("/a", "2")]).await;
    let standing = vaults.look(1, |vault| vault.held.head.clone()).expect("a head");
    assert_eq!(standing.head().state, tidings_core::QueueState::Open);
}
