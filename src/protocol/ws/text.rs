//! UTF-8 checked as it arrives (RFC 6455 section 8.1), so that a wrong byte fails the connection at once, in the middle of a frame or of
//! a character, and each byte is checked once.

use super::{Failure, invalid};

/// A text under construction: what is valid so far and the beginning of a character whose rest is still to come.
#[derive(Debug, Default)]
pub(super) struct Text {
    valid: String,
    partial: [u8; 4],
    partial_bytes: usize,
}

impl Text {
    /// Adds bytes.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while self.partial_bytes > 0 {
            let Some((&first, rest)) = bytes.split_first() else { return Ok(()) };
            bytes = rest;
            self.push_partial(first)?;
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => self.valid.push_str(text),
            Err(error) if error.error_len().is_some() => return Err(not_utf8()),
            Err(error) => {
                let (text, rest) = bytes.split_at(error.valid_up_to());
                self.valid.push_str(std::str::from_utf8(text).map_err(|_| not_utf8())?);
                self.partial[..rest.len()].copy_from_slice(rest);
                self.partial_bytes = rest.len();
            }
        }
        Ok(())
    }

    /// One more byte of the character that was cut. It is complete or wrong after four.
    fn push_partial(&mut self, byte: u8) -> Result<(), Failure> {
        self.partial[self.partial_bytes] = byte;
        self.partial_bytes += 1;
        match std::str::from_utf8(&self.partial[..self.partial_bytes]) {
            Ok(character) => {
                self.valid.push_str(character);
                self.partial_bytes = 0;
                Ok(())
            }
            Err(error) if error.error_len().is_none() => Ok(()),
            Err(_) => Err(not_utf8()),
        }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.valid.len() + self.partial_bytes
    }

    /// Takes room for a fragment: exactly for the first, since most messages have one, and amortised for more.
    pub(super) fn reserve(&mut self, bytes: usize) {
        match self.valid.is_empty() {
            true => self.valid.reserve_exact(bytes),
            false => self.valid.reserve(bytes),
        }
    }

    /// The last `bytes` bytes so far, or all.
    pub(super) fn suffix(&self, bytes: usize) -> Vec<u8> {
        let all =
            [&self.valid.as_bytes()[self.valid.len().saturating_sub(bytes)..], &self.partial[..self.partial_bytes]];
        let joined = all.concat();
        joined[joined.len().saturating_sub(bytes)..].to_vec()
    }

    /// The whole text, if its last character is complete.
    pub(super) fn finish(self) -> Result<String, Failure> {
        if self.partial_bytes > 0 { Err(not_utf8()) } else { Ok(self.valid) }
    }
}

fn not_utf8() -> Failure {
    invalid("text is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pushed(parts: &[&[u8]]) -> Result<String, Failure> {
        let mut text = Text::default();
        parts.iter().try_for_each(|part| text.push(part))?;
        text.finish()
    }

    #[test]
    fn the_first_byte_that_cannot_be_utf8_is_refused_before_the_character_ends() {
        for (valid, wrong) in [
            (&b"\xf4"[..], 0x90), // beyond U+10FFFF
            (b"\xed", 0xa0),      // a surrogate
            (b"\xe0", 0x9f),      // overlong, three bytes
            (b"\xf0", 0x8f),      // overlong, four bytes
            (b"\xf0\x90\x80", 0xc0),
            (b"a", 0xc0),
            (b"a", 0xff),
            (b"a", 0x80),
        ] {
            let mut text = Text::default();
            assert_eq!(text.push(valid), Ok(()));
            assert_eq!(text.push(&[wrong]), Err(not_utf8()), "{valid:x?} {wrong:x}");
        }
    }

    #[test]
    fn a_text_that_ends_inside_a_character_is_refused() {
        assert_eq!(pushed(&[b"a\xe2\x82"]), Err(not_utf8()));
        assert_eq!(pushed(&[b"a\xe2\x82", b"\xac"]), Ok("a\u{20ac}".to_owned()));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_verdict_of_the_whole(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x80..0xc0u8, Just(0xf0), Just(b'a')], 0..12), text: String, cut: prop::sample::Index) {
            let bytes = [text.as_bytes(), &bytes].concat();
            let (front, back) = bytes.split_at(cut.index(bytes.len() + 1));
            let whole = String::from_utf8(bytes.clone()).map_err(|_| not_utf8());
            prop_assert_eq!(pushed(&[front, back]), whole.clone());
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(pushed(&single), whole);
        }
    }
}
