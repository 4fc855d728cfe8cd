//! Input as a sequence of choices. What is missing at the end is zero, so that every prefix of an input is one too.

use bytes::Bytes;

/// Takes numbers and pieces from the front.
pub(crate) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn u8(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    /// Below `bound`, which is at most 65,536 and not zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.u16()) % bound
    }

    /// Up to 255 bytes, their number first.
    pub(crate) fn piece(&mut self) -> &'a [u8] {
        let length = usize::from(self.u8()).min(self.rest.len());
        let (piece, rest) = self.rest.split_at(length);
        self.rest = rest;
        piece
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// `bytes` with one thing changed: a bit, a byte, a cut, a few bytes in between, or one that is taken out.
    pub(crate) fn bend(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bent = bytes.to_vec();
        let (how, at) = (self.u8(), self.below(bytes.len() + 1));
        match how % 6 {
            0 if at < bent.len() => bent[at] ^= 1 << (self.u8() % 8),
            1 if at < bent.len() => bent[at] = self.u8(),
            2 => bent.truncate(at),
            3 => drop(bent.splice(at..at, self.piece().iter().copied())),
            4 if at < bent.len() => drop(bent.remove(at)),
            _ => {
                let piece = self.piece();
                let end = (at + piece.len()).min(bent.len());
                bent[at..end].copy_from_slice(&piece[..end - at]);
            }
        }
        bent
    }
}

/// One is altered, left out, repeated, or changes its place.
pub(crate) fn bend_one(items: &mut Vec<Bytes>, input: &mut Input<'_>) {
    if items.is_empty() {
        return;
    }
    let (at, other) = (input.below(items.len()), input.below(items.len()));
    match input.u8() % 4 {
        0 => items[at] = input.bend(&items[at]).into(),
        1 => drop(items.remove(at)),
        2 => items.push(items[at].clone()),
        _ => items.swap(at, other),
    }
}
