//! Valid JSON taken apart without reading it again: whoever has validated a text once finds the borders of its values here, and
//! passes them on as they stand.
//!
//! Not here: validation (serde's, once per message from a client; one of our own was no faster), values as data.

use std::borrow::Cow;

/// The members of an object: each name, unescaped, and the text of its value. `json` is one valid JSON value; of another one than an
/// object there are none. A name with half a surrogate pair, which is no text, ends them with an error.
pub fn members(json: &str) -> impl Iterator<Item = Result<(Cow<'_, str>, &str), serde_json::Error>> {
    let mut walk = Walk::into(json, b'{');
    std::iter::from_fn(move || {
        let name = walk.value()?;
        let value = walk.value()?;
        Some(text(name).map(|name| (name, value)))
    })
}

/// The texts of the elements of an array. `json` is one valid JSON value; of another one than an array there are none.
pub fn elements(json: &str) -> impl Iterator<Item = &str> {
    let mut walk = Walk::into(json, b'[');
    std::iter::from_fn(move || walk.value())
}

/// What the JSON string `json` stands for.
///
/// # Errors
/// When it is no string, or has half a surrogate pair.
pub fn text(json: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if memchr::memchr(b'\\', plain.as_bytes()).is_none() => Ok(Cow::Borrowed(plain)),
        _ => serde_json::from_str(json).map(Cow::Owned),
    }
}

/// A way through one container of valid JSON, from value to value.
struct Walk<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Walk<'a> {
    /// Stands behind the bracket that opens `json`, or at its end when it is something else.
    fn into(json: &'a str, bracket: u8) -> Self {
        let json = json.trim_ascii();
        let at = if json.as_bytes().first() == Some(&bracket) { 1 } else { json.len() };
        Self { json, at }
    }

    /// The next value, wherever it stands behind blanks and a separator; `None` at the end of the container.
    fn value(&mut self) -> Option<&'a str> {
        let bytes = self.json.as_bytes();
        while let b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' = bytes.get(self.at)? {
            self.at += 1;
        }
        let start = self.at;
        if matches!(bytes[start], b']' | b'}') {
            self.at = bytes.len();
            return None;
        }
        self.at = end_of_value(bytes, start);
        Some(&self.json[start..self.at])
    }
}

/// The place behind the value that begins at `start`.
fn end_of_value(json: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0usize);
    loop {
        match json[at] {
            b'"' => at = end_of_string(json, at),
            b'{' | b'[' => (at, depth) = (at + 1, depth + 1),
            b'}' | b']' => (at, depth) = (at + 1, depth - 1),
            _ if depth > 0 => at += 1,
            // A number or a name; what follows it in a container is one of these.
            _ => {
                let rest = &json[at..];
                let is_end = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b':' | b' ' | b'\t' | b'\n' | b'\r');
                return at + rest.iter().position(is_end).unwrap_or(rest.len());
            }
        }
        if depth == 0 {
            return at;
        }
    }
}

/// The place behind the string whose opening quote stands at `start`.
fn end_of_string(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', &json[at..]).expect("a valid string has an end");
        if json[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members_of(json: &str) -> Vec<(String, String)> {
        members(json).map(|member| member.map(|(name, value)| (name.into_owned(), value.to_owned())).unwrap()).collect()
    }

    #[test]
    fn an_object_comes_apart_at_its_own_commas() {
        let json = " {\"a\" : {\"x\":[1,{\"y\":\"}\\\"]\"}]} ,\"b\\u0063\":-1.5e3\t,\"\":\"\",\"d\":null\n} ";
        let expected = [("a", "{\"x\":[1,{\"y\":\"}\\\"]\"}]}"), ("bc", "-1.5e3"), ("", "\"\""), ("d", "null")];
        assert_eq!(members_of(json), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for json in ["{}", " { } ", "[1]", "null", "\"{\"", "7"] {
            assert!(members_of(json).is_empty(), "{json}");
        }
        assert!(members(r#"{"\ud800":1}"#).next().unwrap().is_err());
    }

    #[test]
    fn an_array_comes_apart_at_its_own_commas() {
        let of = |json| elements(json).collect::<Vec<_>>();
        assert_eq!(of(" [ 1 ,\"a,]\",[2,[]],{\"b\":[3]},true] "), ["1", "\"a,]\"", "[2,[]]", "{\"b\":[3]}", "true"]);
        assert!(of("[]").is_empty() && of("{\"a\":1}").is_empty() && of("\"[\"").is_empty());
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<i32>().prop_map(|eighths| (f64::from(eighths) / 8.0).into()), // what serde reads back exactly
            "[\\PC\\\\\"{}\\[\\],:]{0,12}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::hash_map("[\\PC\\\\\":]{0,6}", inner, 0..5)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Against serde, in both of its spellings.
        #[test]
        fn what_is_taken_apart_is_what_serde_reads(value in any_json()) {
            for json in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let read: Vec<serde_json::Value> = elements(&json).map(|text| serde_json::from_str(text).unwrap()).collect();
                prop_assert_eq!(read, value.as_array().cloned().unwrap_or_default());
                let read: serde_json::Map<_, _> = members(&json)
                    .map(|member| member.map(|(name, text)| (name.into_owned(), serde_json::from_str(text).unwrap())).unwrap())
                    .collect();
                prop_assert_eq!(read, value.as_object().cloned().unwrap_or_default());
            }
        }
    }
}
