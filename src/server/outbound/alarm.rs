//! Wake-ups for the deadlines of calls: one timer of the runtime for all of them.
//!
//! The runtime's reactor looks at every pending timer on every turn, and a timer that is polled again is entered again. So calls
//! set their alarms here, and one task ticks while there are any; it ends by itself when there are none.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use glommio::timer::Timer;

use crate::limits;

/// The alarms of a shard.
#[derive(Default)]
pub(super) struct Alarms {
    set: RefCell<BTreeMap<(Instant, u64), Waker>>,
    last: Cell<u64>,
    is_ticking: Cell<bool>,
}

impl Alarms {
    /// Wakes `cx` at that time or within a tick after it, unless the alarm is dropped before.
    pub(super) fn set(self: &Rc<Self>, at: Instant, cx: &Context<'_>) -> Alarm {
        self.last.set(self.last.get() + 1);
        let key = (at, self.last.get());
        self.set.borrow_mut().insert(key, cx.waker().clone());
        self.tick();
        Alarm { key, waker: cx.waker().clone(), alarms: Rc::clone(self) }
    }

    fn tick(self: &Rc<Self>) {
        if self.is_ticking.replace(true) {
            return;
        }
        let alarms = Rc::clone(self);
        let ticks = async move {
            while !alarms.set.borrow().is_empty() {
                Timer::new(Duration::from_millis(limits::HEARTBEAT_MS)).await;
                alarms.ring(Instant::now());
            }
            alarms.is_ticking.set(false);
        };
        glommio::spawn_local(ticks).detach();
    }

    fn ring(&self, now: Instant) {
        let due = {
            let mut set = self.set.borrow_mut();
            let later = set.split_off(&(now, u64::MAX));
            std::mem::replace(&mut *set, later)
        };
        due.into_values().for_each(Waker::wake);
    }
}

/// One alarm that is set.
pub(super) struct Alarm {
    key: (Instant, u64),
    waker: Waker,
    alarms: Rc<Alarms>,
}

impl Alarm {
    /// When it rings.
    pub(super) fn at(&self) -> Instant {
        self.key.0
    }

    /// Whether it wakes who is asking.
    pub(super) fn is_for(&self, cx: &Context<'_>) -> bool {
        self.waker.will_wake(cx.waker())
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.alarms.set.borrow_mut().remove(&self.key);
    }
}
