//! Autobahn's WebSocket cases against the example `ws-echo`, which is nothing but our codec and connection code.
//!
//! The expected verdict of every case is kept in `autobahn-expected.json`; a better one is fine, a worse or missing one
//! fails. `FLEETLM_AUTOBAHN_WRITE=1` writes the file anew, to be read before it is committed.

use crate::harness::{HANG, Value};
use crate::packages::kosoku;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

/// Best first. INFORMATIONAL cases judge nothing.
const VERDICTS: [&str; 5] = ["OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED", "FAILED"];

/// The example as a process. Dropped: killed.
struct Echo(Child);

impl Echo {
    fn start() -> (Self, String) {
        let path = example();
        assert!(path.exists(), "{} is missing: build it with `cargo build --example ws-echo`", path.display());
        let mut command = Command::new(path);
        let mut child = command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let echo = Self(child);
        let (told, heard) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            while stdout.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                if let Some((_, url)) = line.trim().split_once("listening on ") {
                    let _ = told.send(url.to_owned());
                }
                line.clear();
            }
        });
        let url = heard.recv_timeout(HANG).expect("the example says where it listens");
        (echo, url)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Cargo builds examples for `cargo test`, beside the binary.
fn example() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_fleetlm")).with_file_name("examples").join("ws-echo")
}

fn expected_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/autobahn-expected.json")
}

/// The worse of a case's two verdicts, its behaviour and its close.
fn verdicts(report: &Value) -> BTreeMap<String, String> {
    let servers = report.as_object().expect("a report names its servers");
    assert_eq!(servers.len(), 1, "one server was tested");
    let cases = servers.values().next().and_then(Value::as_object).expect("a server has cases");
    let verdict = |case: &Value| {
        let word = |field: &str| case[field].as_str().expect("a verdict").to_owned();
        let (behaviour, close) = (word("behavior"), word("behaviorClose"));
        if rank(&close) > rank(&behaviour) { close } else { behaviour }
    };
    cases.iter().map(|(case, result)| (case.clone(), verdict(result))).collect()
}

/// Unknown words, such as the close verdict WRONG CODE, are the worst.
fn rank(verdict: &str) -> usize {
    VERDICTS.iter().position(|known| *known == verdict).unwrap_or(VERDICTS.len())
}

/// Cases that are missing or worse than expected.
fn worse(expected: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> Vec<String> {
    let complaint = |(case, wanted): (&String, &String)| {
        let verdict = found.get(case).map_or("NOT RUN", String::as_str);
        (rank(verdict) > rank(wanted)).then(|| format!("{case}: {verdict}, expected {wanted}"))
    };
    expected.iter().filter_map(complaint).collect()
}

fn run(program: &Path, url: &str) -> BTreeMap<String, String> {
    let reports = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be created");
    let mut command = Command::new(program);
    command.args(["--parallelism", "2", "--outdir"]).arg(reports.path()).arg(url);
    // Its exit code says whether a case failed; which one is judged here.
    let output = command.output().expect("it runs");
    let index = reports.path().join("index.json");
    let text = std::fs::read_to_string(index)
        .unwrap_or_else(|error| panic!("no report ({error}): {}", String::from_utf8_lossy(&output.stderr)));
    verdicts(&serde_json::from_str(&text).expect("the report is JSON"))
}

#[test]
fn every_autobahn_case_has_its_expected_verdict_or_a_better_one() {
    let Some(program) = kosoku() else { return };
    let (_echo, url) = Echo::start();
    let found = run(&program, &url);
    if std::env::var_os("FLEETLM_AUTOBAHN_WRITE").is_some() {
        let text = serde_json::to_string_pretty(&found).expect("it serialises");
        std::fs::write(expected_file(), text + "\n").expect("the file can be written");
    }
    let text = std::fs::read_to_string(expected_file()).expect("the expected verdicts are kept");
    let expected: BTreeMap<String, String> = serde_json::from_str(&text).expect("a table of cases");
    assert_eq!(expected.len(), 517, "all cases have an expected verdict");
    let worse = worse(&expected, &found);
    assert!(worse.is_empty(), "{} of {} cases:\n{}", worse.len(), found.len(), worse.join("\n"));
}

#[test]
fn a_worse_verdict_and_a_missing_case_are_noticed() {
    let table = |cases: &[(&str, &str)]| -> BTreeMap<String, String> {
        cases.iter().map(|(case, verdict)| ((*case).to_owned(), (*verdict).to_owned())).collect()
    };
    let expected = table(&[("1.1", "OK"), ("1.2", "NON-STRICT"), ("1.3", "OK"), ("1.4", "OK")]);
    let found = table(&[("1.1", "OK"), ("1.2", "OK"), ("1.3", "FAILED")]);
    assert_eq!(worse(&expected, &found), ["1.3: FAILED, expected OK", "1.4: NOT RUN, expected OK"]);
    let wrong_code = table(&[("1.1", "WRONG CODE")]);
    assert_eq!(worse(&table(&[("1.1", "FAILED")]), &wrong_code).len(), 1);
}
