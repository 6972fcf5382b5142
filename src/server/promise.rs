//! One value that somebody fills in and one task waits for.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// A value that a call's answer fills in and one task waits for.
pub(super) struct Promise<T> {
    value: Cell<Option<T>>,
    waker: RefCell<Option<Waker>>,
}

impl<T> Promise<T> {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self { value: Cell::new(None), waker: RefCell::new(None) })
    }

    pub(super) fn keep(&self, value: T) {
        self.value.set(Some(value));
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    pub(super) async fn kept(&self) -> T {
        poll_fn(|cx| {
            if let Some(value) = self.value.take() {
                return Poll::Ready(value);
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}
