//! Chunks of an answer to one `assistant` message, by the rules of the AI SDK's client reducer (contract 4.6, right-hand column).
//!
//! Invariants: parts stand in the order in which they were begun; nothing that chunks brought is changed on the way (numbers, nulls,
//! escapes are spliced as they came); a chunk is taken whole or not at all; what is held, and so what is written, stays below the
//! bounds; a chunk costs what it is long, however many came before. Where the reducer throws, so that its stream would end, this
//! one goes on: the comments say how. Nothing here knows who is shown a chunk, or when a message is stored.

mod calls;
mod chunk;
mod metadata;
mod partial_json;
mod parts;
#[cfg(test)]
mod tests;
mod tool;

pub use chunk::ChunkError;

use super::usage::{Usage, usage_of};
use crate::limits::{ANSWER_BYTES_MAX, ANSWER_METADATA_BYTES_MAX, ANSWER_PARTS_MAX};
use crate::session::Json;
use chunk::Chunk;
use parts::{Part, Picked, Raw, Stream, Text};
use std::collections::BTreeMap;
use tool::TOOL_BYTES;

/// What became of a chunk. It is valid JSON and may be shown in every case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It belongs to the message, or to no message at all: nothing else happened.
    Passed,
    /// The message is complete; a new one begins with the next chunk.
    Ended(Answer),
    /// The agent reports that it failed. What it said before can still be ended by [`Assembler::abort`].
    Failed {
        /// Its `errorText`; the JSON of it if it is no text.
        text: String,
    },
}

/// How a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Termination {
    /// By a `finish` chunk.
    Finish,
    /// By an `abort` chunk, or before its agent had finished.
    Abort,
}

impl Termination {
    /// As it stands in the metadata of a message.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finish => "finish",
            Self::Abort => "abort",
        }
    }
}

/// A complete message as it is stored (contract 4.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `{"id":..,"role":"assistant","parts":[..]}`
    pub content: Json,
    /// The merged metadata with `termination` and, if a chunk ended the message, `_finish_chunk`. Together with `content` at most
    /// [`ANSWER_BYTES_MAX`] bytes.
    pub metadata: Json,
    /// The tokens that the agent has named.
    pub usage: Option<Usage>,
    /// How it ended.
    pub termination: Termination,
}

/// Bytes of a message around its id, parts and metadata.
const ENVELOPE_BYTES: usize = 128;

/// Assembles the messages of one answer, one after the other.
pub struct Assembler {
    /// The id of messages that bring none.
    default_id: String,
    messages: u64,
    message: Message,
}

/// How much there is, not what: answers stay out of logs.
impl std::fmt::Debug for Assembler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assembler")
            .field("messages", &self.messages)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// The message that is being assembled.
#[derive(Default)]
struct Message {
    /// A JSON string.
    id: Option<Raw>,
    metadata: Option<String>,
    parts: Vec<Part>,
    /// Sum over the parts.
    parts_bytes: usize,
    /// A part holds something.
    has_content: bool,
    /// The first part behind the last `step-start`.
    step: usize,
    /// Open texts and open reasoning by chunk id: two name spaces. Each has a part, so [`ANSWER_PARTS_MAX`] bounds them.
    open_texts: BTreeMap<Box<str>, usize>,
    open_reasoning: BTreeMap<Box<str>, usize>,
    /// Tool parts by call id, in the order of parts: an agent may use an id again in another step.
    calls: BTreeMap<Box<str>, Vec<usize>>,
    /// The part whose input the deltas of a call go to: that of its latest `tool-input-start`.
    inputs: BTreeMap<Box<str>, usize>,
    /// Data parts by type and id.
    data: BTreeMap<(Box<str>, Box<str>), usize>,
}

impl Assembler {
    /// An assembler with nothing taken. `id` is the id of a message when no chunk gives one; later messages of the same answer get
    /// `id-2`, `id-3` and so on.
    pub fn new(id: String) -> Self {
        Self { default_id: id, messages: 1, message: Message::default() }
    }

    /// Takes one chunk.
    ///
    /// # Errors
    /// [`ChunkError`]: the chunk is not to be shown, and nothing has changed.
    pub fn push(&mut self, chunk: &Json) -> Result<Taken, ChunkError> {
        let fields = Chunk::read(chunk)?;
        let kind = fields.kind()?;
        self.check_room(&kind, &fields, chunk.as_str().len())?;
        match &*kind {
            "finish" => self.finish(Termination::Finish, chunk, &fields).map(Taken::Ended),
            "abort" => self.finish(Termination::Abort, chunk, &fields).map(Taken::Ended),
            "error" => Ok(Taken::Failed { text: error_text(&fields) }),
            kind => self.message.take(kind, &fields).map(|()| Taken::Passed),
        }
    }

    /// Ends the message early with what there is, and begins the next. `None` if nothing was produced: there is no part, or
    /// only steps and texts without a character.
    pub fn abort(&mut self) -> Option<Answer> {
        let is_empty = self.is_empty();
        let answer = self.answer(Termination::Abort, None, self.message.metadata.as_deref().unwrap_or("{}"));
        self.message = Message::default();
        self.messages += 1;
        (!is_empty).then_some(answer)
    }

    /// Whether nothing was produced since the last message.
    pub fn is_empty(&self) -> bool {
        !self.message.has_content
    }

    /// Bytes of what it holds, at least those in which the message would be written now.
    pub fn bytes(&self) -> usize {
        let message = &self.message;
        let id_bytes = message.id.as_ref().map_or(6 * self.default_id.len() + 24, |id| id.len());
        ENVELOPE_BYTES + id_bytes + message.metadata.as_ref().map_or(0, String::len) + message.parts_bytes
    }

    /// Refuses a chunk that could make the message too large. It may be a little too strict: what a chunk replaces is not counted
    /// out.
    fn check_room(&self, kind: &str, chunk: &Chunk<'_>, chunk_bytes: usize) -> Result<(), ChunkError> {
        let growth = match kind {
            "error" => return Ok(()),
            _ if is_transient(kind, chunk) => return Ok(()),
            // Written as it came and as it is read; merged and within its chunk.
            "tool-input-delta" | "finish" | "abort" => 2 * chunk_bytes,
            _ => chunk_bytes,
        };
        if self.bytes() + growth + TOOL_BYTES > ANSWER_BYTES_MAX {
            return Err(ChunkError::TooLarge { what: "bytes", max: ANSWER_BYTES_MAX });
        }
        Ok(())
    }

    /// Ends the message. Metadata that is not an object is passed over: to drop the chunk would lose the end.
    fn finish(&mut self, termination: Termination, raw: &Json, chunk: &Chunk<'_>) -> Result<Answer, ChunkError> {
        let merged = self.message.merged(chunk.value("messageMetadata").filter(|raw| raw.starts_with('{')))?;
        let answer = self.answer(termination, Some(raw.as_str()), merged.as_deref().unwrap_or("{}"));
        self.message = Message::default();
        self.messages += 1;
        Ok(answer)
    }

    fn answer(&self, termination: Termination, finish_chunk: Option<&str>, metadata: &str) -> Answer {
        let content = parts::content(&self.id(), &self.message.parts, self.bytes());
        let usage = usage_of(metadata, finish_chunk); // before the names that are the server's are taken away
        let metadata = metadata::stored(metadata, &format!("\"{}\"", termination.as_str()), finish_chunk);
        Answer { content, metadata: Json::from_rendered(metadata.into_bytes()), usage, termination }
    }

    /// The message's id as a JSON string.
    fn id(&self) -> Raw {
        if let Some(id) = &self.message.id {
            return id.clone();
        }
        match self.messages {
            1 => parts::quote(&self.default_id),
            later => parts::quote(&format!("{}-{later}", self.default_id)),
        }
    }
}

impl Message {
    /// Takes a chunk that does not end the message. Unknown types, and chunks without the id that they need, leave nothing.
    fn take(&mut self, kind: &str, chunk: &Chunk<'_>) -> Result<(), ChunkError> {
        match kind {
            "start" => self.start(chunk),
            "message-metadata" => self.merge_metadata(chunk),
            "start-step" => self.start_step(),
            "finish-step" => {
                self.open_texts.clear();
                self.open_reasoning.clear();
                Ok(())
            }
            "text-start" => self.open_text(Stream::Text, chunk),
            "text-delta" => self.append_text(Stream::Text, chunk),
            "text-end" => self.close_text(Stream::Text, chunk),
            "reasoning-start" => self.open_text(Stream::Reasoning, chunk),
            "reasoning-delta" => self.append_text(Stream::Reasoning, chunk),
            "reasoning-end" => self.close_text(Stream::Reasoning, chunk),
            "file" | "reasoning-file" | "source-url" | "source-document" | "custom" => {
                match Picked::new(kind, chunk)? {
                    Some(picked) => self.add_content(Part::Picked(picked)).map(drop),
                    None => Ok(()),
                }
            }
            _ if kind.starts_with("tool-") => self.take_tool(kind, chunk),
            _ if is_transient(kind, chunk) => Ok(()),
            _ if kind.starts_with("data-") => self.take_data(kind, chunk),
            _ => Ok(()),
        }
    }

    /// Takes over id and metadata. A second start within a message changes both and keeps the parts, for merged streams have
    /// one each; only a client that resumes begins anew.
    fn start(&mut self, chunk: &Chunk<'_>) -> Result<(), ChunkError> {
        let id = chunk.inside("messageId")?.and(chunk.value("messageId"));
        self.merge_metadata(chunk)?;
        if let Some(id) = id {
            self.id = Some(id.into());
        }
        Ok(())
    }

    fn merge_metadata(&mut self, chunk: &Chunk<'_>) -> Result<(), ChunkError> {
        let over = chunk.value("messageMetadata");
        if over.is_some_and(|over| !over.starts_with('{')) {
            return Err(ChunkError::Invalid("messageMetadata"));
        }
        self.metadata = self.merged(over)?;
        Ok(())
    }

    /// The metadata with `over` merged into it.
    fn merged(&mut self, over: Option<&str>) -> Result<Option<String>, ChunkError> {
        let Some(over) = over else { return Ok(self.metadata.take()) };
        let kept_bytes = self.metadata.as_ref().map_or(0, String::len);
        if kept_bytes + over.len() > ANSWER_METADATA_BYTES_MAX {
            return Err(ChunkError::TooLarge { what: "bytes of metadata", max: ANSWER_METADATA_BYTES_MAX });
        }
        Ok(Some(self.metadata.take().map_or_else(|| over.to_owned(), |base| metadata::merge(&base, over))))
    }

    fn start_step(&mut self) -> Result<(), ChunkError> {
        self.add(Part::StepStart)?;
        self.step = self.parts.len();
        Ok(())
    }

    /// Opens a part. An open one with the same id stays as it is and gets no more.
    fn open_text(&mut self, stream: Stream, chunk: &Chunk<'_>) -> Result<(), ChunkError> {
        let Some(id) = chunk.id("id")? else { return Ok(()) };
        let place = self.add(Part::Text(Text::new(stream, chunk)?))?;
        self.open(stream).insert(id.into(), place);
        Ok(())
    }

    /// Appends to an open part. Without a start the delta opens one itself, where the reducer throws.
    fn append_text(&mut self, stream: Stream, chunk: &Chunk<'_>) -> Result<(), ChunkError> {
        let Some(id) = chunk.id("id")? else { return Ok(()) };
        let delta = chunk.text("delta")?;
        if !self.open(stream).contains_key(&*id) {
            self.open_text(stream, chunk)?;
        }
        self.has_content |= !delta.is_empty();
        self.change_text(stream, &id, |text| {
            text.append(delta);
            text.note(chunk);
        });
        Ok(())
    }

    /// Closes a part. An end without a start is passed over, where the reducer throws.
    fn close_text(&mut self, stream: Stream, chunk: &Chunk<'_>) -> Result<(), ChunkError> {
        let Some(id) = chunk.id("id")? else { return Ok(()) };
        self.change_text(stream, &id, |text| text.note(chunk));
        self.open(stream).remove(&*id);
        Ok(())
    }

    fn open(&mut self, stream: Stream) -> &mut BTreeMap<Box<str>, usize> {
        match stream {
            Stream::Text => &mut self.open_texts,
            Stream::Reasoning => &mut self.open_reasoning,
        }
    }

    fn change_text(&mut self, stream: Stream, id: &str, change: impl FnOnce(&mut Text)) {
        if let Some(place) = self.open(stream).get(id).copied() {
            self.change(place, |part| {
                if let Part::Text(text) = part {
                    change(text);
                }
            });
        }
    }

    /// Changes a part. Every change goes through here or [`add`](Self::add), which keep the sum.
    fn change<T>(&mut self, place: usize, change: impl FnOnce(&mut Part) -> T) -> T {
        let part = &mut self.parts[place];
        let before = part.bytes();
        let result = change(part);
        self.parts_bytes = self.parts_bytes - before + part.bytes();
        result
    }

    /// Appends a part that holds something.
    fn add_content(&mut self, part: Part) -> Result<usize, ChunkError> {
        let place = self.add(part)?;
        self.has_content = true;
        Ok(place)
    }

    /// Appends a part; its place.
    fn add(&mut self, part: Part) -> Result<usize, ChunkError> {
        if self.parts.len() >= ANSWER_PARTS_MAX {
            return Err(ChunkError::TooLarge { what: "parts", max: ANSWER_PARTS_MAX });
        }
        self.parts_bytes += part.bytes();
        self.parts.push(part);
        Ok(self.parts.len() - 1)
    }
}

/// Whether it is data that is shown and not kept.
fn is_transient(kind: &str, chunk: &Chunk<'_>) -> bool {
    kind.starts_with("data-") && chunk.is("transient")
}

/// `metadata`, a message's, without what stands under these names.
pub fn without(metadata: &Json, names: &[&str]) -> Json {
    Json::from_rendered(metadata::without(metadata.as_str(), names).into_bytes())
}

/// The text of an `error` chunk. An agent that says it badly has failed all the same.
fn error_text(chunk: &Chunk<'_>) -> String {
    let raw = chunk.value("errorText").unwrap_or("\"\"");
    serde_json::from_str(raw).unwrap_or_else(|_| raw.to_owned())
}
