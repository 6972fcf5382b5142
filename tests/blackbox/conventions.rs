//! What holds for every route: the behaviour contract's 1.1, 1.6 and 1.7.

use crate::harness::http::request;
use crate::harness::{Options, Server, json, unique};

#[test]
fn answers_are_json_in_utf8_and_carry_a_request_id() {
    let server = Server::shared();
    for path in ["/api/agents", "/api/sessions", "/api/sessions/01K6GR2EV9Z7PSMEVVJ5M954CH"] {
        let answer = server.get(path);
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
        let id = answer.header("x-request-id").expect("an id");
        assert!((20..=200).contains(&id.len()), "{id}");
    }
}

#[test]
fn a_request_id_of_20_to_200_characters_is_echoed_and_any_other_replaced() {
    let server = Server::shared();
    let answered = |id: &str| {
        let answer = server.call("GET", "/api/agents", &[("x-request-id", id)], None);
        answer.header("x-request-id").expect("an id").to_owned()
    };
    for length in [20, 200] {
        let id = "r".repeat(length);
        assert_eq!(answered(&id), id);
    }
    for id in ["short", &"r".repeat(19), &"r".repeat(201)] {
        assert_ne!(answered(id), id);
    }
    assert_ne!(answered("short"), answered("short"), "generated ids differ");
}

#[test]
fn an_unknown_route_is_404_in_the_frameworks_shape() {
    let server = Server::shared();
    let not_found = json!({"errors": {"detail": "Not Found"}});
    for path in ["/console", "/api", "/api/nothing", "/api/sessions/x/y", "/socket", "/api/agents/a/b"] {
        assert_eq!(server.get(path).expect(404), not_found, "{path}");
    }
    assert_eq!(server.delete("/api/sessions").expect(404), not_found);
    assert_eq!(server.call("BREW", "/api/sessions", &[], None).expect(404), not_found);
}

#[test]
fn only_an_accept_header_that_excludes_json_is_406() {
    let server = Server::shared();
    let status = |accept: &str| server.call("GET", "/api/agents", &[("accept", accept)], None);
    for accept in ["*/*", "application/json", "application/*", "text/html, application/json;q=0.5", "text/html, */*"] {
        assert_eq!(status(accept).status, 200, "{accept}");
    }
    for accept in ["text/html", "application/xml, text/plain"] {
        assert_eq!(status(accept).expect(406), json!({"errors": {"detail": "Not Acceptable"}}), "{accept}");
    }
}

#[test]
fn malformed_json_is_400_and_an_oversized_body_413_in_the_frameworks_shape() {
    let server = Server::shared();
    for body in ["{", "{\"a\":}", "nonsense", "{} trailing", "\u{0}", "[1,]", "{\"a\":\"\u{1}\"}"] {
        let mut connection = server.connect();
        connection.send(format!(
            "POST /api/sessions HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        ));
        let detail = json!({"errors": {"detail": "Bad Request"}});
        assert_eq!(connection.answer().expect(400), detail, "{body:?}");
    }
    let mut connection = server.connect();
    connection.send("POST /api/sessions HTTP/1.1\r\nhost: test\r\ncontent-length: 8000001\r\n\r\n");
    let detail = json!({"errors": {"detail": "Request Entity Too Large"}});
    assert_eq!(connection.answer().expect(413), detail);
}

#[test]
fn deeply_nested_json_is_refused_and_harms_nobody() {
    let server = Server::shared();
    let depth = 100_000;
    let body =
        format!("{{\"user_id\":\"u\",\"agent_id\":\"a\",\"metadata\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let mut connection = server.connect();
    connection.send(format!(
        "POST /api/sessions HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    ));
    let status = connection.answer().status;
    assert!(status == 400 || status == 422, "{status}");
    assert_eq!(server.get("/health/live").status, 200);
}

#[test]
fn every_answer_opens_itself_to_every_origin_from_near_or_to_all_where_told_so() {
    let any = Server::with(&Options::default().flags(&["--allow-origin", "*"]));
    for (server, origin) in [(&*Server::shared(), "http://localhost:3000"), (&any, "https://app.test")] {
        for (method, path, status) in [("GET", "/api/agents", 200), ("GET", "/api/nothing", 404)] {
            let answer = server.call(method, path, &[("origin", origin)], None);
            assert_eq!(answer.status, status);
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        }
    }
}

#[test]
fn options_is_204_on_any_path_with_the_preflight_headers() {
    let server = Server::shared();
    for path in ["/api/sessions", "/anything/at/all"] {
        let asked = [("origin", "http://localhost:3000"), ("access-control-request-headers", "x-one, x-two")];
        let answer = server.call("OPTIONS", path, &asked, None);
        assert_eq!((answer.status, answer.body.len()), (204, 0));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let methods = Some("GET,POST,PUT,PATCH,DELETE,OPTIONS");
        assert_eq!(answer.header("access-control-allow-methods"), methods);
        assert_eq!(answer.header("access-control-allow-headers"), Some("x-one, x-two"));
        assert_eq!(answer.header("access-control-max-age"), Some("600"));
    }
    let answer = server.call("OPTIONS", "/api/sessions", &[], None);
    assert_eq!(answer.header("access-control-allow-headers"), Some("*"));
}

#[test]
fn head_is_get_without_the_body() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let path = format!("/api/sessions/{session}");
    let get = server.get(&path);
    let mut connection = server.connect();
    connection.send(request("HEAD", &path, &[], None));
    connection.send(request("GET", &path, &[], None));
    let head = connection.answer_to_head();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), get.header("content-length"));
    assert_eq!(head.header("content-type"), get.header("content-type"));
    // A body behind the HEAD would be taken for the next answer's head.
    assert_eq!(connection.answer().body, get.body);
    assert_eq!(server.call("HEAD", "/api/nothing", &[], None).status, 404);
}

#[test]
fn a_post_may_name_another_method_in_its_body() {
    let server = Server::shared();
    let id = unique("agent");
    let agent = json!({"agent": {"id": id, "name": "A", "origin_url": "http://a.test"}});
    server.post("/api/agents", &agent).expect(201);
    let path = format!("/api/agents/{id}");
    let body = server.post(&path, &json!({"_method": "PUT", "agent": {"name": "B"}})).expect(200);
    assert_eq!(body["agent"]["name"], "B");
    let body = server.post(&path, &json!({"_method": "DELETE"})).expect(200);
    assert_eq!(body["agent"]["status"], "disabled");
    server.post(&path, &json!({"_method": "GET"})).expect(404);
}

#[test]
fn health_says_live_and_ready() {
    let server = Server::shared();
    assert_eq!(server.get("/health/live").status, 200);
    assert_eq!(server.get("/health/ready").status, 200);
}

#[test]
fn metrics_are_prometheus_text_and_count_appends() {
    let server = Server::start();
    let session = server.session("alice", "bot");
    let sum = || {
        let answer = server.get("/metrics");
        assert_eq!(answer.status, 200);
        let content_type = answer.header("content-type").expect("a content type");
        assert!(content_type.starts_with("text/plain") || content_type.starts_with("application/openmetrics-text"));
        let lines = answer.text().lines().filter(|line| !line.starts_with('#')).map(str::to_owned);
        let appends = lines.filter(|line| line.contains("append") && line.contains("_total"));
        let value = |line: String| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        appends.filter_map(value).sum::<f64>()
    };
    let before = sum();
    for _ in 0..3 {
        server.say(&session, "alice", "counted");
    }
    assert!(sum() >= before + 3.0, "{before} then {}", sum());
}
