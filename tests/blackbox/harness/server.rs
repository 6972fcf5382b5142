//! The real binary as a child process: started on port 0, told from its own output where it listens, killed on drop.
//!
//! Does not speak to it: that is `http`, `websocket`, `phoenix`.

use super::{Folder, HANG, Stream};
use futures_rustls::rustls::ClientConfig;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, Weak, mpsc};
use std::thread;

/// How a server is started. The defaults are a user's, with a small fixed number of shards.
#[derive(Clone)]
pub struct Options {
    pub shards: u16,
    pub durability: &'static str,
    pub listen: String,
    pub flags: Vec<String>,
    pub environment: Vec<(&'static str, String)>,
    /// What its clients trust, when it speaks TLS.
    pub trust: Option<Arc<ClientConfig>>,
}

impl Default for Options {
    fn default() -> Self {
        let listen = "127.0.0.1:0".to_owned();
        Self { shards: 2, durability: "disk", listen, flags: Vec::new(), environment: Vec::new(), trust: None }
    }
}

impl Options {
    pub fn shards(shards: u16) -> Self {
        Self { shards, ..Self::default() }
    }

    /// Adds command-line words.
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    /// Adds an environment variable.
    pub fn environment(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address.to_string();
        self
    }

    fn command(&self, folder: &Path) -> Command {
        let mut command = binary();
        command.arg("--listen").arg(&self.listen).arg("--data-dir").arg(folder);
        command.arg("--shards").arg(self.shards.to_string()).arg("--durability").arg(self.durability);
        command.args(&self.flags);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// The binary without arguments, and without what the caller's own environment would tell it.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetlm"));
    let told = |name: &str| name.starts_with("FLEETLM_") || name == "PORT" || name == "RUST_LOG";
    for (name, _) in std::env::vars().filter(|(name, _)| told(name)) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs the binary to its end with these words.
pub fn run(words: &[&str]) -> Output {
    binary().args(words).output().expect("the binary runs")
}

/// What a process wrote, and a way to wait for more of it.
#[derive(Default)]
struct Log {
    text: Mutex<String>,
    grew: Condvar,
}

impl Log {
    fn text(&self) -> String {
        self.text.lock().expect("no reader panicked").clone()
    }

    fn add(&self, line: &str) {
        self.text.lock().expect("no reader panicked").push_str(line);
        self.grew.notify_all();
    }
}

/// A running server. Dropped: killed, and its output shown when the test is failing.
pub struct Server {
    child: Option<Child>,
    address: SocketAddr,
    trust: Option<Arc<ClientConfig>>,
    log: Arc<Log>,
    readers: Vec<thread::JoinHandle<()>>,
    /// Held so that a server's own folder lives as long as the server.
    folder: Option<Folder>,
}

impl Server {
    /// A server with the defaults on a folder of its own.
    pub fn start() -> Self {
        Self::with(&Options::default())
    }

    /// A server with these options on a folder of its own.
    pub fn with(options: &Options) -> Self {
        let folder = Folder::new();
        let mut server = Self::on(folder.path(), options);
        server.folder = Some(folder);
        server
    }

    /// A server on a folder that the test keeps.
    pub fn on(folder: &Path, options: &Options) -> Self {
        match Self::try_on(folder, options) {
            Ok(server) => server,
            Err((status, log)) => panic!("the server did not start ({status}):\n{log}"),
        }
    }

    /// As [`Server::on`]; a server that ends instead of serving is returned as its status and everything it wrote.
    pub fn try_on(folder: &Path, options: &Options) -> Result<Self, (ExitStatus, String)> {
        let mut command = options.command(folder);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let log = Arc::new(Log::default());
        let (found, address) = mpsc::channel();
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let stderr = child.stderr.take().expect("stderr is a pipe");
        let readers = vec![follow(stdout, log.clone(), Some(found)), follow(stderr, log.clone(), None)];
        let Ok(address) = address.recv_timeout(HANG) else {
            // Its stdout ended without the line (it is ending), or it hangs: either way this is its end.
            let status = end_of(child, true);
            readers.into_iter().for_each(|reader| reader.join().expect("the reader of the log ends"));
            return Err((status, log.text()));
        };
        Ok(Self { child: Some(child), address, trust: options.trust.clone(), log, readers, folder: None })
    }

    /// A server that tests share which neither stop it nor look at all of it. It ends with the last test that uses it.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Everything that the process wrote so far, stdout and stderr.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Waits until it has written this so many times.
    pub fn logged(&self, what: &str, times: usize) {
        let text = self.log.text.lock().expect("no reader panicked");
        let is_missing = |text: &mut String| text.matches(what).count() < times;
        let (text, wait) = self.log.grew.wait_timeout_while(text, HANG, is_missing).expect("no reader panicked");
        assert!(!wait.timed_out(), "{what:?} is not {times} times in:\n{text}");
    }

    /// A connection to it, made as it speaks: plain, or with TLS.
    pub fn open(&self) -> std::io::Result<Stream> {
        Stream::open(self.address, self.trust.as_ref())
    }

    /// `kill -9`, and wait until it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    /// SIGTERM. The process goes on until [`Server::wait`].
    pub fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(self.child.as_ref().expect("it runs"));
        rustix::process::kill_process(pid, signal).expect("it can be signalled");
    }

    /// Waits for the end of the process and gives its status and its whole log. Kills it when it does not end.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let status = end_of(self.child.take().expect("it runs"), false);
        for reader in self.readers.drain(..) {
            reader.join().expect("the reader of the log ends");
        }
        (status, self.log())
    }

    /// SIGTERM, and the end that must be in order.
    pub fn stop(self) -> String {
        self.terminate();
        let (status, log) = self.wait();
        assert!(status.success(), "a drain ends with 0, not {status}:\n{log}");
        log
    }

    /// The process is still there.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("it can be asked").is_none())
    }

    fn end(&mut self) {
        if let Some(child) = self.child.take() {
            end_of(child, true);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        if thread::panicking() {
            eprintln!("--- the server on {} wrote:\n{}---", self.address, self.log.text());
        }
    }
}

/// Waits for the end of a process, at most [`HANG`]; kills it at once when asked to.
fn end_of(mut child: Child, kill: bool) -> ExitStatus {
    if kill {
        // Already gone is as good.
        let _ = child.kill();
    }
    let pid = rustix::process::Pid::from_child(&child);
    let (ended, end) = mpsc::channel();
    let waiter = thread::spawn(move || {
        let status = child.wait().expect("a child can be waited for");
        let _ = ended.send(());
        status
    });
    if end.recv_timeout(HANG).is_err() {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    waiter.join().expect("the waiter ends")
}

/// Copies a stream into the log line by line and reports the address it names.
fn follow(
    stream: impl Read + Send + 'static,
    log: Arc<Log>,
    mut found: Option<mpsc::Sender<SocketAddr>>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            let text = String::from_utf8_lossy(&line).into_owned();
            if let Some(address) = address_in(&text)
                && let Some(found) = found.take()
            {
                let _ = found.send(address);
            }
            log.add(&text);
            line.clear();
        }
    })
}

/// The address of the line that a server prints once it serves.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on http")?;
    let rest = rest.strip_prefix('s').unwrap_or(rest).strip_prefix("://")?;
    rest.split(|c: char| c.is_whitespace() || c == '"' || c == ',').next()?.trim_end_matches('/').parse().ok()
}

#[test]
fn the_address_is_read_from_the_line_that_says_it_serves() {
    let address: SocketAddr = "127.0.0.1:4000".parse().expect("an address");
    assert_eq!(address_in("listening on http://127.0.0.1:4000\n"), Some(address));
    assert_eq!(address_in("fleetlm listening on http://127.0.0.1:4000, 2 shards\n"), Some(address));
    assert_eq!(address_in("listening on https://127.0.0.1:4000\n"), Some(address));
    assert_eq!(address_in("recovered 3 segments\n"), None);
}
