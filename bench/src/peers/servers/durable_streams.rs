//! The durable-streams server (Rust): appends to streams over HTTP, live reads by server-sent events.

use super::{Contender, Fan, Missing, Replay, Server, Sessions, chunk, message, program};
use crate::child::{Child, Listens, Place, free_port};
use crate::closed::Dialogue;
use crate::link::Link;
use crate::wire::{Step, http, number_after};
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::net::TcpStream;
use std::process::Command;

/// What a stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// JSON values, which readers get apart from each other: what a chat needs.
    Json,
    /// Bytes without borders, its fastest.
    Bytes,
}

impl Mode {
    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Bytes => "application/octet-stream",
        }
    }

    /// Bytes that a message takes in a stream: JSON values are followed by a comma.
    fn stored_bytes(self) -> u64 {
        super::MESSAGE_BYTES as u64 + u64::from(self == Self::Json)
    }
}

/// The durable-streams server.
#[derive(Clone, Copy, Debug)]
pub struct DurableStreams {
    /// What its streams hold.
    pub mode: Mode,
}

struct Running {
    child: Child,
    mode: Mode,
    streams: usize,
}

impl Contender for DurableStreams {
    fn name(&self) -> String {
        match self.mode {
            Mode::Json => "durable-streams".to_owned(),
            Mode::Bytes => "durable-streams (bytes)".to_owned(),
        }
    }

    fn setting(&self) -> String {
        format!("--durability wal: acknowledged after the group's fdatasync; streams of {}", self.mode.media_type())
    }

    fn missing(&self) -> Option<Missing> {
        let missing = Missing { program: "durable-streams-server", install: "cargo install durable-streams" };
        program(missing.program).is_none().then_some(missing)
    }

    fn start(&self, place: &Place) -> Result<Box<dyn Server>> {
        let folder = place.folder("durable-streams")?;
        let port = free_port()?;
        let mut command = Command::new(program("durable-streams-server").context("it is not installed")?);
        command
            .args(["--durability", "wal", "--port", &port.to_string(), "--data-dir"])
            .arg(folder.path().join("data"));
        let child = Child::start(place, command, Listens::At(port), Signal::TERM, folder)?;
        Ok(Box::new(Running { child, mode: self.mode, streams: 0 }))
    }
}

/// It does not tell its version; cargo, which installed it, does.
pub(super) fn version() -> Option<(String, String)> {
    let output = Command::new("cargo").args(["install", "--list"]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with("durable-streams v"))?;
    Some(("durable-streams".to_owned(), line.trim_end_matches(':').to_owned()))
}

fn path(stream: usize) -> String {
    format!("/v1/stream/s{stream:04}")
}

impl Running {
    fn link(&self) -> Result<Link> {
        Link::connect(self.child.address(), http::reply)
    }

    fn create(&mut self, streams: usize) -> Result<()> {
        let mut link = self.link()?;
        for stream in 0..streams {
            link.ask(&http::with_body("PUT", &path(stream), self.mode.media_type(), b""))?;
        }
        self.streams = streams;
        Ok(())
    }
}

impl Server for Running {
    fn child(&self) -> &Child {
        &self.child
    }

    fn appenders(&mut self, connections: usize, sessions: Sessions) -> Result<Dialogue> {
        self.create(sessions.count(connections))?;
        let streams = (0..connections).map(|_| self.link()?.into_stream()).collect::<Result<Vec<TcpStream>>>()?;
        let media_type = self.mode.media_type();
        let request_of = |stream| http::with_body("POST", &path(stream), media_type, &message());
        let requests: Vec<Vec<u8>> = (0..self.streams).map(request_of).collect();
        let request = Box::new(move |place: usize, out: &mut Vec<u8>| {
            out.extend_from_slice(&requests[sessions.of(place)]);
        });
        Ok(Dialogue { streams, request, codec: http::reply })
    }

    fn stored(&mut self) -> Result<Option<u64>> {
        let mut link = self.link()?;
        let mut bytes = 0;
        for stream in 0..self.streams {
            // At the tail a read answers with an empty body and the offset, whose second half counts bytes.
            let reply = link.ask(&http::bare("GET", &format!("{}?offset=now", path(stream))))?;
            let text = String::from_utf8_lossy(&reply).to_ascii_lowercase();
            let offset = text.split_once("stream-next-offset: ").context("a read tells the offset")?.1;
            bytes += number_after(offset.as_bytes(), "_").context("an offset is a number")?;
        }
        Ok(Some(bytes / self.mode.stored_bytes()))
    }

    fn replay(&mut self, _messages: u64) -> Result<Replay> {
        let stream = self.link()?.into_stream()?;
        let request = http::bare("GET", &format!("{}?offset=-1", path(0)));
        let answer = |bytes: &[u8]| {
            let Step::Reply(length) = http::reply(bytes)? else { return Ok(None) };
            let values: Vec<serde_json::Value> = serde_json::from_slice(http::body(&bytes[..length]))?;
            Ok(Some((length, values.len() as u64)))
        };
        Ok(Replay { stream, requests: vec![request], answer: Box::new(answer) })
    }

    fn fan(&mut self, readers: usize) -> Result<Fan> {
        self.create(1)?;
        let mut streams = Vec::with_capacity(readers);
        for _ in 0..readers {
            let mut link = self.link()?;
            link.tell(&http::bare("GET", &format!("{}?offset=now&live=sse", path(0))))?;
            let told = link.take(|bytes| Ok(memchr::memmem::find(bytes, b"upToDate").map(|_| bytes.len())))?;
            ensure!(told.starts_with(b"HTTP/1.1 200"), "refused: {}", crate::wire::excerpt(&told));
            // The end of that first event may come later; a reader looks for chunks only.
            streams.push(link.into_stream()?);
        }
        let publisher = self.link()?.into_stream()?;
        let publish = |n, out: &mut Vec<u8>| out.extend_from_slice(&http::json("POST", &path(0), &chunk(n)));
        Ok(Fan { publisher, publish: Box::new(publish), codec: http::reply, readers: streams, chunks_max: u64::MAX })
    }
}
