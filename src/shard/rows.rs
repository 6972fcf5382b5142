//! Sessions as rows of a list, and what their user has not read: for dialects that show conversations and an inbox over HTTP.
//!
//! Invariants: rows and counts are of committed state; lists are in one order over all shards, so that each may give its first so many
//! and whoever merges them cuts once. Not here: inboxes over channels (`inbox`), which are told of every change.

use super::catalog::Entry;
use super::commit::Effect;
use super::timeline::Whose;
use super::{Caller, Now, Outcome, Refusal, Reply, Row, SessionRow, Shard, Stop};
use crate::limits::{CHAT_ROWS_MAX, MARKED_SESSIONS_MAX, PAGE_BYTES_MAX, SESSION_ROWS_MAX, UNREAD_SESSIONS_MAX};
use crate::session::{CursorMoved, Namespace, SessionId, SessionStatus, advance, kind};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use storage::{Medium, Slot};

/// Which rows of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed<'a> {
    /// Only this user's.
    pub(super) user_id: Option<&'a str>,
    /// Only those with this agent.
    pub(super) agent_id: Option<&'a str>,
    /// Only this one.
    pub(super) session: Option<SessionId>,
    /// How many.
    pub(super) limit: usize,
    /// Behind so many.
    pub(super) offset: usize,
}

impl<M: Medium> Shard<M> {
    /// This shard's first `offset + limit` sessions, most recently active first, and how many there are.
    pub(super) fn list_rows(&mut self, namespace: &Namespace, listed: Listed<'_>) -> Result<Outcome, Stop> {
        let Listed { user_id, agent_id, session, limit, offset } = listed;
        let mut slots = self.sessions_of(namespace, user_id, agent_id, session)?;
        let total = slots.len() as u64;
        let upto = offset.saturating_add(limit);
        let upto = if upto > SESSION_ROWS_MAX { 0 } else { upto.min(slots.len()) };
        let key = |slot: &Slot| Reverse(self.activity(*slot));
        if upto > 0 && upto < slots.len() {
            slots.select_nth_unstable_by_key(upto - 1, key);
        }
        slots.truncate(upto);
        slots.sort_unstable_by_key(key);
        let (mut rows, mut is_cold) = (Vec::with_capacity(upto), false);
        for slot in slots {
            match self.session_row(slot) {
                Ok(row) => rows.push(row),
                Err(Stop::Cold(cold)) => {
                    self.parked.want(self.now.mono_us, cold); // and go on: all cold ones are warmed at once
                    is_cold = true;
                }
                Err(stop) => return Err(stop),
            }
        }
        if is_cold { Err(Stop::Park) } else { Ok(Outcome::Reply(Reply::SessionRows { total, rows })) }
    }

    /// The shown sessions of these parties. A single one that is not theirs is not there.
    pub(super) fn sessions_of(
        &self,
        namespace: &Namespace,
        user_id: Option<&str>,
        agent_id: Option<&str>,
        session: Option<SessionId>,
    ) -> Result<Vec<Slot>, Stop> {
        let names = &self.catalog.names;
        let name = |id: Option<&str>| id.map(|id| names.find(&namespace.scoped(id)));
        let (user, agent) = (name(user_id), name(agent_id));
        let is_theirs = |entry: &Entry| {
            user.is_none_or(|user| user == Some(entry.user)) && agent.is_none_or(|agent| agent == Some(entry.agent))
        };
        let is_shown_to = |slot: &Slot| self.catalog.entry(*slot).is_some_and(is_theirs);
        if let Some(session) = session {
            let slot = self.readable(session)?;
            return if is_shown_to(&slot) { Ok(vec![slot]) } else { Err(Refusal::SessionNotFound.into()) };
        }
        let id_of = |slot: Slot| self.id_of(slot);
        Ok(self.catalog.newest_first(namespace, user_id, None, id_of).filter(is_shown_to).collect())
    }

    /// By what lists are ordered: the last message; before the first one, when the session was made, as far as its id tells.
    fn activity(&self, slot: Slot) -> (u64, SessionId) {
        let (entry, id) = (self.catalog.entry(slot), self.id_of(slot));
        let last_us = entry.map_or(0, |entry| entry.last_activity_us);
        (if last_us == 0 { id.created_us() } else { last_us }, id)
    }

    fn session_row(&self, slot: Slot) -> Result<SessionRow, Stop> {
        let facts = self.facts(slot)?;
        let entry = self.catalog.entry(slot).expect("a listed session has an entry");
        let messages = self.committed_seq(slot);
        let text = |name| self.catalog.names.id(name).to_owned();
        let changed_us = entry.updated_at_us().unwrap_or(0).max(entry.last_activity_us);
        Ok(SessionRow {
            id: self.id_of(slot),
            user_id: text(entry.user),
            agent_id: text(entry.agent),
            status: entry.status(),
            title: facts.title,
            created_us: facts.inserted_at_us,
            updated_us: changed_us.max(facts.inserted_at_us),
            active_us: self.activity(slot).0,
            messages,
            unread: entry.unread(messages),
        })
    }

    /// The active sessions of a user that hold something unread, and how much that is.
    fn unread_sessions(&self, namespace: &Namespace, whose: Whose<'_>) -> Result<(Vec<Slot>, u64), Stop> {
        let mut slots = self.sessions_of(namespace, Some(whose.user_id), whose.agent_id, whose.session)?;
        let mut count = 0;
        slots.retain(|&slot| {
            let entry = self.catalog.entry(slot).expect("a listed session has an entry");
            let unread = entry.unread(self.committed_seq(slot));
            let is_counted = entry.status() == SessionStatus::Active && unread > 0;
            count += if is_counted { unread } else { 0 };
            is_counted
        });
        Ok((slots, count))
    }

    /// The user's oldest unread messages, at most `limit` and a page's bytes, and how many there are. The walk is short, so it begins
    /// again behind a range that was cold.
    pub(super) fn read_unread(
        &mut self,
        namespace: &Namespace,
        whose: Whose<'_>,
        limit: usize,
    ) -> Result<Outcome, Stop> {
        let limit = limit.min(CHAT_ROWS_MAX);
        let (mut slots, count) = self.unread_sessions(namespace, whose)?;
        let is_left_out = slots.len() > UNREAD_SESSIONS_MAX;
        if is_left_out {
            slots.select_nth_unstable_by_key(UNREAD_SESSIONS_MAX, |&slot| self.activity(slot));
            slots.truncate(UNREAD_SESSIONS_MAX);
        }
        let (mut next, mut is_cold) = (BinaryHeap::new(), false);
        for slot in if limit > 0 { slots } else { Vec::new() } {
            let cursor = self.catalog.entry(slot).map_or(0, |entry| u64::from(entry.user_cursor));
            match self.first_by_others(slot, cursor) {
                Ok(found) => next.extend(found.map(Reverse)),
                Err(Stop::Cold(cold)) => {
                    self.parked.want(self.now.mono_us, cold);
                    is_cold = true;
                }
                Err(stop) => return Err(stop),
            }
        }
        if is_cold {
            return Err(Stop::Park);
        }
        let (mut rows, mut bytes): (Vec<Row>, usize) = (Vec::new(), 0);
        while rows.len() < limit
            && let Some(Reverse((_, session, seq))) = next.pop()
        {
            let row = self.row(session, seq)?;
            bytes += row.json.as_str().len();
            if bytes > PAGE_BYTES_MAX && !rows.is_empty() {
                return Ok(Outcome::Reply(Reply::Unread { count, rows, is_cut: true }));
            }
            rows.push(row);
            let slot = self.readable(session)?;
            next.extend(self.first_by_others(slot, seq)?.map(Reverse));
        }
        Ok(Outcome::Reply(Reply::Unread { count, rows, is_cut: is_left_out }))
    }

    /// The first message above `after` that the session's user has not written: its time, session and seq. Every message says how many
    /// of the user's there are up to it, so what the user wrote meanwhile is leapt over, however much it is.
    fn first_by_others(&self, slot: Slot, after: u64) -> Result<Option<(u64, SessionId, u64)>, Stop> {
        let last = self.committed_seq(slot);
        let own_total = self.catalog.entry(slot).map_or(0, |entry| entry.own_total);
        let by_others = |seq: u64| match seq {
            0 => Ok(0),
            seq if seq == last => Ok(last - u64::from(own_total)),
            seq => self.own_at(slot, seq).map(|own| seq - u64::from(own)),
        };
        let known = by_others(after.min(last))?;
        if by_others(last)? == known {
            return Ok(None);
        }
        let (mut below, mut leap) = (after, 1);
        while by_others(below.saturating_add(leap).min(last))? == known {
            (below, leap) = (below + leap, leap * 2);
        }
        let mut found = below.saturating_add(leap).min(last);
        while found - below > 1 {
            let middle = below + (found - below) / 2;
            if by_others(middle)? == known { below = middle } else { found = middle }
        }
        let time_us = self.log.read(self.log.find(slot, found)?)?.time_us;
        Ok(Some((time_us, self.id_of(slot), found)))
    }

    /// Moves the user's cursor to the end of each session with something unread, as many as one turn may, or to `upto` in one session.
    pub(super) fn mark_all_read(
        &mut self,
        now: Now,
        from: Caller,
        namespace: &Namespace,
        whose: Whose<'_>,
        upto: Option<u64>,
    ) -> Result<Outcome, Stop> {
        let slots = self.sessions_of(namespace, Some(whose.user_id), whose.agent_id, whose.session)?;
        let mut moves = Vec::new();
        for slot in slots {
            let entry = self.catalog.entry(slot).expect("a listed session has an entry");
            let last_seq = self.committed_seq(slot);
            let wanted = advance(u64::from(entry.user_cursor), upto.unwrap_or(last_seq), last_seq);
            if let Some(wanted) = wanted.filter(|_| !entry.deleting() && entry.unread(last_seq) > 0) {
                let own_at = if wanted == last_seq { entry.own_total } else { self.own_at(slot, wanted)? };
                moves.push((slot, wanted, own_at));
            }
            if moves.len() == MARKED_SESSIONS_MAX {
                break;
            }
        }
        let is_part = moves.len() == MARKED_SESSIONS_MAX;
        if !self.commits.has_room_for(moves.len()) {
            return Err(Refusal::Overloaded.into());
        }
        for &(slot, last_seq, own_at) in &moves {
            let note = CursorMoved { user_id: whose.user_id.to_owned(), last_seq, own_at: Some(own_at) };
            let (lsn, _) = self.append_note(now, self.id_of(slot), kind::CURSOR_MOVED, 0, &note.render())?;
            let reader = self.catalog.entry(slot).expect("a listed session has an entry").user;
            let last_seq = last_seq as u32; // limits::SESSION_MESSAGES_MAX has 32 bits
            let effect = Effect::CursorMoved { slot, reader, last_seq, own_at, facts: None };
            self.commits.push(lsn, self.nobody(), effect);
        }
        if moves.is_empty() || self.commits.push_behind(from, Effect::Marked { is_part }).is_some() {
            return Ok(Outcome::Reply(Reply::Done));
        }
        Ok(Outcome::Later)
    }
}
