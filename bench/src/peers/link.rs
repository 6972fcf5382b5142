//! One blocking connection for what is not measured: logging in, creating, counting, verifying.

use crate::wire::{Codec, Step, excerpt};
use anyhow::{Context, Result, bail};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a server may be silent when something is owed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Read at once.
const READ_BYTES: usize = 256 * 1024;

/// A connection that asks and waits.
pub struct Link {
    stream: TcpStream,
    input: Vec<u8>,
    codec: Codec,
}

impl Link {
    /// Connects, without Nagle's delay.
    ///
    /// # Errors
    /// As the system says.
    pub fn connect(address: SocketAddr, codec: Codec) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        Self::from_stream(stream, codec)
    }

    /// Over a connection that is there.
    ///
    /// # Errors
    /// As the system says.
    pub fn from_stream(stream: TcpStream, codec: Codec) -> Result<Self> {
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self { stream, input: Vec::new(), codec })
    }

    /// Sends a request and gives the whole reply; other things that come before it are dropped.
    ///
    /// # Errors
    /// Of the connection, after 30 s of silence, and when the reply is a refusal.
    pub fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>> {
        self.tell(request)?;
        loop {
            match (self.codec)(&self.input)? {
                Step::Reply(bytes) => return Ok(self.input.drain(..bytes).collect()),
                Step::Other(bytes) => drop(self.input.drain(..bytes)),
                Step::Partial => self.fill()?,
            }
        }
    }

    /// Sends what is not answered.
    ///
    /// # Errors
    /// Of the connection.
    pub fn tell(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("sending")
    }

    /// Reads until `whole` finds what it looks for at the start, which is taken away and given.
    ///
    /// # Errors
    /// Of the connection and of `whole`.
    pub fn take(&mut self, mut whole: impl FnMut(&[u8]) -> Result<Option<usize>>) -> Result<Vec<u8>> {
        loop {
            match whole(&self.input)? {
                Some(bytes) => return Ok(self.input.drain(..bytes).collect()),
                None => self.fill()?,
            }
        }
    }

    /// Waits for something, and gives everything that comes until nothing more has come for `quiet`.
    ///
    /// # Errors
    /// Of the connection.
    pub fn until_quiet(&mut self, quiet: Duration) -> Result<Vec<u8>> {
        if self.input.is_empty() {
            self.fill()?;
        }
        self.stream.set_read_timeout(Some(quiet))?;
        while self.read()? > 0 {}
        self.stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(std::mem::take(&mut self.input))
    }

    /// The connection for a loop, which must begin with nothing left over.
    ///
    /// # Errors
    /// When something has come that nobody asked for.
    pub fn into_stream(self) -> Result<TcpStream> {
        if !self.input.is_empty() {
            bail!("{} bytes left over: {}", self.input.len(), excerpt(&self.input));
        }
        Ok(self.stream)
    }

    fn fill(&mut self) -> Result<()> {
        match self.read()? {
            0 => bail!("no answer in {} s", ANSWER_TIMEOUT.as_secs()),
            _ => Ok(()),
        }
    }

    /// Bytes that came; 0 when none did in time.
    fn read(&mut self) -> Result<usize> {
        let start = self.input.len();
        self.input.resize(start + READ_BYTES, 0);
        let read = self.stream.read(&mut self.input[start..]);
        self.input.truncate(start + read.as_ref().copied().unwrap_or(0));
        match read {
            Ok(0) => bail!("the server closed the connection"),
            Ok(read) => Ok(read),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(0),
            Err(error) => Err(error).context("reading"),
        }
    }
}
