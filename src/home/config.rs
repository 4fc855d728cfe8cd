//! `config.toml` of a home.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tidings_proto::BrokerAddress;
use tidings_proto::address::AddressError;

use crate::failure::Failure;
use crate::{toml_file, whole_file};

/// More than any settings.
const BYTES_MAX: u64 = 1024 * 1024;

/// Settings of a node. Every key has a default; a key that is not listed here is an error that names its line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Brokers of the own queue, best first: `tidings://host:port?pin=...`.
    pub(crate) brokers: Vec<String>,
    /// How many brokers have to have a change on disk before it counts as published; where fewer are configured, all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) receipts: Option<usize>,
    /// Storages of values, the one that readers ask first at the front; none: the folder `storage` of the home.
    pub(crate) storage: Vec<String>,
}

impl Config {
    /// Reads the file; the defaults if there is none.
    ///
    /// # Errors
    /// The file cannot be read, is no TOML or holds an unknown key; the failure names the line.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        match whole_file::read_text(path, BYTES_MAX) {
            Ok(text) => toml_file::parse(&text).map_err(|error| wrong(path, &error)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => {
                let action = "put a copy of it, or the settings as `tidings init` writes them, in its place";
                Err(Failure::new(format!("{} cannot be read: {error}", path.display()), action))
            }
        }
    }

    /// The text of the file.
    pub(crate) fn text(&self) -> String {
        let receipts = self.receipts.map_or_else(String::new, |count| {
            format!("# How many of them must have a change on disk before it counts as published.\nreceipts = {count}\n")
        });
        format!(
            "# Brokers of this node's queue, best first.\nbrokers = {}\n{receipts}# Storages of its values, best first; none: the folder storage beside this file.\nstorage = {}\n",
            list(&self.brokers),
            list(&self.storage)
        )
    }

    /// The brokers as addresses.
    pub(crate) fn addresses(&self) -> Result<Vec<BrokerAddress>, Failure> {
        let wrong = |text: &str, error: AddressError| {
            Failure::new(format!("config.toml: {text} is no broker address: {error}"), "mend `brokers` in config.toml")
        };
        self.brokers.iter().map(|text| text.parse().map_err(|error| wrong(text, error))).collect()
    }
}

fn list(texts: &[String]) -> String {
    let lines: Vec<_> = texts.iter().map(|text| format!("    {},\n", toml::Value::from(text.as_str()))).collect();
    format!("[\n{}]", lines.concat())
}

fn wrong(path: &Path, error: &str) -> Failure {
    Failure::new(format!("{}: {error}", path.display()), "mend that line")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_an_error_that_names_its_line() {
        let error = toml_file::parse::<Config>("brokers = []\n\nbrokres = []\n").expect_err("the key is unknown");
        assert!(error.starts_with("line 3: unknown field `brokres`"), "{error}");
    }

    #[test]
    fn what_is_written_reads_back() {
        let config = Config {
            brokers: vec!["tidings://broker.example:4433".into(), "a \"quoted\" one".into()],
            receipts: Some(2),
            storage: vec!["file:///a".into()],
        };
        assert_eq!(toml_file::parse(&config.text()), Ok(config));
    }
}
