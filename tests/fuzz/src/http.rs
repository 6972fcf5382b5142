//! The HTTP target: bytes of one connection.

use crate::cuts;
use fleetlm::protocol::http::{Limits, Request, RequestDecoder, RequestError, Step, Version};

const LIMITS: Limits = Limits {
    request_line_bytes_max: 200,
    head_bytes_max: 600,
    headers_max: 12,
    body_bytes_max: 1000,
    upload_bytes_max: 1000,
};

type Outcome = (Vec<Request>, Option<RequestError>);

/// Bytes of a connection: requests in a row.
pub fn http(data: &[u8]) {
    let [whole, single, pieces] = cuts(data).map(|parts| decoded(&parts));
    assert_eq!(whole, single, "one by one differs from whole");
    assert_eq!(whole, pieces, "pieces differ from whole");
    whole.0.iter().for_each(check_round_trip);
    check_against_httparse(data, &whole);
}

fn decoded(parts: &[&[u8]]) -> Outcome {
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
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

/// A request that was taken, written in its plainest form, is the same request.
fn check_round_trip(request: &Request) {
    let version = if request.version == Version::Http10 { "1.0" } else { "1.1" };
    let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
    let mut bytes = format!("{} {}{query} HTTP/{version}\r\n", request.method, request.path).into_bytes();
    let is_framing =
        |name: &str| ["content-length", "transfer-encoding"].iter().any(|own| name.eq_ignore_ascii_case(own));
    let kept: Vec<_> = request.headers.iter().filter(|(name, _)| !is_framing(name)).collect();
    for (name, value) in &kept {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", request.body.len()).as_bytes());
    bytes.extend_from_slice(&request.body);

    // The plain form may be a little longer than what came, so it gets more room.
    let roomy = Limits { request_line_bytes_max: 400, head_bytes_max: 4000, headers_max: 13, ..LIMITS };
    let mut decoder = RequestDecoder::new(roomy);
    decoder.push(&bytes);
    let Ok(Step::Request(again)) = decoder.next() else {
        panic!("refused in its plain form: {}", bytes.escape_ascii());
    };
    assert_eq!((&again.method, &again.path, &again.query), (&request.method, &request.path, &request.query));
    assert_eq!((&again.body, again.version, again.keep_alive), (&request.body, request.version, request.keep_alive));
    let again: Vec<_> = again.headers.iter().filter(|(name, _)| !is_framing(name)).collect();
    assert_eq!(again, kept);
}

/// httparse is the more lenient reader: what we take, it takes, and it reads the same. And what it takes we take too, when it is as plain as
/// can be.
fn check_against_httparse(data: &[u8], (requests, error): &Outcome) {
    let data = (0..2).fold(data, |rest, _| rest.strip_prefix(b"\r\n").unwrap_or(rest));
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut fields);
    let result = parsed.parse(data);
    if let Some(request) = requests.first() {
        let Ok(httparse::Status::Complete(head_bytes)) = result else {
            panic!("httparse refuses what was taken: {result:?}");
        };
        assert_eq!(Some(request.method.as_str()), parsed.method);
        assert_eq!(request.headers.len(), parsed.headers.len());
        for ((name, value), theirs) in request.headers.iter().zip(parsed.headers.iter()) {
            assert_eq!(name, theirs.name);
            // An absolute-form target replaces the Host.
            if !name.eq_ignore_ascii_case("host") {
                assert_eq!(value, String::from_utf8_lossy(theirs.value));
            }
        }
        check_content(request, &data[head_bytes..]);
    } else if let (Ok(httparse::Status::Complete(head_bytes)), Some(error)) = (result, error) {
        assert!(!is_plain(&data[..head_bytes], &parsed), "refused without need: {error}");
    }
}

/// The content as a second reader finds it, who knows nothing of the decoder.
fn check_content(request: &Request, mut rest: &[u8]) {
    if request.headers.first("transfer-encoding").is_none() {
        let length = request.headers.first("content-length").map_or(0, |length| length.parse().expect("a number"));
        assert_eq!(request.body, &rest[..length]);
        return;
    }
    let mut content = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((line_bytes, size))) = httparse::parse_chunk_size(rest) else {
            panic!("httparse refuses a chunk size that was taken: {}", rest.escape_ascii());
        };
        if size == 0 {
            break;
        }
        let chunk = &rest[line_bytes..line_bytes + size as usize];
        content.extend_from_slice(chunk);
        rest = rest[line_bytes + size as usize..].strip_prefix(b"\r\n").expect("CRLF after a chunk");
    }
    assert_eq!(request.body, content);
}

/// A head that nothing could be said against: within all limits, one simple Host, an absolute path, no field with a meaning for
/// framing, and proper line ends.
fn is_plain(head: &[u8], parsed: &httparse::Request<'_, '_>) -> bool {
    let ends = head.iter().filter(|&&byte| byte == b'\n' || byte == b'\r').count();
    let has_proper_ends = head.windows(2).filter(|pair| pair == b"\r\n").count() * 2 == ends;
    let target = parsed.path.unwrap_or_default();
    let has_plain_target =
        target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let mut hosts = parsed.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
    let has_plain_host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.value.iter().all(u8::is_ascii_alphanumeric),
        _ => false,
    };
    let is_telling = |field: &httparse::Header<'_>| {
        ["content-length", "transfer-encoding", "expect"].iter().any(|name| field.name.eq_ignore_ascii_case(name))
    };
    has_proper_ends
        && !head.starts_with(b"\r\n")
        && has_plain_target
        && has_plain_host
        && target.len() < 100
        && head.len() < LIMITS.head_bytes_max
        && head.split(|&byte| byte == b'\n').next().is_some_and(|line| line.len() < LIMITS.request_line_bytes_max)
        && parsed.headers.len() <= LIMITS.headers_max
        && parsed.method != Some("CONNECT")
        && !parsed.headers.iter().any(is_telling)
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        "GET /api/sessions?limit=2 HTTP/1.1\r\nHost: localhost:4000\r\nAccept: */*\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\nContent-Type: application/json\r\n\r\n{\"a\": \"b\" }",
        "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4;x=\"y\"\r\nwiki\r\n00a\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n",
        "PUT / HTTP/1.1\r\nhost: [::1]:80\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
        "HEAD http://example.com:80/x?y HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n",
        "OPTIONS * HTTP/1.0\r\nConnection: keep-alive, x\r\n\r\n",
        "\r\nDELETE /%41/caf HTTP/1.1\r\nHost:\r\nX-A:  b \t\r\nX-Empty:\r\n\r\n",
        "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 1, 1\r\nContent-Length: +5\r\nTransfer-Encoding: gzip\r\n folded\r\nHost : a\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
