//! How long live connections may stay: until their token expires or its key is revoked.
//!
//! A connection that goes on holds a [`Tenure`]; a sweep once a second, and one at each revocation, ends those that are over. Requests
//! that are answered and done need none, and in open mode nobody has one.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Waker};

use slab::Slab;

use super::metrics::CloseReason;
use super::world::World;
use crate::api::auth::{AuthError, Authority, Principal};
use crate::session::DirectoryNote;
use crate::shard::{Command, Input};

/// Why somebody may stay no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Expired,
    Revoked,
}

impl Over {
    /// As a socket's close says it.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Expired => "token expired",
            Self::Revoked => "key revoked",
        }
    }

    /// What he would be told if he came now.
    pub(super) fn error(self) -> AuthError {
        match self {
            Self::Expired => AuthError::Expired,
            Self::Revoked => AuthError::Revoked,
        }
    }
}

/// Ends a connection, for this reason.
type End = Box<dyn Fn(Over)>;

struct Held {
    principal: Rc<Principal>,
    end: End,
    has_ended: Cell<bool>,
}

type List = RefCell<Slab<Rc<Held>>>;

/// All tenures of a shard.
#[derive(Default)]
pub(super) struct Tenures {
    list: Rc<List>,
}

/// One connection's; ends with it.
pub(super) struct Tenure {
    place: usize,
    list: Weak<List>,
}

impl Tenures {
    /// A connection of `principal` is there; `end` is called once, when it must end.
    pub(super) fn begin(&self, principal: &Rc<Principal>, end: impl Fn(Over) + 'static) -> Tenure {
        let held = Rc::new(Held { principal: Rc::clone(principal), end: Box::new(end), has_ended: Cell::new(false) });
        Tenure { place: self.list.borrow_mut().insert(held), list: Rc::downgrade(&self.list) }
    }

    /// Ends those that are over at `now_us` (wall clock).
    pub(super) fn sweep(&self, now_us: u64, authority: &Authority<'_>) -> usize {
        let over: Vec<_> = self
            .list
            .borrow()
            .iter()
            .filter(|(_, held)| !held.has_ended.get())
            .filter_map(|(_, held)| over(&held.principal, now_us, authority).map(|why| (Rc::clone(held), why)))
            .collect();
        for (held, why) in &over {
            held.has_ended.set(true);
            (held.end)(*why);
        }
        over.len()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }
}

impl Drop for Tenure {
    fn drop(&mut self) {
        if let Some(list) = self.list.upgrade() {
            let held = list.borrow_mut().try_remove(self.place);
            drop(held); // what it holds may look at the list
        }
    }
}

/// A tenure whose end is looked for by who goes on meanwhile.
pub(super) struct Lease {
    notice: Rc<Notice>,
    _tenure: Tenure,
}

#[derive(Default)]
struct Notice {
    over: Cell<Option<Over>>,
    waker: RefCell<Option<Waker>>,
}

impl Lease {
    pub(super) fn begin(world: &World, principal: &Rc<Principal>) -> Self {
        let notice = Rc::new(Notice::default());
        let told = Rc::clone(&notice);
        let tenure = world.tenures.begin(principal, move |over| {
            told.over.set(Some(over));
            told.waker.borrow_mut().take().into_iter().for_each(Waker::wake);
        });
        Self { notice, _tenure: tenure }
    }

    /// Whether it is over; if not, the task is woken when it is.
    pub(super) fn poll_over(&self, cx: &Context<'_>) -> Option<Over> {
        let over = self.notice.over.get();
        if over.is_none() {
            *self.notice.waker.borrow_mut() = Some(cx.waker().clone());
        }
        over
    }
}

impl World {
    /// Ends the connections whose token has expired or whose key was revoked.
    pub(super) fn sweep_tenures(&self) {
        if !self.tenures.is_empty() {
            let ended = self.with_authority(|authority| self.tenures.sweep(self.now().unix_us, authority));
            (0..ended).for_each(|_| self.metrics.closed(CloseReason::Expired));
        }
    }
}

/// Whether a key is revoked with it.
pub(super) fn revokes(input: &Input<storage::File>) -> bool {
    let Input::Call { command: Command::Learn { notes, .. }, .. } = input else { return false };
    notes.iter().any(|note| matches!(note, DirectoryNote::Key(key) if key.revoked_at_us.is_some()))
}

/// Why a principal may no longer stay.
fn over(principal: &Principal, now_us: u64, authority: &Authority<'_>) -> Option<Over> {
    let is_dead = |id| authority.key(id).is_none_or(|key| key.revoked_at_us.is_some());
    if principal.expires_us.is_some_and(|expires_us| expires_us <= now_us) {
        Some(Over::Expired)
    } else if principal.key.is_some_and(is_dead) {
        Some(Over::Revoked)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::auth::{HmacSecret, KeySet, Keyring, Mode, Settings, Verified, keys};
    use crate::session::{KeyId, KeyPut};

    struct Ring(Vec<KeyPut>);

    impl Keyring for Ring {
        fn key(&self, id: KeyId) -> Option<&KeyPut> {
            self.0.iter().find(|key| key.id == id)
        }
    }

    fn swept(tenures: &Tenures, now_us: u64, keys: Vec<KeyPut>) -> usize {
        let secret = HmacSecret::new(&[7; 32]).unwrap();
        let settings = Settings { mode: Mode::Required, secret, audience: None, issuer: None, admin: None };
        let (keyring, keys, verified) = (Ring(keys), KeySet::default(), Verified::default());
        tenures.sweep(now_us, &Authority { settings: &settings, keyring: &keyring, keys: &keys, verified: &verified })
    }

    #[test]
    fn a_tenure_ends_with_its_token_with_its_key_or_when_it_is_let_go() {
        let (tenures, said) = (Tenures::default(), Rc::new(Cell::new("")));
        let begin = |principal: Principal| {
            let said = Rc::clone(&said);
            tenures.begin(&Rc::new(principal), move |over| said.set(over.reason()))
        };
        let key = keys::admin(keys::make(KeyId::from(5), &[1; 32]).0.reveal()).unwrap();
        let token = begin(Principal { expires_us: Some(10), ..Principal::nobody() });
        let holder = begin(Principal { key: Some(key.id), ..Principal::nobody() });
        assert_eq!((swept(&tenures, 9, vec![key.clone()]), said.get()), (0, ""));
        assert_eq!((swept(&tenures, 10, vec![key.clone()]), said.get()), (1, "token expired"));
        drop(token);
        assert_eq!((swept(&tenures, 11, vec![key.revoked(11)]), said.get()), (1, "key revoked"));
        drop(holder);
        assert!(tenures.is_empty());
    }
}
