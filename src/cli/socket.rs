//! One channel of one session over a WebSocket: join, pushes, events. Phoenix Channels, version 2.
//!
//! Blocking. A read ends after [`QUIET`] so that the heartbeat goes out; a server that says nothing for two of them is gone.

use anyhow::{Context, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_rustls::rustls::{ClientConnection, StreamOwned, pki_types::ServerName};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};
use url::Url;

use super::rest::Rest;

/// Phoenix's clients send a heartbeat every 30 s.
const QUIET: Duration = Duration::from_secs(25);
/// Finding the server and the handshakes.
const CONNECT: Duration = Duration::from_secs(10);

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// A channel that was joined.
pub(super) struct Channel {
    socket: WebSocket<Box<dyn Stream>>,
    /// The same connection, for its timeout.
    tcp: TcpStream,
    topic: String,
    reference: u64,
    /// Came while a reply was waited for.
    early: VecDeque<Event>,
    heard_at: Instant,
    written_at: Instant,
}

/// What the server says on the channel.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) payload: Value,
}

impl Channel {
    /// Joins a session as one of its parties. Gives the channel and the answer to the join.
    ///
    /// # Errors
    /// No connection, or a refusal.
    pub(super) fn join(rest: &Rest, session: &str, identity: &str, params: Value) -> anyhow::Result<(Self, Value)> {
        let (stream, tcp) = connect(rest)?;
        let request = handshake(rest, identity)?;
        let (socket, _) = tungstenite::client(request, stream).map_err(|error| match error {
            tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer)) => {
                anyhow!("the server refuses the socket: {}", answer.status())
            }
            other => anyhow!("the server refuses the socket: {other}"),
        })?;
        let topic = format!("session:{session}");
        let (early, now) = (VecDeque::new(), Instant::now());
        let mut channel = Self { socket, tcp, topic, reference: 0, early, heard_at: now, written_at: now };
        let answer = channel.ask("phx_join", &params)?;
        Ok((channel, answer))
    }

    /// Sends an event and waits for its answer.
    ///
    /// # Errors
    /// A refusal, or the end of the connection: then the event may have been taken or not.
    pub(super) fn ask(&mut self, event: &str, payload: &Value) -> anyhow::Result<Value> {
        self.reference += 1;
        let reference = self.reference.to_string();
        let topic = self.topic.clone();
        self.write(&json!(["1", reference, topic, event, payload]))?;
        loop {
            let Some(frame) = self.read(None)? else { continue };
            if frame[3] == "phx_reply" && frame[1] == reference.as_str() {
                let response = frame[4]["response"].clone();
                if frame[4]["status"] == "ok" {
                    return Ok(response);
                }
                let said = response["reason"].as_str().or(response["error"].as_str());
                bail!("{event} was refused: {}", said.map_or_else(|| response.to_string(), str::to_owned));
            }
            self.early.extend(self.event_of(&frame));
        }
    }

    /// The next event. `None`: `until` is over.
    ///
    /// # Errors
    /// The connection or the channel has ended.
    pub(super) fn next(&mut self, until: Option<Instant>) -> anyhow::Result<Option<Event>> {
        loop {
            if let Some(event) = self.early.pop_front() {
                return Ok(Some(event));
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(None);
            }
            if let Some(frame) = self.read(until)? {
                if frame[2] == self.topic.as_str() && (frame[3] == "phx_close" || frame[3] == "phx_error") {
                    bail!(Ended { for_good: frame[3] == "phx_close" });
                }
                self.early.extend(self.event_of(&frame));
            }
        }
    }

    fn event_of(&self, frame: &Value) -> Option<Event> {
        let name = frame[3].as_str().filter(|name| frame[2] == self.topic.as_str() && *name != "phx_reply")?;
        Some(Event { name: name.to_owned(), payload: frame[4].clone() })
    }

    /// A message of the server, if one comes before it is time for a heartbeat or `until` is over.
    fn read(&mut self, until: Option<Instant>) -> anyhow::Result<Option<Value>> {
        self.beat()?;
        let quiet = QUIET.saturating_sub(self.written_at.elapsed());
        let wait = until.map_or(quiet, |until| until.saturating_duration_since(Instant::now()).min(quiet));
        self.tcp.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        match self.socket.read() {
            Ok(Message::Text(text)) => {
                self.heard_at = Instant::now();
                Ok(Some(serde_json::from_str(&text).context("the server sent something that is no channel message")?))
            }
            Ok(Message::Close(frame)) => {
                let said = frame.map_or_else(String::new, |frame| format!(": {} {}", frame.code, frame.reason));
                bail!("the server closed the socket{said}")
            }
            Ok(_) => Ok(None),
            Err(tungstenite::Error::Io(error))
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                if self.heard_at.elapsed() > 2 * QUIET + CONNECT {
                    bail!("the server says nothing any more");
                }
                Ok(None)
            }
            Err(error) => Err(anyhow!("the connection has ended: {error}")),
        }
    }

    /// Sends a heartbeat when it is time for one: the server ends who is silent, and its answer says that it is there.
    fn beat(&mut self) -> anyhow::Result<()> {
        if self.written_at.elapsed() < QUIET {
            return Ok(());
        }
        self.reference += 1;
        let reference = self.reference.to_string();
        self.write(&json!([null, reference, "phoenix", "heartbeat", {}]))
    }

    fn write(&mut self, frame: &Value) -> anyhow::Result<()> {
        self.written_at = Instant::now();
        self.socket.send(Message::text(frame.to_string())).map_err(|error| anyhow!("the connection has ended: {error}"))
    }
}

/// A channel that the server has ended.
#[derive(Debug, thiserror::Error)]
#[error("{}", if *.for_good { "the session was deleted" } else { "the channel has failed" })]
pub(super) struct Ended {
    /// There is nothing to come back to.
    pub(super) for_good: bool,
}

/// A connection to the server, encrypted where its address says so, and the TCP connection below it.
fn connect(rest: &Rest) -> anyhow::Result<(Box<dyn Stream>, TcpStream)> {
    let url = rest.url();
    let host = url.host_str().context("the address has a host")?;
    let port = url.port_or_known_default().context("the address has a port")?;
    let unreachable = || format!("cannot reach {host}:{port}");
    let mut last = None;
    for address in (host.trim_matches(['[', ']']), port).to_socket_addrs().with_context(unreachable)? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(tcp) => {
                tcp.set_nodelay(true)?;
                tcp.set_read_timeout(Some(CONNECT))?;
                let below = tcp.try_clone()?;
                return Ok((encrypted(rest, host, tcp)?, below));
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| anyhow!("the name has no address"), Into::into)).with_context(unreachable)
}

fn encrypted(rest: &Rest, host: &str, tcp: TcpStream) -> anyhow::Result<Box<dyn Stream>> {
    if rest.url().scheme() == "http" {
        return Ok(Box::new(tcp));
    }
    let name = ServerName::try_from(host.to_owned()).with_context(|| format!("{host} is no name of a server"))?;
    let tls = ClientConnection::new(Arc::new(rest.tls()?), name)?;
    Ok(Box::new(StreamOwned::new(tls, tcp)))
}

/// The request for a socket, with the token where phoenix.js puts its `authToken`.
fn handshake(rest: &Rest, identity: &str) -> anyhow::Result<tungstenite::handshake::client::Request> {
    let mut url: Url = rest.url().clone();
    let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
    url.set_scheme(scheme).map_err(|()| anyhow!("{url} cannot be a socket's address"))?;
    url.path_segments_mut()
        .map_err(|()| anyhow!("the address has no paths"))?
        .pop_if_empty()
        .extend(["socket", "websocket"]);
    url.query_pairs_mut().append_pair("user_id", identity).append_pair("vsn", "2.0.0");
    let mut request = url.as_str().into_client_request()?;
    if let Some(token) = rest.token() {
        let offered = format!("phoenix, base64url.bearer.phx.{}", URL_SAFE_NO_PAD.encode(token));
        request.headers_mut().insert("sec-websocket-protocol", offered.parse()?);
    }
    Ok(request)
}
