//! The parameters of a request: query, body and path in one map, path over body over query (contract 1.1), each kept as
//! raw JSON. Also the lenient reading of numbers that the original had.

use super::error::{ApiError, Kind};
use super::query;
use crate::protocol::http::{Method, Request};
use crate::session::Json;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Name and JSON text.
type Field<'a> = (Cow<'a, str>, Cow<'a, RawValue>);

/// Parameters by name. Of several with one name the last is found.
#[derive(Debug, Default)]
pub struct Params<'a> {
    fields: Vec<Field<'a>>,
    /// How many of them came with the query.
    of_query: usize,
}

impl<'a> Params<'a> {
    /// Query and body of `request`. A body counts for methods that bring one, when its content type is JSON or
    /// urlencoded; any other is passed over, and its fields are missing.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] for malformed JSON, urlencoding or percent-encoding.
    pub fn of(request: &'a Request) -> Result<Self, ApiError> {
        let mut params = Self::default();
        params.add_form(&request.query)?;
        params.of_query = params.fields.len();
        if matches!(request.method, Method::Post | Method::Put | Method::Patch | Method::Delete) {
            params.add_body(request)?;
        }
        Ok(params)
    }

    /// The fields of a JSON object that came without a request.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] for anything else.
    pub fn of_object(text: &'a str) -> Result<Self, ApiError> {
        let mut params = Self::default();
        fields_of(text, &mut params.fields).map_err(|_| Kind::BadRequest)?;
        let is_object = text.trim_start().starts_with('{');
        if is_object { Ok(params) } else { Err(Kind::BadRequest.into()) }
    }

    /// The parameter's JSON text.
    pub fn raw(&self, name: &str) -> Option<&RawValue> {
        find(&self.fields, name)
    }

    /// The parameter if the body has it, as a string.
    pub fn body_text(&self, name: &str) -> Option<String> {
        find(&self.fields[self.of_query..], name).and_then(text)
    }

    /// Whether the parameter is there, null included.
    pub fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// The parameter if it is a string.
    pub fn text(&self, name: &str) -> Option<String> {
        self.raw(name).and_then(text)
    }

    /// The parameter if it is a string of at least one character.
    pub fn name(&self, name: &str) -> Option<String> {
        self.text(name).filter(|text| !text.is_empty())
    }

    /// The parameter if it is an object.
    pub fn object(&self, name: &str) -> Option<Json> {
        self.raw(name).map(Json::from_raw).filter(Json::is_object)
    }

    /// The parameter as a positive number, read leniently.
    pub fn positive(&self, name: &str) -> Option<u64> {
        self.raw(name).and_then(positive)
    }

    /// The names of the parameters that the query has.
    pub fn query_names(&self) -> impl Iterator<Item = &str> {
        self.fields[..self.of_query].iter().map(|(name, _)| name.as_ref())
    }

    /// The names of the parameters that the body has.
    pub fn body_names(&self) -> impl Iterator<Item = &str> {
        self.fields[self.of_query..].iter().map(|(name, _)| name.as_ref())
    }

    /// Gives the parameter a value if it has none.
    pub fn default_name(&mut self, name: &'static str, value: &str) {
        if !self.has(name) {
            let raw = serde_json::value::to_raw_value(value).expect("a string has a JSON form");
            self.fields.push((Cow::Borrowed(name), Cow::Owned(raw)));
        }
    }

    fn add_form(&mut self, text: &str) -> Result<(), ApiError> {
        if text.is_empty() {
            return Ok(());
        }
        for (name, value) in query::parse(text).map_err(|_| Kind::BadRequest)? {
            let raw = serde_json::value::to_raw_value(&value).map_err(|_| Kind::Internal)?;
            self.fields.push((Cow::Owned(name), Cow::Owned(raw)));
        }
        Ok(())
    }

    fn add_body(&mut self, request: &'a Request) -> Result<(), ApiError> {
        let kind = request.headers.first("content-type").and_then(|kind| kind.split(';').next()).unwrap_or("");
        let kind = kind.trim().to_ascii_lowercase();
        let is_json = kind.strip_prefix("application/").is_some_and(|kind| kind == "json" || kind.ends_with("+json"));
        if is_json && !request.body.is_empty() {
            let body = std::str::from_utf8(&request.body).map_err(|_| Kind::BadRequest)?;
            fields_of(body, &mut self.fields).map_err(|_| Kind::BadRequest)?;
        } else if kind == "application/x-www-form-urlencoded" {
            self.add_form(std::str::from_utf8(&request.body).map_err(|_| Kind::BadRequest)?)?;
        }
        Ok(())
    }
}

fn find<'a>(fields: &'a [Field<'_>], name: &str) -> Option<&'a RawValue> {
    fields.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_ref())
}

/// The string that `raw` is. Half a surrogate pair is none.
pub fn text(raw: &RawValue) -> Option<String> {
    raw.get().starts_with('"').then(|| serde_json::from_str(raw.get()).ok()).flatten()
}

/// The positive whole number that `raw` is or, as a string, begins with; `None` for everything else (contract 1.5). What is
/// beyond 64 bits counts as the largest number.
pub fn positive(raw: &RawValue) -> Option<u64> {
    let text = match raw.get() {
        string if string.starts_with('"') => Cow::Owned(self::text(raw)?),
        number if number.contains(['.', 'e', 'E']) => return None,
        number => Cow::Borrowed(number),
    };
    let unsigned = text.strip_prefix('+').unwrap_or(&text);
    let digits = unsigned.find(|letter: char| !letter.is_ascii_digit()).map_or(unsigned, |end| &unsigned[..end]);
    let number =
        digits.bytes().try_fold(0u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    Some(number.unwrap_or(u64::MAX)).filter(|&number| number > 0)
}

/// The fields of a JSON body, each kept as it stands there. A body that is no object arrives as the field `_json`.
fn fields_of<'a>(body: &'a str, fields: &mut Vec<Field<'a>>) -> serde_json::Result<()> {
    if !body.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
        fields.push((Cow::Borrowed("_json"), Cow::Borrowed(serde_json::from_str(body)?)));
        return Ok(());
    }
    let mut json = serde_json::Deserializer::from_str(body);
    json.deserialize_map(Fields(fields))?;
    json.end()
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Where the fields of an object go.
struct Fields<'f, 'a>(&'f mut Vec<Field<'a>>);

impl<'a> Visitor<'a> for Fields<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((Key(name), value)) = map.next_entry::<Key<'a>, &'a RawValue>()? {
            self.0.push((name, Cow::Borrowed(value)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(target: &str, content_type: &str, body: &str) -> Request {
        Request::new(Method::Post, target).with_header("content-type", content_type).with_body(body)
    }

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn the_body_wins_over_the_query() {
        let request = post("/?a=query&b=query", "application/json", r#"{"a":"first","a":"body","c":1}"#);
        let params = Params::of(&request).unwrap();
        assert_eq!(params.text("a").as_deref(), Some("body"));
        assert_eq!(params.text("b").as_deref(), Some("query"));
        assert_eq!((params.body_text("b"), params.body_text("a").as_deref()), (None, Some("body")));
        assert_eq!(params.raw("c").unwrap().get(), "1");
        assert!(!params.has("d"));
        let mut of_query: Vec<_> = params.query_names().collect();
        of_query.sort_unstable();
        assert_eq!((of_query, params.body_names().collect::<Vec<_>>()), (vec!["a", "b"], vec!["a", "a", "c"]));
    }

    #[test]
    fn a_body_that_is_no_object_is_one_field() {
        for body in ["[1,2]", "\"x\"", "null", " 7 "] {
            let request = post("/", "application/json", body);
            assert_eq!(Params::of(&request).unwrap().raw("_json").unwrap().get(), body.trim());
        }
    }

    #[test]
    fn json_goes_by_many_names_and_malformed_json_is_refused() {
        for kind in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json"] {
            let request = post("/", kind, "{\"a\":1}");
            assert!(Params::of(&request).unwrap().has("a"), "{kind}");
            for broken in ["{", "{\"a\":}", "{}x", " ", "{\"a\":1,}", "\u{feff}{}"] {
                let request = post("/", kind, broken);
                assert_eq!(Params::of(&request).unwrap_err().kind(), Kind::BadRequest, "{broken}");
            }
        }
        let request =
            Request::new(Method::Post, "/").with_header("content-type", "application/json").with_body(*b"\"\xff\"");
        assert_eq!(Params::of(&request).unwrap_err().kind(), Kind::BadRequest);
        assert!(!Params::of(&post("/", "application/json", "")).unwrap().has("_json"));
    }

    #[test]
    fn forms_nest_and_other_content_has_no_fields() {
        let request = post("/", "application/x-www-form-urlencoded", "user_id=a+b&content[text]=hi");
        let params = Params::of(&request).unwrap();
        assert_eq!(params.text("user_id").as_deref(), Some("a b"));
        assert_eq!(params.object("content").unwrap().as_str(), r#"{"text":"hi"}"#);
        for kind in ["text/plain", "multipart/form-data; boundary=x", "", "json", "text/json"] {
            assert!(!Params::of(&post("/", kind, r#"{"a":1}"#)).unwrap().has("a"), "{kind}");
        }
        let get = Request::new(Method::Get, "/").with_header("content-type", "application/json").with_body("{");
        assert!(Params::of(&get).is_ok(), "a GET has no body to speak of");
    }

    #[test]
    fn numbers_are_read_leniently() {
        for (text, number) in [
            ("7", Some(7)),
            ("\"7\"", Some(7)),
            ("\"7abc\"", Some(7)),
            ("\"7.9\"", Some(7)),
            ("\"+7\"", Some(7)),
            ("\"007\"", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("\"99999999999999999999999\"", Some(u64::MAX)),
            ("0", None),
            ("\"0\"", None),
            ("-7", None),
            ("\"-7\"", None),
            ("7.9", None),
            ("7e2", None),
            ("\"abc\"", None),
            ("\" 7\"", None),
            ("\"\"", None),
            ("\"++7\"", None),
            ("null", None),
            ("true", None),
            ("[7]", None),
            ("{}", None),
        ] {
            assert_eq!(positive(&raw(text)), number, "{text}");
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_no_text() {
        assert_eq!(text(&raw(r#""\ud83d\ude00""#)).as_deref(), Some("😀"));
        assert_eq!(text(&raw(r#""\ud83d""#)), None);
    }
}
