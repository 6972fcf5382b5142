//! Redis: streams (`XADD`, `XRANGE`) for what is kept, publish and subscribe for what is live.

use super::{Contender, Fan, Missing, Replay, Server, Sessions, chunk, message, program};
use crate::child::{Child, Listens, Place, free_port};
use crate::closed::Dialogue;
use crate::link::Link;
use crate::wire::{Step, number, resp};
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::net::TcpStream;
use std::process::Command;

/// Redis.
#[derive(Clone, Copy, Debug)]
pub struct Redis;

struct Running {
    child: Child,
    keys: usize,
}

impl Contender for Redis {
    fn name(&self) -> String {
        "redis streams".to_owned()
    }

    fn setting(&self) -> String {
        "appendonly yes, appendfsync always, no snapshots: acknowledged after the turn's fdatasync".to_owned()
    }

    fn missing(&self) -> Option<Missing> {
        let missing = Missing { program: "redis-server", install: "apt-get install redis-server" };
        program(missing.program).is_none().then_some(missing)
    }

    fn start(&self, place: &Place) -> Result<Box<dyn Server>> {
        let folder = place.folder("redis")?;
        let port = free_port()?;
        let mut command = Command::new(program("redis-server").context("it is not installed")?);
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(folder.path());
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no"]);
        let child = Child::start(place, command, Listens::At(port), Signal::TERM, folder)?;
        Ok(Box::new(Running { child, keys: 0 }))
    }
}

fn key(session: usize) -> Vec<u8> {
    format!("session:{session:04}").into_bytes()
}

impl Running {
    fn link(&self) -> Result<Link> {
        Link::connect(self.child.address(), resp::reply)
    }
}

impl Server for Running {
    fn child(&self) -> &Child {
        &self.child
    }

    fn appenders(&mut self, connections: usize, sessions: Sessions) -> Result<Dialogue> {
        self.keys = sessions.count(connections);
        let streams = (0..connections).map(|_| self.link()?.into_stream()).collect::<Result<Vec<TcpStream>>>()?;
        let request_of = |session| resp::command(&[b"XADD", &key(session), b"*", b"m", &message()]);
        let requests: Vec<Vec<u8>> = (0..self.keys).map(request_of).collect();
        let request = Box::new(move |place: usize, out: &mut Vec<u8>| {
            out.extend_from_slice(&requests[sessions.of(place)]);
        });
        Ok(Dialogue { streams, request, codec: resp::reply })
    }

    fn stored(&mut self) -> Result<Option<u64>> {
        let mut link = self.link()?;
        let mut count = 0;
        for session in 0..self.keys {
            let reply = link.ask(&resp::command(&[b"XLEN", &key(session)]))?;
            count += number(&reply[1..]).context("XLEN answers with a number")?;
        }
        Ok(Some(count))
    }

    fn replay(&mut self, _messages: u64) -> Result<Replay> {
        let stream = self.link()?.into_stream()?;
        let request = resp::command(&[b"XRANGE", &key(0), b"-", b"+"]);
        let answer = |bytes: &[u8]| {
            let Step::Reply(length) = resp::reply(bytes)? else { return Ok(None) };
            Ok(Some((length, number(&bytes[1..]).context("XRANGE answers with a list")?)))
        };
        Ok(Replay { stream, requests: vec![request], answer: Box::new(answer) })
    }

    fn fan(&mut self, readers: usize) -> Result<Fan> {
        let mut streams = Vec::with_capacity(readers);
        for _ in 0..readers {
            let mut link = self.link()?;
            let reply = link.ask(&resp::command(&[b"SUBSCRIBE", b"chunks"]))?;
            ensure!(reply.starts_with(b"*3\r\n"), "no subscription: {}", crate::wire::excerpt(&reply));
            streams.push(link.into_stream()?);
        }
        let publisher = self.link()?.into_stream()?;
        let publish = |n, out: &mut Vec<u8>| {
            out.extend_from_slice(&resp::command(&[b"PUBLISH", b"chunks", &chunk(n)]));
        };
        Ok(Fan { publisher, publish: Box::new(publish), codec: resp::reply, readers: streams, chunks_max: u64::MAX })
    }
}
