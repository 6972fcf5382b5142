//! The log equals a list: whatever is appended, synced, rolled, snapshotted, deleted, crashed and reopened.

mod support;

use proptest::prelude::*;
use storage::{Lsn, Memory};
use support::{AGENT, DELETED, NOTE, Rig, small};

#[derive(Clone, Debug)]
enum Step {
    Message { key: u128, bytes: usize },
    Note { key: u128 },
    Chunk { key: u128, bytes: usize },
    Floor { shard: usize, back: usize },
    Agent { key: u128 },
    Delete { key: u128 },
    Sync,
    Work,
    Snapshot { shard: usize, budget: usize },
    SnapshotAll,
    Kill { shards: u16 },
    CutPower { shards: u16 },
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0u128..12;
    prop_oneof![
        12 => (key.clone(), 0usize..1500).prop_map(|(key, bytes)| Step::Message { key, bytes }),
        3 => key.clone().prop_map(|key| Step::Note { key }),
        8 => (key.clone(), 0usize..1500).prop_map(|(key, bytes)| Step::Chunk { key, bytes }),
        2 => (0usize..3, 0usize..40).prop_map(|(shard, back)| Step::Floor { shard, back }),
        1 => key.clone().prop_map(|key| Step::Agent { key }),
        1 => key.prop_map(|key| Step::Delete { key }),
        4 => Just(Step::Sync),
        4 => Just(Step::Work),
        2 => (0usize..3, 0usize..8).prop_map(|(shard, budget)| Step::Snapshot { shard, budget }),
        1 => Just(Step::SnapshotAll),
        1 => (1u16..4).prop_map(|shards| Step::Kill { shards }),
        1 => (1u16..4).prop_map(|shards| Step::CutPower { shards }),
    ]
}

/// Keys are not used again once deleted, as session ids are not.
fn live_key(rig: &Rig<Memory>, key: u128) -> u128 {
    (0..).map(|generation| key + 100 * generation).find(|key| !rig.deleted.contains(key)).expect("some key lives")
}

fn run(rig: &mut Rig<Memory>, step: Step) {
    match step {
        Step::Message { key, bytes } => {
            let key = live_key(rig, key);
            rig.message(key, bytes);
        }
        Step::Note { key } => {
            let key = live_key(rig, key);
            rig.append(NOTE, key, b"note");
        }
        Step::Chunk { key, bytes } => {
            let key = live_key(rig, key);
            rig.chunk(key, bytes);
        }
        Step::Floor { shard, back } => {
            let shard = shard % rig.shards.len();
            let below = rig.appended.iter().rev().nth(back).map_or(Lsn::NONE, |record| record.lsn);
            rig.set_floor(shard, if back == 0 { Lsn(u64::MAX) } else { below });
        }
        Step::Agent { key } => {
            rig.append(AGENT, key, b"agent");
        }
        Step::Delete { key } => {
            let key = live_key(rig, key);
            rig.append(DELETED, key, b"");
        }
        Step::Sync => rig.sync(),
        Step::Work => {
            rig.work();
        }
        Step::Snapshot { shard, budget } => {
            let shard = shard % rig.shards.len();
            rig.snapshot_step(shard, budget);
        }
        Step::SnapshotAll => rig.snapshot_all(),
        Step::Kill { shards } => rig.crash(&mut |_| storage::Fate::Kept, shards),
        Step::CutPower { shards } => rig.crash(&mut |_| storage::Fate::Lost, shards),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_log_equals_a_list(steps in prop::collection::vec(step(), 1..150), shards in 1u16..4) {
        let mut rig = Rig::start(Memory::new(), storage::Options { shards, ..small() });
        for step in steps {
            run(&mut rig, step);
        }
        rig.check();
        rig.crash(&mut |_| storage::Fate::Kept, 1);
    }
}

#[test]
fn a_log_is_read_back_after_a_kill_without_any_sync() {
    let mut rig = Rig::start(Memory::new(), small());
    for at in 0..200 {
        rig.message(at % 7, 300);
    }
    let count = rig.appended.len();
    rig.crash(&mut |_| storage::Fate::Kept, 1);
    assert_eq!(rig.appended.len(), count, "nothing is lost");
    assert!(rig.recovered.report.segments > 3);
}
