//! Commands that cannot be decided yet: they meet bytes that are not in memory, or a segment that is still being prepared.
//!
//! Invariants: bounded; tried again in the order of arrival whenever disk work was finished; a command for a session does not overtake
//! a parked one for the same session, so what one sender pipelines keeps its order.

use super::{Caller, Command};
use crate::limits::PARKED_MAX;
use std::collections::VecDeque;

/// The commands.
#[derive(Debug, Default)]
pub(super) struct Parked {
    queue: VecDeque<(Caller, Command)>,
}

impl Parked {
    /// Parks a command. Gives it back when there is no room.
    pub(super) fn push(&mut self, from: Caller, command: Command) -> Result<(), Command> {
        if self.queue.len() >= PARKED_MAX {
            return Err(command);
        }
        self.queue.push_back((from, command));
        Ok(())
    }

    /// Whether `command` must wait behind a parked one.
    pub(super) fn blocks(&self, command: &Command) -> bool {
        if self.queue.is_empty() {
            return false;
        }
        let session = command.session();
        session.is_some() && self.queue.iter().any(|(_, parked)| parked.session() == session)
    }

    /// Takes all, to be tried again.
    pub(super) fn take(&mut self) -> VecDeque<(Caller, Command)> {
        std::mem::take(&mut self.queue)
    }

    /// Whether none is parked.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
