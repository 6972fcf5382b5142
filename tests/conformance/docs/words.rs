//! Commands within sentences and tables: they name subcommands and flags that there are.

use super::{pages, text_of};
use crate::harness::server::run;
use std::collections::BTreeMap;

/// What the help of a subcommand says; `None`: there is no such subcommand.
fn help(words: &[&str]) -> Option<String> {
    let output = run(&[words, &["--help"]].concat());
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The texts in backticks of a page, without its blocks.
fn spans(page: &str) -> Vec<String> {
    let mut is_within = false;
    let mut prose = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            is_within = !is_within;
        } else if !is_within {
            prose.push_str(&line.replace("\\|", "|"));
            prose.push(' ');
        }
    }
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn commands_within_sentences_name_what_there_is() {
    let mut helps: BTreeMap<Vec<String>, Option<String>> = BTreeMap::new();
    let mut of = |words: &[&str]| {
        let key = words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        helps.entry(key).or_insert_with(|| help(words)).clone()
    };
    let mut found = 0;
    for page in pages() {
        for span in spans(&text_of(&page)) {
            let Some(command) = span.strip_prefix("fleetlm ") else { continue };
            let words: Vec<&str> = command.split_whitespace().collect();
            let is_name = |word: &&&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '|');
            let names: Vec<&str> = words.iter().take_while(is_name).copied().take(2).collect();
            let name = names.first().copied().filter(|name| *name != "help");
            let top: Vec<&str> = name.into_iter().collect();
            let text = of(&top).unwrap_or_else(|| panic!("{page}: `{span}`: no such subcommand"));
            let mut all = text.clone();
            // `keys list|create|revoke`, but also `send text`.
            for sub in names.get(1).into_iter().flat_map(|names| names.split('|')) {
                if text.contains("\nCommands:") {
                    let more = of(&[top[0], sub]).unwrap_or_else(|| panic!("{page}: `{span}`: no {sub}"));
                    all.push_str(&more);
                }
            }
            for flag in words.iter().filter(|word| word.starts_with("--")) {
                let flag = flag.split('=').next().expect("a word").trim_end_matches([',', '.', ')']);
                assert!(all.contains(flag), "{page}: `{span}`: no {flag}");
            }
            found += 1;
        }
    }
    assert!(found > 20, "{found} commands were found");
}
