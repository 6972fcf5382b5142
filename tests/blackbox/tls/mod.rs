//! TLS in the binary, against rustls as a client: what is spoken over it, handshakes of all kinds, reloads.
//!
//! That everything else works over TLS as it does without is a matter of bytes arriving whole and at once; so what is tested here
//! is where they could be held back.

mod handshakes;
mod reload;

use crate::harness::http::request;
use crate::harness::rest::{messages, texts};
use crate::harness::{Connection, RawSocket, Secured, Server, Socket, json};
use crate::longpoll::Poll;
use futures_rustls::rustls::{HandshakeKind, ProtocolVersion};
use std::io::{Read, Write};
use std::sync::Arc;

/// What the kernel holds for a slow reader: far less than a large answer, so that the server waits again and again. With less than this
/// the loopback's own segments do not fit, and it is the timers of TCP that are tested.
const ROOM_BYTES: usize = 128 * 1024;

/// A text of so many bytes, of which no two pieces are alike.
fn text_of(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 8);
    let mut n = 0_u64;
    while text.len() < bytes {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text += &format!("{:08x}", n >> 32);
    }
    text.truncate(bytes);
    text
}

#[test]
fn requests_are_answered_over_tls_on_one_connection_and_on_many() {
    let secured = Secured::new();
    let server = Server::with(&secured.options());
    let session = server.session("alice", "bot");
    for n in 0..20 {
        assert_eq!(server.say(&session, "alice", &n.to_string())["seq"], n + 1);
    }
    let mut connection = server.connect();
    let paths = [messages(&session), "/health/ready".to_owned(), "/nowhere".to_owned()];
    for (path, status) in paths.iter().zip([200, 200, 404]).cycle().take(30) {
        connection.send(request("GET", path, &[], None));
        assert_eq!(connection.answer().status, status);
    }
    // Several at once, and one of them in two pieces: they are answered in order.
    let pipelined = request("GET", &messages(&session), &[], None).repeat(10);
    connection.send(&pipelined[..pipelined.len() - 7]);
    connection.send(&pipelined[pipelined.len() - 7..]);
    for _ in 0..10 {
        assert_eq!(connection.answer().expect(200)["last_seq"], 20);
    }
    let counted = server.get("/metrics");
    assert!(counted.text().contains("fleetlm_tls_handshakes_total"), "{}", counted.text());
}

#[test]
fn the_last_byte_of_a_large_answer_leaves_without_being_asked_for() {
    let secured = Secured::new();
    let server = Server::with(&secured.options());
    let session = server.session("alice", "bot");
    // Around what TLS keeps (64 KiB), what a record holds (16 KiB), and what the kernel keeps.
    let sizes = [1, 15_900, 16_384, 65_000, 65_536, 131_072, 300_000, 1_000_000, 7_000_000];
    let said: Vec<String> = sizes.iter().map(|&bytes| text_of(bytes)).collect();
    for text in &said {
        let message = server.say(&session, "alice", text);
        assert_eq!(message["content"]["text"], text.as_str(), "a large answer to an append");
    }
    let stream = server.open().expect("the server accepts");
    rustix::net::sockopt::set_socket_recv_buffer_size(stream.tcp(), ROOM_BYTES).expect("a TCP option");
    let mut connection = Connection::over(stream);
    for limit in [1000, 1, 1000] {
        connection.send(request("GET", &format!("{}?after_seq=0&limit={limit}", messages(&session)), &[], None));
        let page = connection.answer().expect(200);
        let page = page["messages"].as_array().expect("a list");
        assert_eq!(texts(page), said.iter().take(limit).collect::<Vec<_>>());
    }
}

#[test]
fn an_answer_that_just_does_not_fit_into_the_kernel_is_not_cut_short_by_the_close_behind_it() {
    const STEP_BYTES: usize = 25_000;
    let secured = Secured::new();
    let server = Server::with(&secured.options());
    let session = server.session("alice", "bot");
    // One of these is the one whose last bytes TLS has taken and the kernel has not.
    for n in 1..=60 {
        server.say(&session, "alice", &text_of(n * STEP_BYTES));
    }
    let mut waiting = Vec::new();
    for n in 0..60 {
        let stream = server.open().expect("the server accepts");
        rustix::net::sockopt::set_socket_recv_buffer_size(stream.tcp(), ROOM_BYTES).expect("a TCP option");
        let mut connection = Connection::over(stream);
        let path = format!("{}?after_seq={n}&limit=1", messages(&session));
        connection.send(request("GET", &path, &[("connection", "close")], None));
        waiting.push(connection);
    }
    // Nobody reads before everybody was answered as far as it goes.
    (0..10).for_each(|_| assert_eq!(server.get("/health/live").status, 200));
    for (n, mut connection) in (1..).zip(waiting) {
        let page = connection.answer().expect(200);
        assert_eq!(page["messages"][0]["content"]["text"], text_of(n * STEP_BYTES).as_str());
    }
}

#[test]
fn large_frames_travel_both_ways_and_a_slow_reader_gets_all_of_them() {
    let secured = Secured::new();
    let server = Server::with(&secured.options());
    let session = server.session("alice", "bot");
    let mut writer = Socket::open(&server, "alice");
    let topic = writer.join_session(&session);
    let mut said = Vec::new();
    for bytes in [1, 20_000, 66_000, 500_000, 3_000_000, 7_000_000, 2] {
        said.push(text_of(bytes));
        let text = said.last().expect("it was just said");
        let reference = writer.push(&topic, "send", &json!({"content": {"content": {"text": text}}}));
        let reply = writer.reply(&reference).expect("the send is accepted");
        assert_eq!(reply["seq"], said.len());
        assert_eq!(writer.event(&topic, "message")["content"]["text"], text.as_str());
    }
    let stream = server.open().expect("the server accepts");
    rustix::net::sockopt::set_socket_recv_buffer_size(stream.tcp(), ROOM_BYTES).expect("a TCP option");
    let mut slow = Connection::over(stream);
    slow.send(crate::harness::websocket::upgrade_request("user_id=bot&vsn=2.0.0", ""));
    assert_eq!(slow.answer().status, 101);
    let mut slow = RawSocket::after(slow);
    let join = json!(["1", "1", topic, "phx_join", {}]).to_string();
    slow.frame(true, crate::harness::websocket::TEXT, join.as_bytes());
    // Nothing is read until somebody else was served: the socket is full by then.
    assert_eq!(server.say(&session, "alice", "meanwhile")["seq"], said.len() + 1);
    said.push("meanwhile".to_owned());
    let mut heard = Vec::new();
    while heard.len() < said.len() {
        let (_, payload) = slow.read();
        let frame = crate::harness::Frame::parse(std::str::from_utf8(&payload).expect("a text frame"));
        match frame.event.as_str() {
            "phx_reply" => {
                let replayed = frame.payload["response"]["messages"].as_array().expect("a list");
                heard.extend(texts(replayed).into_iter().map(str::to_owned));
            }
            "message" => heard.push(texts(std::slice::from_ref(&frame.payload))[0].to_owned()),
            other => panic!("an unexpected {other}"),
        }
    }
    assert!(heard == said, "every message once, in order and whole");
}

#[test]
fn one_who_reads_nothing_at_all_is_ended_and_costs_no_one_else() {
    let secured = Secured::new();
    let server = Server::with(&secured.options().flags(&["--outbox-bytes-max", "200000"]));
    let session = server.session("alice", "bot");
    let mut dead = Socket::open(&server, "bot");
    dead.join_session(&session);
    let mut lively = Socket::open(&server, "alice");
    let topic = lively.join_session(&session);
    for n in 1..=60 {
        server.say(&session, "alice", &text_of(150_000));
        assert_eq!(lively.event(&topic, "message")["seq"], n);
    }
    let counted = server.get("/metrics");
    assert!(counted.text().contains("reason=\"SlowReader\"} 1"), "{}", counted.text());
    assert_eq!(dead.close_code(), None, "it is too far behind for a last word");
}

#[test]
fn a_long_poll_travels_over_tls() {
    let secured = Secured::new();
    let server = Server::with(&secured.options());
    let session = server.session("alice", "bot");
    let topic = format!("session:{session}");
    let poll = Poll::open(&server, "alice");
    poll.send(&json!(["1", "1", topic, "phx_join", {}]));
    assert!(poll.frames(1)[0].is_reply_to(&json!("1")));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| poll.frames(1));
        let message = server.say(&session, "alice", &text_of(100_000));
        assert_eq!(waiting.join().expect("the poll ends")[0].payload, message);
    });
}

#[test]
fn an_answer_streams_over_tls_chunk_by_chunk() {
    let secured = Secured::new();
    let server = Server::with(&secured.options().flags(&["--echo-chunks-per-s", "50"]));
    let session = server.session("alice", "echo");
    let mut socket = Socket::open(&server, "alice");
    let topic = socket.join_session(&session);
    server.say(&session, "alice", "Word by word, please");
    let mut heard = String::new();
    let answer = loop {
        let frame = socket.first(|frame| frame.topic == topic);
        match frame.event.as_str() {
            "stream_chunk" => heard += frame.payload["chunk"]["delta"].as_str().unwrap_or_default(),
            "message" if frame.payload["sender_id"] == "echo" => break frame.payload,
            _ => {}
        }
    };
    assert_eq!(heard, "Word by word, please", "every chunk came before the message it became");
    assert_eq!(answer["content"]["parts"][0]["text"], heard);
}

#[test]
fn a_client_that_changes_its_keys_in_the_middle_is_understood_and_answered() {
    let secured = Secured::new();
    let server = Server::with(&secured.options());
    let mut stream = server.open().expect("the server accepts");
    let mut answer = [0; 64 * 1024];
    for _ in 0..20 {
        stream.session().refresh_traffic_keys().expect("TLS 1.3 can");
        stream.write_all(&request("GET", "/health/live", &[], None)).expect("the server reads");
        stream.flush().expect("the server reads");
        let count = stream.read(&mut answer).expect("the server answers");
        assert!(answer[..count].starts_with(b"HTTP/1.1 200"));
    }
}

#[test]
fn versions_protocols_and_tickets_are_agreed_upon() {
    let secured = Secured::new();
    let server = Server::with(&secured.options());
    let versions = [
        (&futures_rustls::rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&futures_rustls::rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ];
    for (version, agreed) in versions {
        for (offered, chosen) in
            [(&["h2", "http/1.1"][..], Some("http/1.1")), (&["http/1.1"], Some("http/1.1")), (&[], None)]
        {
            let mut trust = secured.authority().client(&[version]);
            trust.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
            let trust = Arc::new(trust);
            let mut kinds = Vec::new();
            for _ in 0..3 {
                let mut stream = crate::harness::Stream::open(server.address(), Some(&trust)).expect("they agree");
                let session = stream.session();
                assert_eq!(session.protocol_version(), Some(agreed));
                assert_eq!(session.alpn_protocol(), chosen.map(str::as_bytes));
                kinds.push(session.handshake_kind());
                let mut connection = Connection::over(stream);
                connection.send(request("GET", "/health/live", &[], None));
                assert_eq!(connection.answer().status, 200);
            }
            let resumed = Some(HandshakeKind::Resumed);
            assert_eq!((kinds[1], kinds[2]), (resumed, resumed), "who comes back is known, to every shard: {kinds:?}");
        }
        let mut trust = secured.authority().client(&[version]);
        trust.alpn_protocols = vec![b"h2".to_vec()];
        let refused = crate::harness::Stream::open(server.address(), Some(&Arc::new(trust)));
        assert!(refused.is_err(), "HTTP/2 alone is not spoken");
    }
}
