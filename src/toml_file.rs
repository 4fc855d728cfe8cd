//! Settings in TOML, with errors that name the line.

use serde::de::DeserializeOwned;

/// Parses a settings file.
///
/// # Errors
/// `line N: what`.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        format!("line {line}: {}", error.message())
    })
}
