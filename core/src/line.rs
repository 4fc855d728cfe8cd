//! An object as one line of text: `tidings-<kind>:<base64url without padding>`.

use data_encoding::BASE64URL_NOPAD;

use crate::codec::DecodeError;

/// Why a line is not the object that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// It starts with something else.
    #[error("the line does not start with {0}")]
    Prefix(&'static str),
    /// It is longer than any such object.
    #[error("the line is too long")]
    TooLong,
    /// It holds a character that does not belong there.
    #[error("the line is cut short or mistyped")]
    Encoding,
    /// It decodes to something that is no such object.
    #[error("the line holds no valid object: {0}")]
    Object(#[from] DecodeError),
}

pub(crate) fn write(prefix: &str, bytes: &[u8]) -> String {
    let mut line = prefix.to_owned();
    BASE64URL_NOPAD.encode_append(bytes, &mut line);
    line
}

/// Bytes of a line that starts with `prefix`; white space around it does not count.
pub(crate) fn read(prefix: &'static str, bytes_max: usize, line: &str) -> Result<Vec<u8>, LineError> {
    let encoded = line.trim_ascii().strip_prefix(prefix).ok_or(LineError::Prefix(prefix))?;
    if encoded.len() > BASE64URL_NOPAD.encode_len(bytes_max) {
        return Err(LineError::TooLong);
    }
    BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(|_| LineError::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PREFIX: &str = "tidings-test:";

    #[test]
    fn white_space_around_a_line_does_not_count() {
        assert_eq!(read(PREFIX, 3, &format!(" {}\r\n", write(PREFIX, &[1, 2, 3]))), Ok(vec![1, 2, 3]));
    }

    #[test]
    fn a_line_is_not_decoded_beyond_its_cap() {
        assert_eq!(read(PREFIX, 3, &write(PREFIX, &[0; 4])), Err(LineError::TooLong));
    }

    #[test]
    fn another_kind_of_line_is_named() {
        assert_eq!(read(PREFIX, 3, "tidings-card:AAAA"), Err(LineError::Prefix(PREFIX)));
    }

    #[test]
    fn padding_standard_alphabet_and_loose_bits_are_refused() {
        for encoded in ["AA==", "++++", "AB", "A A"] {
            assert_eq!(read(PREFIX, 30, &format!("{PREFIX}{encoded}")), Err(LineError::Encoding));
        }
    }

    proptest! {
        #[test]
        fn bytes_have_one_line(bytes: Vec<u8>) {
            prop_assert_eq!(read(PREFIX, bytes.len(), &write(PREFIX, &bytes)), Ok(bytes));
        }
    }
}
