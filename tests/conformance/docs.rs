//! The pages that a newcomer follows, run as they are printed: their `sh` blocks one behind the other in one shell, against one server.
//!
//! Only addresses change: the server's port and the agent's are free ones of the machine.

use crate::harness::server::binary;
use crate::harness::{Folder, Server};
use crate::packages::{missing, runs};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The text of all fenced blocks of a language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|block| block.split("```").next().expect("a block ends").to_owned()).collect()
}

/// Runs the page's lines with the binary in the path, stops at the first that fails, and gives what was printed.
#[track_caller]
fn follow(page: &str, server: &Server, folder: &Path, change: impl Fn(String) -> String) -> String {
    let url = format!("http://{}", server.address());
    let lines: String = blocks(page, "sh").concat();
    assert!(lines.lines().count() > 3, "the page has something to run");
    let lines = change(lines.replace("localhost:4000", &server.address().to_string()));
    let program = Path::new(binary().get_program()).to_owned();
    let path = format!("{}:{}", program.parent().expect("a folder").display(), std::env::var("PATH").expect("a path"));
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &lines])
        .current_dir(folder)
        .env("PATH", path)
        .env("FLEETLM_URL", url)
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{lines}\n{said}\n{told}");
    said.into_owned()
}

fn is_possible() -> bool {
    let can = ["bash", "curl", "python3"].iter().all(|program| runs(program, &["--version"]));
    if !can {
        missing("bash, curl or Python is not installed: the pages were not followed");
    }
    can
}

/// Ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The page's agent on a free port, once it listens.
fn agent(page: &str, folder: &Path) -> (Ended, u16) {
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port();
    let program = blocks(page, "python").pop().expect("the page has an agent");
    assert!(program.contains("\"127.0.0.1\", 3000"));
    let program = program.replace("3000", &port.to_string());
    // It says that it listens, which the printed one has nobody to say to.
    let program = program
        .replace("HTTPServer((", "server = HTTPServer((")
        .replace(").serve_forever()", ")\nprint(flush=True)\nserver.serve_forever()");
    std::fs::write(folder.join("agent.py"), program).expect("it can be written");
    let mut python = Command::new("python3");
    python.arg("agent.py").current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = python.spawn().expect("it starts");
    let mut said = [0];
    std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut said).expect("the agent listens");
    (Ended(child), port)
}

#[test]
fn the_quick_start_leads_to_an_agent_that_answers() {
    if !is_possible() {
        return;
    }
    let page = include_str!("../../docs/quickstart.md");
    let (server, folder) = (Server::start(), Folder::new());
    let (_agent, port) = agent(page, folder.path());
    let said = follow(page, &server, folder.path(), |lines| lines.replace(":3000", &format!(":{port}")));
    for word in ["What is a log?", "#1 default: What is a log?", "IS ANYBODY THERE?", "over rest"] {
        assert!(said.contains(word), "{word} is not in\n{said}");
    }
}

#[test]
fn the_concepts_hold_as_they_are_shown() {
    if !is_possible() {
        return;
    }
    let (server, folder) = (Server::start(), Folder::new());
    let said = follow(include_str!("../../docs/concepts.md"), &server, folder.path(), |lines| lines);
    let page = said.rsplit("{\"messages\"").next().expect("the page is printed last");
    assert!(page.contains(r#""last_seq":2"#) && page.contains("Hi Alice.") && !page.contains("Hello!"), "{said}");
}

#[test]
fn the_first_screen_of_the_readme_works_line_by_line() {
    if !is_possible() {
        return;
    }
    let page = include_str!("../../README.md");
    let session =
        page.split("## A session with curl").nth(1).expect("the README has it").split("##").next().expect("text");
    let (server, folder) = (Server::start(), Folder::new());
    // The id in the page is that of its own run; here it is asked for.
    let typed = session.lines().filter_map(|line| line.strip_prefix("$ "));
    let typed: Vec<String> = typed
        .map(|line| match line.strip_prefix("id=") {
            Some(_) => "id=$(grep -oE '[0-9A-Z]{26}' said | head -1)\n".to_owned(),
            None => format!("{} | tee said\n", line.replace("curl ", "curl -sf ")),
        })
        .collect();
    assert!(typed.len() >= 5, "{typed:?}");
    let said = follow(&format!("```sh\n{}```", typed.concat()), &server, folder.path(), |lines| lines);
    let last = said.rsplit("{\"messages\"").next().expect("the last answer");
    assert!(last.contains("Hi Alice.") && last.contains(r#""last_seq":2"#), "{said}");
}
