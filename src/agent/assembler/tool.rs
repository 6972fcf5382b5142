//! A tool part: one call of a tool from the first byte of its input to its output.
//!
//! The rules are those of the AI SDK's reducer: which state a chunk leads to, which fields it sets, which it removes, and which stay once
//! they were set. Input that arrives in deltas is kept as it came and read when the message is written, so that a long input
//! costs what it is long: nobody sees the states between on a server.

use super::chunk::{Chunk, ChunkError};
use super::partial_json;
use super::parts::{Object, Raw, length};
use crate::limits::CHUNK_DEPTH_MAX;
use crate::session::Json;

/// Bytes that all names, states and punctuation of a tool part take, and what closes a partial input.
pub(super) const TOOL_BYTES: usize = 640;

/// A call of a tool.
pub(super) struct Tool {
    pub(super) is_dynamic: bool,
    /// The inside of the string literal.
    name: Raw,
    /// With quotes.
    call_id: Raw,
    state: &'static str,
    input: Input,
    input_encoding: Option<Raw>,
    /// Input that a static tool refused.
    raw_input: Option<Raw>,
    output: Option<Raw>,
    error_text: Option<Raw>,
    preliminary: Option<Raw>,
    title: Option<Raw>,
    tool_metadata: Option<Raw>,
    provider_executed: Option<Raw>,
    call_provider_metadata: Option<Raw>,
    result_provider_metadata: Option<Raw>,
    /// The whole object.
    approval: Option<Raw>,
}

enum Input {
    Missing,
    Whole(Raw),
    /// The inside of the string literal of what came so far, shown as `rawInput` as well.
    Partial {
        text: String,
        is_json: bool,
    },
}

impl Tool {
    /// A call with nothing but its name and id.
    pub(super) fn new(chunk: &Chunk<'_>, is_dynamic: bool) -> Result<Self, ChunkError> {
        Ok(Self {
            is_dynamic,
            name: chunk.text("toolName")?.into(),
            call_id: chunk.quoted("toolCallId")?.into(),
            state: "input-streaming",
            input: Input::Missing,
            input_encoding: None,
            raw_input: None,
            output: None,
            error_text: None,
            preliminary: None,
            title: None,
            tool_metadata: None,
            provider_executed: None,
            call_provider_metadata: None,
            result_provider_metadata: None,
            approval: None,
        })
    }

    /// `tool-input-start`: the input begins, anew if there was one.
    pub(super) fn start(&mut self, chunk: &Chunk<'_>) -> Result<(), ChunkError> {
        let encoding = chunk.inside("inputEncoding")?;
        self.rename(chunk)?;
        self.enter("input-streaming", chunk);
        self.input = Input::Missing;
        self.raw_input = None;
        self.input_encoding = encoding.and(chunk.value("inputEncoding")).map(Raw::from);
        Ok(())
    }

    /// `tool-input-delta`: `inside` is the inside of its string literal. Once the input is whole there is no more of it: such deltas are
    /// passed over. (The SDK's reducer would fall back to a streaming input.)
    pub(super) fn append(&mut self, inside: &str) {
        if self.state != "input-streaming" {
            return;
        }
        if let Input::Partial { text, .. } = &mut self.input {
            return text.push_str(inside);
        }
        let is_json = self.input_encoding.as_deref() != Some("\"text\"");
        self.input = Input::Partial { text: inside.to_owned(), is_json };
    }

    /// `tool-input-available`.
    pub(super) fn take_input(&mut self, chunk: &Chunk<'_>) -> Result<(), ChunkError> {
        self.rename(chunk)?;
        self.enter("input-available", chunk);
        self.set_input(chunk);
        Ok(())
    }

    /// `tool-input-error`: a static tool has no input then, and shows what came as `rawInput`.
    pub(super) fn refuse_input(&mut self, chunk: &Chunk<'_>) -> Result<(), ChunkError> {
        let error_text = chunk.quoted("errorText")?;
        self.rename(chunk)?;
        self.enter("output-error", chunk);
        self.set_input(chunk);
        if !self.is_dynamic
            && let Input::Whole(refused) = std::mem::replace(&mut self.input, Input::Missing)
        {
            self.raw_input = Some(refused);
        }
        self.error_text = Some(error_text.into());
        Ok(())
    }

    /// `tool-output-available`. An input that was not told whole counts as far as it came.
    pub(super) fn take_output(&mut self, chunk: &Chunk<'_>) {
        self.enter("output-available", chunk);
        self.end_input();
        self.raw_input = None;
        self.output = chunk.raw("output").map(Raw::from);
        self.preliminary = chunk.value("preliminary").map(Raw::from);
    }

    /// `tool-output-error`. A static tool goes on showing the input it refused.
    pub(super) fn fail(&mut self, chunk: &Chunk<'_>) -> Result<(), ChunkError> {
        let error_text = chunk.quoted("errorText")?;
        self.enter("output-error", chunk);
        if self.is_dynamic {
            self.end_input();
            self.raw_input = None;
        }
        self.error_text = Some(error_text.into());
        Ok(())
    }

    /// `tool-approval-request`.
    pub(super) fn ask_approval(&mut self, chunk: &Chunk<'_>) -> Result<(), ChunkError> {
        let mut approval = format!("{{\"id\":{}", chunk.quoted("approvalId")?);
        let optional = [
            ("descriptor", chunk.value("approvalDescriptor")),
            ("inputSchemaInput", chunk.raw("inputSchemaInput")),
            ("signature", chunk.value("signature")),
        ];
        for (name, raw) in optional.into_iter().filter_map(|(name, raw)| Some((name, raw?))) {
            approval.extend([",\"", name, "\":", raw]);
        }
        approval.push('}');
        self.approval = Some(approval.into());
        self.state = "approval-requested";
        Ok(())
    }

    /// `tool-output-denied`: the approval stays as it was asked for.
    pub(super) fn deny(&mut self) {
        self.state = "output-denied";
    }

    /// What every chunk about input or output does: fields of the state before go, fields that stay are overwritten by newer ones.
    fn enter(&mut self, state: &'static str, chunk: &Chunk<'_>) {
        self.state = state;
        self.output = None;
        self.error_text = None;
        self.preliminary = None;
        self.input_encoding = None;
        let is_result = matches!(state, "output-available" | "output-error");
        let metadata = if is_result { &mut self.result_provider_metadata } else { &mut self.call_provider_metadata };
        let sticky = [
            (metadata, "providerMetadata"),
            (&mut self.tool_metadata, "toolMetadata"),
            (&mut self.provider_executed, "providerExecuted"),
        ];
        for (field, name) in sticky {
            if let Some(raw) = chunk.value(name) {
                *field = Some(raw.into());
            }
        }
        // Only the chunks that begin or tell an input carry one.
        if let (true, Some(title)) = (matches!(state, "input-streaming" | "input-available"), chunk.value("title")) {
            self.title = Some(title.into());
        }
    }

    fn rename(&mut self, chunk: &Chunk<'_>) -> Result<(), ChunkError> {
        self.name = chunk.text("toolName")?.into();
        Ok(())
    }

    fn set_input(&mut self, chunk: &Chunk<'_>) {
        self.input = chunk.raw("input").map_or(Input::Missing, |raw| Input::Whole(raw.into()));
        self.raw_input = None;
    }

    /// A partial input becomes what it shows.
    fn end_input(&mut self) {
        if let Input::Partial { text, is_json } = &self.input {
            self.input = shown(text, *is_json).map_or(Input::Missing, Input::Whole);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let input = match &self.input {
            Input::Missing => 0,
            Input::Whole(raw) => raw.len(),
            // Written twice: as it came and as it is read, which is no longer.
            Input::Partial { text, .. } => 2 * text.len(),
        };
        let optional = [
            &self.input_encoding,
            &self.raw_input,
            &self.output,
            &self.error_text,
            &self.preliminary,
            &self.title,
            &self.tool_metadata,
            &self.provider_executed,
            &self.call_provider_metadata,
            &self.result_provider_metadata,
            &self.approval,
        ];
        TOOL_BYTES + self.name.len() + self.call_id.len() + input + optional.into_iter().map(length).sum::<usize>()
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut object = if self.is_dynamic {
            let mut object = Object::open(out, "dynamic-tool");
            object.name("toolName");
            object.quoted(&[&self.name]);
            object
        } else {
            out.extend_from_slice(b"{\"type\":");
            let mut object = Object { out };
            object.quoted(&["tool-", &self.name]);
            object
        };
        object = object.field("toolCallId", Some(&self.call_id));
        object.name("state");
        object.quoted(&[self.state]);
        object = object.field("title", self.title.as_deref()).field("toolMetadata", self.tool_metadata.as_deref());
        self.write_input(object)
            .field("output", self.output.as_deref())
            .field("errorText", self.error_text.as_deref())
            .field("preliminary", self.preliminary.as_deref())
            .field("providerExecuted", self.provider_executed.as_deref())
            .field("callProviderMetadata", self.call_provider_metadata.as_deref())
            .field("resultProviderMetadata", self.result_provider_metadata.as_deref())
            .field("approval", self.approval.as_deref())
            .close();
    }

    fn write_input<'a>(&self, object: Object<'a>) -> Object<'a> {
        let mut object = match &self.input {
            Input::Missing => object.field("rawInput", self.raw_input.as_deref()),
            Input::Whole(raw) => object.field("input", Some(raw)).field("rawInput", self.raw_input.as_deref()),
            Input::Partial { text, is_json } => {
                let mut object = object.field("input", shown(text, *is_json).as_deref());
                object.name("rawInput");
                object.quoted(&[text]);
                object
            }
        };
        object = object.field("inputEncoding", self.input_encoding.as_deref());
        object
    }
}

/// The input that the inside of a string literal shows so far. One that nests too deep shows nothing.
fn shown(inside: &str, is_json: bool) -> Option<Raw> {
    if !is_json {
        return Some(format!("\"{inside}\"").into());
    }
    // A field of a part stands as deep in a message as this leaves room for.
    let depth_max = CHUNK_DEPTH_MAX - 1;
    partial_json::complete(&partial_json::unescape(inside), depth_max).as_ref().map(Json::as_str).map(Raw::from)
}
