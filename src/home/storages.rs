//! The storages of a node, as its settings name them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidings_datastore::storage::{self, AddressError, Driver, FileStorage, Mirror};
use tidings_proto::BrokerAddress;
use tidings_proto::caps::LOCATOR_BYTES_MAX;

/// Where this node keeps values, and what its readers are told of that. Nothing was asked of any of them.
#[derive(Clone)]
pub(crate) struct Storages {
    /// Addresses without user and password, the one that readers ask first at the front.
    pub(crate) addresses: Vec<String>,
    /// All of them as one.
    pub(crate) driver: Arc<dyn Driver>,
    /// What grants say of them.
    pub(crate) locator: String,
}

impl Storages {
    /// Those at `configured` addresses; without any the folder `storage` of the home.
    ///
    /// # Errors
    /// Why there is no such storage, in words.
    pub(crate) fn open(configured: &[String], home: &Path) -> Result<Self, String> {
        let mut named = configured.iter().map(|address| open(address)).collect::<Result<Vec<_>, _>>()?;
        if named.is_empty() {
            named.push(in_home(home)?);
        }
        let (addresses, drivers): (Vec<_>, Vec<_>) = named.into_iter().unzip();
        let locator = addresses.join(" ");
        match locator.len() {
            0..=LOCATOR_BYTES_MAX => Ok(Self { addresses, driver: as_one(drivers), locator }),
            bytes => {
                Err(format!("the addresses of the storages have {bytes} bytes together; readers are told at most {LOCATOR_BYTES_MAX}"))
            }
        }
    }

    /// What grants say with these brokers.
    ///
    /// # Errors
    /// There is no room for all of them: readers would never find those that are left out. In words.
    pub(crate) fn locator_with(&self, brokers: &[BrokerAddress]) -> Result<String, String> {
        let locator = brokers.iter().fold(self.locator.clone(), |locator, broker| format!("{locator} {broker}"));
        match locator.len() {
            0..=LOCATOR_BYTES_MAX => Ok(locator),
            bytes => Err(format!(
                "the addresses of the storages and brokers have {bytes} bytes together; readers are told at most {LOCATOR_BYTES_MAX}"
            )),
        }
    }
}

/// The storage at an address, and the address as others may see it.
///
/// # Errors
/// Why there is none, in words that show no password.
pub(crate) fn open(address: &str) -> Result<(String, Arc<dyn Driver>), String> {
    if address.contains(char::is_whitespace) {
        return Err("an address of a storage holds no white space; write %20".to_owned());
    }
    let driver = storage::open(address).map_err(|error| unopened(address, &error))?;
    // The path of a folder is told as it was written: escapes and all.
    let shown = if address.starts_with("file:") { address.to_owned() } else { driver.address() };
    Ok((shown, driver))
}

/// One storage that is all of these.
pub(crate) fn as_one(mut drivers: Vec<Arc<dyn Driver>>) -> Arc<dyn Driver> {
    match drivers.len() {
        1 => drivers.remove(0),
        _ => Arc::new(Mirror::new(drivers)),
    }
}

fn in_home(home: &Path) -> Result<(String, Arc<dyn Driver>), String> {
    let folder = std::path::absolute(home).map_err(|error| format!("the folder of this node has no place: {error}"))?.join("storage");
    Ok((file_address(&folder), Arc::new(FileStorage::new(folder))))
}

fn file_address(folder: &Path) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(byte);
    let escaped = |byte: &u8| if plain(byte) { char::from(*byte).to_string() } else { format!("%{byte:02x}") };
    format!("file://{}", bytes(folder).iter().map(escaped).collect::<String>())
}

#[cfg(unix)]
fn bytes(folder: &Path) -> Vec<u8> {
    std::os::unix::ffi::OsStrExt::as_bytes(PathBuf::from(folder).as_os_str()).to_vec()
}

#[cfg(not(unix))]
fn bytes(folder: &Path) -> Vec<u8> {
    PathBuf::from(folder).to_string_lossy().replace('\\', "/").into_bytes()
}

fn unopened(address: &str, error: &AddressError) -> String {
    match address.split_once(':') {
        Some(("memory", _)) => "a storage in memory ends with the command, and what is in it".to_owned(),
        // What follows may hold a password.
        Some((kind, _)) => format!("a storage at {kind}: {error}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(addresses: &[&str]) -> Result<Storages, String> {
        let addresses: Vec<_> = addresses.iter().map(|address| (*address).to_owned()).collect();
        Storages::open(&addresses, Path::new("/a home/100%"))
    }

    #[test]
    fn without_a_storage_it_is_a_folder_of_the_home() {
        let locator = of(&[]).expect("a folder").locator;
        assert_eq!(locator, "file:///a%20home/100%25/storage");
        assert_eq!(open(&locator).expect("it reads back").1.address(), "file:///a home/100%/storage");
    }

    #[test]
    fn readers_are_told_no_password() {
        let storages = of(&["https://me:secret@host.example/x", "file:///b%20c"]).expect("two storages");
        assert_eq!(storages.locator, "https://host.example/x file:///b%20c");
    }

    /// Brokers that found no room were left out without a word, and no reader ever heard of them.
    #[test]
    fn a_broker_that_readers_cannot_be_told_of_is_refused() {
        let storages = of(&["file:///b"]).expect("a storage");
        let name = "b".repeat(50);
        let broker = |port: u16| -> BrokerAddress { format!("tidings://{name}.{name}.{name}.{name}:{port}").parse().expect("an address") };
        let locator = storages.locator_with(&[broker(1), broker(2)]).expect("there is room for two");
        assert_eq!(locator, format!("file:///b {} {}", broker(1), broker(2)));
        let error = storages.locator_with(&[broker(1), broker(2), broker(3)]).expect_err("there is none for three");
        assert!(error.contains("at most 512"), "{error}");
    }

    #[test]
    fn what_no_reader_could_use_is_refused() {
        let long = format!("file:///{}", "x".repeat(LOCATOR_BYTES_MAX));
        for address in ["memory:", "file:///a b", "nonsense", "ftp://me:secret@host.example/x", &long] {
            let error = of(&[address]).err().expect("it is refused");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
