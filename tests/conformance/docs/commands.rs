//! Commands within the lines and tables of the pages: each names a subcommand and flags that the binary's own help knows.

use super::{all_blocks, pages, text_of};
use crate::harness::server::run;
use std::collections::HashMap;

/// What stands between single backticks outside of fenced blocks.
fn spans(page: &str) -> Vec<String> {
    let mut page = page.to_owned();
    for block in all_blocks(&page) {
        page = page.replacen(&block.text, "", 1);
    }
    let lines = page.lines().filter(|line| !line.starts_with("```"));
    lines.flat_map(|line| line.split('`').skip(1).step_by(2).map(|span| span.replace("\\|", "|"))).collect()
}

/// The flags of a text, without their values.
fn flags(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words.filter(|word| word.starts_with("--") && word.len() > 2).map(str::to_owned).collect()
}

/// The help of `fleetlm` with these words before it, asked for once.
fn help<'a>(known: &'a mut HashMap<String, Option<String>>, words: &[&str]) -> Option<&'a str> {
    let answer = known.entry(words.join(" ")).or_insert_with(|| {
        let output = run(&[&["help"], words].concat());
        output.status.success().then(|| String::from_utf8(output.stdout).expect("UTF-8"))
    });
    answer.as_deref()
}

/// What is wrong with a command that a page names.
fn complaints(known: &mut HashMap<String, Option<String>>, command: &str) -> Vec<String> {
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    let subcommand = words.first().filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()));
    let Some(subcommand) = subcommand.filter(|word| **word != "help") else {
        return unknown_flags(command, help(known, &["serve"]).unwrap_or_default());
    };
    let Some(text) = help(known, &[subcommand]).map(str::to_owned) else {
        return vec![format!("no subcommand: {command}")];
    };
    let below = words.get(1).filter(|_| text.contains("Commands:"));
    let mut texts = text.clone();
    for word in below.into_iter().flat_map(|word| word.split('|')).filter(|word| !word.starts_with('-')) {
        match help(known, &[subcommand, word]) {
            Some(text) => texts.push_str(text),
            None => return vec![format!("no subcommand {word}: {command}")],
        }
    }
    unknown_flags(command, &texts)
}

fn unknown_flags(command: &str, help: &str) -> Vec<String> {
    let known = flags(help);
    flags(command)
        .into_iter()
        .filter(|flag| !known.contains(flag))
        .map(|flag| format!("no {flag}: {command}"))
        .collect()
}

#[test]
fn each_command_that_a_page_names_is_one_of_the_binary() {
    let mut known = HashMap::new();
    let mut wrong = Vec::new();
    for page in pages() {
        let commands = spans(&text_of(&page)).into_iter().filter(|span| span.starts_with("fleetlm "));
        wrong.extend(
            commands.flat_map(|command| complaints(&mut known, &command)).map(|what| format!("{page}: {what}")),
        );
    }
    assert!(known.len() > 8, "the pages name commands: {:?}", known.keys());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_flag_of_the_tables_of_flags_is_one_of_the_server() {
    let output = run(&["help", "serve"]);
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    for page in ["README.md", "docs/operations.md"] {
        let page = text_of(page);
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `--")).collect();
        assert!(rows.len() >= 6, "the page has a table of flags");
        for row in rows {
            assert_eq!(unknown_flags(row, &help), [""; 0]);
        }
    }
}

#[test]
fn a_command_and_a_flag_that_are_not_there_are_found() {
    let mut known = HashMap::new();
    for command in ["fleetlm conquer", "fleetlm check DIR --twice", "fleetlm keys lend", "fleetlm --levitate"] {
        assert_eq!(complaints(&mut known, command).len(), 1, "{command}");
    }
    assert!(complaints(&mut known, "fleetlm keys list|create --data-dir DIR").is_empty());
}
