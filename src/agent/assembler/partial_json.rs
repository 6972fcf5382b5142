//! The beginning of a JSON text to the value it shows so far, by the rules of the AI SDK's `parsePartialJson`.
//!
//! One pass: the text is kept up to the last place where it could stop, and what is open there is closed. A key without its value
//! goes, a number ends at its last digit, a literal is completed. Text that no continuation would make JSON shows nothing.

use crate::session::Json;

/// The value that `text` shows so far: itself if it is whole; `None` if it shows none, or nests deeper than `depth_max`.
pub(super) fn complete(text: &str, depth_max: usize) -> Option<Json> {
    let mut scan = Scan { text, at: 0, kept: 0, ending: "", closers: Vec::new(), depth_max };
    // What stops the scan within a token or between two is the end of the text; garbage is told by the parser below.
    scan.values();
    let mut completed = String::with_capacity(scan.kept + scan.ending.len() + scan.closers.len());
    completed.push_str(&text[..scan.kept]);
    completed.push_str(scan.ending);
    completed.extend(scan.closers.iter().rev());
    (scan.closers.len() <= depth_max).then(|| Json::parse(&completed).ok()).flatten()
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    /// Where the text can be cut.
    kept: usize,
    /// What completes the string or literal at the cut.
    ending: &'static str,
    /// What closes the arrays and objects that are open, the outermost first.
    closers: Vec<char>,
    depth_max: usize,
}

impl Scan<'_> {
    /// Reads values from one opener to the next until the text ends or makes no sense.
    fn values(&mut self) {
        while self.value().is_some() {
            if self.next_value().is_none() {
                return;
            }
        }
    }

    /// A whole scalar, or the beginning of an array or object. `None`: the scan is over.
    fn value(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(true),
            b'{' => self.open('}'),
            b'[' => self.open(']'),
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.literal(),
        }
    }

    /// Over everything that may stand between this value and the next: closers, commas, keys.
    fn next_value(&mut self) -> Option<()> {
        let mut is_opened = self.kept == self.at && matches!(self.text.as_bytes().get(self.at - 1), Some(b'{' | b'['));
        loop {
            let innermost = *self.closers.last()?;
            match self.peek()? {
                byte if char::from(byte) == innermost => {
                    self.closers.pop();
                    self.at += 1;
                    self.kept = self.at;
                    is_opened = false;
                    continue;
                }
                b',' if !is_opened => self.at += 1,
                _ if is_opened => {}
                _ => return self.garbage(),
            }
            return if innermost == '}' { self.key() } else { self.peek().map(drop) };
        }
    }

    fn open(&mut self, closer: char) -> Option<()> {
        self.closers.push(closer);
        self.at += 1;
        self.kept = self.at;
        (self.closers.len() <= self.depth_max).then_some(())
    }

    /// A key and its colon; neither is kept before the value begins.
    fn key(&mut self) -> Option<()> {
        if self.peek()? != b'"' {
            return self.garbage();
        }
        self.string(false)?;
        if self.peek()? != b':' {
            return self.garbage();
        }
        self.at += 1;
        self.peek().map(drop)
    }

    /// A string. One that has not ended is kept up to its last whole character if it is a value.
    fn string(&mut self, is_value: bool) -> Option<()> {
        let bytes = self.text.as_bytes();
        let mut at = self.at + 1;
        loop {
            let end = memchr::memchr2(b'"', b'\\', &bytes[at..]).map_or(bytes.len(), |found| at + found);
            let escape_bytes = match bytes.get(end) {
                Some(b'"') => {
                    self.at = end + 1;
                    self.kept = if is_value { self.at } else { self.kept };
                    return Some(());
                }
                Some(_) if bytes.get(end + 1) == Some(&b'u') => 6,
                Some(_) => 2,
                None => 0,
            };
            if end + escape_bytes >= bytes.len() {
                let is_whole = escape_bytes > 0 && end + escape_bytes == bytes.len();
                if is_value {
                    self.kept = if is_whole { bytes.len() } else { end };
                    self.ending = "\"";
                }
                return None;
            }
            at = end + escape_bytes;
        }
    }

    fn number(&mut self) -> Option<()> {
        let rest = &self.text.as_bytes()[self.at..];
        let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        let length = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        if let Some(last_digit) = rest[..length].iter().rposition(u8::is_ascii_digit) {
            self.kept = self.at + last_digit + 1;
        }
        self.at += length;
        Some(())
    }

    fn literal(&mut self) -> Option<()> {
        let rest = &self.text[self.at..];
        for literal in ["true", "false", "null"] {
            if rest.starts_with(literal) {
                self.at += literal.len();
                self.kept = self.at;
                return Some(());
            }
            if let Some(missing) = literal.strip_prefix(rest) {
                self.kept = self.text.len();
                self.ending = missing;
                return None;
            }
        }
        self.garbage()
    }

    /// Keeps the garbage, so that the parser refuses the whole: half an input that was read wrongly is worse than none.
    fn garbage(&mut self) -> Option<()> {
        self.kept = self.text.len();
        None
    }

    /// The next byte that is not blank.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        let blanks = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).unwrap_or(rest.len());
        self.at += blanks;
        self.text.as_bytes().get(self.at).copied()
    }
}

/// The text that the inside of a JSON string stands for. Half a surrogate pair stays the escape it came as: within a string of the
/// JSON text that is decoded here it means the same.
pub(super) fn unescape(inside: &str) -> String {
    let mut text = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        text.push_str(&rest[..at]);
        let bytes = rest.as_bytes();
        let (letter, escape_bytes) = match bytes[at + 1] {
            b'u' => unicode(&rest[at..]),
            b'n' => (Some('\n'), 2),
            b't' => (Some('\t'), 2),
            b'r' => (Some('\r'), 2),
            b'b' => (Some('\u{8}'), 2),
            b'f' => (Some('\u{c}'), 2),
            other => (Some(char::from(other)), 2),
        };
        match letter {
            Some(letter) => text.push(letter),
            None => text.push_str(&rest[at..at + escape_bytes]),
        }
        rest = &rest[at + escape_bytes..];
    }
    text.push_str(rest);
    text
}

/// The character of the `\uXXXX` or the pair of them at the start of `text`, and its length in bytes.
fn unicode(text: &str) -> (Option<char>, usize) {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let units = [unit(0).unwrap_or(0xfffd), unit(6).unwrap_or(0)];
    match char::decode_utf16(units).next() {
        Some(Ok(letter)) => (Some(letter), if letter.len_utf16() == 2 { 12 } else { 6 }),
        _ => (None, 6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn assert_shows(text: &str, shown: Option<&str>) {
        assert_eq!(complete(text, 10).as_ref().map(Json::as_str), shown, "{text}");
    }

    #[test]
    fn what_is_open_is_closed() {
        assert_shows("{", Some("{}"));
        assert_shows("[[{\"a\":[", Some("[[{\"a\":[]}]]"));
        assert_shows("{\"a\":{\"b\":1}", Some("{\"a\":{\"b\":1}}"));
        assert_shows("\"ab", Some("\"ab\""));
        assert_shows(" {\"a\": \"b c", Some("{\"a\": \"b c\"}"));
        assert_shows("{}", Some("{}"));
    }

    #[test]
    fn a_key_without_its_value_and_a_comma_without_its_item_go() {
        for text in ["{\"a\":1,", "{\"a\":1,\"", "{\"a\":1,\"b", "{\"a\":1,\"b\"", "{\"a\":1,\"b\" : "] {
            assert_shows(text, Some("{\"a\":1}"));
        }
        assert_shows("[1,", Some("[1]"));
        assert_shows("{\"a\\\"b", Some("{}"));
    }

    #[test]
    fn numbers_end_at_a_digit_and_literals_are_completed() {
        assert_shows("-", None);
        assert_shows("[1.", Some("[1]"));
        assert_shows("[1.5e+", Some("[1.5]"));
        assert_shows("[12 , -", Some("[12]"));
        assert_shows("{\"a\":t", Some("{\"a\":true}"));
        assert_shows("[fal", Some("[false]"));
        assert_shows("n", Some("null"));
    }

    #[test]
    fn strings_end_behind_a_whole_escape() {
        assert_shows("\"a\\", Some("\"a\""));
        assert_shows("\"a\\n", Some("\"a\\n\""));
        assert_shows("\"a\\u00e", Some("\"a\""));
        assert_shows("\"a\\u00e9", Some("\"a\\u00e9\""));
        assert_shows("\"\u{e9}\u{1f600}", Some("\"\u{e9}\u{1f600}\""));
    }

    #[test]
    fn what_is_not_the_beginning_of_a_value_shows_nothing() {
        for text in ["", "  ", "x", "{x", "{\"a\" 1", "[1 2", "{,", "[,", "{\"a\":1]", "tru3", "01"] {
            assert_shows(text, None);
        }
    }

    #[test]
    fn what_follows_a_whole_value_is_not_looked_at() {
        assert_shows("{\"a\":1} xyz", Some("{\"a\":1}"));
    }

    #[test]
    fn deep_nesting_shows_nothing() {
        assert_shows(&"[".repeat(10), Some(&format!("{}{}", "[".repeat(10), "]".repeat(10))));
        assert_shows(&"[".repeat(11), None);
        assert_shows(&"[".repeat(1_000_000), None);
    }

    #[test]
    fn the_inside_of_a_string_is_unescaped() {
        assert_eq!(unescape(r#"a\"\\\/\n\u00e9\ud83d\ude00\u0041"#), "a\"\\/\n\u{e9}\u{1f600}A");
        assert_eq!(unescape(r"\ud83d"), r"\ud83d");
        assert_eq!(unescape(r"\ud83dx\ude00\ud83d\u0041"), r"\ud83dx\ude00\ud83dA");
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e9f64..1e9).prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((".{0,4}", inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_whole_value_shows_itself_and_every_beginning_of_an_object_something(value in value()) {
            let text = value.to_string();
            let shown = complete(&text, 10).expect("it is whole");
            prop_assert_eq!(shown.as_str(), &text);
            let nested = format!("[{text}]");
            for end in (1..=nested.len()).filter(|&end| nested.is_char_boundary(end)) {
                prop_assert!(complete(&nested[..end], 10).is_some(), "{}", &nested[..end]);
            }
        }

        #[test]
        fn garbage_does_no_harm(text in "[\\[\\]{}\",:\\\\ut1e.\\-a é]{0,24}") {
            complete(&text, 10);
            if let Ok(json) = Json::parse(&serde_json::Value::from(text.clone()).to_string()) {
                let inside = &json.as_str()[1..json.as_str().len() - 1];
                prop_assert_eq!(unescape(inside), text);
            }
        }
    }
}
