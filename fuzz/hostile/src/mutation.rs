//! Numbers and mutations from a seed.

/// A stream of numbers that depends on its seed alone.
pub struct Dice(u64);

impl Dice {
    /// Starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        // A linear step and a mix of its bits: even enough to choose places with.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.roll() % (bound.max(1) as u64)) as usize
    }
}

/// `bytes` changed in one to four places, or joined with the tail of `other`.
pub fn mutated(bytes: &[u8], other: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bent = bytes.to_vec();
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(bent.len() + 1);
        match dice.below(7) {
            0 if at < bent.len() => bent[at] ^= 1 << dice.below(8),
            1 if at < bent.len() => bent[at] = dice.roll() as u8,
            2 => bent.truncate(at),
            3 => bent.insert(at, dice.roll() as u8),
            4 if at < bent.len() => drop(bent.remove(at)),
            5 => {
                let end = (at + 8).min(bent.len());
                bent[at..end].fill(if dice.below(2) == 0 { 0xff } else { 0 });
            }
            _ => {
                bent.truncate(at);
                bent.extend_from_slice(&other[dice.below(other.len() + 1)..]);
            }
        }
    }
    bent
}
