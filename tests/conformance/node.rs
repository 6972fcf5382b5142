//! One run of Node.js: its files, its environment, its lines of output.

use crate::harness::HANG;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use tempfile::TempDir;

/// A running script. Dropped: killed.
pub struct Node {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
    _scripts: TempDir,
}

/// How the client reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    WebSocket,
    /// No WebSocket in sight: the client's own choice is then to poll.
    LongPoll,
}

impl Node {
    /// Runs a script beside an installed `phoenix`, with these variables.
    pub fn run(packages: &Path, transport: Transport, script: &str, environment: &[(&str, &str)]) -> Self {
        let scripts = [("script.mjs", script), ("browser.mjs", include_str!("browser.mjs"))];
        let transport = format!("{transport:?}");
        let environment = [environment, &[("TRANSPORT", transport.as_str())]].concat();
        Self::start(packages, &["--import", "./browser.mjs"], &scripts, &environment)
    }

    /// Runs the first of these scripts (names and texts) below a folder of packages; the others lie beside it.
    pub fn start(packages: &Path, flags: &[&str], scripts: &[(&str, &str)], environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::Builder::new().prefix("run-").tempdir_in(packages).expect("a folder can be created");
        for (name, text) in scripts {
            std::fs::write(folder.path().join(name), text).expect("a script can be written");
        }
        let mut node = Command::new("node");
        node.args(flags).arg(scripts[0].0).current_dir(folder.path()).envs(environment.iter().copied());
        let mut child = node.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("node starts");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let (told, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if told.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, seen: Vec::new(), _scripts: folder }
    }

    /// The next line; `None` at the end of the output.
    #[track_caller]
    pub fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(2 * HANG) {
            Ok(line) => {
                self.seen.push(line.clone());
                Some(line)
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the script said nothing more:\n{}", self.seen.join("\n")),
        }
    }

    /// Everything that a script says which ends by itself and in order.
    #[track_caller]
    pub fn output(mut self) -> Vec<String> {
        while self.line().is_some() {}
        self.succeeded();
        std::mem::take(&mut self.seen)
    }

    /// Reads lines up to one that holds this text.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> String {
        loop {
            let Some(line) = self.line() else {
                panic!("the script never said {text:?} but:\n{}", self.seen.join("\n"));
            };
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The script ends by itself and in order.
    #[track_caller]
    pub fn finished(mut self) {
        self.until("all steps done");
        self.succeeded();
    }

    #[track_caller]
    fn succeeded(&mut self) {
        let status = self.child.wait().expect("node can be waited for");
        assert!(status.success(), "{status}:\n{}", self.seen.join("\n"));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
