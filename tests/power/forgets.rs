//! What the file system keeps over a power cut and what it forgets. If it kept too much, the lab could find nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use fuser::Errno;
use tempfile::TempDir;

use super::disk::{Disk, Keep, Names, Operation, Rule};

/// A mounted disk, and the folder it is in.
struct Place {
    disk: Disk,
    _folder: TempDir,
}

impl Place {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        Some(Self { disk: Disk::mount(&folder.path().join("disk"))?, _folder: folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.disk.place().join(name)
    }

    fn sync(&self, name: &str) {
        File::open(self.path(name)).expect("it opens").sync_all().expect("synced");
    }

    /// A file with durable content and a durable name.
    fn keep(&self, name: &str, content: &[u8]) {
        fs::write(self.path(name), content).expect("written");
        self.sync(name);
        self.sync("");
    }

    fn names(&self) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name().to_string_lossy().into_owned();
        let mut names: Vec<_> = fs::read_dir(self.path("")).expect("readable").map(name).collect();
        names.sort();
        names
    }

    fn content(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("readable")
    }
}

#[test]
fn what_was_synced_stays_and_what_was_not_is_gone() {
    let Some(place) = Place::new() else { return };
    place.keep("kept", b"first");
    OpenOptions::new().append(true).open(place.path("kept")).expect("it opens").write_all(b" second").expect("written");
    assert_eq!(place.content("kept"), b"first second");
    fs::write(place.path("new"), b"never synced").expect("written");
    place.disk.cut(Keep::Nothing, 0);
    assert_eq!((place.names(), place.content("kept")), (vec!["kept".to_owned()], b"first".to_vec()));
}

#[test]
fn a_synced_file_in_a_folder_that_was_not_synced_is_gone_unless_syncs_of_files_keep_their_names() {
    let Some(place) = Place::new() else { return };
    let mut found = Vec::new();
    for names in [Names::WithTheirFolder, Names::WithTheirFile] {
        place.disk.set_names(names);
        fs::write(place.path("a"), b"a").expect("written");
        place.sync("a");
        place.disk.cut(Keep::Nothing, 0);
        found.push(place.names());
    }
    assert_eq!(found, [Vec::new(), vec!["a".to_owned()]]);
}

#[test]
fn a_file_in_a_folder_whose_own_name_was_not_synced_is_gone() {
    let Some(place) = Place::new() else { return };
    fs::create_dir(place.path("folder")).expect("made");
    fs::write(place.path("folder/a"), b"a").expect("written");
    place.sync("folder/a");
    place.sync("folder");
    place.disk.cut(Keep::Nothing, 0);
    assert_eq!(place.names(), Vec::<String>::new());
}

#[test]
fn a_rename_or_removal_that_was_not_synced_did_not_happen() {
    let Some(place) = Place::new() else { return };
    place.keep("old", b"old");
    place.keep("target", b"target");
    place.keep("gone", b"gone");
    fs::rename(place.path("old"), place.path("target")).expect("renamed");
    fs::remove_file(place.path("gone")).expect("removed");
    assert_eq!((place.names(), place.content("target")), (vec!["target".to_owned()], b"old".to_vec()));
    place.disk.cut(Keep::Nothing, 0);
    assert_eq!(place.names(), ["gone", "old", "target"]);
    assert_eq!((place.content("old"), place.content("target")), (b"old".to_vec(), b"target".to_vec()));
}

/// Each is kept or lost by itself, but none by half.
#[test]
fn of_renames_that_were_not_synced_any_may_be_kept_and_each_is_whole() {
    let Some(place) = Place::new() else { return };
    let (mut first_alone, mut second_alone) = (false, false);
    for seed in 0..64 {
        place.keep("a", b"a");
        place.keep("b", b"b");
        fs::rename(place.path("a"), place.path("c")).expect("renamed");
        fs::rename(place.path("b"), place.path("d")).expect("renamed");
        place.disk.cut(Keep::Some, seed);
        let names = place.names();
        for (from, to) in [("a", "c"), ("b", "d")] {
            assert_eq!(names.iter().filter(|name| *name == from || *name == to).count(), 1, "{names:?}");
        }
        first_alone |= names == ["b", "c"];
        second_alone |= names == ["a", "d"];
        names.iter().for_each(|name| fs::remove_file(place.path(name)).expect("removed"));
        place.sync("");
    }
    assert!(first_alone && second_alone);
}

#[test]
fn writes_that_were_not_synced_come_whole_torn_out_of_order_or_not_at_all() {
    let Some(place) = Place::new() else { return };
    let (mut whole, mut torn, mut later_alone, mut none) = (false, false, false, false);
    for seed in 0..200 {
        place.keep("file", &[0; 4096]);
        let file = OpenOptions::new().write(true).open(place.path("file")).expect("it opens");
        file.write_all_at(&[1; 2048], 0).expect("written");
        file.write_all_at(&[2; 2048], 2048).expect("written");
        drop(file);
        place.disk.cut(Keep::Some, seed);
        let content = place.content("file");
        let count = |byte: u8| content.iter().filter(|found| **found == byte).count();
        whole |= (count(1), count(2)) == (2048, 2048);
        torn |= !matches!(count(1), 0 | 2048);
        later_alone |= (count(1), count(2)) == (0, 2048);
        none |= count(0) == 4096;
    }
    assert_eq!([whole, torn, later_alone, none], [true; 4]);
}

#[test]
fn a_cut_that_keeps_everything_keeps_everything() {
    let Some(place) = Place::new() else { return };
    fs::create_dir(place.path("folder")).expect("made");
    fs::write(place.path("folder/a"), b"never synced").expect("written");
    fs::rename(place.path("folder/a"), place.path("b")).expect("renamed");
    place.disk.cut(Keep::Everything, 0);
    assert_eq!((place.names(), place.content("b")), (vec!["b".to_owned(), "folder".to_owned()], b"never synced".to_vec()));
}

/// The defect that the lab must find when it is planted.
#[test]
fn a_disk_that_lies_keeps_nothing_that_it_said_it_had_synced() {
    let Some(place) = Place::new() else { return };
    place.disk.set_lies(true);
    place.keep("a", b"a");
    place.disk.cut(Keep::Nothing, 0);
    assert_eq!(place.names(), Vec::<String>::new());
}

#[test]
fn errors_come_when_they_were_ordered_and_then_no_more() {
    let Some(place) = Place::new() else { return };
    place.disk.add(Rule { operation: Operation::Sync, ending: ".log", pass: 1, fail: 1, error: Errno::EIO });
    place.disk.add(Rule { operation: Operation::Create, ending: "never", pass: 0, fail: u64::MAX, error: Errno::ENOSPC });
    let file = File::create(place.path("a.log")).expect("made");
    let synced = [(); 3].map(|()| file.sync_all().map_err(|error| error.raw_os_error()));
    assert_eq!(synced, [Ok(()), Err(Some(Errno::EIO.code())), Ok(())]);
    assert_eq!(File::create(place.path("never")).map(drop).map_err(|error| error.kind()), Err(io::ErrorKind::StorageFull));
}

#[test]
fn a_full_disk_takes_nothing_until_there_is_space_again() {
    let Some(place) = Place::new() else { return };
    place.disk.set_capacity(Some(1000));
    fs::write(place.path("a"), [0; 900]).expect("there is space");
    assert_eq!(fs::write(place.path("b"), [0; 101]).map_err(|error| error.kind()), Err(io::ErrorKind::StorageFull));
    fs::remove_file(place.path("a")).expect("removed");
    fs::write(place.path("b"), [0; 101]).expect("there is space again");
    assert_eq!(place.disk.used(), 101);
}

/// What stores do beside reading and writing.
#[test]
fn it_does_what_file_systems_do() {
    let Some(place) = Place::new() else { return };
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(place.path("a")).expect("made");
    let again = OpenOptions::new().write(true).create_new(true).open(place.path("a"));
    assert_eq!(again.map(drop).map_err(|error| error.kind()), Err(io::ErrorKind::AlreadyExists));
    file.write_all(b"0123456789").expect("written");
    file.set_len(4).expect("cut");
    file.seek(SeekFrom::Start(2)).expect("sought");
    let mut rest = String::new();
    file.read_to_string(&mut rest).expect("read");
    fs::hard_link(place.path("a"), place.path("b")).expect("linked");
    fs::remove_file(place.path("a")).expect("removed");
    let mut open = [0; 4];
    fs::remove_file(place.path("b")).expect("removed");
    file.read_exact_at(&mut open, 0).expect("a removed file is read");
    assert_eq!((rest.as_str(), &open), ("23", b"0123"));
    file.try_lock().expect("locked");
    let socket = std::os::unix::net::UnixListener::bind(place.path("socket")).expect("bound");
    std::os::unix::net::UnixStream::connect(place.path("socket")).expect("connected");
    drop(socket);
    for number in 0..300 {
        fs::write(place.path(&format!("file-with-a-name-that-is-long-enough-{number}")), b"").expect("written");
    }
    fs::create_dir(place.path("folder")).expect("made");
    fs::remove_dir_all(place.path("folder")).expect("removed");
    fs::read_dir(place.path("")).expect("readable").for_each(|entry| fs::remove_file(entry.expect("an entry").path()).expect("removed"));
    assert_eq!(place.names(), Vec::<String>::new());
}
