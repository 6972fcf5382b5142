//! The TypeScript client: its own tests, in Node.js and in a real browser, against the binary of this build.
//!
//! Runs in `clients/typescript`, whose `node_modules`, `dist` and `build` are not kept. What is installed there is what the lock
//! says; it is installed anew when the lock has changed.

use crate::packages::{missing, runs};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard};

/// The oldest release of Node.js that the client promises to work with.
const NODE_MAJOR_MIN: u32 = 20;
/// Where a Chromium may be; `CHROMIUM` names another one.
const BROWSERS: [&str; 3] = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/// Held while the client's folder is installed and built, and while what was built there is in use.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn the_typescript_client_passes_its_tests_against_this_server() {
    if node_major().is_none_or(|major| major < NODE_MAJOR_MIN) || !runs("npm", &["--version"]) {
        return missing("Node.js 20 and npm are not installed: the TypeScript client was not run");
    }
    let _turn = turn();
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/typescript");
    if let Err(why) = installed(&package) {
        return missing(&format!("the packages of the TypeScript client could not be installed: {why}"));
    }
    if !has_browser() {
        missing("Chromium is not installed: the TypeScript client was not run in a browser");
    }
    succeed(npm(&package, &["run", "build"]), "the client is built");
    succeed(npm(&package, &["run", "check"]), "it is typed and formatted");
    succeed(npm(&package, &["test"]), "its tests pass");
}

/// Waits until nobody else builds the client.
pub fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

pub fn node_major() -> Option<u32> {
    let version = Command::new("node").arg("--version").output().ok()?;
    let version = String::from_utf8(version.stdout).ok()?;
    version.trim_start_matches('v').split('.').next()?.parse().ok()
}

pub fn has_browser() -> bool {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    named.into_iter().chain(BROWSERS.map(PathBuf::from)).any(|path| path.exists())
}

/// Puts into `node_modules` what the lock says, unless it is there.
fn installed(package: &Path) -> Result<(), String> {
    let read = |name: &str| std::fs::read_to_string(package.join(name)).map_err(|error| format!("{name}: {error}"));
    let lock = read("package-lock.json")?;
    let stamp = "node_modules/.installed-lock";
    if read(stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    let output = npm(package, &["ci", "--no-audit", "--no-fund"]);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    std::fs::write(package.join(stamp), lock).map_err(|error| error.to_string())
}

fn npm(package: &Path, words: &[&str]) -> Output {
    let mut npm = Command::new("npm");
    npm.args(words).current_dir(package).env("FLEETLM_BIN", env!("CARGO_BIN_EXE_fleetlm"));
    npm.output().expect("npm starts")
}

#[track_caller]
pub fn succeed(output: Output, claim: &str) {
    let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{claim}: {}\n{}\n{}", output.status, told(&output.stdout), told(&output.stderr));
}
