//! Percent-decoding, and urlencoded pairs with the nested names of forms: `agent[name]=x`, `tags[]=y`.

use serde_json::{Map, Value};

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
        let (name, value) = (decode(name, true)?, decode(value, true)?);
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
pub fn decode(text: &str, is_form: bool) -> Result<String, Malformed> {
    if !text.contains(['%', '+']) {
        return Ok(text.to_owned());
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
    String::from_utf8(out).map_err(|_| Malformed)
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
