//! Kills the server under load, again and again, starts it again on the same data, and reads every session back.
//!
//! Clients append over WebSocket and REST. At a random time after all of them have got an acknowledgement the server gets
//! SIGKILL. Once it is ready again each client reads its whole session by GET and compares it with its ledger; every
//! second client then sends again what was in flight, with the idempotency keys of the first attempt. What is promised,
//! and what breaks it, is `ledger`'s.
//!
//! Does not cut the power: pages that the kernel holds survive a kill. The crash images of the log's own tests are for that.

mod clients;
mod kills;
mod ledger;

use crate::clock::{nanos, now_ns};
use crate::content::mix;
use crate::figures::SECONDS_PASSED;
use crate::options::Durability;
use crate::provision;
use crate::run::Worker;
use crate::server::Own;
use anyhow::{Context, Result, bail};
use clients::Client;
use glommio::timer::Timer;
pub use kills::Kills;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long clients may take until all of them are under load: reading back long sessions takes most of it.
const LOADED_TIMEOUT: Duration = Duration::from_secs(120);
/// How often it is looked whether they are.
const LOOK: Duration = Duration::from_millis(2);

pub async fn perform(worker: &Rc<Worker>, options: &Durability) -> Result<()> {
    let clients_count = options.sockets + options.rest;
    let numbers = worker.share(clients_count);
    let sessions = provision::create(worker, numbers.clone()).await?;
    worker.meet(1).await?;
    let started_ns = now_ns();
    worker.record(started_ns, u64::MAX);
    let load = async {
        let clients =
            sessions.iter().zip(numbers).map(|(session, number)| Client::new(worker, session, number, options));
        let clients: Vec<_> = clients.collect();
        let operation = (worker.index == 0).then(|| operate(Rc::clone(worker), options.clone(), clients_count));
        let run = |client: Client| async move {
            let worker = Rc::clone(&client.worker);
            let done = client.run().await;
            if done.is_err() {
                worker.shared.kills.give_up();
            }
            done
        };
        let operating = operation.map(glommio::spawn_local);
        worker.each(clients.into_iter().map(run)).await;
        // What clients found before stays to be told.
        if let Some(operating) = operating
            && let Err(error) = operating.await
        {
            worker.outcome.borrow_mut().error(format!("{error:#}"));
        }
        Ok(())
    };
    worker.under_load(load).await?;
    worker.meet(2).await?;
    if worker.index == 0 {
        let mut outcome = worker.outcome.borrow_mut();
        outcome.figures.insert(SECONDS_PASSED, (now_ns() - started_ns) as f64 / 1e9);
        outcome.figures.extend(worker.shared.kills.figures());
    }
    provision::remove(&worker.target, &sessions).await;
    Ok(())
}

/// Kills and starts, and ends the load after the last time.
async fn operate(worker: Rc<Worker>, options: Durability, clients: usize) -> Result<()> {
    let done = kill_and_restart(&worker, &options, clients).await;
    if done.is_err() {
        worker.shared.kills.give_up();
    }
    worker.shared.kills.end();
    done
}

async fn kill_and_restart(worker: &Worker, options: &Durability, clients: usize) -> Result<()> {
    let kills = &worker.shared.kills;
    let own = worker.shared.subject.own.clone().context("only a server of our own is killed: --spawn")?;
    let seed = options.seed.context("the seed was chosen before the run")?;
    for cycle in 0..=options.cycles {
        if !under_load(kills, clients).await? {
            return Ok(());
        }
        Timer::new(load_time(seed, cycle, options.kill_within)).await;
        if cycle < options.cycles && !kills.has_given_up() {
            let took = one_restart(kills, &own).await.with_context(|| format!("after kill {}", cycle + 1))?;
            worker.outcome.borrow_mut().latency("restart to ready", nanos(took));
        }
    }
    Ok(())
}

/// Waits until every client has had an acknowledgement since the last start. False when one has given up.
async fn under_load(kills: &Kills, clients: usize) -> Result<bool> {
    let give_up_ns = now_ns() + nanos(LOADED_TIMEOUT);
    while kills.loaded() < clients {
        if kills.has_given_up() {
            return Ok(false);
        }
        if now_ns() > give_up_ns {
            bail!(
                "only {} of {clients} clients got an acknowledgement in {} s",
                kills.loaded(),
                LOADED_TIMEOUT.as_secs()
            );
        }
        Timer::new(LOOK).await;
    }
    Ok(true)
}

/// Both calls block, so another thread makes them: this one has clients to serve.
async fn one_restart(kills: &Kills, own: &Arc<Own>) -> Result<Duration> {
    kills.begin_kill();
    let killed = Arc::clone(own);
    glommio::executor().spawn_blocking(move || killed.kill()).await;
    let restarted = Arc::clone(own);
    kills.begin_start();
    let took = glommio::executor().spawn_blocking(move || restarted.restart()).await?;
    kills.is_back();
    Ok(took)
}

/// How long the load goes on before kill `cycle`: evenly between nothing and `within_s`, from the seed alone.
fn load_time(seed: u64, cycle: usize, within_s: f64) -> Duration {
    let share = (mix(seed ^ mix(cycle as u64)) >> 11) as f64 / (1_u64 << 53) as f64;
    Duration::from_secs_f64(within_s * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_kills_come_from_the_seed_and_are_spread_out() {
        let times = |seed| (0..100).map(|cycle| load_time(seed, cycle, 2.0).as_secs_f64()).collect::<Vec<_>>();
        assert_eq!(times(7), times(7));
        assert_ne!(times(7), times(8));
        assert!(times(7).iter().all(|time| (0.0..2.0).contains(time)));
        let mean = times(7).iter().sum::<f64>() / 100.0;
        assert!((0.8..1.2).contains(&mean), "{mean}");
    }
}
