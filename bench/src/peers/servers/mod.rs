//! What is compared: how each server is started in its safest common setting, logged in to, and asked for the same work.
//!
//! A contender knows its program and its setting; a running server makes connections for the loops. Nothing here measures.

mod durable_streams;
mod limit;
mod nats;
mod ours;
mod postgres;
mod redis;

pub use durable_streams::{DurableStreams, Mode};
pub use limit::{Bare, bare_program};
pub use nats::Nats;
pub use ours::{Door, Ours, Running};
pub use postgres::Postgres;
pub use redis::Redis;

use crate::child::{Child, Place};
use crate::closed::Dialogue;
use crate::wire::Codec;
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Bytes of a message: what is given to every server to keep.
pub const MESSAGE_BYTES: usize = 256;
/// Bytes of a live chunk.
pub const CHUNK_BYTES: usize = 200;
/// What stands before the number of a chunk, in every protocol alike.
pub const CHUNK_MARK: &[u8] = br#""delta":""#;
/// Digits of that number.
pub const CHUNK_DIGITS: usize = 10;

/// A JSON object of [`MESSAGE_BYTES`] bytes.
pub fn message() -> Vec<u8> {
    let around = br#"{"text":""}"#.len();
    format!(r#"{{"text":"{}"}}"#, "m".repeat(MESSAGE_BYTES - around)).into_bytes()
}

/// Chunk `n` of an answer: a JSON object of [`CHUNK_BYTES`] bytes.
pub fn chunk(n: u64) -> Vec<u8> {
    let mut out = format!(r#"{{"type":"text-delta","id":"0","delta":"{n:010}"#).into_bytes();
    out.resize(CHUNK_BYTES - 2, b'c');
    out.extend_from_slice(br#""}"#);
    out
}

/// Where appends go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// Each connection to a session of its own.
    Own,
    /// All to one.
    One,
}

impl Sessions {
    /// How many there are for so many connections.
    fn count(self, connections: usize) -> usize {
        if self == Self::Own { connections } else { 1 }
    }

    /// Which one a connection appends to.
    fn of(self, connection: usize) -> usize {
        if self == Self::Own { connection } else { 0 }
    }
}

/// A program that is not on this machine.
#[derive(Clone, Debug)]
pub struct Missing {
    /// What was looked for.
    pub program: &'static str,
    /// The command that installs it.
    pub install: &'static str,
}

/// One to be compared.
pub trait Contender {
    /// As the tables call it.
    fn name(&self) -> String;
    /// What an acknowledgement of it means, and with which switches.
    fn setting(&self) -> String;
    /// What is missing to start it.
    fn missing(&self) -> Option<Missing> {
        None
    }
    /// Starts it with nothing stored.
    ///
    /// # Errors
    /// When it does not come up.
    fn start(&self, place: &Place) -> Result<Box<dyn Server>>;
}

/// A running one. What a server cannot do is an error; the works ask none for it.
pub trait Server {
    /// Its process.
    fn child(&self) -> &Child;
    /// Connections whose requests each append one message.
    ///
    /// # Errors
    /// Of the connection, and of the server.
    fn appenders(&mut self, connections: usize, sessions: Sessions) -> Result<Dialogue>;
    /// Messages that it says it has stored through appenders; `None` when it keeps no count.
    ///
    /// # Errors
    /// As [`Server::appenders`].
    fn stored(&mut self) -> Result<Option<u64>> {
        Ok(None)
    }
    /// A reader of everything in the one session.
    ///
    /// # Errors
    /// As [`Server::appenders`].
    fn replay(&mut self, _messages: u64) -> Result<Replay> {
        bail!("has no replay")
    }
    /// A publisher and its readers.
    ///
    /// # Errors
    /// As [`Server::appenders`].
    fn fan(&mut self, _readers: usize) -> Result<Fan> {
        bail!("has no fan-out")
    }
}

/// A reader who asks for all messages of a session again and again.
pub struct Replay {
    /// Logged in and quiet.
    pub stream: TcpStream,
    /// Requests of one pass, each sent when the one before is answered.
    pub requests: Vec<Vec<u8>>,
    /// Looks at what came after a request: `None` while it is not whole, else the bytes of the answer and the messages in it. For the passes
    /// that verify; a measured pass knows the number of bytes from them.
    pub answer: Answer,
}

/// Bytes of a whole answer at the start of these bytes, and messages in it.
pub type Answer = Box<dyn Fn(&[u8]) -> Result<Option<(usize, u64)>>>;
/// Writes what publishes the chunk of this number.
pub type Publish = Box<dyn FnMut(u64, &mut Vec<u8>)>;

/// A publisher and many readers.
pub struct Fan {
    /// Takes what [`Fan::publish`] writes.
    pub publisher: TcpStream,
    /// Writes what publishes the chunk of this number.
    pub publish: Publish,
    /// Understands what the publisher is answered.
    pub codec: Codec,
    /// Each is sent every chunk.
    pub readers: Vec<TcpStream>,
    /// More chunks than this it does not take in one go.
    pub chunks_max: u64,
}

/// How long something that pushes must have been quiet to count as ready.
pub const QUIET: Duration = Duration::from_millis(100);

/// A program in the search path, or in cargo's folder.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    let cargo = cargo.or(home).map(|folder| folder.join("bin"));
    let sbin = [PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/bin")];
    std::env::split_paths(&path).chain(cargo).chain(sbin).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// What each program says that it is; those that are missing are left out.
pub fn program_versions(ours: &Path) -> BTreeMap<String, String> {
    let programs = [
        ("fleetlm", Some(ours.to_owned())),
        ("redis", program("redis-server")),
        ("nats", program("nats-server")),
        ("postgresql", postgres::binaries().map(|binaries| binaries.join("postgres"))),
    ];
    let said = |(name, program): (&str, Option<PathBuf>)| {
        let output = Command::new(program?).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        // One that does not know the flag says nothing of use.
        output.status.success().then(|| (name.to_owned(), text.lines().next().unwrap_or("").to_owned()))
    };
    programs.into_iter().filter_map(said).chain(durable_streams::version()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_chunks_are_json_of_their_size() {
        assert_eq!(message().len(), MESSAGE_BYTES);
        assert_eq!(chunk(7).len(), CHUNK_BYTES);
        serde_json::from_slice::<serde_json::Value>(&message()).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&chunk(7)).unwrap();
        assert!(value["delta"].as_str().unwrap().starts_with("0000000007c"));
    }
}
