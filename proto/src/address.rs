//! Where a broker is and by what it is recognised.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;

use crate::caps::ADDRESS_BYTES_MAX;
use crate::ids::VerifyingKey;

const SCHEME: &str = "tidings://";

/// Address of a broker: `tidings://host:port?pin=<base64url>&receipt=<base64url>`.
///
/// One address has one text: [`Display`](fmt::Display) writes what [`FromStr`] reads.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let address: tidings_proto::BrokerAddress = "tidings://broker.example:4433".parse()?;
/// assert_eq!((address.host.as_str(), address.port, address.pin), ("broker.example", 4433, None));
/// assert_eq!(address.to_string(), "tidings://broker.example:4433");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BrokerAddress {
    /// Name or IP address; an IPv6 address without its brackets.
    pub host: String,
    /// UDP port.
    pub port: u16,
    /// SHA-256 of the TLS key's SubjectPublicKeyInfo. `None`: the certificate must be one that the public web trusts.
    pub pin: Option<[u8; 32]>,
    /// Key of the broker's receipts, if it is known in advance.
    pub receipt: Option<VerifyingKey>,
}

/// Why text is no broker address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Too long to be one.
    #[error("a broker address has at most {ADDRESS_BYTES_MAX} bytes")]
    TooLong,
    /// Another scheme.
    #[error("a broker address starts with {SCHEME}")]
    Scheme,
    /// No host, or one that is neither a name nor an IP address.
    #[error("no valid host; write tidings://HOST:PORT, an IPv6 address in brackets")]
    Host,
    /// No port, or not one from 1 to 65535.
    #[error("no valid port; write tidings://HOST:PORT with a port from 1 to 65535")]
    Port,
    /// A value that is not 32 bytes of unpadded base64url.
    #[error("{0} is not 32 bytes in base64url")]
    Value(&'static str),
    /// A parameter this build does not know, or one that is given twice.
    #[error("parameter {0:?} is unknown or given twice")]
    Parameter(String),
}

impl FromStr for BrokerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(AddressError::Scheme)?;
        let (place, parameters) = match rest.split_once('?') {
            Some((place, parameters)) => (place, parameters.split('&').collect()),
            None => (rest, Vec::new()),
        };
        let (host, port) = parse_place(place)?;
        let mut address = Self { host, port, pin: None, receipt: None };
        parameters.into_iter().try_for_each(|parameter| address.take(parameter))?;
        Ok(address)
    }
}

impl BrokerAddress {
    fn take(&mut self, parameter: &str) -> Result<(), AddressError> {
        match parameter.split_once('=') {
            Some(("pin", value)) if self.pin.is_none() => self.pin = Some(parse_32(value, "pin")?),
            Some(("receipt", value)) if self.receipt.is_none() => {
                self.receipt = Some(VerifyingKey::new(parse_32(value, "receipt")?));
            }
            _ => return Err(AddressError::Parameter(parameter.split('=').next().unwrap_or_default().to_owned())),
        }
        Ok(())
    }
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?
        } else {
            f.write_str(&self.host)?
        }
        write!(f, ":{}", self.port)?;
        let pin = self.pin.map(|pin| format!("pin={}", BASE64URL_NOPAD.encode(&pin)));
        let receipt = self.receipt.map(|key| format!("receipt={}", BASE64URL_NOPAD.encode(key.bytes())));
        let mut separator = '?';
        for parameter in [pin, receipt].into_iter().flatten() {
            write!(f, "{separator}{parameter}")?;
            separator = '&';
        }
        Ok(())
    }
}

fn parse_place(place: &str) -> Result<(String, u16), AddressError> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(AddressError::Host)?;
            host.parse::<Ipv6Addr>().map_err(|_| AddressError::Host)?;
            (host, port.strip_prefix(':').ok_or(AddressError::Port)?)
        }
        None => {
            let (host, port) = place.rsplit_once(':').ok_or(AddressError::Port)?;
            let named = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
            if !named {
                return Err(AddressError::Host);
            }
            (host, port)
        }
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
    let port = port.parse().ok().filter(|_| digits).ok_or(AddressError::Port)?;
    Ok((host.to_owned(), port))
}

fn parse_32(text: &str, name: &'static str) -> Result<[u8; 32], AddressError> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| AddressError::Value(name))?;
    bytes.try_into().map_err(|_| AddressError::Value(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIN: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";

    fn address(host: &str) -> BrokerAddress {
        BrokerAddress { host: host.into(), port: 4433, pin: Some([1; 32]), receipt: Some(VerifyingKey::new([2; 32])) }
    }

    #[test]
    fn an_address_reads_back_as_written() {
        for host in ["broker.example", "192.0.2.1", "::1", "localhost"] {
            let text = address(host).to_string();
            assert_eq!(text.parse(), Ok(address(host)), "{text}");
        }
    }

    #[test]
    fn the_text_is_the_documented_one() {
        let text = format!("tidings://[::1]:4433?pin={PIN}&receipt=AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI");
        assert_eq!(address("::1").to_string(), text);
    }

    #[test]
    fn an_address_without_parameters_is_one() {
        let expected = BrokerAddress { host: "broker.example".into(), port: 1, pin: None, receipt: None };
        assert_eq!("tidings://broker.example:1".parse(), Ok(expected));
    }

    #[test]
    fn each_mistake_is_named() {
        let cases = [
            ("https://a:1", AddressError::Scheme),
            ("tidings://:1", AddressError::Host),
            ("tidings://a b:1", AddressError::Host),
            ("tidings://::1:1", AddressError::Host),
            ("tidings://[::g]:1", AddressError::Host),
            ("tidings://a", AddressError::Port),
            ("tidings://[::1]", AddressError::Port),
            ("tidings://a:0", AddressError::Port),
            ("tidings://a:+1", AddressError::Port),
            ("tidings://a:70000", AddressError::Port),
            ("tidings://a:1?pin=AA", AddressError::Value("pin")),
            ("tidings://a:1?", AddressError::Parameter(String::new())),
            ("tidings://a:1?pim=AA", AddressError::Parameter("pim".into())),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<BrokerAddress>(), Err(error), "{text}");
        }
        let twice = format!("tidings://a:1?pin={PIN}&pin={PIN}");
        assert_eq!(twice.parse::<BrokerAddress>(), Err(AddressError::Parameter("pin".into())));
        assert_eq!(format!("tidings://{}:1", "a".repeat(600)).parse::<BrokerAddress>(), Err(AddressError::TooLong));
    }
}
