//! The pictures in the documentation: those that are drawn parse, render and say what the text beside them says; those of the console are taken from a real one.
//!
//! `FLEETLM_PICTURES_WRITE=1` puts the pictures of the console that a run has taken into `docs/pictures`, to be looked at before they are committed.

use crate::harness::{Agent, HANG, Server, Value, json};
use crate::node::Node;
use crate::packages;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn text_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages that may show pictures.
fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).expect("there is documentation");
    let docs =
        docs.map(|entry| entry.expect("an entry").path()).filter(|path| path.extension().is_some_and(|e| e == "md"));
    docs.chain([root().join("README.md")]).collect()
}

/// What stands between two texts, again and again.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    text.split(from).skip(1).filter_map(|rest| rest.split(to).next()).collect()
}

#[test]
fn every_picture_is_shown_and_every_one_that_is_shown_is_there() {
    let mut shown = BTreeSet::new();
    for page in pages() {
        let text = text_of(&page);
        let folder = page.parent().expect("a page lies in a folder");
        let of_images = between(&text, "](", ")").into_iter().filter(|path| path.contains("pictures/"));
        let of_sources = between(&text, "srcset=\"", "\"").into_iter().chain(between(&text, "src=\"", "\""));
        for path in of_images.chain(of_sources) {
            let path = folder.join(path);
            assert!(path.is_file(), "{} shows {}", page.display(), path.display());
            shown.insert(path.file_name().expect("a file has a name").to_owned());
        }
    }
    let files = fs::read_dir(root().join("docs/pictures")).expect("there are pictures");
    let files: BTreeSet<_> = files.map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(files, shown, "every file is shown somewhere");
}

#[test]
fn the_picture_of_a_record_has_the_fields_of_the_page_at_their_places() {
    let page = text_of(&root().join("docs/log-format.md"));
    let block = page.split("### Record").nth(1).expect("the page has records").split("```").nth(1).expect("a block");
    let mut rows = block.lines().filter(|line| !line.trim().is_empty());
    let numbers =
        |line: &str| line.split_whitespace().filter_map(|word| word.parse::<usize>().ok()).collect::<Vec<_>>();
    let offsets = numbers(rows.next().expect("offsets"));
    let names: Vec<&str> =
        rows.next().expect("names").split('|').map(str::trim).filter(|name| !name.is_empty()).collect();
    let told: Vec<(String, usize, usize)> =
        offsets.windows(2).zip(names).map(|(ends, name)| (name.to_owned(), ends[0], ends[1])).collect();
    let picture = text_of(&root().join("docs/pictures/log.svg"));
    let attribute = |tag: &str, name: &str| between(tag, &format!("{name}=\""), "\"")[0].to_owned();
    let drawn: Vec<(String, usize, usize)> = between(&picture, "<rect", "/>")
        .into_iter()
        .filter(|tag| tag.contains("data-field"))
        .map(|tag| {
            let place = |name| attribute(tag, name).parse().expect("a number");
            (attribute(tag, "data-field"), place("data-from"), place("data-to"))
        })
        .collect();
    assert_eq!(told.last().map(|(_, _, end)| *end), Some(64), "{told:?}");
    assert_eq!(drawn, told);
}

/// The drawn pictures of a page, in Mermaid's language.
fn diagrams() -> Value {
    let mut all = Vec::new();
    for page in pages() {
        let text = text_of(&page);
        all.extend(between(&text, "```mermaid\n", "```").into_iter().map(str::to_owned));
    }
    assert!(all.len() >= 4, "{} diagrams", all.len());
    Value::from(all)
}

#[test]
fn every_drawn_picture_renders_in_a_browser() {
    let Some((packages, chromium)) = packages::mermaid() else { return };
    let pictures: Vec<Value> = fs::read_dir(root().join("docs/pictures"))
        .expect("there are pictures")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "svg"))
        .map(|path| json!({"name": path.file_name().and_then(|name| name.to_str()), "text": text_of(&path)}))
        .collect();
    let (diagrams, pictures) = (diagrams().to_string(), Value::from(pictures).to_string());
    let environment = [
        ("CHROMIUM", chromium.to_str().expect("UTF-8")),
        ("DIAGRAMS", diagrams.as_str()),
        ("PICTURES", pictures.as_str()),
    ];
    Node::start(&packages, &[], &[("drawn.mjs", include_str!("drawn.mjs"))], &environment).finished();
}

/// Says something as `alice`, and lets the agent answer with this.
#[track_caller]
fn asked(server: &Server, agent: &Agent, session: &str, question: &str, answer: &str) {
    server.say(session, "alice", question);
    let text = json!({"type": "text-delta", "id": "1", "delta": answer});
    let call = agent.call_within(HANG).expect("the agent is called");
    call.answer(&[
        json!({"type": "text-start", "id": "1"}),
        text,
        json!({"type": "text-end", "id": "1"}),
        json!({"type": "finish"}),
    ]);
    let mut socket = crate::harness::Socket::open(server, "alice");
    let topic = format!("session:{session}");
    let joined = socket.join(&topic, &json!({"last_seq": 0})).expect("it is alice's");
    let is_answered = |messages: &Value| {
        messages.as_array().and_then(|all| all.last()).is_some_and(|last| last["sender_id"] != "alice")
    };
    if !is_answered(&joined["messages"]) {
        socket.event(&topic, "message");
    }
}

#[test]
fn the_console_is_photographed_with_an_answer_under_way() {
    let Some((packages, chromium)) = packages::browser() else { return };
    let (server, agent) = (Server::start(), Agent::start());
    let ops = json!({"id": "ops", "name": "Ops", "origin_url": agent.url(), "debounce_window_ms": 0});
    server.post("/api/agents", &json!({ "agent": ops })).expect(201);
    let titled = |title: &str| {
        let made =
            server.post("/api/sessions", &json!({"user_id": "alice", "agent_id": "ops", "title": title})).expect(201);
        made["session"]["id"].as_str().expect("an id").to_owned()
    };
    asked(&server, &agent, &titled("Invoice 4711"), "Was invoice 4711 paid?", "Yes, on Thursday, in full.");
    asked(
        &server,
        &agent,
        &titled("Release notes"),
        "Draft the notes for 0.9.",
        "Three fixes and one new flag; the draft is in the wiki.",
    );
    let session = titled("Replica lag at night");
    asked(
        &server,
        &agent,
        &session,
        "The alert for replica lag fired at 02:14 and cleared itself. What was that?",
        "The nightly backup. It read the replica's disk at full speed from 02:10 to 02:19, and replay fell behind by 41 s.",
    );
    asked(&server, &agent, &session, "Did users notice?", "No. Reads go to the primary while lag is above 5 s.");
    server.say(&session, "alice", "What should we change?");
    let mut call = agent.call_within(HANG).expect("the agent is called");
    call.head(200, &[]);
    call.say(&json!({"type": "text-start", "id": "1"}));
    for word in [
        "Let the backup read slower: ",
        "at 80 MB/s it leaves the replica ",
        "more than half of what the disk can do, ",
    ] {
        call.say(&json!({"type": "text-delta", "id": "1", "delta": word}));
    }
    let shots = packages.join("shots");
    fs::create_dir_all(&shots).expect("a folder below the build can be created");
    let (url, text) = (format!("http://{}", server.address()), |path: &Path| path.to_str().expect("UTF-8").to_owned());
    let (chromium, folder) = (text(&chromium), text(&shots));
    let environment = [("URL_BASE", url.as_str()), ("CHROMIUM", &chromium), ("SHOTS", &folder), ("SESSION", &session)];
    Node::start(&packages, &[], &[("photo.mjs", include_str!("photo.mjs"))], &environment).finished();
    for name in ["console-light.png", "console-dark.png"] {
        let taken = fs::read(shots.join(name)).expect("it was taken");
        assert!(taken.len() < 150 * 1024, "{name} has {} bytes", taken.len());
        if std::env::var_os("FLEETLM_PICTURES_WRITE").is_some() {
            fs::write(root().join("docs/pictures").join(name), taken).expect("it can be written");
        }
    }
}
