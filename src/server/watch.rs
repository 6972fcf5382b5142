//! Deadlines of connections: one coarse sweep per shard instead of a timer per read.
//!
//! A connection says by when it expects something; the sweep wakes those that are over and, in a drain, all of them.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Waker};

use slab::Slab;

/// Why a connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its deadline passed.
    Late,
    /// The server shuts down.
    Drain,
}

/// All watches of a shard.
#[derive(Default)]
pub(super) struct Watches {
    list: Rc<RefCell<Slab<Rc<Watched>>>>,
    draining: Cell<bool>,
}

#[derive(Default)]
struct Watched {
    deadline_us: Cell<u64>,
    ending: Cell<Option<Ending>>,
    waker: RefCell<Option<Waker>>,
}

/// One connection's deadline; ends with it.
pub(super) struct Watch {
    place: usize,
    watched: Rc<Watched>,
    list: Weak<RefCell<Slab<Rc<Watched>>>>,
}

impl Watches {
    /// A watch without a deadline yet.
    pub(super) fn add(&self) -> Watch {
        let watched = Rc::new(Watched { deadline_us: Cell::new(u64::MAX), ..Watched::default() });
        if self.draining.get() {
            watched.ending.set(Some(Ending::Drain));
        }
        let place = self.list.borrow_mut().insert(Rc::clone(&watched));
        Watch { place, watched, list: Rc::downgrade(&self.list) }
    }

    /// Connections that are open.
    pub(super) fn len(&self) -> usize {
        self.list.borrow().len()
    }

    /// Ends everything whose deadline is over at `mono_us`.
    pub(super) fn sweep(&self, mono_us: u64) {
        self.end_where(Ending::Late, |watched| {
            watched.ending.get() != Some(Ending::Late) && watched.deadline_us.get() <= mono_us
        });
    }

    /// Ends everything, now and from now on.
    pub(super) fn drain(&self) {
        self.draining.set(true);
        self.end_where(Ending::Drain, |watched| watched.ending.get().is_none());
    }

    /// Whether [`Self::drain`] was called.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    fn end_where(&self, ending: Ending, is_over: impl Fn(&Watched) -> bool) {
        for (_, watched) in self.list.borrow().iter() {
            if is_over(watched) {
                watched.ending.set(Some(ending));
                if let Some(waker) = watched.waker.borrow_mut().take() {
                    waker.wake();
                }
            }
        }
    }
}

impl Watch {
    /// The connection expects something by then.
    pub(super) fn until(&self, mono_us: u64) {
        self.watched.deadline_us.set(mono_us);
    }

    /// Whether it must end; if not, `cx` is woken when it must.
    pub(super) fn poll_ending(&self, cx: &Context<'_>) -> Option<Ending> {
        let ending = self.watched.ending.get();
        if ending.is_none() {
            self.register(cx);
        }
        ending
    }

    /// Whether its deadline passed, for what a drain lets finish; if not, `cx` is woken when it does.
    pub(super) fn poll_late(&self, cx: &Context<'_>) -> bool {
        let is_late = self.watched.ending.get() == Some(Ending::Late);
        if !is_late {
            self.register(cx);
        }
        is_late
    }

    fn register(&self, cx: &Context<'_>) {
        let mut waker = self.watched.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Forgets a drain or a missed deadline, to say goodbye within a new one.
    pub(super) fn rearm(&self, mono_us: u64) {
        self.watched.ending.set(None);
        self.watched.deadline_us.set(mono_us);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(list) = self.list.upgrade() {
            list.borrow_mut().remove(self.place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_ends_what_is_late_and_a_drain_ends_all() {
        let watches = Watches::default();
        let (early, late) = (watches.add(), watches.add());
        early.until(10);
        late.until(20);
        watches.sweep(15);
        let cx = Context::from_waker(Waker::noop());
        assert_eq!(early.poll_ending(&cx), Some(Ending::Late));
        assert_eq!(late.poll_ending(&cx), None);
        watches.drain();
        assert_eq!(late.poll_ending(&cx), Some(Ending::Drain));
        assert!(!late.poll_late(&cx), "what is on its way may still be sent");
        watches.sweep(25);
        assert!(late.poll_late(&cx), "but not for ever");
        assert_eq!(watches.add().poll_ending(&cx), Some(Ending::Drain));
        drop((early, late));
        assert_eq!(watches.len(), 0);
    }
}
