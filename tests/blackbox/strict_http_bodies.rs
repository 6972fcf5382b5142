//! HTTP/1.1 bodies: chunked coding, limits before the bytes, `Expect: 100-continue`.

use crate::harness::{Connection, Server, json};

const HEAD: &str = "POST /api/sessions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
const BODY: &str = r#"{"user_id":"alice","agent_id":"bot"}"#;

fn chunked(server: &Server, body: &str) -> Connection {
    let mut connection = server.connect();
    connection.send(format!("{HEAD}transfer-encoding: chunked\r\n\r\n{body}"));
    connection
}

#[test]
fn a_chunked_body_in_any_cut_is_the_same_body() {
    let server = Server::shared();
    let whole = format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len());
    let upper = format!("{:X};name=\"value\"\r\n{BODY}\r\n0\r\n\r\n", BODY.len());
    let zeros = format!("0000{:x}\r\n{BODY}\r\n0\r\nx-trailer: y\r\n\r\n", BODY.len());
    let single: String = BODY.chars().map(|c| format!("1\r\n{c}\r\n")).chain(["0\r\n\r\n".to_owned()]).collect();
    for body in [whole, upper, zeros, single] {
        let mut connection = chunked(&server, &body);
        assert_eq!(connection.answer().expect(201)["session"]["user_id"], "alice", "{body:?}");
        connection.send("GET /api/agents HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(connection.answer().status, 200, "the connection goes on behind {body:?}");
    }
}

#[test]
fn a_bad_chunk_is_400_and_ends_the_connection() {
    let server = Server::shared();
    for body in [
        "zz\r\n{}\r\n0\r\n\r\n",
        "\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "+2\r\n{}\r\n0\r\n\r\n",
        "0x2\r\n{}\r\n0\r\n\r\n",
        " 2\r\n{}\r\n0\r\n\r\n",
        "2\n{}\n0\n\n",
        "2\r\n{}0\r\n\r\n",
        "2\r\n{}xx0\r\n\r\n",
        "11111111111111111\r\n{}\r\n0\r\n\r\n",
    ] {
        let mut connection = chunked(&server, body);
        let status = connection.answer().status;
        assert!(status == 400 || (status == 413 && body.starts_with("111")), "{body:?}: {status}");
        assert!(connection.is_closed_by_server(), "{body:?}");
    }
}

#[test]
fn an_oversized_body_is_413_before_it_is_sent_and_ends_the_connection() {
    let server = Server::shared();
    let mut declared = server.connect();
    declared.send(format!("{HEAD}content-length: 8000001\r\n\r\n"));
    assert_eq!(declared.answer().expect(413), json!({"errors": {"detail": "Request Entity Too Large"}}));
    assert!(declared.is_closed_by_server());
    let mut announced = chunked(&server, "7a1201\r\n");
    assert_eq!(announced.answer().status, 413, "0x7a1201 is 8 000 001");
    assert!(announced.is_closed_by_server());
    let mut added_up = chunked(&server, "");
    let chunk = format!("f4240\r\n{}\r\n", "x".repeat(1_000_000));
    for _ in 0..9 {
        added_up.send(&chunk);
    }
    assert_eq!(added_up.answer().status, 413);
}

#[test]
fn an_expected_continue_is_given_before_the_body_and_refused_when_the_body_would_be() {
    let server = Server::shared();
    let mut connection = server.connect();
    connection.send(format!("{HEAD}expect: 100-continue\r\ncontent-length: {}\r\n\r\n", BODY.len()));
    assert_eq!(connection.answer().status, 100);
    connection.send(BODY);
    connection.answer().expect(201);
    connection.send(format!("{HEAD}expect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n"));
    assert_eq!(connection.answer().status, 100);
    connection.send(format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len()));
    connection.answer().expect(201);
    let mut refused = server.connect();
    refused.send(format!("{HEAD}expect: 100-continue\r\ncontent-length: 8000001\r\n\r\n"));
    assert_eq!(refused.answer().status, 413);
}

#[test]
fn a_body_that_is_already_there_needs_no_continue_to_be_read() {
    let server = Server::shared();
    let mut connection = server.connect();
    connection.send(format!("{HEAD}expect: 100-continue\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len()));
    let first = connection.answer();
    let created = if first.status == 100 { connection.answer() } else { first };
    created.expect(201);
}

#[test]
fn a_connection_that_ends_within_a_body_changes_nothing() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let body = r#"{"user_id":"alice","content":{}}"#;
    let mut connection = server.connect();
    connection.send(format!(
        "POST /api/sessions/{session}/messages HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len() + 1
    ));
    connection.finish_sending();
    // Refused or just ended; either way nothing was appended.
    if let Ok(answer) = connection.try_answer(false) {
        assert_eq!(answer.status, 400);
    }
    assert_eq!(server.history(&session).len(), 0);
}
