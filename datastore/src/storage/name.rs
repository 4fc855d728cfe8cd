//! Names of objects in a storage.

use std::fmt;

/// Where an object is in its storage: segments of `a-z`, `0-9`, `-` and `_`, joined by `/`; at most 255 bytes.
///
/// Nothing else is allowed, so no name can leave the storage's root or mean something to a file system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// The text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no name of an object in storage")]
pub struct NameError;

/// Longest name, bytes.
const NAME_BYTES_MAX: usize = 255;

impl Name {
    /// Takes a text that is a name.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        let segment =
            |segment: &str| !segment.is_empty() && segment.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
        let right = text.len() <= NAME_BYTES_MAX && text.split('/').all(segment);
        if right { Ok(Self(text)) } else { Err(NameError) }
    }

    /// Whether it starts with the segments of `prefix`.
    pub fn is_below(&self, prefix: &Self) -> bool {
        self.0.strip_prefix(&prefix.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use tidings_hostile::{Meal, alone, feed};

    use super::*;

    #[test]
    fn no_name_leaves_the_root() {
        for text in ["", "/", "/a", "a/", "a//b", "..", "a/../b", ".", "A", "a b", "a\0", "a.b", "ä"] {
            assert_eq!(Name::new(text), Err(NameError), "{text:?}");
        }
        assert!(Name::new("a".repeat(256)).is_err());
        assert_eq!(Name::new("objects/0f/ab-c_d").map(|name| name.to_string()), Ok("objects/0f/ab-c_d".to_owned()));
    }

    #[test]
    fn a_text_is_its_name_or_none() {
        alone(concat!(module_path!(), "::a_text_is_its_name_or_none"), || {
            let honest = ["a", "objects/0f/ab-c_d", "queues/0/head"].map(|name| name.as_bytes().to_vec());
            feed("name", Meal::LARGE, &honest, |bytes| {
                let name = Name::new(std::str::from_utf8(bytes).ok()?).ok()?;
                assert!(name.is_below(&name) && name.as_str().split('/').all(|segment| !segment.is_empty() && !segment.contains('.')));
                Some(name.as_str().as_bytes().to_vec())
            });
        });
    }
}
