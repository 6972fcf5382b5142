//! A server under measurement: a process of its own, bound to the server's CPU, with a temporary folder on the disk that is measured.
//!
//! Its output goes to a file in that folder, from which the address is read and which an error quotes. Dropping it ends it and removes the
//! folder.

use crate::wire::number;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take until it listens: PostgreSQL after an unclean end replays its log first.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long it may take to end before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Bytes of its last output that an error quotes.
const QUOTED_BYTES: usize = 2_000;

/// Where servers run.
#[derive(Clone, Debug)]
pub struct Place {
    /// The CPU of every server.
    pub cpu: usize,
    /// Temporary folders are made here.
    pub dir: PathBuf,
}

impl Place {
    /// A folder that goes with the value.
    ///
    /// # Errors
    /// As the system says.
    pub fn folder(&self, name: &str) -> Result<tempfile::TempDir> {
        let folder = tempfile::Builder::new().prefix(&format!("peers-{name}-")).tempdir_in(&self.dir);
        folder.with_context(|| format!("a temporary folder in {}", self.dir.display()))
    }
}

/// How a server's address is known.
pub enum Listens {
    /// It was told the port.
    At(u16),
    /// It prints `127.0.0.1:PORT`.
    Says,
}

/// A running server.
pub struct Child {
    process: Process,
    address: SocketAddr,
    stop: Signal,
    _folder: tempfile::TempDir,
}

impl Child {
    /// Starts `command` on the place's CPU and waits until it listens. `folder` goes when the server is gone; `stop` is the signal that ends
    /// it in good order.
    ///
    /// # Errors
    /// When it cannot be started, ends early, or does not listen in 60 s; the error quotes what it said.
    pub fn start(
        place: &Place,
        mut command: Command,
        listens: Listens,
        stop: Signal,
        folder: tempfile::TempDir,
    ) -> Result<Self> {
        let log_path = folder.path().join("output");
        let log = fs::File::create(&log_path).context("the file of a server's output")?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let name = command.get_program().to_string_lossy().into_owned();
        let mut process = spawn_on(command, place.cpu).with_context(|| format!("starting {name}"))?;
        match listening(&mut process, &listens, &log_path) {
            Ok(address) => Ok(Self { process, address, stop, _folder: folder }),
            Err(error) => {
                // It may have ended by itself.
                drop(process.kill());
                drop(process.wait());
                Err(error.context(format!("{name} did not come up; it said:\n{}", last_output(&log_path))))
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, self.stop);
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A port that nobody listened on a moment ago, for servers that cannot pick one themselves.
///
/// # Errors
/// As the system says.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Starts `command` from a thread that has only `cpu`: a child inherits it from its first moment, and hands it on to its own children.
pub fn spawn_on(mut command: Command, cpu: usize) -> Result<Process> {
    let spawner = thread::spawn(move || -> Result<Process> {
        pin(cpu)?;
        Ok(command.spawn()?)
    });
    spawner.join().expect("the spawner returns its errors")
}

/// Binds the calling thread to `cpu`.
///
/// # Errors
/// When there is no such CPU for this process.
pub fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("binding to CPU {cpu}"))
}

fn listening(process: &mut Process, listens: &Listens, log: &Path) -> Result<SocketAddr> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match listens {
            Listens::At(port) if TcpStream::connect_timeout(&address(*port), Duration::from_secs(1)).is_ok() => {
                return Ok(address(*port));
            }
            Listens::At(_) => {}
            Listens::Says => {
                if let Some(port) = said_port(&fs::read(log)?) {
                    return Ok(address(port));
                }
            }
        }
        if let Some(status) = process.try_wait()? {
            bail!("it ended with {status}");
        }
        if Instant::now() > deadline {
            bail!("it does not listen after {} s", START_TIMEOUT.as_secs());
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// The first local port that a whole line names.
fn said_port(output: &[u8]) -> Option<u16> {
    let whole = &output[..memchr::memrchr(b'\n', output)?];
    let mark = b"127.0.0.1:";
    let ports = memchr::memmem::find_iter(whole, mark).filter_map(|at| number(&whole[at + mark.len()..]));
    ports.filter_map(|port| u16::try_from(port).ok()).find(|port| *port != 0)
}

fn last_output(log: &Path) -> String {
    let output = fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&output[output.len().saturating_sub(QUOTED_BYTES)..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_taken_from_a_whole_line_only() {
        assert_eq!(said_port(b"listening on http://127.0.0.1:40123\n"), Some(40123));
        assert_eq!(said_port(b"listening on http://127.0.0.1:401"), None, "the rest may follow");
        assert_eq!(said_port(b"asked for 127.0.0.1:0\n"), None);
    }

    #[test]
    fn a_server_that_ends_at_once_is_told_with_what_it_said() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { cpu: 0, dir: dir.path().to_owned() };
        let mut command = Command::new("echo");
        command.arg("out of order");
        let folder = place.folder("echo").unwrap();
        let error = Child::start(&place, command, Listens::Says, Signal::TERM, folder).err().unwrap();
        assert!(format!("{error:#}").contains("out of order"), "{error:#}");
    }
}
