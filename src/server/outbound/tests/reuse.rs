//! Which connections carry more than one call.

use std::sync::mpsc::channel;

use super::*;

/// A webhook that answers each request with the number of its connection, until `answers` are given on it.
fn numbering(answers: usize, headers: &'static str) -> Webhook {
    Webhook::start(move |peer| {
        for _ in 0..answers {
            if peer.request().is_none() {
                return;
            }
            let number = peer.number.to_string();
            peer.send(&format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\n\r\n{number}", number.len()));
        }
    })
}

async fn connection_of(outbound: &Rc<Outbound>, webhook: &Webhook) -> String {
    let (ended, got) = post(outbound, call(&webhook.url("/"))).await;
    assert_eq!(ended, Ok(()));
    got.body
}

#[test]
fn calls_one_after_the_other_share_a_connection() {
    let webhook = numbering(usize::MAX, "");
    run(async {
        let outbound = client();
        for _ in 0..5 {
            assert_eq!(connection_of(&outbound, &webhook).await, "0");
            assert_eq!((outbound.open_connections(), outbound.idle_connections()), (1, 1));
        }
        let other = numbering(usize::MAX, "");
        assert_eq!(connection_of(&outbound, &other).await, "0", "another origin has connections of its own");
        assert_eq!(outbound.open_connections(), 2);
    });
}

#[test]
fn a_connection_that_its_webhook_closed_is_swept_and_not_used() {
    let webhook = numbering(1, "");
    run(async {
        let outbound = client();
        for number in ["0", "1", "2"] {
            assert_eq!(connection_of(&outbound, &webhook).await, number);
            while outbound.open_connections() > 0 {
                Timer::new(Duration::from_millis(1)).await;
                outbound.close_idle(Instant::now());
            }
        }
    });
}

#[test]
fn a_connection_is_not_kept_where_its_webhook_would_not() {
    for headers in ["connection: close\r\n", "keep-alive: timeout=1\r\n"] {
        let webhook = numbering(usize::MAX, headers);
        run(async {
            let outbound = client();
            assert_eq!(connection_of(&outbound, &webhook).await, "0");
            assert_eq!(outbound.open_connections(), 0, "{headers}");
            assert_eq!(connection_of(&outbound, &webhook).await, "1");
        });
    }
}

#[test]
fn a_connection_grows_old_as_soon_as_its_webhook_says() {
    let webhook = numbering(usize::MAX, "keep-alive: timeout=5\r\n");
    run(async {
        let outbound = client();
        connection_of(&outbound, &webhook).await;
        outbound.close_idle(Instant::now() + Duration::from_secs(3));
        assert_eq!(outbound.idle_connections(), 1);
        outbound.close_idle(Instant::now() + Duration::from_secs(4));
        assert_eq!(outbound.open_connections(), 0);
    });
}

#[test]
fn bytes_that_nobody_asked_for_end_a_connection() {
    let (sender, ended) = channel();
    let webhook = Webhook::start(move |peer| {
        peer.request();
        peer.answer("ok");
        peer.answer("poison for the next call");
        peer.wait_for_end();
        sender.send(()).unwrap();
    });
    run(async {
        let outbound = client();
        assert_eq!(connection_of(&outbound, &webhook).await, "ok");
        while outbound.open_connections() > 0 {
            Timer::new(Duration::from_millis(1)).await;
            outbound.close_idle(Instant::now());
        }
        ended.recv_timeout(HANG).unwrap();
    });
}
