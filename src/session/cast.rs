//! A caller's object on its way into an agent's configuration: one field at a time, in the words of the original
//! (contract 1.3). What the fields are and mean is `agent_config`'s.

use super::Json;
use super::agent_config::{FieldErrors, REDACTED};
use crate::limits::AGENT_HEADERS_BYTES_MAX;
use simd_json::{OwnedValue, StaticNode};
use std::collections::BTreeMap;
use std::fmt::Write as _;

pub(super) const BLANK: &str = "can't be blank";
pub(super) const INVALID: &str = "is invalid";

#[derive(Clone, Copy)]
pub(super) enum Least {
    Zero,
    One,
}

/// What a caller gives where an object may stand.
pub(super) enum Given {
    /// The field is absent, or something else, which is noted.
    Nothing,
    /// Null or blank text.
    Blank,
    /// An object, to be looked at like the caller's own.
    Object(Cast),
}

/// A caller's object on its way into a configuration. Each method looks at one field: absent leaves the target, blank
/// text sets its default, null or a wrong type is an error (the original answered null with 500).
pub(super) struct Cast {
    fields: simd_json::owned::Object,
    pub(super) errors: FieldErrors,
}

impl Cast {
    pub(super) fn new(fields: &Json) -> Result<Self, FieldErrors> {
        let mut text = fields.as_str().as_bytes().to_vec(); // simd-json rewrites what it reads
        match simd_json::to_owned_value(&mut text) {
            Ok(OwnedValue::Object(fields)) => Ok(Self { fields: *fields, errors: FieldErrors::new() }),
            // Valid JSON that cannot be a value of ours: a number out of range, half a surrogate pair.
            _ => Err(FieldErrors::from([("agent".into(), vec![INVALID.into()])])),
        }
    }

    pub(super) fn fail(&mut self, field: &str, message: impl Into<String>) {
        self.errors.entry(field.into()).or_default().push(message.into());
    }

    /// The field's value; `Err` (noted) for null, which stands for no value of a required field.
    fn value(&mut self, field: &str) -> Option<OwnedValue> {
        let value = self.fields.remove(field)?;
        if value == OwnedValue::Static(StaticNode::Null) {
            self.fail(field, BLANK);
            return None;
        }
        Some(value)
    }

    pub(super) fn text(&mut self, field: &str, target: &mut String, default: &str, bytes_max: usize) {
        match self.value(field) {
            None => {}
            Some(OwnedValue::String(text)) if is_blank(&text) => *target = default.into(),
            Some(OwnedValue::String(text)) if text.len() > bytes_max => {
                self.fail(field, format!("should be at most {bytes_max} byte(s)"));
            }
            Some(OwnedValue::String(text)) => *target = text,
            Some(_) => self.fail(field, INVALID),
        }
        if target.is_empty() && !self.errors.contains_key(field) {
            self.fail(field, BLANK);
        }
    }

    pub(super) fn optional_text(&mut self, field: &str, target: &mut Option<String>, bytes_max: usize) {
        if self.fields.get(field) == Some(&OwnedValue::Static(StaticNode::Null)) {
            *target = None;
            return;
        }
        match self.value(field) {
            None => {}
            Some(OwnedValue::String(text)) if is_blank(&text) => *target = None,
            Some(OwnedValue::String(text)) if text.len() > bytes_max => {
                self.fail(field, format!("should be at most {bytes_max} byte(s)"));
            }
            Some(OwnedValue::String(text)) => *target = Some(text),
            Some(_) => self.fail(field, INVALID),
        }
    }

    /// A secret: the redaction mark keeps the stored value, null and blank text take it away.
    pub(super) fn secret(&mut self, field: &str, target: &mut Option<String>, bytes_max: usize) {
        if self.fields.get(field) == Some(&OwnedValue::from(REDACTED)) {
            self.fields.remove(field);
            if target.is_none() {
                self.fail(field, INVALID); // nobody's secret is the mark itself
            }
            return;
        }
        self.optional_text(field, target, bytes_max);
    }

    pub(super) fn word<T: Default>(&mut self, field: &str, target: &mut T, parse: impl Fn(&str) -> Option<T>) {
        let word = match self.value(field) {
            None => return,
            Some(OwnedValue::String(text)) if is_blank(&text) => Some(T::default()),
            Some(OwnedValue::String(text)) => parse(&text),
            Some(_) => None,
        };
        match word {
            Some(word) => *target = word,
            None => self.fail(field, INVALID),
        }
    }

    pub(super) fn integer(&mut self, field: &str, target: &mut u32, default: u32, least: Least) {
        let number = match self.value(field) {
            None => return,
            Some(OwnedValue::String(text)) if is_blank(&text) => Some(i64::from(default)),
            Some(OwnedValue::String(text)) => text.parse().ok(),
            Some(OwnedValue::Static(StaticNode::I64(number))) => Some(number),
            Some(OwnedValue::Static(StaticNode::U64(number))) => Some(i64::try_from(number).unwrap_or(i64::MAX)),
            Some(_) => None,
        };
        match (number, least) {
            (None, _) => self.fail(field, INVALID),
            (Some(number), Least::One) if number < 1 => self.fail(field, "must be greater than 0"),
            (Some(number), Least::Zero) if number < 0 => self.fail(field, "must be greater than or equal to 0"),
            // The original's columns were 32 bits wide with a sign.
            (Some(number), _) if number > i64::from(i32::MAX) => {
                self.fail(field, format!("must be less than or equal to {}", i32::MAX));
            }
            (Some(number), _) => *target = u32::try_from(number).expect("between 0 and i32::MAX"),
        }
    }

    pub(super) fn ratio(&mut self, field: &str, target: &mut f64, default: f64) {
        let number = match self.value(field) {
            None => return,
            Some(OwnedValue::String(text)) if is_blank(&text) => Some(default),
            // Rust also reads `inf`, `nan`, `.5` and `1.`, which are no numbers of JSON.
            Some(OwnedValue::String(text)) => serde_json::from_str(&text).ok(),
            Some(OwnedValue::Static(StaticNode::F64(number))) => Some(number),
            Some(OwnedValue::Static(StaticNode::I64(number))) => Some(number as f64),
            Some(OwnedValue::Static(StaticNode::U64(number))) => Some(number as f64),
            Some(_) => None,
        };
        match number {
            None => self.fail(field, INVALID),
            Some(number) if number <= 0.0 => self.fail(field, "must be greater than 0"),
            Some(number) if number <= 1.0 => *target = number,
            Some(_) => self.fail(field, "must be less than or equal to 1"),
        }
    }

    pub(super) fn flag(&mut self, field: &str, target: &mut bool) {
        match self.value(field) {
            None => {}
            Some(OwnedValue::Static(StaticNode::Bool(flag))) => *target = flag,
            Some(OwnedValue::String(text)) if is_blank(&text) => *target = false,
            Some(OwnedValue::String(text)) if text == "true" || text == "1" => *target = true,
            Some(OwnedValue::String(text)) if text == "false" || text == "0" => *target = false,
            Some(_) => self.fail(field, INVALID),
        }
    }

    /// A list of texts, none of them blank and each of `bytes_max` at the most.
    pub(super) fn texts(&mut self, field: &str, target: &mut Vec<String>, bytes_max: usize) {
        let items = match self.value(field) {
            None => return,
            Some(OwnedValue::Array(items)) => *items,
            Some(OwnedValue::String(text)) if is_blank(&text) => Vec::new(),
            Some(_) => return self.fail(field, INVALID),
        };
        let text = |item| match item {
            OwnedValue::String(text) if !is_blank(&text) => Some(text),
            _ => None,
        };
        match items.into_iter().map(text).collect::<Option<Vec<_>>>() {
            None => self.fail(field, INVALID),
            Some(texts) if texts.iter().any(|text| text.len() > bytes_max) => {
                self.fail(field, format!("should be at most {bytes_max} byte(s)"));
            }
            Some(texts) => *target = texts,
        }
    }

    pub(super) fn object(&mut self, field: &str) -> Given {
        match self.fields.remove(field) {
            None => Given::Nothing,
            Some(OwnedValue::Static(StaticNode::Null)) => Given::Blank,
            Some(OwnedValue::String(text)) if is_blank(&text) => Given::Blank,
            Some(OwnedValue::Object(fields)) => Given::Object(Self { fields: *fields, errors: FieldErrors::new() }),
            Some(_) => {
                self.fail(field, INVALID);
                Given::Nothing
            }
        }
    }

    /// Notes what is wrong within the object of `field`, each under its path.
    pub(super) fn fail_within(&mut self, field: &str, errors: FieldErrors) {
        self.errors.extend(errors.into_iter().map(|(inner, messages)| (format!("{field}.{inner}"), messages)));
    }

    /// Header names must be HTTP tokens and values free of control characters: they are written into a request head.
    /// The original took any object and would have failed at the call.
    pub(super) fn headers(&mut self, field: &str, target: &mut BTreeMap<String, String>) {
        let Some(value) = self.fields.remove(field) else { return };
        let taken = match value {
            OwnedValue::String(text) if is_blank(&text) => Some(BTreeMap::new()),
            OwnedValue::Object(headers) => {
                headers.into_iter().map(|(name, value)| header(name, value, target)).collect()
            }
            _ => None,
        };
        match taken {
            Some(headers) if headers_bytes(&headers) > AGENT_HEADERS_BYTES_MAX => {
                self.fail(field, format!("should be at most {AGENT_HEADERS_BYTES_MAX} byte(s)"));
            }
            Some(headers) => *target = headers,
            None => self.fail(field, INVALID),
        }
    }
}

fn headers_bytes(headers: &BTreeMap<String, String>) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// One header of a caller's object. The redaction mark stands for the stored value; without one it is refused, for nobody's
/// secret is the mark itself.
fn header(name: String, value: OwnedValue, stored: &BTreeMap<String, String>) -> Option<(String, String)> {
    let value = match value {
        OwnedValue::String(text) if text == REDACTED => {
            stored.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name))?.1.clone()
        }
        OwnedValue::String(text) => text,
        OwnedValue::Static(StaticNode::Null) => return None,
        OwnedValue::Static(number_or_flag) => {
            let mut text = String::new();
            write!(text, "{number_or_flag}").ok()?;
            text
        }
        OwnedValue::Array(_) | OwnedValue::Object(_) => return None,
    };
    let is_value = value.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
    (is_token(&name) && is_value).then_some((name, value))
}

/// RFC 9110 section 5.6.2.
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}
