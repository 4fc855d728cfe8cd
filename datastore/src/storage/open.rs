//! A storage from its address.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::http::HttpBuilder;
use object_store::path::Path as StorePath;
use object_store::{ClientOptions, ObjectStore, RetryConfig};

use super::remote::{Parts, Remote};
use super::{Capabilities, Driver, FileStorage, Patience, Retrying};

/// Why there is no storage at an address. Nothing was asked of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Not one of the kinds.
    #[error("a storage is file:///folder, s3://bucket/prefix, http://... or https://...")]
    Unknown,
    /// Not an address of its kind.
    #[error("this is no address of a storage: {0}")]
    Invalid(&'static str),
    /// Credentials, region or endpoint in the environment do not do.
    #[error("the storage cannot be set up: {0}")]
    Environment(String),
}

/// No file has one in its name, and it ends an address where rows are kept by it.
const ZERO_BYTE: AddressError = AddressError::Invalid("it has no zero byte");
/// Longest time to connect.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest time without a byte of an answer.
const SILENCE: Duration = Duration::from_secs(60);

/// Opens the storage at `address` without asking anything of it.
///
/// - `file:///folder`: a folder of this machine; `%` and two hex digits stand for a byte.
/// - `s3://bucket/prefix`: a bucket; credentials, region and endpoint come from the usual `AWS_` variables of the environment.
/// - `http://` and `https://`: a web server; `GET` is enough for readers, owners need `PUT`, `DELETE` and, for folders, `MKCOL`.
///   A user and a password may stand before an `@`; they are not shown by [`Driver::address`].
///
/// # Errors
/// The address is none of these, or the environment lacks something.
pub fn open(address: &str) -> Result<Arc<dyn Driver>, AddressError> {
    let (kind, rest) = address.split_once("://").ok_or(AddressError::Unknown)?;
    if rest.contains(['?', '#']) {
        return Err(AddressError::Invalid("it has no query and no fragment"));
    }
    if rest.contains('\0') {
        return Err(ZERO_BYTE);
    }
    let remote = match kind {
        "file" => return Ok(Arc::new(FileStorage::new(folder(rest)?))),
        "s3" => bucket(rest)?,
        "http" | "https" => web(kind, rest)?,
        _ => return Err(AddressError::Unknown),
    };
    Ok(Arc::new(Retrying::new(Arc::new(remote), Patience::default())))
}

fn folder(rest: &str) -> Result<PathBuf, AddressError> {
    if !rest.starts_with('/') {
        return Err(AddressError::Invalid("a folder starts with file:///"));
    }
    Ok(PathBuf::from(decoded(rest)?))
}

fn bucket(rest: &str) -> Result<Remote, AddressError> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() || bucket.contains(['@', ':']) {
        return Err(AddressError::Invalid("a bucket is s3://bucket or s3://bucket/prefix"));
    }
    let store = AmazonS3Builder::from_env().with_bucket_name(bucket).with_client_options(limits(true)).with_retry(once()).build();
    Ok(Remote {
        store: store.map(|store| Arc::new(store) as Arc<dyn ObjectStore>).map_err(|error| AddressError::Environment(error.to_string()))?,
        prefix: StorePath::parse(prefix).map_err(|_| AddressError::Invalid("the prefix of a bucket has plain segments"))?,
        address: format!("s3://{rest}"),
        capabilities: Capabilities { durable: true, consistent: true, list: true, write: true },
        parts: Parts::Several,
    })
}

fn web(kind: &str, rest: &str) -> Result<Remote, AddressError> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.is_empty() {
        return Err(AddressError::Invalid("a web server has a host"));
    }
    // Listings of a web server tell whole paths: the path is a prefix of names, not part of the base.
    let base = format!("{kind}://{authority}");
    let store = HttpBuilder::new().with_url(base).with_client_options(limits(kind == "http")).with_retry(once()).build();
    Ok(Remote {
        // The error may name the address with its password.
        store: store.map(|store| Arc::new(store) as Arc<dyn ObjectStore>).map_err(|_| AddressError::Invalid("a web server has a URL"))?,
        prefix: StorePath::from_url_path(path).map_err(|_| AddressError::Invalid("the path of a web server has plain segments"))?,
        address: format!("{kind}://{host}/{path}"),
        // What a web server keeps, for how long and behind which caches is its operator's business.
        capabilities: Capabilities { durable: false, consistent: false, list: true, write: true },
        parts: Parts::One,
    })
}

/// No limit for the whole of a transfer, which may be long; one for silence.
fn limits(plain: bool) -> ClientOptions {
    ClientOptions::new().with_allow_http(plain).with_timeout_disabled().with_connect_timeout(CONNECT).with_read_timeout(SILENCE)
}

/// Repeating is done in one place, for all storages the same.
fn once() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

fn decoded(text: &str) -> Result<String, AddressError> {
    let wrong = AddressError::Invalid("after % come two hex digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit())).ok_or(wrong.clone())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong.clone())?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    if bytes.contains(&0) {
        return Err(ZERO_BYTE);
    }
    String::from_utf8(bytes).map_err(|_| AddressError::Invalid("a folder is UTF-8"))
}

#[cfg(test)]
mod tests {
    use tidings_hostile::{Meal, alone, feed};

    use super::*;

    fn address(text: &str) -> Result<String, AddressError> {
        open(text).map(|storage| storage.address())
    }

    #[test]
    fn folders_and_web_servers_are_opened_by_address() {
        assert_eq!(address("file:///a/b%20c").as_deref(), Ok("file:///a/b c"));
        assert_eq!(address("http://127.0.0.1:9/x/y").as_deref(), Ok("http://127.0.0.1:9/x/y"));
    }

    #[test]
    fn an_address_shows_no_password() {
        assert_eq!(address("https://me:secret@host.example/x").as_deref(), Ok("https://host.example/x"));
    }

    #[test]
    fn what_is_no_storage_is_refused() {
        for text in [
            "",
            "memory:",
            "/folder",
            "file://relative",
            "file:///a%2",
            "s3://",
            "s3://me@bucket",
            "http://",
            "ftp://host/x",
            "https://h/x?token=1",
            "file:///a%00b",
            "file:///a\0b",
            "http://h/a\0b",
        ] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_folder_reads_back_whatever_is_escaped() {
        alone(concat!(module_path!(), "::a_folder_reads_back_whatever_is_escaped"), || {
            let honest = ["/", "/a/b%20c", "/caf\u{e9}/100%25", "/%c3%a9%0a"].map(|rest| rest.as_bytes().to_vec());
            feed("folder", Meal::LARGE, &honest, |bytes| {
                let folder = folder(std::str::from_utf8(bytes).ok()?).ok()?;
                let text = folder.to_str().expect("UTF-8");
                assert!(text.starts_with('/') && !text.contains('\0') && text.len() <= bytes.len());
                let escaped: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
                assert_eq!(decoded(&escaped).as_deref(), Ok(text));
                Some(bytes.to_vec())
            });
        });
    }

    /// Not alone: what a client for the network takes is no length of an address.
    #[test]
    fn an_address_is_opened_or_refused_and_the_one_it_shows_is_the_same() {
        let honest = ["file:///a/b%20c", "http://h:9/x/y", "https://me:secret@h/x", "s3://bucket/x"].map(|text| text.as_bytes().to_vec());
        feed("address", Meal { random: 20, mutations: 100 }, &honest, |bytes| {
            let shown = address(std::str::from_utf8(bytes).ok()?).ok()?;
            assert!(!shown.contains('\0'));
            if !shown.starts_with("file:") {
                assert_eq!(address(&shown), Ok(shown.clone()));
                assert!(!shown.contains("me:secret@"), "{shown}");
            }
            Some(bytes.to_vec())
        });
    }
}
