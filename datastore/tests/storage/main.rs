//! What every storage does the same, and what those above them promise.

mod bucket;
mod conformance;
mod fetching;
mod server;

use std::sync::Arc;
use std::time::Duration;

use conformance::check;
use futures_util::TryStreamExt;
use server::WebServer;
use tidings_datastore::storage::faulty::{Fault, Faults};
use tidings_datastore::storage::{
    Content, Driver, Faulty, FileStorage, MemoryStorage, Mirror, Name, Patience, Retrying, StorageError, open,
};

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

pub(crate) async fn read(storage: &dyn Driver, at: &str) -> Result<Vec<u8>, StorageError> {
    let reading = storage.read(&name(at), 64 * 1024 * 1024).await?;
    reading
        .bytes
        .try_fold(Vec::new(), |mut all, piece| async move {
            all.extend_from_slice(&piece);
            Ok(all)
        })
        .await
}

fn faulty(faults: Faults) -> Faulty {
    Faulty::new(Arc::new(MemoryStorage::new()), [1; 32], faults)
}

fn soon() -> Patience {
    Patience { attempts: 3, pause: Duration::from_micros(10), pause_max: Duration::from_micros(20) }
}

#[tokio::test]
async fn memory_is_a_storage() {
    check(Arc::new(MemoryStorage::new())).await;
}

#[tokio::test]
async fn a_folder_is_a_storage() {
    let folder = tempfile::tempdir().expect("a folder");
    check(Arc::new(FileStorage::new(folder.path().join("not/there/yet")))).await;
}

/// A pipe in the place of an object that is exchanged, or of the file that is locked beside it, was waited for without end; what is
/// longer than both contents was read whole.
#[cfg(unix)]
#[tokio::test]
async fn what_is_no_file_or_too_long_is_not_exchanged() {
    let folder = tempfile::tempdir().expect("a folder");
    let (storage, head) = (FileStorage::new(folder.path()), name("head"));
    let exchange = async || tokio::time::timeout(Duration::from_secs(10), storage.exchange(&head, Some("one".into()), "two".into())).await;
    for file in ["head", "head.lock"] {
        let path = folder.path().join(file);
        // The file that is locked stays.
        let _ = std::fs::remove_file(&path);
        assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
        let exchanged = exchange().await;
        // Whoever waits for it is let go: without the rule this test is to fail and not to hang.
        drop(std::fs::File::options().read(true).write(true).open(&path));
        std::fs::remove_file(&path).expect("it is ours");
        assert!(matches!(&exchanged, Ok(Err(StorageError::Refused(why))) if why.contains(file)), "{file}: {exchanged:?}");
    }
    std::fs::File::create(folder.path().join("head")).and_then(|file| file.set_len(1 << 42)).expect("a sparse file");
    assert!(matches!(exchange().await, Ok(Ok(false))));
}

#[tokio::test]
async fn a_folder_by_address_is_a_storage() {
    let folder = tempfile::tempdir().expect("a folder");
    check(open(&format!("file://{}", folder.path().display())).expect("an address")).await;
}

#[tokio::test]
async fn a_web_server_is_a_storage() {
    let server = WebServer::start().await;
    check(open(&server.address("some/prefix")).expect("an address")).await;
}

#[tokio::test]
async fn a_faulty_storage_without_faults_is_a_storage() {
    check(Arc::new(faulty(Faults::NONE))).await;
}

#[tokio::test]
async fn a_mirror_is_a_storage() {
    let copies: [Arc<dyn Driver>; 2] = [Arc::new(MemoryStorage::new()), Arc::new(MemoryStorage::new())];
    check(Arc::new(Mirror::new(copies.into()))).await;
}

#[tokio::test]
async fn a_storage_that_fails_now_and_then_is_one_when_it_is_asked_again() {
    let often = Faults { write_failed: 100, answer_lost: 100, read_failed: 100, ..Faults::NONE };
    check(Arc::new(Retrying::new(Arc::new(faulty(often)), Patience { attempts: 20, ..soon() }))).await;
}

/// A reader has a web server that knows nothing but `GET`.
#[tokio::test]
async fn plain_get_is_enough_for_readers() {
    let server = WebServer::start().await;
    let writer = open(&server.address("")).expect("an address");
    writer.create(&name("objects/0f/ab"), Content::Bytes("value".into())).await.expect("written");
    server.only_get();
    let reader = open(&server.address("")).expect("an address");
    assert_eq!(read(reader.as_ref(), "objects/0f/ab").await, Ok(b"value".to_vec()));
    assert!(reader.create(&name("other"), Content::Bytes("value".into())).await.is_err());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let server = WebServer::start().await;
    let address = server.address("");
    drop(server);
    let read = read(open(&address).expect("an address").as_ref(), "a").await;
    assert!(matches!(read, Err(StorageError::Unavailable(_))), "{read:?}");
}

/// An error of a server must not show the password in the address.
#[tokio::test]
async fn an_error_shows_no_password() {
    let server = WebServer::start().await;
    server.only_get();
    let address = server.address("").replace("http://", "http://me:secret@");
    let storage = open(&address).expect("an address");
    let error = storage.create(&name("a"), Content::Bytes("value".into())).await.expect_err("refused");
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn what_fails_longer_than_patience_is_an_error() {
    let faulty = Arc::new(faulty(Faults::NONE));
    (0..3).for_each(|_| faulty.fail_next(Fault::WriteFailed));
    let storage = Retrying::new(faulty.clone(), soon());
    let written = storage.create(&name("a"), Content::Bytes("value".into())).await;
    assert!(matches!(written, Err(StorageError::Unavailable(_))));
}

#[tokio::test]
async fn what_is_missing_is_not_asked_for_again() {
    let faulty = Arc::new(faulty(Faults::NONE));
    faulty.fail_next(Fault::Delayed(1));
    faulty.create(&name("a"), Content::Bytes("value".into())).await.expect("written");
    let storage = Retrying::new(faulty.clone(), soon());
    assert_eq!(read(&storage, "a").await, Err(StorageError::Missing));
}

#[tokio::test]
async fn a_mirror_reads_from_the_first_that_has_it() {
    let (first, second) = (Arc::new(MemoryStorage::new()), Arc::new(MemoryStorage::new()));
    second.create(&name("a"), Content::Bytes("value".into())).await.expect("written");
    let mirror = Mirror::new(vec![first, second]);
    assert_eq!(read(&mirror, "a").await, Ok(b"value".to_vec()));
}

/// Who hears "missing" may conclude that an object is gone; one copy that cannot be asked forbids that.
#[tokio::test]
async fn a_mirror_with_a_copy_that_cannot_be_asked_does_not_say_missing() {
    let failing = Arc::new(faulty(Faults::NONE));
    failing.fail_next(Fault::ReadFailed);
    let mirror = Mirror::new(vec![failing, Arc::new(MemoryStorage::new())]);
    assert!(matches!(read(&mirror, "a").await, Err(StorageError::Unavailable(_))));
}

#[tokio::test]
async fn a_mirror_has_written_only_what_all_have() {
    let failing = Arc::new(faulty(Faults::NONE));
    failing.fail_next(Fault::WriteFailed);
    let mirror = Mirror::new(vec![Arc::new(MemoryStorage::new()), failing]);
    assert!(mirror.create(&name("a"), Content::Bytes("value".into())).await.is_err());
}

#[tokio::test]
async fn each_fault_is_what_it_says() {
    let storage = faulty(Faults::NONE);
    let put = |at: &'static str| storage.replace(Box::leak(Box::new(name(at))), "value".into());
    storage.fail_next(Fault::Delayed(2));
    put("delayed").await.expect("it says");
    let seen = [read(&storage, "delayed").await.is_ok(), read(&storage, "delayed").await.is_ok(), read(&storage, "delayed").await.is_ok()];
    assert_eq!(seen, [false, false, true]);
    storage.fail_next(Fault::Lost);
    put("lost").await.expect("it says");
    assert_eq!(read(&storage, "lost").await, Err(StorageError::Missing));
    storage.fail_next(Fault::AnswerLost);
    assert!(put("there").await.is_err());
    assert_eq!(read(&storage, "there").await, Ok(b"value".to_vec()));
    storage.fail_next(Fault::Cut);
    assert_eq!(read(&storage, "there").await, Ok(b"va".to_vec()));
    storage.fail_next(Fault::Altered);
    assert_eq!(read(&storage, "there").await, Ok(b"valud".to_vec()));
}
