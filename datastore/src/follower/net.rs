//! The net effect of changes on one record, as a person sees it: what was printed last against what is now.

use tidings_client::StateError;
use tidings_core::reader::{Change, ChangeKind};
use tidings_core::{Decoder, Encoder, Mutation, ObjectReference, Version};
use tidings_proto::{Offset, Term};

/// A value that was or could be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) version: Version,
    /// BLAKE3 of the value.
    pub(crate) hash: Option<[u8; 32]>,
    pub(crate) size: u64,
}

impl Shown {
    /// Stands for a value of which only the existence is known; equal to none that an owner writes.
    pub(crate) const UNKNOWN: Self = Self { version: Version { clock: u64::MAX, node: [0xff; 16] }, hash: None, size: u64::MAX };

    /// What `mutation` shows.
    pub(crate) fn of(mutation: &Mutation) -> Self {
        Self { version: mutation.version, hash: mutation.value_hash(), size: mutation.size() }
    }

    fn write_in(&self, out: &mut Encoder) {
        self.version.write_in(out);
        out.bytes(self.hash.as_ref().map_or(&[][..], |hash| hash));
        out.u64(self.size);
    }

    /// For a row of its own.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        self.write_in(&mut out);
        out.finish()
    }

    /// Reads a row of its own.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let mut input = Decoder::new(bytes);
        let shown = Self::read_in(&mut input)?;
        input.finish()?;
        Ok(shown)
    }

    fn read_in(input: &mut Decoder<'_>) -> Result<Self, StateError> {
        let version = Version::read_in(input)?;
        let hash = match input.bytes(32, "hash")? {
            [] => None,
            hash => Some(hash.try_into().map_err(|_| StateError::Damaged("a hash is too short".into()))?),
        };
        Ok(Self { version, hash, size: input.u64("size")? })
    }
}

/// Whether the value of an unprinted record is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It is, or there is nothing to fetch.
    Here,
    /// It is on its way.
    Awaited,
    /// It is not, and that has a name.
    Unfetchable,
}

/// What waits to be printed about one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Net {
    /// What was printed last; `None`: no record.
    pub(crate) before: Option<Shown>,
    /// Something was given to a printer since, and perhaps printed: what the person sees is not known.
    pub(crate) handed: bool,
    /// What is now; `None`: no record.
    pub(crate) now: Option<Shown>,
    /// Of the entry that decides.
    pub(crate) term: Term,
    pub(crate) offset: Offset,
    pub(crate) presence: Presence,
}

impl Net {
    /// What there is to print; `None` if the person sees what is. A record that came and went unseen is nothing; so is one that
    /// the owner published again as it was.
    pub(crate) fn kind(&self) -> Option<ChangeKind> {
        match (self.before, self.now) {
            (before, now) if before == now && !self.handed => None,
            (_, None) => Some(ChangeKind::Delete),
            (None, Some(_)) => Some(ChangeKind::Create),
            (Some(_), Some(_)) => Some(ChangeKind::Update),
        }
    }

    /// A printer has printed `shown`, which was handed out.
    pub(crate) fn printed(&mut self, shown: Option<Shown>) {
        (self.before, self.handed) = (shown, false);
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        write_shown(self.before, &mut out);
        out.u8(u8::from(self.handed));
        write_shown(self.now, &mut out);
        out.u64(self.term.value());
        out.u64(self.offset.value());
        out.u8(match self.presence {
            Presence::Here => 1,
            Presence::Awaited => 2,
            Presence::Unfetchable => 3,
        });
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let mut input = Decoder::new(bytes);
        let before = read_shown(&mut input)?;
        let handed = flag(&mut input)?;
        let now = read_shown(&mut input)?;
        let (term, offset) = (Term::new(input.u64("term")?), Offset::new(input.u64("offset")?));
        let presence = match input.u8("presence")? {
            1 => Presence::Here,
            2 => Presence::Awaited,
            3 => Presence::Unfetchable,
            _ => return Err(unreadable()),
        };
        input.finish()?;
        Ok(Self { before, handed, now, term, offset, presence })
    }
}

/// What a change leaves: what can be shown, and the object that has to be fetched for it.
pub(crate) struct Left {
    pub(crate) shown: Option<Shown>,
    pub(crate) object: Option<ObjectReference>,
}

impl Left {
    /// Reads a change.
    pub(crate) fn by(change: &Change) -> Result<Self, StateError> {
        use tidings_core::Object as _;
        if change.kind == ChangeKind::Delete || change.mutation.is_empty() {
            return Ok(Self { shown: None, object: None });
        }
        let mutation = Mutation::decode(&change.mutation)?;
        let shown = Some(Shown::of(&mutation));
        // An inline value beside an object is the same value, so nothing has to be fetched.
        let object = mutation.object.filter(|_| mutation.inline.is_none());
        Ok(Self { shown, object })
    }
}

fn write_shown(shown: Option<Shown>, out: &mut Encoder) {
    out.u8(u8::from(shown.is_some()));
    if let Some(shown) = shown {
        shown.write_in(out);
    }
}

fn read_shown(input: &mut Decoder<'_>) -> Result<Option<Shown>, StateError> {
    if flag(input)? { Shown::read_in(input).map(Some) } else { Ok(None) }
}

fn flag(input: &mut Decoder<'_>) -> Result<bool, StateError> {
    match input.u8("flag")? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(unreadable()),
    }
}

fn unreadable() -> StateError {
    StateError::Damaged("a row about an unprinted change cannot be read".into())
}

#[cfg(test)]
mod tests {
    use tidings_hostile::{Meal, alone, feed};

    use super::*;

    fn shown(number: u64) -> Option<Shown> {
        Some(Shown { version: Version { clock: number, node: [1; 16] }, hash: Some([number as u8; 32]), size: number })
    }

    fn net(before: Option<Shown>, handed: bool, now: Option<Shown>) -> Net {
        Net { before, handed, now, term: Term::new(1), offset: Offset::new(1), presence: Presence::Awaited }
    }

    /// [P-15]
    #[test]
    fn the_kind_is_what_was_printed_against_what_is() {
        let cases = [
            (net(None, false, shown(1)), Some(ChangeKind::Create)),
            (net(shown(1), false, shown(2)), Some(ChangeKind::Update)),
            (net(shown(1), false, None), Some(ChangeKind::Delete)),
            (net(shown(1), false, shown(1)), None),
            (net(None, false, None), None),
            (net(Some(Shown::UNKNOWN), false, shown(1)), Some(ChangeKind::Update)),
        ];
        for (net, kind) in cases {
            assert_eq!(net.kind(), kind, "{net:?}");
        }
    }

    /// [P-15] What a printer had and did not confirm may have been seen.
    #[test]
    fn what_was_handed_out_does_not_cancel_out() {
        assert_eq!(net(None, true, None).kind(), Some(ChangeKind::Delete));
        assert_eq!(net(None, true, shown(2)).kind(), Some(ChangeKind::Create));
        assert_eq!(net(shown(1), true, shown(1)).kind(), Some(ChangeKind::Update));
    }

    #[test]
    fn a_net_change_survives_its_row() {
        for handed in [false, true] {
            let net = net(shown(1), handed, Some(Shown::UNKNOWN));
            assert_eq!(Net::decode(&net.encode()).expect("a row"), net);
        }
    }

    /// Behind what was printed, more bytes were read as none.
    #[test]
    fn rows_have_one_encoding_each() {
        alone(concat!(module_path!(), "::rows_have_one_encoding_each"), || {
            let known = shown(7).expect("a value");
            let shown_rows = [known, Shown { hash: None, ..known }, Shown::UNKNOWN].map(|shown| shown.encode());
            feed("shown", Meal::LARGE, &shown_rows, |bytes| Some(Shown::decode(bytes).ok()?.encode()));
            let nets = [
                Net { presence: Presence::Here, ..net(None, false, shown(1)) },
                net(shown(1), true, Some(Shown::UNKNOWN)),
                Net { presence: Presence::Unfetchable, ..net(Some(Shown::UNKNOWN), true, None) },
            ];
            feed("net", Meal::LARGE, &nets.map(|net| net.encode()), |bytes| Some(Net::decode(bytes).ok()?.encode()));
        });
    }
}
