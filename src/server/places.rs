//! So many at a time, of one shard: whoever finds no place is refused, or waits in line.
//!
//! Invariants: a place that is given back goes to whoever waits the longest, and to the next one if he has left meanwhile; nobody who
//! comes later takes it before them. So nobody waits while a place is free, whoever is dropped and when: the semaphore of the runtime wakes
//! one waiter for each place and forgets the others when that one does not come.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

/// See the top of the file.
pub(super) struct Places {
    shared: Rc<Shared>,
}

struct Shared {
    free: Cell<usize>,
    /// Who left is dead in it, until his turn comes.
    line: RefCell<VecDeque<Weak<Waiter>>>,
}

struct Waiter {
    waker: RefCell<Option<Waker>>,
    given: RefCell<Option<Permit>>,
}

/// One's place; given back when it is dropped.
pub(super) struct Permit {
    shared: Rc<Shared>,
}

impl Places {
    pub(super) fn of(count: usize) -> Self {
        Self { shared: Rc::new(Shared { free: Cell::new(count), line: RefCell::default() }) }
    }

    /// A place, if one is free.
    pub(super) fn try_take(&self) -> Option<Permit> {
        let left = self.shared.free.get().checked_sub(1)?;
        self.shared.free.set(left);
        Some(Permit { shared: Rc::clone(&self.shared) })
    }

    /// A place, as soon as it is this one's turn.
    pub(super) async fn take(&self) -> Permit {
        if let Some(permit) = self.try_take() {
            return permit;
        }
        let waiter = Rc::new(Waiter { waker: RefCell::default(), given: RefCell::default() });
        self.shared.line.borrow_mut().push_back(Rc::downgrade(&waiter));
        poll_fn(|cx| match waiter.given.take() {
            Some(permit) => Poll::Ready(permit),
            None => {
                *waiter.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

impl Drop for Permit {
    /// The next one who still waits gets it. Should he leave before he looks, it is dropped with him, and comes here again.
    fn drop(&mut self) {
        let next = || self.shared.line.borrow_mut().pop_front();
        while let Some(left_or_waits) = next() {
            if let Some(waiter) = left_or_waits.upgrade() {
                *waiter.given.borrow_mut() = Some(Self { shared: Rc::clone(&self.shared) });
                let waker = waiter.waker.take();
                return waker.into_iter().for_each(Waker::wake);
            }
        }
        self.shared.free.set(self.shared.free.get() + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Wake};

    #[derive(Default)]
    struct Wakes(AtomicU32);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll<F: Future>(future: std::pin::Pin<&mut F>, wakes: &Arc<Wakes>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(wakes))))
    }

    fn wakes(wakes: &Arc<Wakes>) -> u32 {
        wakes.0.load(Ordering::Relaxed)
    }

    #[test]
    fn so_many_get_a_place_and_the_next_ones_in_their_order() {
        let places = Places::of(2);
        let (first, second) = (places.try_take(), places.try_take());
        assert!(first.is_some() && second.is_some() && places.try_take().is_none());
        let (one, two) = (Arc::default(), Arc::default());
        let mut third = pin!(places.take());
        let mut fourth = pin!(places.take());
        assert!(poll(third.as_mut(), &one).is_pending() && poll(fourth.as_mut(), &two).is_pending());
        drop(first);
        assert_eq!((wakes(&one), wakes(&two)), (1, 0));
        assert!(places.try_take().is_none(), "it is given away");
        let Poll::Ready(third) = poll(third.as_mut(), &one) else { panic!("it has a place") };
        drop((second, third));
        assert!(poll(fourth.as_mut(), &two).is_ready());
        assert!(places.try_take().is_some());
    }

    #[test]
    fn a_place_of_one_who_left_before_he_looked_goes_to_the_next() {
        let places = Places::of(1);
        let held = places.try_take();
        let (one, two) = (Arc::default(), Arc::default());
        let mut leaves = Box::pin(places.take());
        let mut stays = pin!(places.take());
        assert!(poll(leaves.as_mut(), &one).is_pending() && poll(stays.as_mut(), &two).is_pending());
        drop(held);
        assert_eq!((wakes(&one), wakes(&two)), (1, 0));
        drop(leaves);
        assert_eq!(wakes(&two), 1);
        assert!(poll(stays.as_mut(), &two).is_ready());
    }

    #[test]
    fn who_left_the_line_is_passed_over() {
        let places = Places::of(1);
        let held = places.try_take();
        let (one, two) = (Arc::default(), Arc::default());
        let mut leaves = Box::pin(places.take());
        let mut stays = pin!(places.take());
        assert!(poll(leaves.as_mut(), &one).is_pending() && poll(stays.as_mut(), &two).is_pending());
        drop(leaves);
        drop(held);
        assert_eq!((wakes(&one), wakes(&two)), (0, 1));
        drop(poll(stays.as_mut(), &two));
        assert!(places.try_take().is_some(), "the last one out leaves it free");
    }
}
