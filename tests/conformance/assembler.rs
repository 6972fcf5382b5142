//! The file that the assembler's unit tests trust (`assembler.json`) is what the installed AI SDK says: its reducer cannot
//! drift away unseen, neither in the release that the assembler follows nor in the newest.

use crate::harness::Value;
use crate::node::Node;
use crate::packages::{AI_VERSIONS, ai};

const STORED: &str = include_str!("assembler.json");

/// What this release's reducer makes of all cases, in the form of the file.
fn reduced_by(version: &str) -> Option<String> {
    let scripts = [("assembler.mjs", include_str!("assembler.mjs")), ("reducer.mjs", include_str!("reducer.mjs"))];
    let lines = Node::start(&ai(version)?, &[], &scripts, &[]).output();
    assert_eq!(lines[0], format!("{{\"reducer\":\"ai {version}\",\"cases\":["), "the release is the pinned one");
    Some(lines.join("\n") + "\n")
}

/// The lines in which two runs of the reducer differ.
fn differences<'a>(stored: &'a str, fresh: &'a str) -> Vec<(&'a str, &'a str)> {
    let count = stored.lines().count().max(fresh.lines().count());
    let padded = |text: &'a str| text.lines().chain(std::iter::repeat("(nothing)")).take(count);
    padded(stored).zip(padded(fresh)).filter(|(stored, fresh)| stored != fresh).collect()
}

#[test]
fn the_assembler_is_held_against_what_the_ai_sdk_does() {
    let Some(fresh) = reduced_by(AI_VERSIONS[0]) else { return };
    if std::env::var_os("FLEETLM_ASSEMBLER_WRITE").is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/assembler.json");
        std::fs::write(file, &fresh).expect("the file can be written");
    } else if let Some((stored, fresh)) = differences(STORED, &fresh).first() {
        panic!("the file says\n{stored}\nbut the reducer\n{fresh}\nFLEETLM_ASSEMBLER_WRITE=1 writes it anew");
    }
}

#[test]
fn the_newest_ai_sdk_does_the_same_but_for_refused_input_and_the_parts_that_came_with_it() {
    let Some(fresh) = reduced_by(AI_VERSIONS[1]) else { return };
    for (stored, fresh) in differences(STORED, &fresh) {
        if stored.starts_with("{\"reducer\":") {
            continue; // the name of the release
        }
        // It keeps a refused input as the input of the part, where release 6 has it as `rawInput`.
        if fresh.contains("\"type\":\"tool-input-error\"") {
            continue;
        }
        assert!(
            fresh.contains("\"differs\":\"release 6 of the SDK"),
            "the file says\n{stored}\nbut the newest\n{fresh}"
        );
        let case: Value = serde_json::from_str(fresh.trim_end_matches(',')).expect("a case is JSON");
        assert_eq!(case["parts"], case["theirs"]);
    }
}

#[test]
fn a_changed_case_a_missing_one_and_a_new_one_are_noticed() {
    assert_eq!(differences("a\nb\n", "a\nb\n"), []);
    assert_eq!(differences("a\nb\n", "a\nc\n"), [("b", "c")]);
    assert_eq!(differences("a\nb\n", "a\n"), [("b", "(nothing)")]);
    assert_eq!(differences("a\n", "a\nb\n"), [("(nothing)", "b")]);
}
