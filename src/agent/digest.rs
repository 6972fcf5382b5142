//! What a team has said, in short, without asking anybody: the first sentence of each answer behind its author's name.
//!
//! The same answers give the same text, so that a digest that a crash has cut off is made again as it was.

use crate::limits::DIGEST_SENTENCE_CHARS_MAX;
use serde_json::Value;

/// Marks at the front of a line of Markdown: headings, quotes, lists, emphasis.
const MARKS: [char; 5] = ['#', '>', '*', '-', '_'];

/// One line per answer in their order, `name: first sentence`. An answer without text has none.
pub fn digest(answers: &[(&str, &str)]) -> String {
    let lines = answers.iter().filter_map(|(name, text)| {
        let sentence = first_sentence(text);
        (!sentence.is_empty()).then(|| format!("{name}: {sentence}"))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What a message's content says: its text parts without anything between them, else its `text`, else nothing.
pub fn text_of(content: &Value) -> String {
    let parts = content["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let texts: String =
        parts.iter().filter(|part| part["type"] == "text").filter_map(|part| part["text"].as_str()).collect();
    if texts.is_empty() { content["text"].as_str().unwrap_or_default().to_owned() } else { texts }
}

/// Up to the end of the first sentence or of the line, at most [`DIGEST_SENTENCE_CHARS_MAX`] characters.
fn first_sentence(text: &str) -> String {
    let bare =
        |line: &'_ str| line.trim_start_matches(|c: char| MARKS.contains(&c) || c.is_whitespace()).trim_end().len();
    let Some(line) = text.lines().find(|line| bare(line) > 0) else { return String::new() };
    let line = line.trim_start_matches(|c: char| MARKS.contains(&c) || c.is_whitespace()).trim_end();
    let end = sentence_end(line).unwrap_or(line.len());
    match line[..end].char_indices().nth(DIGEST_SENTENCE_CHARS_MAX) {
        Some((cut, _)) => format!("{}…", line[..cut].trim_end()),
        None => line[..end].to_owned(),
    }
}

/// Behind the first mark that ends a sentence: a wide one always, a narrow one before a space or at the end, unless it
/// belongs to a number of a list (`1. Do this`) or an abbreviation with a stop within (`e.g. this`).
fn sentence_end(line: &str) -> Option<usize> {
    let ends = |(place, mark): &(usize, char)| {
        let behind = place + mark.len_utf8();
        let word = line[..*place].rsplit(char::is_whitespace).next().unwrap_or_default();
        match mark {
            '。' | '！' | '？' => true,
            '!' | '?' => is_boundary(&line[behind..]),
            '.' => is_boundary(&line[behind..]) && !is_number(word) && !word.contains('.'),
            _ => false,
        }
    };
    line.char_indices().find(ends).map(|(place, mark)| place + mark.len_utf8())
}

fn is_boundary(rest: &str) -> bool {
    rest.chars().next().is_none_or(char::is_whitespace)
}

fn is_number(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_one_line_behind_its_name() {
        let answers =
            [("Ann", "Yes. And more."), ("Bob", ""), ("Cem", " \n - \n## No way!\nBecause."), ("Ann", "Still yes")];
        assert_eq!(digest(&answers), "Ann: Yes.\nCem: No way!\nAnn: Still yes");
        assert_eq!(digest(&[]), "");
    }

    #[test]
    fn a_sentence_ends_where_readers_see_it_end() {
        for (text, sentence) in [
            ("Use 1.5 litres. Then stir.", "Use 1.5 litres."),
            ("1. Boil water. 2. Wait.", "1. Boil water."),
            ("Take fruit, e.g. apples. Eat.", "Take fruit, e.g. apples."),
            ("See example.com for it! Or not.", "See example.com for it!"),
            ("はい。そうです。", "はい。"),
            ("Really?! Yes.", "Really?!"),
            ("**Bold** claim. More.", "Bold** claim."),
            ("no mark at all", "no mark at all"),
            ("one\ntwo.", "one"),
            ("...", "..."),
        ] {
            assert_eq!(first_sentence(text), sentence, "{text}");
        }
    }

    #[test]
    fn a_sentence_without_end_is_cut_between_characters() {
        let cut = first_sentence(&"ä".repeat(DIGEST_SENTENCE_CHARS_MAX + 1));
        assert_eq!(cut, format!("{}…", "ä".repeat(DIGEST_SENTENCE_CHARS_MAX)));
        let whole = "ä".repeat(DIGEST_SENTENCE_CHARS_MAX);
        assert_eq!(first_sentence(&whole), whole);
    }
}
