//! How names become addresses, and which addresses are not called.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use super::resolve::Names;
use super::*;

fn client_asking(look_up: impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static, deny_private: bool) -> Rc<Outbound> {
    let resolver = Resolver::asking(move |host| Ok(look_up(host))).unwrap();
    Outbound::new(Policy { deny_private }, resolver, Trust::of_roots(RootCertStore::empty()))
}

fn addresses(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|address| address.parse().unwrap()).collect()
}

#[test]
fn the_next_address_is_tried_when_one_does_not_answer() {
    let webhook = Webhook::start(|peer| {
        peer.request();
        peer.answer("ok");
    });
    run(async {
        let outbound = client_asking(|_| addresses(&["127.0.0.2", "127.0.0.3", "127.0.0.1"]), false);
        let (ended, got) = post(&outbound, call(&webhook.url_at("several.test"))).await;
        assert_eq!((ended, got.body.as_str()), (Ok(()), "ok"));
    });
}

#[test]
fn a_name_is_looked_up_once_for_all_who_wait_and_then_remembered() {
    let webhook = Webhook::start(|peer| while peer.request().is_some() && peer.answer("ok") {});
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    run(async {
        let look_up = move |_: &str| {
            count.fetch_add(1, Ordering::SeqCst);
            addresses(&["127.0.0.1"])
        };
        let outbound = client_asking(look_up, false);
        let calls = |_| post(&outbound, call(&webhook.url_at("same.test")));
        let ((one, two), three) = future::zip(future::zip(calls(1), calls(2)), calls(3)).await;
        for (ended, _) in [one, two, three, calls(4).await] {
            assert_eq!(ended, Ok(()));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn an_unknown_name_is_named_and_tried_again_later() {
    run(async {
        let (ended, _) = post(&client(), call("http://unknown.test/")).await;
        assert_eq!(ended, Err(CallError::Resolve { why: "no such name".to_owned() }));
        let (ended, _) = post(&client_asking(|_| Vec::new(), false), call("http://empty.test/")).await;
        assert_reason(&ended, "resolve");
        assert!(ended.unwrap_err().is_retryable());
    });
}

#[test]
fn a_silent_name_server_delays_its_own_calls_only() {
    let (held, hold) = channel::<()>();
    let hold = Mutex::new(hold);
    let webhook = Webhook::start(|peer| {
        peer.request();
        peer.answer("ok");
    });
    run(async {
        let look_up = move |host: &str| {
            if host == "silent.test" {
                let _ = hold.lock().unwrap().recv();
            }
            addresses(&["127.0.0.1"])
        };
        let outbound = client_asking(look_up, false);
        let silent = post(&outbound, Call { gap_timeout: BRIEF, ..call("http://silent.test/") });
        let other = post(&outbound, call(&webhook.url_at("other.test")));
        let ((silent, _), (other, _)) = future::zip(silent, other).await;
        assert_reason(&silent, "connect_timeout");
        assert_eq!((other, outbound.open_connections()), (Ok(()), outbound.idle_connections()));
        drop(held);
    });
}

#[test]
fn names_that_wait_are_bounded() {
    let (held, hold) = channel::<()>();
    let hold = Mutex::new(hold);
    run(async {
        let resolver = Resolver::asking(move |_| {
            let _ = hold.lock().unwrap().recv();
            Ok(addresses(&["127.0.0.1"]))
        });
        let names = Names::new(resolver.unwrap());
        let ask = |number: usize| {
            let names = Rc::clone(&names);
            async move { names.addresses(&format!("{number}.test")).await.map(drop) }
        };
        for number in 0..limits::RESOLVED_NAMES_MAX {
            assert_eq!(future::poll_once(ask(number)).await, None, "{number} waits");
        }
        let refused = ask(limits::RESOLVED_NAMES_MAX).await;
        assert_eq!(refused, Err(CallError::Resolve { why: "too many names are being resolved".to_owned() }));
        drop(held);
        // All are answered although nobody waited, and then there is room.
        ask(limits::RESOLVED_NAMES_MAX - 1).await.unwrap();
        ask(limits::RESOLVED_NAMES_MAX).await.unwrap();
    });
}

#[test]
fn private_addresses_are_not_called_where_the_operator_says_so() {
    run(async {
        let look_up = |host: &str| match host {
            "mixed.test" => addresses(&["8.8.8.8", "10.0.0.1"]),
            "metadata.test" => addresses(&["169.254.169.254"]),
            _ => addresses(&["::1"]),
        };
        let outbound = client_asking(look_up, true);
        for host in [
            "127.0.0.1",
            "0x7f.1",
            "2130706433",
            "0177.0.0.1",
            "10.0.0.1",
            "0.0.0.0",
            "169.254.169.254",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::a00:1]",
            "[fd00::1]",
            "[fe80::1]",
            "mixed.test",
            "metadata.test",
            "loopback.test",
        ] {
            for scheme in ["http", "https"] {
                let (ended, _) = post(&outbound, call(&format!("{scheme}://{host}/"))).await;
                assert_eq!(ended, Err(CallError::AddressDenied), "{scheme}://{host}/");
            }
        }
        assert_eq!(outbound.open_connections(), 0);
        let outbound = Outbound::new(
            Policy { deny_private: true },
            Resolver::start().unwrap(),
            Trust::of_roots(RootCertStore::empty()),
        );
        let (ended, _) = post(&outbound, call("http://localhost/")).await;
        assert_eq!(ended, Err(CallError::AddressDenied), "as the system resolves it");
    });
}
