//! WebSocket frames that a well-behaved client does not send, and the odd ones that it may (RFC 6455).

use crate::harness::http::Connection;
use crate::harness::websocket::{
    BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, head, masked, unmasked, upgrade_request,
};
use crate::harness::{Options, RawSocket, Server, Value};

const HEARTBEAT: &[u8] = br#"[null,"1","phoenix","heartbeat",{}]"#;

/// The next text frame is the heartbeat's reply.
#[track_caller]
fn assert_alive(socket: &mut RawSocket) {
    let (opcode, payload) = socket.read();
    let text = String::from_utf8_lossy(&payload);
    assert_eq!(opcode, TEXT, "{text}");
    assert!(text.contains("phx_reply"), "{text}");
}

#[test]
fn frames_against_the_rules_close_with_1002() {
    let server = Server::shared();
    let reserved = |bits: u8| {
        let mut frame = masked(true, TEXT, HEARTBEAT);
        frame[0] |= bits;
        frame
    };
    let cases = [
        ("no mask", unmasked(TEXT, HEARTBEAT)),
        ("reserved bit 1 without an extension", reserved(0x40)),
        ("reserved bit 2", reserved(0x20)),
        ("reserved bit 3", reserved(0x10)),
        ("reserved data opcode", masked(true, 3, b"")),
        ("reserved control opcode", masked(true, 11, b"")),
        ("fragmented ping", masked(false, PING, b"")),
        ("long ping", masked(true, PING, &[0; 126])),
        ("continuation of nothing", masked(true, CONTINUATION, b"x")),
        ("text within a message", [masked(false, TEXT, b"["), masked(true, TEXT, b"]")].concat()),
        ("close of one byte", masked(true, CLOSE, &[3])),
        ("close with a code that is never sent", masked(true, CLOSE, &1005u16.to_be_bytes())),
        ("length of 64 bits with the top bit", [vec![0x81, 0xff], vec![0xff; 8], vec![0; 4]].concat()),
    ];
    for (case, bytes) in cases {
        let mut socket = RawSocket::open(&server);
        socket.send(&bytes);
        let code = socket.close_code();
        assert!(code == 1002 || (code == 1009 && case.contains("64 bits")), "{case}: {code}");
    }
}

#[test]
fn bad_utf8_closes_with_1007_as_soon_as_it_arrives() {
    let server = Server::shared();
    let cases: [&[u8]; 6] = [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"ab\x80", b"\xe2\x28\xa1"];
    for bytes in cases {
        let mut socket = RawSocket::open(&server);
        socket.frame(true, TEXT, bytes);
        assert_eq!(socket.close_code(), 1007, "{bytes:?}");
        let mut socket = RawSocket::open(&server);
        // The message never ends; the bytes alone are enough.
        socket.frame(false, TEXT, bytes);
        assert_eq!(socket.close_code(), 1007, "{bytes:?} in a first fragment");
    }
    let mut socket = RawSocket::open(&server);
    socket.frame(true, TEXT, b"ends within a character \xe2\x82");
    assert_eq!(socket.close_code(), 1007);
}

#[test]
fn a_character_cut_by_a_fragment_is_whole() {
    let server = Server::shared();
    let mut socket = RawSocket::open(&server);
    let text = "[null,\"\u{20ac}\",\"phoenix\",\"heartbeat\",{}]";
    for (n, byte) in text.bytes().enumerate() {
        let opcode = if n == 0 { TEXT } else { CONTINUATION };
        socket.frame(n + 1 == text.len(), opcode, &[byte]);
    }
    let (_, payload) = socket.read();
    let reply: Value = serde_json::from_slice(&payload).expect("JSON");
    assert_eq!(reply[1], "\u{20ac}");
}

#[test]
fn an_oversized_message_closes_with_1009_before_it_is_sent() {
    let server = Server::shared();
    let mut socket = RawSocket::open(&server);
    let mut declared = head(true, TEXT, 8_000_001, 0x80);
    declared.extend([0; 4]);
    socket.send(&declared);
    assert_eq!(socket.close_code(), 1009);
    let mut socket = RawSocket::open(&server);
    let fragment = vec![b' '; 1_000_000];
    socket.frame(false, TEXT, &fragment);
    for _ in 0..8 {
        socket.frame(false, CONTINUATION, &fragment);
    }
    assert_eq!(socket.close_code(), 1009);
}

#[test]
fn a_message_in_65_536_fragments_with_pings_between_is_one_message() {
    let server = Server::shared();
    let mut socket = RawSocket::open(&server);
    let mut bytes = Vec::new();
    let spaces = 65_536 - HEARTBEAT.len();
    for n in 0..65_536 {
        let byte = if n < spaces { b' ' } else { HEARTBEAT[n - spaces] };
        bytes.extend(masked(n == 65_535, if n == 0 { TEXT } else { CONTINUATION }, &[byte]));
        if n == 30_000 {
            bytes.extend(masked(true, PING, b"midway"));
        }
    }
    socket.send(&bytes);
    assert_eq!(socket.read(), (PONG, b"midway".to_vec()));
    assert_alive(&mut socket);
}

#[test]
fn pings_are_answered_with_their_payload_and_pongs_ignored() {
    let server = Server::shared();
    let mut socket = RawSocket::open(&server);
    for payload in [&b""[..], b"x", &[0xff; 125]] {
        socket.frame(true, PING, payload);
        assert_eq!(socket.read(), (PONG, payload.to_vec()));
    }
    socket.frame(true, PONG, b"unasked");
    socket.frame(true, TEXT, HEARTBEAT);
    assert_alive(&mut socket);
}

#[test]
fn a_close_is_echoed_and_ends_the_connection() {
    let server = Server::shared();
    for (sent, echoed) in [(&1000u16.to_be_bytes()[..], 1000), (b"\x03\xe9going", 1001), (b"\x0f\xa0", 4000)] {
        let mut socket = RawSocket::open(&server);
        socket.frame(true, CLOSE, sent);
        assert_eq!(socket.close_code(), echoed);
    }
    let mut socket = RawSocket::open(&server);
    socket.frame(true, CLOSE, b"");
    assert_eq!(socket.read().0, CLOSE);
}

#[test]
fn frames_in_single_bytes_are_the_same_frames() {
    let server = Server::shared();
    let mut socket = RawSocket::open(&server);
    for byte in [masked(true, PING, b"p"), masked(true, TEXT, HEARTBEAT)].concat() {
        socket.send(&[byte]);
    }
    assert_eq!(socket.read(), (PONG, b"p".to_vec()));
    assert_alive(&mut socket);
}

#[test]
fn the_longer_forms_of_a_length_and_an_empty_fragment_are_accepted() {
    let server = Server::shared();
    let mut socket = RawSocket::open(&server);
    let padded = [HEARTBEAT, " ".repeat(70_000).as_bytes()].concat();
    socket.frame(true, TEXT, &padded);
    assert_alive(&mut socket);
    socket.frame(false, TEXT, b"");
    socket.frame(false, CONTINUATION, HEARTBEAT);
    socket.frame(true, CONTINUATION, b"");
    assert_alive(&mut socket);
}

/// Upgrades with an offer of compression and gives what the server accepted.
fn offered(server: &Server) -> (Connection, Option<String>) {
    let mut connection = server.connect();
    let offer = "sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n";
    connection.send(upgrade_request("user_id=raw&vsn=2.0.0", offer));
    let answer = connection.answer();
    assert_eq!(answer.status, 101);
    let accepted = answer.header("sec-websocket-extensions").map(str::to_owned);
    (connection, accepted)
}

#[test]
fn compression_is_spoken_when_the_server_has_it_and_the_client_offers_it() {
    let server = Server::with(&Options::default().flags(&["--ws-deflate"]));
    let (connection, accepted) = offered(&server);
    let accepted = accepted.expect("an extension");
    assert!(accepted.starts_with("permessage-deflate"), "{accepted}");
    assert!(accepted.contains("server_no_context_takeover"), "one compression serves every reader: {accepted}");
    let mut socket = RawSocket::after(connection);
    let mut deflate = flate2::Compress::new(flate2::Compression::default(), false);
    let mut compressed = Vec::with_capacity(1024);
    deflate.compress_vec(HEARTBEAT, &mut compressed, flate2::FlushCompress::Sync).expect("it compresses");
    // RFC 7692, 7.2.1: the empty block at the end is not sent.
    let without_tail = compressed.strip_suffix(&[0, 0, 0xff, 0xff]).expect("a sync flush ends so");
    let mut frame = masked(true, TEXT, without_tail);
    frame[0] |= 0x40;
    socket.send(&frame);
    let (_, payload) = socket.read();
    let text = if payload.starts_with(b"[") {
        payload
    } else {
        let mut inflated = Vec::with_capacity(1024);
        let tailed = [payload, vec![0, 0, 0xff, 0xff]].concat();
        let mut inflate = flate2::Decompress::new(false);
        inflate.decompress_vec(&tailed, &mut inflated, flate2::FlushDecompress::Sync).expect("it inflates");
        inflated
    };
    assert!(String::from_utf8_lossy(&text).contains("phx_reply"));
}

#[test]
fn compression_is_not_accepted_where_it_is_not_offered() {
    let server = Server::with(&Options::default().flags(&["--ws-deflate"]));
    let mut connection = server.connect();
    connection.send(upgrade_request("user_id=raw&vsn=2.0.0", ""));
    assert_eq!(connection.answer().header("sec-websocket-extensions"), None);
}

#[test]
fn a_binary_frame_of_no_known_kind_closes_only_its_own_socket() {
    let server = Server::shared();
    let mut bystander = RawSocket::open(&server);
    let mut socket = RawSocket::open(&server);
    socket.frame(true, BINARY, &[42; 10]);
    assert_eq!(socket.close_code(), 1011);
    bystander.frame(true, TEXT, HEARTBEAT);
    assert_alive(&mut bystander);
}
