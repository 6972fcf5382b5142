//! The epoll set of one executor and the task that looks into it.
//!
//! Edge-triggered: a change is told once. So a socket remembers that it is ready until a call on it says that it is not; what is
//! told while nobody waits is not lost.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Waker};

use glommio::io::PollableFd;
use rustix::event::{Timespec, epoll};
use slab::Slab;

/// Changes that one look takes. More wait for the next look, right behind.
const EVENTS_PER_LOOK: usize = 256;
/// Looks of a turn; what is left comes after the tasks that these woke.
const LOOKS_PER_TURN: usize = 16;

/// See the top of the file.
pub struct Poller {
    set: PollableFd<OwnedFd>,
    places: RefCell<Slab<Rc<Readiness>>>,
    changes: Cell<u64>,
}

/// What is known of one socket.
#[derive(Debug)]
pub(super) struct Readiness {
    readable: Cell<bool>,
    writable: Cell<bool>,
    /// The peer sends no more, or there is an error: the next read tells it, however short the last one was.
    ending: Cell<bool>,
    /// The one task that waits.
    waker: RefCell<Option<Waker>>,
}

/// A socket's place in the set.
pub(super) struct Place {
    pub(super) readiness: Rc<Readiness>,
    poller: Rc<Poller>,
    key: usize,
}

impl Poller {
    /// An empty set, and a task on this executor that wakes whoever waits for its sockets. The task ends when nothing else holds the
    /// set.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn start() -> io::Result<Rc<Self>> {
        let set = rustix::event::epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let poller = Rc::new(Self { set: PollableFd::new(set)?, places: RefCell::default(), changes: Cell::default() });
        glommio::spawn_local(serve(Rc::clone(&poller))).detach();
        Ok(poller)
    }

    pub(super) fn add(self: &Rc<Self>, socket: impl AsFd) -> io::Result<Place> {
        let readiness = Rc::new(Readiness {
            // Until a call says otherwise.
            readable: Cell::new(true),
            writable: Cell::new(true),
            ending: Cell::new(false),
            waker: RefCell::new(None),
        });
        let key = self.places.borrow_mut().insert(Rc::clone(&readiness));
        let place = Place { readiness, poller: Rc::clone(self), key };
        let interest =
            epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        epoll::add(self.set.get_ref(), socket, epoll::EventData::new_u64(key as u64), interest)?;
        Ok(place)
    }

    /// Takes what changed and wakes those who wait for it. True: something did change.
    pub fn look(&self) -> bool {
        let mut events = [const { MaybeUninit::uninit() }; EVENTS_PER_LOOK];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut has_changed = false;
        for _ in 0..LOOKS_PER_TURN {
            // Interrupted by a signal: the set is still readable, so the next turn comes at once.
            let Ok((changed, _)) = epoll::wait(self.set.get_ref(), &mut events, Some(&at_once)) else { break };
            has_changed |= !changed.is_empty();
            self.changes.set(self.changes.get() + changed.len() as u64);
            let places = self.places.borrow();
            for event in changed.iter() {
                let key = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                // A socket that closed is in the set no more, and nothing runs between the look and here.
                if let Some(readiness) = places.get(key) {
                    readiness.change(event.flags);
                }
            }
            if changed.len() < EVENTS_PER_LOOK {
                break;
            }
        }
        has_changed
    }

    /// Changes that were told so far, of all sockets.
    pub fn changes(&self) -> u64 {
        self.changes.get()
    }
}

async fn serve(poller: Rc<Poller>) {
    while Rc::strong_count(&poller) > 1 {
        if let Err(error) = poller.set.readable().await {
            // The ring cannot be asked: the executor is ending.
            tracing::debug!(%error, "the sockets' set is not watched any more");
            return;
        }
        poller.look();
    }
}

impl Readiness {
    fn change(&self, flags: epoll::EventFlags) {
        use epoll::EventFlags;
        let ends = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        if ends {
            self.ending.set(true);
        }
        if ends || flags.contains(EventFlags::IN) {
            self.readable.set(true);
        }
        if ends || flags.contains(EventFlags::OUT) {
            self.writable.set(true);
        }
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    pub(super) fn is_readable(&self) -> bool {
        self.readable.get()
    }

    pub(super) fn is_writable(&self) -> bool {
        self.writable.get()
    }

    /// A read found nothing more. A short one is as good as a refused one, but for the end that may stand behind it.
    pub(super) fn was_read_empty(&self) {
        self.readable.set(self.ending.get());
    }

    /// A read was refused: there is nothing, not even an end.
    pub(super) fn refused_read(&self) {
        self.readable.set(false);
    }

    pub(super) fn refused_write(&self) {
        self.writable.set(false);
    }

    /// The task waits for the next change. One task at a time.
    pub(super) fn wait(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.poller.places.borrow_mut().remove(self.key);
    }
}
