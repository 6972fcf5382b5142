//! Commands that cannot be decided yet: they meet bytes that are not in memory, or a segment that is still being
//! prepared.
//!
//! Invariants: bounded in number and in time; tried again in the order of arrival whenever disk work was finished that
//! somebody waits for; a command for a session does not overtake a parked one for the same session, so what one sender
//! pipelines keeps its order, and what a walk has found stays true. One range is asked for once, however many commands
//! wait for it.

use super::timeline::TimelineWalk;
use super::{Access, Caller, Command};
use crate::limits::{PARKED_MAX, PARKED_US_MAX, PARKED_WALKS_MAX};
use crate::session::{SessionId, Window};
use hashbrown::HashMap;
use std::collections::VecDeque;
use storage::{Cold, Lsn};

/// Microseconds after which a range is asked for again: what was warmed may have been dropped before anybody came.
const WARMING_US: u64 = 1_000_000;

/// What a command has found on its way through a session's messages, so that it need not begin again behind each range
/// that was cold.
#[derive(Debug)]
pub(super) enum Walk {
    /// For a page: the messages found so far, in the order of walking.
    Page {
        /// The seq at which it began.
        from_seq: u64,
        /// Where they stand.
        addresses: Vec<Lsn>,
        /// Bytes of them in the page.
        bytes: usize,
    },
    /// For an idempotency window, from the last message down.
    Keys {
        /// The keys so far.
        window: Window,
        /// The next message to look at.
        next: Lsn,
        /// Messages that were looked at.
        walked: u64,
    },
    /// For the answer to a message.
    Answer {
        /// The message.
        seq: u64,
        /// No message up to this one has to do with it.
        looked: u64,
    },
    /// For the keys of a timeline.
    Timeline(Box<TimelineWalk>),
}

/// A parked command.
#[derive(Debug)]
pub(super) struct ParkedCommand {
    pub(super) from: Caller,
    pub(super) access: Option<Box<Access>>,
    pub(super) command: Command,
    /// Monotonic time of its first parking.
    since_us: u64,
    walk: Option<Walk>,
}

impl ParkedCommand {
    /// Whether it has waited too long.
    pub(super) fn is_overdue(&self, mono_us: u64) -> bool {
        mono_us.saturating_sub(self.since_us) > PARKED_US_MAX
    }
}

/// The commands.
#[derive(Debug, Default)]
pub(super) struct Parked {
    queue: VecDeque<ParkedCommand>,
    /// How many of them are for a session. Never 0.
    by_session: HashMap<SessionId, u32>,
    /// How many of them have a walk.
    walks: usize,
    /// Ranges that are asked for, and when they were.
    warming: Vec<(Cold, u64)>,
    /// Ranges to ask for.
    wanted: Vec<Cold>,
    /// When the command that is being tried was first parked.
    retried_since_us: Option<u64>,
    /// How far the command that is being tried has come.
    walk: Option<Walk>,
}

impl Parked {
    /// Parks a command. Gives it back when there is no room.
    pub(super) fn push(
        &mut self,
        mono_us: u64,
        from: Caller,
        access: Option<Box<Access>>,
        command: Command,
    ) -> Result<(), Command> {
        let walk = self.walk.take().filter(|_| self.walks < PARKED_WALKS_MAX);
        if self.queue.len() >= PARKED_MAX {
            return Err(command);
        }
        let since_us = self.retried_since_us.unwrap_or(mono_us);
        if let Some(session) = command.session().map(SessionId::base) {
            *self.by_session.entry(session).or_default() += 1;
        }
        self.walks += usize::from(walk.is_some());
        self.queue.push_back(ParkedCommand { from, access, command, since_us, walk });
        Ok(())
    }

    /// Whether `command` must wait behind a parked one.
    pub(super) fn blocks(&self, command: &Command) -> bool {
        !self.by_session.is_empty()
            && command.session().is_some_and(|session| self.by_session.contains_key(&session.base()))
    }

    /// Takes all, to be tried again.
    pub(super) fn take(&mut self) -> VecDeque<ParkedCommand> {
        self.by_session.clear();
        self.walks = 0;
        std::mem::take(&mut self.queue)
    }

    /// What is tried now has been parked before: its time goes on, and its walk. `None`: nothing is tried again.
    pub(super) fn retrying(&mut self, parked: Option<&mut ParkedCommand>) {
        self.retried_since_us = parked.as_ref().map(|parked| parked.since_us);
        self.walk = parked.and_then(|parked| parked.walk.take());
    }

    /// Whether the command that is being tried had come anywhere.
    pub(super) fn has_walk(&self) -> bool {
        self.walk.is_some()
    }

    /// How far the command that is being tried had come.
    pub(super) fn take_walk(&mut self) -> Option<Walk> {
        self.walk.take()
    }

    /// The command that is being tried has come this far and will be parked.
    pub(super) fn keep_walk(&mut self, walk: Walk) {
        self.walk = Some(walk);
    }

    /// Whether so many are parked that nobody but clients may add to them.
    pub(super) fn is_crowded(&self) -> bool {
        self.queue.len() >= PARKED_MAX / 2
    }

    /// Whether none is parked.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// A command needs this range.
    pub(super) fn want(&mut self, mono_us: u64, cold: Cold) {
        self.warming.retain(|(_, since_us)| mono_us.saturating_sub(*since_us) < WARMING_US);
        if self.warming.iter().all(|(other, _)| *other != cold) {
            self.warming.push((cold, mono_us));
            self.wanted.push(cold);
        }
    }

    /// The ranges that nobody has asked for yet.
    pub(super) fn take_wanted(&mut self) -> Vec<Cold> {
        std::mem::take(&mut self.wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::ShardId;

    fn push(parked: &mut Parked, session: u128) {
        let from = Caller { shard: ShardId(0), token: 1 };
        parked.push(1, from, None, read(session)).unwrap();
    }

    fn read(session: u128) -> Command {
        Command::ReadSession { id: SessionId::from(session) }
    }

    fn walk(walked: u64) -> Walk {
        Walk::Keys { window: Window::default(), next: Lsn::NONE, walked }
    }

    #[test]
    fn a_session_is_blocked_while_a_command_for_it_is_parked() {
        let mut parked = Parked::default();
        (0..2).for_each(|_| push(&mut parked, 1));
        assert_eq!((parked.blocks(&read(1)), parked.blocks(&read(2))), (true, false));
        assert!(!parked.blocks(&Command::ReadStatus));
        let mut all = parked.take();
        assert!(!parked.blocks(&read(1)));
        parked.retrying(all.front_mut());
        push(&mut parked, 1);
        assert!(parked.blocks(&read(1)));
    }

    #[test]
    fn a_walk_comes_back_to_its_command_alone_and_so_many_are_kept() {
        let mut parked = Parked::default();
        for n in 0..=PARKED_WALKS_MAX {
            parked.keep_walk(walk(n as u64));
            push(&mut parked, n as u128);
        }
        assert!(parked.take_walk().is_none());
        for (n, mut command) in parked.take().into_iter().enumerate() {
            parked.retrying(Some(&mut command));
            match parked.take_walk() {
                Some(Walk::Keys { walked, .. }) => assert_eq!(walked, n as u64),
                other => assert!(other.is_none() && n == PARKED_WALKS_MAX),
            }
        }
        parked.keep_walk(walk(0));
        parked.retrying(None);
        assert!(parked.take_walk().is_none());
    }
}
