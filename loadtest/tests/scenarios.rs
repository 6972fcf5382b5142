//! The whole tool against a server that keeps its promises and against servers that break exactly one: it must not cry
//! wolf, and it must be able to fail.

mod stand_in;

use serde_json::Value;
use stand_in::Fault;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Ended {
    code: i32,
    said: String,
    report: Value,
}

impl Ended {
    fn violations(&self, kind: &str) -> u64 {
        self.report["integrity"]["violations"][kind].as_u64().unwrap_or(0)
    }
}

fn loadtest(fault: Fault, arguments: &str) -> Ended {
    run(&format!("http://{}", stand_in::start(fault)), arguments)
}

fn run(url: &str, arguments: &str) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(arguments.split(' '))
        .args(["--url", url, "--warmup", "0.05", "--json"])
        .arg(&json)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let report = std::fs::read(&json).map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
    Ended { code: output.status.code().expect("it ends by itself"), said, report }
}

#[test]
fn every_scenario_passes_against_a_faithful_server() {
    let ended = loadtest(Fault::None, "smoke");
    assert_eq!(ended.code, 0, "{}", ended.said);
    let reports = ended.report.as_array().unwrap();
    assert_eq!(reports.len(), 11, "{}", ended.said);
    for report in reports {
        assert!(report["integrity"]["checked"].as_u64().unwrap() > 100, "{report}");
        assert!(!report["latencies"].as_object().unwrap().is_empty(), "{report}");
    }
}

#[test]
fn two_threads_share_the_work_of_every_scenario() {
    let ended = loadtest(Fault::None, "smoke --threads 2");
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert!(ended.report.as_array().unwrap().iter().all(|report| report["generator"]["threads"] == 2));
}

#[test]
fn the_hot_path_finds_each_broken_promise() {
    let faults = [
        (Fault::Drop, "lost"),
        (Fault::Duplicate, "duplicate"),
        (Fault::Reorder, "reordered"),
        (Fault::Alter, "altered"),
        (Fault::Misnumber, "wrong_ack"),
    ];
    for (fault, kind) in faults {
        let ended = loadtest(fault, "hot-path --connections 2 --duration 0.3");
        assert_eq!(ended.code, 1, "{fault:?}: {}", ended.said);
        assert_eq!(ended.violations(kind), 2, "one in each session: {fault:?}: {}", ended.said);
    }
}

#[test]
fn the_fanout_finds_each_broken_promise() {
    for (fault, kind) in [
        (Fault::Drop, "lost"),
        (Fault::Duplicate, "duplicate"),
        (Fault::Reorder, "reordered"),
        (Fault::Alter, "altered"),
    ] {
        for agent in ["", " --webhook"] {
            let ended =
                loadtest(fault, &format!("fanout --subscribers 4 --sessions 2 --rate 200 --duration 0.3{agent}"));
            assert_eq!(ended.code, 1, "{fault:?}{agent}: {}", ended.said);
            assert_eq!(ended.violations(kind), 4, "one at each reader: {fault:?}{agent}: {}", ended.said);
        }
    }
}

#[test]
fn a_replay_without_an_acknowledged_message_is_found_both_ways() {
    for by in ["get", "join"] {
        let options = format!("replay --by {by} --sessions 1 --messages 50 --readers 1 --page 20 --duration 0.2");
        let ended = loadtest(Fault::Forget, &options);
        assert_eq!(ended.code, 1, "{by}: {}", ended.said);
        assert!(ended.violations("lost") > 0, "{by}: {}", ended.said);
    }
}

#[test]
fn a_get_without_the_message_just_posted_is_found() {
    let ended = loadtest(Fault::Forget, "rest --connections 1 --duration 0.3");
    assert_eq!(ended.code, 1, "{}", ended.said);
    assert!(ended.violations("lost") > 0, "{}", ended.said);
}

#[test]
fn a_refused_send_is_a_failure_and_no_broken_promise() {
    let ended = loadtest(Fault::Refuse, "hot-path --connections 1 --duration 0.3");
    assert_eq!(ended.code, 2, "{}", ended.said);
    assert_eq!(ended.report["errors"], 1);
    assert!(ended.said.contains("timeout"), "{}", ended.said);
}

/// The stand-in as a program; cargo builds examples with the tests of their package.
fn stand_in_program() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_loadtest")).parent().unwrap();
    let program = folder.join("examples/stand_in");
    assert!(program.is_file(), "{} is not there: cargo build -p loadtest --examples", program.display());
    program
}

/// A server of its own that is killed twice.
fn durability(fault: &str) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args([
            "durability",
            "--cycles",
            "2",
            "--kill-within",
            "0.3",
            "--sockets",
            "3",
            "--rest",
            "3",
            "--spawn",
            "--server-bin",
        ])
        .arg(stand_in_program())
        .args(["--server-arg=--fault", "--server-arg", fault, "--json"])
        .arg(&json)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let report = std::fs::read(&json).map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
    Ended { code: output.status.code().expect("it ends by itself"), said, report }
}

#[test]
fn a_server_that_is_killed_and_loses_nothing_passes() {
    let ended = durability("none");
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert_eq!(ended.report["figures"]["kills"], 2.0);
    assert!(ended.report["figures"]["read back"].as_f64() > ended.report["figures"]["acknowledged"].as_f64());
    assert_eq!(ended.report["latencies"]["restart to first ack"]["count"], 2, "{}", ended.said);
    assert!(ended.said.contains("--seed"), "{}", ended.said);
}

#[test]
fn one_lost_doubled_or_altered_message_among_all_is_found_after_a_kill_and_named() {
    for (fault, kind, words) in [
        ("lose", "lost", "was acknowledged, and is gone"),
        ("duplicate", "duplicate", "is there twice"),
        ("alter", "altered", "is read as"),
    ] {
        let ended = durability(fault);
        assert_eq!(ended.code, 1, "{fault}: {}", ended.said);
        assert_eq!(ended.violations(kind), 1, "exactly the one: {fault}: {}", ended.said);
        let named = format!("{kind}: session:S1: message ");
        assert!(
            ended.said.lines().any(|line| line.contains(&named) && line.contains(words)),
            "{fault}: {}",
            ended.said
        );
    }
}

#[test]
fn scenarios_that_stop_the_server_want_one_of_their_own() {
    for arguments in ["durability", "replay --cold"] {
        let ended = loadtest(Fault::None, arguments);
        assert_eq!(ended.code, 2);
        assert!(ended.said.contains("--spawn"), "{}", ended.said);
    }
}

#[test]
fn reports_add_up_and_compare_and_a_regression_has_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let url = format!("http://{}", stand_in::start(Fault::None));
    let loadtest = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_loadtest")).args(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (a, b, sum, html) = (file("a.json"), file("b.json"), file("sum.json"), file("sum.html"));
    for (path, rate) in [(&a, "200"), (&b, "50")] {
        let load = [
            "rest",
            "--connections",
            "2",
            "--duration",
            "0.5",
            "--warmup",
            "0",
            "--rate",
            rate,
            "--url",
            &url,
            "--json",
            path,
        ];
        assert_eq!(loadtest(&load).0, 0);
    }
    assert_eq!(loadtest(&["merge", &a, &b, "--json", &sum, "--html", &html]).0, 0);
    let read = |path: &str| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let count = |path: &str| read(path)["latencies"]["post"]["count"].as_u64().unwrap();
    assert_eq!(count(&sum), count(&a) + count(&b));
    assert_eq!(read(&sum)["origins"].as_array().unwrap().len(), 2);
    assert!(std::fs::read_to_string(&html).unwrap().contains("2 generators added up"));
    let (code, said) = loadtest(&["compare", &a, &b]);
    assert_eq!(code, 0, "a comparison says and does not judge: {said}");
    assert!(said.contains("option rate differs: 200.0 and 50.0"), "{said}");
    assert_eq!(loadtest(&["compare", &a, &b, "--fail-on-regression", "50"]).0, 3);
    assert_eq!(loadtest(&["compare", &a, &a, "--fail-on-regression", "0"]).0, 0);
}

#[test]
fn without_a_server_it_says_so_and_ends() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let ended = run(&format!("http://{address}"), "rest --duration 0.3");
    assert_eq!(ended.code, 2);
    assert!(ended.said.contains("connecting to"), "{}", ended.said);
}

#[test]
fn a_stall_is_felt_by_every_send_that_was_due_meanwhile() {
    let ended = loadtest(Fault::Stall, "hot-path --connections 1 --rate 200 --duration 1");
    assert_eq!(ended.code, 0, "{}", ended.said);
    let ack = &ended.report["latencies"]["ack"];
    assert_eq!(ack["count"], 200, "an open loop sends what is due, stall or not: {}", ended.said);
    // 500 ms at 200 per second: 100 of the 200 sends wait, evenly between nothing and the whole stall.
    assert!(ack["max_us"].as_f64().unwrap() >= 450_000.0, "{}", ended.said);
    assert!(ack["p90_us"].as_f64().unwrap() >= 300_000.0, "{}", ended.said);
}
