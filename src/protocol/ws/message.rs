//! Frames to messages: fragments put together, control frames in between, every rule of RFC 6455 sections 5 to 8 that takes more than one
//! header to judge.
//!
//! Invariants: a payload leaves the buffer as it arrives, so the decoder holds one message within its limit, one control payload
//! and what was pushed since it last asked for more; a limit is enforced on the announced length, before the bytes
//! arrive; a failure is final and so is a close frame. After [`Decoder::shrink`] between two messages it owns no
//! memory but itself: sockets idle by the thousands.

use super::deflate::{Deflate, Inflater, Sink};
use super::frame::{Header, Opcode, Role, is_close_code};
use super::text::Text;
use super::{Failure, apply_mask, invalid, protocol_error, too_big};

/// Bounds of one message.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a message, all fragments together, inflated. Full: 1009.
    pub message_bytes_max: usize,
    /// Fragments of a message. Full: 1009.
    pub fragments_max: usize,
}

/// What arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A ping: to be answered with a pong of the same payload (RFC 6455 section 5.5.2).
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// The peer closes, with code and reason if it gave any. Nothing follows (section 5.5.1).
    Close(Option<(u16, String)>),
}

/// Bytes to messages. See the module's invariants.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    limits: Limits,
    deflate: Option<Deflate>,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are done with.
    start: usize,
    /// What is arriving. Boxed, since most messages arrive whole: it is here only between two pushes of one that does not.
    open: Option<Box<Open>>,
    /// Boxed, since it is there once.
    end: Option<Box<End>>,
}

/// What has begun to arrive.
#[derive(Debug, Default)]
struct Open {
    frame: Option<OpenFrame>,
    message: Option<Message>,
    /// The payload of a control frame.
    control: Vec<u8>,
}

/// Why nothing more is read.
#[derive(Debug, Clone, Copy)]
enum End {
    Closed,
    Failed(Failure),
}

/// A frame whose payload is arriving.
#[derive(Debug)]
struct OpenFrame {
    header: Header,
    /// Bytes of payload that have arrived.
    arrived: u64,
}

/// A message whose frames are arriving.
#[derive(Debug)]
struct Message {
    content: Content,
    /// Boxed, since few connections are in the middle of a compressed message.
    inflater: Option<Box<Inflater>>,
    fragments: usize,
}

#[derive(Debug)]
enum Content {
    Text(Text, usize),
    Binary(Vec<u8>, usize),
}

/// An emptied buffer larger than this is given back.
const BUFFER_BYTES_KEPT: usize = 16 * 1024;

/// Room taken for a message on the word of a header alone. More is taken as it arrives.
const MESSAGE_BYTES_TRUSTED: usize = 64 * 1024;

impl Decoder {
    /// A decoder at the beginning of a connection, right behind the handshake.
    pub fn new(role: Role, limits: Limits, deflate: Option<Deflate>) -> Self {
        Self { role, limits, deflate, buffer: Vec::new(), start: 0, open: None, end: None }
    }

    /// Takes bytes that arrived. To stay within the limits call [`Self::next`] until it is empty before the next push.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.end.is_some() {
            return;
        }
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next event, `None` when more bytes are needed or the peer has closed. A failure is repeated for ever.
    #[allow(clippy::should_implement_trait)] // the name of the house for every decoder
    pub fn next(&mut self) -> Result<Option<Event>, Failure> {
        match self.end.as_deref() {
            Some(End::Failed(failure)) => return Err(*failure),
            Some(End::Closed) => return Ok(None),
            None if self.buffer.is_empty() => return Ok(None),
            None => {}
        }
        let mut open = self.open.take().map(|open| *open).unwrap_or_default();
        let result = self.decode(&mut open);
        match &result {
            Err(failure) => self.close(End::Failed(*failure)),
            Ok(Some(Event::Close(_))) => self.close(End::Closed),
            Ok(_) if open.is_between() => {}
            Ok(_) => self.open = Some(Box::new(open)),
        }
        result
    }

    /// Nothing more is read, and what was held is given back.
    fn close(&mut self, end: End) {
        self.end = Some(Box::new(end));
        self.open = None;
        self.release(self.buffer.len());
    }

    fn decode(&mut self, open: &mut Open) -> Result<Option<Event>, Failure> {
        loop {
            let mut frame = match open.frame.take() {
                Some(frame) => frame,
                None => match self.begin_frame(open)? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            self.take_payload(open, &mut frame)?;
            if frame.arrived < frame.header.length {
                open.frame = Some(frame);
                return Ok(None);
            }
            if let Some(event) = open.finish_frame(frame.header)? {
                return Ok(Some(event));
            }
        }
    }

    /// Reads a header and judges it against the message before it.
    fn begin_frame(&mut self, open: &mut Open) -> Result<Option<OpenFrame>, Failure> {
        let bytes = &self.buffer[self.start..];
        let Some((header, header_bytes)) = Header::decode(bytes, self.role, self.deflate.is_some())? else {
            return Ok(None);
        };
        self.release(header_bytes);
        if !header.opcode.is_control() {
            open.begin_fragment(&header, &self.limits)?;
        }
        Ok(Some(OpenFrame { header, arrived: 0 }))
    }

    /// Moves what has arrived of the payload to where it belongs.
    fn take_payload(&mut self, open: &mut Open, frame: &mut OpenFrame) -> Result<(), Failure> {
        let missing = frame.header.length - frame.arrived;
        let arrived = &mut self.buffer[self.start..];
        let part = usize::try_from(missing).unwrap_or(usize::MAX).min(arrived.len());
        let payload = &mut arrived[..part];
        if let Some(key) = frame.header.mask {
            // Only the position modulo the key's length counts.
            apply_mask(payload, key, (frame.arrived % 4) as usize);
        }
        match &mut open.message {
            Some(message) if !frame.header.opcode.is_control() => message.push(payload)?,
            _ => open.control.extend_from_slice(payload),
        }
        frame.arrived += part as u64;
        self.release(part);
        Ok(())
    }

    /// Gives the buffer back if nothing stands in it. A connection that rests keeps none; a busy one is spared the allocations.
    pub fn shrink(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
    }

    /// Marks bytes as done with. An emptied buffer starts over.
    fn release(&mut self, bytes: usize) {
        self.start += bytes;
        if self.start < self.buffer.len() {
            return;
        }
        self.start = 0;
        self.buffer.clear();
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
    }
}

impl Open {
    /// Nothing has begun.
    fn is_between(&self) -> bool {
        self.frame.is_none() && self.message.is_none()
    }

    /// RFC 6455 section 5.4: a message begins with its opcode, goes on with continuations, and is not interleaved with another.
    fn begin_fragment(&mut self, header: &Header, limits: &Limits) -> Result<(), Failure> {
        let mut message = match (self.message.take(), header.opcode) {
            (Some(_), Opcode::Continuation) if header.rsv1 => {
                // RFC 7692 section 6.1: the bit is the first frame's.
                return Err(protocol_error("reserved bit set on a continuation"));
            }
            (Some(message), Opcode::Continuation) => message,
            (None, Opcode::Continuation) => return Err(protocol_error("continuation of no message")),
            (Some(_), _) => return Err(protocol_error("new message inside a fragmented one")),
            (None, opcode) => Message::new(opcode, header.rsv1, limits.message_bytes_max),
        };
        message.announce(header.length, limits)?;
        self.message = Some(message);
        Ok(())
    }

    fn finish_frame(&mut self, header: Header) -> Result<Option<Event>, Failure> {
        if header.opcode.is_control() {
            return finish_control(header.opcode, std::mem::take(&mut self.control)).map(Some);
        }
        if !header.fin {
            return Ok(None);
        }
        self.message.take().map(Message::finish).transpose()
    }
}

fn finish_control(opcode: Opcode, payload: Vec<u8>) -> Result<Event, Failure> {
    match opcode {
        Opcode::Ping => Ok(Event::Ping(payload)),
        Opcode::Pong => Ok(Event::Pong(payload)),
        _ => finish_close(&payload).map(Event::Close),
    }
}

/// RFC 6455 section 5.5.1: nothing, or a code (section 7.4) and a reason in UTF-8.
fn finish_close(payload: &[u8]) -> Result<Option<(u16, String)>, Failure> {
    if payload.is_empty() {
        return Ok(None);
    }
    let Some((code, reason)) = payload.split_first_chunk() else {
        return Err(protocol_error("close frame with half a code"));
    };
    let code = u16::from_be_bytes(*code);
    if !is_close_code(code) {
        return Err(protocol_error("close code that must not be sent"));
    }
    let reason = std::str::from_utf8(reason).map_err(|_| invalid("close reason is not UTF-8"))?;
    Ok(Some((code, reason.to_owned())))
}

impl Message {
    fn new(opcode: Opcode, is_compressed: bool, bytes_max: usize) -> Self {
        let content = match opcode {
            Opcode::Text => Content::Text(Text::default(), bytes_max),
            _ => Content::Binary(Vec::new(), bytes_max),
        };
        Self { content, inflater: is_compressed.then(|| Box::new(Inflater::new())), fragments: 0 }
    }

    /// A frame of so many bytes of payload begins.
    fn announce(&mut self, length: u64, limits: &Limits) -> Result<(), Failure> {
        self.fragments += 1;
        if self.fragments > limits.fragments_max {
            return Err(too_big("message of too many fragments"));
        }
        let (so_far, most) = match &self.inflater {
            None => (self.content.len() as u64, limits.message_bytes_max as u64),
            Some(inflater) => (inflater.input_bytes(), compressed_bytes_max(limits.message_bytes_max)),
        };
        if length > most.saturating_sub(so_far) {
            return Err(too_big("message too big"));
        }
        if self.inflater.is_none() {
            self.content.reserve(length.min(MESSAGE_BYTES_TRUSTED as u64) as usize);
        }
        Ok(())
    }

    fn push(&mut self, payload: &[u8]) -> Result<(), Failure> {
        match &mut self.inflater {
            None => self.content.push(payload),
            Some(inflater) => inflater.push(payload, &mut self.content),
        }
    }

    fn finish(mut self) -> Result<Event, Failure> {
        if let Some(inflater) = self.inflater {
            inflater.finish(&mut self.content)?;
        }
        match self.content {
            Content::Text(text, _) => text.finish().map(Event::Text),
            Content::Binary(bytes, _) => Ok(Event::Binary(bytes)),
        }
    }
}

/// What does not compress grows a little (five bytes per stored block); beyond that it is empty blocks, which could go on
/// without ever reaching the limit on inflated bytes.
fn compressed_bytes_max(message_bytes_max: usize) -> u64 {
    let bytes = message_bytes_max as u64;
    bytes + bytes / 64 + 1024
}

impl Content {
    fn len(&self) -> usize {
        match self {
            Self::Text(text, _) => text.len(),
            Self::Binary(bytes, _) => bytes.len(),
        }
    }

    /// Takes room for a fragment: exactly for the first, since most messages have one, and amortised for more.
    fn reserve(&mut self, more: usize) {
        match self {
            Self::Text(text, _) => text.reserve(more),
            Self::Binary(bytes, _) if bytes.is_empty() => bytes.reserve_exact(more),
            Self::Binary(bytes, _) => bytes.reserve(more),
        }
    }
}

impl Sink for Content {
    /// Up to the limit; the byte that exceeds it fails, whatever it is.
    fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let so_far = self.len();
        let (Self::Text(_, bytes_max) | Self::Binary(_, bytes_max)) = self;
        let room = *bytes_max - so_far;
        let kept = &bytes[..bytes.len().min(room)];
        match self {
            Self::Text(text, _) => text.push(kept)?,
            Self::Binary(content, _) => content.extend_from_slice(kept),
        }
        if bytes.len() > room { Err(too_big("message too big")) } else { Ok(()) }
    }

    fn suffix(&self, bytes: usize) -> Vec<u8> {
        match self {
            Self::Text(text, _) => text.suffix(bytes),
            Self::Binary(content, _) => content[content.len().saturating_sub(bytes)..].to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Header of a masked binary frame of a gigabyte.
    const HUGE: [u8; 14] = [0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0];

    fn decoder() -> Decoder {
        Decoder::new(Role::Server, Limits { message_bytes_max: 1 << 30, fragments_max: 9 }, None)
    }

    #[test]
    fn memory_is_not_taken_on_the_word_of_a_header() {
        let mut decoder = decoder();
        decoder.push(&HUGE);
        assert_eq!(decoder.next(), Ok(None));
        let Some(Message { content: Content::Binary(bytes, _), .. }) = &decoder.open.as_ref().unwrap().message else {
            panic!("no message")
        };
        assert!(bytes.capacity() <= MESSAGE_BYTES_TRUSTED);
    }

    #[test]
    fn an_emptied_buffer_gives_large_memory_back() {
        let mut decoder = decoder();
        decoder.push(&[&HUGE[..], &[1; 100_000]].concat());
        assert_eq!(decoder.next(), Ok(None));
        assert_eq!(decoder.buffer.capacity(), 0);
        assert_eq!(decoder.open.unwrap().message.map(|message| message.content.len()), Some(100_000));
    }

    #[test]
    fn between_two_messages_a_decoder_that_was_shrunk_owns_nothing() {
        let mut decoder = decoder();
        let text = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
        decoder.push(&text);
        decoder.push(&text[..7]);
        assert_eq!(decoder.next(), Ok(Some(Event::Text("hi".into()))));
        assert_eq!(decoder.next(), Ok(None));
        assert!(decoder.open.is_some());
        decoder.push(&text[7..]);
        assert_eq!(decoder.next(), Ok(Some(Event::Text("hi".into()))));
        decoder.shrink();
        assert!(decoder.open.is_none() && decoder.buffer.capacity() == 0);
        decoder.push(&text[..1]);
        decoder.shrink();
        decoder.push(&text[1..]);
        assert_eq!(decoder.next(), Ok(Some(Event::Text("hi".into()))));
        assert!(size_of::<Decoder>() <= 80, "{}", size_of::<Decoder>());
    }

    #[test]
    fn a_failure_gives_everything_back() {
        let mut decoder = decoder();
        decoder.push(&[&HUGE[..], &[1; 100]].concat());
        assert_eq!(decoder.next(), Ok(None));
        decoder.push(&[0; 1000]);
        decoder.close(End::Failed(protocol_error("test")));
        assert!(decoder.open.is_none() && decoder.buffer.is_empty());
    }
}
