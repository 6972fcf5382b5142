//! The server that is measured: one that runs somewhere, or one of our own, started on a free port with a temporary data
//! folder and ended with the run.
//!
//! The port is what the server prints; the folder goes when the server is gone. A server of our own can be killed,
//! stopped and started again on the same folder and port.

use crate::target::Target;
use crate::usage;
use anyhow::{Context, Result, bail};
use rustix::fs::{Advice, fadvise};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a server may take until it listens and is ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may drain after SIGTERM before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// How often it is asked whether it is ready: restarts are measured by it.
const READY_INTERVAL: Duration = Duration::from_millis(1);
/// How long it may take to say how it is.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of that answer at the most.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Lines of its output that are kept for the case that it ends too early.
const LINES_KEPT: usize = 20;

type Lines = Arc<Mutex<VecDeque<String>>>;

/// The server under load, as everybody else sees it.
#[derive(Clone)]
pub struct Subject {
    /// Where it is.
    pub target: Target,
    /// The one that we started.
    pub own: Option<Arc<Own>>,
    /// The process of one that somebody else started on this machine.
    pub other_pid: Option<u32>,
}

impl Subject {
    /// Its process, when it is on this machine, known, and running.
    pub fn pid(&self) -> Option<u32> {
        match &self.own {
            Some(own) => own.pid(),
            None => self.other_pid,
        }
    }

    /// Its data folder, when its process is known.
    pub fn data_folder(&self) -> Option<PathBuf> {
        match &self.own {
            Some(own) => Some(own.folder.clone()),
            None => self.other_pid.and_then(usage::data_folder),
        }
    }

    /// What it calls itself on `/health/live`; `None` when it does not say.
    pub fn version(&self) -> Option<String> {
        let mut answer = Vec::new();
        // A server that does not close its side is read until the time is over.
        let _ = ask(&self.target, "/health/live").ok()?.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let value: serde_json::Value = serde_json::from_str(body).ok()?;
        value["version"].as_str().map(str::to_owned)
    }
}

/// A server of our own, shared by the threads of a run. It ends when the last of them lets go, or earlier by [`Own::finish`].
pub struct Own {
    /// Zero while none runs.
    pid: AtomicU32,
    /// Its data.
    pub folder: PathBuf,
    server: Mutex<Server>,
}

impl Own {
    /// Starts a server and waits until it is ready.
    ///
    /// # Errors
    /// When there is no binary, it ends early, or it is not ready in 30 s; its last output is in the error.
    pub fn start(start: Start) -> Result<(Target, Arc<Self>)> {
        let server = Server::start(start)?;
        let pid = AtomicU32::new(server.child.id());
        let target = server.target.clone();
        let folder = server.path()?.to_owned();
        Ok((target, Arc::new(Self { pid, folder, server: Mutex::new(server) })))
    }

    /// Its process; `None` between two of them.
    pub fn pid(&self) -> Option<u32> {
        Some(self.pid.load(Ordering::SeqCst)).filter(|pid| *pid > 0)
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().expect("no thread panics with it")
    }

    /// Ends it with SIGKILL and waits until it is gone. Blocks.
    pub fn kill(&self) {
        let mut server = self.server();
        self.pid.store(0, Ordering::SeqCst);
        server.kill();
    }

    /// Ends it with SIGTERM and waits until it is gone. Blocks.
    pub fn end(&self) {
        let mut server = self.server();
        self.pid.store(0, Ordering::SeqCst);
        server.end();
    }

    /// Ends it for good and removes its data, whoever else still holds on to it. Blocks.
    pub fn finish(&self) {
        self.end();
        if let Some(folder) = self.server().folder.take()
            && let Err(error) = folder.close()
        {
            eprintln!("loadtest: the data folder of the server stays: {error}");
        }
    }

    /// Starts it again on the same folder and port; returns how long it took until it was ready. Blocks.
    ///
    /// # Errors
    /// As [`Own::start`].
    pub fn restart(&self) -> Result<Duration> {
        let mut server = self.server();
        let started = Instant::now();
        server.restart()?;
        self.pid.store(server.child.id(), Ordering::SeqCst);
        Ok(started.elapsed())
    }

    /// Drops the pages of all its files from the page cache, so that they must be read from the disk; but for those that
    /// it has mapped and touched.
    ///
    /// # Errors
    /// When a file cannot be synced (only clean pages can be dropped) or the kernel does not take the advice.
    pub fn drop_page_cache(&self) -> Result<()> {
        drop_pages(&self.folder)
    }
}

fn drop_pages(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            drop_pages(&path)?;
            continue;
        }
        let drop_file = || -> Result<()> {
            let file = File::open(&path)?;
            file.sync_all()?;
            Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
        };
        drop_file().with_context(|| format!("dropping {} from the page cache", path.display()))?;
    }
    Ok(())
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

/// The process. Dropping it stops it.
struct Server {
    child: Child,
    target: Target,
    binary: PathBuf,
    arguments: Vec<String>,
    /// CPUs of every process: those named, or those that this program had when it started the first.
    cpus: CpuSet,
    /// Until the end.
    folder: Option<tempfile::TempDir>,
}

impl Server {
    fn start(start: Start) -> Result<Self> {
        let binary = binary(start.binary.as_deref())?;
        let folder =
            tempfile::Builder::new().prefix("fleetlm-loadtest-").tempdir().context("a temporary data folder")?;
        let cpus = match &start.cpus[..] {
            [] => sched_getaffinity(None).context("reading the CPUs of this program")?,
            named => cpu_set(named),
        };
        let mut arguments = Vec::new();
        if !start.cpus.is_empty() {
            arguments.extend(["--shards".to_owned(), start.cpus.len().to_string()]);
        }
        arguments.extend(start.arguments);
        let (child, target) = launch(&binary, "127.0.0.1:0", folder.path(), &arguments, &cpus)?;
        Ok(Self { child, target, binary, arguments, cpus, folder: Some(folder) })
    }

    fn path(&self) -> Result<&Path> {
        Ok(self.folder.as_ref().context("the data folder is gone")?.path())
    }

    fn restart(&mut self) -> Result<()> {
        let listen = self.target.address.to_string();
        let (child, _) = launch(&self.binary, &listen, self.path()?, &self.arguments, &self.cpus)?;
        self.child = child;
        Ok(())
    }

    fn kill(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    fn end(&mut self) {
        let running = matches!(self.child.try_wait(), Ok(None));
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).filter(|_| running) {
            // It may have ended by itself meanwhile.
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
        self.kill();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts a process and waits until it is ready.
fn launch(binary: &Path, listen: &str, folder: &Path, arguments: &[String], cpus: &CpuSet) -> Result<(Child, Target)> {
    let mut command = Command::new(binary);
    command.args(["--listen", listen, "--data-dir"]).arg(folder).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn_on(command, *cpus).with_context(|| format!("starting {}", binary.display()))?;
    let lines = Lines::default();
    let (ports, found) = channel();
    let readers = [
        watch(child.stdout.take().expect("stdout is piped"), Arc::clone(&lines), ports.clone()),
        watch(child.stderr.take().expect("stderr is piped"), Arc::clone(&lines), ports),
    ];
    let started = listening(&mut child, &found).and_then(|target| ready(&mut child, &target).map(|()| target));
    match started {
        Ok(target) => Ok((child, target)),
        Err(error) => {
            drop(child.kill());
            drop(child.wait());
            // They end with the process, and what it said last explains most.
            readers.into_iter().for_each(|reader| drop(reader.join()));
            let said =
                lines.lock().expect("no reader panics").iter().fold(String::new(), |all, line| all + "\n  " + line);
            Err(error.context(format!("{} did not come up; it said:{said}", binary.display())))
        }
    }
}

fn cpu_set(cpus: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(*cpu));
    set
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
fn spawn_on(mut command: Command, cpus: CpuSet) -> Result<Child> {
    let spawner = thread::spawn(move || -> Result<Child> {
        sched_setaffinity(None, &cpus).context("binding the server to its CPUs")?;
        Ok(command.spawn()?)
    });
    spawner.join().expect("the spawner returns its errors")
}

/// Reads all output, so that the server never waits for us, and tells the first local port it names.
fn watch(output: impl Read + Send + 'static, lines: Lines, ports: Sender<u16>) -> JoinHandle<()> {
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
    })
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

fn ready(child: &mut Child, target: &Target) -> Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    while !is_ready(target) {
        if Instant::now() > deadline {
            bail!("/health/ready was not 200 in {} s", START_TIMEOUT.as_secs());
        }
        if let Some(status) = child.try_wait()? {
            bail!("it ended with {status}");
        }
        thread::sleep(READY_INTERVAL);
    }
    Ok(())
}

fn is_ready(target: &Target) -> bool {
    let first_line = || -> std::io::Result<String> {
        let mut line = String::new();
        BufReader::new(ask(target, "/health/ready")?).read_line(&mut line)?;
        Ok(line)
    };
    first_line().is_ok_and(|line| line.split(' ').nth(1) == Some("200"))
}

/// Sends a GET; the answer is there to be read.
fn ask(target: &Target, path: &str) -> std::io::Result<impl Read> {
    let mut stream = TcpStream::connect_timeout(&target.address, ASK_TIMEOUT)?;
    stream.set_read_timeout(Some(ASK_TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", target.host)?;
    Ok(stream.take(ANSWER_BYTES_MAX))
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
        let error = format!("{:#}", Own::start(start).err().unwrap());
        assert!(error.contains("out of order") && error.contains("/bin/echo"), "{error}");
    }
}
