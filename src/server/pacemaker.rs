//! A thread that wakes shards which the runtime has put to sleep with work to do.
//!
//! Seen with glommio-ng 0.12: an executor parks in `io_uring_enter` although its timers are due, and only an event from outside
//! wakes it (docs/decisions/0001). So every shard counts its pulse, and a shard whose count stands still gets a byte on a socket
//! that it reads: an event like any other. A shard that is merely busy gets one too many; that costs it one read.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use futures_lite::AsyncReadExt;
use glommio::net::TcpStream;
use socket2::{Domain, Socket, Type};

use crate::limits;

/// Looks without a new beat after which a shard is woken.
const STILL_MAX: u32 = 3;

/// A shard's side: its count and the socket that wakes it. Any executor of this runtime can have one; the load generator's do.
pub struct Pulse {
    beats: Arc<AtomicU64>,
    socket: Socket,
}

/// The thread's side of one shard.
struct Patient {
    beats: Arc<AtomicU64>,
    socket: Socket,
    last: u64,
    still: u32,
}

/// Starts the thread for `shards` and returns their sides. It ends with the process.
///
/// # Errors
/// When the system gives no sockets or no thread.
pub fn start(shards: u16) -> io::Result<Vec<Pulse>> {
    let mut pulses = Vec::new();
    let mut patients = Vec::new();
    for _ in 0..shards {
        let (ours, theirs) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        let beats = Arc::new(AtomicU64::new(0));
        pulses.push(Pulse { beats: Arc::clone(&beats), socket: theirs });
        patients.push(Patient { beats, socket: ours, last: 0, still: 0 });
    }
    thread::Builder::new().name("pacemaker".to_owned()).spawn(move || {
        loop {
            thread::sleep(Duration::from_millis(limits::HEARTBEAT_MS));
            patients.iter_mut().for_each(Patient::look);
        }
    })?;
    Ok(pulses)
}

impl Patient {
    fn look(&mut self) {
        let beats = self.beats.load(Ordering::Relaxed);
        self.still = if beats == self.last { self.still + 1 } else { 0 };
        self.last = beats;
        if self.still >= STILL_MAX {
            self.still = 0;
            let _ = self.socket.send(&[0]); // full: it has not read the last one yet; closed: it has ended
        }
    }
}

impl Pulse {
    /// Counts a beat at every heartbeat, from before the first wait to the end of the executor.
    async fn beat(beats: Arc<AtomicU64>) {
        loop {
            beats.fetch_add(1, Ordering::Relaxed);
            glommio::timer::sleep(Duration::from_millis(limits::HEARTBEAT_MS)).await;
        }
    }

    /// Starts both tasks on this shard's executor.
    pub fn attach(self) {
        glommio::spawn_local(Self::beat(self.beats)).detach();
        let mut socket = TcpStream::from(self.socket); // any stream socket will do; the runtime only reads and polls it
        glommio::spawn_local(async move {
            let mut bytes = [0; 64];
            while let Ok(1..) = socket.read(&mut bytes).await {}
        })
        .detach();
    }
}
