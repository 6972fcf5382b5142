//! The console: the page that the server serves at `/`, whose files are part of the binary.
//!
//! Invariants: what is served stands in one table and nothing else is; no answer depends on anything but the path and the tag that
//! the client has, so the page is public and holds nothing; every answer forbids the page whatever it does not need
//! (`POLICY`). What the page shows it asks the same API for that everybody uses, with the reader's own token.
//!
//! Not here: who may do what (`api`), and anything of the page's own work (`page/*.js`, each with its own head).

use crate::protocol::http::{Method, Request, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::sync::LazyLock;

/// Scripts, styles and pictures from here, requests to here, and nothing else: no inline code, no frames, no other hosts.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
struct File {
    /// Its name below `/console/`; of the page itself, none.
    name: &'static str,
    content: &'static str,
    /// The same compressed, once, for who takes it so: a third of the bytes.
    gzip: Vec<u8>,
    /// The hash of the content. Each form has a tag of its own (RFC 9110 section 8.8.3).
    hash: u64,
}

impl File {
    fn new(name: &'static str, content: &'static str) -> Self {
        let mut encoder = GzEncoder::new(Vec::with_capacity(content.len() / 2), Compression::best());
        encoder.write_all(content.as_bytes()).expect("a vector takes every byte");
        let gzip = encoder.finish().expect("a vector takes every byte");
        Self { name, content, gzip, hash: xxhash_rust::xxh3::xxh3_64(content.as_bytes()) }
    }

    fn tag(&self, is_gzip: bool) -> String {
        format!("\"{:016x}{}\"", self.hash, if is_gzip { "-gzip" } else { "" })
    }

    fn body(&self, is_gzip: bool) -> Vec<u8> {
        if is_gzip { self.gzip.clone() } else { self.content.as_bytes().to_vec() }
    }
}

macro_rules! files {
    ($($name:literal),* $(,)?) => { [$(($name, include_str!(concat!("page/", $name)))),*] };
}

/// The document that is served at `/`.
const DOCUMENT: &str = "index.html";

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    let files = files![
        "index.html",
        "agent_form.js",
        "agents.js",
        "answer.js",
        "api.js",
        "chart.js",
        "chat.js",
        "composer.js",
        "confirm.js",
        "console.css",
        "directory.js",
        "disk.js",
        "dom.js",
        "history.js",
        "icon.svg",
        "inbox.js",
        "keyboard.js",
        "live.js",
        "main.js",
        "message.js",
        "metrics.js",
        "prometheus.js",
        "session.js",
        "sessions.js",
        "settings.js",
        "sign_in.js",
        "socket.js",
        "storage.js",
        "theme.js",
        "thread.js",
        "words.js",
    ];
    files.into_iter().map(|(name, content)| File::new(name, content)).collect()
});

/// The answer to a request for the page or one of its files, given the decoded segments of its path: 304 for who has it. `None`: the
/// path, or the method, is not of the console.
pub fn respond(request: &Request, path: &[&str]) -> Option<Response> {
    if !matches!(request.method, Method::Get | Method::Head) {
        return None;
    }
    let name = match path {
        [] => DOCUMENT,
        ["console", name] if *name != DOCUMENT => name,
        _ => return None,
    };
    let file = FILES.iter().find(|file| file.name == name)?;
    let is_gzip = takes_gzip(request);
    let tag = file.tag(is_gzip);
    let known = |known: &str| known.strip_prefix("W/").unwrap_or(known) == tag;
    let response = if request.headers.list("if-none-match").any(known) {
        Response::new(304)
    } else {
        let response = Response::new(200).with_body(content_type(name), file.body(is_gzip));
        if is_gzip { response.with_header("content-encoding", "gzip") } else { response }
    };
    Some(guarded(response).with_header("etag", tag))
}

/// Whether the client names gzip and does not weigh it with nothing (RFC 9110 section 12.5.3).
fn takes_gzip(request: &Request) -> bool {
    request.headers.list("accept-encoding").any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse().ok()).unwrap_or(1.0f32);
        name.trim().eq_ignore_ascii_case("gzip") && weight > 0.0
    })
}

/// With what browsers are to keep from the page. `no-cache`: kept, but asked for each time, so an upgrade is seen at once.
fn guarded(response: Response) -> Response {
    response
        .with_header("cache-control", "no-cache")
        .with_header("vary", "accept-encoding")
        .with_header("content-security-policy", POLICY)
        .with_header("x-content-type-options", "nosniff")
        .with_header("referrer-policy", "no-referrer")
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "text/javascript; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    fn asked(method: Method, target: &str) -> Option<Response> {
        let segments: Vec<&str> = target.split('/').filter(|segment| !segment.is_empty()).collect();
        respond(&Request::new(method, target), &segments)
    }

    #[test]
    fn the_files_of_the_folder_are_served_and_no_other() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/console/page");
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(entries.collect::<BTreeSet<_>>(), FILES.iter().map(|file| file.name.to_owned()).collect());
        for file in FILES.iter().filter(|file| file.name != DOCUMENT) {
            let response = asked(Method::Get, &format!("/console/{}", file.name)).unwrap();
            assert_eq!((response.status, &*response.body), (200, file.content.as_bytes()));
        }
        for (method, target) in [
            (Method::Get, "/index.html"),
            (Method::Get, "/console"),
            (Method::Get, "/console/index.html"),
            (Method::Get, "/console/mod.rs"),
            (Method::Get, "/console/page/main.js"),
            (Method::Get, "/console/../main.js"),
            (Method::Post, "/"),
            (Method::Put, "/console/main.js"),
        ] {
            assert!(asked(method, target).is_none(), "{target}");
        }
    }

    #[test]
    fn the_page_is_guarded_and_tagged() {
        for method in [Method::Get, Method::Head] {
            let page = asked(method, "/").unwrap();
            assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
            assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(page.header("cache-control"), Some("no-cache"));
            let policy = page.header("content-security-policy").unwrap();
            assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
        }
        let tag = asked(Method::Get, "/").unwrap().header("etag").unwrap().to_owned();
        for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}")] {
            let answer = respond(&Request::new(Method::Get, "/").with_header("if-none-match", &known), &[]).unwrap();
            assert_eq!((answer.status, answer.body.len()), (304, 0), "{known}");
        }
        let other = Request::new(Method::Get, "/").with_header("if-none-match", "\"other\"");
        assert_eq!(respond(&other, &[]).unwrap().status, 200);
    }

    /// What would let a text become markup or code, or the page depend on another host.
    #[test]
    fn the_scripts_parse_no_markup_and_reach_no_other_host() {
        let forbidden =
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "DOMParser"];
        for file in FILES.iter() {
            // A name that is no address, and a line that is shown for readers to copy.
            let text = file.content.replace("http://www.w3.org/2000/svg", "").replace("\"http://127.0.0.1:8000\"", "");
            let found = forbidden.into_iter().chain(["https://", "http://", "srcdoc"]).find(|word| text.contains(word));
            assert_eq!(found, None, "{}", file.name);
        }
    }

    #[test]
    fn every_module_that_is_imported_is_served_and_every_one_opens_with_what_it_is() {
        for file in FILES.iter().filter(|file| file.name.ends_with(".js")) {
            assert!(file.content.starts_with("// "), "{}", file.name);
            for import in file.content.split(" from \"./").skip(1) {
                let name = import.split('"').next().unwrap();
                assert!(FILES.iter().any(|file| file.name == name), "{} imports {name}", file.name);
            }
        }
    }

    #[test]
    fn who_takes_gzip_is_sent_a_third_of_the_bytes_under_another_tag() {
        use std::io::Read;
        let answer = |coding: &str| {
            respond(&Request::new(Method::Get, "/").with_header("accept-encoding", coding), &[]).unwrap()
        };
        let plain = answer("br, gzip;q=0, identity");
        assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("accept-encoding")));
        for coding in ["gzip", "deflate, GZIP;q=0.5"] {
            let packed = answer(coding);
            assert_eq!(packed.header("content-encoding"), Some("gzip"));
            assert_ne!(packed.header("etag"), plain.header("etag"));
            let mut text = Vec::new();
            flate2::read::GzDecoder::new(&*packed.body).read_to_end(&mut text).unwrap();
            assert_eq!(text, &*plain.body);
        }
    }

    #[test]
    fn the_documentation_says_how_large_it_is() {
        let kilobytes = |bytes: usize| (bytes + 500) / 1000;
        let plain: usize = FILES.iter().map(|file| file.content.len()).sum();
        let sent: usize = FILES.iter().map(|file| file.gzip.len()).sum();
        let sentence =
            format!("{} files, {} KB; {} KB are sent to a browser", FILES.len(), kilobytes(plain), kilobytes(sent));
        assert!(include_str!("../../docs/console.md").contains(&sentence), "{sentence}");
    }

    #[test]
    fn the_page_stays_small() {
        let sent: usize = FILES.iter().map(|file| file.gzip.len()).sum();
        assert!(sent < 64 * 1024, "{sent} bytes");
    }
}
