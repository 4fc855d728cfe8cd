//! What the file promises: who may read it, what is refused, and that a refused file stays as it is.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

struct Home {
    folder: TempDir,
}

impl Home {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("state.redb")
    }

    fn with_state() -> Self {
        let home = Self::new();
        drop(State::open(&home.path()).expect("created"));
        home
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).expect("the file")
    }
}

fn set_format(state: &State, format: u32) {
    let change = |transaction: &WriteTransaction| -> Result<(), StateError> {
        transaction.open_table(tables::FORMATS)?.insert((), format)?;
        Ok(())
    };
    state.write(change).expect("written");
}

#[cfg(unix)]
#[test]
fn only_its_owner_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::with_state();
    let mode = fs::metadata(home.path()).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn nothing_but_the_state_is_left_in_the_folder() {
    let home = Home::with_state();
    let files: Vec<_> = fs::read_dir(home.folder.path()).expect("the folder").collect();
    assert_eq!(files.len(), 1);
}

#[test]
fn a_state_that_is_open_is_locked() {
    let home = Home::new();
    let _open = State::open(&home.path()).expect("created");
    assert!(matches!(State::open(&home.path()), Err(StateError::Locked)));
}

/// [P-20]
#[test]
fn a_newer_format_is_refused_by_its_number() {
    let home = Home::new();
    set_format(&State::open(&home.path()).expect("created"), FORMAT + 1);
    assert!(matches!(State::open(&home.path()), Err(StateError::TooNew { found }) if found == FORMAT + 1));
}

#[test]
fn a_format_that_never_was_is_damage() {
    let home = Home::new();
    set_format(&State::open(&home.path()).expect("created"), 0);
    assert!(matches!(State::open(&home.path()), Err(StateError::Damaged(_))));
}

#[test]
fn a_database_of_another_program_is_damage() {
    let home = Home::new();
    drop(Database::create(home.path()).expect("created"));
    assert!(matches!(State::open(&home.path()), Err(StateError::Damaged(_))));
}

#[test]
fn files_that_are_no_state_are_damage_and_stay_as_they_are() {
    let whole = Home::with_state().bytes();
    let cases = [Vec::new(), b"hello".to_vec(), vec![0; 100_000], whole[..whole.len() / 2].to_vec(), whole[..100].to_vec()];
    for content in cases {
        let home = Home::new();
        fs::write(home.path(), &content).expect("written");
        let opened = State::open(&home.path());
        assert!(matches!(opened, Err(StateError::Damaged(_))), "{} bytes: {opened:?}", content.len());
        assert_eq!(home.bytes(), content, "{} bytes", content.len());
    }
}

/// [P-3] A file that rotted must not open with an older number in it.
#[test]
fn a_byte_that_rotted_is_damage_or_changes_nothing() {
    let home = Home::new();
    let state = State::open(&home.path()).expect("created");
    for clock in 0..50 {
        state.write(|transaction| OwnStep(transaction).put_clock(clock)).expect("written");
    }
    drop(state);
    let whole = home.bytes();
    for at in (0..whole.len()).step_by(whole.len() / 300) {
        let mut rotten = whole.clone();
        rotten[at] ^= 0x10;
        fs::write(home.path(), &rotten).expect("written");
        match State::open(&home.path()) {
            Ok(state) => {
                let clock = state.read(|transaction| OwnView(transaction).clock()).expect("read");
                assert_eq!(clock, 49, "byte {at}");
            }
            Err(StateError::Damaged(_) | StateError::TooNew { .. } | StateError::Io(_)) => {}
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
}

#[test]
fn a_change_that_fails_changes_nothing() {
    let state = State::in_memory().expect("a state");
    let failing = state.write(|transaction| {
        OwnStep(transaction).put_clock(7)?;
        Err::<(), _>(StateError::Damaged("on purpose".into()))
    });
    assert!(failing.is_err());
    assert_eq!(state.read(|transaction| OwnView(transaction).clock()).expect("read"), 0);
}

#[test]
fn a_role_is_taken_once_until_it_is_dropped() {
    let state = State::in_memory().expect("a state");
    let taken = state.claim(Claim::Publish);
    assert!(taken.is_some() && state.clone().claim(Claim::Publish).is_none());
    drop(taken);
    assert!(state.claim(Claim::Publish).is_some());
}

#[test]
fn below_a_prefix_is_itself_and_its_segments() {
    for (path, prefix, below) in [("/a", "/a", true), ("/a/b", "/a", true), ("/a/b", "/a/", true), ("/ab", "/a", false)] {
        assert_eq!(is_below(path, prefix), below, "{path} {prefix}");
    }
    assert!(is_below("/a", "") && is_below("/a", "/"));
}

/// A second merge before the first publish of the term forgot whom the first one had removed: they could read on. [P-5]
#[test]
fn what_a_merge_owes_is_still_owed_after_the_next_one() {
    let state = State::in_memory().expect("memory");
    let readers = [1, 2, 3].map(|byte| tidings_proto::Pseudonym::new([byte; 32]));
    for removed in [&readers[..2], &readers[1..]] {
        state.write(|transaction| super::OwnStep(transaction).put_removals(removed)).expect("it is kept");
    }
    let owed = state.read(|transaction| super::OwnView(transaction).removals()).expect("it reads");
    assert_eq!(owed, Some(readers.to_vec()));
}
