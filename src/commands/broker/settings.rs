//! Settings of a broker.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use crate::failure::Failure;

/// More than any settings.
const BYTES_MAX: u64 = 1024 * 1024;

/// Each `None` is a default. A key that is not listed here is an error that names its line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Settings {
    /// Folder of the broker. There is no default.
    pub(super) data: Option<PathBuf>,
    /// UDP address to serve on; `[::]:4433`.
    pub(super) listen: Option<SocketAddr>,
    /// Host and port that clients are told; the address served on.
    pub(super) public: Option<Public>,
    /// Who may publish; who was allowed, on loopback everybody.
    pub(super) admit: Option<Admit>,
}

/// Who may publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Admit {
    /// Everybody.
    Open,
    /// Who was allowed with `tidings broker allow`.
    List,
}

/// `host:port` as clients are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Public {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Settings {
    /// Reads a settings file.
    ///
    /// # Errors
    /// It cannot be read, or holds what it should not; the failure names the line.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let text = crate::whole_file::read_text(path, BYTES_MAX)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display()), "name a file that can be read"))?;
        crate::toml_file::parse(&text).map_err(|error| Failure::new(format!("{}: {error}", path.display()), "mend that line"))
    }
}

impl FromStr for Public {
    type Err = String;

    /// An IPv6 address stands in brackets.
    fn from_str(text: &str) -> Result<Self, String> {
        let address: tidings_proto::BrokerAddress =
            format!("tidings://{text}").parse().map_err(|error: tidings_proto::address::AddressError| error.to_string())?;
        Ok(Self { host: address.host, port: address.port })
    }
}

impl<'de> Deserialize<'de> for Public {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, String> {
        crate::toml_file::parse(text)
    }

    #[test]
    fn every_key_is_read() {
        let text = "data = \"d\"\nlisten = \"127.0.0.1:0\"\npublic = \"[::1]:7\"\nadmit = \"open\"\n";
        let expected = Settings {
            data: Some("d".into()),
            listen: Some(([127, 0, 0, 1], 0).into()),
            public: Some(Public { host: "::1".into(), port: 7 }),
            admit: Some(Admit::Open),
        };
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_its_line() {
        let error = parse("data = \"d\"\nlisen = \"127.0.0.1:0\"\n").expect_err("the key is unknown");
        assert!(error.starts_with("line 2: unknown field `lisen`"), "{error}");
    }
}
