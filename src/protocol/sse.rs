//! Server-sent events to bytes (WHATWG HTML, section 9.2).
//!
//! An event is a block of `field: value` lines ended by an empty line. No text given here can end a line or a block early:
//! data is cut into lines, everything else that holds a line end is refused.

/// A text that cannot stand in one line of a stream: it holds a line end, or is an `id` with a NUL (clients would ignore
/// that id, section 9.2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} of a server-sent event holds a line end or NUL")]
pub struct InvalidField {
    /// `id` or `event`.
    pub field: &'static str,
}

/// Appends one event to `out`. `data` may have any number of lines; CR, LF and CRLF each end one, and the client joins them
/// by LF. An event with empty data is dispatched with empty data.
///
/// # Errors
/// [`InvalidField`] when `id` or `event` would break out of its line; `out` is then unchanged.
pub fn encode_event(out: &mut Vec<u8>, id: Option<&str>, event: Option<&str>, data: &str) -> Result<(), InvalidField> {
    check("id", id)?;
    check("event", event)?;
    for (name, value) in [("id", id), ("event", event)] {
        if let Some(value) = value {
            encode_line(out, name, value);
        }
    }
    for line in lines(data) {
        encode_line(out, "data", line);
    }
    out.push(b'\n');
    Ok(())
}

/// Appends a comment, which clients ignore: it keeps intermediaries from closing a silent connection. A comment of several
/// lines stays a comment on each.
pub fn encode_comment(out: &mut Vec<u8>, text: &str) {
    for line in lines(text) {
        encode_line(out, "", line);
    }
    out.push(b'\n');
}

/// Appends the time clients wait before they reconnect, in milliseconds.
pub fn encode_retry(out: &mut Vec<u8>, delay_ms: u64) {
    encode_line(out, "retry", itoa::Buffer::new().format(delay_ms));
    out.push(b'\n');
}

fn check(field: &'static str, value: Option<&str>) -> Result<(), InvalidField> {
    let is_broken = value.is_some_and(|value| value.contains(['\r', '\n', '\0']));
    if is_broken { Err(InvalidField { field }) } else { Ok(()) }
}

/// The blank behind the colon is not part of the value, and protects a value that begins with one.
fn encode_line(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

/// Lines as a client splits them: at CRLF, LF or CR. There is always at least one.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\r', '\n']) else {
            rest = None;
            return Some(text);
        };
        let break_bytes = if text[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = Some(&text[end + break_bytes..]);
        Some(&text[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a client makes of a stream (section 9.2.6): events as (last id, type, data).
    fn received(stream: &str) -> Vec<(String, String, String)> {
        let (mut id, mut event, mut data, mut events) = (String::new(), String::new(), None::<String>, Vec::new());
        for line in lines(stream) {
            if line.is_empty() {
                if let Some(data) = data.take() {
                    events.push((id.clone(), std::mem::take(&mut event), data));
                }
                event.clear();
                continue;
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "id" => id = value.to_owned(),
                "event" => event = value.to_owned(),
                "data" => data = Some(data.map_or(value.to_owned(), |before| format!("{before}\n{value}"))),
                _ => {}
            }
        }
        events
    }

    fn encoded(id: Option<&str>, event: Option<&str>, data: &str) -> String {
        let mut out = Vec::new();
        encode_event(&mut out, id, event, data).expect("valid fields");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn an_event_has_its_fields_one_per_line_and_ends_with_an_empty_line() {
        assert_eq!(encoded(Some("7"), Some("chunk"), "a\nb"), "id: 7\nevent: chunk\ndata: a\ndata: b\n\n");
        assert_eq!(encoded(None, None, ""), "data: \n\n");
        assert_eq!(encoded(None, None, " x"), "data:  x\n\n");
    }

    #[test]
    fn every_kind_of_line_end_in_data_starts_a_new_data_line() {
        assert_eq!(encoded(None, None, "a\rb\r\nc\n"), "data: a\ndata: b\ndata: c\ndata: \n\n");
        assert_eq!(encoded(None, None, "a\n\nid: 9"), "data: a\ndata: \ndata: id: 9\n\n");
    }

    #[test]
    fn an_id_or_event_that_would_break_its_line_is_refused_and_nothing_is_written() {
        for broken in ["a\nb", "a\rb", "\n", "a\0"] {
            let mut out = b"before".to_vec();
            assert_eq!(encode_event(&mut out, Some(broken), None, ""), Err(InvalidField { field: "id" }));
            assert_eq!(encode_event(&mut out, Some("1"), Some(broken), ""), Err(InvalidField { field: "event" }));
            assert_eq!(out, b"before");
        }
    }

    #[test]
    fn comments_and_retry_dispatch_no_event() {
        let mut out = Vec::new();
        encode_comment(&mut out, "keep\ndata: alive");
        encode_retry(&mut out, 1500);
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text, ": keep\n: data: alive\n\nretry: 1500\n\n");
        assert_eq!(received(&text), []);
    }

    proptest! {
        #[test]
        fn a_client_receives_what_was_encoded(id in "[^\r\n\0]{0,8}", event in "[^\r\n\0]{0,8}", data in "[a-c :\r\n]{0,24}") {
            let expected = data.replace("\r\n", "\n").replace('\r', "\n");
            let stream = encoded(Some(&id), Some(&event), &data).repeat(2);
            prop_assert_eq!(received(&stream), vec![(id, event, expected); 2]);
        }
    }
}
