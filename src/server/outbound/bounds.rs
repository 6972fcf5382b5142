//! What ends a call early: its owner, the deadline of its phase, the deadline of the whole.
//!
//! The call is one future; `Bounds::run` polls a part of it and the bounds beside it, so nothing that waits is ever cancelled
//! from outside. A call has one alarm. It is not moved with every piece that arrives: when it rings too early it is set anew,
//! which happens once per gap and not once per piece.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::alarm::{Alarm, Alarms};
use super::error::CallError;

/// Ends one call early. Clones mean the same call.
#[derive(Clone, Default)]
pub(in crate::server) struct Stop {
    state: Rc<StopState>,
}

#[derive(Default)]
struct StopState {
    stopped: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Stop {
    /// For one call that goes on.
    pub(in crate::server) fn new() -> Self {
        Self::default()
    }

    /// Ends the call: it returns [`CallError::Stopped`] and its connection is closed.
    pub(in crate::server) fn stop(&self) {
        self.state.stopped.set(true);
        let waker = self.state.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether it was stopped.
    pub(in crate::server) fn is_stopped(&self) -> bool {
        self.state.stopped.get()
    }

    fn register(&self, waker: &Waker) {
        let mut registered = self.state.waker.borrow_mut();
        if !registered.as_ref().is_some_and(|registered| registered.will_wake(waker)) {
            *registered = Some(waker.clone());
        }
    }
}

/// What a call waits for.
#[derive(Clone, Copy)]
pub(super) enum Phase {
    Connect,
    Head,
    Body,
}

impl Phase {
    fn timeout(self) -> CallError {
        match self {
            Self::Connect => CallError::ConnectTimeout,
            Self::Head => CallError::HeadTimeout,
            Self::Body => CallError::GapTimeout,
        }
    }
}

/// See the top of the file.
pub(super) struct Bounds<'a> {
    stop: &'a Stop,
    alarms: &'a Rc<Alarms>,
    phase: Phase,
    phase_ends: Instant,
    call_ends: Instant,
    alarm: Option<Alarm>,
}

impl<'a> Bounds<'a> {
    /// Bounds of a call that begins now and may take `total`.
    pub(super) fn new(stop: &'a Stop, alarms: &'a Rc<Alarms>, total: Duration) -> Self {
        let call_ends = from_now(total);
        Self { stop, alarms, phase: Phase::Connect, phase_ends: call_ends, call_ends, alarm: None }
    }

    /// From now on the call waits for `phase`, for `within` at the most.
    pub(super) fn expect(&mut self, phase: Phase, within: Duration) {
        self.phase = phase;
        self.phase_ends = from_now(within);
    }

    /// Waits for a part of the call, but not beyond its bounds.
    pub(super) async fn run<F: Future>(&mut self, part: F) -> Result<F::Output, CallError> {
        let mut part = pin!(part);
        poll_fn(|cx| match self.ended(cx) {
            Some(error) => Poll::Ready(Err(error)),
            None => part.as_mut().poll(cx).map(Ok),
        })
        .await
    }

    /// Why the call is over; if it is not, `cx` is woken when it is.
    fn ended(&mut self, cx: &mut Context<'_>) -> Option<CallError> {
        if self.stop.is_stopped() {
            return Some(CallError::Stopped);
        }
        let now = Instant::now();
        if now >= self.call_ends {
            return Some(CallError::TotalTimeout);
        }
        if now >= self.phase_ends {
            return Some(self.phase.timeout());
        }
        self.stop.register(cx.waker());
        self.arm(now, cx);
        None
    }

    fn arm(&mut self, now: Instant, cx: &Context<'_>) {
        let due = self.phase_ends.min(self.call_ends);
        let is_armed =
            self.alarm.as_ref().is_some_and(|alarm| now < alarm.at() && alarm.at() <= due && alarm.is_for(cx));
        if !is_armed {
            self.alarm = Some(self.alarms.set(due, cx));
        }
    }
}

/// A moment that far away; what is further than a year is not waited for anyway, and must not overflow the clock.
fn from_now(duration: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    Instant::now() + duration.min(YEAR)
}
