//! Deterministic simulation: many shards, one disk, mailboxes and clients in one thread under fake time, from one seed.
//!
//! A seed decides everything: what clients do, how long mail and syncs take, which lane is faster, which push is dropped, when the power
//! goes or the process is killed, which unsynced bytes survive, and with how many shards the next life starts. The oracle
//! (`oracle.rs`) knows what was acknowledged and what anybody has seen, and says what of it does not hold.
//!
//! `cargo test --test sim` runs a bounded number of seeds. `FLEETLM_SIM_SEEDS=5000` runs more, `FLEETLM_SIM_SEED=17` runs one. A
//! failure prints its seed.

mod clients;
mod oracle;
mod random;
mod world;

use world::{Bug, Summary, simulate};

const SEEDS_DEFAULT: u64 = 60;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

fn seeds() -> std::ops::Range<u64> {
    match number("FLEETLM_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FLEETLM_SIM_SEEDS").unwrap_or(SEEDS_DEFAULT),
    }
}

#[test]
fn every_seed_keeps_every_promise() {
    let mut total = Summary::default();
    for seed in seeds() {
        match simulate(seed, None) {
            Ok(summary) => total.add(&summary),
            Err(violation) => panic!("FLEETLM_SIM_SEED={seed}: {violation}"),
        }
    }
    println!("{total:?}");
    if seeds().count() as u64 >= SEEDS_DEFAULT {
        total.assert_everything_happened();
    }
}

#[test]
fn a_seed_always_runs_the_same_way() {
    assert_eq!(simulate(3, None), simulate(3, None));
}

fn seeds_until_found(bug: Bug) -> Option<u64> {
    (0..40).find(|&seed| simulate(seed, Some(bug)).is_err())
}

#[test]
fn a_planted_acknowledgement_before_the_sync_is_found() {
    assert!(seeds_until_found(Bug::AckBeforeSync).is_some());
}

#[test]
fn a_planted_loss_of_a_push_is_found() {
    assert!(seeds_until_found(Bug::DropPushSilently).is_some());
}

#[test]
fn a_planted_double_delivery_of_a_retry_is_found() {
    assert!(seeds_until_found(Bug::ForgetKeys).is_some());
}
