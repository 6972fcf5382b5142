//! `fleetlm backup`: the copy of a folder that a server is writing is what that server had acknowledged at one moment.

use crate::harness::rest::{seqs, texts};
use crate::harness::server::run;
use crate::harness::{Folder, Options, Server, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

/// The least there may be, so that rolls and seals happen all the time.
const SEGMENT_BYTES: &str = "16777216";
const WRITERS: usize = 4;
const BACKUPS: usize = 3;
/// Messages of each writer between two backups.
const ROUND: u64 = 40;

fn words(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn backup(dir: &Path, to: &Path) -> String {
    let output = run(&["backup", words(dir), words(to)]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// What one writer has begun to send and what was acknowledged.
#[derive(Default)]
struct Sent {
    begun: AtomicU64,
    acked: AtomicU64,
}

#[test]
fn a_backup_of_a_running_server_holds_what_was_acknowledged_before_it_and_nothing_from_after_it() {
    let (folder, copies) = (Folder::new(), Folder::new());
    let server = Server::on(folder.path(), &Options::shards(2).flags(&["--segment-bytes", SEGMENT_BYTES]));
    let sessions: Vec<String> = (0..WRITERS).map(|_| server.session("alice", "bot")).collect();
    let sent: Vec<Sent> = (0..WRITERS).map(|_| Sent::default()).collect();
    let over = AtomicBool::new(false);
    let filling = "x".repeat(60_000);
    let bounds: Vec<(PathBuf, Vec<(u64, u64)>)> = std::thread::scope(|scope| {
        for (session, sent) in sessions.iter().zip(&sent) {
            let (server, over, filling) = (&server, &over, &filling);
            scope.spawn(move || {
                while !over.load(SeqCst) {
                    let n = sent.begun.fetch_add(1, SeqCst) + 1;
                    server.say(session, "alice", &format!("{n} {filling}"));
                    sent.acked.store(n, SeqCst);
                }
            });
        }
        // Sessions that come and go leave segments that are dead, and rewritten, and removed.
        scope.spawn(|| {
            while !over.load(SeqCst) {
                let session = server.session("bob", "bot");
                for _ in 0..20 {
                    server.say(&session, "bob", &filling);
                }
                server.delete(&format!("/api/sessions/{session}?permanent=true"));
            }
        });
        let taken = (0..BACKUPS).map(|round| {
            let enough = (round as u64 + 1) * ROUND;
            while sent.iter().any(|sent| sent.acked.load(SeqCst) < enough) {
                std::thread::yield_now();
            }
            let to = copies.path().join(format!("copy-{round}"));
            let least: Vec<u64> = sent.iter().map(|sent| sent.acked.load(SeqCst)).collect();
            backup(folder.path(), &to);
            (to, least.into_iter().zip(&sent).map(|(least, sent)| (least, sent.begun.load(SeqCst))).collect())
        });
        let taken = taken.collect();
        over.store(true, SeqCst);
        taken
    });
    server.stop();
    for (copy, bounds) in bounds {
        let restored = Server::on(&copy, &Options::shards(1)); // a copy opens with any number, as every folder
        for (session, (least, most)) in sessions.iter().zip(bounds) {
            let history = restored.history(session);
            let count = history.len() as u64;
            assert!((least..=most).contains(&count), "{least} acknowledged, {count} restored, {most} begun");
            assert_eq!(seqs(&history), (1..=count).collect::<Vec<_>>());
            for (text, n) in texts(&history).iter().zip(1..) {
                assert_eq!(*text, format!("{n} {filling}"));
            }
            assert_eq!(restored.say(session, "alice", "on")["seq"], count + 1, "the copy goes on where it ends");
        }
        restored.stop();
    }
}

#[test]
fn a_backup_has_the_files_and_check_misses_one_that_is_gone() {
    let (folder, copies) = (Folder::new(), Folder::new());
    let server = Server::on(folder.path(), &Options::default());
    let session = server.session("alice", "echo");
    let upload = json!({ "filename": "a.txt", "content": "aGVsbG8=", "mimeType": "text/plain" });
    let answer = server.post(&format!("/api/sessions/{session}/upload"), &upload).expect(200);
    let path = answer["path"].as_str().expect("an upload says where it is").to_owned();
    let copy = copies.path().join("copy");
    let said = backup(folder.path(), &copy);
    assert!(said.contains("1 files, 0 missing or damaged"), "{said}");
    server.stop();
    let restored = Server::on(&copy, &Options::default());
    assert_eq!(restored.get(&format!("/{path}")).body, b"hello");
    restored.stop();
    let is_blob = |file: &&PathBuf| file.file_name().is_some_and(|name| name.len() == 64);
    let files = copies.files();
    let blob = files.iter().find(is_blob).expect("the file is there");
    std::fs::remove_file(blob).expect("it can be removed");
    let output = run(&["check", words(&copy)]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(words(blob)) && text.contains("1 files, 1 missing or damaged"), "{text}");
}

#[test]
fn a_backup_replaces_nothing_and_needs_a_data_folder() {
    let (folder, empty, targets) = (Folder::new(), Folder::new(), Folder::new());
    let to = targets.path().join("copy");
    let server = Server::on(folder.path(), &Options::default());
    server.session("alice", "bot");
    server.stop();
    let inside = folder.path().join("copy");
    let cases = [
        (folder.path(), empty.path(), "exists already"),
        (empty.path(), &to, "is not a data folder"),
        (&empty.path().join("missing"), &to, "No such file"),
        (folder.path(), &inside, "lies in the data folder itself"),
        (folder.path(), &targets.path().join("a/b"), "No such file"),
    ];
    for (dir, to, word) in cases {
        let output = run(&["backup", words(dir), words(to)]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(word) && !error.contains("panicked"), "{word}: {error}");
        assert!(!inside.exists(), "{word}");
        let left = std::fs::read_dir(targets.path()).expect("it can be listed").count();
        assert_eq!(left, 0, "{word}: nothing unfinished is left");
    }
}
