//! `kill -9` again and again under load, held against an oracle of what was acknowledged.
//!
//! `FLEETLM_KILL_CYCLES` sets how often (25 without it, 1000 before a release). The claims: nothing acknowledged is
//! lost or changed, a keyed retry adds nothing (by either API), seq has no hole, cursors never go back,
//! what was deleted stays so, whatever number of shards the next life has.

mod oracle;
mod writers;

use crate::harness::{Dice, Folder, Options, Server};
use oracle::Oracle;
use std::sync::mpsc;
use std::thread;
use writers::Acknowledged;

/// Sessions that are written to in a cycle. Each cycle adds one and retires the oldest.
const ACTIVE: usize = 6;

fn cycles() -> u64 {
    std::env::var("FLEETLM_KILL_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(25)
}

/// Runs every writer against the server until it was killed, which is after this many acknowledgements.
fn load_until_killed(server: Server, oracle: &mut Oracle, cycle: u64, acknowledgements: u64) {
    let (told, heard) = mpsc::channel();
    let address = server.address();
    let plan = oracle.plan(cycle);
    thread::scope(|scope| {
        for writer in writers::all() {
            let (told, plan) = (told.clone(), &plan);
            scope.spawn(move || writer(address, plan, told));
        }
        drop(told);
        let mut server = Some(server);
        let mut left = acknowledgements;
        // Writers end when their connection breaks; the channel ends with the last of them.
        while let Ok(acknowledged) = heard.recv() {
            oracle.record(acknowledged);
            left = left.saturating_sub(1);
            if left == 0
                && let Some(server) = server.take()
            {
                server.kill();
            }
        }
        assert!(server.is_none(), "the writers ended before the server was killed");
    });
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_over_many_kills() {
    let mut dice = Dice::seeded("kill -9 loop");
    let folder = Folder::new();
    let mut oracle = Oracle::default();
    for cycle in 0..cycles() {
        let shards = 1 + dice.below(3) as u16;
        let server = Server::on(folder.path(), &Options::shards(shards));
        oracle.retry_unanswered(&server);
        oracle.check_active(&server);
        oracle.rotate(&server, ACTIVE);
        load_until_killed(server, &mut oracle, cycle, 20 + dice.below(150));
    }
    let server = Server::on(folder.path(), &Options::shards(2));
    oracle.retry_unanswered(&server);
    oracle.check_everything(&server);
    let appended = oracle.acknowledged();
    eprintln!("{} kills, {appended} acknowledged appends: none lost, none doubled", cycles());
    assert!(appended >= cycles() * 5, "the load was a load: {appended}");
    server.stop();
    let checked = crate::harness::server::run(&["check", folder.path().to_str().expect("a path in UTF-8")]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn memory_durability_survives_a_kill_of_the_process_too() {
    let folder = Folder::new();
    let mut oracle = Oracle::default();
    let options = Options { durability: "memory", ..Options::default() };
    for cycle in 0..3 {
        let server = Server::on(folder.path(), &options);
        oracle.retry_unanswered(&server);
        oracle.check_active(&server);
        oracle.rotate(&server, ACTIVE);
        load_until_killed(server, &mut oracle, cycle, 200);
    }
    let server = Server::on(folder.path(), &options);
    oracle.retry_unanswered(&server);
    oracle.check_everything(&server);
    assert!(oracle.acknowledged() > 0);
}

/// The oracle itself must be able to fail: it is shown a server that lost a message.
#[test]
fn the_oracle_notices_a_lost_message() {
    let folder = Folder::new();
    let server = Server::on(folder.path(), &Options::default());
    let mut oracle = Oracle::default();
    oracle.rotate(&server, 1);
    let session = oracle.plan(0).sessions[0].clone();
    let message = server.say(&session, "alice", "kept");
    oracle.record(Acknowledged::message(&session, &message));
    oracle.check_active(&server);
    let mut invented = message.clone();
    invented["seq"] = 2.into();
    invented["id"] = "01K6GR2EV9Z7PSMEVVJ5M954CH".into();
    oracle.record(Acknowledged::message(&session, &invented));
    let noticed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| oracle.check_active(&server)));
    noticed.expect_err("a message that is not there must be noticed");
}
