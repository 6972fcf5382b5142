//! What agents send: the body of an answer, and the chunks in it.

use crate::cuts;
use fleetlm::agent::{Answer, Assembler, Taken};
use fleetlm::api::view::{AskEvent, ChunkEvents, text_of};
use fleetlm::limits::{ANSWER_BYTES_MAX, JSON_DEPTH_MAX};
use fleetlm::protocol::answer::{AnswerDecoder, Line};
use fleetlm::session::{Json, nests_deeper_than};
use serde_json::Value;

/// Short, so that lines reach it.
const LINE_BYTES_MAX: usize = 60;

/// The body of an answer: cut anywhere it has the same lines, and no line is longer than allowed or of several kinds.
pub fn answer(data: &[u8]) {
    let [whole, single, pieces] = cuts(data).map(|parts| decoded(&parts, LINE_BYTES_MAX));
    assert_eq!(whole, single, "one by one differs from whole");
    assert_eq!(whole, pieces, "pieces differ from whole");
    for line in &whole.0 {
        if let Line::Chunk(text) = line {
            assert!(!text.is_empty() && text.len() <= LINE_BYTES_MAX && text.trim() == text, "{text:?}");
        }
    }
    let (_, dropped) = decoded(&[data], data.len().max(1));
    assert_eq!(dropped == 0, std::str::from_utf8(data).is_ok(), "only what is not UTF-8 is dropped when all fits");
}

fn decoded(parts: &[&[u8]], line_bytes_max: usize) -> (Vec<Line>, u64) {
    let mut decoder = AnswerDecoder::new(line_bytes_max);
    let mut lines = Vec::new();
    parts.iter().for_each(|part| decoder.push(part, &mut lines));
    decoder.finish(&mut lines);
    (lines, decoder.dropped())
}

/// Lines of chunks: whatever they are, every message is a valid one within the bounds, and refused chunks have changed nothing.
pub fn assembler(data: &[u8]) {
    let (lines, _) = decoded(&[data], data.len().max(1));
    let chunks: Vec<Json> = lines.iter().filter_map(chunk).collect();
    let mut assembler = Assembler::new("m".to_owned());
    let (mut answers, mut taken) = (Vec::new(), Vec::new());
    for chunk in &chunks {
        let before = (assembler.bytes(), assembler.is_empty());
        match assembler.push(chunk) {
            Ok(Taken::Ended(answer)) => {
                assert!(answer.content.as_str().len() <= before.0);
                answers.push(answer);
            }
            Ok(Taken::Passed | Taken::Failed { .. }) => {}
            Err(_) => {
                assert_eq!((assembler.bytes(), assembler.is_empty()), before);
                continue;
            }
        }
        taken.push(chunk);
    }
    answers.extend(assembler.abort());
    assert!(assembler.is_empty());
    answers.iter().for_each(check);

    let mut again = Assembler::new("m".to_owned());
    let mut answers_again: Vec<Answer> = Vec::new();
    for chunk in taken {
        if let Taken::Ended(answer) = again.push(chunk).expect("it was taken before") {
            answers_again.push(answer);
        }
    }
    answers_again.extend(again.abort());
    assert_eq!(answers, answers_again, "a refused chunk left something");
}

/// Lines of chunks: what a stream tells of an answer is the text of the messages that are stored of it.
pub fn told_text(data: &[u8]) {
    let (lines, _) = decoded(&[data], data.len().max(1));
    let (mut assembler, mut events) = (Assembler::new("m".to_owned()), ChunkEvents::default());
    let (mut stored, mut told) = (String::new(), String::new());
    let mut hear = |event| {
        if let Some(AskEvent::Text(text)) = event {
            told.push_str(&text)
        }
    };
    for chunk in lines.iter().filter_map(chunk) {
        let Ok(taken) = assembler.push(&chunk) else { continue };
        hear(events.take(chunk.as_str()));
        if let Taken::Ended(answer) = taken {
            stored.push_str(&text_of(answer.content.as_str()));
        }
    }
    hear(events.rest());
    if let Some(answer) = assembler.abort() {
        stored.push_str(&text_of(answer.content.as_str()));
    }
    assert_eq!(told, stored);
}

fn chunk(line: &Line) -> Option<Json> {
    match line {
        Line::Chunk(text) => Json::parse(text).ok(),
        Line::Done => None,
    }
}

fn check(answer: &Answer) {
    assert!(answer.content.as_str().len() + answer.metadata.as_str().len() <= ANSWER_BYTES_MAX);
    for json in [&answer.content, &answer.metadata] {
        assert!(!nests_deeper_than(json.as_str(), JSON_DEPTH_MAX));
        assert_eq!(Json::parse(json.as_str()).as_ref().ok(), Some(json));
    }
    // Half a surrogate pair passes as it came; serde_json has no text for it.
    let Ok(content) = serde_json::from_str::<Value>(answer.content.as_str()) else {
        assert!(answer.content.as_str().contains("\\u"), "{}", answer.content.as_str());
        return;
    };
    assert_eq!(content["role"], "assistant");
    assert!(content["parts"].as_array().is_some_and(|parts| parts.iter().all(|part| part["type"].is_string())));
}

pub(crate) fn answer_seeds() -> Vec<Vec<u8>> {
    [
        "{\"type\":\"text-delta\",\"id\":\"1\"}\r\n  {}\n\n{}",
        "\u{feff}: hi\nevent: x\nid: 7\ndata: {\"a\":\ndata: 1}\n\ndata: {}\ndata: {}\r\n\r\ndata: [DONE]\n\n",
        "data: \u{1f600}0123456789012345678901234567890123456789012345678901234567890123456789\ndata: x\n\n{}\n",
    ]
    .map(Vec::from)
    .into()
}

pub(crate) fn assembler_seeds() -> Vec<Vec<u8>> {
    [
        r#"{"type":"start","messageId":"i","messageMetadata":{"a":{"b":1}}}
{"type":"start-step"}
{"type":"text-start","id":"t"}
{"type":"text-delta","id":"t","delta":"\ud83d"}
{"type":"text-delta","id":"t","delta":"\ude00"}
{"type":"text-end","id":"t","providerMetadata":{"p":{}}}
{"type":"reasoning-delta","id":"t","delta":"r"}
{"type":"finish-step"}
{"type":"finish","messageMetadata":{"a":{"c":[2]}}}"#,
        r#"{"type":"tool-input-start","toolCallId":"c","toolName":"n","title":"T"}
{"type":"tool-input-delta","toolCallId":"c","inputTextDelta":"{\"a\": \"\\u00e9"}
{"type":"tool-input-delta","toolCallId":"c","inputTextDelta":"x\",\"b\":[1.5e3,tr"}
{"type":"tool-output-available","toolCallId":"c","output":{"x":null},"preliminary":true}
{"type":"tool-output-error","toolCallId":"c","errorText":"no"}
{"type":"abort"}"#,
        r#"{"type":"tool-input-start","toolCallId":"c","toolName":"n","dynamic":true,"inputEncoding":"text"}
{"type":"tool-input-delta","toolCallId":"c","inputTextDelta":"{"}
{"type":"tool-approval-request","toolCallId":"c","approvalId":"a","approvalDescriptor":{}}
{"type":"tool-input-error","toolCallId":"c","toolName":"m","input":[],"errorText":"no"}
{"type":"data-x","id":"1","data":1}
{"type":"data-x","id":"1","data":null}
{"type":"source-url","sourceId":"s","url":"u","title":"t"}
{"type":"error","errorText":"e"}"#,
    ]
    .map(Vec::from)
    .into()
}
