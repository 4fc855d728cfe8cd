//! What goes through the socket: a kind, a length, a body.

use std::io::{self, Read, Write};

/// Longest body of anything but a command.
pub(super) const BYTES_MAX: usize = 64 * 1024;
/// Longest command: cards and invitations are arguments.
const COMMAND_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Kinds of frames. A number is never used again for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Caller: its version.
    Hello = 1,
    /// Caller: the command, as JSON.
    Command = 2,
    /// Caller: the output is written.
    Taken = 3,
    /// Caller: the output cannot be written; why.
    Untaken = 4,
    /// Caller: bytes of its standard input; none at the end.
    Input = 5,
    /// Caller: standard input cannot be read; why.
    InputFailed = 6,
    /// Caller: it was asked to end.
    Interrupt = 7,
    /// Server: the command begins.
    Welcome = 33,
    /// Server: the caller is of another version; which one this is.
    OtherVersion = 34,
    /// Server: too many commands at once.
    Full = 35,
    /// Server: for standard output; answered by `Taken` or `Untaken`.
    Out = 36,
    /// Server: for standard error.
    Err = 37,
    /// Server: wants standard input; answered by `Input` or `InputFailed`.
    Read = 38,
    /// Server: the command has ended; the exit code.
    Exit = 39,
    /// Server: the command goes on.
    Alive = 40,
}

const KINDS: [Kind; 15] = {
    use Kind::{Alive, Command, Err, Exit, Full, Hello, Input, InputFailed, Interrupt, OtherVersion, Out, Read, Taken, Untaken, Welcome};
    [Hello, Command, Taken, Untaken, Input, InputFailed, Interrupt, Welcome, OtherVersion, Full, Out, Err, Read, Exit, Alive]
};

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) body: Vec<u8>,
}

impl Frame {
    pub(super) fn new(kind: Kind, body: impl Into<Vec<u8>>) -> Self {
        Self { kind, body: body.into() }
    }

    /// Writes it; blocks while the other side does not read.
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let length = u32::try_from(self.body.len()).map_err(|_| malformed("too long"))?;
        let mut bytes = Vec::with_capacity(5 + self.body.len());
        bytes.push(self.kind as u8);
        bytes.extend(length.to_be_bytes());
        bytes.extend(&self.body);
        to.write_all(&bytes)
    }

    /// Reads one; `None` at the end between two frames.
    ///
    /// # Errors
    /// Also for an unknown kind and for a length above the cap, before anything is allocated. [P-19]
    pub(super) fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut head = [0; 5];
        if begun(from, &mut head[..1])? == 0 {
            return Ok(None);
        }
        from.read_exact(&mut head[1..])?;
        let kind = KINDS.into_iter().find(|kind| *kind as u8 == head[0]).ok_or_else(|| malformed("unknown kind"))?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let most = if kind == Kind::Command { COMMAND_BYTES_MAX } else { BYTES_MAX };
        if length > most {
            return Err(malformed("too long"));
        }
        let mut body = vec![0; length];
        from.read_exact(&mut body)?;
        Ok(Some(Self { kind, body }))
    }

    /// The body as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A process that was stopped and goes on finds what it waited for interrupted.
fn begun(from: &mut impl Read, head: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(head) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a frame that is none: {what}"))
}

#[cfg(test)]
mod tests {
    use tidings_hostile::{Meal, alone, feed};

    use super::*;

    #[test]
    fn every_kind_comes_out_as_it_went_in() {
        for kind in KINDS {
            let mut bytes = Vec::new();
            let frame = Frame::new(kind, "body");
            frame.write(&mut bytes).expect("memory does not fail");
            assert_eq!(Frame::read(&mut bytes.as_slice()).expect("a frame"), Some(frame));
        }
    }

    #[test]
    fn a_length_above_the_cap_is_refused_before_the_body_is_there() {
        let mut bytes = vec![Kind::Input as u8];
        bytes.extend(u32::MAX.to_be_bytes());
        assert_eq!(Frame::read(&mut bytes.as_slice()).expect_err("too long").kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn half_a_frame_is_no_end() {
        let mut bytes = Vec::new();
        Frame::new(Kind::Input, "body").write(&mut bytes).expect("memory does not fail");
        assert!(Frame::read(&mut &bytes[..7]).is_err());
        assert_eq!(Frame::read(&mut [].as_slice()).expect("an end"), None);
    }

    #[test]
    fn a_stream_of_frames_has_one_encoding() {
        alone(concat!(module_path!(), "::a_stream_of_frames_has_one_encoding"), || {
            let frames = KINDS.map(|kind| {
                let mut bytes = Vec::new();
                Frame::new(kind, "body").write(&mut bytes).expect("memory does not fail");
                bytes
            });
            feed("frames", Meal::LARGE, &[frames.concat(), Vec::new()], |bytes| {
                let (mut rest, mut written) = (bytes, Vec::new());
                while let Some(frame) = Frame::read(&mut rest).ok()? {
                    frame.write(&mut written).expect("memory does not fail");
                }
                Some(written)
            });
        });
    }
}
