//! The console's files as they are served: the page at `/`, what browsers are told to keep from it, and nothing beside it.

use crate::harness::guard::Guarded;
use crate::harness::http::{Connection, request};
use crate::harness::{Options, Server, json};

/// Files that the page's text names, and those name.
fn files_of(server: &Server) -> Vec<String> {
    let page = server.get("/").text().to_owned();
    let mut names: Vec<String> = quoted(&page, "console/").collect();
    let mut at = 0;
    while at < names.len() {
        let text = server.get(&format!("/console/{}", names[at])).text().to_owned();
        for name in quoted(&text, "./") {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        at += 1;
    }
    names
}

/// What follows this prefix in quotes.
fn quoted(text: &str, prefix: &str) -> impl Iterator<Item = String> {
    let names: Vec<String> = text
        .split(&format!("\"{prefix}"))
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .map(str::to_owned)
        .collect();
    names.into_iter()
}

#[test]
fn the_page_and_all_it_names_are_served_guarded_and_tagged() {
    let server = Server::shared();
    let files = files_of(&server);
    assert!(files.len() > 20 && files.contains(&"socket.js".to_owned()), "{files:?}");
    for path in files.iter().map(|name| format!("/console/{name}")).chain(["/".to_owned()]) {
        let answer = server.get(&path);
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.header("content-security-policy").expect("a policy");
        for rule in ["default-src 'none'", "script-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"] {
            assert!(policy.split("; ").any(|part| part == rule), "{path}: {policy}");
        }
        let loose = ["inline", "eval", "http", "*"].into_iter().find(|word| policy.contains(word));
        assert_eq!(loose, None, "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        let kind = answer.header("content-type").expect("a type");
        let expected = match path.rsplit_once('.') {
            None => "text/html; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            Some(_) => "text/javascript; charset=utf-8",
        };
        assert_eq!(kind, expected, "{path}");
        let tag = answer.header("etag").expect("a tag").to_owned();
        let again = server.call("GET", &path, &[("if-none-match", &tag)], None);
        assert_eq!((again.status, again.text()), (304, ""), "{path}");
        assert_eq!(again.header("etag"), Some(tag.as_str()));
    }
}

#[test]
fn head_has_the_fields_of_get_and_no_body() {
    let server = Server::shared();
    for path in ["/", "/console/main.js"] {
        let got = server.get(path);
        let mut connection = Connection::open(server.address());
        connection.send(request("HEAD", path, &[], None));
        let head = connection.answer_to_head();
        assert_eq!((head.status, head.text()), (200, ""));
        for name in ["content-length", "content-type", "etag", "content-security-policy"] {
            assert_eq!(head.header(name), got.header(name), "{name}");
        }
    }
}

#[test]
fn who_takes_gzip_is_sent_gzip() {
    let server = Server::shared();
    let plain = server.get("/console/console.css");
    let mut connection = Connection::open(server.address());
    connection.send(request("HEAD", "/console/console.css", &[("accept-encoding", "gzip, deflate, br")], None));
    let packed = connection.answer_to_head();
    assert_eq!((packed.header("content-encoding"), plain.header("content-encoding")), (Some("gzip"), None));
    assert_eq!((packed.header("vary"), plain.header("vary")), (Some("accept-encoding"), Some("accept-encoding")));
    assert_ne!(packed.header("etag"), plain.header("etag"));
}

#[test]
fn nothing_beside_its_files_is_served_and_nothing_by_another_method() {
    let server = Server::shared();
    let not_found = json!({"errors": {"detail": "Not Found"}});
    for path in [
        "/index.html",
        "/console",
        "/console/index.html",
        "/console/mod.rs",
        "/console/main.js/x",
        "/console/..%2Fmod.rs",
        "/console/%2e%2e/main.js",
        "/console/MAIN.JS",
        "/main.js",
        "/favicon.ico",
    ] {
        assert_eq!(server.get(path).expect(404), not_found, "{path}");
    }
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        assert_eq!(server.call(method, "/", &[], None).expect(404), not_found, "{method}");
        assert_eq!(server.call(method, "/console/main.js", &[], None).expect(404), not_found, "{method}");
    }
}

#[test]
fn the_page_is_public_the_same_for_everybody_and_all_that_is_not_asks_for_a_token() {
    let guarded = Guarded::start(&[]);
    let open = Server::shared();
    let session = open.session("somebody-with-a-name", "echo");
    for path in ["/", "/console/main.js", "/console/api.js"] {
        let (theirs, ours) = (guarded.server.get(path), open.get(path));
        assert_eq!((theirs.status, theirs.text()), (200, ours.text()), "{path}");
        assert!(!ours.text().contains(&session) && !ours.text().contains("somebody-with-a-name"));
    }
    for path in ["/console", "/api/sessions", "/metrics"] {
        assert_eq!(guarded.server.get(path).status, 401, "{path}");
    }
}

#[test]
fn the_start_says_where_the_console_is() {
    let server = Server::start();
    server.logged(&format!("console http://{}/", server.address()), 1);
}

/// The console's own page is not on the list, and a page whose own name was made to lead here is not the console's.
#[test]
fn the_console_works_beside_a_list_of_pages_and_a_rebound_name_does_not() {
    let listed = Server::with(&Options::default().flags(&["--allow-origin", "https://app.example"]));
    let vouched_for =
        Server::with(&Options::default().flags(&["--allow-origin", "https://app.example", "--insecure-open"]));
    let port = |server: &Server| server.address().port();
    let sent = |server: &Server, method: &str, path: &str, host: &str, origin: &str, more: &str| {
        let mut connection = server.connect();
        connection
            .send(format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\norigin: {origin}\r\n{more}\r\n").into_bytes());
        connection.answer().status
    };
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let socket = "/socket/websocket?user_id=alice&vsn=2.0.0";
    // Whoever vouches for an open server has names looked at only where pages come from.
    for (server, refused) in [(&listed, 421), (&vouched_for, 403)] {
        for (name, is_own) in [("127.0.0.1", true), ("localhost", true), ("evil.example", false)] {
            let host = format!("{name}:{}", port(server));
            let origin = format!("http://{host}");
            let expected = |status| if is_own { status } else { refused };
            assert_eq!(sent(server, "GET", socket, &host, &origin, upgrade), expected(101), "{host}");
            assert_eq!(sent(server, "GET", "/api/sessions", &host, &origin, ""), expected(200), "{host}");
            assert_eq!(sent(server, "DELETE", "/api/agents/nobody", &host, &origin, ""), expected(404), "{host}");
            let other = sent(server, "GET", socket, &host, "http://localhost:5173", upgrade);
            assert_eq!(other, if is_own { 403 } else { refused }, "{host}");
        }
    }
}
