//! Open connections: how many there may be, and which wait for their next call.
//!
//! A connection counts from before it is made until it is dropped, whoever drops it. Idle ones are kept per origin, the one used
//! last is taken first, so that those a burst has left behind grow old. Nobody waits on an idle connection: it is looked at when
//! it is taken and by the sweep, and one whose peer has closed it or has spoken unasked is dropped there.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{Connection, SendRequest};

use super::error::CallError;
use super::request::Origin;
use super::stream::HyperIo;
use crate::limits;

/// A connection over which requests can be sent, one at a time.
pub(super) struct Live {
    pub(super) sender: SendRequest<Full<Bytes>>,
    /// Reads and writes; nothing moves unless it is polled. None once it has ended, and with it the socket.
    driver: Option<Box<Connection<HyperIo, Full<Bytes>>>>,
    slot: Slot,
    /// For how long its peer keeps it without a request.
    pub(super) idle_for: Duration,
}

impl Live {
    pub(super) fn new(sender: SendRequest<Full<Bytes>>, driver: Connection<HyperIo, Full<Bytes>>, slot: Slot) -> Self {
        let idle_for = Duration::from_secs(limits::WEBHOOK_IDLE_S);
        Self { sender, driver: Some(Box::new(driver)), slot, idle_for }
    }

    /// Waits for `future`, which the connection feeds, and drives the connection meanwhile.
    pub(super) async fn drive<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            self.poll_driver(cx);
            future.as_mut().poll(cx)
        })
        .await
    }

    fn poll_driver(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver {
            // Its errors reach whoever waits for the response.
            if Pin::new(&mut **driver).poll(cx).is_ready() {
                self.driver = None;
            }
        }
    }

    /// Whether it can carry a request now, as far as one can know from this side.
    fn is_reusable(&mut self) -> bool {
        self.poll_driver(&mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }
}

/// A place among the open connections.
pub(super) struct Slot {
    origin: Rc<Origin>,
    counts: Rc<Counts>,
}

#[derive(Default)]
struct Counts {
    open: Cell<usize>,
    by_origin: RefCell<HashMap<Rc<Origin>, usize>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.counts.open.set(self.counts.open.get() - 1);
        let mut by_origin = self.counts.by_origin.borrow_mut();
        let open = by_origin.get_mut(&self.origin).expect("counted when it was opened");
        *open -= 1;
        if *open == 0 {
            by_origin.remove(&self.origin);
        }
    }
}

/// See the top of the file.
#[derive(Default)]
pub(super) struct Pool {
    counts: Rc<Counts>,
    idle: RefCell<HashMap<Rc<Origin>, Vec<Idle>>>,
}

struct Idle {
    live: Live,
    until: Instant,
}

impl Pool {
    /// Connections that are open, idle ones included.
    pub(super) fn open_count(&self) -> usize {
        self.counts.open.get()
    }

    /// Connections that wait for their next call.
    pub(super) fn idle_count(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
    }

    /// A place for a new connection.
    ///
    /// # Errors
    /// [`CallError::TooManyConnections`].
    pub(super) fn slot(&self, origin: &Origin) -> Result<Slot, CallError> {
        if self.counts.open.get() >= limits::WEBHOOK_CONNECTIONS_MAX {
            self.drop_oldest();
        }
        let of_origin = self.counts.by_origin.borrow().get(origin).copied().unwrap_or(0);
        if self.counts.open.get() >= limits::WEBHOOK_CONNECTIONS_MAX
            || of_origin >= limits::WEBHOOK_ORIGIN_CONNECTIONS_MAX
        {
            return Err(CallError::TooManyConnections);
        }
        let origin = Rc::new(origin.clone());
        *self.counts.by_origin.borrow_mut().entry(Rc::clone(&origin)).or_default() += 1;
        self.counts.open.set(self.counts.open.get() + 1);
        Ok(Slot { origin, counts: Rc::clone(&self.counts) })
    }

    /// An idle connection to `origin` that seems to be alive.
    pub(super) fn take(&self, origin: &Origin) -> Option<Live> {
        let now = Instant::now();
        let mut idle = self.idle.borrow_mut();
        let waiting = idle.get_mut(origin)?;
        while let Some(Idle { mut live, until }) = waiting.pop() {
            if now < until && live.is_reusable() {
                return Some(live);
            }
        }
        idle.remove(origin);
        None
    }

    /// Keeps a connection for the next call if it can carry one and there is room; else it is closed.
    pub(super) fn put(&self, mut live: Live) {
        if live.idle_for.is_zero() || !live.is_reusable() || self.idle_count() >= limits::WEBHOOK_IDLE_MAX {
            return;
        }
        let until = Instant::now() + live.idle_for;
        let mut idle = self.idle.borrow_mut();
        let waiting = idle.entry(Rc::clone(&live.slot.origin)).or_default();
        if waiting.len() < limits::WEBHOOK_ORIGIN_IDLE_MAX {
            waiting.push(Idle { live, until });
        }
    }

    /// Closes idle connections whose time is over at `now`, or which their peer has closed.
    pub(super) fn sweep(&self, now: Instant) {
        self.idle.borrow_mut().retain(|_, waiting| {
            waiting.retain_mut(|idle| now < idle.until && idle.live.is_reusable());
            !waiting.is_empty()
        });
    }

    fn drop_oldest(&self) {
        let mut idle = self.idle.borrow_mut();
        let oldest = idle
            .iter_mut()
            .filter(|(_, waiting)| !waiting.is_empty())
            .min_by_key(|(_, waiting)| waiting.first().map(|idle| idle.until));
        if let Some((origin, waiting)) = oldest {
            let origin = Rc::clone(origin);
            waiting.remove(0);
            if waiting.is_empty() {
                idle.remove(&origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::Target;
    use super::*;

    #[test]
    fn connections_are_bounded_per_origin_and_in_all_and_count_until_they_are_dropped() {
        let pool = Pool::default();
        let origin = |number: usize| Target::parse(&format!("http://h{number}/")).unwrap().origin;
        let fill = |number: usize| -> Vec<Slot> {
            (0..limits::WEBHOOK_ORIGIN_CONNECTIONS_MAX).map(|_| pool.slot(&origin(number)).unwrap()).collect()
        };
        let mut all = vec![fill(0)];
        assert_eq!(pool.slot(&origin(0)).err(), Some(CallError::TooManyConnections));
        let origins = limits::WEBHOOK_CONNECTIONS_MAX / limits::WEBHOOK_ORIGIN_CONNECTIONS_MAX;
        all.extend((1..origins).map(fill));
        assert_eq!(pool.open_count(), limits::WEBHOOK_CONNECTIONS_MAX);
        assert_eq!(pool.slot(&origin(origins)).err(), Some(CallError::TooManyConnections));
        all.pop();
        assert!(pool.slot(&origin(origins)).is_ok());
        drop(all);
        assert_eq!(pool.open_count(), 0);
        assert!(pool.counts.by_origin.borrow().is_empty(), "an origin without connections is forgotten");
    }
}
