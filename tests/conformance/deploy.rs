//! The files in `deploy/`: the seccomp profile by running under it, the others by the schemas and parsers of those who read them, and by
//! holding every name in them against the binary.

use crate::harness::server::binary;
use crate::harness::{Folder, Server, Value};
use crate::packages::{deploy, missing, runs};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The words of `text` that begin so, as far as letters, digits, `_` and `-` go.
fn words(text: &str, beginning: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let rest = |at: usize| text[at..].chars().take_while(|c| is_part(*c)).collect::<String>();
    text.match_indices(beginning).map(|(at, _)| rest(at)).collect()
}

/// The binary under the profile.
fn confined() -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/seccomp.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(file("seccomp.json")).arg(binary().get_program());
    command.stdin(Stdio::null());
    command
}

#[track_caller]
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn under_the_seccomp_profile_the_server_serves_and_the_commands_work() {
    if !runs("python3", &["--version"]) || !runs("cc", &["--version"]) {
        return missing("Python or a C compiler is not installed: the seccomp profile was not tried");
    }
    let folder = Folder::new();
    let (data, copy) = (folder.path().join("data"), folder.path().join("copy"));
    let (data, copy) = (data.to_str().expect("UTF-8"), copy.to_str().expect("UTF-8"));
    let mut server = confined()
        .args(["--listen", "127.0.0.1:0", "--data-dir", data])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(server.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
    let url = lines.filter_map(|line| line.strip_prefix("listening on ").map(str::to_owned)).next();
    let url = url.expect("the server starts under the profile");
    let run = |words: &[&str]| confined().args(words).args(["--url", &url]).output().expect("it runs");
    assert!(said(&run(&["send", "under a filter", "--agent", "echo"])).contains("under a filter"));
    assert_eq!(said(&run(&["sessions"])).lines().count(), 2);
    assert_eq!(said(&run(&["health"])), "ready\n");
    assert!(said(&confined().args(["backup", data, copy]).output().expect("it runs")).contains("2 messages"));
    assert!(said(&confined().args(["check", copy]).output().expect("it runs")).contains("0 problems"));
    server.kill().expect("it is ours");
    server.wait().expect("it ends");
}

#[test]
fn what_the_profile_does_not_name_is_refused() {
    if !runs("python3", &["--version"]) || !runs("cc", &["--version"]) {
        return missing("Python or a C compiler is not installed: the seccomp profile was not tried");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/seccomp.py");
    let mut chroot = Command::new("python3");
    chroot.arg(script).arg(file("seccomp.json")).args(["chroot", "/", "true"]);
    let output = chroot.output().expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("Function not implemented"), "{error}");
}

#[test]
fn every_setting_in_the_files_is_one_of_the_server() {
    let help = binary().args(["serve", "--help"]).output().expect("it runs");
    let help = said(&help);
    for name in ["Dockerfile", "compose.yaml", "fleetlm.service", "kubernetes.yaml"] {
        let text = text(name);
        for variable in words(&text, "FLEETLM_") {
            assert!(help.contains(&format!("env: {variable}=")), "{name}: {variable}");
        }
        assert!(!words(&text, "FLEETLM_").is_empty(), "{name} sets something");
    }
    for path in ["/health/live", "/health/ready", "/metrics"] {
        assert!(text("kubernetes.yaml").contains(path), "{path}");
    }
}

/// A page of metrics of a server that has answered somebody.
fn metrics() -> String {
    let server = Server::start();
    let session = server.session("alice", "echo");
    server.say(&session, "alice", "so that there is something to count");
    server.get("/metrics").text().to_owned()
}

#[test]
fn every_series_on_the_dashboard_and_in_the_alerts_is_one_of_the_server() {
    let metrics = metrics();
    let counted = include_str!("../../docs/operations.md");
    let dashboard: Value = serde_json::from_str(&text("grafana.json")).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("a dashboard has panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let shown: BTreeSet<String> =
        targets.flat_map(|target| words(target["expr"].as_str().expect("a query"), "fleetlm_")).collect();
    let alerts = text("alerts.yaml");
    let queries = alerts.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let watched: BTreeSet<String> = queries.flat_map(|query| words(query, "fleetlm_")).collect();
    assert!(shown.len() > 20 && watched.len() > 8, "{shown:?} {watched:?}");
    for series in shown.union(&watched) {
        let family = series.strip_suffix("_bucket").or(series.strip_suffix("_count")).unwrap_or(series);
        // A counter by reason is there once it counts something.
        let is_there = metrics.contains(&format!("# TYPE {family} ")) || counted.contains(&format!("`{series}`"));
        assert!(is_there, "{series} is no series of the server");
    }
}

#[test]
fn every_series_is_explained_to_operators() {
    let page = include_str!("../../docs/operations.md");
    let metrics = metrics();
    let families = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for family in families {
        // `a_started_total`, `.._finished_total` in one row.
        let ending = family.rsplitn(3, '_').collect::<Vec<_>>();
        let is_there = page.contains(&format!("`{family}`"))
            || page.contains(&format!("`.._{}_{}`", ending.get(1).copied().unwrap_or_default(), ending[0]));
        assert!(is_there, "{family} is not in docs/operations.md");
    }
}

#[test]
fn every_series_that_a_page_names_is_explained_to_operators() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let explained = words(include_str!("../../docs/operations.md"), "fleetlm_");
    for entry in std::fs::read_dir(folder).expect("there is documentation") {
        let path = entry.expect("an entry").path();
        let Ok(page) = std::fs::read_to_string(&path) else { continue }; // a folder
        let unknown: Vec<String> = words(&page, "fleetlm_").difference(&explained).cloned().collect();
        assert!(unknown.is_empty(), "{} names {unknown:?}, which docs/operations.md does not", path.display());
    }
}

/// The anchors of a page, as GitHub makes them of its headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_alert_leads_to_the_section_that_says_what_to_do() {
    let known = anchors(include_str!("../../docs/operations.md"));
    let alerts = text("alerts.yaml");
    let links = alerts.lines().filter_map(|line| line.trim().strip_prefix("runbook_url: "));
    let links: Vec<&str> = links.collect();
    assert_eq!(links.len(), alerts.matches("- alert: ").count(), "each alert has one");
    for link in links {
        let (page, anchor) = link.split_once('#').expect("a section");
        assert!(page.ends_with("/docs/operations.md") && known.contains(anchor), "{link}");
    }
}

#[test]
fn the_files_and_the_metrics_are_what_their_readers_take() {
    let Some(programs) = deploy() else { return };
    let folder = Folder::new();
    let page = folder.path().join("metrics");
    std::fs::write(&page, metrics()).expect("it can be written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/deploy.py");
    let mut python = Command::new(programs.join("python"));
    let output = python.arg(script).arg(file("")).arg(&page).output().expect("it runs");
    assert_eq!(said(&output), "", "no complaints");
    let output = Command::new(programs.join("hadolint")).arg(file("Dockerfile")).output().expect("it runs");
    assert_eq!(said(&output), "", "no complaints");
}

#[test]
fn prometheus_takes_the_alerts_and_the_metrics() {
    if !runs("promtool", &["--version"]) {
        // Its parsers have seen both above: this is only the last word.
        return eprintln!("promtool is not installed: it was not asked");
    }
    said(&Command::new("promtool").args(["check", "rules"]).arg(file("alerts.yaml")).output().expect("it runs"));
    let mut promtool = Command::new("promtool");
    let mut child = promtool.args(["check", "metrics"]).stdin(Stdio::piped()).spawn().expect("it runs");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(metrics().as_bytes()).expect("it reads");
    drop(input);
    assert!(child.wait().expect("it ends").success(), "what it says stands above");
}

#[test]
fn the_unit_is_one_that_systemd_understands() {
    if !runs("systemd-analyze", &["--version"]) {
        return missing("systemd-analyze is not installed: the unit was not verified");
    }
    let folder = Folder::new();
    let unit = folder.path().join("fleetlm.service");
    let program = binary().get_program().to_str().expect("UTF-8").to_owned();
    std::fs::write(&unit, text("fleetlm.service").replace("/usr/local/bin/fleetlm", &program))
        .expect("it can be written");
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().expect("it runs");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !complaints.contains("fleetlm.service"), "{complaints}");
}

/// The calls of one of systemd's groups, with those of the groups in it.
fn calls_of(group: &str, listing: &str) -> BTreeSet<String> {
    let lines = listing.lines().skip_while(|line| *line != group).skip(1);
    let members = lines.take_while(|line| line.starts_with(' ')).map(str::trim).filter(|line| !line.starts_with('#'));
    members
        .flat_map(|name| if name.starts_with('@') { calls_of(name, listing) } else { [name.to_owned()].into() })
        .collect()
}

#[test]
fn the_unit_allows_every_system_call_that_the_server_makes() {
    let Ok(output) = Command::new("systemd-analyze").args(["syscall-filter", "--no-pager"]).output() else {
        return missing("systemd-analyze is not installed: the unit's system calls were not looked at");
    };
    let listing = said(&output);
    let unit = text("fleetlm.service");
    let filter = unit.lines().find_map(|line| line.strip_prefix("SystemCallFilter=")).expect("the unit has a filter");
    let allowed = filter
        .split(' ')
        .chain(["@default"])
        .flat_map(|name| if name.starts_with('@') { calls_of(name, &listing) } else { [name.to_owned()].into() });
    let allowed: BTreeSet<String> = allowed.collect();
    assert!(allowed.len() > 200, "{allowed:?}");
    let profile: Value = serde_json::from_str(&text("seccomp.json")).expect("the profile is JSON");
    let names = profile["syscalls"].as_array().expect("rules").iter().filter_map(|rule| rule["names"].as_array());
    let refused: Vec<&str> =
        names.flatten().filter_map(Value::as_str).filter(|name| !allowed.contains(*name)).collect();
    assert_eq!(refused, [""; 0], "the server makes these, as traced");
}

/// Tenths: 100 is a service that may do everything. The unit had 17 when this was written.
const EXPOSURE_MAX: u8 = 20;

#[test]
fn the_unit_leaves_little_to_who_breaks_in() {
    let judge = |unit: &Path| {
        let threshold = format!("--threshold={EXPOSURE_MAX}");
        let words = ["security", "--offline=true", "--no-pager", &threshold];
        Command::new("systemd-analyze").args(words).arg(unit).output().expect("it runs")
    };
    let unit = file("fleetlm.service");
    let can_judge = ["security", "--offline=true", "--threshold=100", &unit.to_string_lossy()];
    if !runs("systemd-analyze", &can_judge) {
        return missing("systemd-analyze cannot judge a unit here: the unit's exposure was not looked at");
    }
    said(&judge(&unit));
    let folder = Folder::new();
    let open = folder.path().join("fleetlm.service");
    let without: Vec<&str> = include_str!("../../deploy/fleetlm.service")
        .lines()
        .filter(|line| !line.starts_with("SystemCallFilter=") && !line.starts_with("CapabilityBoundingSet="))
        .collect();
    std::fs::write(&open, without.join("\n")).expect("it can be written");
    assert!(!judge(&open).status.success(), "a unit that allows more is noticed");
}

#[test]
fn the_manifests_are_yaml_and_name_the_port_the_volume_and_the_profile() {
    let Some(folder) = deploy() else { return };
    let script = "import json,sys,yaml; print(json.dumps([list(yaml.safe_load_all(open(f))) for f in sys.argv[1:]]))";
    let output = Command::new(folder.join("python"))
        .args(["-c", script])
        .args([file("kubernetes.yaml"), file("compose.yaml")])
        .output()
        .expect("it runs");
    let read: Value = serde_json::from_str(&said(&output)).expect("JSON");
    let objects = read[0].as_array().expect("manifests");
    let kinds: Vec<&str> = objects.iter().filter_map(|object| object["kind"].as_str()).collect();
    assert_eq!(kinds, ["Service", "StatefulSet", "PodDisruptionBudget"]);
    let pod = &objects[1]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["ports"][0]["containerPort"], 4000);
    assert_eq!(pod["securityContext"]["seccompProfile"]["localhostProfile"], "fleetlm.json");
    assert_eq!(container["volumeMounts"][0]["mountPath"], "/data");
    let drain: i64 = container["env"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|env| env["name"] == "FLEETLM_DRAIN_S")
        .and_then(|env| env["value"].as_str()?.parse().ok())
        .expect("the drain's seconds");
    assert!(pod["terminationGracePeriodSeconds"].as_i64().expect("seconds") > drain, "a drain is not cut short");
    let service = &read[1][0]["services"]["fleetlm"];
    assert_eq!(
        (service["ports"][0].as_str(), service["volumes"][0].as_str()),
        (Some("127.0.0.1:4000:4000"), Some("data:/data"))
    );
    assert!(
        text("Dockerfile").contains("FLEETLM_LISTEN=0.0.0.0:4000")
            && text("Dockerfile").contains("FLEETLM_DATA_DIR=/data")
    );
}
