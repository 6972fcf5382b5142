//! What an answer has cost: the tokens that its agent names, and the time that the server has measured, as the numbers that
//! stand in the metadata of the message.
//!
//! Invariants: what an agent says under `usage` and `totalUsage` is only read and stays its own; a count that is not a
//! non-negative integer is no count; nothing is made up for a count that nobody has named.
//! Not here: where the time is taken (the shard), what readers show for a missing count (`api`).

use crate::session::Json;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Objects that hold counts, in the order in which they are looked into: the AI SDK's two names.
const OBJECTS: [&str; 2] = ["usage", "totalUsage"];
/// Names of the tokens read, the first known one counts: AI SDK 5, plain snake case, AI SDK 4, OpenAI. Clear beside
/// anything.
const INPUT: [&str; 4] = ["inputTokens", "input_tokens", "promptTokens", "prompt_tokens"];
/// Names of the tokens written.
const OUTPUT: [&str; 4] = ["outputTokens", "output_tokens", "completionTokens", "completion_tokens"];
/// Short names, which mean tokens only within an object of [`OBJECTS`].
const INPUT_SHORT: [&str; 2] = ["input", "in"];
/// See [`INPUT_SHORT`].
const OUTPUT_SHORT: [&str; 2] = ["output", "out"];

type Fields<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// Tokens of one answer, as far as its agent has named them. One of the two is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Tokens that the model has read.
    pub input: Option<u64>,
    /// Tokens that it has written.
    pub output: Option<u64>,
}

/// The tokens that a message's merged metadata names or, if it names none, the chunk that ended the message. Of each the
/// objects `usage` and `totalUsage` come first, then its own fields; the first place that names either count has the word
/// on both.
pub fn usage_of(metadata: &str, finish: Option<&str>) -> Option<Usage> {
    usage_in(metadata).or_else(|| usage_in(finish?))
}

fn usage_in(object: &str) -> Option<Usage> {
    let fields: Fields = serde_json::from_str(object).ok()?;
    let inner = |name: &str| {
        let inner: Fields = serde_json::from_str(fields.get(name)?.get()).ok()?;
        let input = count(&inner, &INPUT).or_else(|| count(&inner, &INPUT_SHORT));
        usage(input, count(&inner, &OUTPUT).or_else(|| count(&inner, &OUTPUT_SHORT)))
    };
    let flat = || usage(count(&fields, &INPUT), count(&fields, &OUTPUT));
    OBJECTS.into_iter().find_map(inner).or_else(flat)
}

fn usage(input: Option<u64>, output: Option<u64>) -> Option<Usage> {
    (input.is_some() || output.is_some()).then_some(Usage { input, output })
}

fn count(fields: &Fields<'_>, names: &[&str]) -> Option<u64> {
    names.iter().find_map(|name| fields.get(*name)?.get().parse().ok())
}

/// The fields that stand behind those of `metadata`, a JSON object without double names: `duration_ms`, the tokens as far
/// as they are known, and `latency_ms` unless the agent has named its own. Each begins with a comma. `took_ms` is `None`
/// for an answer whose beginning no clock of this process has seen.
pub fn numbers(metadata: &Json, usage: Option<Usage>, took_ms: Option<u64>) -> String {
    let has_latency = || {
        let fields: Option<Fields> = serde_json::from_str(metadata.as_str()).ok();
        fields.is_some_and(|fields| fields.contains_key("latency_ms"))
    };
    let counts = [
        ("duration_ms", took_ms),
        ("input_tokens", usage.and_then(|usage| usage.input)),
        ("output_tokens", usage.and_then(|usage| usage.output)),
        ("latency_ms", took_ms.filter(|_| !has_latency())),
    ];
    let mut text = String::new();
    for (name, count) in counts {
        if let Some(count) = count {
            write!(text, ",\"{name}\":{count}").expect("a string takes everything");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(input: u64, output: u64) -> Option<Usage> {
        Some(Usage { input: Some(input), output: Some(output) })
    }

    #[test]
    fn every_name_that_agents_use_for_tokens_is_read() {
        for (input, output) in [
            ("inputTokens", "outputTokens"),
            ("input_tokens", "output_tokens"),
            ("promptTokens", "completionTokens"),
            ("prompt_tokens", "completion_tokens"),
            ("input", "output"),
            ("in", "out"),
        ] {
            let counts = format!(r#"{{"{input}":12,"{output}":3,"totalTokens":15}}"#);
            for object in OBJECTS {
                assert_eq!(usage_of(&format!(r#"{{"model":"m","{object}":{counts}}}"#), None), both(12, 3), "{counts}");
            }
            let is_clear = input.len() > "input".len();
            assert_eq!(usage_of(&counts, None), both(12, 3).filter(|_| is_clear), "{counts} beside other metadata");
        }
    }

    #[test]
    fn the_first_place_that_names_a_count_has_the_word() {
        let metadata = r#"{"input_tokens":9,"totalUsage":{"in":7,"out":8},"usage":{"in":5}}"#;
        assert_eq!(usage_of(metadata, None), Some(Usage { input: Some(5), output: None }));
        let metadata = r#"{"input_tokens":9,"totalUsage":{"in":7,"out":8},"usage":{"cost":1}}"#;
        assert_eq!(usage_of(metadata, Some(r#"{"usage":{"in":1,"out":2}}"#)), both(7, 8));
        let finish = r#"{"type":"finish","totalUsage":{"inputTokens":1,"outputTokens":2}}"#;
        assert_eq!(usage_of(r#"{"model":"m"}"#, Some(finish)), both(1, 2));
    }

    #[test]
    fn what_is_no_non_negative_integer_is_no_count() {
        for count in ["-1", "1.5", "1e3", "\"12\"", "null", "true", "[1]", "{}", "18446744073709551616"] {
            assert_eq!(usage_of(&format!(r#"{{"usage":{{"in":{count},"out":{count}}}}}"#), None), None, "{count}");
        }
        for metadata in ["{}", r#"{"usage":5}"#, r#"{"usage":null}"#, r#"{"usage":[]}"#, r#"{"usage":{"\ud800":1}}"#] {
            assert_eq!(usage_of(metadata, None), None, "{metadata}");
        }
        let largest = r#"{"usage":{"in":0,"out":18446744073709551615}}"#;
        assert_eq!(usage_of(largest, None), both(0, u64::MAX));
    }

    #[test]
    fn an_answer_without_counts_gets_its_time_only() {
        let metadata = |text: &str| Json::parse(text).unwrap();
        assert_eq!(numbers(&metadata("{}"), None, Some(7)), r#","duration_ms":7,"latency_ms":7"#);
        assert_eq!(numbers(&metadata(r#"{"latency_ms":null}"#), None, Some(7)), r#","duration_ms":7"#);
        assert_eq!(
            numbers(&metadata(r#"{"latency_ms":3}"#), both(1, 2), None),
            r#","input_tokens":1,"output_tokens":2"#
        );
        let only_output = Some(Usage { input: None, output: Some(2) });
        assert_eq!(
            numbers(&metadata(r#"{"usage":{"out":2}}"#), only_output, Some(0)),
            r#","duration_ms":0,"output_tokens":2,"latency_ms":0"#
        );
        assert_eq!(numbers(&metadata("{}"), None, None), "");
    }
}
