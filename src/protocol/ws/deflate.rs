//! permessage-deflate (RFC 7692): what is negotiated, the compressor of outgoing and the inflater of incoming messages.
//!
//! No context is ever taken over in either direction: both `no_context_takeover` parameters are always agreed on. So a
//! compressed message is the same for every reader and is compressed once, and an idle connection holds no window. An inflater lives as
//! long as one message.

use super::{Failure, invalid};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// The agreed compression of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deflate {
    /// The client's window holds this power of two of bytes, 9 to 15.
    server_window_bits: u8,
    /// The client asked for that window, so the answer names it (RFC 7692 section 7.1.2.1).
    is_limited: bool,
}

/// The window of DEFLATE itself (RFC 1951).
const WINDOW_BITS_MAX: u8 = 15;
/// zlib cannot compress into the window of 8 bits that RFC 7692 also allows.
const WINDOW_BITS_MIN: u8 = 9;

impl Default for Deflate {
    fn default() -> Self {
        Self { server_window_bits: WINDOW_BITS_MAX, is_limited: false }
    }
}

impl Deflate {
    /// What an offer leads to, or `None` to decline it: unknown, repeated or invalid parameters (RFC 7692 section 7.1), or a window
    /// smaller than zlib can have.
    pub(super) fn from_offer(parameters: &[(&str, Option<&str>)]) -> Option<Self> {
        let mut deflate = Self::default();
        for (at, (name, value)) in parameters.iter().enumerate() {
            if parameters[..at].iter().any(|(other, _)| other == name) {
                return None;
            }
            match (*name, *value) {
                ("server_no_context_takeover" | "client_no_context_takeover", None) => {}
                // A hint about the client's own window (section 7.1.2.2). Ours is the largest, so it needs no answer.
                ("client_max_window_bits", None) => {}
                ("client_max_window_bits", Some(bits)) => _ = window_bits(bits)?,
                ("server_max_window_bits", Some(bits)) => {
                    let server_window_bits = window_bits(bits).filter(|&bits| bits >= WINDOW_BITS_MIN)?;
                    deflate = Self { server_window_bits, is_limited: true };
                }
                _ => return None,
            }
        }
        Some(deflate)
    }

    /// The value of `Sec-WebSocket-Extensions` in the answer.
    pub(super) fn response(self) -> String {
        let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        match self.is_limited {
            true => format!("{agreed}; server_max_window_bits={}", self.server_window_bits),
            false => agreed.to_owned(),
        }
    }

    /// Whether this client can inflate a message of so many bytes that a [`Compressor`] of the largest window made. No match reaches
    /// further back than the message is long, so a short message fits a small window. A client that cannot is sent the
    /// message uncompressed, which is always allowed (RFC 7692 section 6).
    pub fn reads(self, message_bytes: usize) -> bool {
        self.server_window_bits == WINDOW_BITS_MAX || message_bytes <= 1 << self.server_window_bits
    }
}

/// An integer from 8 to 15 without leading zeros (RFC 7692 section 7.1.2).
fn window_bits(text: &str) -> Option<u8> {
    text.parse().ok().filter(|bits| (8..=WINDOW_BITS_MAX).contains(bits) && !text.starts_with(['0', '+']))
}

/// What RFC 7692 section 7.2.1 cuts off the end of every message, and section 7.2.2 puts back: the second half of an empty stored block.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Compresses one message after the other, each on its own. One per shard is enough: it costs about 300 KiB and serves every
/// connection.
pub struct Compressor {
    raw: Compress,
    compressed: Vec<u8>,
}

/// The fastest level: the shard's thread pays for it, and on small messages the others win a byte for twice the time.
const LEVEL: Compression = Compression::fast();

/// Capacity that the compressor keeps between messages.
const COMPRESSED_BYTES_KEPT: usize = 64 * 1024;

impl Default for Compressor {
    fn default() -> Self {
        Self::new()
    }
}

impl Compressor {
    /// A compressor with the largest window, for every connection whose [`Deflate::reads`] says so.
    pub fn new() -> Self {
        Self::with_window(WINDOW_BITS_MAX)
    }

    /// A compressor with this connection's window: whatever it makes, this client reads.
    pub fn of(deflate: Deflate) -> Self {
        Self::with_window(deflate.server_window_bits)
    }

    fn with_window(bits: u8) -> Self {
        Self { raw: Compress::new_with_window_bits(LEVEL, false, bits), compressed: Vec::new() }
    }

    /// The payload of the compressed message (RFC 7692 section 7.2.1).
    pub(super) fn compress(&mut self, message: &[u8]) -> &[u8] {
        self.raw.reset();
        self.compressed.clear();
        self.compressed.shrink_to(COMPRESSED_BYTES_KEPT);
        let mut used = 0;
        loop {
            // Room for a sync flush; text shrinks to less than half.
            self.compressed.reserve((message.len() - used) / 2 + 64);
            self.raw
                .compress_vec(&message[used..], &mut self.compressed, FlushCompress::Sync)
                .expect("a compressor without a dictionary has no errors");
            used = self.raw.total_in() as usize;
            // zlib has flushed everything when it leaves room.
            if used == message.len() && self.compressed.len() < self.compressed.capacity() {
                break;
            }
        }
        debug_assert!(self.compressed.ends_with(&TAIL));
        &self.compressed[..self.compressed.len() - TAIL.len()]
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

/// Takes inflated bytes, and remembers the last of them.
pub(super) trait Sink {
    /// Adds bytes, or refuses them.
    fn push(&mut self, bytes: &[u8]) -> Result<(), Failure>;
    /// The last `bytes` bytes so far, or all.
    fn suffix(&self, bytes: usize) -> Vec<u8>;
}

/// Inflates one message.
pub(super) struct Inflater {
    raw: Decompress,
    input_bytes: u64,
}

/// Inflated bytes handed on at a time: small enough for the stack, large enough to be few calls.
const STEP_BYTES: usize = 8 * 1024;

impl Inflater {
    /// At the beginning of a message. Whatever window the client uses, the largest one can read.
    pub(super) fn new() -> Self {
        Self { raw: Decompress::new_with_window_bits(false, WINDOW_BITS_MAX), input_bytes: 0 }
    }

    /// Bytes of compressed payload so far.
    pub(super) fn input_bytes(&self) -> u64 {
        self.input_bytes
    }

    /// Inflates a part of the payload.
    pub(super) fn push(&mut self, payload: &[u8], sink: &mut impl Sink) -> Result<(), Failure> {
        self.input_bytes += payload.len() as u64;
        let mut used = 0;
        loop {
            let (status, step) = self.step(&payload[used..], sink)?;
            used += step.used;
            match status {
                // RFC 7692 section 7.2.3.4: a final block does not end the message, and what follows may refer to what came
                // before. zlib stops there, so it starts again with its window restored.
                Status::StreamEnd => self.restart(sink)?,
                Status::Ok | Status::BufError if step.is_idle() => return Ok(()),
                Status::Ok | Status::BufError => {}
            }
        }
    }

    /// Puts the tail back (RFC 7692 section 7.2.2) and makes sure that the last block is complete.
    pub(super) fn finish(mut self, sink: &mut impl Sink) -> Result<(), Failure> {
        // An empty message is one zero byte (section 7.2.3.6), but some peers send nothing at all.
        if self.input_bytes == 0 {
            return Ok(());
        }
        self.push(&TAIL, sink)?;
        // zlib does not tell whether a block is open. An empty final block is the end exactly if none is.
        let final_block = [0x01, 0x00, 0x00, 0xff, 0xff];
        match self.step(&final_block, sink)? {
            (Status::StreamEnd, Step { used: 5, produced: 0 }) => Ok(()),
            _ => Err(not_deflate()),
        }
    }

    fn step(&mut self, payload: &[u8], sink: &mut impl Sink) -> Result<(Status, Step), Failure> {
        let mut inflated = [0; STEP_BYTES];
        let (input_before, output_before) = (self.raw.total_in(), self.raw.total_out());
        let result = self.raw.decompress(payload, &mut inflated, FlushDecompress::None);
        let step = Step {
            used: (self.raw.total_in() - input_before) as usize,
            produced: (self.raw.total_out() - output_before) as usize,
        };
        // What came before an error counts first, so that the verdict does not depend on how the bytes were cut.
        sink.push(&inflated[..step.produced])?;
        Ok((result.map_err(|_| not_deflate())?, step))
    }

    fn restart(&mut self, sink: &impl Sink) -> Result<(), Failure> {
        self.raw.reset(false);
        let window = sink.suffix(1 << WINDOW_BITS_MAX);
        if !window.is_empty() {
            self.raw.set_dictionary(&window).map_err(|_| not_deflate())?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflater").field("input_bytes", &self.input_bytes).finish_non_exhaustive()
    }
}

/// What one call of zlib did.
struct Step {
    used: usize,
    produced: usize,
}

impl Step {
    fn is_idle(&self) -> bool {
        self.used == 0 && self.produced == 0
    }
}

fn not_deflate() -> Failure {
    invalid("message is not DEFLATE")
}
