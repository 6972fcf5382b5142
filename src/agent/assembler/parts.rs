//! The parts of a message, and how they are written.
//!
//! A part keeps what chunks brought as the JSON text it came as; texts grow by the insides of string literals, which may be
//! laid end to end (a surrogate pair that two deltas share comes together). `bytes` of a part is never below what it is written as, and
//! takes no time to tell.

use super::chunk::{Chunk, ChunkError};
use super::tool::Tool;
use crate::session::Json;

/// JSON text of one value.
pub(super) type Raw = Box<str>;

/// Bytes that names and punctuation take in any part but a tool's, and a little for what keeps it.
const PART_BYTES: usize = 128;
/// `{"type":"step-start"}` and its comma.
const STEP_BYTES: usize = 24;

/// One part of a message.
pub(super) enum Part {
    StepStart,
    Text(Text),
    Tool(Box<Tool>),
    Picked(Picked),
    Data(Data),
}

impl Part {
    /// At least the bytes it is written in, with a comma.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::StepStart => STEP_BYTES,
            Self::Text(text) => text.bytes(),
            Self::Tool(tool) => tool.bytes(),
            Self::Picked(picked) => PART_BYTES + picked.fields.iter().map(|(_, raw)| raw.len()).sum::<usize>(),
            Self::Data(data) => data.bytes,
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::StepStart => Object::open(out, "step-start").close(),
            Self::Text(text) => text.write(out),
            Self::Tool(tool) => tool.write(out),
            Self::Picked(picked) => picked.write(out),
            Self::Data(data) => data.write(out),
        }
    }
}

/// What streams as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Text,
    Reasoning,
}

/// A text or reasoning part.
pub(super) struct Text {
    stream: Stream,
    /// With quotes. Only reasoning shows it.
    id: Raw,
    /// The inside of the string literal.
    text: String,
    provider_metadata: Option<Raw>,
}

impl Text {
    /// The part that `chunk` opens.
    pub(super) fn new(stream: Stream, chunk: &Chunk<'_>) -> Result<Self, ChunkError> {
        let mut text = Self { stream, id: chunk.quoted("id")?.into(), text: String::new(), provider_metadata: None };
        text.note(chunk);
        Ok(text)
    }

    /// Takes the newest provider metadata.
    pub(super) fn note(&mut self, chunk: &Chunk<'_>) {
        if let Some(metadata) = chunk.value("providerMetadata") {
            self.provider_metadata = Some(metadata.into());
        }
    }

    /// Appends the inside of a string literal.
    pub(super) fn append(&mut self, inside: &str) {
        self.text.push_str(inside);
    }

    fn bytes(&self) -> usize {
        PART_BYTES + self.id.len() + self.text.len() + length(&self.provider_metadata)
    }

    /// A message is written when it has ended, so its texts are done. (The SDK's reducer leaves those without an end chunk
    /// `streaming`; the contract, 4.6, closes them.)
    fn write(&self, out: &mut Vec<u8>) {
        let mut object = match self.stream {
            Stream::Text => Object::open(out, "text"),
            Stream::Reasoning => Object::open(out, "reasoning").field("id", Some(&self.id)),
        };
        object.name("text");
        object.quoted(&[&self.text]);
        object.field("providerMetadata", self.provider_metadata.as_deref()).field("state", Some("\"done\"")).close();
    }
}

/// A part whose chunk is the part: a file, a source, something of a provider's own. Only the fields that belong to it are picked.
pub(super) struct Picked {
    kind: &'static str,
    fields: Vec<(&'static str, Raw)>,
}

impl Picked {
    /// The part of a chunk of this type; `None` for other types.
    pub(super) fn new(kind: &str, chunk: &Chunk<'_>) -> Result<Option<Self>, ChunkError> {
        let (kind, required, optional): (_, &[_], &[_]) = match kind {
            "file" => ("file", &["mediaType", "url"], &["providerMetadata"]),
            // Releases of the SDK before 7 know neither of these two; a `custom` of somebody else's has no kind.
            "reasoning-file" => ("reasoning-file", &["mediaType", "url"], &["providerMetadata"]),
            "custom" if chunk.quoted("kind").is_ok() => ("custom", &["kind"], &["providerMetadata"]),
            "source-url" => ("source-url", &["sourceId", "url"], &["title", "providerMetadata"]),
            "source-document" => {
                ("source-document", &["sourceId", "mediaType", "title"], &["filename", "providerMetadata"])
            }
            _ => return Ok(None),
        };
        let mut fields: Vec<(&'static str, Raw)> = Vec::with_capacity(required.len() + optional.len());
        for name in required {
            fields.push((name, chunk.quoted(name)?.into()));
        }
        fields.extend(optional.iter().filter_map(|name| Some((*name, chunk.value(name)?.into()))));
        Ok(Some(Self { kind, fields }))
    }

    fn write(&self, out: &mut Vec<u8>) {
        let object = Object::open(out, self.kind);
        self.fields.iter().fold(object, |object, (name, raw)| object.field(name, Some(raw))).close();
    }
}

/// A `data-*` part: all fields of its chunk.
pub(super) struct Data {
    /// Names with their quotes.
    fields: Vec<(Raw, Raw)>,
    bytes: usize,
}

impl Data {
    const VALUE_NAME: &str = "\"data\"";

    /// The part of this chunk.
    pub(super) fn new(chunk: &Chunk<'_>) -> Self {
        let mut data = Self { fields: Vec::with_capacity(chunk.fields.len()), bytes: PART_BYTES };
        for (name, raw) in &chunk.fields {
            data.push(quote(name), raw);
        }
        data
    }

    /// Takes the data of a chunk with the same type and id; its other fields stay.
    pub(super) fn replace(&mut self, chunk: &Chunk<'_>) {
        let removed = self.fields.extract_if(.., |(name, _)| &**name == Self::VALUE_NAME);
        self.bytes -= removed.map(|(name, raw)| field_bytes(&name, &raw)).sum::<usize>();
        if let Some(raw) = chunk.raw("data") {
            self.push(Self::VALUE_NAME.into(), raw);
        }
    }

    fn push(&mut self, name: Raw, raw: &str) {
        self.bytes += field_bytes(&name, raw);
        self.fields.push((name, raw.into()));
    }

    fn write(&self, out: &mut Vec<u8>) {
        for (place, (name, raw)) in self.fields.iter().enumerate() {
            out.push(if place == 0 { b'{' } else { b',' });
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            out.extend_from_slice(raw.as_bytes());
        }
        out.push(b'}');
    }
}

/// A name, its value, a colon and a comma.
fn field_bytes(name: &str, raw: &str) -> usize {
    name.len() + raw.len() + 2
}

/// Bytes of a value that may be missing.
pub(super) fn length(raw: &Option<Raw>) -> usize {
    raw.as_ref().map_or(0, |raw| raw.len())
}

/// `text` as a JSON string.
pub(super) fn quote(text: &str) -> Raw {
    serde_json::to_string(text).expect("every text is a JSON string").into()
}

/// An object that is being written, its type first.
pub(super) struct Object<'a> {
    pub(super) out: &'a mut Vec<u8>,
}

impl<'a> Object<'a> {
    /// Begins an object of this type, which needs no escapes.
    pub(super) fn open(out: &'a mut Vec<u8>, kind: &str) -> Self {
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.push(b'"');
        Self { out }
    }

    /// Appends a field if it has a value.
    pub(super) fn field(mut self, name: &str, raw: Option<&str>) -> Self {
        if let Some(raw) = raw {
            self.name(name);
            self.out.extend_from_slice(raw.as_bytes());
        }
        self
    }

    /// Appends the name of a field whose value follows.
    pub(super) fn name(&mut self, name: &str) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// Appends a string literal made of insides of string literals.
    pub(super) fn quoted(&mut self, insides: &[&str]) {
        self.out.push(b'"');
        insides.iter().for_each(|inside| self.out.extend_from_slice(inside.as_bytes()));
        self.out.push(b'"');
    }

    pub(super) fn close(self) {
        self.out.push(b'}');
    }
}

/// `{"id":..,"role":"assistant","parts":[..]}`; `id` is a JSON string.
pub(super) fn content(id: &str, parts: &[Part], bytes: usize) -> Json {
    let mut out = Vec::with_capacity(bytes);
    out.extend_from_slice(b"{\"id\":");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b",\"role\":\"assistant\",\"parts\":[");
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        part.write(&mut out);
    }
    out.extend_from_slice(b"]}");
    Json::from_rendered(out)
}
