//! Appended, not yet durable: what becomes true, is answered and is pushed when the durable mark passes.
//!
//! Invariants: effects are released in the order of their records; nothing reads an effect before its release. The
//! queue is bounded by number and bytes. Of a session with something in the queue it is known how much, so that what
//! is committed can be told from what is appended.

use super::answer::MessageRun;
use super::blobs::BlobRef;
use super::catalog::{Compacted, Rating};
use super::names::NameId;
use super::terms::Spoken;
use super::{Caller, Refusal, RunEvent};
use crate::limits::{PENDING_COMMIT_BYTES_MAX, PENDING_COMMITS_MAX};
use crate::session::{BlobReleased, Json, RunId, SessionId};
use hashbrown::HashMap;
use std::collections::VecDeque;
use storage::{Lsn, Slot};

/// One command that waits for its record.
#[derive(Debug)]
pub struct Pending {
    /// Its record; for an answer that only waits for others, the last record it rests on.
    pub lsn: Lsn,
    /// Who is answered.
    pub from: Caller,
    /// What becomes true.
    pub effect: Effect,
}

/// What becomes true when a record is durable.
#[derive(Debug)]
pub enum Effect {
    /// A session is there.
    Created {
        /// Where.
        slot: Slot,
        /// As clients read it.
        json: Json,
    },
    /// A message is there.
    Message {
        /// Whose.
        slot: Slot,
        /// Which.
        seq: u64,
        /// As clients read it.
        json: Json,
        /// Who wrote it.
        sender: NameId,
        /// The session's user wrote it.
        own: bool,
        /// When.
        time_us: u64,
        /// What it has to do with runs.
        run: MessageRun,
        /// The answer holds it.
        echo: bool,
        /// What its author wants besides.
        spoken: Option<Box<Spoken>>,
    },
    /// The run of a session ended without a message.
    RunClosed {
        /// Whose.
        slot: Slot,
        /// Which.
        run: RunId,
    },
    /// A session's older messages were compacted.
    Compacted {
        /// Whose.
        slot: Slot,
        /// To what.
        compacted: Compacted,
    },
    /// Nothing; the answer to who stopped a run.
    Stopped(Box<RunEvent>),
    /// A session left the inbox.
    Archived {
        /// Which.
        slot: Slot,
        /// What its JSON object needs from the log.
        facts: Facts,
        /// When.
        time_us: u64,
    },
    /// A cursor moved.
    CursorMoved {
        /// In which session.
        slot: Slot,
        /// Whose.
        reader: NameId,
        /// Where to.
        last_seq: u32,
        /// See [`super::catalog::Entry::move_cursor`].
        own_at: u32,
        /// What the answer needs from the log; `None`: nobody is answered.
        facts: Option<Facts>,
    },
    /// Nothing; the answer to who moved all cursors.
    Marked {
        /// As many as one turn may move.
        is_part: bool,
    },
    /// A session has another title.
    Renamed {
        /// Which.
        slot: Slot,
        /// The note of it.
        note: Lsn,
        /// What its JSON object needs from the log.
        facts: Facts,
        /// When.
        time_us: u64,
    },
    /// A message was rated.
    Rated {
        /// Where.
        slot: Slot,
        /// How.
        rating: Rating,
    },
    /// A session is gone.
    Deleted {
        /// Which.
        slot: Slot,
        /// Its id.
        session: SessionId,
    },
    /// A session claims a file.
    BlobClaimed {
        /// Which session.
        slot: Slot,
        /// Which file.
        claim: BlobRef,
    },
    /// A session gave a file up.
    BlobReleased {
        /// Which session.
        slot: Slot,
        /// Which file.
        released: BlobReleased,
    },
    /// The directory's oldest pending note.
    AgentPut {
        /// When.
        time_us: u64,
    },
    /// The keyring's oldest pending note.
    KeyPut,
    /// Nothing; a retry of an append that is in the queue is answered with it.
    Replayed {
        /// Which message.
        seq: u64,
        /// As clients read it, if the caller asked for it.
        json: Option<Json>,
        /// The caller awaits what answers it, in this session.
        asked: Option<Slot>,
    },
    /// Nothing; a refusal that rests on what is in the queue.
    Refused(Refusal),
}

/// What a session's notes hold and memory does not.
#[derive(Clone, Debug)]
pub struct Facts {
    /// A JSON object.
    pub metadata: Json,
    /// Creation, microseconds since 1970.
    pub inserted_at_us: u64,
    /// What people call it, if anything.
    pub title: Option<String>,
}

impl Effect {
    fn slot(&self) -> Option<Slot> {
        match self {
            Self::Created { slot, .. }
            | Self::Message { slot, .. }
            | Self::Archived { slot, .. }
            | Self::CursorMoved { slot, .. }
            | Self::Renamed { slot, .. }
            | Self::Rated { slot, .. }
            | Self::RunClosed { slot, .. }
            | Self::Compacted { slot, .. }
            | Self::BlobClaimed { slot, .. }
            | Self::BlobReleased { slot, .. }
            | Self::Deleted { slot, .. } => Some(*slot),
            Self::AgentPut { .. }
            | Self::KeyPut
            | Self::Replayed { .. }
            | Self::Stopped(_)
            | Self::Marked { .. }
            | Self::Refused(_) => None,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Created { json, .. } | Self::Message { json, .. } | Self::Replayed { json: Some(json), .. } => {
                json.as_str().len()
            }
            Self::Archived { facts, .. }
            | Self::Renamed { facts, .. }
            | Self::CursorMoved { facts: Some(facts), .. } => facts.metadata.as_str().len(),
            Self::Deleted { .. }
            | Self::Replayed { json: None, .. }
            | Self::AgentPut { .. }
            | Self::KeyPut
            | Self::RunClosed { .. }
            | Self::Compacted { .. }
            | Self::BlobClaimed { .. }
            | Self::BlobReleased { .. }
            | Self::CursorMoved { facts: None, .. }
            | Self::Rated { .. }
            | Self::Marked { .. }
            | Self::Stopped(_)
            | Self::Refused(_) => 0,
        }
    }
}

/// What a session has in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InQueue {
    /// Messages.
    pub messages: u32,
    /// Messages by its user.
    pub own: u32,
    /// Moves of cursors.
    pub cursors: u32,
    /// Other notes.
    pub notes: u32,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Commits {
    queue: VecDeque<Pending>,
    bytes: usize,
    by_slot: HashMap<Slot, InQueue>,
}

impl Commits {
    /// Whether another command may wait.
    pub fn has_room(&self) -> bool {
        self.queue.len() < PENDING_COMMITS_MAX && self.bytes < PENDING_COMMIT_BYTES_MAX
    }

    /// Whether so many more may wait.
    pub fn has_room_for(&self, commands: usize) -> bool {
        self.queue.len() + commands <= PENDING_COMMITS_MAX && self.bytes < PENDING_COMMIT_BYTES_MAX
    }

    /// How many wait.
    #[allow(clippy::len_without_is_empty)] // a gauge
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// What the session at `slot` has in the queue.
    pub fn of(&self, slot: Slot) -> InQueue {
        if self.by_slot.is_empty() { InQueue::default() } else { self.by_slot.get(&slot).copied().unwrap_or_default() }
    }

    /// A record was appended at `lsn`, above all before it.
    pub fn push(&mut self, lsn: Lsn, from: Caller, effect: Effect) {
        if let Some(slot) = effect.slot() {
            let count = self.by_slot.entry(slot).or_default();
            match effect {
                Effect::Message { own, .. } => {
                    count.messages += 1;
                    count.own += u32::from(own);
                }
                Effect::CursorMoved { .. } => count.cursors += 1,
                _ => count.notes += 1,
            }
        }
        self.bytes += effect.bytes();
        self.queue.push_back(Pending { lsn, from, effect });
    }

    /// An answer that must wait for everything in the queue. Gives it back when there is nothing to wait for.
    pub fn push_behind(&mut self, from: Caller, effect: Effect) -> Option<Effect> {
        match self.queue.back().map(|last| last.lsn) {
            None => Some(effect),
            Some(lsn) => {
                self.push(lsn, from, effect);
                None
            }
        }
    }

    /// The oldest one, if its record starts below `durable`.
    pub fn pop_below(&mut self, durable: Lsn) -> Option<Pending> {
        if self.queue.front()?.lsn < durable { self.pop() } else { None }
    }

    /// The oldest one, which will never be durable. What its session has in the queue stays counted: the log's index
    /// knows those messages, and readers must not.
    pub fn pop_lost(&mut self) -> Option<Pending> {
        let pending = self.queue.pop_front()?;
        self.bytes -= pending.effect.bytes();
        Some(pending)
    }

    fn pop(&mut self) -> Option<Pending> {
        let pending = self.queue.pop_front()?;
        self.bytes -= pending.effect.bytes();
        if let Some(slot) = pending.effect.slot() {
            self.uncount(slot, &pending.effect);
        }
        Some(pending)
    }

    fn uncount(&mut self, slot: Slot, effect: &Effect) {
        let count = self.by_slot.get_mut(&slot).expect("what was counted in is counted out");
        match effect {
            Effect::Message { own, .. } => {
                count.messages -= 1;
                count.own -= u32::from(*own);
            }
            Effect::CursorMoved { .. } => count.cursors -= 1,
            _ => count.notes -= 1,
        }
        if *count == InQueue::default() {
            self.by_slot.remove(&slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::ShardId;

    const FROM: Caller = Caller { shard: ShardId(0), token: 0 };

    fn message(slot: u32, own: bool) -> Effect {
        let json = Json::empty_object();
        Effect::Message {
            slot: Slot(slot),
            seq: 1,
            json,
            sender: NameId::NONE,
            own,
            time_us: 1,
            run: MessageRun::None,
            echo: true,
            spoken: None,
        }
    }

    #[test]
    fn a_record_is_released_when_the_mark_has_passed_its_start() {
        let mut commits = Commits::default();
        commits.push(Lsn(10), FROM, message(0, true));
        commits.push(Lsn(20), FROM, message(0, false));
        assert!(commits.pop_below(Lsn(10)).is_none());
        assert_eq!(commits.pop_below(Lsn(20)).unwrap().lsn, Lsn(10));
        assert!(commits.pop_below(Lsn(20)).is_none());
        assert_eq!(commits.pop_below(Lsn(28)).unwrap().lsn, Lsn(20));
    }

    #[test]
    fn what_a_session_has_in_the_queue_is_counted_in_and_out() {
        let mut commits = Commits::default();
        commits.push(Lsn(10), FROM, message(0, true));
        commits.push(Lsn(20), FROM, message(1, false));
        commits.push(Lsn(30), FROM, Effect::Deleted { slot: Slot(0), session: SessionId::from(1) });
        assert_eq!(commits.of(Slot(0)), InQueue { messages: 1, own: 1, notes: 1, cursors: 0 });
        assert_eq!(commits.of(Slot(1)), InQueue { messages: 1, ..InQueue::default() });
        while commits.pop().is_some() {}
        assert_eq!((commits.of(Slot(0)), commits.bytes), (InQueue::default(), 0));
        assert!(commits.by_slot.is_empty());
    }

    #[test]
    fn what_is_lost_stays_counted() {
        let mut commits = Commits::default();
        commits.push(Lsn(10), FROM, message(0, true));
        assert!(commits.pop_lost().is_some() && commits.pop_lost().is_none());
        assert_eq!(commits.of(Slot(0)), InQueue { messages: 1, own: 1, ..InQueue::default() });
    }

    #[test]
    fn an_answer_that_rests_on_the_queue_waits_for_its_end() {
        let mut commits = Commits::default();
        assert!(commits.push_behind(FROM, Effect::Refused(Refusal::SessionNotFound)).is_some());
        commits.push(Lsn(10), FROM, message(0, true));
        assert!(commits.push_behind(FROM, Effect::Refused(Refusal::SessionNotFound)).is_none());
        commits.push(Lsn(20), FROM, message(0, true));
        assert_eq!((commits.pop_below(Lsn(18)).is_some(), commits.pop_below(Lsn(18)).is_some()), (true, true));
        assert!(commits.pop_below(Lsn(18)).is_none());
    }

    #[test]
    fn the_queue_is_bounded_by_number_and_by_bytes() {
        let mut commits = Commits::default();
        for n in 0..PENDING_COMMITS_MAX {
            assert!(commits.has_room());
            commits.push(Lsn(n as u64), FROM, Effect::Refused(Refusal::Overloaded));
        }
        assert!(!commits.has_room());
        let mut commits = Commits::default();
        let json = Json::from_rendered(vec![b'1'; PENDING_COMMIT_BYTES_MAX]);
        commits.push(Lsn(1), FROM, Effect::Replayed { seq: 1, json: Some(json), asked: None });
        assert!(!commits.has_room());
        commits.pop();
        assert!(commits.has_room());
    }
}
