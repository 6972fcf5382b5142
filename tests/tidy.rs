//! The house rules as a test: who may use whom, how files open, how long things get, which calls and names are not used,
//! and docs in step with tables.
//!
//! Every rule is a function from a file's text to complaints, and each has a test with a planted violation that proves it
//! can fail. Exceptions stand in one table with their reason. It reads text and not syntax: cheap, and good enough because
//! the source is formatted.

#[path = "tidy/messages.rs"]
mod messages;

use std::path::{Path, PathBuf};

/// A file of the repository.
struct Source {
    /// From the root, with `/`.
    path: String,
    text: String,
}

/// One broken rule.
#[derive(Debug, PartialEq, Eq)]
struct Complaint {
    path: String,
    line: usize,
    what: String,
}

/// Where a rule does not hold, and why that is right: (rule, path, reason).
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("unsafe", "storage/src/mmap.rs", "maps files; each block says why it is sound"),
    ("unsafe", "src/server/slice.rs", "asks for short time slices; no safe wrapper exists (decisions 5, 10)"),
    ("unsafe", "storage/tests/power_cut.rs", "the ioctl that shuts a file system down has no safe wrapper"),
    (
        "sleep",
        "loadtest/tests/stand_in/mod.rs",
        "a planted stall of the server, which the open loop must show; nothing waits for it",
    ),
    ("clock", "storage/src/lib.rs", "the default seed of the segments' salts, which a simulation sets itself"),
    ("sharing", "storage/src/active.rs", "a sync and the blocks ahead are work of other threads, on the same file"),
    (
        "sharing",
        "storage/src/file.rs",
        "a sealed map and its file go to a helper thread with the blocking work on them",
    ),
    ("sharing", "storage/src/mmap.rs", "read-only maps of sealed segments belong to nobody and to everybody"),
    ("sharing", "storage/src/memory.rs", "the simulated disk is one disk under every shard, as the real one is"),
];

const LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

// ---- who may use whom -------------------------------------------------------------------------------------------------

/// Folder or file under `src/` and the crate modules it may name. From the table of the architecture: use goes down only.
const MAY_USE: &[(&str, &[&str])] = &[
    ("protocol", &["protocol"]),
    ("session", &["session", "limits"]),
    ("agent", &["agent", "session", "limits"]),
    ("shard", &["shard", "session", "agent", "limits"]),
    ("console", &["console", "protocol"]),
    ("api", &["api", "console", "protocol", "session", "shard", "limits"]),
    // Clients of a server that may be another version: they know the wire and nothing of the inside.
    ("cli", &["cli", "config"]),
    ("limits.rs", &[]),
    ("config.rs", &["limits", "config"]),
];

fn uses(source: &Source) -> Vec<Complaint> {
    let Some(inside) = source.path.strip_prefix("src/") else { return Vec::new() };
    let folder = inside.split('/').next().unwrap_or(inside);
    let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == folder) else { return Vec::new() };
    each_line(source, |line| {
        let named = modules_named(line);
        named
            .into_iter()
            .find(|module| !allowed.contains(&module.as_str()))
            .map(|module| format!("{folder} uses {module}"))
    })
}

/// The top modules that a line names as `crate::x`, also in `use crate::{x, y::z}`.
fn modules_named(line: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for rest in line.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => modules.extend(top_level(group).map(word)),
            None => modules.push(word(rest)),
        }
    }
    modules.retain(|module| module.chars().next().is_some_and(char::is_lowercase));
    modules
}

/// The items of a brace group that stand directly in it.
fn top_level(group: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    group.split(move |c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    })
}

fn word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Words that only some folders may say in production code.
fn confined(source: &Source) -> Vec<Complaint> {
    let path = source.path.as_str();
    let server = ["src/server/", "src/main.rs"].iter().any(|allowed| path.starts_with(allowed));
    let tool = is_test(path) || ["loadtest/", "bench/", "examples/"].iter().any(|allowed| path.starts_with(allowed));
    let owned = ["src/session/", "src/agent/", "src/shard/", "storage/src/"].iter().any(|mine| path.starts_with(mine));
    let production = planted(path, production(source));
    each_line(&production, |line| {
        let names = |words: &[&'static str]| words.iter().copied().find(move |word| contains_word(line, word));
        if let Some(word) = names(&["glommio"])
            && !server
            && !tool
        {
            return Some(format!("{word} outside the server"));
        }
        if let Some(word) = names(&["Arc", "Mutex", "RwLock", "AtomicU64", "AtomicUsize", "AtomicBool", "AtomicU32"])
            && owned
            && !excepted("sharing", path)
        {
            return Some(format!("{word} where a shard is the only owner"));
        }
        if let Some(word) = names(&["SystemTime", "Instant", "rand", "getrandom", "RandomState"])
            && !server
            && !tool
            && !path.starts_with("src/cli/")
            && !excepted("clock", path)
        {
            return Some(format!("{word}: time and randomness are arguments"));
        }
        if let Some(word) = names(&["unsafe"])
            && !line.trim_start().starts_with("#![")
            && !excepted("unsafe", path)
        {
            return Some(format!("{word} outside the listed files"));
        }
        None
    })
}

fn excepted(rule: &str, path: &str) -> bool {
    EXCEPTIONS.iter().any(|(name, file, _)| *name == rule && *file == path)
}

// ---- how files look ---------------------------------------------------------------------------------------------------

fn header(source: &Source) -> Vec<Complaint> {
    let good = source.text.starts_with("//! ");
    if good { Vec::new() } else { vec![complaint(source, 1, "does not open with //! and what it owns")] }
}

fn size(source: &Source) -> Vec<Complaint> {
    let lines = production(source).lines().count();
    let long = lines >= LINES_MAX && !is_test(&source.path);
    if long { vec![complaint(source, lines, &format!("has {lines} production lines"))] } else { Vec::new() }
}

/// Functions by indentation: `fn` to the `}` in its own column, which rustfmt guarantees.
fn function_length(source: &Source) -> Vec<Complaint> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut complaints = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        if !contains_word(code(line), "fn") || !opens_function(line.trim_start()) {
            continue;
        }
        let close = format!("{}}}", " ".repeat(indent));
        let end = lines[start..].iter().position(|line| *line == close || *line == format!("{close},"));
        // A signature without a body, or one that closes on its own line, has no such line near.
        let Some(end) = end.filter(|_| !line.trim_end().ends_with(';') && !line.trim_end().ends_with('}')) else {
            continue;
        };
        if end + 1 > FUNCTION_LINES_MAX {
            complaints.push(complaint(source, start + 1, &format!("has a function of {} lines", end + 1)));
        }
    }
    complaints
}

fn opens_function(line: &str) -> bool {
    let mut words = line.split_whitespace().take_while(|word| *word != "fn");
    words.all(|word| word.starts_with("pub") || ["const", "async", "unsafe", "extern", "in"].contains(&word))
}

/// A word that says nothing, in the name of a file, type, function or module.
fn names(source: &Source) -> Vec<Complaint> {
    const EMPTY: [&str; 4] = ["manager", "handler", "helper", "util"];
    let empty = |name: &str| words_of(name).into_iter().find(|word| EMPTY.contains(&word.trim_end_matches('s')));
    let mut complaints = Vec::new();
    if let Some(word) = empty(&source.path) {
        complaints.push(complaint(source, 1, &format!("has {word} in its name")));
    }
    complaints.extend(each_line(source, |line| {
        let declared = ["fn ", "struct ", "enum ", "trait ", "mod ", "type "]
            .into_iter()
            .filter_map(|keyword| line.split_once(keyword).map(|(_, rest)| word(rest)));
        declared.into_iter().find_map(|name| empty(&name).map(|word| format!("{name} has {word} in its name")))
    }));
    complaints
}

/// The words of a path or of a name in snake or camel case, in lower case.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if !c.is_alphanumeric() || c.is_uppercase() {
            words.push(String::new());
        }
        words.last_mut().expect("there is a first word").extend(c.is_alphanumeric().then(|| c.to_ascii_lowercase()));
    }
    words
}

// ---- calls that are not made ------------------------------------------------------------------------------------------

/// In production code: a panic says why (`expect`), nothing is left to do, nothing is printed past the log.
fn production_calls(source: &Source) -> Vec<Complaint> {
    if is_test(&source.path) {
        return Vec::new();
    }
    const BANNED: [&str; 5] = [".unwrap()", "todo!(", "unimplemented!(", "dbg!(", "std::mem::forget("];
    let text = Source { path: source.path.clone(), text: production(source).to_owned() };
    each_line(&text, |line| BANNED.into_iter().find(|call| line.contains(call)).map(str::to_owned))
}

/// In tests: nothing waits for a clock, listens on a number of its own, or is left out.
fn test_calls(source: &Source) -> Vec<Complaint> {
    let tests = if is_test(&source.path) { source.text.as_str() } else { &source.text[production(source).len()..] };
    let skipped = source.text[..source.text.len() - tests.len()].lines().count();
    let tests = Source { path: source.path.clone(), text: tests.to_owned() };
    let mut complaints = each_line(&tests, |line| {
        // Cut in two, for this file is read as well.
        let banned = [("sleep", concat!("sle", "ep(")), ("ignore", concat!("#[ign", "ore"))];
        let found = banned.into_iter().find(|(rule, call)| line.contains(call) && !excepted(rule, &tests.path));
        found.map(|(_, call)| call.to_owned()).or_else(|| fixed_port(line))
    });
    complaints.iter_mut().for_each(|complaint| complaint.line += skipped);
    complaints
}

/// A listener on a number: `127.0.0.1:` and digits that are not 0, beside a word that opens one.
fn fixed_port(line: &str) -> Option<String> {
    let opens = ["bind(", "--listen", "listen("].iter().any(|word| line.contains(word));
    let (_, rest) = line.split_once("127.0.0.1:")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (opens && !digits.is_empty() && digits != "0").then(|| format!("listens on the fixed port {digits}"))
}

fn is_test(path: &str) -> bool {
    path.contains("tests/") || path.ends_with("tests.rs")
}

// ---- docs in step -----------------------------------------------------------------------------------------------------

/// Every constant of `limits` is explained to operators.
fn limits_explained(limits: &Source, operations: &str) -> Vec<Complaint> {
    each_line(limits, |line| {
        let name = word(line.strip_prefix("pub const ")?);
        (!operations.contains(&name)).then(|| format!("{name} is not in docs/operations.md"))
    })
}

/// Every relative link of a page leads to a file.
fn links(page: &Source, exists: impl Fn(&str) -> bool) -> Vec<Complaint> {
    let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut complaints = Vec::new();
    for (number, line) in page.text.lines().enumerate() {
        for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            let outside = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            if !outside && !exists(&joined(folder, target)) {
                complaints.push(complaint(page, number + 1, &format!("links to {target}, which is not there")));
            }
        }
    }
    complaints
}

/// `docs` and `../src/x.rs` make `src/x.rs`.
fn joined(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

// ---- reading ----------------------------------------------------------------------------------------------------------

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files with this ending that are ours, sorted.
fn sources(ending: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    let mut open: Vec<PathBuf> =
        ["src", "storage", "loadtest", "bench", "tests", "examples", "docs"].map(|folder| root().join(folder)).into();
    while let Some(folder) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("a folder of the repository can be listed").path()) {
            let built = path.file_name().is_some_and(|name| name == "target" || name == "node_modules");
            if path.is_dir() && !built {
                open.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths.into_iter().map(|path| read(&path)).collect()
}

fn read(path: &Path) -> Source {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let path = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
    Source { path, text }
}

/// The file up to its tests.
fn production(source: &Source) -> &str {
    if is_test(&source.path) {
        return &source.text;
    }
    let end = source.text.find("#[cfg(test)]\nmod tests").unwrap_or(source.text.len());
    &source.text[..end]
}

/// Complaints about lines of code, comments left out.
fn each_line(source: &Source, rule: impl Fn(&str) -> Option<String>) -> Vec<Complaint> {
    let lines = source.text.lines().enumerate();
    lines.filter_map(|(number, line)| rule(code(line)).map(|what| complaint(source, number + 1, &what))).collect()
}

/// A line without its comment. A `//` within a string cuts too much, which no rule minds.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

fn contains_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

fn complaint(source: &Source, line: usize, what: &str) -> Complaint {
    Complaint { path: source.path.clone(), line, what: what.to_owned() }
}

// ---- the tests --------------------------------------------------------------------------------------------------------

#[track_caller]
fn assert_none(complaints: Vec<Complaint>) {
    let lines: Vec<String> = complaints
        .iter()
        .map(|complaint| format!("{}:{}: {}", complaint.path, complaint.line, complaint.what))
        .collect();
    assert!(lines.is_empty(), "{} complaints:\n{}", lines.len(), lines.join("\n"));
}

/// All complaints of a rule over the repository; this file quotes what it forbids and is left out.
fn over_all(rule: fn(&Source) -> Vec<Complaint>) -> Vec<Complaint> {
    let all = sources(".rs");
    assert!(all.len() > 20, "the repository is read: {} files", all.len());
    all.iter().filter(|source| source.path != "tests/tidy.rs").flat_map(rule).collect()
}

fn planted(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

#[test]
fn use_goes_down_the_table_only() {
    assert_none(over_all(uses));
}

#[test]
fn a_use_up_the_table_is_noticed() {
    for (path, text) in [
        ("src/protocol/http.rs", "use crate::api::Route;"),
        ("src/protocol/http.rs", "use crate::{protocol::ws, shard::{Command, Reply}};"),
        ("src/session/mod.rs", "fn f() { crate::shard::x() }"),
        ("src/shard/mod.rs", "use crate::server;"),
        ("src/api/routes.rs", "use crate::server::driver;"),
        ("src/limits.rs", "use crate::config;"),
    ] {
        assert_eq!(uses(&planted(path, text)).len(), 1, "{path}: {text}");
    }
    assert_eq!(uses(&planted("src/shard/mod.rs", "use crate::{limits, session::{Json, api}};")), []);
}

#[test]
fn runtime_sharing_clocks_and_unsafe_stay_where_they_belong() {
    assert_none(over_all(confined));
}

#[test]
fn a_word_out_of_its_place_is_noticed() {
    for (path, text) in [
        ("src/shard/mod.rs", "use glommio::Local;"),
        ("src/shard/mod.rs", "use std::sync::Arc;"),
        ("storage/src/log.rs", "x: Mutex<u8>,"),
        ("src/session/mod.rs", "let now = SystemTime::now();"),
        ("src/api/routes.rs", "let now = Instant::now();"),
        ("src/protocol/ws/mask.rs", "unsafe { *x }"),
        ("src/server/driver.rs", "unsafe { *x }"),
    ] {
        assert_eq!(confined(&planted(path, text)).len(), 1, "{path}: {text}");
    }
    for (path, text) in [
        ("src/server/driver.rs", "use glommio::Local; let now = Instant::now();"),
        ("src/shard/mod.rs", "let operand = 1; // an Arc would be shared"),
        ("storage/src/mmap.rs", "unsafe { *x }"),
        ("src/lib.rs", "#![forbid(unsafe_code)]"),
    ] {
        assert_eq!(confined(&planted(path, text)), [], "{path}: {text}");
    }
}

#[test]
fn every_file_opens_with_what_it_owns() {
    assert_none(over_all(header));
    assert_eq!(header(&planted("src/x.rs", "use std::fmt;")).len(), 1);
}

#[test]
fn no_file_has_500_production_lines() {
    assert_none(over_all(size));
    let tests = "\n#[cfg(test)]\nmod tests {\n".to_owned() + &"x\n".repeat(600);
    assert_eq!(size(&planted("src/x.rs", &("x\n".repeat(400) + &tests))), []);
    assert_eq!(size(&planted("src/x.rs", &("x\n".repeat(600) + &tests))).len(), 1);
}

#[test]
fn no_function_has_more_than_70_lines() {
    assert_none(over_all(function_length));
    let function = |lines: usize| format!("impl X {{\n    pub fn f() {{\n{}    }}\n}}\n", "        x;\n".repeat(lines));
    assert_eq!(function_length(&planted("src/x.rs", &function(68))), []);
    assert_eq!(function_length(&planted("src/x.rs", &function(69))).len(), 1);
    let declared = format!("trait T {{\n    fn f();\n{}}}\n", "    const X: u8;\n".repeat(90));
    assert_eq!(function_length(&planted("src/x.rs", &declared)), []);
}

#[test]
fn names_say_something() {
    assert_none(over_all(names));
    for (path, text) in [
        ("src/server/session_manager.rs", ""),
        ("src/x.rs", "struct EventHandler;"),
        ("src/x.rs", "    pub fn parse_helper() {}"),
        ("src/x.rs", "mod utils;"),
    ] {
        assert_eq!(names(&planted(path, text)).len(), 1, "{path}: {text}");
    }
    assert_eq!(names(&planted("src/x.rs", "fn utilisation() {}")), []);
}

#[test]
fn production_code_says_why_it_panics_and_leaves_nothing_to_do() {
    assert_none(over_all(production_calls));
    let text = "let x = y.unwrap();\n#[cfg(test)]\nmod tests {\n    z.unwrap();\n}\n";
    assert_eq!(production_calls(&planted("src/x.rs", text)).len(), 1);
    assert_eq!(production_calls(&planted("tests/x.rs", text)), []);
    assert_eq!(production_calls(&planted("src/x.rs", "todo!()")).len(), 1);
}

#[test]
fn tests_wait_for_no_clock_and_own_no_port_and_none_is_left_out() {
    assert_none(over_all(test_calls));
    for line in [
        concat!("thread::sle", "ep(Duration::from_secs(1));"),
        concat!("#[ign", "ore]"),
        "TcpListener::bind(\"127.0.0.1:4000\")",
        "command.args([\"--listen\", \"127.0.0.1:4000\"]);",
    ] {
        assert_eq!(test_calls(&planted("tests/x.rs", line)).len(), 1, "{line}");
        let within = format!("//! X.\n#[cfg(test)]\nmod tests {{\n    {line}\n}}\n");
        assert_eq!(test_calls(&planted("src/x.rs", &within))[0].line, 4, "{line}");
        assert_eq!(test_calls(&planted("src/x.rs", line)), [], "{line} is no test");
    }
    assert_eq!(test_calls(&planted("tests/x.rs", "TcpListener::bind(\"127.0.0.1:0\")")), []);
}

#[test]
fn every_limit_is_explained_to_operators() {
    let operations = read(&root().join("docs/operations.md"));
    assert_none(limits_explained(&read(&root().join("src/limits.rs")), &operations.text));
    let limits = planted("src/limits.rs", "pub const A_MAX: u8 = 1;\npub const B_MAX: u8 = 1;");
    assert_eq!(limits_explained(&limits, "A_MAX is one").len(), 1);
}

#[test]
fn links_of_the_readme_and_the_docs_lead_somewhere() {
    let exists = |path: &str| root().join(path).exists();
    let mut pages = sources(".md");
    pages.push(read(&root().join("README.md")));
    assert_none(pages.iter().flat_map(|page| links(page, exists)).collect());
    let page = planted("docs/a.md", "[x](../src/x.rs#L1) [y](b.md) [z](https://example.test) [w](#here)");
    let found: Vec<String> = links(&page, |path| path == "src/x.rs").into_iter().map(|broken| broken.what).collect();
    assert_eq!(found, ["links to b.md, which is not there"]);
}

#[test]
fn every_exception_still_has_its_file_and_its_reason() {
    for (rule, path, reason) in EXCEPTIONS {
        assert!(reason.len() > 20, "{rule} {path}: {reason}");
        let known = root().join(path).exists() || !root().join("storage/src/log.rs").exists();
        assert!(known, "{path} is gone: take its exception out");
    }
}
