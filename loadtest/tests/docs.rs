//! The commands of `docs/loadtest.md` and of `README.md`, run as they stand there, but for a moment: they are accepted, pass, and report what is shown.
//!
//! As in `real_server`, they need the server beside the tool.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

const PAGES: [&str; 2] = [include_str!("../../README.md"), include_str!("../../docs/loadtest.md")];

/// The lines of the pages that call the tool, by the name under which they call it.
fn commands() -> Vec<&'static str> {
    let blocks = PAGES.iter().flat_map(|page| page.split("```sh\n").skip(1));
    let lines = blocks.flat_map(|block| block.split("```").next().expect("a block ends").lines());
    lines.filter(|line| line.starts_with("target/release/loadtest ") || line.starts_with("loadtest ")).collect()
}

/// The words behind the name, with counts and times of a moment.
fn words(line: &str, folder: &Path) -> Vec<String> {
    let mut words: Vec<String> = line.split_whitespace().skip(1).map(str::to_owned).collect();
    for word in &mut words {
        if word == "100000" {
            "50".clone_into(word);
        } else if word.ends_with(".json") || word.ends_with(".html") {
            *word = folder.join(&*word).to_str().expect("a path of ours is text").to_owned();
        }
    }
    words
}

fn run(words: &[String], folder: &Path) -> Output {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    tool.args(words).env("TMPDIR", folder).output().expect("it runs")
}

/// The first word of each line with one: the names of what is reported.
fn rows(report: &str) -> BTreeSet<String> {
    report.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn the_commands_of_the_pages_run_and_report_what_is_shown() {
    if !Path::new(env!("CARGO_BIN_EXE_loadtest")).with_file_name("fleetlm").is_file() {
        assert!(std::env::var_os("CI").is_none(), "there is no fleetlm beside the tool");
        eprintln!("NOTHING was proved: there is no fleetlm beside the tool (cargo build)");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let commands = commands();
    let (runs, of_reports): (Vec<&str>, Vec<&str>) = commands.iter().partition(|line| line.contains("--spawn"));
    assert!(runs.len() >= 4 && of_reports.len() >= 2, "{commands:?}");
    for line in runs {
        let mut words = words(line, folder.path());
        let briefly = ["--duration", "1", "--warmup", "0"];
        let once = ["--cycles", "1"];
        words
            .extend(if line.contains("durability") { &once[..] } else { &briefly }.iter().map(|&word| word.to_owned()));
        let output = run(&words, folder.path());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{line}\n{said}{told}");
        if line.ends_with("hot-path") {
            let shown =
                PAGES[1].split("```\n").find(|block| block.starts_with("hot-path ")).expect("a report is shown");
            let missing: Vec<String> = rows(shown).difference(&rows(&said)).cloned().collect();
            assert!(missing.is_empty(), "shown, but not reported: {missing:?}\n{said}");
        }
    }
    for name in ["one", "two", "before", "after"] {
        let report = folder.path().join(format!("{name}.json"));
        let words = ["rest", "--spawn", "--duration", "1", "--warmup", "0", "--json", report.to_str().expect("text")];
        let output = run(&words.map(str::to_owned), folder.path());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for line in of_reports {
        let output = run(&words(line, folder.path()), folder.path());
        // 3: a moment's figures differ by more than is allowed, which is what the command is for.
        let is_fine = matches!(output.status.code(), Some(0 | 3));
        assert!(is_fine, "{line}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}
