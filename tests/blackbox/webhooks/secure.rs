//! Whom the server trusts and whom it refuses to call: certificates, private addresses.

use super::{Room, names, register, spoken, text_of};
use crate::harness::{Agent, Authority, Folder, Options, Server, json};
use std::io::{Read, Write};
use std::net::TcpListener;

#[test]
fn an_agent_with_a_certificate_that_nobody_trusts_is_told_nothing() {
    let server = Server::shared();
    let agent = Agent::with_tls(Authority::new().server("127.0.0.1"));
    let mut room = Room::with(&server, &agent, json!({"headers": {"authorization": "Bearer sk"}}));
    room.say(&server, "Hello?");
    let seen = room.until_the_end();
    assert_eq!(names(&seen), ["run", "run"], "it is not tried again");
    assert_eq!((&seen[1].1["status"], &seen[1].1["reason"]), (&json!("failed"), &json!("tls")));
    assert_eq!(agent.calls_waiting(), 0, "no request was sent");
}

#[test]
fn an_agent_whose_authority_the_operator_names_is_called_over_tls() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let file = authority.file(&folder);
    let server = Server::with(&Options::default().flags(&["--webhook-ca", file.to_str().expect("a path in UTF-8")]));
    let agent = Agent::with_tls(authority.server("127.0.0.1"));
    let mut room = Room::with(&server, &agent, json!({"secret": "s3cret"}));
    for n in 0..3 {
        room.say(&server, "Hello?");
        let call = agent.call();
        assert!(call.header("x-fleetlm-signature").is_some());
        call.answer(&spoken(&format!("Hello {n}!")));
        assert_eq!(text_of(&room.answer()), format!("Hello {n}!"));
    }
    let impostor = Agent::with_tls(authority.server("somebody-else.test"));
    let mut room = Room::with(&server, &impostor, json!({}));
    room.say(&server, "Hello?");
    room.run("started");
    assert_eq!(room.run("failed")["reason"], "tls", "the certificate must be for this host");
}

#[test]
fn an_agent_that_speaks_no_tls_where_it_should_fails_by_name() {
    let server = Server::shared();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("https://{}", listener.local_addr().expect("an address"));
    let agent = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("a connection");
        let _ = peer.read(&mut [0; 4096]);
        peer.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").expect("the server reads");
        let _ = peer.read(&mut [0; 4096]);
    });
    let mut room = Room::open(&server, &register(&server, &url, json!({})));
    room.say(&server, "Hello?");
    room.run("started");
    assert_eq!(room.run("failed")["reason"], "tls");
    agent.join().expect("it was called");
}

#[test]
fn private_addresses_are_not_called_where_the_operator_says_so() {
    let server = Server::with(&Options::default().flags(&["--deny-private-webhooks"]));
    let agent = Agent::start();
    let port = agent.url().rsplit(':').next().expect("a port").to_owned();
    for host in ["127.0.0.1", "localhost", "127.1", "2130706433", "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254"] {
        let id = register(&server, &format!("http://{host}:{port}"), json!({}));
        let mut room = Room::open(&server, &id);
        room.say(&server, "Hello?");
        let seen = room.until_the_end();
        assert_eq!(names(&seen), ["run", "run"], "{host}");
        assert_eq!(seen[1].1["reason"], "address_denied", "{host}");
    }
    assert_eq!(agent.calls_waiting(), 0);
}

#[test]
fn the_compaction_webhook_is_bound_by_the_same_rule() {
    let server = Server::with(&Options::default().flags(&["--deny-private-webhooks"]));
    let agent = Agent::start();
    let fields = json!({
        "compaction_enabled": true, "compaction_webhook_url": agent.url(), "compaction_token_budget": 1,
        "compaction_trigger_ratio": 0.5,
    });
    let id = register(&server, "builtin:echo", fields);
    let mut room = Room::open(&server, &id);
    for text in ["one", "two"] {
        room.say(&server, text);
        assert_eq!(text_of(&room.answer()), text);
    }
    assert_eq!(agent.calls_waiting(), 0);
    let deliveries = server.get(&format!("/api/agents/{id}/deliveries")).expect(200);
    let errors: Vec<_> = deliveries["deliveries"].as_array().expect("a list").iter().map(|one| &one["error"]).collect();
    assert!(errors.contains(&&json!("address_denied")), "{deliveries}");
}
