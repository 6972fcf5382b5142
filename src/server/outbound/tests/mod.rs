//! Calls over real sockets: an executor on the test's thread, webhooks on plain threads, and no clock but hang guards.
//!
//! Who has to wait for the other side waits on a channel, so that every order of events is one that the test has made.

mod bodies;
mod bounds;
mod names;
mod peer;
mod reuse;
mod tls;

use std::cell::RefCell;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future;
use futures_rustls::rustls::RootCertStore;
use glommio::LocalExecutorBuilder;
use glommio::timer::Timer;

use self::peer::Webhook;
use super::*;
use crate::server::pacemaker;

/// Longer than anything that ends by itself.
const HANG: Duration = Duration::from_secs(60);
/// Short enough to wait for, long enough not to pass by itself on a busy machine before the other side has done its part.
const BRIEF: Duration = Duration::from_millis(500);

/// Runs a test on an executor with a pulse, as a shard has one.
fn run<T>(test: impl Future<Output = T>) -> T {
    let pulse = pacemaker::start(1).unwrap().pop().unwrap();
    let _watched = pulse.watch_this_thread();
    let executor =
        LocalExecutorBuilder::default().preempt_timer(Duration::from_millis(limits::PREEMPT_MS)).make().unwrap();
    executor.run(async {
        pulse.attach();
        let guard = async {
            Timer::new(HANG).await;
            panic!("the test hangs");
        };
        // A task of its own: a timer that is polled beside something else is entered anew with each poll.
        glommio::spawn_local(guard).detach();
        test.await
    })
}

/// A client that trusts nobody and finds `localhost` alone.
fn client() -> Rc<Outbound> {
    client_trusting(Trust::of_roots(RootCertStore::empty()))
}

fn client_trusting(trust: Trust) -> Rc<Outbound> {
    let resolver = Resolver::asking(|host| match host {
        "localhost" => Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]),
        _ => Err(std::io::Error::other("no such name")),
    });
    Outbound::new(Policy { deny_private: false }, resolver.unwrap(), trust)
}

fn call(url: &str) -> Call {
    Call {
        url: url.to_owned(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: b"{\"a\":1}".to_vec(),
        gap_timeout: HANG,
        total_timeout: HANG,
        response_bytes_max: 1_000_000,
    }
}

/// What a call gave out.
#[derive(Debug, Default, PartialEq, Eq)]
struct Got {
    heads: Vec<Head>,
    body: String,
}

impl Got {
    fn status(&self) -> u16 {
        assert_eq!(self.heads.len(), 1, "one head");
        self.heads[0].status
    }
}

/// Calls, and collects.
async fn post(outbound: &Rc<Outbound>, call: Call) -> (Result<(), CallError>, Got) {
    post_until(outbound, call, &Stop::new(), |_| {}).await
}

/// Calls, collects, and tells `on_piece` of each piece.
async fn post_until(
    outbound: &Rc<Outbound>,
    call: Call,
    stop: &Stop,
    mut on_piece: impl FnMut(&str),
) -> (Result<(), CallError>, Got) {
    let got = RefCell::new(Got::default());
    let on_head = |head: &Head| {
        got.borrow_mut().heads.push(head.clone());
        true
    };
    let on_body = |piece: &[u8]| {
        let piece = std::str::from_utf8(piece).expect("tests send text");
        got.borrow_mut().body.push_str(piece);
        on_piece(piece);
    };
    let ended = outbound.post(call, stop, on_head, on_body).await;
    (ended, got.into_inner())
}

/// One call to a webhook that does `script` with each of its connections.
fn call_once(script: impl Fn(&mut peer::Peer) + Send + Sync + 'static) -> (Result<(), CallError>, Got) {
    let webhook = Webhook::start(script);
    run(async { post(&client(), call(&webhook.url("/"))).await })
}

#[track_caller]
fn assert_reason(ended: &Result<(), CallError>, reason: &str) {
    assert_eq!(ended.as_ref().map_err(CallError::reason), Err(reason), "{ended:?}");
}
