//! What the server tells of its data folder, held against the folder itself and against `fleetlm check`.

use crate::harness::guard::{Guarded, signed, user_token};
use crate::harness::server::run;
use crate::harness::{Folder, Options, Server, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// The least that a server takes.
const SEGMENT_BYTES: &str = "16777216";

fn server_on(folder: &Folder) -> Server {
    Server::on(folder.path(), &Options::shards(2).flags(&["--segment-bytes", SEGMENT_BYTES]))
}

/// Says this many times 4 MB, each time in a session of its own.
fn fill(server: &Server, messages: usize) {
    let filling = "x".repeat(4_000_000);
    for _ in 0..messages {
        server.say(&server.session("alice", "bot"), "alice", &filling);
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is a number"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is a text"))
}

fn segments(listing: &Value) -> &Vec<Value> {
    listing["segments"].as_array().expect("a list")
}

/// Segments by the names of their files, and their lengths.
fn told(listing: &Value) -> BTreeMap<String, u64> {
    let all = segments(listing);
    let told: BTreeMap<String, u64> =
        all.iter().map(|one| (text(&one["file"]).to_owned(), number(&one["bytes_file"]))).collect();
    assert_eq!(told.len(), all.len(), "none is told twice: {all:#?}");
    told
}

fn files(folder: &Path, suffix: &str) -> BTreeMap<String, u64> {
    let entries = std::fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("an entry"));
    let named = entries.map(|entry| (entry.file_name().into_string().expect("UTF-8"), entry));
    let of_it = named.filter(|(name, _)| name.ends_with(suffix));
    of_it.filter_map(|(name, entry)| Some((name, entry.metadata().ok()?.len()))).collect()
}

/// Asks until nothing is under way in the folder any more.
fn settled(server: &Server, folder: &Folder) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let listing = server.get("/api/storage?limit=1000").expect(200);
        let is_settled = segments(&listing).iter().all(|one| one["state"] != "sealing");
        if is_settled && told(&listing) == files(folder.path(), ".segment") {
            return listing;
        }
        assert!(Instant::now() < deadline, "{listing:#}\n{:#?}", files(folder.path(), ".segment"));
    }
}

/// What the check says of each segment: state, bytes used, bytes of the file.
fn checked(folder: &Folder) -> BTreeMap<String, (String, u64, u64)> {
    let output = run(&["check", folder.path().to_str().expect("UTF-8")]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    let segment = |line: &str| {
        let (file, rest) = line.split_once(".segment shard ")?;
        let state = rest.split([' ', ':']).nth(1)?;
        let words: Vec<&str> = line.trim_end_matches(" bytes").rsplit(' ').take(3).collect();
        let [bytes, _, used] = words[..] else { return None };
        Some((format!("{file}.segment"), (state.to_owned(), used.parse().ok()?, bytes.parse().ok()?)))
    };
    said.lines().filter_map(segment).collect()
}

/// Compares all that a listing tells with the check.
fn agrees_with_the_check(listing: &Value, folder: &Folder) {
    let checked = checked(folder);
    assert_eq!(segments(listing).len(), checked.len(), "{listing:#}\n{checked:#?}");
    for one in segments(listing) {
        let state = match text(&one["state"]) {
            "prepared" | "active" => "unsealed",
            sealed => sealed,
        };
        let ours = (state.to_owned(), number(&one["bytes_used"]), number(&one["bytes_file"]));
        assert_eq!(ours, checked[text(&one["file"])], "{one}");
    }
}

#[test]
fn the_segments_that_are_told_are_those_on_the_disk_also_those_of_earlier_starts() {
    let folder = Folder::new();
    let server = server_on(&folder);
    fill(&server, 24);
    let listing = settled(&server, &folder);
    assert!(segments(&listing).len() > 6, "the log has rolled: {listing:#}");
    let states = |listing: &Value, state: &str| segments(listing).iter().filter(|one| one["state"] == state).count();
    assert_eq!(states(&listing, "active"), 2, "each shard writes one: {listing:#}");
    assert!(states(&listing, "sealed") > 2, "{listing:#}");
    agrees_with_the_check(&listing, &folder);
    server.stop();

    let server = server_on(&folder);
    fill(&server, 6);
    let listing = settled(&server, &folder);
    agrees_with_the_check(&listing, &folder);
    let shards = listing["shards"].as_array().expect("a list");
    let sum = |name: &str| shards.iter().map(|shard| number(&shard[name])).sum::<u64>();
    assert_eq!(sum("segments"), segments(&listing).len() as u64);
    assert_eq!(sum("bytes_file"), told(&listing).values().sum::<u64>());
    for (id, shard) in shards.iter().enumerate() {
        let active = segments(&listing).iter().find(|one| one["state"] == "active" && one["shard"] == json!(id));
        let end = &active.expect("it writes one")["end_position"];
        assert_eq!((&shard["durable_position"], &shard["end_position"]), (end, end), "all is durable");
    }
}

#[test]
fn pages_go_on_below_the_last_number() {
    let folder = Folder::new();
    let server = server_on(&folder);
    fill(&server, 9);
    let whole = settled(&server, &folder);
    let mut paged = Vec::new();
    loop {
        let before = paged.last().map_or(String::new(), |last: &Value| format!("&before={}", last["number"]));
        let page = server.get(&format!("/api/storage?limit=2{before}")).expect(200);
        paged.extend(segments(&page).iter().cloned());
        if page["has_more"] == json!(false) {
            break;
        }
        assert_eq!(segments(&page).len(), 2);
    }
    let named = |list: &[Value]| list.iter().map(|one| one["file"].clone()).collect::<Vec<_>>();
    assert_eq!(named(&paged), named(segments(&whole)));
    assert_eq!(whole["has_more"], json!(false));
}

#[test]
fn room_times_snapshots_and_files_of_sessions_are_told() {
    let folder = Folder::new();
    let server = server_on(&folder);
    let session = server.session("alice", "echo");
    let upload = json!({"filename": "a.txt", "content": "aGVsbG8=", "mimeType": "text/plain"});
    server.post(&format!("/api/sessions/{session}/upload"), &upload).expect(200);
    let listing = settled(&server, &folder);
    let (free, size) = (number(&listing["disk"]["bytes_free"]), number(&listing["disk"]["bytes_size"]));
    assert!(0 < free && free <= size, "{listing:#}");
    assert_eq!(listing["blobs"], json!({"files": 1, "bytes": 5, "is_whole": true}));
    assert!(segments(&listing).iter().all(|one| text(&one["written_at"]).starts_with("20")), "{listing:#}");
    let snapshots = listing["snapshots"].as_array().expect("a list");
    assert_eq!(listing["snapshots_total"], json!(snapshots.len()));
    assert_eq!(snapshots.len(), files(folder.path(), ".snapshot").len());
    let metrics = server.get("/metrics").text().to_owned();
    let gauge = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}"));
        line.trim().parse::<u64>().expect("a number")
    };
    assert_eq!(gauge("fleetlm_disk_size_bytes "), size);
    assert!(gauge("fleetlm_disk_free_bytes ") <= size);
}

#[test]
fn who_may_not_see_the_server_is_told_nothing_of_its_disk() {
    let guarded = Guarded::start(&[]);
    let key = |fields: Value| guarded.key(&fields).1;
    let status = |token: &str| guarded.call(token, "GET", "/api/storage", None).status;
    for allowed in [key(json!({"name": "all"})), key(json!({"name": "eyes", "scope": "read"}))] {
        assert_eq!(status(&allowed), 200);
    }
    let session =
        json!({"sub": "alice", "session": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "exp": crate::harness::guard::now_s() + 600});
    for refused in [
        key(json!({"name": "other", "namespace": "a"})),
        key(json!({"name": "bot", "scope": "agent:bot"})),
        user_token("default", "alice", 600),
        signed(&json!({"alg": "HS256"}), &session),
    ] {
        assert_eq!(status(&refused), 403);
    }
    assert_eq!(guarded.server.get("/api/storage").status, 401);
}
