//! What is measured of a client's command, whichever way it came: how long an append took, how many ratings there are.
//!
//! From its arrival on this shard to its acknowledgement. Not here: asks, which wait for more than their append (`ask` measures that).

use super::metrics::Which;
use super::world::World;
use crate::shard::{Command, Refusal, Reply};

/// What a command counts as when it has succeeded.
pub(super) enum Measure {
    Append { began_us: u64 },
    Rating,
    Nothing,
}

impl Measure {
    /// Of a command that is about to be sent.
    pub(super) fn begin(world: &World, command: &Command) -> Self {
        match command {
            Command::Append(_) => Self::Append { began_us: world.now().mono_us },
            Command::Rate { .. } => Self::Rating,
            _ => Self::Nothing,
        }
    }

    /// It is answered.
    pub(super) fn end(self, world: &World, reply: &Result<Reply, Refusal>) {
        match self {
            _ if reply.is_err() => {}
            Self::Append { began_us } => world.metrics.appended_us(world.now().mono_us.saturating_sub(began_us)),
            Self::Rating => world.metrics.count(Which::Ratings),
            Self::Nothing => {}
        }
    }
}
