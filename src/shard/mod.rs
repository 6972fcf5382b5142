//! One thread's world: its sessions, its log, its tails.

mod input;
mod output;
mod routing;

pub use input::*;
pub use output::*;
pub use routing::*;
