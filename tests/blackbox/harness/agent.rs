//! A fake agent: an HTTP/1.1 server on plain threads that hands every request to the test, which answers it piece by piece.
//!
//! Nothing here waits for a clock: a piece is written when the test says so, the next request is waited for. An agent may
//! also run a script per request, for loads. Strict towards the server: a request must have a length and keep to it.

use super::{HANG, Value};
use futures_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

/// What is done with each request.
type Script = Arc<dyn Fn(Call) + Send + Sync>;

trait Bytes: Read + Write + Send {}
impl<T: Read + Write + Send> Bytes for T {}

/// See the top of the file. Dropped: nobody listens any more; calls under way belong to who holds them.
pub struct Agent {
    address: SocketAddr,
    scheme: &'static str,
    calls: mpsc::Receiver<Call>,
    listener: Socket,
}

/// An address at which nobody listens yet, and which nobody else is given.
pub struct Absent(Socket);

impl Absent {
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        socket.bind(&any.into()).expect("a free port");
        Self(socket)
    }

    pub fn url(&self) -> String {
        format!("http://{}", address_of(&self.0))
    }

    /// From now on there is an agent.
    pub fn arrive(self) -> Agent {
        Agent::listening(self.0, None, None)
    }
}

impl Agent {
    /// An agent whose requests the test takes with [`Agent::call`].
    pub fn start() -> Self {
        Absent::new().arrive()
    }

    /// As [`Agent::start`], behind TLS.
    pub fn with_tls(config: ServerConfig) -> Self {
        Self::listening(Absent::new().0, Some(Arc::new(config)), None)
    }

    /// An agent that does this with each request, on a thread of its own.
    pub fn serving(script: impl Fn(Call) + Send + Sync + 'static) -> Self {
        Self::listening(Absent::new().0, None, Some(Arc::new(script)))
    }

    fn listening(socket: Socket, tls: Option<Arc<ServerConfig>>, script: Option<Script>) -> Self {
        socket.listen(1024).expect("the address is ours");
        let address = address_of(&socket);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener: TcpListener = socket.try_clone().expect("a descriptor").into();
        let (told, calls) = mpsc::channel();
        let script = script.unwrap_or_else(|| Arc::new(move |call| drop(told.send(call))));
        thread::spawn(move || {
            // Ends with the first error: the agent was dropped.
            for stream in listener.incoming().map_while(Result::ok) {
                let (tls, script) = (tls.clone(), script.clone());
                thread::spawn(move || serve(stream, tls, &script));
            }
        });
        Self { address, scheme, calls, listener: socket }
    }

    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// The next request.
    #[track_caller]
    pub fn call(&self) -> Call {
        self.calls.recv_timeout(HANG).expect("the agent is called")
    }

    /// The next request, if it comes within this time. For what goes on meanwhile, not to wait for something.
    pub fn call_within(&self, duration: Duration) -> Option<Call> {
        self.calls.recv_timeout(duration).ok()
    }

    /// No request comes for this long. For claims about time that passes, not to wait for something.
    pub fn is_idle_for(&self, duration: Duration) -> bool {
        self.call_within(duration).is_none()
    }

    /// Requests that were made and not taken.
    pub fn calls_waiting(&self) -> usize {
        self.calls.try_iter().count()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Wakes the thread that accepts.
        let _ = self.listener.shutdown(Shutdown::Both);
    }
}

fn address_of(socket: &Socket) -> SocketAddr {
    socket.local_addr().ok().and_then(|address| address.as_socket()).expect("a bound socket has an address")
}

/// One connection, request by request, until somebody ends it.
fn serve(stream: TcpStream, tls: Option<Arc<ServerConfig>>, script: &Script) {
    stream.set_nodelay(true).expect("a TCP option");
    let Some(mut wire) = Wire::open(stream, tls) else { return };
    while let Some((head, body)) = wire.request() {
        let (back, returned) = mpsc::channel();
        script(Call::new(&head, body, wire, back));
        match returned.recv() {
            Ok(kept) => wire = kept,
            Err(_) => return,
        }
    }
}

/// The bytes of a connection.
struct Wire {
    stream: Box<dyn Bytes>,
    tcp: TcpStream,
    unread: Vec<u8>,
}

impl Wire {
    /// `None`: there was no handshake.
    fn open(mut tcp: TcpStream, tls: Option<Arc<ServerConfig>>) -> Option<Self> {
        let below = tcp.try_clone().expect("a descriptor");
        let stream: Box<dyn Bytes> = match tls {
            None => Box::new(tcp),
            Some(config) => {
                let mut session = ServerConnection::new(config).expect("the configuration is good");
                while session.is_handshaking() {
                    session.complete_io(&mut tcp).ok()?;
                }
                Box::new(StreamOwned::new(session, tcp))
            }
        };
        Some(Self { stream, tcp: below, unread: Vec::new() })
    }

    /// The next request's head and body. `None`: the server has closed.
    fn request(&mut self) -> Option<(String, Vec<u8>)> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill()?;
        };
        let head = String::from_utf8(self.unread.drain(..end).collect()).expect("a head is text");
        let length: usize = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(|rest| rest.trim().parse()))
            .expect("a request has a length")
            .expect("a length is a number");
        while self.unread.len() < length {
            self.fill()?;
        }
        Some((head, self.unread.drain(..length).collect()))
    }

    fn fill(&mut self) -> Option<()> {
        let mut bytes = [0; 64 * 1024];
        let read = self.stream.read(&mut bytes).ok().filter(|&read| read > 0)?;
        self.unread.extend_from_slice(&bytes[..read]);
        Some(())
    }

    fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).is_ok()
    }
}

/// One request, and the answer to it in the hands of the test. Dropped unfinished: the connection is closed where it is.
pub struct Call {
    /// Method, target and version.
    pub request_line: String,
    /// Names in lower case, as they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    wire: Wire,
    back: mpsc::Sender<Wire>,
    has_head: bool,
}

impl Call {
    fn new(head: &str, body: Vec<u8>, wire: Wire, back: mpsc::Sender<Wire>) -> Self {
        let mut lines = head.trim_end().split("\r\n");
        let request_line = lines.next().expect("a request line").to_owned();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').expect("a header has a colon");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        let headers = lines.map(header).collect();
        Self { request_line, headers, body, wire, back, has_head: false }
    }

    /// Method and target.
    pub fn target(&self) -> &str {
        self.request_line.strip_suffix(" HTTP/1.1").expect("HTTP/1.1 is spoken")
    }

    /// The value of a header by its lower-case name; two of them are a failure.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} appears twice in {:?}", self.headers);
        value
    }

    /// The other end of the connection.
    pub fn peer(&self) -> SocketAddr {
        self.wire.tcp.peer_addr().expect("it is connected")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// The messages that it carries.
    pub fn messages(&self) -> Vec<Value> {
        super::rest::list(&self.json(), "messages")
    }

    /// The texts of the messages that it carries.
    pub fn texts(&self) -> Vec<String> {
        let text = |message: &Value| match message["content"]["text"].as_str() {
            Some(text) => text.to_owned(),
            None => message["content"]["parts"][0]["text"].as_str().expect("a message has a text").to_owned(),
        };
        self.messages().iter().map(text).collect()
    }

    pub fn run_id(&self) -> String {
        self.header("x-fleetlm-run").expect("a call names its run").to_owned()
    }

    pub fn attempt(&self) -> u64 {
        self.header("x-fleetlm-attempt").expect("a call names its attempt").parse().expect("a number")
    }

    /// Sends the head of an answer whose body comes in pieces.
    pub fn head(&mut self, status: u16, headers: &[(&str, &str)]) {
        let mut head = format!("HTTP/1.1 {status} Status\r\ntransfer-encoding: chunked\r\n");
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        self.raw(head + "\r\n");
        self.has_head = true;
    }

    /// Sends a piece of the body (behind a plain head of status 200). False: the server has closed.
    pub fn piece(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        if !self.has_head {
            self.head(200, &[("content-type", "application/x-ndjson")]);
        }
        let bytes = bytes.as_ref();
        self.raw([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat())
    }

    /// Sends one chunk as a JSON line.
    pub fn say(&mut self, chunk: &Value) -> bool {
        self.piece(format!("{chunk}\n"))
    }

    /// Sends bytes as they are, without any framing.
    pub fn raw(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.write(bytes.as_ref())
    }

    /// Ends the body; the connection is kept for the next request.
    pub fn finish(mut self) {
        if !self.has_head {
            self.head(200, &[]);
        }
        self.raw("0\r\n\r\n");
        self.keep();
    }

    /// Sends these chunks as JSON lines and ends the body.
    pub fn answer(mut self, chunks: &[Value]) {
        for chunk in chunks {
            self.say(chunk);
        }
        self.finish();
    }

    /// Answers with a whole body and its length.
    pub fn respond(mut self, status: u16, headers: &[(&str, &str)], body: &str) {
        let mut head = format!("HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n", body.len());
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        self.raw(format!("{head}\r\n{body}"));
        self.keep();
    }

    /// Ends the connection in the middle, with a reset where the system can.
    pub fn cut(self) {
        // What was written is to arrive before the end does: no linger of zero.
        let _ = self.wire.tcp.shutdown(Shutdown::Both);
    }

    /// Waits until the server closes the connection. False: it sent something instead.
    pub fn is_closed_by_server(&mut self) -> bool {
        self.wire.tcp.set_read_timeout(Some(HANG)).expect("a TCP option");
        let mut byte = [0];
        match self.wire.stream.read(&mut byte) {
            Ok(read) => read == 0,
            Err(error) => super::http::is_end(&error),
        }
    }

    /// The server closes the connection within this time: how an agent that speaks slowly spends its pauses.
    pub fn is_closed_within(&mut self, duration: Duration) -> bool {
        self.wire.tcp.set_read_timeout(Some(duration)).expect("a TCP option");
        let read = self.wire.stream.read(&mut [0]);
        self.wire.tcp.set_read_timeout(None).expect("a TCP option");
        match read {
            Ok(read) => read == 0,
            Err(error) => super::http::is_end(&error),
        }
    }

    fn keep(self) {
        let Self { wire, back, .. } = self;
        // The connection's thread waits for it.
        let _ = back.send(wire);
    }
}
