//! The decoder as a whole: each case is decoded whole, byte by byte, and with bytes behind it.

use super::*;
use proptest::prelude::*;

const LIMITS: Limits = Limits {
    request_line_bytes_max: 256,
    head_bytes_max: 1024,
    headers_max: 16,
    body_bytes_max: 4096,
    upload_bytes_max: 8192,
};

/// Everything a decoder says about `parts`, without the steps that depend on how the bytes arrive.
fn decoded<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Request>, Option<RequestError>) {
    let mut decoder = RequestDecoder::new(LIMITS);
    let mut requests = Vec::new();
    for part in parts {
        decoder.push(part);
        loop {
            match decoder.next() {
                Ok(Step::Request(request)) => requests.push(request),
                Ok(Step::SendContinue) => {}
                Ok(Step::Oversized) => {
                    decoder.allow();
                }
                Ok(Step::NeedMore) => break,
                Err(error) => {
                    assert_eq!(decoder.next(), Err(error), "an error is final");
                    return (requests, Some(error));
                }
            }
        }
    }
    (requests, None)
}

/// What is decoded from `bytes`, the same whether they arrive whole or one by one.
fn all(bytes: &[u8]) -> (Vec<Request>, Option<RequestError>) {
    let whole = decoded([bytes]);
    let single = decoded(bytes.chunks(1));
    assert_eq!(whole, single, "{}", bytes.escape_ascii());
    whole
}

/// The one request `bytes` are, also when another follows and when they are cut anywhere.
fn one(bytes: impl AsRef<[u8]>) -> Request {
    let bytes = bytes.as_ref();
    let (requests, error) = all(bytes);
    assert_eq!((requests.len(), error), (1, None), "{}", bytes.escape_ascii());
    let next = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n";
    let (mut both, error) = all(&[bytes, next].concat());
    assert_eq!((both.len(), error), (2, None), "{}", bytes.escape_ascii());
    assert_eq!(both[1].path, "/next");
    assert_eq!(both[0], requests[0]);
    for cut in 0..bytes.len() {
        assert_eq!(decoded([&bytes[..cut]]), (vec![], None), "{}", bytes[..cut].escape_ascii());
    }
    both.remove(0)
}

/// The status `bytes` are refused with, whatever follows.
fn refused(bytes: impl AsRef<[u8]>) -> u16 {
    let bytes = bytes.as_ref();
    let (requests, error) = all(bytes);
    assert_eq!(requests, [], "{}", bytes.escape_ascii());
    let error = error.unwrap_or_else(|| panic!("not refused: {}", bytes.escape_ascii()));
    assert_eq!(all(&[bytes, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"].concat()), (vec![], Some(error)));
    error.status
}

/// A request with these header lines.
fn with(lines: &str) -> String {
    format!("POST /p HTTP/1.1\r\nHost: h\r\n{lines}\r\n")
}

/// The status of a request line, 200 if it is taken.
fn line_status(line: &str) -> u16 {
    let bytes = format!("{line}\r\nHost: h\r\n\r\n");
    all(bytes.as_bytes()).1.map_or(200, |error| error.status)
}

#[test]
fn a_request_keeps_method_target_headers_and_content() {
    let request = one(
        "POST /a%20b/?x=1&y=?2 HTTP/1.1\r\nHost: h:80\r\nX-A: \t one \t \r\nX-B:\r\nContent-Length: 5\r\n\r\nhello",
    );
    assert_eq!(request.method, Method::Post);
    assert_eq!((request.path.as_str(), request.query.as_str()), ("/a%20b/", "x=1&y=?2"));
    assert_eq!((request.headers.first("x-a"), request.headers.first("x-b")), (Some("one"), Some("")));
    assert_eq!((request.headers.first("host"), request.headers.len()), (Some("h:80"), 4));
    assert_eq!(request.body, b"hello");
    assert!(request.keep_alive);
}

#[test]
fn pipelined_requests_come_out_in_order_and_the_rest_is_kept() {
    let bytes = [
        with("Content-Length: 3\r\n") + "one",
        with("Transfer-Encoding: chunked\r\n") + "3\r\ntwo\r\n0\r\n\r\n",
        with("Content-Length: 0\r\n"),
    ]
    .concat();
    let (requests, error) = all((bytes.clone() + "\x01\x00rest").as_bytes());
    assert_eq!(error, None);
    assert_eq!(requests.iter().map(|request| request.body.as_slice()).collect::<Vec<_>>(), [&b"one"[..], b"two", b""]);

    let mut decoder = RequestDecoder::new(LIMITS);
    decoder.push((bytes + "\x01\x02").as_bytes());
    for _ in 0..3 {
        assert!(matches!(decoder.next(), Ok(Step::Request(_))));
    }
    assert_eq!(decoder.into_rest(), b"\x01\x02");
}

#[test]
fn the_connection_stays_open_by_the_rules_of_each_version() {
    let keep = |version: &str, lines: &str| one(format!("GET / HTTP/{version}\r\nHost: h\r\n{lines}\r\n")).keep_alive;
    assert!(keep("1.1", ""));
    assert!(keep("1.1", "Connection: Upgrade, keep-alive\r\n"));
    assert!(!keep("1.1", "Connection: x, CLOSE\r\n"));
    assert!(!keep("1.1", "Connection: keep-alive\r\nConnection: close\r\n"));
    assert!(!keep("1.0", ""));
    assert!(keep("1.0", "Connection: Keep-Alive\r\n"));
    assert!(!keep("1.0", "Connection: keep-alive, close\r\n"));
}

#[test]
fn chunked_content_loses_its_coding_extensions_and_trailers() {
    let chunked = |content: &str| one(with("Transfer-Encoding: Chunked\r\n") + content);
    assert_eq!(chunked("0\r\n\r\n").body, b"");
    assert_eq!(chunked("5\r\nhello\r\n0\r\n\r\n").body, b"hello");
    assert_eq!(chunked("1\r\na\r\n00A\r\n0123456789\r\n000\r\n\r\n").body, b"a0123456789");
    assert_eq!(chunked("2;a;b=\"c d\"\r\n\r\n\r\n0 \t;last\r\n\r\n").body, b"\r\n");
    let trailed = chunked("1\r\na\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n");
    assert_eq!((trailed.body.as_slice(), trailed.headers.first("x-sum")), (&b"a"[..], None));
}

#[test]
fn malformed_chunks_are_refused() {
    for content in [
        "\r\n",
        "g\r\n",
        "-1\r\n",
        "+1\r\n",
        "0x1\r\n",
        " 1\r\n",
        ";a\r\n",
        "1 \r\na\r\n",
        "1 2\r\n",
        "1\na\r\n",
        "1;a\nb",
        "1\r\nab",
        "1\r\na\n",
        "1\r\na\r\r",
        "1\r\na\rb",
        "1\ra",
        "0\r\n\n",
        "0\r\n\rx",
        "1;\0\r\n",
        "1\r\na0\r\n\r\n",
        "0\r\n folded: 1\r\n\r\n",
        "0\r\n: 1\r\n\r\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\na : 1\r\n\r\n",
        "0\r\na: \x01\r\n",
        "0\r\na: b\nc",
        "0\r\na: b\rc",
    ] {
        assert_eq!(refused(with("Transfer-Encoding: chunked\r\n") + content), 400, "{content:?}");
    }
}

#[test]
fn everything_about_chunks_is_bounded() {
    let chunked = |content: &str| refused(with("Transfer-Encoding: chunked\r\n") + content);
    assert_eq!(chunked("1001\r\n"), 413);
    assert_eq!(chunked("ffffffffffffffff\r\n"), 413);
    assert_eq!(chunked("10000000000000001\r\n"), 413);
    assert_eq!(chunked(&("fff\r\n".to_owned() + &"a".repeat(4095) + "\r\n2\r\n")), 413);
    assert_eq!(chunked(&("0".repeat(2000) + "\r\n")), 431);
    assert_eq!(chunked(&("1;".to_owned() + &"x".repeat(2000))), 431);
    assert_eq!(chunked(&"1;extended\r\na\r\n".repeat(200)), 431);
    assert_eq!(chunked(&("0\r\n".to_owned() + &"a: b\r\n".repeat(17))), 431);
    assert_eq!(chunked(&("0\r\na: ".to_owned() + &"b".repeat(2000))), 431);
    let most = with("Transfer-Encoding: chunked\r\n") + "1000\r\n" + &"a".repeat(4096) + "\r\n0\r\n\r\n";
    assert_eq!(one(most).body.len(), 4096);
}

#[test]
fn two_ways_to_read_a_length_are_refused() {
    for lines in [
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1\r\ncontent-length: 2\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: 1,\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length: 1 1\r\n",
        "Content-Length: 1.0\r\n",
        "Content-Length: \u{661}\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: , chunked\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: chun\u{e9}ked\r\n",
    ] {
        assert_eq!(refused(with(lines)), 400, "{lines:?}");
    }
    assert_eq!(refused(with("Transfer-Encoding: gzip, chunked\r\n")), 501);
    assert_eq!(refused(with("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n")), 501);
    assert_eq!(refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
    assert_eq!(one(with("Content-Length: 0002\r\n") + "ab").body, b"ab");
}

#[test]
fn malformed_heads_are_refused() {
    for bytes in [
        "GET / HTTP/1.1\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\r\n\r\n",
        "GET / HTTP/1.1\r\r\nHost: h\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "\rGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA\t: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nnothing\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA B: c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\u{e9}: c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: \0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\x7f\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: \x0bb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA\0: b\r\n\r\n",
    ] {
        assert_eq!(refused(bytes), 400, "{bytes:?}");
    }
    let late = one("\r\n\r\nGET /late HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(late.path, "/late");
}

#[test]
fn a_value_that_is_no_utf8_is_kept_as_far_as_it_is() {
    let request = one(b"GET /x?y HTTP/1.1\r\nHost: h\r\nA: caf\xe9!\r\nB: caf\xc3\xa9\r\n\r\n");
    assert_eq!((request.headers.first("a"), request.headers.first("b")), (Some("caf\u{fffd}!"), Some("caf\u{e9}")));
    assert_eq!((request.path.as_str(), request.query.as_str()), ("/x", "y"));
}

#[test]
fn request_lines_are_one_method_one_target_one_version() {
    for line in [
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /",
        "GET",
        "GET /a b HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET /\x7f HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1",
        "GET / HTTP/1.1x",
        "GET / HTTP/11.1",
        "GET / HTP/1.1",
    ] {
        assert_eq!(line_status(line), 400, "{line:?}");
    }
    for line in ["GET / HTTP/2.0", "GET / HTTP/1.2", "GET / HTTP/0.9", "GET / HTTP/3.0", "PRI * HTTP/2.0"] {
        assert_eq!(line_status(line), 505, "{line:?}");
    }
    assert_eq!(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
    assert_eq!(one("BREW /pot?a|b{c} HTTP/1.1\r\nHost: h\r\n\r\n").method, Method::Other("BREW".into()));
}

#[test]
fn targets_are_taken_in_the_forms_a_server_must_know() {
    let target = |line: &str| {
        let request = one(format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n"));
        (request.path, request.query, request.headers.first("host").map(str::to_owned))
    };
    let parts = |path: &str, query: &str, host: &str| (path.to_owned(), query.to_owned(), Some(host.to_owned()));
    assert_eq!(target("OPTIONS *"), parts("*", "", "h"));
    assert_eq!(target("GET http://other:81/a?b"), parts("/a", "b", "other:81"));
    assert_eq!(target("GET HTTPS://[::1]:81"), parts("/", "", "[::1]:81"));
    assert_eq!(target("GET http://other?b"), parts("/", "b", "other"));
    assert_eq!(target("GET //double/slash"), parts("//double/slash", "", "h"));
    for line in [
        "GET * HTTP/1.1",
        "OPTIONS ** HTTP/1.1",
        "GET h:80 HTTP/1.1",
        "CONNECT h:80 HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "GET a/b HTTP/1.1",
        "GET ftp://h/ HTTP/1.1",
        "GET http:///a HTTP/1.1",
        "GET http://:80/a HTTP/1.1",
        "GET http://user@h/ HTTP/1.1",
        "GET http:/h/ HTTP/1.1",
    ] {
        assert_eq!(line_status(line), 400, "{line:?}");
    }
}

#[test]
fn there_is_exactly_one_valid_host() {
    let host =
        |lines: &str| all(format!("GET / HTTP/1.1\r\n{lines}\r\n").as_bytes()).1.map_or(200, |error| error.status);
    for lines in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: user@a\r\n",
        "Host: a:b\r\n",
        "Host: a:1:2\r\n",
        "Host: :80\r\n",
        "Host: [::1\r\n",
        "Host: []\r\n",
        "Host: [::1]x\r\n",
        "Host: a%2\r\n",
        "Host: a%zz\r\n",
        "Host: \u{e9}\r\n",
        "Host: http://a\r\n",
    ] {
        assert_eq!(host(lines), 400, "{lines:?}");
    }
    for lines in
        ["Host: a", "Host:", "Host: a:", "Host: a.b-c_d:65535", "Host: 1.2.3.4:80", "Host: [::1]:80", "Host: a%20"]
    {
        assert_eq!(host(&format!("{lines}\r\n")), 200, "{lines:?}");
    }
    assert_eq!(one("GET / HTTP/1.0\r\n\r\n").headers.first("host"), None);
    assert_eq!(refused("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), 400);
}

#[test]
fn every_limit_of_a_head_is_exact() {
    let line = |bytes: usize| format!("GET /{} HTTP/1.1\r\n", "a".repeat(bytes - "GET / HTTP/1.1\r\n".len()));
    assert_eq!(one(line(256) + "Host: h\r\n\r\n").path.len(), 256 - "GET  HTTP/1.1\r\n".len());
    assert_eq!(refused(line(257) + "Host: h\r\n\r\n"), 414);
    assert_eq!(refused("GET /".to_owned() + &"a".repeat(300)), 414);

    let head = |bytes: usize| {
        let head = "GET / HTTP/1.1\r\nHost: h\r\nA: ";
        format!("{head}{}\r\n\r\n", "b".repeat(bytes - head.len() - 4))
    };
    assert_eq!(one(head(1024)).headers.len(), 2);
    assert_eq!(refused(head(1025)), 431);
    assert_eq!(refused("GET / HTTP/1.1\r\nA: ".to_owned() + &"b".repeat(2000)), 431);

    let lines = |count: usize| with(&"a: b\r\n".repeat(count - 1));
    assert_eq!(one(lines(16)).headers.len(), 16);
    assert_eq!(refused(lines(17)), 431);
}

#[test]
fn heads_of_many_lines_are_kept_whole() {
    let limits = Limits { headers_max: 100, head_bytes_max: 16 * 1024, ..LIMITS };
    let mut decoder = RequestDecoder::new(limits);
    let lines: String = (0..99).map(|at| format!("x-{at}: {at}\r\n")).collect();
    decoder.push(with(&lines).as_bytes());
    let Ok(Step::Request(request)) = decoder.next() else { panic!("not decoded") };
    assert_eq!(request.headers.len(), 100);
    assert_eq!(request.headers.first("X-98"), Some("98"));
}

#[test]
fn content_over_the_limit_is_refused_at_the_head() {
    assert_eq!(refused(with("Content-Length: 4097\r\n")), 413);
    assert_eq!(refused(with("Content-Length: 18446744073709551615\r\n")), 413);
    assert_eq!(one(with("Content-Length: 4096\r\n") + &"a".repeat(4096)).body.len(), 4096);
}

#[test]
fn a_client_that_waits_is_told_to_continue_once() {
    let mut decoder = RequestDecoder::new(LIMITS);
    decoder.push(with("Content-Length: 2\r\nExpect: 100-Continue\r\n").as_bytes());
    assert_eq!(decoder.next(), Ok(Step::SendContinue));
    assert_eq!(decoder.next(), Ok(Step::NeedMore));
    decoder.push(b"a");
    assert_eq!(decoder.next(), Ok(Step::NeedMore));
    decoder.push(b"b");
    assert!(matches!(decoder.next(), Ok(Step::Request(request)) if request.body == b"ab"));
    assert!(decoder.is_idle());
}

#[test]
fn nobody_is_told_to_continue_who_does_not_wait() {
    let first_step = |bytes: &str| {
        let mut decoder = RequestDecoder::new(LIMITS);
        decoder.push(bytes.as_bytes());
        decoder.next()
    };
    let expecting = with("Content-Length: 2\r\nExpect: 100-continue\r\n");
    assert_eq!(first_step(&(expecting.clone() + "a")), Ok(Step::NeedMore));
    assert!(matches!(first_step(&(expecting + "ab")), Ok(Step::Request(_))));
    assert!(matches!(first_step(&with("Expect: 100-continue\r\n")), Ok(Step::Request(_))));
    let old = "POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue, x\r\n\r\n";
    assert_eq!(first_step(old), Ok(Step::NeedMore));
    assert_eq!(refused(with("Content-Length: 2\r\nExpect: 200-ok\r\n")), 417);
    assert_eq!(refused(with("Content-Length: 9999\r\nExpect: 100-continue\r\n")), 413);
}

#[test]
fn an_emptied_decoder_gives_large_buffers_back() {
    let limits = Limits { body_bytes_max: 1 << 20, upload_bytes_max: 1 << 20, ..LIMITS };
    let mut decoder = RequestDecoder::new(limits);
    decoder.push((with("Content-Length: 1000000\r\n") + &"a".repeat(1_000_000)).as_bytes());
    assert!(matches!(decoder.next(), Ok(Step::Request(_))));
    assert_eq!(decoder.into_rest().capacity(), 0);
}

proptest! {
    #[test]
    fn any_three_cuts_decode_like_the_whole(
        bodies in prop::collection::vec("[a-z\r\n]{0,20}", 1..4),
        is_chunked: bool,
        cuts: [prop::sample::Index; 3],
    ) {
        let encode = |body: &String| match is_chunked {
            true => with("Transfer-Encoding: chunked\r\n") + &chunks(body) + "0\r\n\r\n",
            false => with(&format!("Content-Length: {}\r\n", body.len())) + body,
        };
        let bytes: Vec<u8> = bodies.iter().map(encode).collect::<String>().into_bytes();
        let mut cuts = cuts.map(|cut| cut.index(bytes.len() + 1));
        cuts.sort_unstable();
        let [a, b, c] = cuts;
        let (requests, error) = decoded([&bytes[..a], &bytes[a..b], &bytes[b..c], &bytes[c..]]);
        prop_assert_eq!(error, None);
        let decoded_bodies: Vec<_> = requests.into_iter().map(|request| request.body).collect();
        prop_assert_eq!(decoded_bodies, bodies.into_iter().map(String::into_bytes).collect::<Vec<_>>());
    }

    /// httparse alone is the more lenient one: whatever we take, it takes, and it reads the same.
    #[test]
    fn httparse_agrees_with_every_head_that_is_taken(
        head in "(GET|POST|X) [/*a-z:?#% ]{1,6} HTTP/1\\.[0-2]\r\n(Host: h\r\n)?([A-Ca-c \t]{0,2}:[ a\r\n,\t\0\u{e9}]{0,4}\r\n){0,3}\r\n",
    ) {
        let (requests, _) = all(head.as_bytes());
        if let Some(request) = requests.first() {
            let mut fields = [httparse::EMPTY_HEADER; 16];
            let mut parsed = httparse::Request::new(&mut fields);
            prop_assert!(parsed.parse(head.as_bytes()).is_ok_and(|status| status.is_complete()));
            let names: Vec<_> = parsed.headers.iter().map(|field| field.name).collect();
            prop_assert_eq!(request.headers.iter().map(|(name, _)| name).collect::<Vec<_>>(), names);
            prop_assert_eq!(request.method.as_str(), parsed.method.unwrap());
        }
    }
}

mod responses {
    use super::*;

    const OPEN: Context<'_> =
        Context { head_only: false, keep_alive: true, version: Version::Http11, date: "Sun, 06 Nov 1994 08:49:37 GMT" };

    fn text(response: &Response, context: &Context<'_>) -> String {
        let mut out = Vec::new();
        response.encode(&mut out, context);
        String::from_utf8(out).expect("text")
    }

    fn hello() -> Response {
        Response::new(200).with_body("text/plain", "hello")
    }

    #[test]
    fn a_response_has_its_length_and_date() {
        assert_eq!(
            text(&hello(), &OPEN),
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 5\r\n\r\nhello"
        );
    }

    #[test]
    fn head_gets_the_fields_of_get_without_content() {
        let get = text(&hello(), &OPEN);
        assert_eq!(text(&hello(), &Context { head_only: true, ..OPEN }), get.strip_suffix("hello").unwrap());
    }

    #[test]
    fn connection_is_named_where_it_differs_from_the_versions_default() {
        let connection = |keep_alive, version| text(&hello(), &Context { keep_alive, version, ..OPEN });
        assert!(!connection(true, Version::Http11).contains("connection"));
        assert!(connection(false, Version::Http11).contains("\r\nconnection: close\r\n"));
        assert!(connection(true, Version::Http10).contains("\r\nconnection: keep-alive\r\n"));
        assert!(connection(false, Version::Http10).contains("\r\nconnection: close\r\n"));
        let upgrade = text(&Response::new(101).with_header("connection", "Upgrade"), &OPEN);
        assert!(upgrade.contains("\r\nconnection: Upgrade\r\n") && !upgrade.contains("content-length"));
    }

    #[test]
    fn statuses_without_content_carry_none() {
        for status in [101, 204, 304] {
            let response = text(&Response { body: b"x".to_vec().into(), ..Response::new(status) }, &OPEN);
            assert!(response.ends_with("\r\n\r\n") && !response.contains("content-length"), "{response}");
        }
        assert!(text(&Response::new(404), &OPEN).contains("\r\ncontent-length: 0\r\n"));
    }

    #[test]
    fn every_token_is_a_name_and_nothing_else() {
        for byte in 0..=u8::MAX {
            let is_token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(super::super::is_token_byte(byte), is_token, "{byte}");
            let name = format!("x-{}", char::from(byte));
            let is_sent = text(&hello().with_header(name, "a"), &OPEN) != text(&Response::new(500), &OPEN);
            assert_eq!(is_sent, is_token, "{byte}");
        }
    }

    #[test]
    fn a_header_that_would_split_the_response_is_never_sent() {
        for (name, value) in [
            ("x", "a\r\nset-cookie: b"),
            ("x", "a\nb"),
            ("x", "a\rb"),
            ("x", "\0"),
            ("x\r\ny", "a"),
            ("x: y", "a"),
            ("", "a"),
            ("\u{e9}", "a"),
        ] {
            let response = hello().with_header(name, value);
            assert_eq!(text(&response, &OPEN), text(&Response::new(500), &OPEN));
            let mut out = Vec::new();
            let stream = response.encode_stream(&mut out, &OPEN);
            stream.encode_piece(b"x", &mut out);
            stream.encode_end(&mut out);
            assert_eq!(
                String::from_utf8(out).unwrap(),
                text(&Response::new(500), &Context { keep_alive: false, ..OPEN })
            );
        }
    }

    #[test]
    fn framing_fields_are_the_encoders_alone() {
        let response = hello()
            .with_header("Content-Length", "99")
            .with_header("transfer-encoding", "chunked")
            .with_header("Date", "never")
            .with_header("Connection", "close");
        assert_eq!(text(&response, &OPEN), text(&hello(), &OPEN));
    }

    #[test]
    fn a_stream_is_chunked_for_1_1_and_ends_with_the_connection_for_1_0() {
        let streamed = |context: &Context<'_>| {
            let mut out = Vec::new();
            let stream = hello().encode_stream(&mut out, context);
            for piece in [&b"one"[..], b"", &[b'a'; 26]] {
                stream.encode_piece(piece, &mut out);
            }
            stream.encode_end(&mut out);
            (String::from_utf8(out).expect("text"), stream.keep_alive())
        };
        let (chunked, stays_open) = streamed(&OPEN);
        assert!(chunked.contains("\r\ntransfer-encoding: chunked\r\n") && !chunked.contains("content-length"));
        assert!(chunked.ends_with(&format!("\r\n\r\n3\r\none\r\n1a\r\n{}\r\n0\r\n\r\n", "a".repeat(26))), "{chunked}");
        assert!(stays_open);
        let (plain, stays_open) = streamed(&Context { version: Version::Http10, ..OPEN });
        assert!(plain.contains("\r\nconnection: close\r\n") && !plain.contains("transfer-encoding"));
        assert!(plain.ends_with(&format!("\r\n\r\none{}", "a".repeat(26))) && !stays_open);
        let (head, _) = streamed(&Context { head_only: true, ..OPEN });
        assert!(head.contains("transfer-encoding: chunked") && head.ends_with("\r\n\r\n"));
    }

    #[test]
    fn a_stream_of_known_length_is_sent_as_it_is_and_leaves_its_connection_open() {
        for (context, stays_open) in [
            (OPEN, true),
            (Context { version: Version::Http10, ..OPEN }, true),
            (Context { keep_alive: false, ..OPEN }, false),
            (Context { head_only: true, ..OPEN }, true),
        ] {
            let mut out = Vec::new();
            let stream = hello().encode_sized_stream(6, &mut out, &context);
            [b"abc", b"def"].iter().for_each(|piece| stream.encode_piece(&piece[..], &mut out));
            stream.encode_end(&mut out);
            let text = String::from_utf8(out).expect("text");
            assert!(text.contains("\r\ncontent-length: 6\r\n") && !text.contains("transfer-encoding"), "{text}");
            assert!(text.ends_with(if context.head_only { "\r\n\r\n" } else { "\r\n\r\nabcdef" }), "{text}");
            assert_eq!(stream.keep_alive(), stays_open);
        }
    }

    proptest! {
        #[test]
        fn httparse_reads_what_was_encoded(value in "[ -~\u{e9}]{0,12}", body: Vec<u8>) {
            let response = Response::new(201).with_header("x-v", value.clone()).with_body("a/b", body.clone());
            let mut out = Vec::new();
            response.encode(&mut out, &OPEN);
            let mut fields = [httparse::EMPTY_HEADER; 8];
            let mut parsed = httparse::Response::new(&mut fields);
            let length = parsed.parse(&out).unwrap().unwrap();
            prop_assert_eq!(parsed.code, Some(201));
            prop_assert_eq!(&out[length..], body.as_slice());
            prop_assert_eq!(parsed.headers[0].value, value.trim_matches(' ').as_bytes());
        }

        /// A chunked response and a chunked request are the same coding, so our own decoder reads it back.
        #[test]
        fn a_streamed_content_decodes_to_itself(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6)) {
            let mut out = with("Transfer-Encoding: chunked\r\n").into_bytes();
            let stream = Response::new(200).encode_stream(&mut Vec::new(), &OPEN);
            pieces.iter().for_each(|piece| stream.encode_piece(piece, &mut out));
            stream.encode_end(&mut out);
            prop_assert_eq!(one(out).body, pieces.concat());
        }
    }
}

/// `body` in chunks of three bytes, without the last chunk.
fn chunks(body: &str) -> String {
    let encode = |chunk: &[u8]| format!("{:x};e\r\n{}\r\n", chunk.len(), chunk.escape_ascii());
    body.as_bytes().chunks(3).map(|chunk| encode(chunk).replace("\\r", "\r").replace("\\n", "\n")).collect()
}

#[test]
fn an_upload_over_the_bound_is_taken_when_it_is_allowed_and_only_then() {
    let head =
        |target: &str, bytes: usize| format!("POST {target} HTTP/1.1\r\nhost: a\r\ncontent-length: {bytes}\r\n\r\n");
    let content = vec![b'x'; 5000];
    let mut decoder = RequestDecoder::new(LIMITS);
    decoder.push(head("/a/upload", 5000).as_bytes());
    assert_eq!((decoder.next(), decoder.next()), (Ok(Step::Oversized), Ok(Step::Oversized)));
    assert_eq!(decoder.oversized().expect("a head").path, "/a/upload");
    assert!(!decoder.is_idle() && !decoder.allow() && decoder.oversized().is_none());
    decoder.push(&content);
    let Ok(Step::Request(request)) = decoder.next() else { panic!("a request") };
    assert_eq!(request.body, content);
    decoder.push(head("/a/upload", 10).as_bytes());
    assert_eq!(decoder.next(), Ok(Step::NeedMore), "what is within the bound is no matter");
    for (target, bytes) in [("/a/upload", 8193), ("/a/uploads", 5000)] {
        let mut decoder = RequestDecoder::new(LIMITS);
        decoder.push(head(target, bytes).as_bytes());
        assert_eq!(decoder.next().unwrap_err().status, 413, "{target}");
    }
    let mut decoder = RequestDecoder::new(LIMITS);
    let head = "POST /upload HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5000\r\n\r\n";
    decoder.push(head.as_bytes());
    assert_eq!((decoder.next(), decoder.allow(), decoder.next()), (Ok(Step::Oversized), true, Ok(Step::NeedMore)));
}
