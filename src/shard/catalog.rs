//! The table of sessions: what a shard keeps in memory of every session, idle ones too.
//!
//! Invariants: an entry is addressed by the slot that the log's index gave the session; it holds committed state
//! only, so that everything read from it is durable (the parties are known from the append of the created note on,
//! but the entry is *hidden* until that is durable). The orders and the chains hold exactly the shown sessions,
//! newest id first. An idle session takes at most 56 bytes here beside its names; whatever few sessions have is in
//! [`Extra`]. Names stand scoped ([`crate::session::Namespace::scoped`]): a session's namespace is that of its user's name.
//!
//! Not here: ids and last positions (the log's index has them), metadata (its created note has it).

use super::blobs::Claims;
use super::names::{NO_SLOT, NameId, Names};
use super::order::{NewestOf, Order};
use crate::session::{Namespace, SessionId, SessionStatus, scoped, unread};
use hashbrown::HashMap;
use storage::{Lsn, Slot};

/// One session.
#[derive(Debug)]
pub struct Entry {
    /// Time of the last committed message, microseconds since 1970; 0 before the first.
    pub last_activity_us: u64,
    /// The created note, which holds metadata and time of creation.
    pub created: Lsn,
    /// What few sessions have.
    pub extra: Option<Box<Extra>>,
    /// Its user.
    pub user: NameId,
    /// Its agent.
    pub agent: NameId,
    /// Sender of the last committed message.
    pub last_sender: NameId,
    /// The next older session of the same user.
    next_of_user: u32,
    /// The user's cursor.
    pub user_cursor: u32,
    /// Messages by the user.
    pub own_total: u32,
    /// Messages by the user up to the cursor.
    pub own_at_cursor: u32,
    flags: u8,
}

/// What few sessions have.
#[derive(Debug, Default)]
pub struct Extra {
    /// Cursors of readers other than the user, in the order of their first move.
    pub cursors: Vec<(NameId, u32)>,
    /// Last change of the session itself, microseconds since 1970; 0 when it never changed.
    pub updated_at_us: u64,
    /// What its older messages were compacted to.
    pub compacted: Option<Compacted>,
    /// Files that it claims.
    pub blobs: Option<Box<Claims>>,
    /// What fewer have still: archived sessions are many and must not pay for it.
    pub rare: Option<Box<Rare>>,
}

/// What hardly any session has.
#[derive(Debug, Default)]
pub struct Rare {
    /// The note of its last title, if it was ever renamed.
    pub renamed: Option<Lsn>,
    /// The newest rating of each rater on each message, in the order of the first ones.
    pub ratings: Vec<Rating>,
}

/// What somebody thought of a message. The comment is in its note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rating {
    /// The message.
    pub seq: u32,
    /// Who.
    pub rater: NameId,
    /// From 1 to 5.
    pub rating: u8,
    /// Its note.
    pub note: Lsn,
}

/// Where it stands what a session's older messages were compacted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The last message that it stands for.
    pub upto_seq: u64,
    /// Its note.
    pub note: Lsn,
}

const OCCUPIED: u8 = 1;
const SHOWN: u8 = 2;
const ARCHIVED: u8 = 4;
const DELETING: u8 = 8;
const KEYED: u8 = 16;

impl Entry {
    const VACANT: Self = Self {
        last_activity_us: 0,
        created: Lsn(0),
        extra: None,
        user: NameId::NONE,
        agent: NameId::NONE,
        last_sender: NameId::NONE,
        next_of_user: NO_SLOT,
        user_cursor: 0,
        own_total: 0,
        own_at_cursor: 0,
        flags: 0,
    };

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Its created note is durable: it can be read, listed and joined.
    pub fn shown(&self) -> bool {
        self.has(SHOWN)
    }

    /// Its deleted note was appended: it takes nothing more.
    pub fn deleting(&self) -> bool {
        self.has(DELETING)
    }

    /// See [`Self::deleting`].
    pub fn set_deleting(&mut self) {
        self.flags |= DELETING;
    }

    /// One of its messages carried an idempotency key.
    pub fn keyed(&self) -> bool {
        self.has(KEYED)
    }

    /// See [`Self::keyed`].
    pub fn set_keyed(&mut self) {
        self.flags |= KEYED;
    }

    /// Its status.
    pub fn status(&self) -> SessionStatus {
        if self.has(ARCHIVED) { SessionStatus::Archived } else { SessionStatus::Active }
    }

    /// Archives it at `now_us`, once.
    pub fn archive(&mut self, now_us: u64) {
        if !self.has(ARCHIVED) {
            self.flags |= ARCHIVED;
            self.extra_mut().updated_at_us = now_us;
        }
    }

    /// Another title, at `now_us`: its note.
    pub fn rename(&mut self, note: Lsn, now_us: u64) {
        let extra = self.extra_mut();
        extra.updated_at_us = now_us.max(extra.updated_at_us);
        extra.rare.get_or_insert_default().renamed = Some(note);
    }

    /// The note of its last title, if it was ever renamed.
    pub fn renamed(&self) -> Option<Lsn> {
        self.rare()?.renamed
    }

    /// Its ratings.
    pub fn ratings(&self) -> &[Rating] {
        self.rare().map_or(&[], |rare| &rare.ratings)
    }

    /// Takes in a rating over the same rater's last one on the message.
    pub fn rate(&mut self, rating: Rating) {
        let ratings = &mut self.extra_mut().rare.get_or_insert_default().ratings;
        match ratings.iter_mut().find(|known| (known.seq, known.rater) == (rating.seq, rating.rater)) {
            Some(known) => *known = rating,
            None => ratings.push(rating),
        }
    }

    /// What hardly any session has.
    pub fn rare(&self) -> Option<&Rare> {
        self.extra.as_ref()?.rare.as_deref()
    }

    /// Last change of the session itself, if it ever changed.
    pub fn updated_at_us(&self) -> Option<u64> {
        self.extra.as_ref().map(|extra| extra.updated_at_us).filter(|&time_us| time_us != 0)
    }

    /// What few sessions have, made on first use.
    pub fn extra_mut(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// The files that it claims, made on first use.
    pub fn claims_mut(&mut self) -> &mut Claims {
        self.extra_mut().blobs.get_or_insert_default()
    }

    /// The cursor of `reader`, 0 before its first move.
    pub fn cursor(&self, reader: NameId) -> u64 {
        if reader == self.user {
            return u64::from(self.user_cursor);
        }
        let cursors = self.extra.as_ref().map_or(&[][..], |extra| &extra.cursors);
        cursors.iter().find(|(name, _)| *name == reader).map_or(0, |&(_, cursor)| u64::from(cursor))
    }

    /// Moves the cursor of `reader` forward. `own_at` counts the user's messages up to it and is for the user's
    /// cursor only.
    pub fn move_cursor(&mut self, reader: NameId, last_seq: u32, own_at: u32) {
        if reader == self.user {
            if last_seq > self.user_cursor {
                (self.user_cursor, self.own_at_cursor) = (last_seq, own_at);
            }
            return;
        }
        let cursors = &mut self.extra_mut().cursors;
        match cursors.iter_mut().find(|(name, _)| *name == reader) {
            Some((_, cursor)) => *cursor = last_seq.max(*cursor),
            None => cursors.push((reader, last_seq)),
        }
    }

    /// Messages by others above the user's cursor, given the last committed seq.
    pub fn unread(&self, last_seq: u64) -> u64 {
        unread(last_seq, u64::from(self.user_cursor), self.own_total, self.own_at_cursor)
    }

    /// Flags that a snapshot keeps.
    pub fn kept_flags(&self) -> u8 {
        self.flags & (ARCHIVED | KEYED)
    }

    /// Takes over [`Self::kept_flags`].
    pub fn set_kept_flags(&mut self, flags: u8) {
        self.flags |= flags & (ARCHIVED | KEYED);
    }
}

const CHUNK_ENTRIES: usize = 1024;

/// The table. `id_of` in its functions is the log's answer to "which session is at this slot".
pub struct Catalog {
    /// Ids of users, agents and senders.
    pub names: Names,
    chunks: Vec<Box<[Entry]>>,
    /// The shown sessions, by their namespace as it is stored.
    orders: HashMap<Box<str>, Order>,
}

impl Catalog {
    /// An empty table. `seed` is for [`Names::new`].
    pub fn new(seed: u64) -> Self {
        Self { names: Names::new(seed), chunks: Vec::new(), orders: HashMap::new() }
    }

    /// How many sessions are shown.
    #[allow(clippy::len_without_is_empty)] // a gauge
    pub fn len(&self) -> usize {
        self.orders.values().map(Order::len).sum()
    }

    /// The entry at `slot`, shown or hidden.
    pub fn entry(&self, slot: Slot) -> Option<&Entry> {
        let index = slot.0 as usize;
        self.chunks
            .get(index / CHUNK_ENTRIES)
            .map(|chunk| &chunk[index % CHUNK_ENTRIES])
            .filter(|entry| entry.has(OCCUPIED))
    }

    /// See [`Self::entry`].
    pub fn entry_mut(&mut self, slot: Slot) -> Option<&mut Entry> {
        let index = slot.0 as usize;
        let chunk = self.chunks.get_mut(index / CHUNK_ENTRIES)?;
        Some(&mut chunk[index % CHUNK_ENTRIES]).filter(|entry| entry.has(OCCUPIED))
    }

    /// Puts a hidden session of two scoped names at `slot`. One that stands there already stays as it is.
    pub fn insert(&mut self, slot: Slot, user: &str, agent: &str, created: Lsn) -> &mut Entry {
        let (user, agent) = (self.names.intern(user), self.names.intern(agent));
        let index = slot.0 as usize;
        while self.chunks.len() <= index / CHUNK_ENTRIES {
            self.chunks.push((0..CHUNK_ENTRIES).map(|_| Entry::VACANT).collect());
        }
        let entry = &mut self.chunks[index / CHUNK_ENTRIES][index % CHUNK_ENTRIES];
        if !entry.has(OCCUPIED) {
            *entry = Entry { user, agent, created, flags: OCCUPIED, ..Entry::VACANT };
        }
        entry
    }

    /// The name of somebody in the namespace of the session at `slot`, which is stored if it is new. `None`: there is no session.
    pub fn intern_beside(&mut self, slot: Slot, id: &str) -> Option<NameId> {
        let user = self.entry(slot)?.user;
        let name = scoped(self.names.namespace(user), id).into_owned();
        Some(self.names.intern(&name))
    }

    /// Shows the session at `slot`: from now on it is listed.
    pub fn show(&mut self, slot: Slot, id_of: impl Fn(Slot) -> SessionId) {
        let id = id_of(slot);
        let user = self.occupied(slot).user;
        self.orders.entry_ref(self.names.namespace(user)).or_default().insert(slot, &id_of);
        let (mut newer, mut next) = (NO_SLOT, self.names.head(user));
        while next != NO_SLOT && id_of(Slot(next)) > id {
            (newer, next) = (next, self.occupied(Slot(next)).next_of_user);
        }
        self.occupied_mut(slot).next_of_user = next;
        self.link(user, newer, slot.0);
        self.occupied_mut(slot).flags |= SHOWN;
    }

    /// Removes the session at `slot`, shown or hidden. Its slot may be given to another one.
    pub fn remove(&mut self, slot: Slot, id_of: impl Fn(Slot) -> SessionId) {
        if self.occupied(slot).shown() {
            let user = self.occupied(slot).user;
            let namespace = self.names.namespace(user);
            let order = self.orders.get_mut(namespace).expect("a shown session stands in an order");
            order.remove(slot, &id_of);
            if order.is_empty() {
                self.orders.remove(namespace);
            }
            let (mut newer, mut next) = (NO_SLOT, self.names.head(user));
            while next != slot.0 {
                (newer, next) = (next, self.occupied(Slot(next)).next_of_user);
            }
            self.link(user, newer, self.occupied(slot).next_of_user);
        }
        *self.occupied_mut(slot) = Entry::VACANT;
    }

    /// Shows every session, sorting once: for the end of recovery.
    pub fn show_all(&mut self, id_of: impl Fn(Slot) -> SessionId) {
        let mut sessions: Vec<(SessionId, Slot)> = Vec::new();
        for (chunk, entries) in self.chunks.iter().enumerate() {
            let occupied = entries.iter().enumerate().filter(|(_, entry)| entry.has(OCCUPIED));
            sessions.extend(
                occupied.map(|(index, _)| Slot((chunk * CHUNK_ENTRIES + index) as u32)).map(|slot| (id_of(slot), slot)),
            );
        }
        sessions.sort_unstable();
        let mut slots: HashMap<&str, Vec<Slot>> = HashMap::new();
        for &(_, slot) in &sessions {
            slots.entry(self.names.namespace(self.occupied(slot).user)).or_default().push(slot);
        }
        self.orders = slots.into_iter().map(|(name, slots)| (name.into(), Order::of_sorted(&slots))).collect();
        for (_, slot) in sessions {
            let user = self.occupied(slot).user;
            let older = self.names.head(user);
            let entry = self.occupied_mut(slot);
            entry.next_of_user = older;
            entry.flags |= SHOWN;
            self.names.set_head(user, slot.0);
        }
    }

    /// Slots of the shown sessions of a namespace, newest id first: all or those of one user of it.
    pub fn newest_first(
        &self,
        namespace: &Namespace,
        user_id: Option<&str>,
        before: Option<SessionId>,
        id_of: impl Fn(Slot) -> SessionId,
    ) -> NewestFirst<'_> {
        let Some(user_id) = user_id else {
            let order = self.orders.get(namespace.stored());
            return NewestFirst::All(order.map_or_else(NewestOf::none, |order| order.newest_first(before, id_of)));
        };
        let user = self.names.find(&namespace.scoped(user_id));
        let mut next = user.map_or(NO_SLOT, |user| self.names.head(user));
        while let Some(before) = before
            && next != NO_SLOT
            && id_of(Slot(next)) >= before
        {
            next = self.occupied(Slot(next)).next_of_user;
        }
        NewestFirst::OfUser { catalog: self, next }
    }

    /// The sessions that have what few have.
    pub fn extras(&self) -> impl Iterator<Item = &Entry> {
        self.chunks.iter().flatten().filter(|entry| entry.extra.is_some())
    }

    /// Bytes of memory that the table takes, the boxes of few sessions aside.
    pub fn memory_bytes(&self) -> usize {
        self.chunks.len() * CHUNK_ENTRIES * size_of::<Entry>()
            + self.orders.values().map(Order::memory_bytes).sum::<usize>()
            + self.names.memory_bytes()
    }

    fn link(&mut self, user: NameId, newer: u32, to: u32) {
        match newer {
            NO_SLOT => self.names.set_head(user, to),
            newer => self.occupied_mut(Slot(newer)).next_of_user = to,
        }
    }

    fn occupied(&self, slot: Slot) -> &Entry {
        self.entry(slot).expect("a linked slot holds a session")
    }

    fn occupied_mut(&mut self, slot: Slot) -> &mut Entry {
        self.entry_mut(slot).expect("a linked slot holds a session")
    }
}

/// See [`Catalog::newest_first`].
pub enum NewestFirst<'a> {
    /// Of a namespace.
    All(NewestOf<'a>),
    /// Of one user.
    OfUser {
        /// The table.
        catalog: &'a Catalog,
        /// Where the chain goes on.
        next: u32,
    },
}

impl Iterator for NewestFirst<'_> {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        match self {
            Self::All(slots) => slots.next(),
            Self::OfUser { next: NO_SLOT, .. } => None,
            Self::OfUser { catalog, next } => {
                let slot = Slot(*next);
                *next = catalog.occupied(slot).next_of_user;
                Some(slot)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn id(n: u32) -> SessionId {
        SessionId::from_parts(u64::from(n), 0)
    }

    /// A catalog whose slot n holds the session id(n * 7 % 64), and its model.
    #[derive(Default)]
    struct Model {
        shown: BTreeMap<SessionId, (u32, String)>,
    }

    fn id_of(slot: Slot) -> SessionId {
        id(slot.0 * 7 % 64)
    }

    fn assert_lists_agree(catalog: &Catalog, model: &Model) {
        for before in [None, Some(id(20)), Some(id(50))] {
            for user in [None, Some("a"), Some("b"), Some("nobody")] {
                let expected: Vec<u32> = model
                    .shown
                    .iter()
                    .rev()
                    .filter(|(id, (_, of))| {
                        before.is_none_or(|before| **id < before) && user.is_none_or(|user| user == of)
                    })
                    .map(|(_, (slot, _))| *slot)
                    .collect();
                let listed: Vec<u32> =
                    catalog.newest_first(&Namespace::default(), user, before, id_of).map(|slot| slot.0).collect();
                assert_eq!(listed, expected);
            }
        }
    }

    proptest! {
        #[test]
        fn lists_are_newest_first_whatever_comes_and_goes(steps in proptest::collection::vec((0..64u32, any::<bool>()), 0..120)) {
            let mut catalog = Catalog::new(1);
            let mut model = Model::default();
            for (slot, of_a) in steps {
                let user = if of_a { "a" } else { "b" };
                if catalog.entry(Slot(slot)).is_some() {
                    catalog.remove(Slot(slot), id_of);
                    model.shown.remove(&id_of(Slot(slot)));
                } else {
                    catalog.insert(Slot(slot), user, "bot", Lsn(1));
                    catalog.show(Slot(slot), id_of);
                    model.shown.insert(id_of(Slot(slot)), (slot, user.into()));
                }
            }
            assert_lists_agree(&catalog, &model);
        }
    }

    #[test]
    fn recovery_shows_the_same_lists_as_growth() {
        let mut catalog = Catalog::new(1);
        let mut model = Model::default();
        for slot in (0..64).rev() {
            let user = if slot % 3 == 0 { "a" } else { "b" };
            catalog.insert(Slot(slot), user, "bot", Lsn(1));
            model.shown.insert(id_of(Slot(slot)), (slot, user.into()));
        }
        catalog.show_all(id_of);
        assert_lists_agree(&catalog, &model);
    }

    #[test]
    fn a_hidden_session_is_in_no_list_and_can_be_removed() {
        let mut catalog = Catalog::new(1);
        catalog.insert(Slot(0), "a", "bot", Lsn(1));
        assert!(!catalog.entry(Slot(0)).unwrap().shown());
        assert_eq!(catalog.newest_first(&Namespace::default(), None, None, id_of).count(), 0);
        catalog.remove(Slot(0), id_of);
        assert!(catalog.entry(Slot(0)).is_none());
    }

    #[test]
    fn a_cursor_of_the_user_stands_in_the_entry_and_others_beside_it() {
        let mut catalog = Catalog::new(1);
        let (user, other) = (catalog.names.intern("a"), catalog.names.intern("x"));
        let entry = catalog.insert(Slot(0), "a", "bot", Lsn(1));
        entry.own_total = 3;
        entry.move_cursor(user, 4, 2);
        entry.move_cursor(user, 3, 1);
        assert!(entry.extra.is_none());
        entry.move_cursor(other, 9, 0);
        entry.move_cursor(other, 8, 0);
        assert_eq!((entry.cursor(user), entry.cursor(other)), (4, 9));
        assert_eq!(entry.unread(10), 5);
    }

    #[test]
    fn an_idle_session_takes_less_than_140_bytes_here() {
        assert!(size_of::<Entry>() <= 56, "{}", size_of::<Entry>());
        let mut catalog = Catalog::new(1);
        let sessions = 100_000u32;
        for slot in 0..sessions {
            let user = format!("0198a7c2-1111-7abc-8def-{slot:012}"); // 36 characters, like a UUID
            catalog.insert(Slot(slot), &user, "support-bot", Lsn(1));
        }
        catalog.show_all(|slot| id(slot.0));
        let per_session = catalog.memory_bytes() / sessions as usize;
        // Beside it the log's index takes 48 to 60: together under 200.
        assert!(per_session < 140, "{per_session} bytes per session");
    }
}
