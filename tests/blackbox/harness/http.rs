//! An HTTP/1.1 client that sends exactly the bytes it is told to and reads answers one by one.
//!
//! Strict towards the server: an answer must have a length it keeps to. Knows nothing of the application.

use super::Stream;
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

/// One answer of the server.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header by its lower-case name; two of them are a failure.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} appears twice in {:?}", self.headers);
        value
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// The JSON body of an answer that must have this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }
}

/// One connection.
pub struct Connection {
    stream: Stream,
    unread: Vec<u8>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).expect("the server accepts")
    }

    pub fn try_open(address: SocketAddr) -> std::io::Result<Self> {
        Stream::open(address, None).map(Self::over)
    }

    /// A connection that is there already.
    pub fn over(stream: Stream) -> Self {
        Self { stream, unread: Vec::new() }
    }

    /// Sends bytes as they are. The server may have closed already, which shows when the answer is read.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        if let Err(error) = self.try_send(bytes) {
            assert!(is_end(&error), "sending failed: {error}");
        }
    }

    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref())?;
        self.stream.flush()
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&mut self) {
        self.stream.tcp().shutdown(std::net::Shutdown::Write).expect("the connection is open");
    }

    /// Reads one answer.
    pub fn answer(&mut self) -> Answer {
        self.try_answer(false).expect("an answer")
    }

    /// Reads the answer to a HEAD request: a length, no body.
    pub fn answer_to_head(&mut self) -> Answer {
        self.try_answer(true).expect("an answer")
    }

    pub fn try_answer(&mut self, head_only: bool) -> std::io::Result<Answer> {
        let head_end = loop {
            if let Some(at) = find(&self.unread, b"\r\n\r\n") {
                break at + 4;
            }
            self.fill()?;
        };
        let head: Vec<u8> = self.unread.drain(..head_end).collect();
        let (status, headers) = parse_head(&head);
        let mut answer = Answer { status, headers, body: Vec::new() };
        if head_only || status == 204 || status == 304 || status < 200 {
            return Ok(answer);
        }
        if answer.header("transfer-encoding").is_some_and(|coding| coding == "chunked") {
            answer.body = self.chunked()?;
        } else {
            let length = answer.header("content-length").expect("an answer has a length");
            answer.body = self.take(length.parse().expect("a length is a number"))?;
        }
        Ok(answer)
    }

    /// Nothing more comes: the server closed (a reset counts, it may follow unread bytes).
    pub fn is_closed_by_server(&mut self) -> bool {
        if !self.unread.is_empty() {
            return false;
        }
        match self.fill() {
            Ok(()) => false,
            Err(error) => is_end(&error),
        }
    }

    /// The bytes as they came, for those who go on with another protocol.
    pub fn into_parts(self) -> (Stream, Vec<u8>) {
        (self.stream, self.unread)
    }

    /// Whatever comes next, of an answer that goes on.
    pub fn piece(&mut self) -> String {
        if self.unread.is_empty() {
            self.fill().expect("the server sends");
        }
        String::from_utf8_lossy(&std::mem::take(&mut self.unread)).into_owned()
    }

    fn chunked(&mut self) -> std::io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = usize::from_str_radix(&line, 16).expect("a chunk's size is hexadecimal");
            body.extend(self.take(size)?);
            assert_eq!(self.take(2)?, b"\r\n", "a chunk ends with CRLF");
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn line(&mut self) -> std::io::Result<String> {
        loop {
            if let Some(at) = find(&self.unread, b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..at + 2).collect();
                return Ok(String::from_utf8(line[..at].to_vec()).expect("a line is text"));
            }
            self.fill()?;
        }
    }

    fn take(&mut self, bytes: usize) -> std::io::Result<Vec<u8>> {
        while self.unread.len() < bytes {
            self.fill()?;
        }
        Ok(self.unread.drain(..bytes).collect())
    }

    fn fill(&mut self) -> std::io::Result<()> {
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read => {
                self.unread.extend_from_slice(&chunk[..read]);
                Ok(())
            }
        }
    }
}

/// The peer is gone, in one of the ways in which that shows.
pub fn is_end(error: &std::io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionRefused | ConnectionReset | UnexpectedEof)
}

/// The bytes of a request with a JSON body.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    let body = body.map(Value::to_string);
    if let Some(body) = &body {
        head += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    }
    head += "\r\n";
    [head.into_bytes(), body.unwrap_or_default().into_bytes()].concat()
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

fn parse_head(head: &[u8]) -> (u16, Vec<(String, String)>) {
    let head = std::str::from_utf8(head).expect("a head is text");
    let mut lines = head.trim_end().split("\r\n");
    let status_line = lines.next().expect("a status line");
    assert!(status_line.starts_with("HTTP/1."), "{status_line:?}");
    let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let header = |line: &str| {
        let (name, value) = line.split_once(':').expect("a header line has a colon");
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    (status, lines.map(header).collect())
}

#[test]
fn answers_are_read_one_by_one_whatever_their_framing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let canned = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: a:b\r\n\r\nhi\
                  HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n\
                  HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
    let server = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("a connection");
        canned.bytes().for_each(|byte| peer.write_all(&[byte]).expect("the client reads"));
    });
    let mut connection = Connection::open(address);
    assert_eq!(connection.answer().status, 100);
    let plain = connection.answer();
    assert_eq!((plain.text(), plain.header("x")), ("hi", Some("a:b")));
    assert_eq!(connection.answer().text(), "abc");
    assert_eq!(connection.answer_to_head().body, b"");
    assert_eq!(connection.answer().status, 204);
    assert!(connection.is_closed_by_server());
    server.join().expect("it wrote everything");
}
