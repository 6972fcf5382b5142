//! The pages that a newcomer follows, run as they are printed: their `sh` blocks one behind the other in one shell, against one server.

use super::{Ended, blocks, shell, text_of, was_printed};
use crate::harness::{Folder, Options, Server};
use crate::node::Node;
use crate::packages::{PHOENIX_VERSIONS, missing, phoenix, runs};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs the page's lines, and gives what was printed.
#[track_caller]
fn follow(page: &str, server: &Server, folder: &Path, change: impl Fn(String) -> String) -> String {
    let lines: String = blocks(page, "sh").concat();
    assert!(lines.lines().count() > 3, "the page has something to run");
    let lines = change(lines.replace("localhost:4000", &server.address().to_string()));
    shell(&lines, server, folder)
}

fn is_possible() -> bool {
    let can = ["bash", "curl", "python3"].iter().all(|program| runs(program, &["--version"]));
    if !can {
        missing("bash, curl or Python is not installed: the pages were not followed");
    }
    can
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
    let page = text_of("docs/quickstart.md");
    let (server, folder) = (Server::start(), Folder::new());
    let (_agent, port) = agent(&page, folder.path());
    let said = follow(&page, &server, folder.path(), |lines| lines.replace(":3000", &format!(":{port}")));
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
    let said = follow(&text_of("docs/concepts.md"), &server, folder.path(), |lines| lines);
    let page = said.rsplit("{\"messages\"").next().expect("the page is printed last");
    assert!(page.contains(r#""last_seq":2"#) && page.contains("Hi Alice.") && !page.contains("Hello!"), "{said}");
}

#[test]
fn the_first_screen_of_the_readme_works_line_by_line() {
    if !is_possible() {
        return;
    }
    let page = text_of("README.md");
    let session = below(&page, "## A session with curl");
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
    was_printed(&answers(session), &said.replace("}{", "}\n{"));

    let asking = below(&page, "## An answer that streams");
    let typed: String = asking.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    let line = typed.replace("localhost:4000", &server.address().to_string());
    was_printed(&answers(asking), &shell(&line, &server, folder.path()));
}

/// The lines of JSON that are shown.
fn answers(text: &str) -> String {
    text.lines().filter(|line| line.starts_with("{\"")).map(|line| format!("{line}\n")).collect()
}

/// What stands between a heading and the next.
#[track_caller]
fn below<'a>(page: &'a str, heading: &str) -> &'a str {
    page.split(heading).nth(1).expect("the page has the heading").split("\n## ").next().expect("text")
}

#[test]
fn a_start_prints_what_the_pages_show() {
    let folder = Folder::new();
    let server = Server::on(folder.path(), &Options::default());
    let data = folder.path().to_str().expect("a path of ours is text");
    let log = server.log().replace(data, "./data");
    for (page, language) in
        [("README.md", ""), ("docs/quickstart.md", ""), ("docs/console.md", ""), ("docs/operations.md", "")]
    {
        let starts: Vec<String> =
            blocks(&text_of(page), language).into_iter().filter(|block| block.contains("listening on")).collect();
        assert_eq!(starts.len(), 1, "{page} shows a start");
        // A page may show the command too.
        let shown: Vec<&str> = starts[0].lines().filter(|line| !line.starts_with("$ ")).collect();
        was_printed(&shown.join("\n"), &log);
    }
}

/// The README's script with the server's address in it, beside the README's packages.
fn chat(script: &str, server: &Server, packages: &Path, session: &str) -> Node {
    assert!(script.contains("ws://localhost:4000/socket") && script.contains("process.argv[2]"));
    let script = script.replace("localhost:4000", &server.address().to_string());
    let script = script.replace("process.argv[2]", "process.env.SESSION");
    Node::start(packages, &[], &[("chat.mjs", &script)], &[("SESSION", session)])
}

#[test]
fn the_client_of_the_readme_sees_what_the_readme_shows() {
    let Some(packages) = phoenix(PHOENIX_VERSIONS[1]) else { return };
    let readme = text_of("README.md");
    let script = blocks(&readme, "js").pop().expect("the README has a client");
    let shown = |heading: &str| blocks(below(&readme, heading), "").pop().expect("the README shows what is seen");

    let folder = Folder::new();
    let server = Server::on(folder.path(), &Options::default());
    let session = server.session("alice", "bot");
    server.say(&session, "alice", "Hello!");
    server.answer_as(&session, "bot", "Hi Alice.");
    let mut node = chat(&script, &server, &packages, &session);
    let seen = |node: &mut Node, text: &str| {
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| line.contains(text)) {
            lines.push(node.line().expect("the client goes on"));
        }
        lines
    };
    let mut lines = seen(&mut node, "3 alice");
    server.answer_as(&session, "bot", "Always.");
    lines.extend(seen(&mut node, "Always."));
    let address = server.address();
    server.kill();
    let server = Server::on(folder.path(), &Options::default().listen(address));
    server.answer_as(&session, "bot", "Back.");
    lines.extend(seen(&mut node, "Back."));
    let expected: Vec<String> =
        shown("## The same session with phoenix.js").lines().skip(1).map(str::to_owned).collect();
    assert_eq!(lines, expected);

    let (line, more) =
        ("channel.on(\"message\", show)", "channel.on(\"stream_chunk\", ({ chunk }) => console.log(chunk))");
    assert!(readme.contains(more), "the README names the line that shows chunks");
    let script = script.replace(line, &format!("{line}\n{more}"));
    let mut node = chat(&script, &server, &packages, &server.session("alice", "echo"));
    let lines = [seen(&mut node, "2 echo"), seen(&mut node, "parts:"), seen(&mut node, "}")].concat();
    was_printed(&shown("## An answer that streams"), &lines.join("\n"));
}
