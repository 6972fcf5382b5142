//! Raw JSON text that was validated once and is only passed on from then on.

use compact_str::CompactString;
use serde_json::value::RawValue;

/// One valid JSON value on one line.
///
/// Line feeds and carriage returns can stand only between tokens of valid JSON; they are replaced by spaces, so that
/// a value can be spliced into a line of JSON lines or an event stream. Nothing else of the caller's bytes is
/// changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(CompactString); // most metadata is `{}`, which takes no allocation

impl Json {
    /// Takes over a value that serde has validated.
    pub fn from_raw(raw: &RawValue) -> Self {
        Self::from_valid(raw.get())
    }

    /// Takes over text that is one JSON value: the caller has validated it, or something that it is part of.
    pub fn from_valid(text: &str) -> Self {
        if memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_none() {
            return Self(text.into());
        }
        Self(text.replace(['\n', '\r'], " ").into())
    }

    /// Validates `text`.
    ///
    /// # Errors
    /// What serde_json says of text that is not one JSON value.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<&RawValue>(text).map(Self::from_raw)
    }

    /// Takes over text that this server has put together itself from valid values, on one line.
    ///
    /// # Panics
    /// If it is not UTF-8, which no rendering here makes.
    pub(crate) fn from_rendered(bytes: Vec<u8>) -> Self {
        debug_assert!(memchr::memchr2(b'\n', b'\r', &bytes).is_none(), "a rendered value stands on one line");
        Self(String::from_utf8(bytes).expect("rendered JSON is UTF-8").into())
    }

    /// Takes over text that was validated before it was stored.
    pub(crate) fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The empty object, `{}`.
    pub fn empty_object() -> Self {
        Self(CompactString::const_new("{}"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the value is an object.
    pub fn is_object(&self) -> bool {
        self.0.starts_with('{')
    }
}

/// Whether arrays and objects stand in each other deeper than `depth_max` in this valid JSON.
pub fn nests_deeper_than(json: &str, depth_max: usize) -> bool {
    // Counting openers is far cheaper than following them, and almost all JSON has few.
    if memchr::memchr2_iter(b'[', b'{', json.as_bytes()).take(depth_max + 1).count() <= depth_max {
        return false;
    }
    let (mut depth, mut is_string, mut is_escaped) = (0usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            b'[' | b'{' if !is_string => depth += 1,
            b']' | b'}' if !is_string => depth -= 1,
            _ => {}
        }
        if depth > depth_max {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_many_lines_becomes_one_line_with_the_same_meaning() {
        let json = Json::parse("{\n \"a\":\r\n \"x\\n\"}").unwrap();
        assert_eq!(json.as_str(), "{  \"a\":   \"x\\n\"}");
        assert!(json.is_object());
        assert!(Json::parse("{").is_err());
    }

    #[test]
    fn depth_is_what_stands_in_each_other_not_beside() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(!nests_deeper_than(&nested(100), 100));
        assert!(nests_deeper_than(&nested(101), 100));
        assert!(nests_deeper_than(&nested(1_000_000), 100));
        assert!(!nests_deeper_than(&format!("[{}{{}}]", "{},".repeat(1000)), 100));
        assert!(!nests_deeper_than(&format!("[\"{}\\\"{}\"]", "[".repeat(1000), "{".repeat(1000)), 100));
    }
}
