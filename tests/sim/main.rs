//! Deterministic simulation: many shards, one disk, mailboxes and clients in one thread under fake time, from one seed.
//!
//! A seed decides everything: what clients do, how long mail and syncs take, which lane is faster, which push is
//! dropped, when the power goes or the process is killed, which unsynced bytes survive, and with how many shards the
//! next life starts. The oracle (`oracle.rs`) knows what was acknowledged and what anybody has seen, and says what of
//! it does not hold.
//!
//! `cargo test --test sim` runs a bounded number of seeds. `FLEETLM_SIM_SEEDS=5000` runs more, `FLEETLM_SIM_SEED=17` runs one. A
//! failure prints its seed; `FLEETLM_SIM_TRACE=1` beside one seed prints every step of it.

mod agents;
mod clients;
mod ending;
mod oracle;
mod random;
mod teams;
mod world;

use world::{Bug, Summary, simulate};

const SEEDS_DEFAULT: u64 = 200;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
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

/// Which of the oracle's complaints over some seeds name the damage that `bug` does.
fn complaints(bug: Bug, about: &[&str]) -> usize {
    let violations = (0..40).filter_map(|seed| simulate(seed, Some(bug)).err());
    violations
        .inspect(|violation| println!("{violation}"))
        .filter(|violation| about.iter().any(|about| violation.contains(about)))
        .count()
}

#[test]
fn a_planted_acknowledgement_before_the_sync_is_found() {
    assert!(complaints(Bug::AckBeforeSync, &["and is op", "is gone and nobody has deleted it"]) > 0);
}

#[test]
fn a_planted_loss_of_a_push_is_found() {
    assert!(complaints(Bug::DropPushSilently, &["tail"]) > 0);
}

#[test]
fn a_planted_second_answer_is_found() {
    assert!(complaints(Bug::AnswerTwice, &["was answered before"]) > 0);
}

#[test]
fn a_planted_double_delivery_of_a_retry_is_found() {
    assert!(complaints(Bug::ForgetKeys, &["was acknowledged at"]) > 0);
}
