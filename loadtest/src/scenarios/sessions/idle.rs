//! Many idle sockets, each joined to a session: opened in batches, and only kept alive.
//!
//! They need no executor, so they are plain blocking sockets on a thread of their own. One address has some 28,000 ports
//! towards one server; on the loopback device there are as many addresses as one wants (127.0.0.0/8 is this machine).

use crate::frame::{self, Opcode};
use crate::phoenix;
use crate::socket::accepted;
use crate::target::Target;
use anyhow::{Context, Result, bail};
use socket2::{Domain, Socket, Type};
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use tungstenite::handshake::client::generate_key;

/// Sockets that are opened side by side: their answers are waited for together.
const BATCH: usize = 64;
/// How long one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Silence that a heartbeat breaks; servers close a socket after two minutes of it.
const HEARTBEAT: Duration = Duration::from_secs(45);
/// Ports of one address when the kernel does not say.
const PORTS_DEFAULT: usize = 28_232;
/// Ports that are left to others.
const PORTS_SPARED: usize = 3_000;
/// Bytes of an answer at the most; the join of an empty session has a few hundred.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A session to join: its id and its user.
pub type Place = (String, String);

/// Open sockets.
#[derive(Default)]
pub struct IdleSockets {
    streams: Vec<Stream>,
    beaten: Option<Instant>,
}

struct Stream {
    stream: TcpStream,
    topic: String,
}

impl IdleSockets {
    /// Opens one for each place, the first of which is number `first` of all threads. `opened` is told how many at a time.
    ///
    /// # Errors
    /// When one is refused or not answered, or there are not enough addresses.
    pub fn open(target: &Target, first: usize, places: &[Place], opened: impl Fn(usize)) -> Result<Self> {
        let mut sockets = Self { beaten: Some(Instant::now()), ..Self::default() };
        for (batch, places) in places.chunks(BATCH).enumerate() {
            let opening = open_batch(target, first + batch * BATCH, places);
            sockets.streams.extend(opening.with_context(|| format!("after {} idle sockets", sockets.streams.len()))?);
            opened(places.len());
            if sockets.beaten.is_some_and(|beaten| beaten.elapsed() > HEARTBEAT) {
                sockets.beat()?;
            }
        }
        Ok(sockets)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Sends a heartbeat on every socket and waits for all answers: they are alive.
    ///
    /// # Errors
    /// When one is not.
    pub fn beat(&mut self) -> Result<()> {
        self.beaten = Some(Instant::now());
        for batch in self.streams.chunks_mut(BATCH) {
            for Stream { stream, .. } in &mut *batch {
                write_frame(stream, 0, 0, "phoenix", "heartbeat")?;
            }
            for Stream { stream, topic } in batch {
                read_reply(stream, "phoenix").with_context(|| format!("the heartbeat of an idle socket on {topic}"))?;
            }
        }
        Ok(())
    }
}

/// Sends everybody's next step before anybody's answer is waited for.
fn open_batch(target: &Target, first: usize, places: &[Place]) -> Result<Vec<Stream>> {
    let mut streams = Vec::with_capacity(places.len());
    for (number, (id, user)) in places.iter().enumerate() {
        let mut stream = connect(target.address, first + number)?;
        let key = generate_key();
        write!(
            stream,
            "GET /socket/websocket?user_id={user}&vsn=2.0.0 HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\r\n",
            target.host
        )?;
        streams.push((Stream { stream, topic: phoenix::topic(id) }, key));
    }
    for (Stream { stream, topic }, key) in &mut streams {
        read_answer(stream, |bytes| accepted(bytes, key)).context("waiting for the WebSocket upgrade")?;
        write_frame(stream, 1, 1, topic, "phx_join")?;
    }
    for (Stream { stream, topic }, _) in &mut streams {
        read_reply(stream, topic).with_context(|| format!("joining {topic}"))?;
    }
    Ok(streams.into_iter().map(|(stream, _)| stream).collect())
}

/// Connects from the address of socket `number`.
fn connect(server: SocketAddr, number: usize) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    let source = source(server.ip(), number, ports())?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into()).with_context(|| format!("taking a port of {source}"))?;
    }
    socket.connect(&server.into()).with_context(|| format!("connecting to {server} with idle socket {number}"))?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(stream)
}

/// The address from which socket `number` connects; `None` is the system's choice.
fn source(server: IpAddr, number: usize, ports: usize) -> Result<Option<IpAddr>> {
    let address = number / ports;
    match server {
        _ if address == 0 => Ok(None),
        IpAddr::V4(server) if server.is_loopback() => {
            // 127.1.0.1 and on: away from those that servers like to listen on.
            let address = u32::from(Ipv4Addr::new(127, 1, 0, 0)) + u32::try_from(address)?;
            Ok(Some(Ipv4Addr::from(address).into()))
        }
        _ => bail!(
            "more than {ports} sockets to {server} from one address: only the loopback device has more addresses; use more generators"
        ),
    }
}

/// Ports that one address has for connections to one server.
fn ports() -> usize {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let ends: Vec<usize> = range.split_whitespace().filter_map(|end| end.parse().ok()).collect();
    let ports = match ends[..] {
        [first, last] if last >= first => last - first + 1,
        _ => PORTS_DEFAULT,
    };
    ports.saturating_sub(PORTS_SPARED).max(1)
}

fn write_frame(stream: &mut TcpStream, join_ref: u64, reference: u64, topic: &str, event: &str) -> Result<()> {
    let (mut text, mut bytes) = (Vec::new(), Vec::new());
    phoenix::write(&mut text, join_ref, reference, topic, event, b"{}");
    frame::encode(Opcode::Text, &text, reference, &mut bytes);
    Ok(stream.write_all(&bytes)?)
}

/// Waits for the reply on `topic`; pings and other frames on the way are passed over.
fn read_reply(stream: &mut TcpStream, topic: &str) -> Result<()> {
    loop {
        let mut text = Vec::new();
        read_answer(stream, |bytes| {
            let Some(frame) = frame::decode(bytes)? else { return Ok(None) };
            match frame.opcode {
                Opcode::Text => text = bytes[frame.payload.clone()].to_vec(),
                Opcode::Close => bail!("the server closed the socket"),
                _ => {}
            }
            Ok(Some(frame.payload.end))
        })?;
        let Some(incoming) = phoenix::parse(&text) else { continue };
        if incoming.event == "phx_reply" && incoming.topic == topic {
            let reply: phoenix::Reply = serde_json::from_str(incoming.payload)?;
            if reply.status != "ok" {
                bail!("refused: {}", reply.response.get());
            }
            return Ok(());
        }
    }
}

/// Reads until `whole` says how long the answer is. Takes no byte behind it: the next answer is read anew.
fn read_answer(stream: &mut TcpStream, mut whole: impl FnMut(&[u8]) -> Result<Option<usize>>) -> Result<()> {
    let mut bytes = vec![0; 1024];
    loop {
        let seen = stream.peek(&mut bytes).context("waiting for an answer")?;
        if seen == 0 {
            bail!("the server closed the connection");
        }
        if let Some(length) = whole(&bytes[..seen])? {
            return Ok(stream.read_exact(&mut bytes[..length])?);
        }
        if seen == bytes.len() {
            if seen >= ANSWER_BYTES_MAX {
                bail!("an answer is longer than {ANSWER_BYTES_MAX} bytes");
            }
            bytes.resize(seen * 2, 0);
            continue;
        }
        // The rest has not come yet: peeking again would return at once with the same bytes.
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_serves_as_many_sockets_as_it_has_ports() {
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let source = |number| source(loopback, number, 25_000).unwrap();
        assert_eq!((source(0), source(24_999)), (None, None));
        assert_eq!(source(25_000), Some(IpAddr::from([127, 1, 0, 1])));
        assert_eq!(source(99_999), Some(IpAddr::from([127, 1, 0, 3])));
        let elsewhere = IpAddr::from([192, 0, 2, 1]);
        assert!(super::source(elsewhere, 24_999, 25_000).is_ok() && super::source(elsewhere, 25_000, 25_000).is_err());
        assert!(ports() > 1_000);
    }

    #[test]
    fn a_socket_beyond_the_ports_of_one_address_comes_from_another() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let streams = [0, ports(), 3 * ports()].map(|number| connect(server, number).unwrap());
        let sources = streams.map(|stream| stream.local_addr().unwrap().ip().to_string());
        assert_eq!(sources, ["127.0.0.1", "127.1.0.1", "127.1.0.3"]);
    }
}
