//! Calls to webhooks: an HTTP(S) client of one shard that streams its answers.
//!
//! hyper speaks HTTP/1.1 (docs/decisions/0008); this folder owns what is around it: `request` what is sent, `connect` (with
//! `resolve`, `address` and `tls`) how a connection comes to be, `pool` how many there are, `stream` the runtime's sockets, and
//! `bounds` (with `alarm`) when a call has to end. A call is one future of its caller's task: it drives its connection itself, spawns nothing,
//! and dropping it closes the connection. A call that ends well leaves its connection in the pool.
//!
//! A request is sent at most once: a pooled connection is looked at before it is used, and a request goes over another one only if
//! nothing of it was sent. What a webhook does with a request whose answer is lost is for the caller to decide, by `is_retryable`.
//! Redirects are not followed. Bodies and header values are not logged.

mod address;
mod alarm;
mod bounds;
mod connect;
mod error;
mod pool;
mod request;
mod resolve;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap};
use hyper::{Method, Request, Response};

use self::alarm::Alarms;
use self::bounds::{Bounds, Phase};
use self::connect::Connector;
use self::pool::{Live, Pool};
use self::request::Target;
use crate::limits;

pub(super) use self::bounds::Stop;
pub(super) use self::error::CallError;
pub(super) use self::resolve::Resolver;
pub(super) use self::tls::Trust;

/// What the operator allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// Only addresses of the public Internet are called, against requests forged by means of this server.
    pub(super) deny_private: bool,
}

/// A request and its bounds.
pub(super) struct Call {
    /// `http` or `https`; credentials in it are sent as `Authorization` unless `headers` have one.
    pub(super) url: String,
    /// Sent as given, but for those that frame the message.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// How long connecting may take (with `WEBHOOK_CONNECT_S` as a bound), then the response's head, then each next piece.
    pub(super) gap_timeout: Duration,
    /// How long the whole call may take.
    pub(super) total_timeout: Duration,
    /// Bytes of the response's body.
    pub(super) response_bytes_max: u64,
}

/// What is known of a response before its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// How long the webhook asks to be left alone.
    pub(super) retry_after_ms: Option<u64>,
}

/// See the top of the file. One per shard.
pub(super) struct Outbound {
    connector: Connector,
    pool: Pool,
    alarms: Rc<Alarms>,
}

/// Why an exchange over a connection failed.
enum Failure {
    /// Nothing of the request was sent: it can go over another connection.
    NotSent(Box<Request<Full<Bytes>>>),
    Call(CallError),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl Outbound {
    /// A client without connections. `resolver` and `trust` are the process's.
    pub(super) fn new(policy: Policy, resolver: Resolver, trust: Trust) -> Rc<Self> {
        let alarms = Rc::<Alarms>::default();
        let connector = Connector::new(policy, resolver, trust, Rc::clone(&alarms));
        Rc::new(Self { connector, pool: Pool::default(), alarms })
    }

    /// POSTs. `on_head` is called once at the most; when it returns false the body is not read. `on_body` is given the body's
    /// pieces as they arrive.
    ///
    /// # Errors
    /// [`CallError`]; pieces may have been given out before.
    pub(super) async fn post(
        self: &Rc<Self>,
        mut call: Call,
        stop: &Stop,
        on_head: impl FnMut(&Head) -> bool,
        on_body: impl FnMut(&[u8]),
    ) -> Result<(), CallError> {
        let target = Target::parse(&call.url)?;
        let request = target.request(&call.headers, std::mem::take(&mut call.body))?;
        self.exchange(&target, request, &call, stop, on_head, on_body).await
    }

    /// GETs: as [`Self::post`], without the body.
    ///
    /// # Errors
    /// [`CallError`]; pieces may have been given out before.
    pub(super) async fn get(
        self: &Rc<Self>,
        call: Call,
        stop: &Stop,
        on_head: impl FnMut(&Head) -> bool,
        on_body: impl FnMut(&[u8]),
    ) -> Result<(), CallError> {
        self.call(Method::GET, Call { body: Vec::new(), ..call }, stop, on_head, on_body).await
    }

    /// The same with any method. A body that is empty is none.
    ///
    /// # Errors
    /// [`CallError`]; pieces may have been given out before.
    pub(super) async fn call(
        self: &Rc<Self>,
        method: Method,
        mut call: Call,
        stop: &Stop,
        on_head: impl FnMut(&Head) -> bool,
        on_body: impl FnMut(&[u8]),
    ) -> Result<(), CallError> {
        let target = Target::parse(&call.url)?;
        let body = std::mem::take(&mut call.body);
        let is_empty = body.is_empty();
        let mut request = target.request(&call.headers, body)?;
        *request.method_mut() = method;
        if is_empty {
            request.headers_mut().remove(header::CONTENT_LENGTH);
        }
        self.exchange(&target, request, &call, stop, on_head, on_body).await
    }

    async fn exchange(
        &self,
        target: &Target,
        request: Request<Full<Bytes>>,
        call: &Call,
        stop: &Stop,
        on_head: impl FnMut(&Head) -> bool,
        on_body: impl FnMut(&[u8]),
    ) -> Result<(), CallError> {
        let mut bounds = Bounds::new(stop, &self.alarms, call.total_timeout);
        let (mut live, response) = self.respond(target, request, call.gap_timeout, &mut bounds).await?;
        live.idle_for = patience(response.headers());
        let room = Room { gap: call.gap_timeout, bytes_max: call.response_bytes_max };
        receive(&mut live, response, &room, &mut bounds, on_head, on_body).await?;
        self.pool.put(live);
        Ok(())
    }

    /// Closes idle connections that are over their time at `now`, or that their peers have closed. For the shard's heartbeat,
    /// about once a second.
    pub(super) fn close_idle(&self, now: Instant) {
        self.pool.sweep(now);
    }

    /// Connections that are open, idle ones included.
    pub(super) fn open_connections(&self) -> usize {
        self.pool.open_count()
    }

    /// Connections that wait for their next call.
    #[cfg(test)]
    pub(super) fn idle_connections(&self) -> usize {
        self.pool.idle_count()
    }

    /// Sends the request over a connection and waits for the response's head.
    async fn respond(
        &self,
        target: &Target,
        mut request: Request<Full<Bytes>>,
        gap: Duration,
        bounds: &mut Bounds<'_>,
    ) -> Result<(Live, Response<Incoming>), CallError> {
        while let Some(mut live) = self.pool.take(&target.origin) {
            match send(&mut live, request, gap, bounds).await {
                Ok(response) => return Ok((live, response)),
                Err(Failure::Call(error)) => return Err(error),
                // Its peer closed it in this very moment.
                Err(Failure::NotSent(unsent)) => request = *unsent,
            }
        }
        let within = gap.min(Duration::from_secs(limits::WEBHOOK_CONNECT_S));
        bounds.expect(Phase::Connect, within);
        let slot = self.pool.slot(&target.origin)?;
        // Boxed: a handshake's state must not weigh on the call for as long as its answer streams.
        let connected = Box::pin(self.connector.connect(&target.origin, slot, Instant::now() + within));
        let mut live = bounds.run(connected).await??;
        match send(&mut live, request, gap, bounds).await {
            Ok(response) => Ok((live, response)),
            Err(Failure::Call(error)) => Err(error),
            Err(Failure::NotSent(_)) => {
                Err(CallError::Network { why: "it ended before the request was sent".to_owned() })
            }
        }
    }
}

async fn send(
    live: &mut Live,
    request: Request<Full<Bytes>>,
    gap: Duration,
    bounds: &mut Bounds<'_>,
) -> Result<Response<Incoming>, Failure> {
    bounds.expect(Phase::Head, gap);
    let response = live.sender.try_send_request(request);
    let sent = bounds.run(live.drive(response)).await?;
    sent.map_err(|mut error| match error.take_message() {
        Some(request) => Failure::NotSent(Box::new(request)),
        None => Failure::Call(CallError::of_exchange(&error.into_error())),
    })
}

/// What a body may take.
struct Room {
    gap: Duration,
    bytes_max: u64,
}

/// Gives out the head and, if it is wanted, the body.
async fn receive(
    live: &mut Live,
    response: Response<Incoming>,
    room: &Room,
    bounds: &mut Bounds<'_>,
    mut on_head: impl FnMut(&Head) -> bool,
    mut on_body: impl FnMut(&[u8]),
) -> Result<(), CallError> {
    if !on_head(&head(&response)) {
        return Ok(());
    }
    let too_large = CallError::ResponseTooLarge { bytes_max: room.bytes_max };
    let mut body = response.into_body();
    if body.size_hint().lower() > room.bytes_max {
        return Err(too_large);
    }
    let mut received = 0;
    loop {
        bounds.expect(Phase::Body, room.gap);
        let Some(frame) = bounds.run(live.drive(body.frame())).await? else { return Ok(()) };
        let frame = frame.map_err(|error| CallError::of_exchange(&error))?;
        let Some(piece) = frame.data_ref() else { continue };
        received += piece.len() as u64;
        if received > room.bytes_max {
            return Err(too_large);
        }
        on_body(piece);
    }
}

fn head(response: &Response<Incoming>) -> Head {
    let now_unix_s = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let retry_after_ms = text(response.headers(), header::RETRY_AFTER.as_str())
        .and_then(|value| request::retry_after_ms(value, now_unix_s()));
    Head { status: response.status().as_u16(), retry_after_ms }
}

/// For how long the connection may wait for its next call: a second less than the peer says that it keeps it.
fn patience(headers: &HeaderMap) -> Duration {
    let theirs = text(headers, "keep-alive").and_then(request::keep_alive_s).unwrap_or(u64::MAX);
    Duration::from_secs(limits::WEBHOOK_IDLE_S.min(theirs.saturating_sub(1)))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
