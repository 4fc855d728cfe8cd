//! A bucket as far as its driver needs one, and the suite over it.
//!
//! Credentials and endpoint come from the environment, so the suite runs in a process of its own: this binary again.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tidings_datastore::storage::open;

use crate::conformance::check;
use crate::server::WebServer;

const CHILD: &str = "TIDINGS_TEST_BUCKET";

#[tokio::test]
async fn a_bucket_is_a_storage() {
    let server = WebServer::with_bucket().await;
    let mut process = tokio::process::Command::new(std::env::current_exe().expect("this binary"));
    process.args(["--exact", "bucket::the_process", "--nocapture"]).env(CHILD, "1");
    process.env("AWS_ENDPOINT", server.address("").trim_end_matches('/')).env("AWS_REGION", "here");
    process.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret");
    let output = process.output().await.expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(server.bucket_parts() > 1, "a long object goes in parts");
}

/// Not a test by itself: what runs in the process with a bucket in its environment.
#[tokio::test]
async fn the_process() {
    if std::env::var_os(CHILD).is_some() {
        check(open("s3://bucket/some/prefix").expect("an address")).await;
    }
}

/// Objects, and parts of those that are not whole yet.
#[derive(Default)]
pub(crate) struct Bucket {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    parts: Mutex<BTreeMap<(String, u32), Vec<u8>>>,
}

impl Bucket {
    /// Parts that ever came.
    pub(crate) fn parts(&self) -> usize {
        self.parts.lock().expect("no test panics here").len()
    }

    pub(crate) fn answer(&self, method: &str, target: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let field = |name: &str| query.split('&').find_map(|field| field.strip_prefix(name)?.strip_prefix('=').map(decoded));
        let key = path.trim_start_matches("/bucket").trim_start_matches('/').to_owned();
        let mut objects = self.objects.lock().expect("no test panics here");
        let mut parts = self.parts.lock().expect("no test panics here");
        match (method, field("partNumber"), field("uploadId")) {
            ("PUT", Some(number), _) => {
                parts.insert((key, number.parse().expect("a number")), body);
                (200, Vec::new())
            }
            ("POST", _, Some(_)) => {
                let whole = parts.iter().filter(|((of, _), _)| *of == key).flat_map(|(_, part)| part.clone()).collect();
                objects.insert(key, whole);
                (200, xml("CompleteMultipartUploadResult", "<ETag>1</ETag>"))
            }
            ("POST", ..) if query.contains("uploads") => (200, xml("InitiateMultipartUploadResult", "<UploadId>1</UploadId>")),
            ("POST", ..) => {
                let text = String::from_utf8(body).expect("XML");
                let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
                let removed = keys.map(|(key, _)| {
                    objects.remove(key);
                    format!("<Deleted><Key>{key}</Key></Deleted>")
                });
                (200, xml("DeleteResult", &removed.collect::<String>()))
            }
            ("PUT", ..) => {
                objects.insert(key, body);
                (200, Vec::new())
            }
            ("GET", ..) if key.is_empty() => (200, listing(&objects, &field("prefix").unwrap_or_default())),
            ("GET", ..) => objects.get(&key).map_or((404, Vec::new()), |object| (200, object.clone())),
            _ => (405, Vec::new()),
        }
    }
}

fn listing(objects: &BTreeMap<String, Vec<u8>>, prefix: &str) -> Vec<u8> {
    let found = objects.iter().filter(|(key, _)| key.starts_with(prefix));
    let contents: String = found
        .map(|(key, object)| {
            let size = object.len();
            format!("<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>1994-11-06T08:49:37Z</LastModified></Contents>")
        })
        .collect();
    xml("ListBucketResult", &contents)
}

fn xml(name: &str, content: &str) -> Vec<u8> {
    format!("<?xml version=\"1.0\"?><{name}>{content}</{name}>").into_bytes()
}

fn decoded(text: &str) -> String {
    text.replace("%2F", "/").replace("%2f", "/")
}
