//! A full disk: appends are refused by name, reads go on, the server stays up and takes appends again when there is room.
//!
//! Needs to mount a small file system of its own. Where that is not allowed the test says so and proves nothing,
//! except under `CI=true`, where it fails.

use crate::harness::rest::list;
use crate::harness::{Answer, Folder, Options, Server, json};
use std::path::Path;
use std::process::Command;

/// A memory file system of a fixed size on a folder of its own; unmounted on drop.
struct SmallDisk {
    folder: Folder,
}

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let folder = Folder::new();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "fleetlm-test"]).arg(folder.path());
        let output = mount.output().ok()?;
        if output.status.success() {
            return Some(Self { folder });
        }
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must be able to mount: {why}");
        eprintln!("NOT TESTED: what a full disk does, for mounting a small one failed: {why}");
        None
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, for a failing test's server may still hold it.
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.path().display());
        }
    }
}

#[test]
fn a_full_disk_refuses_appends_by_name_and_serves_reads() {
    let Some(disk) = SmallDisk::mount("480m") else { return };
    let data = disk.path().join("data");
    let mut server = Server::on(&data, &Options { durability: "memory", ..Options::shards(1) });
    let session = server.session("alice", "bot");
    let text = "x".repeat(1_000_000);
    let append = |server: &Server| -> Answer {
        let body = json!({"user_id": "alice", "content": {"text": text}});
        server.post(&format!("/api/sessions/{session}/messages"), &body)
    };
    let mut stored = 0;
    let refused = loop {
        let answer = append(&server);
        if answer.status != 200 {
            break answer;
        }
        stored += 1;
        assert!(stored < 1000, "a disk of 480 MB is full at some time");
    };
    assert!(stored > 50, "the disk was not full at the beginning: {stored}");
    assert!(refused.status == 503 || refused.status == 507, "{}", refused.status);
    // The first refusal may be that the next segment is still being prepared; the name comes when that failed.
    let mut refusals = 0;
    let named = loop {
        let answer = append(&server);
        assert_ne!(answer.status, 200, "nobody made room");
        if answer.text().to_lowercase().contains("disk") {
            break answer;
        }
        refusals += 1;
        assert!(refusals < 2000, "the refusal does not name the disk: {}", answer.text());
    };
    assert!(named.status == 503 || named.status == 507, "{}", named.status);

    let newest = server.get(&format!("/api/sessions/{session}/messages?before_seq={}&limit=1", stored + 1)).expect(200);
    assert_eq!(list(&newest, "messages")[0]["seq"], stored);
    assert_eq!(server.get("/health/live").status, 200);
    assert!(server.is_running());
    let log = server.stop();
    assert!(log.to_lowercase().contains("disk") || log.to_lowercase().contains("space"), "{log}");
}
