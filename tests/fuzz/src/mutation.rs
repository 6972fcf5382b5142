//! Random mutations of byte strings, determined by a seed.

/// A small random number generator (SplitMix64): the same numbers for the same seed, on every machine.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }
}

/// Bytes on which decoders turn: line ends, separators, digits, controls, borders of lengths, beginnings of characters.
const TELLING_BYTES: &[u8] =
    b"\r\n \t:;,/?*%#[]\"=09afAFgG\0\x01\x7f\x7d\x7e\x80\x81\x82\x88\x89\x8a\xc1\xc2\xe2\xed\xf0\xf4\xfe\xff";

/// Changes `input` in one to four ways. Pieces of the other `seeds` are spliced in now and then.
pub fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    for _ in 0..=random.below(4) {
        mutate_once(input, seeds, random);
    }
}

fn mutate_once(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let byte = match random.below(3) {
        0 => random.bits() as u8,
        _ => TELLING_BYTES[random.below(TELLING_BYTES.len())],
    };
    match random.below(9) {
        0 => input.insert(at, byte),
        1 => _ = (at < input.len()).then(|| input.remove(at)),
        2 => input.iter_mut().skip(at).take(1).for_each(|old| *old = byte),
        3 => input.iter_mut().skip(at).take(1).for_each(|old| *old ^= 1 << (byte % 8)),
        4 => input.truncate(at),
        5 => repeat_span(input, at, random),
        6 => remove_span(input, at, random),
        7 => splice(input, at, &seeds[random.below(seeds.len())], random),
        _ => input.extend_from_slice(&seeds[random.below(seeds.len())]),
    }
}

fn span(length: usize, at: usize, random: &mut Random) -> std::ops::Range<usize> {
    at..(at + 1 + random.below(16)).min(length).max(at)
}

fn repeat_span(input: &mut Vec<u8>, at: usize, random: &mut Random) {
    let copy = input[span(input.len(), at, random)].repeat(1 + random.below(4));
    input.splice(at..at, copy);
}

fn remove_span(input: &mut Vec<u8>, at: usize, random: &mut Random) {
    let span = span(input.len(), at, random);
    input.drain(span);
}

fn splice(input: &mut Vec<u8>, at: usize, other: &[u8], random: &mut Random) {
    let start = random.below(other.len() + 1);
    let piece = &other[span(other.len(), start, random)];
    input.splice(at..at, piece.iter().copied());
}
