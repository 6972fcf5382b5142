//! A server of our own: started on a free port with a temporary data folder, and ended with the run.
//!
//! The port is what the server prints; the folder goes when the server is gone.

use crate::target::Target;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take until it listens and is ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may drain after SIGTERM before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// Lines of its output that are kept for the case that it ends too early.
const LINES_KEPT: usize = 20;

type Lines = Arc<Mutex<VecDeque<String>>>;

/// A running server. Dropping it stops it.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub target: Target,
    _folder: tempfile::TempDir,
}

/// How to start one.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// The binary; without it `fleetlm` beside this program.
    pub binary: Option<PathBuf>,
    /// CPUs it may use; all when empty.
    pub cpus: Vec<usize>,
    /// Further arguments.
    pub arguments: Vec<String>,
}

impl Server {
    /// Starts a server and waits until it is ready.
    ///
    /// # Errors
    /// When there is no binary, it ends early, or it is not ready in 30 s; its last output is in the error.
    pub fn start(start: &Start) -> Result<Self> {
        let binary = binary(start.binary.as_deref())?;
        let folder =
            tempfile::Builder::new().prefix("fleetlm-loadtest-").tempdir().context("a temporary data folder")?;
        let mut command = Command::new(&binary);
        command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
        if !start.cpus.is_empty() {
            command.args(["--shards", &start.cpus.len().to_string()]);
        }
        command.args(&start.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            spawn_on(command, start.cpus.clone()).with_context(|| format!("starting {}", binary.display()))?;
        let lines = Lines::default();
        let (ports, found) = channel();
        watch(child.stdout.take().expect("stdout is piped"), Arc::clone(&lines), ports.clone());
        watch(child.stderr.take().expect("stderr is piped"), Arc::clone(&lines), ports);
        let started = listening(&mut child, &found).and_then(|target| ready(&target).map(|()| target));
        match started {
            Ok(target) => Ok(Self { child, target, _folder: folder }),
            Err(error) => {
                drop(child.kill());
                drop(child.wait());
                let said =
                    lines.lock().expect("no reader panics").iter().fold(String::new(), |all, line| all + "\n  " + line);
                Err(error.context(format!("{} did not come up; it said:{said}", binary.display())))
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        eprintln!("loadtest: the server did not end within {} s of SIGTERM and is killed", STOP_TIMEOUT.as_secs());
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn binary(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let beside = std::env::current_exe().context("finding this program")?.with_file_name("fleetlm");
    if !beside.is_file() {
        bail!("there is no {}: build it (cargo build --release) or name one with --server-bin", beside.display());
    }
    Ok(beside)
}

/// Starts `command` from a thread that has only `cpus`: a child inherits them from its first moment.
fn spawn_on(mut command: Command, cpus: Vec<usize>) -> Result<Child> {
    let spawner = thread::spawn(move || -> Result<Child> {
        if !cpus.is_empty() {
            let mut set = CpuSet::new();
            cpus.iter().for_each(|cpu| set.set(*cpu));
            sched_setaffinity(None, &set).with_context(|| format!("binding the server to CPUs {cpus:?}"))?;
        }
        Ok(command.spawn()?)
    });
    spawner.join().expect("the spawner returns its errors")
}

/// Reads all output, so that the server never waits for us, and tells the first local port it names.
fn watch(output: impl Read + Send + 'static, lines: Lines, ports: Sender<u16>) {
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(port) = port_in(&line) {
                // Nobody listens any more once the port is known.
                let _ = ports.send(port);
            }
            let mut lines = lines.lock().expect("no reader panics");
            if lines.len() == LINES_KEPT {
                lines.pop_front();
            }
            lines.push_back(line);
        }
    });
}

fn port_in(line: &str) -> Option<u16> {
    let after = line.split("127.0.0.1:").nth(1)?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|port| *port != 0)
}

fn listening(child: &mut Child, ports: &Receiver<u16>) -> Result<Target> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        match ports.recv_timeout(Duration::from_millis(50)) {
            Ok(port) => return Target::parse(&format!("http://127.0.0.1:{port}")),
            Err(RecvTimeoutError::Disconnected) => bail!("it ended before it said where it listens"),
            Err(RecvTimeoutError::Timeout) if Instant::now() > deadline => bail!("it did not say where it listens"),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(status) = child.try_wait()? {
                    bail!("it ended with {status}");
                }
            }
        }
    }
}

fn ready(target: &Target) -> Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    while !is_ready(target).unwrap_or(false) {
        if Instant::now() > deadline {
            bail!("/health/ready was not 200 in {} s", START_TIMEOUT.as_secs());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn is_ready(target: &Target) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&target.address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    write!(stream, "GET /health/ready HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", target.host)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.split(' ').nth(1) == Some("200"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_found_in_whatever_the_server_prints() {
        assert_eq!(port_in("listening on http://127.0.0.1:40123/ with 2 shards"), Some(40123));
        assert_eq!(port_in(r#"{"level":"INFO","address":"127.0.0.1:5000"}"#), Some(5000));
        assert_eq!(port_in("asked for 127.0.0.1:0"), None);
        assert_eq!(port_in("no address"), None);
    }

    #[test]
    fn a_server_that_ends_at_once_is_told_with_what_it_said() {
        let start =
            Start { binary: Some("/bin/echo".into()), arguments: vec!["out of order".into()], ..Start::default() };
        let error = format!("{:#}", Server::start(&start).err().unwrap());
        assert!(error.contains("out of order") && error.contains("/bin/echo"), "{error}");
    }
}
