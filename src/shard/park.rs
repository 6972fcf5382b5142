//! Commands that cannot be decided yet: they meet bytes that are not in memory, or a segment that is still being
//! prepared.
//!
//! Invariants: bounded in number and in time; tried again in the order of arrival whenever disk work was finished; a
//! command for a session does not overtake a parked one for the same session, so what one sender pipelines keeps its
//! order. One range is asked for once, however many commands wait for it.

use super::{Caller, Command};
use crate::limits::{PARKED_MAX, PARKED_US_MAX};
use std::collections::VecDeque;
use storage::Cold;

/// Microseconds after which a range is asked for again: what was warmed may have been dropped before anybody came.
const WARMING_US: u64 = 1_000_000;

/// A parked command.
#[derive(Debug)]
pub(super) struct ParkedCommand {
    pub(super) from: Caller,
    pub(super) command: Command,
    /// Monotonic time of its first parking.
    since_us: u64,
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
    /// Ranges that are asked for, and when they were.
    warming: Vec<(Cold, u64)>,
    /// Ranges to ask for.
    wanted: Vec<Cold>,
    /// When the command that is being tried was first parked.
    retried_since_us: Option<u64>,
}

impl Parked {
    /// Parks a command. Gives it back when there is no room.
    pub(super) fn push(&mut self, mono_us: u64, from: Caller, command: Command) -> Result<(), Command> {
        if self.queue.len() >= PARKED_MAX {
            return Err(command);
        }
        let since_us = self.retried_since_us.unwrap_or(mono_us);
        self.queue.push_back(ParkedCommand { from, command, since_us });
        Ok(())
    }

    /// Whether `command` must wait behind a parked one.
    pub(super) fn blocks(&self, command: &Command) -> bool {
        if self.queue.is_empty() {
            return false;
        }
        let session = command.session();
        session.is_some() && self.queue.iter().any(|parked| parked.command.session() == session)
    }

    /// Takes all, to be tried again.
    pub(super) fn take(&mut self) -> VecDeque<ParkedCommand> {
        std::mem::take(&mut self.queue)
    }

    /// What is tried now has been parked before: its time goes on. `None`: nothing is tried again.
    pub(super) fn retrying(&mut self, parked: Option<&ParkedCommand>) {
        self.retried_since_us = parked.map(|parked| parked.since_us);
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
