//! The Next.js example: what its README.md tells its reader to run, and then a person at a browser, against the binary of
//! this build.
//!
//! Runs in `examples/nextjs-chat`, whose `node_modules` and `.next` are not kept. The client is packed into the example from
//! `clients/typescript`, which is built first; the test of that client builds there too, so the two take turns.

use crate::packages::{missing, runs};
use crate::ts_client::{self, has_browser, node_major, succeed};
use std::path::Path;
use std::process::{Command, Output};

/// The oldest major release of Node.js that Next.js runs on.
const NODE_MAJOR_MIN: u32 = 20;

#[test]
fn the_nextjs_example_works_from_its_installation_to_the_page() {
    if node_major().is_none_or(|major| major < NODE_MAJOR_MIN) || !runs("npm", &["--version"]) {
        return missing("Node.js 20 and npm are not installed: the Next.js example was not run");
    }
    if !has_browser() {
        return missing("Chromium is not installed: the Next.js example was not run");
    }
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/nextjs-chat");
    {
        let _turn = ts_client::turn();
        let client = npm(&example, &["run", "client"]);
        if !client.status.success() {
            return missing(&format!("the client's packages could not be had: {}", told(&client.stderr)));
        }
        let packages = npm(&example, &["ci"]);
        if !packages.status.success() {
            return missing(&format!("the example's packages could not be had: {}", told(&packages.stderr)));
        }
    }
    succeed(npm(&example, &["run", "build"]), "the example is built");
    succeed(npm(&example, &["run", "e2e"]), "a person can use it");
}

fn npm(example: &Path, words: &[&str]) -> Output {
    let mut npm = Command::new("npm");
    npm.args(words).current_dir(example);
    npm.env("FLEETLM_BIN", env!("CARGO_BIN_EXE_fleetlm")).env("NEXT_TELEMETRY_DISABLED", "1");
    npm.output().expect("npm starts")
}

fn told(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
