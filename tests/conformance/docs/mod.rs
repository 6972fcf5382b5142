//! What the documentation shows is run: every fenced block of it has a test that runs it or holds it against the server, or a reason why
//! none can.
//!
//! Invariants: a block that no row of [`CLAIMS`] speaks for fails [`every_block_of_the_documentation_is_spoken_for`], and so does a row whose test is not
//! there or does not read the page. Only addresses, paths and ports are changed on the way to a shell.
//! Not here: the answers themselves (`newcomer`, `reference`), commands within sentences (`commands`), and snippets in TypeScript (`ts_client`).

mod commands;
mod newcomer;
mod reference;

use crate::harness::server::binary;
use crate::harness::{Server, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A fenced block.
#[derive(Debug)]
struct Block {
    /// What stands behind the opening fence; empty: nothing.
    language: String,
    /// Its lines, each with its end.
    text: String,
}

/// All blocks of a page, in its order. Those within a list are indented, and so is their text.
fn all_blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in page.lines() {
        match (line.trim_start().strip_prefix("```"), open.take()) {
            (Some(_), Some(block)) => blocks.push(block),
            (Some(language), None) => open = Some(Block { language: language.to_owned(), text: String::new() }),
            (None, Some(mut block)) => {
                block.text.push_str(line);
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// The texts of the blocks of a language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let of_it = all_blocks(page).into_iter().filter(|block| block.language == language);
    of_it.map(|block| block.text).collect()
}

/// Who answers for the blocks of one language on one page.
enum By {
    /// This test in this file, which reads the page.
    Test(&'static str, &'static str),
    /// Nobody can, for this reason.
    Nobody(&'static str),
}
use By::{Nobody, Test};

const NEWCOMER: &str = "tests/conformance/docs/newcomer.rs";
const REFERENCE: &str = "tests/conformance/docs/reference.rs";
const TOOLS: &str = "loadtest/tests/docs.rs";
const CLIENT: &str = "clients/typescript/test/snippets.test.ts";

/// Page, language, how many blocks of it, and who answers for them.
const CLAIMS: &[(&str, &str, usize, By)] = &[
    ("README.md", "sh", 2, Test(NEWCOMER, "the_first_screen_of_the_readme_works_line_by_line")),
    ("README.md", "sh", 1, Test(TOOLS, "the_commands_of_the_pages_run_and_report_what_is_shown")),
    ("README.md", "sh", 2, Nobody("they start the server and run the tests: this is one of them")),
    ("README.md", "", 1, Test(NEWCOMER, "a_start_prints_what_the_pages_show")),
    ("README.md", "js", 1, Test(NEWCOMER, "the_client_of_the_readme_sees_what_the_readme_shows")),
    ("README.md", "", 2, Test(NEWCOMER, "the_client_of_the_readme_sees_what_the_readme_shows")),
    ("docs/quickstart.md", "sh", 4, Test(NEWCOMER, "the_quick_start_leads_to_an_agent_that_answers")),
    ("docs/quickstart.md", "python", 1, Test(NEWCOMER, "the_quick_start_leads_to_an_agent_that_answers")),
    ("docs/quickstart.md", "", 1, Test(NEWCOMER, "a_start_prints_what_the_pages_show")),
    ("docs/concepts.md", "sh", 1, Test(NEWCOMER, "the_concepts_hold_as_they_are_shown")),
    ("docs/console.md", "", 1, Test(NEWCOMER, "a_start_prints_what_the_pages_show")),
    ("docs/operations.md", "", 3, Test(REFERENCE, "operations_shows_what_the_commands_print")),
    ("docs/operations.md", "", 1, Test(NEWCOMER, "a_start_prints_what_the_pages_show")),
    ("docs/operations.md", "json", 1, Test(REFERENCE, "operations_shows_what_the_commands_print")),
    ("docs/operations.md", "sh", 2, Test(REFERENCE, "operations_shows_what_the_commands_print")),
    ("docs/cli.md", "", 1, Test(REFERENCE, "the_command_line_answers_as_its_page_shows")),
    ("docs/auth.md", "sh", 3, Test(REFERENCE, "keys_are_made_and_revoked_as_the_page_says")),
    ("docs/webhooks.md", "sh", 2, Test(REFERENCE, "a_webhook_is_called_as_the_page_shows_and_its_answer_understood")),
    ("docs/webhooks.md", "http", 1, Test(REFERENCE, "a_webhook_is_called_as_the_page_shows_and_its_answer_understood")),
    (
        "docs/webhooks.md",
        "python",
        1,
        Test(REFERENCE, "a_webhook_is_called_as_the_page_shows_and_its_answer_understood"),
    ),
    (
        "docs/webhooks.md",
        "jsonl",
        1,
        Test(REFERENCE, "a_webhook_is_called_as_the_page_shows_and_its_answer_understood"),
    ),
    ("docs/webhooks.md", "json", 2, Test(REFERENCE, "compactions_and_teams_are_told_what_the_page_shows")),
    ("docs/protocol.md", "json", 3, Test(REFERENCE, "sessions_messages_and_inboxes_have_the_shapes_of_the_page")),
    ("docs/apis.md", "sh", 5, Test("tests/conformance/seed_apis.rs", "the_examples_of_our_own_page_work_as_printed")),
    ("docs/apis.md", "", 1, Test(REFERENCE, "the_other_apis_answer_as_their_page_shows")),
    ("docs/apis.md", "json", 1, Test(REFERENCE, "the_other_apis_answer_as_their_page_shows")),
    ("docs/loadtest.md", "sh", 4, Test(TOOLS, "the_commands_of_the_pages_run_and_report_what_is_shown")),
    ("docs/loadtest.md", "", 1, Test(TOOLS, "the_commands_of_the_pages_run_and_report_what_is_shown")),
    ("docs/clients.md", "ts", 6, Test(CLIENT, "every snippet of the documentation is accepted by the compiler")),
    ("docs/clients.md", "tsx", 2, Test(CLIENT, "every snippet of the documentation is accepted by the compiler")),
    ("docs/clients.md", "sh", 1, Nobody("the package is installed from its folder by the tests, not from a registry")),
    ("clients/typescript/README.md", "sh", 2, Nobody("the first is as above; ts_client.rs runs the others")),
    (
        "clients/typescript/README.md",
        "ts",
        1,
        Test(CLIENT, "every snippet of the documentation is accepted by the compiler"),
    ),
    (
        "examples/nextjs-chat/README.md",
        "sh",
        4,
        Nobody("nextjs.rs runs the scripts that they name; see the words of commands"),
    ),
    ("docs/performance.md", "sh", 1, Nobody("it takes minutes, a quiet machine and other people's servers")),
    (
        "docs/log-format.md",
        "",
        7,
        Nobody("pictures of bytes; storage/src/record.rs and tests/golden.rs hold the format against them"),
    ),
];

/// Blocks in this language are pictures.
const PICTURES: &str = "mermaid";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn text_of(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every page of the documentation, by its path from the root.
fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned()];
    for folder in ["docs", "docs/decisions", "clients/typescript", "examples/nextjs-chat", "deploy"] {
        let entries = std::fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
        pages.extend(names.filter(|name| name.ends_with(".md")).map(|name| format!("{folder}/{name}")));
    }
    pages
}

#[test]
fn every_block_of_the_documentation_is_spoken_for() {
    let mut claimed = BTreeMap::new();
    for (page, language, count, _) in CLAIMS {
        *claimed.entry(((*page).to_owned(), (*language).to_owned())).or_insert(0) += count;
    }
    let mut shown = BTreeMap::new();
    for page in pages() {
        for block in all_blocks(&text_of(&page)).into_iter().filter(|block| block.language != PICTURES) {
            *shown.entry((page.clone(), block.language)).or_insert(0) += 1;
        }
    }
    // One more block is one that nobody has thought of, also where others of its kind are run.
    assert_eq!(shown, claimed, "left: blocks of each page and language, right: those that are spoken for");
    for (page, _, _, by) in CLAIMS {
        match by {
            Test(file, test) => {
                let source = text_of(file);
                let is_test = |claim: String| source.contains(&claim);
                let is_there = is_test(format!("#[test]\nfn {test}()")) || is_test(format!("test(\"{test}\""));
                assert!(is_there, "{page}: {file} has no test {test}");
                // A test of a package names what lies in its own folder without the path.
                let folder = Path::new(page).parent().expect("a page lies in a folder").to_str().expect("UTF-8");
                let is_beside = !folder.is_empty() && file.starts_with(folder) && source.contains("README.md");
                assert!(is_beside || source.contains(page), "{page}: {file} does not read it");
            }
            Nobody(reason) => assert!(reason.len() > 10, "{page}: a reason is a sentence"),
        }
    }
}

/// Runs lines in one shell that stops at the first failure, with the binary in its path and the server's address in its environment, and gives what
/// was printed.
#[track_caller]
fn shell(lines: &str, server: &Server, folder: &Path) -> String {
    let program = Path::new(binary().get_program()).to_owned();
    let path = format!("{}:{}", program.parent().expect("a folder").display(), std::env::var("PATH").expect("a path"));
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", lines])
        .current_dir(folder)
        .env("PATH", path)
        .env("FLEETLM_URL", format!("http://{}", server.address()))
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{lines}\n{said}\n{told}");
    said.into_owned()
}

/// What is left of a line when everything is taken from it that differs from run to run: ids, numbers and stamps, and how wide columns are.
fn shape(line: &str) -> String {
    let mut shape = String::new();
    for word in line.split_whitespace() {
        let mut token = String::new();
        for c in word.chars().chain([' ']) {
            if c.is_ascii_alphanumeric() {
                token.push(c);
                continue;
            }
            let is_id = token.len() == 26 && token.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
            match token.chars().next() {
                _ if is_id => shape.push_str("ID"),
                Some(first) if first.is_ascii_digit() => shape.push('N'),
                _ => shape.push_str(&token),
            }
            token.clear();
            shape.push(c);
        }
    }
    shape.trim_end().to_owned()
}

/// Every line that is shown was printed, but for what differs from run to run.
#[track_caller]
fn was_printed(shown: &str, printed: &str) {
    let printed: BTreeSet<String> = printed.lines().map(shape).collect();
    for line in shown.lines().filter(|line| !line.trim().is_empty()) {
        assert!(printed.contains(&shape(line)), "shown, but not printed: {line}\n{printed:#?}");
    }
}

/// Two objects have the same fields, all the way down. A text that is cut short with two dots stands for anything.
#[track_caller]
fn same_fields(shown: &Value, real: &Value) {
    match (shown, real) {
        (Value::Object(shown), Value::Object(real)) => {
            assert_eq!(shown.keys().collect::<Vec<_>>(), real.keys().collect::<Vec<_>>(), "{shown:?}, but {real:?}");
            shown.iter().for_each(|(name, value)| same_fields(value, &real[name]));
        }
        (Value::String(text), _) if text.starts_with("..") => {}
        (Value::Array(shown), Value::Array(real)) => {
            assert!(!real.is_empty() || shown.is_empty(), "{shown:?}, but nothing");
            shown.iter().for_each(|value| same_fields(value, &real[0]));
        }
        _ => assert_eq!(std::mem::discriminant(shown), std::mem::discriminant(real), "{shown}, but {real}"),
    }
}

/// Ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_shape_keeps_words_and_loses_what_differs() {
    assert_eq!(
        shape("01M833PP4A744TTBADMTHSQFG2  default  3 at 2026-11-23T02:28:05.240117Z"),
        "ID default N at N-N-N:N:N.N"
    );
    assert_ne!(shape("1 messages"), shape("1 records"));
}
