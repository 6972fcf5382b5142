//! A webhook on plain threads that does what a test says, with or without TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use futures_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

trait Bytes: Read + Write + Send {}
impl<T: Read + Write + Send> Bytes for T {}

/// One connection of a client.
pub(super) struct Peer {
    stream: Box<dyn Bytes>,
    /// Which connection of the webhook it is, from 0.
    pub(super) number: usize,
}

impl Peer {
    /// The next request, head and body; None at the client's end.
    pub(super) fn request(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_some(&mut bytes)?;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        while bytes.len() < end + length {
            self.read_some(&mut bytes)?;
        }
        Some(String::from_utf8(bytes).unwrap())
    }

    fn read_some(&mut self, bytes: &mut Vec<u8>) -> Option<()> {
        let mut buffer = [0; 4096];
        let count = self.stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
        Some(())
    }

    /// Sends; false when the client is gone.
    pub(super) fn send(&mut self, text: &str) -> bool {
        self.stream.write_all(text.as_bytes()).and_then(|()| self.stream.flush()).is_ok()
    }

    /// Sends a piece of a chunked body.
    pub(super) fn chunk(&mut self, text: &str) -> bool {
        self.send(&format!("{:x}\r\n{text}\r\n", text.len()))
    }

    /// Answers a request with a body.
    pub(super) fn answer(&mut self, body: &str) -> bool {
        self.send(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
    }

    /// Waits until the client has closed the connection.
    pub(super) fn wait_for_end(&mut self) {
        let mut buffer = [0; 4096];
        while matches!(self.stream.read(&mut buffer), Ok(1..)) {}
    }
}

/// See the top of the file. Its threads end with the test's process.
pub(super) struct Webhook {
    pub(super) address: SocketAddr,
    scheme: &'static str,
}

impl Webhook {
    pub(super) fn start(script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        Self { address: listen(|tcp| Some(Box::new(tcp)), script), scheme: "http" }
    }

    pub(super) fn start_tls(config: ServerConfig, script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        let config = Arc::new(config);
        let shake = move |mut tcp: TcpStream| -> Option<Box<dyn Bytes>> {
            let mut session = ServerConnection::new(Arc::clone(&config)).unwrap();
            session.complete_io(&mut tcp).ok()?;
            Some(Box::new(StreamOwned::new(session, tcp)))
        };
        Self { address: listen(shake, script), scheme: "https" }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// The URL with another name of this machine.
    pub(super) fn url_at(&self, host: &str) -> String {
        format!("{}://{host}:{}/", self.scheme, self.address.port())
    }
}

fn listen(
    shake: impl Fn(TcpStream) -> Option<Box<dyn Bytes>> + Send + Sync + 'static,
    script: impl Fn(&mut Peer) + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let ways = Arc::new((shake, script));
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (ways, stream) = (Arc::clone(&ways), stream.unwrap());
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || {
                if let Some(stream) = (ways.0)(stream) {
                    (ways.1)(&mut Peer { stream, number });
                }
            });
        }
    });
    address
}
