//! Places on the command line: `/path` is an own record, `OWNER:/path` one of a followed owner.

use std::path::PathBuf;

use tidings_core::RecordPath;

use crate::failure::Failure;

/// A record that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// An own one.
    Own(RecordPath),
    /// One of a followed owner.
    Of(String, RecordPath),
}

/// The records that are listed: those whose path starts with the prefix. An empty one lists all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    /// Own ones.
    Own(String),
    /// Those of a followed owner.
    Of(String, String),
}

impl Place {
    /// Splits at the first `:/`, since names and DIDs hold no `/`.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        match split(text) {
            (None, path) => Ok(Self::Own(record(path)?)),
            (Some(owner), path) => Ok(Self::Of(owner.to_owned(), record(path)?)),
        }
    }
}

impl Listing {
    /// Splits at the first `:/`, else at a last `:`.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, Failure> {
        let text = text.unwrap_or_default();
        let (owner, prefix) = match (split(text), text.strip_suffix(':')) {
            ((None, _), Some(owner)) if !text.starts_with('/') => (Some(owner), ""),
            (parts, _) => parts,
        };
        if !prefix.is_empty() && !prefix.starts_with('/') {
            return Err(Failure::usage(format!("{prefix}: a prefix starts with /"), "write /PREFIX or OWNER:/PREFIX"));
        }
        Ok(match owner {
            None => Self::Own(prefix.to_owned()),
            Some(owner) => Self::Of(owner.to_owned(), prefix.to_owned()),
        })
    }
}

/// A record's path as it was typed.
pub(crate) fn record(text: &str) -> Result<RecordPath, Failure> {
    text.parse().map_err(|error| Failure::usage(format!("{text:?} is no path: {error}"), "write it like /favorites/color"))
}

/// Nothing, or the path of records as it was typed.
pub(crate) fn prefix(text: &str) -> Result<(), Failure> {
    let path = text.trim_end_matches('/');
    if path.is_empty() { Ok(()) } else { record(path).map(drop) }
}

/// Makes a file or a folder of the command line mean the same in every current folder.
pub(crate) fn absolute(path: &mut PathBuf) -> Result<(), Failure> {
    let named = |error| Failure::usage(format!("{}: {error}", path.display()), "name a file or a folder");
    *path = std::path::absolute(&*path).map_err(named)?;
    Ok(())
}

fn split(text: &str) -> (Option<&str>, &str) {
    match text.find(":/") {
        Some(at) if !text.starts_with('/') => (Some(&text[..at]), &text[at + 1..]),
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RecordPath {
        text.parse().expect("a path")
    }

    #[test]
    fn an_owner_ends_at_the_first_colon_and_slash() {
        assert_eq!(Place::parse("did:key:z6Mk:/a:/b"), Ok(Place::Of("did:key:z6Mk".into(), path("/a:/b"))));
    }

    #[test]
    fn an_own_path_may_hold_a_colon_and_a_slash() {
        assert_eq!(Place::parse("/a:/b"), Ok(Place::Own(path("/a:/b"))));
        assert_eq!(Listing::parse(Some("/a:")), Ok(Listing::Own("/a:".into())));
    }

    #[test]
    fn an_owner_without_a_prefix_ends_at_the_last_colon() {
        assert_eq!(Listing::parse(Some("did:key:z6Mk:")), Ok(Listing::Of("did:key:z6Mk".into(), String::new())));
        assert_eq!(Listing::parse(Some("alice:/f")), Ok(Listing::Of("alice".into(), "/f".into())));
        assert_eq!(Listing::parse(None), Ok(Listing::Own(String::new())));
    }

    #[test]
    fn a_prefix_is_nothing_or_a_path() {
        let taken = ["", "/", "/photos", "/photos/", "photos", "/a/../b", "alice:/a"].map(|text| prefix(text).is_ok());
        assert_eq!(taken, [true, true, true, true, false, false, false]);
    }

    #[test]
    fn what_is_no_path_is_a_usage_error() {
        for text in ["color", "alice:color", "/", "//a", "/a/", "/a/../b", "/a\u{1}", "/e\u{301}", "alice:/"] {
            assert_eq!(Place::parse(text).expect_err(text).exit, crate::failure::Exit::Usage, "{text}");
        }
    }
}
