//! Raw JSON text that was validated once and is only passed on from then on.

use serde_json::value::RawValue;

/// One valid JSON value on one line.
///
/// Line feeds and carriage returns can stand only between tokens of valid JSON; they are replaced by spaces, so that
/// a value can be spliced into a line of JSON lines or an event stream. Nothing else of the caller's bytes is
/// changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(Box<str>);

impl Json {
    /// Takes over a value that serde has validated.
    pub fn from_raw(raw: &RawValue) -> Self {
        let text = raw.get();
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
        Self(String::from_utf8(bytes).expect("rendered JSON is UTF-8").into_boxed_str())
    }

    /// Takes over text that was validated before it was stored.
    pub(crate) fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The empty object, `{}`.
    pub fn empty_object() -> Self {
        Self("{}".into())
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
}
