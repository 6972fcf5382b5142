//! How results look to people, and line by line to programs.

use serde_json::Value;
use std::io::{self, Write};

/// Whether the error is that nobody reads the output any more.
pub(super) fn is_closed(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// A line of output, at once.
pub(super) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush())
}

/// Output without the end of the line.
pub(super) fn piece(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{text}").and_then(|()| out.flush())
}

/// The text of one row's field; `-` where there is none.
pub(super) fn field<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().filter(|text| !text.is_empty()).unwrap_or("-")
}

/// Rows below their heads, in columns as wide as their widest text.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let width = |column: usize| {
        let texts = rows.iter().map(|row| row[column].chars().count());
        texts.chain([heads[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let print = |texts: &[&str]| {
        let cells = texts.iter().zip(&widths).map(|(text, width)| format!("{}{}", one_line(text), pad(text, *width)));
        line(cells.collect::<String>().trim_end())
    };
    print(heads)?;
    rows.iter().try_for_each(|row| print(&row.iter().map(String::as_str).collect::<Vec<_>>()))
}

fn pad(text: &str, width: usize) -> String {
    " ".repeat(width.saturating_sub(text.chars().count()) + 2)
}

/// A text that stays in its cell.
fn one_line(text: &str) -> String {
    plain(text).replace(['\n', '\t'], " ")
}

/// A text without what would move a terminal's cursor or change its colours; line ends and tabs stay.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}

/// What a message says: its text, or the text of its parts; other content as JSON.
pub(super) fn text_of(message: &Value) -> String {
    let content = &message["content"];
    if let Some(text) = content["text"].as_str() {
        return text.to_owned();
    }
    let parts = content["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text: String =
        parts.iter().filter(|part| part["type"] == "text").filter_map(|part| part["text"].as_str()).collect();
    if text.is_empty() { content.to_string() } else { text }
}

/// `#12 alice: text`.
pub(super) fn message(message: &Value) -> String {
    format!("#{} {}: {}", message["seq"], plain(field(message, "sender_id")), plain(&text_of(message)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_message_is_its_text_wherever_that_stands() {
        let said = |content: Value| message(&json!({ "seq": 3, "sender_id": "bot", "content": content }));
        assert_eq!(said(json!({ "text": "hi" })), "#3 bot: hi");
        let parts = json!([{ "type": "text", "text": "a" }, { "type": "tool-x" }, { "type": "text", "text": "b" }]);
        assert_eq!(said(json!({ "parts": parts })), "#3 bot: ab");
        assert_eq!(said(json!({ "any": 1 })), "#3 bot: {\"any\":1}");
    }

    #[test]
    fn a_text_cannot_command_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\r\n\tc\u{9b}"), "a\u{fffd}[2Jb\u{fffd}\n\tc\u{fffd}");
    }
}
