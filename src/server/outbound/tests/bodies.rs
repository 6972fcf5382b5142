//! What is sent, and how answers arrive.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use super::*;

#[test]
fn a_request_is_whole_and_names_its_host() {
    let (sender, requests) = channel();
    let webhook = Webhook::start(move |peer| {
        sender.send(peer.request().unwrap()).unwrap();
        peer.answer("ok");
    });
    let (ended, got) = run(async { post(&client(), call(&webhook.url("/hook?a=b"))).await });
    assert_eq!((ended, got.status(), got.body.as_str()), (Ok(()), 200, "ok"));
    let request = requests.recv().unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<&str> = head.lines().collect();
    assert_eq!(lines.remove(0), "POST /hook?a=b HTTP/1.1");
    lines.sort_unstable();
    let host = format!("host: {}", webhook.address);
    let agent = concat!("user-agent: fleetlm/", env!("CARGO_PKG_VERSION"));
    assert_eq!(lines, ["content-length: 7", "content-type: application/json", host.as_str(), agent]);
    assert_eq!(body, "{\"a\":1}");
}

#[test]
fn an_empty_and_a_large_request_body_arrive() {
    for length in [0, 3_000_000] {
        let webhook = Webhook::start(|peer| {
            let request = peer.request().unwrap();
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
            peer.answer(&body.len().to_string());
        });
        let call = Call { body: vec![b'x'; length], ..call(&webhook.url("/")) };
        let (ended, got) = run(async { post(&client(), call).await });
        assert_eq!((ended, got.body), (Ok(()), length.to_string()));
    }
}

#[test]
fn pieces_arrive_while_the_body_goes_on() {
    let (seen, was_seen) = channel::<String>();
    let was_seen = Mutex::new(was_seen);
    let webhook = Webhook::start(move |peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        for piece in ["one", "two", "three"] {
            // The next one is not sent before the client has this one.
            peer.chunk(piece);
            assert_eq!(was_seen.lock().unwrap().recv().unwrap(), piece);
        }
        peer.send("0\r\ntrailer: x\r\n\r\n");
        peer.wait_for_end();
    });
    let (ended, got) = run(async {
        let seen = |piece: &str| seen.send(piece.to_owned()).unwrap();
        post_until(&client(), call(&webhook.url("/")), &Stop::new(), seen).await
    });
    assert_eq!((ended, got.body.as_str()), (Ok(()), "onetwothree"));
}

#[test]
fn a_body_may_end_with_its_connection() {
    let (ended, got) = call_once(|peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\n\r\nall of");
        peer.send(" it");
    });
    assert_eq!((ended, got.body.as_str()), (Ok(()), "all of it"));
}

#[test]
fn a_redirect_is_a_status_and_nothing_else() {
    let (ended, got) = call_once(|peer| {
        peer.request();
        peer.send("HTTP/1.1 302 Found\r\nlocation: http://localhost/\r\ncontent-length: 0\r\n\r\n");
        peer.wait_for_end();
    });
    assert_eq!((ended, got.status()), (Ok(()), 302));
}

#[test]
fn interim_responses_are_skipped() {
    let (ended, got) = call_once(|peer| {
        peer.request();
        peer.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n");
        peer.answer("ok");
        peer.wait_for_end();
    });
    assert_eq!((ended, got.status(), got.body.as_str()), (Ok(()), 200, "ok"));
}

#[test]
fn a_webhook_says_when_to_come_back() {
    let (ended, got) = call_once(|peer| {
        peer.request();
        peer.send("HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n");
    });
    assert_eq!(ended, Ok(()));
    assert_eq!(got.heads, [Head { status: 503, retry_after_ms: Some(7_000) }]);
}

#[test]
fn a_body_that_is_not_wanted_is_not_read() {
    let (ended_sender, was_ended) = channel();
    let webhook = Webhook::start(move |peer| {
        peer.request();
        peer.send("HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n");
        peer.wait_for_end();
        ended_sender.send(()).unwrap();
    });
    run(async {
        let outbound = client();
        let mut pieces = 0;
        let ended = outbound.post(call(&webhook.url("/")), &Stop::new(), |_| false, |_| pieces += 1).await;
        assert_eq!((ended, pieces, outbound.open_connections()), (Ok(()), 0, 0));
        was_ended.recv_timeout(HANG).unwrap();
    });
}

#[test]
fn what_is_cut_off_is_the_networks_fault() {
    for cut in [
        "",
        "HTTP/1.1 200 O",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let (ended, _) = call_once(|peer| {
            peer.request();
            peer.send(cut);
        });
        assert_reason(&ended, "network");
    }
}

#[test]
fn what_is_not_http_is_not_a_response() {
    let header = format!("x: {}\r\n", "y".repeat(1000));
    let huge: &str = Box::leak(format!("HTTP/1.1 200 OK\r\n{}\r\n", header.repeat(70)).into_boxed_str());
    for text in [
        "hello\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnothex\r\n",
        huge,
    ] {
        let (ended, got) = call_once(|peer| {
            peer.request();
            peer.send(text);
            peer.wait_for_end();
        });
        assert_reason(&ended, "bad_response");
        assert_eq!(got.body, "");
    }
}

#[test]
fn a_body_over_its_bound_is_refused_whether_it_is_announced_or_not() {
    for (head, piece) in
        [("content-length: 1000001\r\n\r\n", ""), ("transfer-encoding: chunked\r\n\r\n", "8000\r\n"), ("\r\n", "")]
    {
        let (ended, got) = call_once(move |peer| {
            peer.request();
            peer.send(&format!("HTTP/1.1 200 OK\r\n{head}"));
            let body = "x".repeat(0x8000);
            while peer.send(piece) && peer.send(&body) && (piece.is_empty() || peer.send("\r\n")) {}
        });
        assert_eq!(ended, Err(CallError::ResponseTooLarge { bytes_max: 1_000_000 }), "{head}");
        assert_eq!(got.status(), 200);
        assert!(got.body.len() <= 1_000_000);
    }
}
