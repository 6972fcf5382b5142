//! The timeline of a user: the messages of all its sessions, latest first, with an exact total.
//!
//! There is no index for it: a session's messages ascend in time as in seq, so the newest of all are found by a merge over the
//! sessions' ends, which walks back along the messages and looks at their headers only. Two commands: the keys of the first so many, and
//! the rows of the few that a page shows, so that what lies before a page is never read.
//!
//! Invariants: keys descend by (time, session, seq), and so does every cut of them, whatever clocks did: a message that says that it is
//! older than the one before it counts as old as its follower. A walk that met a cold range goes on where it was.

use super::park::Walk;
use super::{Outcome, Refusal, Reply, Row, Shard, Stop, TimelineKey};
use crate::limits::{CHAT_ROWS_MAX, PAGE_BYTES_MAX, TIMELINE_ROWS_MAX};
use crate::session::{Json, MessageMeta, Namespace, RunPart, Sender, SessionId};
use std::collections::BinaryHeap;
use storage::{Key, Lsn, Medium, Slot};

/// Whose timeline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whose<'a> {
    pub(super) user_id: &'a str,
    /// Only sessions with this agent.
    pub(super) agent_id: Option<&'a str>,
    /// Only this session.
    pub(super) session: Option<SessionId>,
}

/// The next message of a session in a merge. Ordered by what keys are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct End {
    time_us: u64,
    session: SessionId,
    seq: u64,
    slot: u32,
    /// `None`: it was not looked for yet.
    lsn: Option<Lsn>,
}

/// A merge on its way.
#[derive(Debug)]
pub(super) struct TimelineWalk {
    total: u64,
    ends: BinaryHeap<End>,
    keys: Vec<TimelineKey>,
}

impl<M: Medium> Shard<M> {
    /// The first `upto` keys of a timeline, and how many messages it has.
    pub(super) fn timeline_keys(
        &mut self,
        namespace: &Namespace,
        whose: Whose<'_>,
        upto: usize,
    ) -> Result<Outcome, Stop> {
        let mut walk = match self.parked.take_walk() {
            Some(Walk::Timeline(walk)) => walk,
            _ => Box::new(self.begin_timeline(namespace, whose)?),
        };
        let upto = if upto > TIMELINE_ROWS_MAX { 0 } else { upto };
        if let Err(stop) = self.merge(&mut walk, upto) {
            self.parked.keep_walk(Walk::Timeline(walk));
            return Err(stop);
        }
        let TimelineWalk { total, keys, .. } = *walk;
        Ok(Outcome::Reply(Reply::TimelineKeys { total, keys }))
    }

    fn begin_timeline(&self, namespace: &Namespace, whose: Whose<'_>) -> Result<TimelineWalk, Stop> {
        let slots = self.sessions_of(namespace, Some(whose.user_id), whose.agent_id, whose.session)?;
        let ends: BinaryHeap<End> = slots.into_iter().filter_map(|slot| self.end_of(slot)).collect();
        let total = ends.iter().map(|end| end.seq).sum();
        Ok(TimelineWalk { total, ends, keys: Vec::new() })
    }

    /// The last message of a session, if it has one.
    fn end_of(&self, slot: Slot) -> Option<End> {
        let seq = self.committed_seq(slot);
        let time_us = self.catalog.entry(slot)?.last_activity_us;
        (seq > 0).then(|| End { time_us, session: self.id_of(slot), seq, slot: slot.0, lsn: None })
    }

    fn merge(&self, walk: &mut TimelineWalk, upto: usize) -> Result<(), Stop> {
        while walk.keys.len() < upto
            && let Some(&end) = walk.ends.peek()
        {
            let next = if walk.keys.len() + 1 < upto { self.older(&end)? } else { None };
            walk.ends.pop();
            walk.ends.extend(next);
            walk.keys.push(TimelineKey { time_us: end.time_us, session: end.session, seq: end.seq });
        }
        Ok(())
    }

    /// The message before one. `None`: there is none, or its session was deleted while the walk waited.
    fn older(&self, end: &End) -> Result<Option<End>, Stop> {
        let slot = Slot(end.slot);
        if end.seq <= 1 || self.log.slot(Key(end.session.to_u128())) != Some(slot) {
            return Ok(None);
        }
        let lsn = match end.lsn {
            Some(lsn) => lsn,
            None => self.log.find(slot, end.seq)?,
        };
        let (lsn, seq) = (self.log.glance(slot, lsn, end.seq)?.prev, end.seq - 1);
        let time_us = self.log.glance(slot, lsn, seq)?.time_us.min(end.time_us);
        Ok(Some(End { time_us, seq, lsn: Some(lsn), ..*end }))
    }

    /// Messages by their places, in the order asked for, up to a page's bound in bytes but at least one. Those of sessions that are gone
    /// are left out.
    pub(super) fn read_rows(&mut self, places: &[(SessionId, u64)]) -> Result<Outcome, Stop> {
        let (mut rows, mut decided, mut bytes, mut is_cold) = (Vec::new(), 0, 0, false);
        for &(session, seq) in places.iter().take(CHAT_ROWS_MAX) {
            match self.row(session, seq) {
                Ok(row) => {
                    bytes += row.json.as_str().len();
                    if bytes > PAGE_BYTES_MAX && !rows.is_empty() {
                        break;
                    }
                    rows.push(row);
                }
                Err(Stop::Refuse(Refusal::SessionNotFound | Refusal::MessageNotFound)) => {}
                Err(Stop::Cold(cold)) => {
                    self.parked.want(self.now.mono_us, cold); // and go on: all cold ones are warmed at once
                    is_cold = true;
                }
                Err(stop) => return Err(stop),
            }
            decided += 1;
        }
        self.counters.read_messages_total += rows.len() as u64;
        if is_cold { Err(Stop::Park) } else { Ok(Outcome::Reply(Reply::Rows { rows, decided })) }
    }

    /// A message and who speaks in it.
    pub(super) fn row(&self, session: SessionId, seq: u64) -> Result<Row, Stop> {
        let slot = self.readable(session)?;
        if seq == 0 || seq > self.committed_seq(slot) {
            return Err(Refusal::MessageNotFound.into());
        }
        let record = self.log.read(self.log.find(slot, seq)?)?;
        let meta =
            MessageMeta::decode(record.flags, record.meta).expect("a verified message's meta is what was written");
        let entry = self.catalog.entry(slot).expect("a readable session has an entry");
        let names = &self.catalog.names;
        let is_of_run = !matches!(meta.run, RunPart::None | RunPart::Owes);
        // A member of a team, or an agent that speaks in another one's session.
        let author = match meta.sender {
            Sender::Other(id) => names.find(&crate::session::scoped(names.namespace(entry.user), id)),
            Sender::User | Sender::Agent => None,
        };
        let author = author.filter(|&author| is_of_run || self.roster.agent(names, author).is_some());
        let by_agent = meta.sender == Sender::Agent || is_of_run || author.is_some();
        let text = std::str::from_utf8(record.payload).expect("a verified payload is the JSON that was written");
        let (json, time_us) = (Json::from_stored(text), record.time_us);
        Ok(Row { session, seq, time_us, by_agent, agent: self.agent_name(author.unwrap_or(entry.agent)), json })
    }
}
