//! What the server can say to its operator stands in docs/operations.md: every log line, and every error that can end a start.
//!
//! A message is known by the first piece of plain text in it, since what stands in its braces differs. Lines of `debug` are for who looks
//! into the code and are left out, and a message that is nothing but a value is known where the value is made.

use super::{Complaint, Source, assert_none, complaint, planted, production, read, root, sources};

/// Macros and attributes whose first text is for an operator.
const LOGS: [&str; 3] = ["tracing::error!(", "tracing::warn!(", "tracing::info!("];
const ERRORS: [&str; 5] = ["#[error(", "bail!(", "anyhow!(", "context(", "with_context("];
/// Where an error ends a start, is written into a log line, or is told of an agent's call.
const ERRORS_OF: [&str; 11] = [
    "src/server/authority.rs",
    "src/server/jwks.rs",
    "src/server/listener.rs",
    "src/server/mod.rs",
    "src/server/outbound/error.rs",
    "src/server/outbound/tls.rs",
    "src/server/ring.rs",
    "src/server/tls.rs",
    "storage/src/file.rs",
    "storage/src/open.rs",
    "storage/src/recovery.rs",
];

/// Every message of `source` that `page` does not have.
fn unexplained(source: &Source, page: &str) -> Vec<Complaint> {
    let text = production(source);
    let mut openings: Vec<&str> = if source.path.starts_with("src/") { LOGS.to_vec() } else { Vec::new() };
    if ERRORS_OF.contains(&source.path.as_str()) {
        openings.extend(ERRORS);
    }
    let mut complaints = Vec::new();
    for opening in openings {
        for (at, _) in text.match_indices(opening) {
            let Some(message) = first_text(&text[at + opening.len()..]) else { continue };
            let known = told(&message);
            if !page.contains(&known) {
                let line = text[..at].lines().count().max(1);
                complaints.push(complaint(source, line, &format!("says {known:?}, which docs/operations.md does not")));
            }
        }
    }
    complaints
}

/// The first text between quotes before the end of the call, as it is printed.
fn first_text(call: &str) -> Option<String> {
    let mut text = String::new();
    let (mut depth, mut in_text) = (1, false);
    let mut chars = call.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if in_text => match chars.next()? {
                // A line that goes on behind its indentation.
                '\n' => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                escaped => text.push(escaped),
            },
            '"' if in_text => return Some(text),
            '"' => in_text = true,
            _ if in_text => text.push(c),
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return None;
        }
    }
    None
}

/// The first piece of plain text that says something, as far as one would quote it.
fn told(message: &str) -> String {
    let pieces = message.split('{').flat_map(|piece| piece.split('}').next_back());
    let words: Vec<Vec<&str>> = pieces.map(|piece| piece.split_whitespace().collect()).collect();
    let longest = words.iter().max_by_key(|words| words.len());
    let said = words.iter().find(|words| words.len() > 2).or(longest).map(Vec::as_slice).unwrap_or_default();
    said[..said.len().min(6)].join(" ").trim_matches([':', ',', ' ']).to_owned()
}

/// Every row of the table of limits says what happens when the limit is reached.
fn unanswered(page: &Source) -> Vec<Complaint> {
    let mut is_limits = false;
    let mut complaints = Vec::new();
    for (number, line) in page.text.lines().enumerate() {
        if line.starts_with("## ") {
            is_limits = line == "## Limits";
        }
        let empty = line.trim_end().strip_suffix('|').is_some_and(|row| row.trim_end().ends_with('|'));
        if is_limits && empty {
            complaints.push(complaint(page, number + 1, "says nothing of what happens when it is full"));
        }
    }
    complaints
}

#[test]
fn every_message_to_an_operator_is_explained() {
    let page = read(&root().join("docs/operations.md")).text;
    let all = sources(".rs");
    for path in ERRORS_OF {
        assert!(all.iter().any(|source| source.path == path), "{path} is gone");
    }
    assert_none(all.iter().flat_map(|source| unexplained(source, &page)).collect());
}

#[test]
fn a_message_that_is_not_explained_is_noticed() {
    let page = "| `the disk of SHARD is slow` | .. |";
    for text in [
        "fn f() { tracing::warn!(%error, \"something else\"); }",
        "fn f() { tracing::error!(\n    shard = world.id(),\n    \"it broke: {}\",\n    why); }",
        "fn f() { tracing::info!(\"it goes on \\\n      behind its indentation\"); }",
    ] {
        assert_eq!(unexplained(&planted("src/server/x.rs", text), page).len(), 1, "{text}");
    }
    assert_eq!(unexplained(&planted("src/server/tls.rs", "#[error(\"no {path}\")]"), page).len(), 1);
    for text in [
        "fn f() { tracing::warn!(shard, \"{shard}: the disk of\"); }",
        "fn f() { tracing::error!(\"{new}\"); g(\"of another call\"); }",
        "fn f() { tracing::debug!(\"for who reads the code\"); }",
    ] {
        assert_eq!(unexplained(&planted("src/server/x.rs", text), page), [], "{text}");
    }
}

#[test]
fn every_limit_says_what_happens_when_it_is_full() {
    assert_none(unanswered(&read(&root().join("docs/operations.md"))));
    let page = "## Limits\n\n| constant | value | why | when full |\n| --- | --- | --- | --- |\n| `A` | 1 | one | |\n## Sizing\n| x | |\n";
    assert_eq!(unanswered(&planted("docs/x.md", page)).len(), 1);
}
