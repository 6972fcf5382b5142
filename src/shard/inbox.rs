//! Inboxes, on the side of the sessions' owner: a user's entries on this shard, and telling watchers of their changes.

use super::{Caller, InboxEntry, Outcome, Output, Push, Reply, Shard, Stop, bounded_name};
use crate::limits::INBOX_ENTRIES_MAX;
use crate::session::{Namespace, SessionId, SessionStatus};
use std::cmp::Reverse;
use storage::{Medium, Slot, Sync, Work};

impl<M: Medium> Shard<M> {
    pub(super) fn watch_inbox(&mut self, from: Caller, namespace: &Namespace, user_id: &str) -> Result<Outcome, Stop> {
        bounded_name("user_id", user_id)?;
        let log = &self.log;
        let id_of = |slot: Slot| SessionId::from(log.key(slot).0);
        let activity = |slot: Slot| self.catalog.entry(slot).map_or(0, |entry| entry.last_activity_us);
        let in_inbox =
            |slot: &Slot| self.catalog.entry(*slot).is_some_and(|entry| entry.status() == SessionStatus::Active);
        let mut slots: Vec<Slot> =
            self.catalog.newest_first(namespace, Some(user_id), None, id_of).filter(in_inbox).collect();
        if slots.len() > INBOX_ENTRIES_MAX {
            slots.select_nth_unstable_by_key(INBOX_ENTRIES_MAX, |&slot| Reverse((activity(slot), id_of(slot))));
            slots.truncate(INBOX_ENTRIES_MAX);
        }
        let entries = slots.into_iter().map(|slot| self.inbox_entry(slot)).collect();
        self.watchers.add(namespace.scoped(user_id).into_owned(), from.shard);
        Ok(Outcome::Reply(Reply::Inbox { entries }))
    }

    /// Tells who watches the inbox of the session's user how its entry stands.
    pub(super) fn push_inbox(&self, slot: Slot, gone: bool, out: &mut Vec<Output<Sync<M>, Work<M>>>) {
        let Some(entry) = self.catalog.entry(slot) else { return };
        let user = self.catalog.names.text(entry.user);
        if self.watchers.total() == 0 || (entry.status() == SessionStatus::Archived && !gone) {
            return;
        }
        for &to in self.watchers.of(user) {
            let entry = InboxEntry { gone, ..self.inbox_entry(slot) };
            out.push(Output::Push { to, push: Push::Inbox { user: user.to_owned(), entry } });
        }
    }

    fn inbox_entry(&self, slot: Slot) -> InboxEntry {
        let entry = self.catalog.entry(slot).expect("a listed session has an entry");
        let text = |name| self.catalog.names.id(name).to_owned();
        InboxEntry {
            session: self.id_of(slot),
            agent_id: text(entry.agent),
            unread_count: entry.unread(self.committed_seq(slot)),
            last_activity_us: (entry.last_activity_us != 0).then_some(entry.last_activity_us),
            last_sender_id: entry.last_sender.some().map(text),
            last_seq: self.committed_seq(slot),
            gone: false,
            as_of: self.released.0,
        }
    }
}
