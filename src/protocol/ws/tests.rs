//! The codec as a whole: each case is decoded whole, byte by byte, and with bytes behind it.

use super::*;
use proptest::prelude::*;

const LIMITS: Limits = Limits { message_bytes_max: 1 << 16, fragments_max: 1 << 10 };
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

type Outcome = (Vec<Event>, Option<Failure>);

/// Everything a decoder says about `parts`.
fn decoded<'a>(mut decoder: Decoder, parts: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut events = Vec::new();
    for part in parts {
        decoder.push(part);
        loop {
            match decoder.next() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(failure) => {
                    assert_eq!(decoder.next(), Err(failure), "a failure is final");
                    return (events, Some(failure));
                }
            }
        }
    }
    (events, None)
}

/// What a server says about `bytes`, the same whether they arrive whole or one by one.
fn served(bytes: &[u8], deflate: Option<Deflate>) -> Outcome {
    let decoder = || Decoder::new(Role::Server, LIMITS, deflate);
    let whole = decoded(decoder(), [bytes]);
    assert_eq!(decoded(decoder(), bytes.chunks(1)), whole, "{}", bytes.escape_ascii());
    whole
}

/// The events of frames that are all in order, also when a ping follows.
fn events(frames: &[Vec<u8>]) -> Vec<Event> {
    let bytes = frames.concat();
    let (events, failure) = served(&bytes, Some(Deflate::default()));
    assert_eq!(failure, None);
    let (mut more, failure) = served(&[bytes, frame(Opcode::Ping, b"after")].concat(), Some(Deflate::default()));
    assert_eq!((more.pop(), failure), (Some(Event::Ping(b"after".to_vec())), None));
    assert_eq!(more, events);
    events
}

/// The code a connection fails with that does not compress, whatever follows.
fn failure(bytes: &[u8]) -> u16 {
    failure_with(bytes, None)
}

fn failure_with(bytes: &[u8], deflate: Option<Deflate>) -> u16 {
    let (events, failure) = served(bytes, deflate);
    let more = [bytes, &frame(Opcode::Text, b"after")].concat();
    assert_eq!(served(&more, deflate), (events, failure));
    failure.unwrap_or_else(|| panic!("not refused: {}", bytes.escape_ascii())).code
}

/// A masked frame of a client.
fn client_frame(fin: bool, rsv1: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Header { fin, rsv1, opcode, mask: Some(MASK), length: payload.len() as u64 }.encode(&mut out);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], MASK, 0);
    out
}

fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    client_frame(true, false, opcode, payload)
}

fn fragment(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    client_frame(false, false, opcode, payload)
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(Opcode::Close, &[&code.to_be_bytes(), reason].concat())
}

fn text(text: &str) -> Event {
    Event::Text(text.to_owned())
}

mod framing {
    use super::*;

    /// RFC 6455 section 5.7.
    #[test]
    fn the_examples_of_the_standard_decode() {
        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(events(&[masked.to_vec()]), [text("Hello")]);
        let client = |bytes: &[u8]| decoded(Decoder::new(Role::Client, LIMITS, None), [bytes]).0;
        assert_eq!(client(&[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]), [text("Hello")]);
        assert_eq!(client(&[0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f]), [text("Hello")]);
        assert_eq!(client(&[0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]), [Event::Ping(b"Hello".to_vec())]);
        for length in [256, 65536] {
            let mut out = Vec::new();
            encode_binary(&vec![7; length], &mut out);
            assert_eq!(client(&out), [Event::Binary(vec![7; length])]);
        }
    }

    #[test]
    fn each_length_takes_its_shortest_form_and_no_other() {
        for length in [0, 1, 125, 126, 127, 65535, 65536] {
            assert_eq!(events(&[frame(Opcode::Binary, &vec![1; length])]), [Event::Binary(vec![1; length])]);
        }
        assert_eq!(failure(&[0x82, 0xfe, 0, 125, 0, 0, 0, 0]), 1002);
        assert_eq!(failure(&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]), 1002);
        assert_eq!(failure(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 1002);
    }

    #[test]
    fn only_clients_mask() {
        assert_eq!(failure(&[0x81, 0x01, b'a']), 1002);
        let masked = frame(Opcode::Text, b"a");
        let (_, failure) = decoded(Decoder::new(Role::Client, LIMITS, None), [masked.as_slice()]);
        assert_eq!(failure.unwrap().code, 1002);
    }

    #[test]
    fn reserved_bits_and_opcodes_are_refused_at_the_first_byte() {
        for bits in [0x10, 0x20, 0x40, 0x70] {
            assert_eq!(failure(&[0x81 | bits]), 1002);
            assert_eq!(failure(&[0x88 | bits]), 1002);
        }
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            assert_eq!(failure(&[0x80 | opcode]), 1002);
            assert_eq!(failure(&[opcode]), 1002);
        }
    }

    #[test]
    fn control_frames_are_short_and_whole() {
        for opcode in [Opcode::Close, Opcode::Ping, Opcode::Pong] {
            assert_eq!(failure(&fragment(opcode, b"")), 1002);
            assert_eq!(failure(&frame(opcode, &[0x03; 126])), 1002);
        }
        let longest = vec![b'x'; 125];
        assert_eq!(events(&[frame(Opcode::Pong, &longest)]), [Event::Pong(longest.clone())]);
        assert_eq!(events(&[frame(Opcode::Ping, b"")]), [Event::Ping(vec![])]);
    }
}

mod messages {
    use super::*;

    #[test]
    fn fragments_are_joined_and_control_frames_stand_between_them() {
        let frames = [
            fragment(Opcode::Text, b"a"),
            frame(Opcode::Ping, b"1"),
            fragment(Opcode::Continuation, b""),
            frame(Opcode::Pong, b"2"),
            frame(Opcode::Continuation, b"b"),
            fragment(Opcode::Binary, b""),
            frame(Opcode::Continuation, b""),
        ];
        let expected = [Event::Ping(b"1".to_vec()), Event::Pong(b"2".to_vec()), text("ab"), Event::Binary(vec![])];
        assert_eq!(events(&frames), expected);
    }

    #[test]
    fn fragments_out_of_order_are_refused() {
        assert_eq!(failure(&frame(Opcode::Continuation, b"")), 1002);
        assert_eq!(failure(&fragment(Opcode::Continuation, b"")), 1002);
        let finished = [fragment(Opcode::Text, b""), frame(Opcode::Continuation, b"")].concat();
        assert_eq!(failure(&[finished, frame(Opcode::Continuation, b"")].concat()), 1002);
        for opcode in [Opcode::Text, Opcode::Binary] {
            assert_eq!(failure(&[fragment(Opcode::Text, b"a"), frame(opcode, b"b")].concat()), 1002);
        }
    }

    #[test]
    fn a_text_cut_inside_a_character_is_whole_again() {
        let bytes = "\u{10ffff}\u{e9}".as_bytes();
        for cut in 0..=bytes.len() {
            let frames = [fragment(Opcode::Text, &bytes[..cut]), frame(Opcode::Continuation, &bytes[cut..])];
            assert_eq!(events(&frames), [text("\u{10ffff}\u{e9}")]);
        }
    }

    #[test]
    fn a_wrong_byte_of_a_text_fails_before_its_frame_ends() {
        let mut wrong = frame(Opcode::Text, b"ab\xf4\x90\x80\x80cd");
        wrong.truncate(6 + 4);
        assert_eq!(failure(&wrong), 1007);
        wrong.truncate(6 + 3);
        assert_eq!(served(&wrong, None), (vec![], None));
        assert_eq!(
            failure(&[fragment(Opcode::Text, b"\xce\xba\xe1"), frame(Opcode::Continuation, b"\xed")].concat()),
            1007
        );
        assert_eq!(failure(&frame(Opcode::Text, b"\xce")), 1007);
        assert_eq!(events(&[frame(Opcode::Binary, b"\xff")]), [Event::Binary(vec![0xff])]);
    }

    #[test]
    fn a_message_may_fill_its_limit_and_no_more() {
        let most = vec![b'a'; LIMITS.message_bytes_max];
        assert_eq!(events(&[frame(Opcode::Binary, &most)]), [Event::Binary(most.clone())]);
        let halves = most.split_at(1000);
        let frames = [fragment(Opcode::Text, halves.0), frame(Opcode::Continuation, halves.1)];
        assert_eq!(events(&frames), [text(&"a".repeat(most.len()))]);
        assert_eq!(
            failure(
                &[frames[0].clone(), fragment(Opcode::Continuation, halves.1), frame(Opcode::Continuation, b"b")]
                    .concat()
            ),
            1009
        );
    }

    #[test]
    fn an_announced_length_over_the_limit_is_refused_before_it_arrives() {
        assert_eq!(failure(&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]), 1009);
        assert_eq!(failure(&[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]), 1009);
    }

    #[test]
    fn fragments_are_counted() {
        let frames = |count: usize| {
            let mut frames = vec![fragment(Opcode::Text, b"")];
            frames.resize(count - 1, fragment(Opcode::Continuation, b"x"));
            frames.push(frame(Opcode::Continuation, b""));
            frames
        };
        assert_eq!(events(&frames(LIMITS.fragments_max)), [text(&"x".repeat(LIMITS.fragments_max - 2))]);
        assert_eq!(failure(&frames(LIMITS.fragments_max + 1).concat()), 1009);
    }

    #[test]
    fn a_message_of_65536_fragments_takes_linear_time() {
        let limits = Limits { message_bytes_max: 1 << 23, fragments_max: 1 << 17 };
        let mut decoder = Decoder::new(Role::Server, limits, None);
        let mut bytes = fragment(Opcode::Binary, &[1; 64]);
        bytes.extend((0..65_534).flat_map(|_| fragment(Opcode::Continuation, &[1; 64])));
        bytes.extend(frame(Opcode::Continuation, &[1; 64]));
        let started = std::time::Instant::now();
        decoder.push(&bytes);
        assert_eq!(decoder.next(), Ok(Some(Event::Binary(vec![1; 64 * 65_536]))));
        assert!(started.elapsed().as_secs() < 5, "copying the message for every fragment would take minutes");
    }
}

mod closing {
    use super::*;

    #[test]
    fn nothing_is_read_behind_a_close_frame() {
        let bytes = [close(1000, b"bye"), frame(Opcode::Text, b"late"), vec![0xff; 9]].concat();
        assert_eq!(served(&bytes, None), (vec![Event::Close(Some((1000, "bye".into())))], None));
        assert_eq!(served(&frame(Opcode::Close, b""), None), (vec![Event::Close(None)], None));
    }

    #[test]
    fn close_codes_are_those_that_may_be_sent() {
        for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
            assert_eq!(served(&close(code, b""), None), (vec![Event::Close(Some((code, String::new())))], None));
        }
        for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert_eq!(failure(&close(code, b"")), 1002, "{code}");
        }
    }

    #[test]
    fn half_a_code_and_a_reason_that_is_no_utf8_are_refused() {
        assert_eq!(failure(&frame(Opcode::Close, &[3])), 1002);
        assert_eq!(failure(&close(1000, b"\xce\xba\xe1\xbd")), 1007);
        assert_eq!(failure(&close(1000, &[b'x'; 124])), 1002);
    }

    #[test]
    fn a_close_frame_may_stand_inside_a_message() {
        let bytes = [fragment(Opcode::Text, b"a"), close(1001, b"")].concat();
        assert_eq!(served(&bytes, None), (vec![Event::Close(Some((1001, String::new())))], None));
    }

    #[test]
    fn encoded_close_frames_are_always_valid() {
        let encoded = |code, reason: &str| {
            let mut out = Vec::new();
            encode_close(code, reason, &mut out);
            decoded(Decoder::new(Role::Client, LIMITS, None), [out.as_slice()]).0
        };
        assert_eq!(encoded(1012, "restart"), [Event::Close(Some((1012, "restart".into())))]);
        assert_eq!(encoded(1005, "x"), [Event::Close(None)]);
        let long = encoded(1000, &"\u{20ac}".repeat(60));
        assert_eq!(long, [Event::Close(Some((1000, "\u{20ac}".repeat(41))))]);
    }
}

mod compression {
    use super::*;
    use flate2::{Compress, Compression, FlushCompress};

    fn deflate() -> Option<Deflate> {
        Some(Deflate::default())
    }

    fn compressed(payload: &[u8]) -> Vec<u8> {
        client_frame(true, true, Opcode::Text, payload)
    }

    /// `message` compressed by flate2 alone, with a window of so many bits.
    fn deflated(message: &[u8], flush: FlushCompress) -> Vec<u8> {
        let mut raw = Compress::new_with_window_bits(Compression::best(), false, 15);
        let mut out = Vec::with_capacity(message.len() + 100);
        raw.compress_vec(message, &mut out, flush).unwrap();
        out
    }

    /// Text that compresses well but not trivially.
    fn prose(bytes: usize) -> String {
        let words: String =
            (0..bytes).map(|at| format!("{{\"seq\":{at},\"content\":\"{}\"}} ", at * at % 97)).collect();
        words[..bytes].to_owned()
    }

    /// RFC 7692 section 7.2.3.
    #[test]
    fn the_examples_of_the_standard_inflate() {
        let hello: &[&[u8]] = &[
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
            // A block without compression (7.2.3.3), a final block (7.2.3.4), two blocks (7.2.3.5).
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        ];
        for payload in hello {
            assert_eq!(events(&[compressed(payload)]), [text("Hello")], "{payload:x?}");
        }
        // Empty (7.2.3.6), and what some peers send instead.
        assert_eq!(events(&[compressed(&[0x00])]), [text("")]);
        assert_eq!(events(&[compressed(&[])]), [text("")]);
    }

    #[test]
    fn a_compressed_message_may_be_fragmented_anywhere() {
        let payload = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        for cut in 0..=payload.len() {
            let frames = [
                client_frame(false, true, Opcode::Text, &payload[..cut]),
                frame(Opcode::Ping, b"between"),
                frame(Opcode::Continuation, &payload[cut..]),
            ];
            assert_eq!(events(&frames), [Event::Ping(b"between".to_vec()), text("Hello")]);
        }
    }

    #[test]
    fn the_compression_bit_stands_on_the_first_frame_of_a_message_only() {
        let first = client_frame(false, true, Opcode::Text, &[0xf2]);
        let later = client_frame(true, true, Opcode::Continuation, &[0x48]);
        assert_eq!(failure_with(&[first, later.clone()].concat(), deflate()), 1002);
        assert_eq!(failure_with(&[fragment(Opcode::Text, b"a"), later].concat(), deflate()), 1002);
        assert_eq!(failure_with(&client_frame(true, true, Opcode::Ping, b""), deflate()), 1002);
        assert_eq!(failure(&compressed(&[0x00])), 1002);
    }

    #[test]
    fn plain_messages_stay_allowed() {
        assert_eq!(
            events(&[frame(Opcode::Text, b"plain"), compressed(&[0x00]), frame(Opcode::Text, b"")]),
            [text("plain"), text(""), text("")]
        );
    }

    #[test]
    fn what_is_no_deflate_is_refused() {
        for payload in [
            &[0xff; 4][..],                              // reserved block type
            &[0x00, 0x05, 0x00, 0x00, 0x00],             // stored block with a wrong length
            &[0xf2, 0x48, 0xcd],                         // a block that ends early
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], // a final block without the rest of an empty one
            &[0x03],                                     // the same, empty
        ] {
            assert_eq!(failure_with(&compressed(payload), deflate()), 1007, "{payload:x?}");
        }
    }

    #[test]
    fn text_is_checked_behind_the_compression() {
        let flushed = deflated(b"\xff", FlushCompress::Sync);
        let payload = &flushed[..flushed.len() - 4];
        assert_eq!(failure_with(&compressed(payload), deflate()), 1007);
        assert_eq!(events(&[client_frame(true, true, Opcode::Binary, payload)]), [Event::Binary(vec![0xff])]);
    }

    #[test]
    fn a_deflate_bomb_is_refused_at_the_limit() {
        for (bytes, expected) in
            [(LIMITS.message_bytes_max, None), (LIMITS.message_bytes_max + 1, Some(1009)), (1 << 24, Some(1009))]
        {
            let flushed = deflated(&vec![b'0'; bytes], FlushCompress::Sync);
            let (_, failure) = served(&compressed(&flushed[..flushed.len() - 4]), deflate());
            assert_eq!(failure.map(|failure| failure.code), expected);
        }
    }

    #[test]
    fn empty_blocks_without_end_are_refused() {
        let block = [0x00, 0x00, 0x00, 0xff, 0xff];
        let first = client_frame(false, true, Opcode::Text, &block);
        let rest = client_frame(false, false, Opcode::Continuation, &block.repeat(200)).repeat(100);
        assert_eq!(failure_with(&[first, rest].concat(), deflate()), 1009);
    }

    #[test]
    fn what_follows_a_final_block_may_refer_to_what_came_before_it() {
        let front = prose(40_000);
        let mut raw = Compress::new_with_window_bits(Compression::best(), false, 15);
        let mut back = Vec::with_capacity(50_000);
        raw.set_dictionary(&front.as_bytes()[front.len() - 32_768..]).unwrap();
        raw.compress_vec(&front.as_bytes()[20_000..], &mut back, FlushCompress::Sync).unwrap();
        back.truncate(back.len() - 4);
        let payload = [deflated(front.as_bytes(), FlushCompress::Finish), back].concat();
        let expected = front.clone() + &front[20_000..];
        assert_eq!(events(&[compressed(&payload)]), [text(&expected)]);
    }

    #[test]
    fn every_compressed_frame_stands_alone_and_is_the_same_each_time() {
        let mut compressor = Compressor::new();
        let message = prose(5000);
        let mut encode = |payload: &str| {
            let mut out = Vec::new();
            encode_text_deflated(payload.as_bytes(), &mut compressor, &mut out);
            out
        };
        let first = encode(&message);
        encode("something in between");
        assert_eq!(encode(&message), first);
        assert!(first.len() < message.len() / 2);
        assert_eq!(first[0], 0xc1);
        let client = decoded(Decoder::new(Role::Client, LIMITS, deflate()), [first.as_slice()]);
        assert_eq!(client, (vec![text(&message)], None));
    }

    #[test]
    fn what_does_not_compress_grows_a_little_and_decodes() {
        for message in
            [vec![], vec![b'x'], (0..=255).collect(), (0..5000_u32).flat_map(|at| (at * at).to_le_bytes()).collect()]
        {
            let mut out = Vec::new();
            encode_binary_deflated(&message, &mut Compressor::new(), &mut out);
            assert!(out.len() < message.len() + message.len() / 100 + 20);
            let client = decoded(Decoder::new(Role::Client, LIMITS, deflate()), [out.as_slice()]);
            assert_eq!(client, (vec![Event::Binary(message)], None));
        }
    }

    proptest! {
        #[test]
        fn compressed_messages_decode_to_themselves(message: String, repeat in 1..50usize, cut: prop::sample::Index) {
            let message = message.repeat(repeat);
            let mut compressor = Compressor::new();
            let payload = compressor.compress(message.as_bytes());
            let (front, back) = payload.split_at(cut.index(payload.len() + 1));
            let frames = [client_frame(false, true, Opcode::Text, front), frame(Opcode::Continuation, back)];
            prop_assert_eq!(served(&frames.concat(), deflate()), (vec![Event::Text(message)], None));
        }

        #[test]
        fn arbitrary_payloads_get_one_verdict(payload: Vec<u8>) {
            let (events, failure) = served(&compressed(&payload), deflate());
            prop_assert!(events.len() == 1 || failure.is_some());
        }
    }
}

mod handshakes {
    use super::*;
    use crate::protocol::http::{Method, Request, Response, Version};

    const OPTIONS: HandshakeOptions<'_> = HandshakeOptions { deflate: true, subprotocols: &["phoenix", "other"] };

    /// The request of RFC 6455 section 1.3, one field given another value (or left out).
    fn request(changed: &str, value: Option<&str>) -> Request {
        let fields = [
            ("Host", "server.example.com"),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Version", "13"),
        ];
        let mut request = Request::new(Method::Get, "/chat");
        for (name, value) in fields.into_iter().filter(|(name, _)| *name != changed) {
            request = request.with_header(name, value);
        }
        match value {
            Some(value) => request.with_header(changed, value),
            None => request,
        }
    }

    fn status(request: &Request) -> u16 {
        accept(request, &OPTIONS).map_or_else(|refusal| refusal.status, |(_, response)| response.status)
    }

    #[test]
    fn the_example_of_the_standard_is_accepted() {
        let (upgrade, response) = accept(&request("", None), &OPTIONS).expect("accepted");
        assert_eq!(upgrade, Upgrade { subprotocol: None, deflate: None });
        let expected = Response::new(101)
            .with_header("upgrade", "websocket")
            .with_header("connection", "Upgrade")
            .with_header("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(response, expected);
    }

    #[test]
    fn each_missing_or_wrong_part_is_refused() {
        for (name, values) in [
            ("Upgrade", &[None, Some("h2c"), Some("websockets")][..]),
            ("Connection", &[None, Some("keep-alive"), Some("upgraded")]),
            (
                "Sec-WebSocket-Key",
                &[None, Some(""), Some("dGhlIHNhbXBsZSBub25jZQ"), Some("dGhlIHNhbXBsZSBub25j"), Some("!!!!")],
            ),
            ("Sec-WebSocket-Version", &[None]),
        ] {
            for value in values {
                assert_eq!(status(&request(name, *value)), 400, "{name} {value:?}");
            }
        }
        for twice in ["Sec-WebSocket-Key", "Sec-WebSocket-Version"] {
            let request = request("", None);
            let value = request.headers.first(twice).unwrap().to_owned();
            assert_eq!(status(&request.with_header(twice, &value)), 400, "{twice}");
        }
        assert_eq!(status(&Request { version: Version::Http10, ..request("", None) }), 400);
    }

    #[test]
    fn another_method_is_refused_with_nothing_to_read() {
        let refusal = accept(&Request { method: Method::Post, ..request("", None) }, &OPTIONS).expect_err("refused");
        assert_eq!(refusal, Response::new(400));
    }

    #[test]
    fn another_version_is_told_ours() {
        for version in ["8", "14", "013", "x"] {
            let refusal = accept(&request("Sec-WebSocket-Version", Some(version)), &OPTIONS).expect_err("refused");
            assert_eq!((refusal.status, refusal.header("sec-websocket-version")), (426, Some("13")));
            assert_eq!(refusal.header("upgrade"), Some("websocket"));
        }
    }

    #[test]
    fn tokens_are_found_in_lists_of_any_case() {
        assert_eq!(status(&request("Upgrade", Some("h2c, WebSocket"))), 101);
        assert_eq!(status(&request("Connection", Some("keep-alive,UPGRADE"))), 101);
        let split = request("Connection", Some("keep-alive")).with_header("connection", "Upgrade");
        assert_eq!(status(&split), 101);
    }

    #[test]
    fn the_clients_first_subprotocol_that_we_speak_is_chosen() {
        let subprotocol = |offer: &str| {
            let (upgrade, response) =
                accept(&request("Sec-WebSocket-Protocol", Some(offer)), &OPTIONS).expect("accepted");
            assert_eq!(response.header("sec-websocket-protocol"), upgrade.subprotocol.as_deref());
            upgrade.subprotocol
        };
        assert_eq!(subprotocol("phoenix, base64url.bearer.phx.dG9rZW4"), Some("phoenix".into()));
        assert_eq!(subprotocol("x, other, phoenix"), Some("other".into()));
        assert_eq!(subprotocol("Phoenix"), None);
    }

    /// The answer to an offer of extensions, or the status of the refusal.
    fn extensions(offer: &str) -> Result<Option<String>, u16> {
        let result = accept(&request("Sec-WebSocket-Extensions", Some(offer)), &OPTIONS);
        let (upgrade, response) = result.map_err(|refusal| refusal.status)?;
        assert_eq!(response.header("sec-websocket-extensions").is_some(), upgrade.deflate.is_some());
        Ok(response.header("sec-websocket-extensions").map(str::to_owned))
    }

    #[test]
    fn the_first_offer_that_can_be_honoured_is_taken() {
        let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate;client_max_window_bits=8",
            "permessage-deflate; client_max_window_bits=\"10\"; server_no_context_takeover; client_no_context_takeover",
            "x-webkit-deflate-frame, permessage-deflate",
            "permessage-deflate; unknown, permessage-deflate",
            "permessage-deflate; server_max_window_bits=8, permessage-deflate",
        ] {
            assert_eq!(extensions(offer), Ok(Some(agreed.to_owned())), "{offer}");
        }
        for bits in 9..=15 {
            let offer = format!("permessage-deflate; server_max_window_bits = {bits}");
            assert_eq!(extensions(&offer), Ok(Some(format!("{agreed}; server_max_window_bits={bits}"))));
        }
    }

    #[test]
    fn offers_that_cannot_be_honoured_are_declined() {
        for offer in [
            "permessage-bzip2",
            "permessage-deflate; unknown",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=010",
            "permessage-deflate; server_max_window_bits=+9",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=x",
        ] {
            assert_eq!(extensions(offer), Ok(None), "{offer}");
        }
        let plain = HandshakeOptions { deflate: false, ..OPTIONS };
        let (upgrade, _) = accept(&request("Sec-WebSocket-Extensions", Some("permessage-deflate")), &plain).unwrap();
        assert_eq!(upgrade.deflate, None);
    }

    #[test]
    fn a_malformed_list_of_extensions_fails_the_handshake() {
        for offer in
            ["permessage-deflate;", "a b", "permessage-deflate; =9", "permessage-deflate; a=", "p; a=\"b", "p; a=\"\""]
        {
            assert_eq!(extensions(offer), Err(400), "{offer}");
        }
    }

    #[test]
    fn a_small_window_reads_short_messages_only() {
        let offer = request("Sec-WebSocket-Extensions", Some("permessage-deflate; server_max_window_bits=10"));
        let deflate = accept(&offer, &OPTIONS).unwrap().0.deflate.unwrap();
        assert!(deflate.reads(1024) && !deflate.reads(1025));
        assert!(Deflate::default().reads(usize::MAX));
    }
}

/// tungstenite as the independent opinion.
mod against_tungstenite {
    use super::*;
    use std::io::{Cursor, Read, Write};
    use tungstenite::protocol::{Role as TheirRole, WebSocketConfig};
    use tungstenite::{Message, WebSocket};

    /// A stream that gives `input` once and keeps what is written.
    struct Wire {
        input: Cursor<Vec<u8>>,
        output: Vec<u8>,
    }

    impl Wire {
        fn new(input: Vec<u8>) -> Self {
            Self { input: Cursor::new(input), output: Vec::new() }
        }
    }

    impl Read for Wire {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match self.input.read(buffer)? {
                0 => Err(std::io::ErrorKind::WouldBlock.into()),
                bytes => Ok(bytes),
            }
        }
    }

    impl Write for Wire {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.output.write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn message() -> impl Strategy<Value = Event> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..100);
        prop_oneof![
            any::<String>().prop_map(Event::Text),
            prop::collection::vec(any::<u8>(), 0..70_000)
                .prop_map(|bytes| Event::Binary(bytes[..bytes.len().min(LIMITS.message_bytes_max)].to_vec())),
            bytes().prop_map(Event::Ping),
            bytes().prop_map(Event::Pong),
        ]
    }

    fn theirs(event: &Event) -> Message {
        match event.clone() {
            Event::Text(text) => Message::text(text),
            Event::Binary(bytes) => Message::binary(bytes),
            Event::Ping(bytes) => Message::Ping(bytes.into()),
            Event::Pong(bytes) => Message::Pong(bytes.into()),
            Event::Close(_) => Message::Close(None),
        }
    }

    fn encoded(event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Text(text) => encode_text(text.as_bytes(), out),
            Event::Binary(bytes) => encode_binary(bytes, out),
            Event::Ping(bytes) => encode_ping(bytes, out),
            Event::Pong(bytes) => encode_pong(bytes, out),
            Event::Close(Some((code, reason))) => encode_close(*code, reason, out),
            Event::Close(None) => encode_close_empty(out),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn we_read_what_their_client_writes(messages in prop::collection::vec(message(), 0..5)) {
            let mut client = WebSocket::from_raw_socket(Wire::new(Vec::new()), TheirRole::Client, None);
            for message in &messages {
                client.send(theirs(message)).unwrap();
            }
            let (events, failure) = served(&client.get_ref().output, None);
            prop_assert_eq!((events, failure), (messages, None));
        }

        #[test]
        fn their_client_reads_what_we_write(messages in prop::collection::vec(message(), 0..5)) {
            let mut out = Vec::new();
            messages.iter().for_each(|message| encoded(message, &mut out));
            let config = WebSocketConfig::default();
            let mut client = WebSocket::from_raw_socket(Wire::new(out.clone()), TheirRole::Client, Some(config));
            for message in &messages {
                prop_assert_eq!(client.read().unwrap(), theirs(message));
            }
            prop_assert_eq!(decoded(Decoder::new(Role::Client, LIMITS, None), [out.as_slice()]), (messages, None));
        }
    }
}

#[test]
fn a_message_that_becomes_its_frame_is_the_frame_that_is_made_of_it() {
    for length in [0, 1, 125, 126, 65_535, 65_536, 100_000] {
        let payload = vec![b'x'; length];
        let mut message = crate::protocol::Roomy::new([&[b'.'; 16][..], &payload].concat(), 16);
        frame_text(&mut message);
        assert_eq!(*message, *text_frame(&payload), "{length} bytes");
        assert!(message.room() > 0, "it was not moved");
    }
}
