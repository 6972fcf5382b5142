//! What ends a call early, and that nothing is left of it.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use socket2::{Domain, Socket, Type};

use super::*;

/// A webhook that sends `text` and then nothing; tells when the client has closed the connection.
fn silent_after(text: &'static str) -> (Webhook, std::sync::mpsc::Receiver<()>) {
    let (sender, ended) = channel();
    let webhook = Webhook::start(move |peer| {
        peer.request();
        peer.send(text);
        peer.wait_for_end();
        sender.send(()).unwrap();
    });
    (webhook, ended)
}

const BEGINNING: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";

#[test]
fn nobody_waits_for_a_head_or_a_piece_beyond_the_gap() {
    for (text, reason, body) in [("", "head_timeout", ""), (BEGINNING, "gap_timeout", "hello")] {
        let (webhook, was_ended) = silent_after(text);
        run(async {
            let outbound = client();
            let (ended, got) = post(&outbound, Call { gap_timeout: BRIEF, ..call(&webhook.url("/")) }).await;
            assert_reason(&ended, reason);
            assert_eq!((got.body.as_str(), outbound.open_connections()), (body, 0));
            was_ended.recv_timeout(HANG).unwrap();
        });
    }
}

#[test]
fn one_who_always_sends_in_time_still_meets_the_total() {
    let (seen, was_seen) = channel::<()>();
    let was_seen = Mutex::new(was_seen);
    let webhook = Webhook::start(move |peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while peer.chunk("x") && was_seen.lock().unwrap().recv().is_ok() {}
    });
    let (ended, got) = run(async {
        let call = Call { total_timeout: BRIEF, ..call(&webhook.url("/")) };
        post_until(&client(), call, &Stop::new(), |_| seen.send(()).unwrap()).await
    });
    assert_reason(&ended, "total_timeout");
    assert!(!got.body.is_empty());
}

#[test]
fn a_torrent_leaves_others_their_turns() {
    let webhook = Webhook::start(|peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\n\r\n");
        let body = "x".repeat(0x10000);
        while peer.send(&body) {}
    });
    let (ended, turns) = run(async {
        let call = Call { total_timeout: BRIEF, response_bytes_max: u64::MAX, ..call(&webhook.url("/")) };
        let outbound = client();
        let stop = Stop::new();
        let torrent = outbound.post(call, &stop, |_| true, |_| {});
        let turns = std::cell::Cell::new(0);
        let others = async {
            loop {
                Timer::new(Duration::from_millis(1)).await;
                turns.set(turns.get() + 1);
            }
        };
        let ended = future::race(torrent, others).await;
        (ended, turns.get())
    });
    assert_reason(&ended, "total_timeout");
    assert!(turns > 5, "{turns} turns in {BRIEF:?}");
}

#[test]
fn an_owner_ends_a_call_from_outside_and_from_within() {
    let (webhook, was_ended) = silent_after(BEGINNING);
    run(async {
        let outbound = client();
        let stop = Stop::new();
        let (ended, got) = post_until(&outbound, call(&webhook.url("/")), &stop, |_| stop.stop()).await;
        assert_eq!((ended, got.body.as_str()), (Err(CallError::Stopped), "hello"));
        was_ended.recv_timeout(HANG).unwrap();

        let stop = Stop::new();
        let other = stop.clone();
        let (seen, was_seen) = futures_channel::oneshot::channel();
        let mut seen = Some(seen);
        let calling = post_until(&outbound, call(&webhook.url("/")), &stop, |_| {
            let _ = seen.take().unwrap().send(());
        });
        let stopping = async {
            was_seen.await.unwrap();
            other.stop();
        };
        let ((ended, _), ()) = future::zip(calling, stopping).await;
        assert_eq!((ended, outbound.open_connections()), (Err(CallError::Stopped), 0));
        assert!(stop.is_stopped());
        was_ended.recv_timeout(HANG).unwrap();
    });
}

#[test]
fn a_stopped_call_does_not_begin() {
    let stop = Stop::new();
    stop.stop();
    run(async {
        let outbound = client();
        let (ended, _) = post_until(&outbound, call("http://127.0.0.1:1/"), &stop, |_| {}).await;
        assert_eq!(ended, Err(CallError::Stopped));
    });
}

#[test]
fn a_call_that_is_dropped_closes_its_connection() {
    let (webhook, was_ended) = silent_after(BEGINNING);
    run(async {
        let outbound = client();
        let (seen, was_seen) = futures_channel::oneshot::channel();
        let mut seen = Some(seen);
        let stop = Stop::new();
        let calling = async {
            let on_piece = |_: &str| seen.take().unwrap().send(()).unwrap();
            drop(post_until(&outbound, call(&webhook.url("/")), &stop, on_piece).await);
        };
        future::race(calling, async { was_seen.await.unwrap() }).await;
        assert_eq!(outbound.open_connections(), 0);
        was_ended.recv_timeout(HANG).unwrap();
    });
}

#[test]
fn a_closed_port_is_a_failure_to_connect() {
    // Bound, so that nobody else gets the port, and not listening.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let url = format!("http://{}/", socket.local_addr().unwrap().as_socket().unwrap());
    let (ended, _) = run(async { post(&client(), call(&url)).await });
    assert_reason(&ended, "connect");
}

#[test]
fn a_host_that_takes_no_connection_is_not_waited_for_and_leaves_nothing() {
    // A queue of one that is full: further handshakes are dropped.
    let socket = || Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).unwrap();
    let host = socket();
    host.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    host.listen(0).unwrap();
    let address = host.local_addr().unwrap();
    let others: Vec<Socket> = (0..8).map(|_| socket()).collect();
    for other in &others {
        let _ = other.connect(&address); // in progress, for ever for most of them
    }
    let url = format!("http://{}/", address.as_socket().unwrap());
    run(async {
        let outbound = client();
        let (ended, _) = post(&outbound, Call { gap_timeout: BRIEF, ..call(&url) }).await;
        assert_eq!((ended, outbound.open_connections()), (Err(CallError::ConnectTimeout), 0));
        let stop = Stop::new();
        let calling = post_until(&outbound, call(&url), &stop, |_| {});
        let stopping = async {
            Timer::new(Duration::from_millis(20)).await;
            assert_eq!(outbound.open_connections(), 1);
            stop.stop();
        };
        let ((ended, _), ()) = future::zip(calling, stopping).await;
        assert_eq!((ended, outbound.open_connections()), (Err(CallError::Stopped), 0));
    });
}

#[test]
fn two_hundred_calls_at_a_time_need_one_thread_and_leave_nothing() {
    const CALLS: usize = 200;
    let all_there = std::sync::Barrier::new(CALLS);
    let webhook = Webhook::start(move |peer| {
        peer.request();
        // Nobody is answered before everybody has asked.
        all_there.wait();
        peer.answer("ok");
        peer.wait_for_end();
    });
    run(async {
        let outbound = client();
        let mut calls: Vec<_> = (0..CALLS).map(|_| Box::pin(post(&outbound, call(&webhook.url("/"))))).collect();
        let mut answered = 0;
        std::future::poll_fn(|cx| {
            calls.retain_mut(|call| match call.as_mut().poll(cx) {
                std::task::Poll::Ready((ended, got)) => {
                    assert_eq!((ended, got.body.as_str()), (Ok(()), "ok"));
                    answered += 1;
                    false
                }
                std::task::Poll::Pending => true,
            });
            if calls.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        assert_eq!(answered, CALLS);
        assert_eq!(outbound.idle_connections(), limits::WEBHOOK_ORIGIN_IDLE_MAX);
        assert_eq!(outbound.open_connections(), limits::WEBHOOK_ORIGIN_IDLE_MAX);
        outbound.close_idle(Instant::now() + Duration::from_secs(limits::WEBHOOK_IDLE_S));
        assert_eq!((outbound.idle_connections(), outbound.open_connections()), (0, 0));
        // The task that ticks for the calls' alarms ends as well, and with it the last of what they shared.
        let alarms = Rc::downgrade(&outbound.alarms);
        drop(calls);
        drop(outbound);
        while alarms.strong_count() > 0 {
            Timer::new(Duration::from_millis(1)).await;
        }
    });
}
