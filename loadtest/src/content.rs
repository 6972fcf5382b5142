//! What the generator sends: content that every reader can recompute from the session's tag and the message's number.
//!
//! So one changed byte is seen without keeping what was sent. Two shapes: the `content` of a message and a chunk of an answer, which
//! also carries the time at which it was due. Does not judge order: that is `verify`'s.

/// Bytes of the smallest content, which has no padding.
pub const CONTENT_BYTES_MIN: usize = 45;
/// Bytes of the smallest chunk.
pub const CHUNK_BYTES_MIN: usize = 90;

/// Padding is drawn from these, so that it stands in JSON unescaped.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A number whose bits all depend on all bits of `x` (the finaliser of splitmix64).
pub const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Bytes that padding is cut from: making each one by itself would be a fifth of the generator's work.
const PAD_TABLE_BYTES: usize = 8192;
/// Bytes of one cut; the next one begins somewhere else.
const PAD_CUT_BYTES: usize = 512;

static PAD_TABLE: [u8; PAD_TABLE_BYTES] = pad_table();

const fn pad_table() -> [u8; PAD_TABLE_BYTES] {
    let mut table = [0; PAD_TABLE_BYTES];
    let mut i = 0;
    while i < PAD_TABLE_BYTES {
        table[i] = ALPHABET[(mix(i as u64) >> 32) as usize & 63];
        i += 1;
    }
    table
}

fn pad(out: &mut Vec<u8>, seed: u64, bytes: usize) {
    let end = out.len() + bytes;
    let mut word = seed;
    while out.len() < end {
        word = mix(word);
        let from = (word >> 32) as usize % (PAD_TABLE_BYTES - PAD_CUT_BYTES);
        let take = (end - out.len()).min(PAD_CUT_BYTES);
        out.extend_from_slice(&PAD_TABLE[from..from + take]);
    }
}

/// Appends 16 hexadecimal digits.
fn hex(out: &mut Vec<u8>, number: u64) {
    let digit = |i: u32| b"0123456789abcdef"[(number >> (60 - 4 * i)) as usize & 15];
    out.extend_from_slice(&std::array::from_fn::<_, 16, _>(|i| digit(i as u32)));
}

/// Appends the content of message `n` of the session with `tag`: a JSON object of `bytes` bytes (at least [`CONTENT_BYTES_MIN`]).
pub fn write_content(out: &mut Vec<u8>, tag: u64, n: u64, bytes: usize) {
    out.extend_from_slice(br#"{"text":""#);
    hex(out, tag);
    out.push(b'.');
    hex(out, n);
    out.push(b'.');
    pad(out, tag ^ mix(n), bytes.saturating_sub(CONTENT_BYTES_MIN));
    out.extend_from_slice(br#""}"#);
}

/// Appends chunk `n` of the answer in the session with `tag`, due at `due_ns`: a JSON object of `bytes` bytes.
pub fn write_chunk(out: &mut Vec<u8>, tag: u64, n: u64, due_ns: u64, bytes: usize) {
    out.extend_from_slice(br#"{"type":"text-delta","id":""#);
    hex(out, tag);
    out.extend_from_slice(br#"","delta":""#);
    hex(out, n);
    out.push(b'.');
    hex(out, due_ns);
    out.push(b'.');
    pad(out, tag ^ mix(n), bytes.saturating_sub(CHUNK_BYTES_MIN));
    out.extend_from_slice(br#""}"#);
}

/// Number and due time that a chunk says it has; `None` when it does not look like one of ours.
pub fn read_chunk(text: &str) -> Option<(u64, u64)> {
    let delta = text.split_once(r#""delta":""#)?.1;
    let hex = |from: usize| u64::from_str_radix(delta.get(from..from + 16)?, 16).ok();
    Some((hex(0)?, hex(17)?))
}

/// The number that a content of the session with `tag` says it has; `None` when it does not look like one of ours.
pub fn read_number(text: &str, tag: u64) -> Option<u64> {
    let value = text.split_once(r#""text""#)?.1.split_once('"')?.1;
    let hex = |from: usize| u64::from_str_radix(value.get(from..from + 16)?, 16).ok();
    (hex(0)? == tag).then(|| hex(17)).flatten()
}

/// Compares what arrived with what was sent. Keeps the buffer of the expected text.
#[derive(Default)]
pub struct Comparison {
    expected: Vec<u8>,
}

impl Comparison {
    /// Whether `text` is the content of message `n`.
    pub fn content(&mut self, text: &str, tag: u64, n: u64, bytes: usize) -> bool {
        self.expected.clear();
        write_content(&mut self.expected, tag, n, bytes);
        self.equals(text)
    }

    /// Whether `text` is chunk `n` with its due time.
    pub fn chunk(&mut self, text: &str, tag: u64, n: u64, due_ns: u64, bytes: usize) -> bool {
        self.expected.clear();
        write_chunk(&mut self.expected, tag, n, due_ns, bytes);
        self.equals(text)
    }

    /// A server may write the same value differently (order of keys, white space); only the value counts then.
    fn equals(&self, text: &str) -> bool {
        let value = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok();
        text.as_bytes() == self.expected
            || value(text.as_bytes()).is_some_and(|arrived| Some(arrived) == value(&self.expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_and_chunks_have_the_size_asked_for_and_are_json() {
        for bytes in [CHUNK_BYTES_MIN, 93, 200, 256, 1024] {
            let (mut content, mut chunk) = (Vec::new(), Vec::new());
            write_content(&mut content, 7, 1, bytes);
            write_chunk(&mut chunk, 7, 1, 99, bytes);
            assert_eq!((content.len(), chunk.len()), (bytes, bytes));
            assert!(serde_json::from_slice::<serde_json::Value>(&content).is_ok());
            assert!(serde_json::from_slice::<serde_json::Value>(&chunk).is_ok());
            assert_eq!(read_chunk(std::str::from_utf8(&chunk).unwrap()), Some((1, 99)));
        }
    }

    #[test]
    fn any_changed_byte_is_another_content() {
        let mut sent = Vec::new();
        write_content(&mut sent, 1, 2, 100);
        let mut comparison = Comparison::default();
        assert!(comparison.content(std::str::from_utf8(&sent).unwrap(), 1, 2, 100));
        for i in 0..sent.len() {
            let mut altered = sent.clone();
            altered[i] ^= 1;
            assert!(!comparison.content(&String::from_utf8_lossy(&altered), 1, 2, 100), "byte {i}");
        }
    }

    #[test]
    fn a_content_says_its_number() {
        let mut sent = Vec::new();
        write_content(&mut sent, 7, 300, 100);
        let text = std::str::from_utf8(&sent).unwrap();
        assert_eq!((read_number(text, 7), read_number(text, 8)), (Some(300), None));
        assert_eq!(read_number(&text.replace(':', " : "), 7), Some(300));
        assert_eq!(read_number(r#"{"text":"short"}"#, 7), None);
    }

    #[test]
    fn the_same_value_written_differently_is_the_same_content() {
        let mut sent = Vec::new();
        write_chunk(&mut sent, 1, 2, 3, 120);
        let value: serde_json::Value = serde_json::from_slice(&sent).unwrap();
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        assert!(Comparison::default().chunk(&pretty, 1, 2, 3, 120));
    }
}
