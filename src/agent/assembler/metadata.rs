//! The metadata of a message: objects merged deeply, as the AI SDK's `mergeObjects` does.
//!
//! Kept as one JSON text, which every merge goes through again: metadata comes a few times per answer and is bounded.

use super::chunk::{Fields, fields};
use super::parts::quote;
use std::collections::BTreeMap;

/// `over` merged into `base`, both objects: objects of one name are merged, everything else is replaced. A new name comes last.
pub(super) fn merge(base: &str, over: &str) -> String {
    let mut merged = unique(fields(base).unwrap_or_default());
    let mut places: BTreeMap<String, usize> =
        merged.iter().enumerate().map(|(place, (name, _))| (name.to_string(), place)).collect();
    let mut values: Vec<Option<String>> = vec![None; merged.len()];
    for (name, value) in unique(fields(over).unwrap_or_default()) {
        // Readers in JavaScript would take these for an object's own machinery.
        if matches!(&*name, "__proto__" | "constructor" | "prototype") {
            continue;
        }
        match places.get(&*name) {
            Some(&place) if merged[place].1.starts_with('{') && value.starts_with('{') => {
                values[place] = Some(merge(merged[place].1, value));
            }
            Some(&place) => merged[place].1 = value,
            None => {
                places.insert(name.to_string(), merged.len());
                merged.push((name, value));
                values.push(None);
            }
        }
    }
    let rendered =
        merged.iter().zip(&values).map(|((name, value), merged)| (&**name, merged.as_deref().unwrap_or(value)));
    render(rendered)
}

/// Names that the server adds to a message's metadata: what an agent says under them is not stored.
const TAKEN: [&str; 7] = ["run_id", "reply_to", "reason", "recovered", "duration_ms", "input_tokens", "output_tokens"];

/// The metadata that is stored: what was merged, and how the message ended. Names that say the latter are taken.
pub(super) fn stored(merged: &str, termination: &str, finish_chunk: Option<&str>) -> String {
    let merged = unique(fields(merged).unwrap_or_default());
    let own = [("termination", Some(termination)), ("_finish_chunk", finish_chunk)];
    let is_free = |name: &str| own.iter().all(|(own, _)| *own != name) && !TAKEN.contains(&name);
    let kept = merged.iter().map(|(name, value)| (&**name, *value)).filter(|(name, _)| is_free(name));
    render(kept.chain(own.iter().filter_map(|(name, value)| Some((*name, (*value)?)))))
}

/// `metadata`, an object, without what stands under these names.
pub(super) fn without(metadata: &str, names: &[&str]) -> String {
    let fields = unique(fields(metadata).unwrap_or_default());
    render(fields.iter().map(|(name, value)| (&**name, *value)).filter(|(name, _)| !names.contains(name)))
}

/// The fields without those that a later one of the same name replaces.
fn unique(fields: Fields<'_>) -> Fields<'_> {
    let mut unique: Fields<'_> = Vec::with_capacity(fields.len());
    let mut places = BTreeMap::new();
    for (name, value) in fields {
        match places.get(&name) {
            Some(&place) => {
                let field: &mut (_, &str) = &mut unique[place];
                field.1 = value;
            }
            None => {
                places.insert(name.clone(), unique.len());
                unique.push((name, value));
            }
        }
    }
    unique
}

fn render<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = "{".to_owned();
    for (name, value) in fields {
        let comma = if out.len() > 1 { "," } else { "" };
        out.extend([comma, &quote(name), ":", value]);
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_merged_and_everything_else_is_replaced() {
        let base = r#"{"a":{"x":1,"y":[1]},"b":1,"c":null}"#;
        assert_eq!(
            merge(base, r#"{"a":{"y":[2],"z":{}},"b":{"n":1},"d":2}"#),
            r#"{"a":{"x":1,"y":[2],"z":{}},"b":{"n":1},"c":null,"d":2}"#
        );
        assert_eq!(merge(base, "{}"), base);
        assert_eq!(merge("{}", r#"{"a":null,"__proto__":{"x":1},"a":2}"#), r#"{"a":2}"#);
    }

    #[test]
    fn what_stands_under_a_name_is_taken_away_however_it_is_written() {
        assert_eq!(without(r#"{"a":1,"\u0062":2,"c":{"b":3},"b":4}"#, &["b"]), r#"{"a":1,"c":{"b":3}}"#);
    }

    #[test]
    fn how_a_message_ended_is_said_once_and_the_names_of_the_server_are_its_own() {
        let merged =
            r#"{"a":1,"termination":"mine","a":2,"_finish_chunk":3,"run_id":"x","reason":"y","duration_ms":1}"#;
        assert_eq!(stored(merged, "\"abort\"", None), r#"{"a":2,"termination":"abort"}"#);
        assert_eq!(stored("{}", "\"finish\"", Some("{}")), r#"{"termination":"finish","_finish_chunk":{}}"#);
    }
}
