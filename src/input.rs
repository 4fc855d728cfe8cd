//! What commands read: values, cards and invitations.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use bytes::Bytes;
use tidings_core::codec::DecodeError;
use tidings_core::{Card, Fingerprint, Invitation, InvitationError, LineError};
use tidings_proto::caps::{INLINE_BYTES_MAX, OBJECT_BYTES_MAX};

use crate::console::Console;
use crate::failure::{Exit, Failure};

/// Longest file that is searched for a card or an invitation.
const LINE_BYTES_MAX: u64 = 256 * 1024;
/// How much of a pipe is read before the node is needed.
const AHEAD_BYTES: u64 = 1024 * 1024;

/// The value of a record as standard input: that of this process for `-`, or else a file. What comes slowly is read ahead, up to
/// 1 MiB, before this returns.
///
/// # Errors
/// It cannot be read, or is longer than a value may be.
pub(crate) fn value(console: &Console, source: &Path) -> Result<Console, Failure> {
    if source.as_os_str() == "-" {
        return ahead(console.input(), source);
    }
    let file = File::open(source).map_err(|error| unreadable(source, &error))?;
    let about = file.metadata().map_err(|error| unreadable(source, &error))?;
    if about.is_file() && about.len() > OBJECT_BYTES_MAX {
        return Err(too_large());
    }
    if about.is_file() { Ok(Console::with_input(file)) } else { ahead(file, source) }
}

/// The content of a file if it fits into the queue; `None` for a longer one, and for what is no file.
///
/// # Errors
/// It cannot be read.
pub(crate) fn short_file(path: &Path) -> Result<Option<Bytes>, Failure> {
    let mut value = Vec::new();
    let mut read = || {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Ok(false);
        }
        file.take(INLINE_BYTES_MAX as u64 + 1).read_to_end(&mut value).map(|_| true)
    };
    let is_file = read().map_err(|error| unreadable(path, &error))?;
    Ok((is_file && value.len() <= INLINE_BYTES_MAX).then_some(value.into()))
}

/// A pipe that is slow holds up nobody, as long as it is short.
fn ahead(mut input: impl Read + Send + 'static, source: &Path) -> Result<Console, Failure> {
    let mut head = Vec::new();
    input.by_ref().take(AHEAD_BYTES).read_to_end(&mut head).map_err(|error| unreadable(source, &error))?;
    Ok(Console::with_input(Cursor::new(head).chain(input)))
}

/// A value is longer than that of a record may be. Nothing was changed.
pub(crate) fn too_large() -> Failure {
    Failure::usage("a value has at most 64 MiB (67,108,864 bytes)", "split it over several records")
}

fn unreadable(source: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("{} cannot be read: {error}", source.display()), "name a file that can, or - for standard input")
}

/// The line of a card: itself, or from a file that holds it.
pub(crate) fn card_line(text: &str) -> Result<String, Failure> {
    line(text, "tidings-card:")
}

/// The line of an invitation: itself, or from a file that holds it.
pub(crate) fn invitation_line(text: &str) -> Result<String, Failure> {
    line(text, "tidings-invitation:")
}

/// The card on a line.
pub(crate) fn card(line: &str) -> Result<Card, Failure> {
    line.parse().map_err(|error| not_a("card", &error))
}

/// The invitation on a line.
pub(crate) fn invitation(line: &str) -> Result<Invitation, Failure> {
    Invitation::parse(line).map_err(|error| match &error {
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
