//! HTTP/1.1 heads and connections: what is refused, what is answered, and when a connection ends.

use crate::harness::http::request;
use crate::harness::{Connection, Server, json};

/// Sends bytes with a second request behind them and gives the status of the only answer: a refused request ends its
/// connection, so nothing behind it is read as a request.
#[track_caller]
fn refused(server: &Server, bytes: &str) -> u16 {
    let mut connection = server.connect();
    connection.send(format!("{bytes}GET /api/agents HTTP/1.1\r\nhost: test\r\n\r\n"));
    let status = connection.answer().status;
    assert!(connection.is_closed_by_server(), "a refused request ends its connection: {bytes:?}");
    status
}

#[test]
fn a_request_without_a_host_or_with_two_is_400() {
    let server = Server::shared();
    assert_eq!(refused(&server, "GET /api/agents HTTP/1.1\r\n\r\n"), 400);
    assert_eq!(refused(&server, "GET /api/agents HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n"), 400);
    assert_eq!(refused(&server, "GET /api/agents HTTP/1.1\r\nhost: a\r\nHost: b\r\n\r\n"), 400);
}

#[test]
fn both_lengths_repeated_lengths_and_lengths_that_are_no_number_are_400() {
    let server = Server::shared();
    for lines in [
        "content-length: 2\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 2",
        "content-length: 2\r\ncontent-length: 2",
        "content-length: 2\r\ncontent-length: 3",
        "content-length: 2, 2",
        "content-length: +2",
        "content-length: -2",
        "content-length: 0x2",
        "content-length: 2 2",
        "content-length:",
        "content-length: 99999999999999999999999999",
    ] {
        let head = format!("POST /api/sessions HTTP/1.1\r\nhost: a\r\n{lines}\r\n\r\n{{}}");
        let status = refused(&server, &head);
        assert!(status == 400 || (status == 413 && lines.ends_with("99999")), "{lines:?}: {status}");
    }
}

#[test]
fn other_transfer_codings_are_refused() {
    let server = Server::shared();
    for lines in [
        "transfer-encoding: gzip",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: identity",
        "transfer-encoding: xchunked",
        "transfer-encoding: chunked, identity",
    ] {
        let head = format!("POST /api/sessions HTTP/1.1\r\nhost: a\r\n{lines}\r\n\r\n0\r\n\r\n");
        let status = refused(&server, &head);
        assert!(status == 400 || status == 501, "{lines:?}: {status}");
    }
}

#[test]
fn bare_line_feeds_folded_lines_and_spaces_before_the_colon_are_400() {
    let server = Server::shared();
    for head in [
        "GET /api/agents HTTP/1.1\nhost: a\n\n",
        "GET /api/agents HTTP/1.1\r\nhost: a\nx: y\r\n\r\n",
        "GET /api/agents HTTP/1.1\r\nhost: a\r\nx: y\r\n folded\r\n\r\n",
        "GET /api/agents HTTP/1.1\r\nhost: a\r\nx: y\r\n\tfolded\r\n\r\n",
        "GET /api/agents HTTP/1.1\r\n host: a\r\n\r\n",
        "GET /api/agents HTTP/1.1\r\nhost : a\r\n\r\n",
        "GET /api/agents HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n",
        "GET /api/agents HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n",
        "GET /api/agents HTTP/1.1\r\nhost: a\r\n: empty name\r\n\r\n",
        "GET /api/agents HTTP/1.1\r\nhost: a\r\nno colon\r\n\r\n",
    ] {
        assert_eq!(refused(&server, head), 400, "{head:?}");
    }
}

#[test]
fn a_request_line_that_is_none_is_refused() {
    let server = Server::shared();
    for line in ["GET", "GET /api/agents", "GET  /api/agents HTTP/1.1", "G@T /api/agents HTTP/1.1", "GET /a b HTTP/1.1"]
    {
        assert_eq!(refused(&server, &format!("{line}\r\nhost: a\r\n\r\n")), 400, "{line:?}");
    }
    for version in ["HTTP/2.0", "HTTP/1.2.3", "HTCPCP/1.0", "HTTP/9.9"] {
        let status = refused(&server, &format!("GET /api/agents {version}\r\nhost: a\r\n\r\n"));
        assert!(status == 400 || status == 505, "{version}: {status}");
    }
}

#[test]
fn an_oversized_head_is_431_before_its_end_is_sent() {
    let server = Server::shared();
    let mut connection = server.connect();
    connection.send(format!("GET /api/agents HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(20_000)));
    assert_eq!(connection.answer().status, 431);
    assert!(connection.is_closed_by_server());
    let lines: String = (0..101).map(|n| format!("x-{n}: y\r\n")).collect();
    assert_eq!(refused(&server, &format!("GET /api/agents HTTP/1.1\r\nhost: a\r\n{lines}\r\n")), 431);
    let mut connection = server.connect();
    connection.send(format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "y".repeat(20_000)));
    let status = connection.answer().status;
    assert!(status == 431 || status == 414, "{status}");
}

#[test]
fn a_head_just_below_the_limit_is_served() {
    let server = Server::shared();
    let answer = server.call("GET", "/api/agents", &[("x", &"y".repeat(15_000))], None);
    assert_eq!(answer.status, 200);
}

#[test]
fn twenty_pipelined_requests_are_answered_in_order() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let mut connection = server.connect();
    let requests: Vec<Vec<u8>> = (0..20)
        .map(|n| {
            let id = format!("pipelined-request-number-{n}");
            let body = json!({"user_id": "alice", "content": {"n": n}});
            match n % 4 {
                0 => {
                    request("POST", &format!("/api/sessions/{session}/messages"), &[("x-request-id", &id)], Some(&body))
                }
                1 => request("GET", &format!("/api/sessions/{session}"), &[("x-request-id", &id)], None),
                2 => request("GET", "/api/nothing", &[("x-request-id", &id)], None),
                _ => request("GET", "/api/agents", &[("x-request-id", &id)], None),
            }
        })
        .collect();
    connection.send(requests.concat());
    for n in 0..20 {
        let answer = connection.answer();
        assert_eq!(answer.status, if n % 4 == 2 { 404 } else { 200 });
        assert_eq!(answer.header("x-request-id"), Some(format!("pipelined-request-number-{n}").as_str()));
    }
    assert_eq!(server.history(&session).len(), 5);
}

#[test]
fn requests_before_a_bad_one_are_answered_and_those_behind_it_are_not() {
    let server = Server::shared();
    let mut connection = server.connect();
    let good = "GET /api/agents HTTP/1.1\r\nhost: a\r\n\r\n";
    connection.send(format!("{good}{good}GET /api/agents HTTP/1.1\r\n\r\n{good}"));
    let statuses: Vec<u16> = (0..3).map(|_| connection.answer().status).collect();
    assert_eq!(statuses, [200, 200, 400]);
    assert!(connection.is_closed_by_server());
}

#[test]
fn a_connection_stays_open_until_a_side_says_close() {
    let server = Server::shared();
    let mut connection = server.connect();
    for _ in 0..3 {
        connection.send(request("GET", "/api/agents", &[], None));
        assert_eq!(connection.answer().status, 200);
    }
    connection.send(request("GET", "/api/agents", &[("connection", "close")], None));
    assert_eq!(connection.answer().status, 200);
    assert!(connection.is_closed_by_server());
    let mut old = server.connect();
    old.send("GET /api/agents HTTP/1.0\r\n\r\n");
    assert_eq!(old.answer().status, 200);
    assert!(old.is_closed_by_server(), "HTTP/1.0 closes unless asked to stay");
}

#[test]
fn a_request_in_single_bytes_is_the_same_request() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let body = json!({"user_id": "alice", "content": {"text": "slow \u{1F40C}"}});
    let mut connection = server.connect();
    for byte in request("POST", &format!("/api/sessions/{session}/messages"), &[], Some(&body)) {
        connection.send([byte]);
    }
    assert_eq!(connection.answer().expect(200)["message"]["content"]["text"], "slow \u{1F40C}");
}

#[test]
fn half_sent_requests_hold_up_nobody_else() {
    let server = Server::shared();
    let bytes = request("GET", "/api/agents", &[], None);
    let mut trickles: Vec<Connection> = (0..50).map(|_| server.connect()).collect();
    for connection in &mut trickles {
        connection.send(&bytes[..bytes.len() / 2]);
    }
    assert_eq!(server.get("/api/agents").status, 200);
    for connection in &mut trickles {
        connection.send(&bytes[bytes.len() / 2..]);
        assert_eq!(connection.answer().status, 200);
    }
}

#[test]
fn a_client_that_only_reads_after_its_request_still_gets_the_answer() {
    let server = Server::shared();
    let mut connection = server.connect();
    connection.send(request("GET", "/api/agents", &[], None));
    connection.finish_sending();
    assert_eq!(connection.answer().status, 200);
    assert!(connection.is_closed_by_server());
}

#[test]
fn empty_lines_before_a_request_and_an_absolute_target_are_accepted() {
    let server = Server::shared();
    let mut connection = server.connect();
    // RFC 9112, 2.2: a server should ignore at least one empty line before the request line.
    connection.send("\r\nGET /api/agents HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(connection.answer().status, 200);
    // RFC 9112, 3.2.2: a server must accept the absolute form.
    connection.send("GET http://a/api/agents HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(connection.answer().status, 200);
}
