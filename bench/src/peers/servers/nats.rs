//! NATS: JetStream with file storage for what is kept, core subjects for what is live.

use super::{Contender, Fan, Missing, Replay, Server, Sessions, chunk, message, program};
use crate::child::{Child, Listens, Place, free_port};
use crate::closed::Dialogue;
use crate::link::Link;
use crate::wire::{Step, nats, number_after};
use anyhow::{Context, Result};
use rustix::process::Signal;
use std::net::TcpStream;
use std::process::Command;

/// The answers to a connection's publications.
const INBOX: &str = "inbox";
/// Where a consumer delivers.
const DELIVERY: &str = "delivery";

/// NATS.
#[derive(Clone, Copy, Debug)]
pub struct Nats;

struct Running {
    child: Child,
}

impl Contender for Nats {
    fn name(&self) -> String {
        "nats jetstream".to_owned()
    }

    fn setting(&self) -> String {
        "file storage, one replica: acknowledged after write(2), NOT synced (Debian's 2.9 syncs every 2 minutes and has no \
         setting for it), so a power cut loses acknowledged messages"
            .to_owned()
    }

    fn missing(&self) -> Option<Missing> {
        let missing = Missing { program: "nats-server", install: "apt-get install nats-server" };
        program(missing.program).is_none().then_some(missing)
    }

    fn start(&self, place: &Place) -> Result<Box<dyn Server>> {
        let folder = place.folder("nats")?;
        let port = free_port()?;
        let mut command = Command::new(program("nats-server").context("it is not installed")?);
        command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"]).arg(folder.path());
        let child = Child::start(place, command, Listens::At(port), Signal::TERM, folder)?;
        let running = Running { child };
        let config = br#"{"name":"M","subjects":["m.*"],"retention":"limits","storage":"file","num_replicas":1,"max_msgs":-1,"max_bytes":-1,"max_age":0,"discard":"old"}"#;
        running.api("STREAM.CREATE.M", config)?;
        Ok(Box::new(running))
    }
}

impl Running {
    /// A connection that said hello.
    fn link(&self) -> Result<Link> {
        let mut link = Link::connect(self.child.address(), nats::reply)?;
        link.ask(&[nats::CONNECT, nats::PING].concat())?;
        Ok(link)
    }

    /// A connection that hears `subject`.
    fn subscribed(&self, subject: &str) -> Result<Link> {
        let mut link = self.link()?;
        link.ask(&[&nats::subscribe(subject), nats::PING].concat())?;
        Ok(link)
    }

    /// Asks JetStream, over a connection of its own.
    fn api(&self, what: &str, body: &[u8]) -> Result<Vec<u8>> {
        let mut link = self.subscribed("api-answer")?;
        let mut request = Vec::new();
        nats::publish(&format!("$JS.API.{what}"), Some("api-answer"), body, &mut request);
        link.ask(&request)
    }
}

impl Server for Running {
    fn child(&self) -> &Child {
        &self.child
    }

    fn appenders(&mut self, connections: usize, sessions: Sessions) -> Result<Dialogue> {
        let stream_of = |place| self.subscribed(&format!("{INBOX}.{place}"))?.into_stream();
        let streams = (0..connections).map(stream_of).collect::<Result<Vec<TcpStream>>>()?;
        let request = Box::new(move |place: usize, out: &mut Vec<u8>| {
            let session = sessions.of(place);
            nats::publish(&format!("m.{session}"), Some(&format!("{INBOX}.{place}")), &message(), out);
        });
        Ok(Dialogue { streams, request, codec: nats::reply })
    }

    fn stored(&mut self) -> Result<Option<u64>> {
        let info = self.api("STREAM.INFO.M", b"")?;
        Ok(Some(number_after(&info, r#""messages":"#).context("a stream tells how many messages it has")?))
    }

    fn replay(&mut self, messages: u64) -> Result<Replay> {
        let stream = self.subscribed(DELIVERY)?.into_stream()?;
        // The answer to the request is of no use and its length differs; nobody listens to it.
        let config = format!(
            r#"{{"stream_name":"M","config":{{"deliver_subject":"{DELIVERY}","deliver_policy":"all","ack_policy":"none","replay_policy":"instant"}}}}"#
        );
        let mut request = Vec::new();
        nats::publish("$JS.API.CONSUMER.CREATE.M", Some("nobody"), config.as_bytes(), &mut request);
        let answer = move |bytes: &[u8]| {
            let mut at = 0;
            for _ in 0..messages {
                match nats::reply(&bytes[at..])? {
                    Step::Reply(length) => at += length,
                    Step::Partial | Step::Other(_) => return Ok(None),
                }
            }
            Ok(Some((at, messages)))
        };
        Ok(Replay { stream, requests: vec![request], answer: Box::new(answer) })
    }

    fn fan(&mut self, readers: usize) -> Result<Fan> {
        let readers = (0..readers).map(|_| self.subscribed("chunks")?.into_stream()).collect::<Result<Vec<_>>>()?;
        let publisher = self.link()?.into_stream()?;
        let publish = |n, out: &mut Vec<u8>| nats::publish("chunks", None, &chunk(n), out);
        Ok(Fan { publisher, publish: Box::new(publish), codec: nats::reply, readers, chunks_max: u64::MAX })
    }
}
