//! One epoll loop that answers. The limit of any server of requests on one thread; with a file, of any durable one.

use super::Appended;
use anyhow::Result;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::net::{TcpListener, TcpStream};

/// Events of one turn: one sync serves them all.
const EVENTS_MAX: usize = 1_024;
/// Read at once.
const READ_BYTES: usize = 64 * 1024;
/// The listener's mark among the connections' places.
const LISTENER: u64 = u64::MAX;

struct Connection {
    stream: TcpStream,
    /// Bytes of a request that is not whole.
    begun: usize,
    /// Whole requests of this turn.
    asked: usize,
}

/// Answers every `request_bytes` bytes with `reply`.
pub fn run(
    listener: &TcpListener,
    request_bytes: usize,
    reply: &[u8],
    mut commit: Option<Appended>,
    record_bytes: usize,
) -> Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    listener.set_nonblocking(true)?;
    epoll::add(&epoll, listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let (mut input, mut records, mut output) = (vec![0; READ_BYTES], Vec::new(), Vec::new());
    loop {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        records.clear();
        for event in &events {
            let place = event.data.u64();
            if place == LISTENER {
                accept(listener, &epoll, &mut connections)?;
                continue;
            }
            let Some(connection) = &mut connections[place as usize] else { continue };
            match recv(&connection.stream, &mut input[..], RecvFlags::empty()) {
                Ok((0, _)) | Err(Errno::CONNRESET) => connections[place as usize] = None,
                Ok((read, _)) => {
                    connection.asked = (connection.begun + read) / request_bytes;
                    connection.begun = (connection.begun + read) % request_bytes;
                    if commit.is_some() {
                        (0..connection.asked).for_each(|_| records.extend_from_slice(&input[..record_bytes]));
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(file) = &mut commit
            && !records.is_empty()
        {
            file.append(&records)?;
        }
        for event in &events {
            let place = event.data.u64() as usize;
            let Some(Some(connection)) = connections.get_mut(place) else { continue };
            output.clear();
            (0..std::mem::take(&mut connection.asked)).for_each(|_| output.extend_from_slice(reply));
            if !answer(&connection.stream, &output)? {
                connections[place] = None;
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    epoll: &impl std::os::fd::AsFd,
    connections: &mut Vec<Option<Connection>>,
) -> Result<()> {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(epoll, &stream, epoll::EventData::new_u64(connections.len() as u64), epoll::EventFlags::IN)?;
        connections.push(Some(Connection { stream, begun: 0, asked: 0 }));
    }
    Ok(())
}

/// Sends all; a client with a bounded number of requests in flight never fills its buffer. False when it has gone.
fn answer(stream: &TcpStream, mut bytes: &[u8]) -> Result<bool> {
    while !bytes.is_empty() {
        match send(stream, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET | Errno::PIPE) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}
