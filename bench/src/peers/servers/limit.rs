//! The limits as contenders: this program's own subcommands, started like servers.

use super::{Contender, Fan, Replay, Server, Sessions, chunk};
use crate::child::{Child, Listens, Place};
use crate::closed::Dialogue;
use crate::link::Link;
use crate::wire::{Codec, Step, http};
use anyhow::{Result, bail};
use rustix::process::Signal;
use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::rc::Rc;

/// What our server was seen to say, and what was said to it.
#[derive(Clone)]
pub enum Bare {
    /// An epoll loop that answers.
    Echo {
        /// One request.
        request: Rc<[u8]>,
        /// Everything that came for it.
        reply: Rc<[u8]>,
        /// Understands that.
        codec: Codec,
        /// Whether it appends and syncs first.
        commit: bool,
    },
    /// A loop that sends a file.
    Sendfile {
        /// As the tables call it.
        name: &'static str,
        /// What stands in the file.
        bytes: Rc<[u8]>,
        /// Messages in it.
        messages: u64,
    },
    /// A loop that sends to all.
    Fan {
        /// What stands before and behind a chunk in its frame.
        around: Rc<(Vec<u8>, Vec<u8>)>,
        /// Connections besides the publisher's.
        readers: usize,
        /// Whether chunks that lie ready together are sent together.
        fold: bool,
    },
}

struct Running {
    child: Child,
    bare: Bare,
}

/// This program, to be started with further words.
///
/// # Errors
/// When its own file is not known.
pub fn bare_program() -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("limit");
    Ok(command)
}

impl Contender for Bare {
    fn name(&self) -> String {
        match self {
            Self::Echo { commit: false, .. } => "limit: bare epoll loop".to_owned(),
            Self::Echo { commit: true, .. } => "limit: bare group commit".to_owned(),
            Self::Sendfile { name, .. } => (*name).to_owned(),
            Self::Fan { fold: false, .. } => "limit: bare send loop".to_owned(),
            Self::Fan { fold: true, .. } => "limit: bare send loop, folding".to_owned(),
        }
    }

    fn setting(&self) -> String {
        match self {
            Self::Echo { commit: false, .. } => {
                "reads, counts bytes, answers with the bytes of our reply; keeps nothing"
            }
            Self::Echo { commit: true, .. } => {
                "the same, but one pwrite and one fdatasync for what a turn brought, then the answers"
            }
            Self::Sendfile { .. } => "the bytes of our answer lie in one file; sendfile",
            Self::Fan { fold: false, .. } => "a frame made once, a send for each reader and chunk",
            Self::Fan { fold: true, .. } => "the frames that lie ready, one send for each reader",
        }
        .to_owned()
    }

    fn start(&self, place: &Place) -> Result<Box<dyn Server>> {
        let folder = place.folder("limit")?;
        let mut command = bare_program()?;
        let file = |name: &str, bytes: &[u8]| -> Result<_> {
            let path = folder.path().join(name);
            fs::write(&path, bytes)?;
            Ok(path)
        };
        match self {
            Self::Echo { request, reply, commit, .. } => {
                command
                    .args(["echo", "--request-bytes", &request.len().to_string(), "--reply"])
                    .arg(file("reply", reply)?);
                if *commit {
                    command.arg("--commit").arg(folder.path().join("log"));
                }
            }
            Self::Sendfile { bytes, .. } => {
                command
                    .args(["sendfile", "--request-bytes", &PULL.len().to_string(), "--file"])
                    .arg(file("bytes", bytes)?);
            }
            Self::Fan { around, readers, fold } => {
                command.args(["fan", "--readers", &readers.to_string(), "--before"]).arg(file("before", &around.0)?);
                command.arg("--behind").arg(file("behind", &around.1)?).args(fold.then_some("--fold"));
            }
        }
        let child = Child::start(place, command, Listens::Says, Signal::TERM, folder)?;
        Ok(Box::new(Running { child, bare: self.clone() }))
    }
}

/// What asks for the file.
const PULL: &[u8] = b"GET /everything HTTP/1.1\r\n\r\n";

impl Running {
    fn stream(&self) -> Result<TcpStream> {
        Link::connect(self.child.address(), http::reply)?.into_stream()
    }
}

impl Server for Running {
    fn child(&self) -> &Child {
        &self.child
    }

    fn appenders(&mut self, connections: usize, _: Sessions) -> Result<Dialogue> {
        let Bare::Echo { request, codec, .. } = &self.bare else { bail!("does not answer requests") };
        let streams = (0..connections).map(|_| self.stream()).collect::<Result<_>>()?;
        let (request, codec) = (Rc::clone(request), *codec);
        Ok(Dialogue { streams, request: Box::new(move |_, out| out.extend_from_slice(&request)), codec })
    }

    fn replay(&mut self, _: u64) -> Result<Replay> {
        let Bare::Sendfile { bytes, messages, .. } = &self.bare else { bail!("has no file") };
        let (length, messages) = (bytes.len(), *messages);
        let answer = move |came: &[u8]| Ok((came.len() >= length).then_some((length, messages)));
        Ok(Replay { stream: self.stream()?, requests: vec![PULL.to_vec()], answer: Box::new(answer) })
    }

    fn fan(&mut self, readers: usize) -> Result<Fan> {
        let publisher = self.stream()?;
        let readers = (0..readers).map(|_| self.stream()).collect::<Result<_>>()?;
        let publish = |n, out: &mut Vec<u8>| {
            out.extend_from_slice(&chunk(n));
            out.push(b'\n');
        };
        Ok(Fan { publisher, publish: Box::new(publish), codec: |_| Ok(Step::Partial), readers, chunks_max: u64::MAX })
    }
}
