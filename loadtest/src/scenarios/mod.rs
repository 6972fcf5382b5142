//! What is measured. A scenario runs once on each worker thread and shares the work with the others.

mod durability;
mod fanout;
mod fanout_webhook;
mod hot_path;
mod replay;
mod rest;
mod sessions;
mod soak;

use crate::options::Scenario;
use crate::run::Worker;
use anyhow::Result;
use std::rc::Rc;

use crate::figures::SECONDS_PASSED;
pub use durability::Kills;

/// Runs the scenario's part of `worker`.
///
/// # Errors
/// When it cannot be set up. What goes wrong under load is part of the outcome.
pub async fn perform(scenario: &Scenario, worker: &Rc<Worker>) -> Result<()> {
    match scenario {
        Scenario::HotPath(options) => hot_path::perform(worker, options).await,
        Scenario::Rest(options) => rest::perform(worker, options).await,
        Scenario::Replay(options) => replay::perform(worker, options).await,
        Scenario::Fanout(options) => fanout::perform(worker, options).await,
        Scenario::Sessions(options) => sessions::perform(worker, options).await,
        Scenario::Durability(options) => durability::perform(worker, options).await,
        Scenario::Soak(options) => soak::perform(worker, options).await,
        Scenario::Smoke => unreachable!("smoke is a list of the others"),
    }
}
