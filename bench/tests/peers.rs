//! The comparison does all its works, with ours and the limits alone and everything small: for correctness, never for time.
//!
//! It needs the server's binary beside its own, which `cargo test` at the root and `cargo build` make.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn peers(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peers"));
    command.args(words).args(["--small", "--rounds", "1", "--seconds", "0.2", "--patience", "0"]);
    command.args(["--dir", &folder.to_string_lossy()]).output().expect("peers starts")
}

fn server_is_built() {
    let server = PathBuf::from(env!("CARGO_BIN_EXE_peers")).with_file_name("fleetlm");
    assert!(server.is_file(), "{} is not there: cargo build", server.display());
}

fn compared(work: &str) -> Vec<Value> {
    server_is_built();
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("run.json");
    let output = peers(folder.path(), &[work, "--json", &json.to_string_lossy(), "--only", "fleetlm", "limit"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let run: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["run.json"], "the servers' folders are gone");
    run["tables"].as_array().unwrap().clone()
}

/// Names of the rows, each of which must have been measured.
fn measured(table: &Value) -> Vec<&str> {
    let rows = table["rows"].as_array().unwrap().iter();
    rows.map(|row| {
        assert_eq!(row["trouble"], Value::Null, "{row}");
        assert!(row["rounds"][0].is_object(), "{row}");
        row["name"].as_str().unwrap()
    })
    .collect()
}

#[test]
fn appends_are_compared_with_the_limits() {
    let limits = ["limit: bare epoll loop", "limit: bare group commit"];
    assert_eq!(measured(&compared("append-256")[0]), ["fleetlm", limits[0], limits[1]]);
    assert_eq!(measured(&compared("append-1")[0]), ["fleetlm", limits[0], limits[1], "limit: bare write+fdatasync"]);
    assert_eq!(measured(&compared("hot-path")[0]), ["fleetlm (WebSocket)", limits[0], limits[1]]);
}

#[test]
fn replay_is_compared_with_sendfile() {
    let rows = ["fleetlm", "fleetlm (WebSocket)", "limit: sendfile of the GET", "limit: sendfile of the joins"];
    assert_eq!(measured(&compared("replay")[0]), rows);
}

#[test]
fn fan_out_is_compared_saturated_and_paced() {
    let rows = ["fleetlm (WebSocket)", "limit: bare send loop", "limit: bare send loop, folding"];
    let tables = compared("fanout");
    assert_eq!(tables.iter().map(measured).collect::<Vec<_>>(), [rows, rows]);
}

#[test]
fn growth_is_measured_step_by_step() {
    assert_eq!(compared("growth").iter().map(|table| measured(table).len()).collect::<Vec<_>>(), [2, 2]);
}

#[test]
fn memory_of_idle_sockets_and_sessions_is_measured() {
    // The bytes of so few may be none: that they are read is what counts.
    let tables = compared("idle");
    assert_eq!(tables[0]["rows"].as_array().unwrap().len(), 2);
}

#[test]
fn who_is_not_installed_is_named_with_the_way_to_install_it() {
    server_is_built();
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_peers"));
    // Nothing is found where nothing is.
    command.env("PATH", folder.path()).env("HOME", folder.path()).env("CARGO_HOME", folder.path());
    command.args([
        "append-1",
        "--small",
        "--rounds",
        "1",
        "--seconds",
        "0.1",
        "--patience",
        "0",
        "--only",
        "fleetlm",
        "durable",
    ]);
    let output = command.arg("--dir").arg(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("durable-streams: LEFT OUT") && said.contains("cargo install durable-streams"), "{said}");
}
