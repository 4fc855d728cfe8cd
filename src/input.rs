//! What commands read: values, cards and invitations.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use tidings_core::codec::DecodeError;
use tidings_core::{Card, Fingerprint, Invitation, InvitationError, LineError};
use tidings_proto::caps::INLINE_BYTES_MAX;

use crate::failure::{Exit, Failure};

/// Longest file that is searched for a card or an invitation.
const LINE_BYTES_MAX: u64 = 256 * 1024;

/// Reads the value of a record from a file, or from standard input for `-`.
///
/// # Errors
/// It cannot be read, or is longer than a record of this version may be.
pub(crate) fn value(source: &Path) -> Result<Vec<u8>, Failure> {
    let limit = INLINE_BYTES_MAX as u64 + 1;
    let mut value = Vec::new();
    let read = match source.as_os_str() == "-" {
        true => io::stdin().lock().take(limit).read_to_end(&mut value),
        false => File::open(source).and_then(|file| file.take(limit).read_to_end(&mut value)),
    };
    read.map_err(|error| {
        Failure::new(format!("{} cannot be read: {error}", source.display()), "name a file that can, or - for standard input")
    })?;
    check_size(value.len())?;
    Ok(value)
}

/// Whether a value of this many bytes fits into a record.
pub(crate) fn check_size(bytes: usize) -> Result<(), Failure> {
    if bytes <= INLINE_BYTES_MAX {
        return Ok(());
    }
    Err(Failure::new("a value has at most 4,096 bytes in this version of Tidings", "split it over several records"))
}

/// A card: the line itself, or a file that holds it.
pub(crate) fn card(text: &str) -> Result<Card, Failure> {
    line(text, "tidings-card:")?.parse().map_err(|error| not_a("card", &error))
}

/// An invitation: the line itself, or a file that holds it.
pub(crate) fn invitation(text: &str) -> Result<Invitation, Failure> {
    Invitation::parse(&line(text, "tidings-invitation:")?).map_err(|error| match &error {
        InvitationError::Line(line) => not_a("invitation", line),
        _ => Failure::new(&error, "ask its sender for it again, and compare fingerprints").exit(Exit::Lie),
    })
}

/// Whether the card is the one whose fingerprint somebody said.
pub(crate) fn check_fingerprint(card: &Card, said: Option<&str>) -> Result<(), Failure> {
    let Some(said) = said else { return Ok(()) };
    let said: Fingerprint = said.parse().map_err(|error| Failure::usage(error, "write it as `tidings id` prints it, in quotes"))?;
    if said == card.fingerprint() {
        return Ok(());
    }
    let error = format!("the fingerprint differs: this is {} ({})", card.fingerprint(), card.did());
    Err(Failure::new(error, "do not trust it; compare both ways it reached you").exit(Exit::Lie))
}

/// Whatever is no such line is taken for the name of a file.
fn line(text: &str, prefix: &str) -> Result<String, Failure> {
    if text.trim_start().starts_with(prefix) {
        return Ok(text.to_owned());
    }
    let mut content = String::new();
    let read = File::open(text).and_then(|file| file.take(LINE_BYTES_MAX).read_to_string(&mut content));
    read.map_err(|error| {
        Failure::usage(format!("this is neither a line that starts with {prefix} nor a file that can be read: {error}"), "give one of them")
    })?;
    Ok(content.lines().find(|line| line.trim_start().starts_with(prefix)).unwrap_or(&content).to_owned())
}

fn not_a(what: &str, error: &LineError) -> Failure {
    match error {
        LineError::Object(DecodeError::TooNew { .. }) => Failure::new(
            format!("this {what} is of a version that this build of Tidings does not know"),
            "use a newer version of Tidings, or ask for one of version 1",
        ),
        error => Failure::new(format!("this is no valid {what}: {error}"), "copy the whole line again"),
    }
}
