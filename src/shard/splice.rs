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

#[cfg(test)]
mod tests {
    use super::*;
    use storage::{Key, Kind, Lsn};

    fn message(seq: u64, payload: &[u8]) -> Record<'_> {
        let (lsn, prev, durable) = (Lsn::new(1, 4096), Lsn::NONE, Lsn::NONE);
        Record { lsn, kind: Kind(1), flags: 0, key: Key(1), seq, prev, time_us: 0, durable, meta: &[], payload }
    }

    #[test]
    fn a_page_of_even_messages_is_not_moved_more_than_twice_and_keeps_room_at_both_ends() {
        let mut splice = Splice::new(10_000);
        let (mut moves, mut capacity) = (0, 0);
        for seq in 1..=10_000 {
            splice.push(&message(seq, &[b'x'; 400]));
            moves += usize::from(splice.page.text.capacity() != capacity);
            capacity = splice.page.text.capacity();
        }
        assert_eq!(moves, 2, "once for the first, once for all that are left");
        let page = splice.end(10_000);
        assert!(capacity - page.text.len() >= TAIL_BYTES && page.room == ROOM_BYTES);
        assert_eq!((page.first_seq, page.last_seq, page.count, page.has_more), (1, 10_000, 10_000, false));
        assert_eq!(page.into_messages().len(), 10_000 * 401 - 1);
    }

    #[test]
    fn the_first_message_of_a_page_may_be_of_any_length_and_the_others_fill_it_to_the_byte() {
        let mut splice = Splice::new(3);
        assert_eq!(splice.payload_bytes_max(), usize::MAX);
        splice.push(&message(1, &[b'x'; 100]));
        assert_eq!(splice.payload_bytes_max(), PAGE_BYTES_MAX - 101, "the comma counts");
        splice.push(&message(2, &vec![b'x'; PAGE_BYTES_MAX - 101]));
        assert_eq!((splice.bytes(), splice.payload_bytes_max()), (PAGE_BYTES_MAX, 0));
    }
}
