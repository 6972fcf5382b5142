//! Certificates: what a start refuses, what SIGHUP changes, and what it must not.

use crate::harness::http::request;
use crate::harness::rest::{messages, seqs};
use crate::harness::server::{binary, run};
use crate::harness::{Folder, Options, Secured, Server, Socket, json};
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};

const RELOADED: &str = "the TLS certificate was reloaded";
const KEPT: &str = "the TLS certificate was not reloaded";

fn certificate(server: &Server) -> Vec<u8> {
    server.open().expect("the server accepts").certificate()
}

#[test]
fn a_reload_under_load_swaps_the_certificate_and_fails_no_request() {
    const RELOADS: usize = 8;
    let secured = Secured::new();
    let server = Server::with(&secured.options());
    let sessions: Vec<String> = (0..4).map(|_| server.session("alice", "bot")).collect();
    let mut socket = Socket::open(&server, "alice");
    let topic = socket.join_session(&sessions[0]);
    let mut old = server.connect();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for session in &sessions {
            scope.spawn(|| {
                let mut said = 0;
                while !is_over.load(Ordering::Relaxed) {
                    // Some on a connection of their own, some on one that lives on.
                    let mut connection = server.connect();
                    for _ in 0..3 {
                        let body = json!({"user_id": "alice", "content": {"text": "again"}});
                        connection.send(request("POST", &messages(session), &[], Some(&body)));
                        said += 1;
                        assert_eq!(connection.answer().expect(200)["message"]["seq"], said);
                    }
                }
                assert_eq!(seqs(&server.history(session)).len(), said);
            });
        }
        for n in 1..=RELOADS {
            let fresh = secured.renew();
            server.hang_up();
            server.logged(RELOADED, n);
            assert_eq!(certificate(&server), fresh, "new connections get it at once");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    old.send(request("GET", "/health/live", &[], None));
    assert_eq!(old.answer().status, 200, "one of before the first goes on");
    socket.event(&topic, "message");
    socket.settle();
    let log = server.stop();
    assert_eq!(log.matches(KEPT).count(), 0, "{log}");
}

#[test]
fn a_bad_file_keeps_the_old_certificate_and_says_so() {
    let secured = Secured::new();
    let server = Server::with(&secured.options());
    let before = certificate(&server);
    let (good, key) = (std::fs::read(secured.certificate()), std::fs::read(secured.key()));
    let (good, key) = (good.expect("it is there"), key.expect("it is there"));
    let other = Secured::new();
    type Spoil<'a> = &'a dyn Fn(&Path, &Path);
    let spoils: [Spoil<'_>; 5] = [
        &|certificate, _| std::fs::write(certificate, "rubbish").expect("it can be written"),
        &|certificate, _| std::fs::remove_file(certificate).expect("it is there"),
        &|_, key| std::fs::write(key, "").expect("it can be written"),
        &|certificate, _| std::fs::write(certificate, &good[..good.len() / 2]).expect("it can be written"),
        &|_, key| assert!(std::fs::copy(other.key(), key).expect("it can be written") > 0),
    ];
    for (n, spoil) in (1..).zip(spoils) {
        spoil(&secured.certificate(), &secured.key());
        server.hang_up();
        server.logged(KEPT, n);
        assert_eq!(certificate(&server), before);
        std::fs::write(secured.certificate(), &good).expect("it can be written");
        std::fs::write(secured.key(), &key).expect("it can be written");
    }
    let fresh = secured.renew();
    server.hang_up();
    server.logged(RELOADED, 1);
    assert_eq!(certificate(&server), fresh);
    let log = server.stop();
    for word in ["cert.pem", "key.pem", "No such file", "not that of the first certificate"] {
        assert!(log.contains(word), "{word} is missing in {log}");
    }
    assert!(!log.contains("PRIVATE KEY-----"), "{log}");
}

#[test]
fn without_tls_a_sighup_reloads_nothing_and_ends_nothing() {
    let server = Server::start();
    let session = server.session("alice", "bot");
    let mut socket = Socket::open(&server, "alice");
    let topic = socket.join_session(&session);
    for n in 1..=3 {
        server.hang_up();
        server.logged("nothing to reload", n);
        assert_eq!(socket.say(&topic, "still here"), n as u64);
    }
    assert_eq!(server.get("/health/ready").status, 200);
    server.stop();
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains("panicked") && !text.contains("PRIVATE KEY-----"), "{text}");
    text
}

#[test]
fn a_start_takes_both_files_or_none_and_says_what_is_wrong_with_which() {
    let secured = Secured::new();
    let path = |path: std::path::PathBuf| path.to_str().expect("a path in UTF-8").to_owned();
    let (certificate, key) = (path(secured.certificate()), path(secured.key()));
    assert!(refused(&run(&["--tls-cert", &certificate])).contains("--tls-key"));
    assert!(refused(&run(&["serve", "--tls-key", &key])).contains("--tls-cert"));
    let half = binary().env("FLEETLM_TLS_CERT", &certificate).output().expect("the binary runs");
    assert!(refused(&half).contains("--tls-key"));
    let folder = Folder::new();
    let data = path(folder.path().join("data"));
    let start = |certificate: &str, key: &str| {
        let words = ["--listen", "127.0.0.1:0", "--data-dir", &data, "--tls-cert", certificate, "--tls-key", key];
        refused(&run(&words))
    };
    let text = start("/nowhere/cert.pem", &key);
    assert!(text.contains("/nowhere/cert.pem") && text.contains("No such file"), "{text}");
    let text = start(&certificate, "/nowhere/key.pem");
    assert!(text.contains("/nowhere/key.pem") && text.contains("No such file"), "{text}");
    let text = start(&key, &certificate);
    assert!(text.contains(&key) && text.contains("no certificate"), "{text}");
    let text = start(&certificate, &path(Secured::new().key()));
    assert!(text.contains(&certificate), "{text}");
    assert!(!Path::new(&data).exists(), "a start that is refused touches no data");
}

#[test]
fn the_files_may_come_from_the_environment_and_the_address_says_https() {
    let secured = Secured::new();
    let path = |path: std::path::PathBuf| path.to_str().expect("a path in UTF-8").to_owned();
    let options = Options { flags: Vec::new(), ..secured.options() }
        .environment("FLEETLM_TLS_CERT", &path(secured.certificate()))
        .environment("FLEETLM_TLS_KEY", &path(secured.key()));
    let server = Server::with(&options);
    assert_eq!(server.get("/health/ready").status, 200);
    let https = format!("listening on https://{}", server.address());
    assert!(server.stop().contains(&https));
}
