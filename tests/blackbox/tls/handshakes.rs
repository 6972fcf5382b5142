//! Handshakes that never end, that are none, that are many; and the drain.

use crate::harness::http::request;
use crate::harness::{Connection, HANG, Secured, Server, Socket, Stream, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The first bytes of a client's hello, which promise 512 more.
const BEGUN: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];

fn tcp(server: &Server) -> TcpStream {
    let tcp = TcpStream::connect(server.address()).expect("the server accepts");
    tcp.set_read_timeout(Some(HANG)).expect("a TCP option");
    tcp
}

/// Reads to the end and gives what came; a reset is an end as well.
fn to_the_end(mut tcp: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = tcp.read_to_end(&mut bytes) {
        assert!(crate::harness::http::is_end(&error), "it does not end: {error}");
    }
    bytes
}

/// Waits until the server has counted this many connections ended for their handshake.
fn ended(server: &Server) -> u64 {
    let answer = server.get("/metrics");
    let counts = answer.text().lines().filter(|line| line.contains("reason=\"Handshake\""));
    counts.map(|line| line.rsplit(' ').next().expect("a value").parse::<u64>().expect("a number")).sum()
}

#[test]
fn plain_bytes_on_the_tls_port_end_their_connection_and_nothing_else() {
    let secured = Secured::new();
    let mut server = Server::with(&secured.options());
    let garbage: [&[u8]; 7] = [
        &request("GET", "/health/live", &[], None),
        &request("POST", "/api/sessions", &[], Some(&json!({"user_id": "a".repeat(300_000)}))),
        &[0; 1000],
        &[0xff; 70_000],
        b"\x16\x03\x01\x00\x05hello",
        b"\x16\x03\x01\xff\xff",
        b"\x15\x03\x01\x00\x02\x02\x28",
    ];
    for bytes in garbage {
        let mut peer = tcp(&server);
        // The server may have closed already.
        let _ = peer.write_all(bytes);
        let _ = peer.shutdown(std::net::Shutdown::Write);
        let answer = to_the_end(peer);
        assert!(answer.is_empty() || answer[0] == 0x15, "an alert or nothing, not {answer:?}");
    }
    // One that spoke HTTP and waits learns at once that it is wrong here.
    let mut plain = Connection::open(server.address());
    plain.send(request("GET", "/health/live", &[], None));
    let (mut stream, _) = plain.into_parts();
    let mut first = [0; 1];
    stream.read_exact(&mut first).expect("an alert");
    assert_eq!(first, [0x15]);
    assert_eq!(server.get("/health/live").status, 200);
    assert!(ended(&server) >= 5, "they are counted");
    assert!(server.is_running() && !server.log().contains("panicked"));
}

#[test]
fn one_who_connects_and_says_nothing_is_ended_by_the_deadline() {
    let secured = Secured::new();
    let server = Server::with(&secured.options());
    let began = Instant::now();
    let silent = tcp(&server);
    let mut begun = tcp(&server);
    begun.write_all(BEGUN).expect("the server reads");
    let mut connected = server.connect();
    assert_eq!(to_the_end(silent), [0; 0]);
    assert_eq!(to_the_end(begun), [0; 0]);
    assert!(began.elapsed() >= Duration::from_secs(9), "it is given time");
    assert_eq!(ended(&server), 2);
    connected.send(request("GET", "/health/live", &[], None));
    assert_eq!(connected.answer().status, 200, "one who is connected may wait longer for his first request");
}

#[test]
fn more_handshakes_than_run_at_a_time_all_come_to_their_end_and_silent_ones_keep_nobody_out() {
    let secured = Secured::new();
    let server = Server::with(&secured.options());
    let silent: Vec<TcpStream> = (0..200).map(|_| tcp(&server)).collect();
    let begun: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut begun = tcp(&server);
            begun.write_all(BEGUN).expect("the server reads");
            begun
        })
        .collect();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..10 {
                    // Without tickets, so that each costs a whole handshake.
                    let trust = secured.authority().client(futures_rustls::rustls::ALL_VERSIONS);
                    let stream = Stream::open(server.address(), Some(&trust.into())).expect("it gets its turn");
                    let mut connection = Connection::over(stream);
                    connection.send(request("GET", "/health/live", &[], None));
                    assert_eq!(connection.answer().status, 200);
                }
            });
        }
    });
    // The silent ones would be gone after ten seconds, and prove nothing then.
    if began.elapsed() < Duration::from_secs(8) {
        assert_eq!(ended(&server), 0);
    }
    drop((silent, begun));
}

#[test]
fn a_drain_tells_sockets_and_idle_connections_goodbye_and_waits_for_no_handshake() {
    let secured = Secured::new();
    let server = Server::with(&secured.options());
    let session = server.session("alice", "bot");
    let mut socket = Socket::open(&server, "alice");
    socket.join_session(&session);
    let mut idle = server.connect();
    idle.send(request("GET", "/health/live", &[], None));
    assert_eq!(idle.answer().status, 200);
    let silent = tcp(&server);
    let mut begun = tcp(&server);
    begun.write_all(BEGUN).expect("the server reads");
    // A connection of each shard is served behind those two: they were accepted.
    (0..20).for_each(|_| assert_eq!(server.get("/health/live").status, 200));
    server.terminate();
    assert_eq!(socket.close_code(), Some(1012));
    let (mut stream, unread) = idle.into_parts();
    assert!(unread.is_empty());
    assert_eq!(stream.read(&mut [0]).expect("TLS says that this is the end"), 0);
    assert_eq!((to_the_end(silent), to_the_end(begun)), (Vec::new(), Vec::new()));
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("connections are cut"), "{log}");
}

#[test]
fn an_answer_that_ends_its_connection_arrives_whole_and_is_followed_by_goodbye() {
    let secured = Secured::new();
    let server = Server::with(&secured.options());
    for head in ["GET /health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "GET / HTTP/9\r\n\r\n"] {
        let mut connection = server.connect();
        connection.send(head);
        let status = connection.answer().status;
        assert!(status == 200 || status >= 400, "{status}");
        let (mut stream, unread) = connection.into_parts();
        assert!(unread.is_empty());
        assert_eq!(stream.read(&mut [0]).expect("TLS says that this is the end"), 0);
    }
}
