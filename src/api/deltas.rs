//! Chunks of an answer as a chat dialect streams them: text as it grows, and the begin and end of calls of tools.
//!
//! Invariant: all text told of one message is, in this order, the text of the message as it is stored
//! ([`text_of`](super::view::text_of)). Therefore a part of text that began while an earlier one is open waits for the end of that one,
//! and half a surrogate pair waits for its other half; the agents that do either are rare, and a stream cannot take back what it told.
//!
//! Not here: which chunks are shown at all (the shard passes on only those that it keeps, which also bounds what is held here), reasoning,
//! and how a dialect writes an event.

use super::view::{Half, member, surrogate, unescaped, whole_text};
use crate::session::Json;
use std::collections::{BTreeMap, VecDeque};

/// Bytes of an escaped half of a surrogate pair, `\ud83d`.
const ESCAPE_BYTES: usize = 6;

/// What somebody who asked hears while the answer is produced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskEvent {
    /// More of the answer's text; never empty.
    Text(String),
    /// A tool is called.
    ToolStart {
        /// Its name.
        tool: String,
        /// Its input.
        args: Json,
    },
    /// The call of a tool has ended.
    ToolEnd {
        /// Its name.
        tool: String,
        /// Its output: a text as it is, anything else as JSON; the error's text when it failed.
        content: String,
    },
}

/// The chunks of one answer, which may be several messages, turned into events. One voice, one of these.
#[derive(Debug, Default)]
pub struct ChunkEvents {
    /// Parts of text with something to tell or to come, in the message's order. All but the first wait.
    texts: VecDeque<TextPart>,
    /// Names of the tools whose calls run, by call id.
    tools: BTreeMap<String, String>,
}

#[derive(Debug)]
struct TextPart {
    id: String,
    /// The inside of a JSON string that was not told yet.
    untold: String,
    is_open: bool,
}

impl ChunkEvents {
    /// What one chunk (a JSON object) says to those who asked, if anything.
    pub fn take(&mut self, chunk: &str) -> Option<AskEvent> {
        let kind = whole_text(member(chunk, "type")?)?;
        match kind.as_str() {
            "text-start" => self.open(chunk_id(chunk)?),
            "text-delta" => self.append(chunk_id(chunk)?, inside(member(chunk, "delta")?)?),
            "text-end" => self.close(&chunk_id(chunk)?),
            "finish-step" => self.close_all(),
            "finish" | "abort" => return self.rest(),
            _ if kind.starts_with("tool-") => return self.take_tool(&kind, chunk),
            _ => return None,
        }
        self.tell()
    }

    /// What waits when the answer ends without a chunk that says so.
    pub fn rest(&mut self) -> Option<AskEvent> {
        self.close_all();
        self.tools.clear();
        self.tell()
    }

    /// An open part with the same id gets no more.
    fn open(&mut self, id: String) {
        self.close(&id);
        self.texts.push_back(TextPart { id, untold: String::new(), is_open: true });
    }

    /// Without a start a delta opens a part itself.
    fn append(&mut self, id: String, delta: &str) {
        if !self.texts.iter().any(|part| part.is_open && part.id == id) {
            self.open(id.clone());
        }
        let part = self.texts.iter_mut().find(|part| part.is_open && part.id == id);
        part.expect("opened above").untold.push_str(delta);
    }

    fn close(&mut self, id: &str) {
        if let Some(part) = self.texts.iter_mut().find(|part| part.is_open && part.id == id) {
            part.is_open = false;
        }
    }

    fn close_all(&mut self) {
        self.texts.iter_mut().for_each(|part| part.is_open = false);
    }

    /// The text up to the end of the first open part.
    fn tell(&mut self) -> Option<AskEvent> {
        let mut text = String::new();
        while let Some(part) = self.texts.front_mut() {
            text.push_str(&part.told());
            if part.is_open {
                break;
            }
            self.texts.pop_front();
        }
        (!text.is_empty()).then_some(AskEvent::Text(text))
    }

    fn take_tool(&mut self, kind: &str, chunk: &str) -> Option<AskEvent> {
        let call_id = whole_text(member(chunk, "toolCallId")?)?;
        match kind {
            "tool-input-available" => {
                let tool = whole_text(member(chunk, "toolName")?)?;
                self.tools.insert(call_id, tool.clone());
                let args = member(chunk, "input").map_or_else(Json::empty_object, Json::from_valid);
                Some(AskEvent::ToolStart { tool, args })
            }
            "tool-output-available" if is_true(chunk, "preliminary") => None, // the call goes on
            "tool-output-available" => self.end_tool(&call_id, member(chunk, "output")),
            "tool-output-error" => self.end_tool(&call_id, member(chunk, "errorText")),
            "tool-output-denied" => self.end_tool(&call_id, Some("\"denied\"")),
            _ => None,
        }
    }

    /// A call that was never begun has no end either.
    fn end_tool(&mut self, call_id: &str, output: Option<&str>) -> Option<AskEvent> {
        let tool = self.tools.remove(call_id)?;
        let output = output.unwrap_or("null");
        let content = whole_text(output).unwrap_or_else(|| output.to_owned());
        Some(AskEvent::ToolEnd { tool, content })
    }
}

impl TextPart {
    /// Takes what can be told: all, but for half a surrogate pair whose other half may come.
    fn told(&mut self) -> String {
        let end = self.untold.len() - if self.is_open { half_bytes(&self.untold) } else { 0 };
        let told = unescaped(&self.untold[..end]);
        self.untold.drain(..end);
        told
    }
}

/// Bytes of the first half of a surrogate pair at the end of the inside of a JSON string.
fn half_bytes(inside: &str) -> usize {
    let Some(start) = inside.len().checked_sub(ESCAPE_BYTES) else { return 0 };
    let Some(last) = inside.get(start..).filter(|last| surrogate(last) == Some(Half::High)) else { return 0 };
    // Behind a backslash that is escaped itself, or not, this one begins nothing.
    let before = inside[..start].bytes().rev().take_while(|byte| *byte == b'\\').count();
    if before % 2 == 0 { last.len() } else { 0 }
}

/// The decoded `id` by which chunks name their part.
fn chunk_id(chunk: &str) -> Option<String> {
    whole_text(member(chunk, "id")?)
}

/// A JSON string without its quotes.
fn inside(raw: &str) -> Option<&str> {
    raw.strip_prefix('"')?.strip_suffix('"')
}

fn is_true(chunk: &str, name: &str) -> bool {
    member(chunk, name) == Some("true")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Option<AskEvent> {
        Some(AskEvent::Text(text.to_owned()))
    }

    fn delta(id: &str, inside: &str) -> String {
        format!(r#"{{"type":"text-delta","id":"{id}","delta":"{inside}"}}"#)
    }

    fn bare(kind: &str, id: &str) -> String {
        format!(r#"{{"type":"{kind}","id":"{id}"}}"#)
    }

    #[test]
    fn deltas_are_told_as_they_come_and_everything_else_is_silent() {
        let mut events = ChunkEvents::default();
        for silent in [
            r#"{"type":"start","messageId":"m"}"#,
            r#"{"type":"start-step"}"#,
            r#"{"type":"reasoning-delta","id":"0","delta":"hm"}"#,
            r#"{"type":"data-x","data":1}"#,
            r#"{"type":"error","errorText":"x"}"#,
            r#"{"type":"text-delta","id":"0"}"#,
            r#"{"type":"text-delta","delta":"x"}"#,
            r#"{"type":7}"#,
            "{}",
            "[]",
        ] {
            assert_eq!(events.take(silent), None, "{silent}");
        }
        assert_eq!(events.take(&bare("text-start", "0")), None);
        assert_eq!(events.take(&delta("0", r"Hel\n")), text("Hel\n"));
        assert_eq!(events.take(&delta("0", "")), None);
        assert_eq!(events.take(&delta("0", "lo")), text("lo"));
        assert_eq!(events.take(&bare("text-end", "0")), None);
        assert_eq!(events.take(r#"{"type":"finish"}"#), None);
        assert_eq!(events.take(&delta("0", "a message without a start")), text("a message without a start"));
    }

    #[test]
    fn text_of_a_later_part_waits_for_the_end_of_the_earlier_one() {
        let mut events = ChunkEvents::default();
        assert_eq!(events.take(&delta("a", "1")), text("1"));
        assert_eq!(events.take(&delta("b", "3")), None);
        assert_eq!(events.take(&delta("c", "5")), None);
        assert_eq!(events.take(&bare("text-end", "b")), None);
        assert_eq!(events.take(&delta("a", "2")), text("2"));
        assert_eq!(events.take(&bare("text-end", "a")), text("35"));
        assert_eq!(events.take(&delta("b", "6")), None);
        assert_eq!(events.take(r#"{"type":"finish-step"}"#), text("6"));
        events.take(&delta("a", "7"));
        events.take(&delta("b", "8"));
        assert_eq!((events.rest(), events.rest()), (text("8"), None));
    }

    #[test]
    fn half_a_surrogate_pair_waits_for_its_other_half() {
        let mut events = ChunkEvents::default();
        assert_eq!(events.take(&delta("a", r"x\ud83d")), text("x"));
        assert_eq!(events.take(&delta("a", r"\ude00y")), text("😀y"));
        assert_eq!(events.take(&delta("a", r"\ud83d")), None);
        assert_eq!(events.take(&bare("text-end", "a")), text("\u{fffd}"));
        assert_eq!(events.take(&delta("a", r"\\ud83d")), text("\\ud83d"));
    }

    #[test]
    fn calls_of_tools_are_told_by_name() {
        let mut events = ChunkEvents::default();
        let input = r#"{"type":"tool-input-available","toolCallId":"c","toolName":"search","input":{"q":"x"}}"#;
        let args = Json::parse(r#"{"q":"x"}"#).unwrap();
        assert_eq!(events.take(input), Some(AskEvent::ToolStart { tool: "search".into(), args: args.clone() }));
        let preliminary = r#"{"type":"tool-output-available","toolCallId":"c","output":1,"preliminary":true}"#;
        assert_eq!(events.take(preliminary), None);
        for (chunk, content) in [
            (r#"{"type":"tool-output-available","toolCallId":"c","output":{"n":1}}"#, r#"{"n":1}"#),
            (r#"{"type":"tool-output-available","toolCallId":"c","output":"found"}"#, "found"),
            (r#"{"type":"tool-output-available","toolCallId":"c"}"#, "null"),
            (r#"{"type":"tool-output-error","toolCallId":"c","errorText":"no"}"#, "no"),
            (r#"{"type":"tool-output-denied","toolCallId":"c"}"#, "denied"),
        ] {
            assert_eq!(events.take(chunk), Some(AskEvent::ToolEnd { tool: "search".into(), content: content.into() }));
            assert_eq!(events.take(chunk), None, "a call ends once");
            events.take(input);
        }
        assert_eq!(events.take(r#"{"type":"tool-input-start","toolCallId":"d","toolName":"x"}"#), None);
        assert_eq!(events.take(r#"{"type":"tool-input-available","toolName":"x"}"#), None);
    }

    #[derive(Clone, Debug)]
    enum Piece {
        Start(u8),
        Delta(u8, &'static str),
        End(u8),
        EndStep,
    }

    fn any_piece() -> impl Strategy<Value = Piece> {
        let delta = prop::sample::select(vec!["a", "é", r"\n", r"\ud83d", r"\ude00", r"\\", "", r"\u0041"]);
        prop_oneof![
            1 => (0..3u8).prop_map(Piece::Start),
            5 => (0..3u8, delta).prop_map(|(id, delta)| Piece::Delta(id, delta)),
            1 => (0..3u8).prop_map(Piece::End),
            1 => Just(Piece::EndStep),
        ]
    }

    /// The parts of the message, put together without a thought of time.
    fn stored(pieces: &[Piece]) -> String {
        let (mut parts, mut open) = (Vec::<String>::new(), [None; 3]);
        for piece in pieces {
            match *piece {
                Piece::Start(id) => {
                    open[usize::from(id)] = Some(parts.len());
                    parts.push(String::new());
                }
                Piece::Delta(id, delta) => {
                    let place = *open[usize::from(id)].get_or_insert(parts.len());
                    if place == parts.len() {
                        parts.push(String::new());
                    }
                    parts[place].push_str(delta);
                }
                Piece::End(id) => open[usize::from(id)] = None,
                Piece::EndStep => open = [None; 3],
            }
        }
        let parts: Vec<_> = parts.iter().map(|text| format!(r#"{{"type":"text","text":"{text}"}}"#)).collect();
        super::super::view::text_of(&format!(r#"{{"parts":[{}]}}"#, parts.join(",")))
    }

    proptest! {
        #[test]
        fn what_is_told_is_what_is_stored(pieces in prop::collection::vec(any_piece(), 0..30)) {
            let mut events = ChunkEvents::default();
            let mut told = String::new();
            let mut hear = |event| if let Some(AskEvent::Text(text)) = event { told.push_str(&text) };
            for piece in &pieces {
                hear(events.take(&match piece {
                    Piece::Start(id) => bare("text-start", &id.to_string()),
                    Piece::Delta(id, inside) => delta(&id.to_string(), inside),
                    Piece::End(id) => bare("text-end", &id.to_string()),
                    Piece::EndStep => r#"{"type":"finish-step"}"#.to_owned(),
                }));
            }
            hear(events.rest());
            prop_assert_eq!(told, stored(&pieces));
        }
    }
}
