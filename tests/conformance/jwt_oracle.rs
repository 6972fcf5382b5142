//! PyJWT as an oracle: it signs tokens good and bad of every algorithm (`jwt_oracle.py`), and the server lets in whom it lets in.

use crate::harness::guard::{Guarded, SECRET};
use crate::harness::{Folder, Value};
use crate::packages;
use std::process::Command;

#[test]
fn the_server_lets_in_whom_pyjwt_lets_in() {
    let Some(python) = packages::pyjwt() else { return };
    let folder = Folder::new();
    let mut oracle = Command::new(python);
    oracle.arg("-c").arg(include_str!("jwt_oracle.py")).env("SECRET", SECRET);
    let output = oracle.output().expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).expect("text");
    let (set, cases) = said.split_once('\n').expect("a set of keys, then cases");
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, set).expect("a file");
    let file = file.to_str().expect("a path of ours is text");
    let guarded = Guarded::start(&["--jwt-issuer", "https://id.example", "--jwt-audience", "us", "--jwks", file]);
    let mut differ = Vec::new();
    let mut good = 0;
    for case in cases.lines() {
        let case: Value = serde_json::from_str(case).expect("a case is JSON");
        let status = guarded.call(case["token"].as_str().expect("a token"), "GET", "/api/sessions", None).status;
        let expected = if case["good"] == true { 200 } else { 401 };
        good += usize::from(case["good"] == true);
        if status != expected {
            differ.push(format!("{}: {status}, PyJWT {expected}", case["what"]));
        }
    }
    assert!(differ.is_empty(), "{differ:#?}");
    assert!(good >= 30 && cases.lines().count() > 120, "{good} of {}", cases.lines().count());
}
