//! Our own server: one shard, durability `disk`, over REST or over Phoenix Channels.

use super::{Contender, Fan, MESSAGE_BYTES, Missing, QUIET, Replay, Server, Sessions, chunk, message};
use crate::child::{Child, Listens, Place};
use crate::closed::Dialogue;
use crate::link::Link;
use crate::wire::{excerpt, http, number_after, text_after, websocket};
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;

/// Messages of one page: the most that the server allows.
const PAGE_MESSAGES: u64 = 100_000;
/// Messages of one join: the most that the server allows.
const JOIN_MESSAGES: u64 = 1_000;
/// One answer takes 8,000,000 bytes of content and 32 MiB of chunks (docs/operations.md).
const CHUNKS_MAX: u64 = 40_000;
/// All sessions are this user's.
const USER: &str = "u";
/// The agent that these sessions would have; not registered, so nobody calls it.
const AGENT: &str = "a";
/// Connections that make sessions, and requests in flight on each.
const MAKERS: usize = 64;
/// See [`MAKERS`].
const MADE_AT_ONCE: usize = 16;

/// How clients come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// `POST` and `GET`.
    Rest,
    /// Channels on a WebSocket.
    Socket,
}

/// Our server behind one of its doors.
#[derive(Clone, Debug)]
pub struct Ours {
    /// Which.
    pub door: Door,
    /// Its binary.
    pub binary: PathBuf,
}

/// Our server, running.
pub struct Running {
    child: Child,
    door: Door,
    sessions: Vec<String>,
}

impl Contender for Ours {
    fn name(&self) -> String {
        match self.door {
            Door::Rest => "fleetlm".to_owned(),
            Door::Socket => "fleetlm (WebSocket)".to_owned(),
        }
    }

    fn setting(&self) -> String {
        "--shards 1 --durability disk: acknowledged after fdatasync, per-session seq and idempotency window".to_owned()
    }

    fn missing(&self) -> Option<Missing> {
        (!self.binary.is_file()).then_some(Missing { program: "fleetlm", install: "cargo build --release" })
    }

    fn start(&self, place: &Place) -> Result<Box<dyn Server>> {
        Ok(Box::new(self.run(place)?))
    }
}

impl Ours {
    /// Starts it, with what only this server can do.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn run(&self, place: &Place) -> Result<Running> {
        let folder = place.folder("fleetlm")?;
        let mut command = Command::new(&self.binary);
        command.args(["--listen", "127.0.0.1:0", "--shards", "1", "--durability", "disk", "--drain-s", "1"]);
        command.arg("--data-dir").arg(folder.path().join("data"));
        let child = Child::start(place, command, Listens::Says, Signal::TERM, folder)?;
        Ok(Running { child, door: self.door, sessions: Vec::new() })
    }
}

impl Running {
    fn link(&self) -> Result<Link> {
        Link::connect(self.child.address(), http::reply)
    }

    /// Those that appenders write to.
    pub fn sessions(&self) -> &[String] {
        &self.sessions
    }

    /// Makes sessions, many at a time in flight, for each waits for the disk.
    ///
    /// # Errors
    /// When one is refused.
    pub fn make_sessions(&self, count: usize) -> Result<Vec<String>> {
        let body = format!(r#"{{"user_id":"{USER}","agent_id":"{AGENT}"}}"#);
        let request = http::json("POST", "/api/sessions", body.as_bytes());
        let mut links = (0..MAKERS.min(count)).map(|_| self.link()).collect::<Result<Vec<_>>>()?;
        let mut ids = Vec::with_capacity(count);
        while ids.len() < count {
            let mut left = count - ids.len();
            let mut bursts = Vec::with_capacity(links.len());
            for link in &mut links {
                let burst = MADE_AT_ONCE.min(left);
                left -= burst;
                link.tell(&request.repeat(burst))?;
                bursts.push(burst);
            }
            for (link, burst) in links.iter_mut().zip(bursts) {
                for _ in 0..burst {
                    let reply = link.ask(&[])?;
                    let id = text_after(http::body(&reply), r#""session":{"id":""#);
                    ids.push(id.with_context(|| excerpt(&reply))?.to_owned());
                }
            }
        }
        Ok(ids)
    }

    /// The request that appends to `session`. They all have the same length.
    pub fn append(session: &str) -> Vec<u8> {
        let mut body = format!(r#"{{"user_id":"{USER}","content":"#).into_bytes();
        body.extend_from_slice(&message());
        body.push(b'}');
        http::json("POST", &format!("/api/sessions/{session}/messages"), &body)
    }

    /// Connections without a word, for REST.
    ///
    /// # Errors
    /// Of the connection.
    pub fn streams(&self, count: usize) -> Result<Vec<TcpStream>> {
        (0..count).map(|_| self.link()?.into_stream()).collect()
    }

    /// A socket that has joined `session` and heard nothing else.
    ///
    /// # Errors
    /// When it is refused.
    pub fn joined(&self, session: &str) -> Result<TcpStream> {
        let mut link = self.socket()?;
        link.ask(&frame(&format!(r#"["1","1","session:{session}","phx_join",{{}}]"#)))?;
        link.into_stream()
    }

    fn socket(&self) -> Result<Link> {
        let mut link = Link::connect(self.child.address(), websocket::reply)?;
        let (request, accept) = websocket::upgrade(&format!("/socket/websocket?user_id={USER}&vsn=2.0.0"));
        link.tell(&request)?;
        link.take(|bytes| websocket::upgraded(bytes, &accept))?;
        Ok(link)
    }

    /// Messages that `session` holds.
    ///
    /// # Errors
    /// When it is refused.
    pub fn last_seq(&self, link: &mut Link, session: &str) -> Result<u64> {
        let reply = link.ask(&http::bare("GET", &format!("/api/sessions/{session}/messages?limit=1")))?;
        number_after(http::body(&reply), r#""last_seq":"#).with_context(|| excerpt(&reply))
    }

    /// Registers `agent`, whose webhook is at this program's `port`.
    fn register(&self, agent: &str, port: u16) -> Result<()> {
        let body = format!(
            r#"{{"agent":{{"id":"{agent}","name":"bench","origin_url":"http://127.0.0.1:{port}","debounce_window_ms":0,"timeout_ms":600000,"total_timeout_ms":86400000}}}}"#
        );
        self.link()?.ask(&http::json("POST", "/api/agents", body.as_bytes())).map(drop)
    }

    fn first_session(&mut self) -> Result<String> {
        if self.sessions.is_empty() {
            self.sessions = self.make_sessions(1)?;
        }
        Ok(self.sessions[0].clone())
    }
}

/// A masked frame of text.
fn frame(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    websocket::text(text.as_bytes(), &mut out);
    out
}

/// A `send` on the joined topic of `session`.
fn send(session: &str) -> Vec<u8> {
    let message = String::from_utf8(message()).expect("it was made of text");
    frame(&format!(r#"["1","2","session:{session}","send",{{"content":{{"kind":"text","content":{message}}}}}]"#))
}

impl Server for Running {
    fn child(&self) -> &Child {
        &self.child
    }

    fn appenders(&mut self, connections: usize, sessions: Sessions) -> Result<Dialogue> {
        self.sessions = self.make_sessions(sessions.count(connections))?;
        let (streams, codec): (Vec<TcpStream>, crate::wire::Codec) = match self.door {
            Door::Rest => (self.streams(connections)?, http::reply),
            Door::Socket => {
                let joined = (0..connections).map(|place| self.joined(&self.sessions[sessions.of(place)]));
                (joined.collect::<Result<_>>()?, websocket::reply)
            }
        };
        let request_of = if self.door == Door::Rest { Self::append } else { send };
        let requests: Vec<Vec<u8>> = self.sessions.iter().map(|session| request_of(session)).collect();
        let request = Box::new(move |place, out: &mut Vec<u8>| out.extend_from_slice(&requests[sessions.of(place)]));
        Ok(Dialogue { streams, request, codec })
    }

    fn stored(&mut self) -> Result<Option<u64>> {
        let mut link = self.link()?;
        let counts = self.sessions.iter().map(|session| self.last_seq(&mut link, session));
        counts.sum::<Result<u64>>().map(Some)
    }

    fn replay(&mut self, messages: u64) -> Result<Replay> {
        let session = self.first_session()?;
        if self.door == Door::Rest {
            let path = format!("/api/sessions/{session}/messages?after_seq=0&limit={PAGE_MESSAGES}");
            let stream = self.link()?.into_stream()?;
            return Ok(Replay { stream, requests: vec![http::bare("GET", &path)], answer: Box::new(page) });
        }
        let stream = self.socket()?.into_stream()?;
        let topic = format!("session:{session}");
        let join = |after| {
            let parameters = format!(r#"{{"last_seq":{after},"limit":{JOIN_MESSAGES}}}"#);
            frame(&format!(r#"["1","1","{topic}","phx_join",{parameters}]"#))
        };
        let requests = (0..messages).step_by(JOIN_MESSAGES as usize).map(join).collect();
        Ok(Replay { stream, requests, answer: Box::new(joined_page) })
    }

    fn fan(&mut self, readers: usize) -> Result<Fan> {
        let agent = "bench-webhook";
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        self.register(agent, listener.local_addr()?.port())?;
        let body = format!(r#"{{"user_id":"{USER}","agent_id":"{agent}"}}"#);
        let reply = self.link()?.ask(&http::json("POST", "/api/sessions", body.as_bytes()))?;
        let session =
            text_after(http::body(&reply), r#""session":{"id":""#).with_context(|| excerpt(&reply))?.to_owned();
        let readers: Vec<TcpStream> = (0..readers).map(|_| self.joined(&session)).collect::<Result<_>>()?;
        self.link()?.ask(&Self::append(&session))?;
        let (mut publisher, _) = listener.accept().context("no call of the webhook came")?;
        publisher.set_nodelay(true)?;
        read_call(&mut publisher)?;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\r\n";
        publisher.write_all(head.as_bytes())?;
        publisher.write_all(b"{\"type\":\"text-start\",\"id\":\"0\"}\n")?;
        std::thread::sleep(QUIET);
        let publish = |n, out: &mut Vec<u8>| {
            out.extend_from_slice(&chunk(n));
            out.push(b'\n');
        };
        Ok(Fan { publisher, publish: Box::new(publish), codec: http::reply, readers, chunks_max: CHUNKS_MAX })
    }
}

/// A `GET`'s page: all its messages, ascending from 1 without a hole.
fn page(bytes: &[u8]) -> Result<Option<(usize, u64)>> {
    let crate::wire::Step::Reply(length) = http::reply(bytes)? else { return Ok(None) };
    let value: serde_json::Value = serde_json::from_slice(http::body(&bytes[..length]))?;
    ensure!(value["has_more"] == false, "the page is not the whole session");
    Ok(Some((length, ascending(&value["messages"])?)))
}

/// What comes for a join: its reply, behind the close of the join before it.
fn joined_page(bytes: &[u8]) -> Result<Option<(usize, u64)>> {
    let mut at = 0;
    loop {
        match websocket::reply(&bytes[at..])? {
            crate::wire::Step::Partial => return Ok(None),
            crate::wire::Step::Other(length) => at += length,
            crate::wire::Step::Reply(length) => {
                let payload = websocket::frame(&bytes[at..])?.context("a reply is a whole frame")?;
                let value: serde_json::Value = serde_json::from_slice(&bytes[at + payload.start..at + payload.end])?;
                return Ok(Some((at + length, ascending(&value[4]["response"]["messages"])?)));
            }
        }
    }
}

/// Counts messages whose `seq` must ascend without a hole and whose content must be what was sent.
fn ascending(messages: &serde_json::Value) -> Result<u64> {
    let messages = messages.as_array().context("messages are a list")?;
    let seqs: Option<Vec<u64>> = messages.iter().map(|message| message["seq"].as_u64()).collect();
    let seqs = seqs.context("a message has a seq")?;
    ensure!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "a hole in what is read");
    let text_bytes = MESSAGE_BYTES - br#"{"text":""}"#.len();
    let whole =
        |message: &serde_json::Value| message["content"]["text"].as_str().is_some_and(|t| t.len() == text_bytes);
    ensure!(messages.iter().all(whole), "a message that is not what was sent");
    Ok(messages.len() as u64)
}

/// Reads the server's call of the webhook, whose length its head names.
fn read_call(stream: &mut TcpStream) -> Result<()> {
    let mut bytes = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        let read = stream.read(&mut piece).context("reading the call of the webhook")?;
        ensure!(read > 0, "the call of the webhook ended early");
        bytes.extend_from_slice(&piece[..read]);
        let body = http::body(&bytes).len() as u64;
        if number_after(&bytes.to_ascii_lowercase(), "content-length: ").is_some_and(|length| body >= length) {
            return Ok(());
        }
    }
}
