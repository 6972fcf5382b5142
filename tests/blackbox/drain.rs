//! SIGTERM, restarts and the data folder's lock: what stops in order loses nothing and says how it stopped.

use crate::harness::http::{Connection, request};
use crate::harness::rest::{list, messages, seqs};
use crate::harness::{Folder, Options, Server, Socket, json};
use std::sync::mpsc;
use std::thread;

#[test]
fn sigterm_closes_sockets_with_1012_and_ends_with_0() {
    let server = Server::start();
    let session = server.session("alice", "bot");
    let mut sockets: Vec<Socket> = (0..8).map(|_| Socket::open(&server, "alice")).collect();
    sockets.iter_mut().for_each(|socket| drop(socket.join_session(&session)));
    server.terminate();
    for socket in &mut sockets {
        assert_eq!(socket.close_code(), Some(1012));
    }
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn everything_acknowledged_during_a_drain_is_there_after_it() {
    let folder = Folder::new();
    let server = Server::on(folder.path(), &Options::shards(2));
    let sessions: Vec<String> = (0..4).map(|_| server.session("alice", "bot")).collect();
    let address = server.address();
    let (told, heard) = mpsc::channel();
    let mut acknowledged: Vec<(String, u64, String)> = Vec::new();
    thread::scope(|scope| {
        for (writer, session) in sessions.iter().enumerate() {
            let told = told.clone();
            scope.spawn(move || {
                let Ok(mut connection) = Connection::try_open(address) else { return };
                for n in 0.. {
                    let text = format!("{writer}/{n}");
                    let body = json!({"user_id": "alice", "content": {"text": text}});
                    let sent = connection.try_send(request("POST", &messages(session), &[], Some(&body)));
                    let Ok(answer) = sent.and_then(|()| connection.try_answer(false)) else { return };
                    if answer.status == 503 {
                        // Refused by name: not acknowledged.
                        return;
                    }
                    let seq = answer.expect(200)["message"]["seq"].as_u64().expect("a seq");
                    told.send((session.clone(), seq, text)).expect("the test listens");
                }
            });
        }
        drop(told);
        acknowledged.extend(heard.iter().take(100));
        server.terminate();
        acknowledged.extend(heard.iter());
        let (status, log) = server.wait();
        assert!(status.success(), "{status}:\n{log}");
    });
    let server = Server::on(folder.path(), &Options::shards(1));
    for session in &sessions {
        let history = server.history(session);
        assert_eq!(seqs(&history), (1..=history.len() as u64).collect::<Vec<u64>>());
        for (_, seq, text) in acknowledged.iter().filter(|(owner, _, _)| owner == session) {
            assert_eq!(history[*seq as usize - 1]["content"]["text"], text.as_str());
        }
    }
}

#[test]
fn no_connection_is_accepted_once_a_drain_has_ended_and_idle_ones_do_not_hold_it_up() {
    let server = Server::start();
    let address = server.address();
    let _idle: Vec<Connection> = (0..5).map(|_| server.connect()).collect();
    let mut half = server.connect();
    half.send("POST /api/sessions HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n{");
    server.stop();
    Connection::try_open(address).err().expect("nobody listens any more");
}

#[test]
fn a_second_sigterm_ends_at_once_and_loses_nothing_acknowledged() {
    let folder = Folder::new();
    let server = Server::on(folder.path(), &Options::default());
    let session = server.session("alice", "bot");
    let message = server.say(&session, "alice", "kept");
    server.terminate();
    server.terminate();
    let (status, log) = server.wait();
    // The drain may have been over before the second signal arrived.
    assert!(matches!(status.code(), Some(0 | 143)), "{status}: {log}");
    let server = Server::on(folder.path(), &Options::default());
    let page = server.get(&format!("/api/sessions/{session}/messages")).expect(200);
    assert_eq!(list(&page, "messages"), [message]);
}

#[test]
fn a_second_server_on_the_same_folder_is_refused_by_name_and_harms_nothing() {
    let folder = Folder::new();
    let server = Server::on(folder.path(), &Options::default());
    let session = server.session("alice", "bot");
    server.say(&session, "alice", "first");
    let Err((status, log)) = Server::try_on(folder.path(), &Options::default()) else {
        panic!("two servers on one folder");
    };
    assert!(!status.success());
    let path = folder.path().to_string_lossy();
    assert!(log.contains(&*path), "the folder is named: {log}");
    let log = log.to_lowercase();
    assert!(log.contains("lock") || log.contains("in use") || log.contains("another"), "the reason is named: {log}");
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(server.say(&session, "alice", "second")["seq"], 2);
}

#[test]
fn every_number_of_shards_serves_what_any_other_wrote() {
    let folder = Folder::new();
    let mut sessions: Vec<String> = Vec::new();
    let mut lives = 0;
    for shards in [1, 4, 2, 3, 1] {
        let server = Server::on(folder.path(), &Options::shards(shards));
        for session in &sessions {
            assert_eq!(server.history(session).len() as u64, lives, "{session} with {shards} shards");
        }
        if sessions.is_empty() {
            sessions = (0..12).map(|_| server.session("alice", "bot")).collect();
        }
        lives += 1;
        for session in &sessions {
            assert_eq!(server.say(session, "alice", &format!("life {lives}"))["seq"], lives);
        }
        server.stop();
    }
}

#[test]
fn the_address_in_use_is_refused_by_name() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address");
    let folder = Folder::new();
    let Err((status, log)) = Server::try_on(folder.path(), &Options::default().listen(address)) else {
        panic!("two listeners on one port");
    };
    assert!(!status.success());
    assert!(log.contains(&address.port().to_string()) && !log.contains("panicked"), "{log}");
}

#[test]
fn options_may_come_from_the_environment() {
    let folder = Folder::new();
    let path = folder.path().to_str().expect("a path in UTF-8").to_owned();
    let mut command = crate::harness::server::binary();
    command.env("FLEETLM_DATA_DIR", &path).env("FLEETLM_SHARDS", "none");
    let output = command.args(["serve", "--listen", "127.0.0.1:0"]).output().expect("the binary runs");
    assert!(!output.status.success(), "a wrong variable is as wrong as a wrong flag");
    let text = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(text.contains("shards"), "{text}");
    let options = Options::default().flags(&["--log-format", "json"]).environment("FLEETLM_WS_DEFLATE", "true");
    let server = Server::on(folder.path(), &options);
    assert_eq!(server.get("/health/ready").status, 200);
    server.stop();
}
