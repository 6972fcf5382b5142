//! One run of Node.js with the `phoenix` client: its files, its environment, its lines of output.

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
        let scripts = tempfile::Builder::new().prefix("run-").tempdir_in(packages).expect("a folder can be created");
        let write = |name: &str, text: &str| {
            std::fs::write(scripts.path().join(name), text).expect("a script can be written");
        };
        write("browser.mjs", include_str!("browser.mjs"));
        write("script.mjs", script);
        let mut node = Command::new("node");
        node.args(["--import", "./browser.mjs", "script.mjs"]).current_dir(scripts.path());
        node.envs(environment.iter().copied()).env("TRANSPORT", format!("{transport:?}"));
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
        Self { child, lines, seen: Vec::new(), _scripts: scripts }
    }

    /// Reads lines up to one that holds this text.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(2 * HANG) else {
                panic!("the client never said {text:?} but:\n{}", self.seen.join("\n"));
            };
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The script ends by itself and in order.
    #[track_caller]
    pub fn finished(mut self) {
        self.until("all steps done");
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
