//! The built-in agent: it says again what its user has said, word by word, so that a newcomer and a load generator see an
//! answer stream with nothing else running.
//!
//! It is registered like any agent, with an `origin_url` of `builtin:echo`, or answers without being registered under the
//! name `echo`. Options stand behind a question mark: `chunks_per_s` (0: as fast as it can), `chunks` (so many pieces
//! instead of the words), `bytes` (of each piece then).

use std::time::{Duration, Instant};

use glommio::timer::sleep;
use serde_json::Value;

use super::outbound::Stop;
use crate::agent::Failure;

/// What the `origin_url` of a built-in agent begins with.
pub(super) const SCHEME: &str = "builtin:";

/// Pieces of one answer at the most, whatever is asked for.
const CHUNKS_MAX: usize = 100_000;
/// Bytes of all pieces at the most: they are kept while the answer runs.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of one piece at the most.
const CHUNK_BYTES_MAX: usize = 64 * 1024;
/// Pieces said before other tasks of the shard get their turn.
const CHUNKS_PER_TURN: usize = 64;

#[derive(Debug, PartialEq, Eq)]
struct Options {
    chunks_per_s: u64,
    chunks: Option<usize>,
    chunk_bytes: usize,
}

impl Options {
    /// Reads what stands behind `builtin:`.
    fn parse(text: &str) -> Option<Self> {
        let (name, query) = text.split_once('?').unwrap_or((text, ""));
        let mut options = Self { chunks_per_s: 0, chunks: None, chunk_bytes: 8 };
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match key.as_ref() {
                "chunks_per_s" => options.chunks_per_s = value.parse().ok()?,
                "chunks" => options.chunks = Some(value.parse::<usize>().ok()?.min(CHUNKS_MAX)),
                "bytes" => options.chunk_bytes = value.parse::<usize>().ok()?.min(CHUNK_BYTES_MAX),
                _ => return None,
            }
        }
        if let Some(chunks) = &mut options.chunks {
            *chunks = (*chunks).min(BYTES_MAX / options.chunk_bytes.max(1));
        }
        (name == "echo").then_some(options)
    }
}

/// What the agent says, piece by piece.
enum Pieces {
    /// So many pieces of this text.
    Same(String, usize),
    /// These.
    Words(Vec<String>),
}

impl Pieces {
    fn count(&self) -> usize {
        match self {
            Self::Same(_, count) => *count,
            Self::Words(words) => words.len(),
        }
    }

    fn at(&self, n: usize) -> &str {
        match self {
            Self::Same(text, _) => text,
            Self::Words(words) => &words[n],
        }
    }
}

/// Says the answer to a call, line by line, within `total`.
pub(super) async fn answer(
    options: &str,
    body: &[u8],
    stop: &Stop,
    total: Duration,
    mut say: impl FnMut(String),
) -> Option<Failure> {
    let began = Instant::now();
    let Some(options) = Options::parse(options) else {
        return Some(Failure::fatal("invalid_url", "there is no such built-in agent"));
    };
    let pieces = match options.chunks {
        Some(count) => Pieces::Same("x".repeat(options.chunk_bytes), count),
        None => Pieces::Words(words_of(&last_text(body))),
    };
    let pause = (options.chunks_per_s > 0).then(|| Duration::from_micros(1_000_000 / options.chunks_per_s));
    say(r#"{"type":"start"}"#.to_owned());
    say(r#"{"type":"text-start","id":"0"}"#.to_owned());
    for n in 0..pieces.count() {
        match pause {
            Some(pause) => sleep(pause).await,
            // Only a timer reaches the sockets of the shard.
            None if n % CHUNKS_PER_TURN == CHUNKS_PER_TURN - 1 => sleep(Duration::from_micros(1)).await,
            None => {}
        }
        if stop.is_stopped() {
            return Some(Failure::fatal("stopped", "the call was stopped"));
        }
        if began.elapsed() > total {
            return Some(Failure::fatal("total_timeout", "the call as a whole took too long"));
        }
        let piece = pieces.at(n);
        say(serde_json::json!({"type": "text-delta", "id": "0", "delta": piece}).to_string());
    }
    say(r#"{"type":"text-end","id":"0"}"#.to_owned());
    say(r#"{"type":"finish"}"#.to_owned());
    None
}

/// The text of the last message: its `text`, or the texts of its parts, or its content as it stands.
fn last_text(body: &[u8]) -> String {
    let call: Value = serde_json::from_slice(body).unwrap_or_default();
    let content = call["messages"].as_array().and_then(|messages| messages.last()).map(|last| &last["content"]);
    let Some(content) = content else { return String::new() };
    let parts = content["parts"].as_array().into_iter().flatten().filter_map(|part| part["text"].as_str());
    match content["text"].as_str() {
        Some(text) => text.to_owned(),
        None => Some(parts.collect::<Vec<_>>().join(" "))
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| content.to_string()),
    }
}

/// Words with the blanks behind them, so that together they are the text.
fn words_of(text: &str) -> Vec<String> {
    let mut words: Vec<String> = text.split_inclusive(char::is_whitespace).map(str::to_owned).collect();
    words.truncate(CHUNKS_MAX);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_together_are_the_text() {
        for text in ["", "Hello", "Hello,  wörld\n of words "] {
            assert_eq!(words_of(text).concat(), text);
        }
    }

    #[test]
    fn the_last_message_is_echoed_whatever_its_shape() {
        let text = |content: &str| {
            last_text(format!(r#"{{"messages":[{{"content":{{"text":"old"}}}},{{"content":{content}}}]}}"#).as_bytes())
        };
        assert_eq!(text(r#"{"text":"new"}"#), "new");
        assert_eq!(text(r#"{"parts":[{"type":"text","text":"a"},{"type":"step-start"},{"text":"b"}]}"#), "a b");
        assert_eq!(text(r#"{"n":1}"#), r#"{"n":1}"#);
        assert_eq!(last_text(b"{}"), "");
    }

    #[test]
    fn options_are_read_strictly_and_bounded() {
        let options = Options::parse("echo?chunks_per_s=20&chunks=3&bytes=5").unwrap();
        assert_eq!(options, Options { chunks_per_s: 20, chunks: Some(3), chunk_bytes: 5 });
        assert_eq!(Options::parse("echo?chunks=99999999").unwrap().chunks, Some(CHUNKS_MAX));
        assert_eq!(Options::parse("echo?chunks=99999999&bytes=65536").unwrap().chunks, Some(BYTES_MAX / 65_536));
        for text in ["parrot", "echo?rate=1", "echo?chunks=x"] {
            assert_eq!(Options::parse(text), None, "{text}");
        }
    }
}
