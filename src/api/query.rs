//! Percent-decoding, and urlencoded pairs with the nested names of forms: `agent[name]=x`, `tags[]=y`.

use serde_json::{Map, Value};
use std::borrow::Cow;

/// Names inside names of one pair. More: malformed.
const NESTING_MAX: usize = 16;

/// Text that is not percent-encoded UTF-8, or nested beyond reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed percent-encoding")]
pub struct Malformed;

/// The pairs of a query or a form, later ones over earlier ones.
///
/// # Errors
/// [`Malformed`] where a name or a value is not percent-encoded UTF-8.
pub fn parse(text: &str) -> Result<Map<String, Value>, Malformed> {
    let mut fields = Map::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name, true)?.into_owned(), decode(value, true)?.into_owned());
        match nested(&name) {
            None => drop(fields.insert(name, Value::String(value))),
            Some((_, path)) if path.len() > NESTING_MAX => return Err(Malformed),
            Some((first, path)) => insert(fields.entry(first).or_insert(Value::Null), &path, value),
        }
    }
    Ok(fields)
}

/// Decodes `%41`; with `is_form` also `+` as a space.
///
/// # Errors
/// [`Malformed`] for a percent sign without two hexadecimal digits, and for bytes that are not UTF-8.
pub fn decode(text: &str, is_form: bool) -> Result<Cow<'_, str>, Malformed> {
    if memchr::memchr2(b'%', b'+', text.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => hex(bytes.next())? << 4 | hex(bytes.next())?,
            b'+' if is_form => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| Malformed)
}

fn hex(byte: Option<u8>) -> Result<u8, Malformed> {
    let digit = byte.and_then(|byte| char::from(byte).to_digit(16)).ok_or(Malformed)?;
    Ok(u8::try_from(digit).expect("a hexadecimal digit is below 16"))
}

/// `a[b][c]` as `a` and `["b", "c"]`; `None` for a plain name or one whose brackets do not match.
fn nested(name: &str) -> Option<(&str, Vec<&str>)> {
    let (first, rest) = name.strip_suffix(']')?.split_once('[')?;
    (!first.is_empty()).then(|| (first, rest.split("][").collect()))
}

/// Puts `value` at `path` below `place`, over whatever of another shape stands there.
fn insert(place: &mut Value, path: &[&str], value: String) {
    match path {
        [] => *place = Value::String(value),
        [""] => {
            if !place.is_array() {
                *place = Value::Array(Vec::new());
            }
            place.as_array_mut().expect("made an array above").push(Value::String(value));
        }
        [name, rest @ ..] => {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            let object = place.as_object_mut().expect("made an object above");
            insert(object.entry(*name).or_insert(Value::Null), rest, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn pairs_are_decoded_and_later_ones_win() {
        let fields = parse("a=1&b=x+y%2Bz&a=2&&c&=d&%C3%A9=%e2%82%ac").unwrap();
        assert_eq!(Value::Object(fields), json!({"a": "2", "b": "x y+z", "c": "", "": "d", "é": "€"}));
    }

    #[test]
    fn brackets_nest() {
        let fields = parse("agent[id]=a&agent[headers][x]=1&tags[]=p&tags[]=q&agent[id]=b&x[=1&y]=2&[z]=3").unwrap();
        assert_eq!(
            Value::Object(fields),
            json!({"agent": {"id": "b", "headers": {"x": "1"}}, "tags": ["p", "q"], "x[": "1", "y]": "2", "[z]": "3"})
        );
        let fields = parse("a=1&a[b]=2&a[b][c]=3&a[]=4").unwrap();
        assert_eq!(Value::Object(fields), json!({"a": ["4"]}));
    }

    #[test]
    fn malformed_encoding_is_refused() {
        for text in ["a=%", "a=%4", "a=%zz", "%ff=1", "a=%C3", &format!("a{}=1", "[x]".repeat(NESTING_MAX + 1))] {
            assert_eq!(parse(text), Err(Malformed), "{text}");
        }
        assert!(parse(&format!("a{}=1", "[x]".repeat(NESTING_MAX))).is_ok());
    }

    #[test]
    fn a_plus_is_a_space_in_forms_only() {
        assert_eq!(decode("a+b%20c", false).unwrap(), "a+b c");
        assert_eq!(decode("a+b%20c", true).unwrap(), "a b c");
    }

    proptest! {
        #[test]
        fn what_is_percent_encoded_reads_back(text in "\\PC{0,40}") {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            prop_assert_eq!(decode(&encoded, true).unwrap(), text);
        }

        #[test]
        fn no_query_brings_it_down(text in "[ab=&%+\\[\\]0-9]{0,60}") {
            if let Ok(fields) = parse(&text) {
                prop_assert!(fields.len() <= text.len());
            }
        }
    }
}
