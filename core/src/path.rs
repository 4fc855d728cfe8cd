//! Names of records.

use std::fmt;
use std::str::FromStr;

use tidings_proto::caps::PATH_BYTES_MAX;

use crate::codec::{DecodeError, Decoder, Encoder};

/// Path of a record in its owner's datastore: `/favorites/color`.
///
/// Starts with `/`; Unicode NFC; no empty, `.` or `..` segment; no control character; no `/` at the end; at most
/// [`PATH_BYTES_MAX`] bytes. Case is kept, and paths are compared byte by byte. `Debug` does not show it: a path is content.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordPath(String);

/// Below this are rescued values, each named by 64 hex digits.
const RESCUED: &str = "/.tidings/rescued/";

/// Which rule a path breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Longer than [`PATH_BYTES_MAX`].
    #[error("a path has at most 1,024 bytes")]
    TooLong,
    /// Does not start with `/`.
    #[error("a path starts with /")]
    NotAbsolute,
    /// Ends with `/`.
    #[error("a path does not end with /")]
    TrailingSlash,
    /// Two `/` in a row.
    #[error("a path has no empty segment")]
    EmptySegment,
    /// A segment is `.` or `..`.
    #[error("a path has no segment . or ..")]
    DotSegment,
    /// A control character.
    #[error("a path has no control character")]
    ControlCharacter,
    /// Not in Unicode normal form C: two spellings of one text would be two records.
    #[error("a path is in Unicode normal form C")]
    NotNormalized,
}

impl RecordPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it belongs to the owner's programs: `/.tidings` and everything below. No application writes it, no reader hands it
    /// out. [P-5]
    pub fn is_reserved(&self) -> bool {
        self.is_at_or_below("/.tidings")
    }

    /// Whether it is a place of a rescued value. [P-5]
    pub fn is_rescued(&self) -> bool {
        self.0.starts_with(RESCUED)
    }

    /// The place of a rescued value.
    pub(crate) fn rescued(name: &[u8; 32]) -> Self {
        Self(format!("{RESCUED}{}", data_encoding::HEXLOWER.encode(name)))
    }

    fn is_at_or_below(&self, place: &str) -> bool {
        self.0.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    pub(crate) fn write_in(&self, out: &mut Encoder) {
        out.bytes(self.0.as_bytes());
    }

    pub(crate) fn read_in(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let text = input.text(PATH_BYTES_MAX, "path")?;
        text.parse().map_err(|_| DecodeError::Invalid("the record path breaks a rule"))
    }
}

impl FromStr for RecordPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        if text.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        let relative = text.strip_prefix('/').ok_or(PathError::NotAbsolute)?;
        if text.ends_with('/') {
            return Err(PathError::TrailingSlash);
        }
        relative.split('/').try_for_each(check_segment)?;
        if !unicode_normalization::is_nfc(text) {
            return Err(PathError::NotNormalized);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for RecordPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RecordPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordPath([{} bytes])", self.0.len())
    }
}

fn check_segment(segment: &str) -> Result<(), PathError> {
    match segment {
        "" => Err(PathError::EmptySegment),
        "." | ".." => Err(PathError::DotSegment),
        _ if segment.chars().any(char::is_control) => Err(PathError::ControlCharacter),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(text: &str) -> Option<PathError> {
        text.parse::<RecordPath>().err()
    }

    /// [P-5]
    #[test]
    fn only_what_is_at_or_below_the_reserved_place_is_reserved() {
        let reserved = |text: &str| text.parse::<RecordPath>().expect("a path").is_reserved();
        assert!(reserved("/.tidings") && reserved("/.tidings/rescued/00"));
        assert!(!reserved("/.tidings2") && !reserved("/a/.tidings/b") && !reserved("/.Tidings/a"));
    }

    #[test]
    fn the_place_of_a_rescued_value_is_a_path_and_reserved() {
        let place = RecordPath::rescued(&[0xab; 32]);
        assert_eq!(place.as_str().parse(), Ok(place.clone()));
        assert!(place.is_reserved() && place.is_rescued());
        assert!(!"/.tidings/rescued".parse::<RecordPath>().expect("a path").is_rescued());
    }

    #[test]
    fn ordinary_paths_are_taken_as_they_are() {
        for text in ["/a", "/favorites/color", "/A/a", "/ /..a", "/caf\u{e9}", "/\u{1f600}", "/a\\b:c*"] {
            assert_eq!(text.parse::<RecordPath>().map(|path| path.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_path_starts_with_a_slash() {
        assert_eq!(error("a/b"), Some(PathError::NotAbsolute));
        assert_eq!(error(""), Some(PathError::NotAbsolute));
    }

    #[test]
    fn a_path_does_not_end_with_a_slash() {
        assert_eq!(error("/a/"), Some(PathError::TrailingSlash));
        assert_eq!(error("/"), Some(PathError::TrailingSlash));
    }

    #[test]
    fn a_path_has_no_empty_segment() {
        assert_eq!(error("/a//b"), Some(PathError::EmptySegment));
        assert_eq!(error("//a"), Some(PathError::EmptySegment));
    }

    #[test]
    fn a_path_has_no_dot_segment() {
        for text in ["/.", "/..", "/a/./b", "/a/../b", "/a/.."] {
            assert_eq!(error(text), Some(PathError::DotSegment));
        }
    }

    #[test]
    fn a_path_has_no_control_character() {
        for text in ["/a\0b", "/a\nb", "/\u{7f}", "/\u{85}"] {
            assert_eq!(error(text), Some(PathError::ControlCharacter));
        }
    }

    #[test]
    fn a_path_is_in_normal_form_c() {
        assert_eq!(error("/cafe\u{301}"), Some(PathError::NotNormalized));
        // The angstrom sign has the letter as its normal form.
        assert_eq!(error("/\u{212b}"), Some(PathError::NotNormalized));
    }

    #[test]
    fn a_path_has_at_most_its_cap_of_bytes() {
        let longest = format!("/{}", "a".repeat(PATH_BYTES_MAX - 1));
        assert_eq!(error(&longest), None);
        assert_eq!(error(&format!("{longest}a")), Some(PathError::TooLong));
    }

    #[test]
    fn debug_does_not_show_a_path() {
        assert_eq!(format!("{:?}", "/secret".parse::<RecordPath>().expect("a path")), "RecordPath([7 bytes])");
    }

    proptest! {
        #[test]
        fn what_is_taken_is_read_back_from_its_encoding(text in "(/[^/]{1,8}){1,4}") {
            if let Ok(path) = text.parse::<RecordPath>() {
                let mut out = Encoder::new();
                path.write_in(&mut out);
                prop_assert_eq!(RecordPath::read_in(&mut Decoder::new(&out.finish())), Ok(path));
            }
        }
    }
}
