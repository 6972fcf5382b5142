//! The body of a streamed answer to chunk lines: JSON lines and server-sent events, told apart line by line whatever the
//! content type says (contract 4.5).
//!
//! A line that begins as a field of server-sent events does (`data:`, `event:`, `id:`, `retry:`, `:`) is one, for no JSON text
//! begins so; every other line is a chunk of its own. Invariants: lines come out in the order of the bytes, cuts between
//! pieces change nothing, every byte is looked at a bounded number of times, and no more than one line and one event of the
//! longest length are held. What a chunk means, or that it is JSON at all, is not known here.

/// What a line or an event of an answer was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The text of one chunk, trimmed, not empty. Several data lines of one event are joined by LF.
    Chunk(String),
    /// `data: [DONE]`: by convention nothing follows. Decoding goes on all the same.
    Done,
}

/// Decodes one body.
#[derive(Debug)]
pub struct AnswerDecoder {
    line_bytes_max: usize,
    /// The line that has not ended, at most `line_bytes_max` bytes.
    line: Vec<u8>,
    /// The line that has not ended is too long: its rest is skipped.
    is_skipping: bool,
    is_first_line: bool,
    event: Event,
    dropped: u64,
}

/// The data lines since the last event.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Empty,
    Data(String),
    /// One of its lines was dropped, so all of it is.
    Broken,
}

/// Buffers above this are given back after a long line: a decoder lives as long as its answer.
const KEPT_BYTES_MAX: usize = 16 * 1024;

impl AnswerDecoder {
    /// A decoder that drops lines and events longer than `line_bytes_max` bytes.
    pub fn new(line_bytes_max: usize) -> Self {
        Self {
            line_bytes_max,
            line: Vec::new(),
            is_skipping: false,
            is_first_line: true,
            event: Event::Empty,
            dropped: 0,
        }
    }

    /// Takes the next bytes and appends what they complete to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<Line>) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.complete_line(&rest[..end], out);
            rest = &rest[end + 1..];
        }
        self.keep(rest);
    }

    /// The body has ended: its last line and event need no end of their own. (The standard drops an event without an empty
    /// line behind it; an agent that forgot it meant what it sent.)
    pub fn finish(&mut self, out: &mut Vec<Line>) {
        self.complete_line(&[], out);
        self.end_event(out);
    }

    /// Lines and events dropped so far: too long, or not UTF-8.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Appends a part of the line that has not ended.
    fn keep(&mut self, part: &[u8]) {
        if self.is_skipping {
            return;
        }
        let room = self.line_bytes_max - self.line.len();
        self.line.extend_from_slice(&part[..part.len().min(room)]);
        if part.len() > room {
            self.is_skipping = true;
            self.drop_line(is_data(&self.line));
            self.line = Vec::new();
        }
    }

    /// Ends a line whose last part is `part`.
    fn complete_line(&mut self, part: &[u8], out: &mut Vec<Line>) {
        // A line that came in one piece is read where it stands.
        if self.line.is_empty() && !self.is_skipping && part.len() <= self.line_bytes_max {
            return self.end_line(part, out);
        }
        self.keep(part);
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.is_skipping) {
            self.is_first_line = false;
            return;
        }
        self.end_line(&line, out);
        line.clear();
        if line.capacity() <= KEPT_BYTES_MAX {
            self.line = line;
        }
    }

    fn end_line(&mut self, line: &[u8], out: &mut Vec<Line>) {
        let is_first_line = std::mem::take(&mut self.is_first_line);
        let Ok(text) = std::str::from_utf8(line) else { return self.drop_line(is_data(line)) };
        let text = if is_first_line { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.trim().is_empty() {
            return self.end_event(out);
        }
        match field(text.trim_start()) {
            Some(("data", value)) => self.push_data(value, out),
            Some(_) => {}
            None => {
                self.end_event(out);
                out.push(Line::Chunk(text.trim().to_owned()));
            }
        }
    }

    fn push_data(&mut self, value: &str, out: &mut Vec<Line>) {
        if value.trim() == "[DONE]" {
            self.end_event(out);
            return out.push(Line::Done);
        }
        if matches!(&self.event, Event::Data(data) if cannot_continue(data, value)) {
            self.end_event(out);
        }
        match &mut self.event {
            Event::Empty => self.event = Event::Data(value.to_owned()),
            Event::Data(data) if data.len() + 1 + value.len() <= self.line_bytes_max => {
                data.push('\n');
                data.push_str(value);
            }
            Event::Data(_) => self.drop_line(true),
            Event::Broken => {}
        }
    }

    fn end_event(&mut self, out: &mut Vec<Line>) {
        if let Event::Data(data) = std::mem::replace(&mut self.event, Event::Empty)
            && !data.trim().is_empty()
        {
            out.push(Line::Chunk(data.trim().to_owned()));
        }
    }

    /// Counts a line that cannot be given, together with the event it belongs to.
    fn drop_line(&mut self, is_data: bool) {
        let is_counted = is_data && self.event == Event::Broken;
        self.dropped += u64::from(!is_counted);
        if is_data {
            self.event = Event::Broken;
        }
    }
}

/// Agents that end events with one line end instead of two are understood: an object that ends and one that begins with nothing between
/// them are never one JSON text, so these data lines are two events.
fn cannot_continue(data: &str, value: &str) -> bool {
    data.trim_end().ends_with('}') && value.trim_start().starts_with('{')
}

/// Name and value of a field of server-sent events (WHATWG HTML, section 9.2.6); the name of a comment is empty.
fn field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':').unwrap_or((line.trim_end(), ""));
    let value = value.strip_prefix(' ').unwrap_or(value);
    matches!(name, "" | "data" | "event" | "id" | "retry").then_some((name, value))
}

/// Whether a line that cannot be read is a data line all the same.
fn is_data(line: &[u8]) -> bool {
    line.trim_ascii_start().starts_with(b"data:")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::sse;
    use proptest::prelude::*;

    const LINE_BYTES_MAX: usize = 40;

    fn decoded<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Line>, u64) {
        let mut decoder = AnswerDecoder::new(LINE_BYTES_MAX);
        let mut lines = Vec::new();
        pieces.into_iter().for_each(|piece| decoder.push(piece, &mut lines));
        decoder.finish(&mut lines);
        (lines, decoder.dropped())
    }

    fn chunk(text: &str) -> Line {
        Line::Chunk(text.to_owned())
    }

    /// Checks `body` whole, byte by byte and with more lines behind it, which are found.
    #[track_caller]
    fn assert_lines(body: impl AsRef<[u8]>, expected: &[Line], dropped: u64) {
        let body = body.as_ref();
        assert_eq!(decoded([body]), (expected.to_vec(), dropped), "whole");
        assert_eq!(decoded(body.chunks(1)), (expected.to_vec(), dropped), "byte by byte");
        let trailing = [body, b"\n\n{\"more\":1}\ndata: {\"more\":2}\n\n"].concat();
        let more = [expected, &[chunk("{\"more\":1}"), chunk("{\"more\":2}")]].concat();
        assert_eq!(decoded([&trailing[..]]), (more.clone(), dropped), "with trailing bytes");
        assert_eq!(decoded(trailing.chunks(1)), (more, dropped), "with trailing bytes, byte by byte");
    }

    #[test]
    fn json_lines_are_trimmed_and_blank_ones_skipped() {
        assert_lines(
            "{\"a\":1}\n  {\"b\":2}\t\r\n\n \r\n{\"c\":3}",
            &["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"].map(chunk),
            0,
        );
        assert_lines("", &[], 0);
        assert_lines("\n\r\n", &[], 0);
    }

    #[test]
    fn events_are_chunks_and_done_is_told() {
        let body = ": hi\nevent: x\nid: 7\nretry: 5\ndata: {\"a\":1}\n\ndata:{\"b\":2}\r\n\r\ndata: [DONE]\n\n";
        assert_lines(body, &[chunk("{\"a\":1}"), chunk("{\"b\":2}"), Line::Done], 0);
    }

    #[test]
    fn data_lines_of_one_event_are_joined() {
        assert_lines("data: {\"a\":\ndata:   1}\n\n", &[chunk("{\"a\":\n  1}")], 0);
        assert_lines("data\ndata: x\ndata:\n\n", &[chunk("x")], 0);
        assert_lines("data:\n\ndata\n\n", &[], 0);
    }

    #[test]
    fn objects_on_data_lines_without_an_empty_line_between_them_are_events_of_their_own() {
        assert_lines("data: {}\ndata: {\"b\":2}\ndata: [DONE]\n", &[chunk("{}"), chunk("{\"b\":2}"), Line::Done], 0);
        assert_lines("data: [{}\ndata: ,{}]\n\n", &[chunk("[{}\n,{}]")], 0);
    }

    #[test]
    fn both_forms_may_alternate() {
        assert_lines("{\"a\":1}\ndata: {\"b\":2}\n{\"c\":3}\n", &["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"].map(chunk), 0);
    }

    #[test]
    fn the_last_line_and_event_need_no_end() {
        assert_lines("data: {\"a\":1}", &[chunk("{\"a\":1}")], 0);
        assert_lines("data: {\"a\":1}\n", &[chunk("{\"a\":1}")], 0);
        assert_lines("{\"a\":1}\r", &[chunk("{\"a\":1}")], 0);
    }

    #[test]
    fn a_byte_order_mark_is_skipped_at_the_start_only() {
        assert_lines("\u{feff}data: {}\n\n", &[chunk("{}")], 0);
        assert_lines("\u{feff}{}\n\u{feff}{}\n", &[chunk("{}"), chunk("\u{feff}{}")], 0);
    }

    #[test]
    fn a_line_that_is_too_long_is_dropped_whole_and_decoding_goes_on() {
        let fits = "x".repeat(LINE_BYTES_MAX);
        assert_lines(format!("{fits}\n{{}}"), &[chunk(&fits), chunk("{}")], 0);
        assert_lines(format!("{fits}x\n{{}}"), &[chunk("{}")], 1);
        assert_lines(format!("{fits}{fits}{fits}"), &[], 1);
        assert_lines(format!("data: {fits}\ndata: tail\n\ndata: {{}}\n\n"), &[chunk("{}")], 1);
        assert_lines(format!("data: tail\ndata: {fits}\n\ndata: {{}}\n\n"), &[chunk("{}")], 1);
    }

    #[test]
    fn an_event_that_is_too_long_is_dropped_whole() {
        let half = "x".repeat(LINE_BYTES_MAX / 2);
        let event = format!("data: {half}\ndata: {half}\ndata: {half}\n\n");
        assert_lines(format!("{event}data: {{}}\n\n"), &[chunk("{}")], 1);
    }

    #[test]
    fn a_line_that_is_not_utf8_is_dropped_with_its_event() {
        assert_lines(b"{\"a\":\"\xff\"}\n{}\n", &[chunk("{}")], 1);
        assert_lines(b"data: a\ndata: \xff\ndata: \xff\n\ndata: {}\n\n", &[chunk("{}")], 1);
        assert_lines("{\"a\":\"\u{1f600}\"}\n", &[chunk("{\"a\":\"\u{1f600}\"}")], 0);
    }

    #[test]
    fn a_long_line_does_not_keep_its_buffer() {
        let mut decoder = AnswerDecoder::new(1024 * 1024);
        let mut lines = Vec::new();
        for _ in 0..100_000 {
            decoder.push(b"0123456789", &mut lines);
        }
        decoder.push(b"\n", &mut lines);
        assert!(matches!(&lines[..], [Line::Chunk(text)] if text.len() == 1_000_000));
        assert!(decoder.line.capacity() <= KEPT_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn events_that_our_encoder_wrote_are_read_back(
            events in proptest::collection::vec((proptest::option::of("[a-z]{1,4}"), "[a-c{:][a-c{ :\r\n]{0,10}"), 0..6),
            cut in 1usize..7,
        ) {
            let mut body = Vec::new();
            for (name, data) in &events {
                sse::encode_event(&mut body, Some("1"), name.as_deref(), data).expect("valid fields");
                sse::encode_comment(&mut body, "alive");
            }
            let text = |data: &str| data.replace("\r\n", "\n").replace('\r', "\n").trim().to_owned();
            let expected: Vec<Line> = events.iter().map(|(_, data)| Line::Chunk(text(data))).collect();
            prop_assert_eq!(decoded(body.chunks(cut)), (expected, 0));
        }

        #[test]
        fn cuts_change_nothing(body in "([a-c{}: \r\n]|data: |\\[DONE\\]|é){0,80}", cut in 1usize..9) {
            prop_assert_eq!(decoded(body.as_bytes().chunks(cut)), decoded([body.as_bytes()]));
        }
    }
}
