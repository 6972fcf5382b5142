//! The served OpenAPI document: valid by the standard's own validator, and true, as far as Schemathesis finds out by calling what it
//! describes with examples, edge cases and chance.
//!
//! Statuses, content types and bodies are held against the document. Whether bad input is refused is not: the contracts take much
//! leniently, and tests of each dialect say what.

use crate::harness::guard::{ADMIN, Guarded};
use crate::harness::{Folder, Options, Server, Value, json};
use crate::packages;
use std::path::Path;
use std::process::Command;

/// Answers that go on until somebody ends them, which a caller of single requests cannot judge.
const STREAMS: &str = "^/(api/events|api/chat/ws|socket/websocket)$";

/// An agent that cannot be reached is 502, and one that takes too long 504: that is no fault of the server's.
const CONFIG: &str = "[checks]\nnot_a_server_error.expected-statuses = [\"2xx\", \"3xx\", \"4xx\", 502, 503, 504]\n";

/// The document with ids that are there as its examples, in a file.
fn with_examples(server: &Server, folder: &Folder) -> std::path::PathBuf {
    let mut document = server.get("/api/openapi.json").expect(200);
    let session = server.session("alice", "echo");
    server.say(&session, "alice", "hello");
    document["components"]["schemas"]["SessionId"]["example"] = json!(session);
    for methods in document["paths"].as_object_mut().expect("paths").values_mut() {
        for operation in methods.as_object_mut().expect("methods").values_mut() {
            let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten();
            for parameter in parameters.filter(|parameter| is_agent(parameter)) {
                parameter["example"] = json!("echo");
            }
        }
    }
    let file = folder.path().join("openapi.json");
    std::fs::write(&file, document.to_string()).expect("the document is written");
    file
}

fn is_agent(parameter: &Value) -> bool {
    parameter["in"] == "path" && parameter["description"] == "The agent."
}

/// Runs a program in `folder`, where it may leave what it likes.
fn run(program: &Path, folder: &Path, words: &[&str]) {
    let output = Command::new(program).args(words).current_dir(folder).output().expect("the program starts");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{}: {said}", program.display());
    println!("{said}");
}

#[test]
fn the_document_is_valid_and_the_server_does_what_it_says() {
    let Some(programs) = packages::openapi() else { return };
    let server = Server::with(&Options::shards(2).flags(&["--echo-chunks-per-s", "1000"]));
    let folder = Folder::new();
    let file = with_examples(&server, &folder);
    let file = file.to_str().expect("UTF-8");
    run(&programs.join("openapi-spec-validator"), folder.path(), &[file]);
    let url = format!("http://{}", server.address());
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
    let config = folder.path().join("schemathesis.toml");
    std::fs::write(&config, CONFIG).expect("the configuration is written");
    let config = config.to_str().expect("UTF-8");
    let words =
        ["--config-file", config, "run", file, "--url", &url, "--checks", checks, "--exclude-path-regex", STREAMS];
    let bounds =
        ["--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--seed", "1", "--request-timeout", "20"];
    let rest = ["--generation-database", "none", "--no-color"];
    run(&programs.join("schemathesis"), folder.path(), &[&words[..], &bounds[..], &rest[..]].concat());
}

/// Every operation that the document says needs a token is called with none and with a wrong one, beside the good one.
#[test]
fn no_operation_that_needs_a_token_is_served_without_one() {
    let Some(programs) = packages::openapi() else { return };
    let guarded = Guarded::start(&["--echo-chunks-per-s", "1000"]);
    let folder = Folder::new();
    let file = folder.path().join("openapi.json");
    std::fs::write(&file, guarded.server.get("/api/openapi.json").text()).expect("the document is written");
    let (file, url) = (file.to_str().expect("UTF-8"), format!("http://{}", guarded.server.address()));
    let bearer = format!("Authorization: Bearer {ADMIN}");
    let words =
        ["run", file, "--url", &url, "--checks", "ignored_auth", "--exclude-path-regex", STREAMS, "-H", &bearer];
    let bounds = ["--phases", "examples", "--seed", "1", "--request-timeout", "20"];
    let rest = ["--generation-database", "none", "--no-color"];
    run(&programs.join("schemathesis"), folder.path(), &[&words[..], &bounds[..], &rest[..]].concat());
}
