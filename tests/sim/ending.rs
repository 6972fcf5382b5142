//! The end of a run: whether everything has come to rest, and a look at all that was promised.

use crate::clients::{State, USERS};
use crate::oracle::{Final, Op, Plan, messages_of, seq_and_op};
use crate::teams::Closed;
use crate::world::World;
use fleetlm::session::{SessionId, rfc3339};
use fleetlm::shard::*;
use serde_json::Value;
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
        let closed = self.closed_runs();
        for session in 0..self.oracle.sessions.len() {
            self.check_session(session, &inboxes[self.oracle.sessions[session].user], &closed);
        }
        USERS.into_iter().for_each(|user| self.check_timeline(user));
        for (n, watcher) in self.clients.watchers.iter().enumerate() {
            if watcher.view != inboxes[watcher.user] {
                let text = format!("watcher {n} shows {:?}, the inbox is {:?}", watcher.view, inboxes[watcher.user]);
                self.oracle.violations.push(text);
            }
        }
    }

    /// A user's timeline over all shards is what its sessions hold, sorted, and its rows are those messages.
    fn check_timeline(&mut self, user: &'static str) {
        let of_user = |plan: &&Plan| plan.user == user && plan.created && !plan.deleted;
        let sessions: Vec<SessionId> = self.oracle.sessions.iter().filter(of_user).map(|plan| plan.id).collect();
        let mut expected = Vec::new();
        for id in sessions {
            let all = Command::ReadMessages { session: id, from: PageFrom::After(0), limit: 100_000 };
            let Ok(Reply::Messages(page)) = self.ask(self.owner(id), all) else {
                return self.oracle.violation(format!("a session of {user} cannot be read"));
            };
            let at = |message: &Value| message["inserted_at"].as_str().expect("a message has a time").to_owned();
            expected.extend(messages_of(&page).into_iter().map(|message| (at(&message), id, seq_and_op(&message).0)));
        }
        expected.sort_unstable_by(|a, b| b.cmp(a)); // texts of one width sort like their times
        let (mut total, mut keys) = (0, Vec::new());
        for shard in 0..self.shards() {
            let (user_id, upto) = (user.to_owned(), fleetlm::limits::TIMELINE_ROWS_MAX);
            let timeline = Command::TimelineKeys { user_id, agent_id: None, session: None, upto };
            let Ok(Reply::TimelineKeys { total: here, keys: found }) = self.ask(ShardId(shard), timeline) else {
                return self.oracle.violation(format!("the timeline of {user} cannot be read"));
            };
            total += here;
            keys.extend(found);
        }
        keys.sort_unstable_by(|a, b| b.cmp(a));
        let told: Vec<_> = keys.iter().map(|key| (rfc3339(key.time_us), key.session, key.seq)).collect();
        if told != expected || total != expected.len() as u64 {
            self.oracle
                .violation(format!("the timeline of {user} is {told:?} of {total}, its sessions hold {expected:?}"));
        }
        for key in keys {
            let places = vec![(key.session, key.seq)];
            let answer = self.ask(self.owner(key.session), Command::ReadRows { places });
            let is_it = |row: &Row| (row.session, row.seq, row.time_us) == (key.session, key.seq, key.time_us);
            if !matches!(&answer, Ok(Reply::Rows { rows, .. }) if rows.len() == 1 && is_it(&rows[0])) {
                self.oracle.violation(format!("the row of {key:?} is {answer:?}"));
            }
        }
    }

    fn check_session(&mut self, session: usize, inbox: &BTreeMap<SessionId, u64>, closed: &Closed) {
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
        self.check_unanswered(session, &messages, closed);
        self.check_retries(session, &messages, closed);
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
