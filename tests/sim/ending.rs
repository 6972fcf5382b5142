//! The end of a run: whether everything has come to rest, and a look at all that was promised.

use crate::clients::{State, USERS};
use crate::oracle::{Final, Op, Plan, messages_of, seq_and_op};
use crate::world::World;
use fleetlm::session::SessionId;
use fleetlm::shard::*;
use std::collections::BTreeMap;

impl World {
    fn open_ends(&self) -> Vec<String> {
        let mut open = Vec::new();
        for (session, plan) in self.oracle.sessions.iter().enumerate() {
            if !plan.created || plan.deleting != plan.deleted {
                open.push(format!("session {session}"));
            }
        }
        let waits = |op: &Op| !op.given_up && (op.acked.is_none() || op.in_flight);
        open.extend(self.oracle.ops.iter().enumerate().filter(|(_, op)| waits(op)).map(|(op, _)| format!("op {op}")));
        for (n, tail) in self.clients.tails.iter().enumerate() {
            let last = self.oracle.last_seen(tail.session);
            let deleted = self.oracle.sessions[tail.session].deleted;
            let done =
                if deleted { tail.state == State::Closed } else { tail.state == State::In && tail.cursor() >= last };
            if !done {
                open.push(format!("tail {n} of session {} at {} of {last}", tail.session, tail.cursor()));
            }
        }
        if !self.runs_are_over() {
            open.push("a run".to_owned());
        }
        let out = self.clients.watchers.iter().enumerate().filter(|(_, watcher)| watcher.state != State::In);
        open.extend(out.map(|(n, _)| format!("watcher {n}")));
        open
    }

    /// Whether everything that was begun has come to its end.
    pub fn is_settled(&mut self) -> bool {
        if !self.asked.is_empty() || !self.open_ends().is_empty() {
            self.clients.settled_since_us = None;
            return false;
        }
        // Inboxes may be told of the last change one interval later.
        let now_us = self.now().mono_us;
        let since_us = *self.clients.settled_since_us.get_or_insert(now_us);
        now_us >= since_us + 3 * fleetlm::limits::INBOX_INTERVAL_US
    }

    pub fn describe_open(&self) -> String {
        format!("{:?} {:?}", self.open_ends(), self.asked.values().collect::<Vec<_>>())
    }

    pub fn check_everything(&mut self) {
        let mut inboxes = BTreeMap::new();
        for user in USERS {
            let mut entries = BTreeMap::new();
            for shard in 0..self.shards() {
                let Ok(Reply::Inbox { entries: found }) =
                    self.ask(ShardId(shard), Command::WatchInbox { user_id: user.into() })
                else {
                    return self.oracle.violation("an inbox cannot be read".to_owned());
                };
                entries.extend(found.into_iter().map(|entry| (entry.session, entry.unread_count)));
            }
            inboxes.insert(user, entries);
        }
        for session in 0..self.oracle.sessions.len() {
            self.check_session(session, &inboxes[self.oracle.sessions[session].user]);
        }
        for (n, watcher) in self.clients.watchers.iter().enumerate() {
            if watcher.view != inboxes[watcher.user] {
                let text = format!("watcher {n} shows {:?}, the inbox is {:?}", watcher.view, inboxes[watcher.user]);
                self.oracle.violations.push(text);
            }
        }
    }

    fn check_session(&mut self, session: usize, inbox: &BTreeMap<SessionId, u64>) {
        let Plan { id, user, deleted, .. } = self.oracle.sessions[session].clone();
        let owner = self.owner(id);
        let answer = self.ask(owner, Command::ReadSession { id });
        if deleted {
            if answer != Err(Refusal::SessionNotFound) || inbox.contains_key(&id) {
                self.oracle.violation(format!("session {session} was deleted and is there: {answer:?}"));
            }
            return;
        }
        let Ok(Reply::Session { json }) = answer else {
            return self.oracle.violation(format!("session {session} is lost: {answer:?}"));
        };
        let archived = json.as_str().contains("\"status\":\"archived\"");
        let all = Command::ReadMessages { session: id, from: PageFrom::After(0), limit: 100_000 };
        let (Ok(Reply::Messages(page)), Ok(Reply::Cursors { cursors, .. })) =
            (self.ask(owner, all), self.ask(owner, Command::ReadCursors { session: id }))
        else {
            return self.oracle.violation(format!("session {session} cannot be read"));
        };
        let messages = messages_of(&page);
        messages.iter().for_each(|message| self.oracle.saw(session, message));
        self.check_answers(session, &messages);
        self.check_unanswered(session, &messages);
        let cursor = cursors.iter().find(|(reader, _)| reader == user).map_or(0, |(_, cursor)| *cursor);
        let messages = messages.iter().map(seq_and_op).collect();
        self.oracle.check(session, &Final { messages, cursor, unread: inbox.get(&id).copied(), archived });
        for tail in self.clients.tails.iter().filter(|tail| tail.session == session) {
            if tail.cursor() != page.last_seq || tail.has.len() as u64 != page.last_seq {
                self.oracle
                    .violations
                    .push(format!("a tail of session {session} has {:?} of {}", tail.has, page.last_seq));
            }
        }
    }
}
