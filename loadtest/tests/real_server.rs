//! Every scenario for a moment against the real server, started, killed and restarted by the tool itself.
//!
//! `cargo test` at the root builds the server beside the tool. Built alone (`cargo test -p loadtest`) there may be none:
//! then this says that it proved nothing, and with `CI=true` it fails.

use std::path::Path;
use std::process::Command;

#[test]
fn every_scenario_passes_against_the_real_server() {
    let loadtest = Path::new(env!("CARGO_BIN_EXE_loadtest"));
    if !loadtest.with_file_name("fleetlm").is_file() {
        assert!(std::env::var_os("CI").is_none(), "there is no fleetlm beside {}", loadtest.display());
        eprintln!("NOTHING was proved: there is no fleetlm beside {} (cargo build)", loadtest.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (json, html) = (folder.path().join("smoke.json"), folder.path().join("smoke.html"));
    let output = Command::new(loadtest)
        .args(["smoke", "--spawn", "--json"])
        .arg(&json)
        .arg("--html")
        .arg(&html)
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "data folders are removed, reports stay: {left:?}");
    let reports: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let names: Vec<_> = reports.iter().map(|report| report["scenario"].as_str().unwrap()).collect();
    for name in
        ["hot-path", "rest", "fanout", "sessions", "soak", "replay by GET, cold", "replay by join, cold", "durability"]
    {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    for report in &reports {
        assert!(report["origins"][0]["server_version"].is_string(), "{report}");
    }
    let html = std::fs::read_to_string(&html).unwrap();
    assert_eq!(html.matches("<main>").count(), reports.len());
}
