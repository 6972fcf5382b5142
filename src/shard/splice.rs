//! A page while it is put together: the text, its bounds, and the room that its readers need around it.
//!
//! Each message is copied once, from the log's map to its place in the answer. The text is bytes because a verified payload is the
//! JSON that was written: looking at each of them again for UTF-8 would be a second reading of megabytes.

use super::Page;
use crate::limits::PAGE_BYTES_MAX;
use storage::Record;

/// Bytes before the messages: the head of an HTTP response with the headers of the contract and a long `x-request-id`, or a
/// WebSocket frame's and a channel's. What needs more is moved once.
const ROOM_BYTES: usize = 1024;
/// Bytes behind them, for the rest of the object and the close of a channel that a join has replaced.
const TAIL_BYTES: usize = 512;

/// See the top of the file.
pub(super) struct Splice {
    page: Page,
    /// Messages that are still to come, at the most.
    left: u64,
}

impl Splice {
    /// A page of `count` messages at the most.
    pub(super) fn new(count: u64) -> Self {
        Self { page: Page { room: ROOM_BYTES, ..Page::default() }, left: count }
    }

    /// Makes room for so many bytes of messages at once.
    pub(super) fn reserve(&mut self, bytes: usize) {
        let all = ROOM_BYTES + bytes.min(PAGE_BYTES_MAX) + TAIL_BYTES;
        self.page.text.reserve_exact(all.saturating_sub(self.page.text.len()));
        self.page.text.resize(self.page.text.len().max(ROOM_BYTES), 0);
    }

    /// How long the payload of the next message may be: any, of the first.
    pub(super) fn payload_bytes_max(&self) -> usize {
        if self.page.count == 0 { usize::MAX } else { PAGE_BYTES_MAX.saturating_sub(self.bytes() + 1) }
    }

    /// Adds the next message.
    pub(super) fn push(&mut self, message: &Record<'_>) {
        if self.page.text.capacity() < self.page.text.len() + message.payload.len() + TAIL_BYTES {
            self.grow(message.payload.len());
        }
        let page = &mut self.page;
        if page.count == 0 {
            page.first_seq = message.seq;
        } else {
            page.text.push(b',');
        }
        page.text.extend_from_slice(message.payload);
        page.last_seq = message.seq;
        page.count += 1;
        self.left = self.left.saturating_sub(1);
    }

    /// The page, of a session that ends there.
    pub(super) fn end(mut self, session_last_seq: u64) -> Page {
        if self.page.count == 0 {
            return Page { has_more: session_last_seq > 0, session_last_seq, ..Page::default() };
        }
        self.page.session_last_seq = session_last_seq;
        self.page.has_more = self.page.last_seq < session_last_seq;
        self.page
    }

    fn bytes(&self) -> usize {
        self.page.text.len().saturating_sub(ROOM_BYTES)
    }

    /// Makes room for all that are left if they are as long as the ones so far, and an eighth more; the first is not believed
    /// to stand for many.
    fn grow(&mut self, next_bytes: usize) {
        const FIRST_COUNT: u64 = 64;
        let (bytes, count) = (self.bytes() as u64, self.page.count as u64);
        let (average, left) = if count == 0 {
            (next_bytes as u64 + 16, self.left.min(FIRST_COUNT))
        } else {
            (bytes.div_ceil(count), self.left)
        };
        let expected = usize::try_from(average.saturating_mul(left)).unwrap_or(usize::MAX);
        let more = expected.saturating_add(expected / 8).min(PAGE_BYTES_MAX).max(next_bytes + 1);
        self.reserve(self.bytes() + more);
    }
}
