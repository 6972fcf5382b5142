//! The description of every API that the server speaks, as one OpenAPI 3.1 document.
//!
//! It is kept by hand, one file beside this for each dialect, because the routes parse what they are sent leniently and in the order
//! of their contracts: no types stand there from which a description could be made. That it says what is served is held by tests:
//! routes and operations are the same, both ways, with the same class.
//!
//! Not here: what is refused and how, which docs/errors.md lists.

use crate::protocol::http::{Request, Response};
use serde_json::{Map, Value};
use std::sync::LazyLock;

const INFO: &str = include_str!("info.json");
const PARTS: &[&str] = &[
    include_str!("fleetlm.json"),
    include_str!("teammate.json"),
    include_str!("agenfleet.json"),
    include_str!("hapi.json"),
    include_str!("admin.json"),
];

/// The document and its tag. Made once: it is the same for everybody.
static DOCUMENT: LazyLock<(String, String)> = LazyLock::new(|| {
    let text = document().to_string();
    let tag = format!("\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(text.as_bytes()));
    (text, tag)
});

/// The answer to `GET /api/openapi.json`: 304 for who has it.
pub fn respond(request: &Request) -> Response {
    let (text, tag) = &*DOCUMENT;
    let is_known = request.headers.list("if-none-match").any(|known| known == tag);
    let response = if is_known {
        Response::new(304)
    } else {
        Response::new(200).with_body("application/json; charset=utf-8", text.clone().into_bytes())
    };
    response.with_header("etag", tag.clone()).with_header("cache-control", "no-cache")
}

/// The parts put together.
fn document() -> Value {
    let mut document = parse(INFO);
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    for part in PARTS {
        let Value::Object(part) = parse(part) else { panic!("a part is an object") };
        merge(&mut document, part);
    }
    document
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("a test reads the same text")
}

/// Objects are merged member by member; what both have and is no object is the first one's.
fn merge(into: &mut Value, from: Map<String, Value>) {
    let Some(into) = into.as_object_mut() else { return };
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(known), Value::Object(members)) => merge(known, members),
            (Some(_), _) => {}
            (None, value) => {
                into.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::dialect::Dialect;
    use crate::api::table;
    use std::collections::{BTreeMap, BTreeSet, HashSet};

    /// (method, path) and operation, of the whole document.
    fn operations(document: &Value) -> BTreeMap<(String, String), &Value> {
        let paths = document["paths"].as_object().unwrap().iter();
        paths
            .flat_map(|(path, methods)| {
                let of_path = move |(method, operation)| {
                    let method: &String = method;
                    ((method.to_uppercase(), path.clone()), operation)
                };
                methods.as_object().unwrap().iter().map(of_path)
            })
            .collect()
    }

    /// `/a/:id` as `/a/{id}`.
    fn template(pattern: &str) -> String {
        let segment = |part: &str| part.strip_prefix(':').map_or(part.to_owned(), |name| format!("{{{name}}}"));
        pattern.split('/').map(segment).collect::<Vec<_>>().join("/")
    }

    /// Every value of the document, with the name it stands under.
    fn walk<'a>(value: &'a Value, name: &'a str, visit: &mut impl FnMut(&'a str, &'a Value)) {
        visit(name, value);
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| walk(value, name, visit)),
            Value::Array(values) => values.iter().for_each(|value| walk(value, "", visit)),
            _ => {}
        }
    }

    #[test]
    fn the_document_describes_the_routes_and_nothing_else() {
        let document = document();
        let described: BTreeSet<(String, String)> = operations(&document).into_keys().collect();
        let served: BTreeSet<(String, String)> =
            table::all().map(|row| (row.method.to_owned(), template(row.pattern))).collect();
        let missing: Vec<_> = served.difference(&described).collect();
        let invented: Vec<_> = described.difference(&served).collect();
        assert!(missing.is_empty() && invented.is_empty(), "not described: {missing:#?}\nnot served: {invented:#?}");
    }

    #[test]
    fn every_operation_has_the_class_of_its_route_and_says_who_is_kept_out() {
        let document = document();
        let operations = operations(&document);
        for row in table::all() {
            let operation = operations[&(row.method.to_owned(), template(row.pattern))];
            let class = format!("{:?}", row.class).to_lowercase();
            assert_eq!(operation["x-fleetlm-class"], class, "{row:?}");
            assert_eq!(operation["x-fleetlm-streams"] == true, row.streams, "{row:?}");
            assert_eq!(operation["security"].is_array(), class == "public", "{row:?}");
            let refused = if class == "public" { &[][..] } else { &["401", "403", "429"][..] };
            for status in refused.iter().chain(&["default"]) {
                let response = &operation["responses"][*status]["$ref"];
                let dialect =
                    if row.dialect == Dialect::Fleetlm { "Fleetlm".to_owned() } else { format!("{:?}", row.dialect) };
                let of_dialect = format!("#/components/responses/{dialect}");
                assert!(
                    response.as_str().is_some_and(|to| to.starts_with(&of_dialect)),
                    "{row:?} {status}: {response}"
                );
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_no_operation_has_anothers_name() {
        let document = document();
        let mut references = 0;
        walk(&document, "", &mut |name, value| {
            if name == "$ref" {
                let pointer = value.as_str().unwrap().strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{value} leads nowhere");
                references += 1;
            }
        });
        assert!(references > 100);
        let mut ids = HashSet::new();
        for operation in operations(&document).into_values() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{operation} is there twice");
        }
    }

    #[test]
    fn every_placeholder_of_a_path_is_a_parameter_of_its_operations() {
        let document = document();
        for ((method, path), operation) in operations(&document) {
            let named: BTreeSet<&str> =
                path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
            let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
            let given: BTreeSet<&str> = in_path.map(|parameter| parameter["name"].as_str().unwrap()).collect();
            assert_eq!(given, named, "{method} {path}");
        }
    }

    #[test]
    fn who_has_the_document_is_not_sent_it_again() {
        let request = Request::new(crate::protocol::http::Method::Get, "/api/openapi.json");
        let first = respond(&request);
        assert_eq!((first.status, first.header("content-type")), (200, Some("application/json; charset=utf-8")));
        let text = String::from_utf8(first.body.to_vec()).unwrap();
        let sent: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (sent["openapi"].as_str(), &sent["info"]["version"]),
            (Some("3.1.0"), &env!("CARGO_PKG_VERSION").into())
        );
        let second = respond(&request.with_header("If-None-Match", first.header("etag").unwrap()));
        assert_eq!((second.status, second.body.len()), (304, 0));
    }
}
