//! Nothing is acknowledged, pushed, counted or readable before it is durable; a poisoned log loses no word of that.

use super::*;
use crate::limits::PENDING_COMMITS_MAX;

#[test]
fn nothing_is_answered_pushed_or_readable_before_its_sync() {
    let mut bench = Bench::with_session();
    bench.join(HERE, 1, "alice", 0).unwrap();
    bench.said.clear();
    bench.hold_syncs = true;
    let commands = [append(1, "alice", "hi"), create(2, "alice"), Command::ArchiveSession { id: id(1) }];
    let tokens = commands.map(|command| bench.send(command));
    assert!(bench.said.is_empty());
    assert!(bench.seqs(1).is_empty());
    assert_eq!(bench.session(2), Err(Refusal::SessionNotFound));
    assert_eq!(bench.session(1).unwrap()["status"], "active");
    assert_eq!(bench.shard.status().pending_commits, 3);
    bench.release_syncs();
    assert!(tokens.iter().all(|&token| bench.answer(token).unwrap().is_ok()));
    assert_eq!((bench.seqs(1), bench.session(1).unwrap()["status"].clone()), (vec![1], "archived".into()));
    assert_eq!(bench.shard.status().pending_commits, 0);
}

#[test]
fn answers_come_in_the_order_of_appends() {
    let mut bench = Bench::with_session();
    bench.hold_syncs = true;
    let tokens: Vec<u64> =
        (0..20).map(|n| bench.send(append(1, if n % 2 == 0 { "alice" } else { "bot" }, "hi"))).collect();
    bench.said.clear();
    bench.release_syncs();
    let answered: Vec<u64> = bench
        .said
        .iter()
        .map(|said| match said {
            Said::Reply(token, Ok(Reply::Appended { .. })) => *token,
            other => panic!("unexpected {other:?}"),
        })
        .collect();
    assert_eq!(answered, tokens);
}

#[test]
fn one_sync_is_in_flight_and_covers_all_that_came_before_it() {
    let mut bench = Bench::with_session();
    bench.hold_syncs = true;
    let tokens: Vec<u64> = (0..5).map(|_| bench.send(append(1, "alice", "hi"))).collect();
    assert_eq!(bench.syncs.len(), 1);
    let sync = bench.syncs.pop_front().unwrap();
    let result = sync.run();
    bench.step(Input::Synced(sync, result));
    assert!(bench.answer(tokens[0]).is_some());
    assert!(bench.answer(tokens[1]).is_none());
    assert_eq!(bench.syncs.len(), 1);
    bench.release_syncs();
    assert!(tokens.iter().all(|&token| bench.answer(token).is_some()));
}

#[test]
fn a_turn_of_many_inputs_needs_one_sync() {
    let mut bench = Bench::with_session();
    let mut out = Vec::new();
    for token in 0..10 {
        let from = Caller { shard: HERE, token };
        bench.shard.take(bench.now(), Input::Call { from, access: None, command: append(1, "alice", "hi") }, &mut out);
    }
    bench.shard.settle(&mut out);
    let [Output::Sync(_)] = &out[..] else { panic!("{out:?}") };
    let Some(Output::Sync(sync)) = out.pop() else { unreachable!() };
    let result = sync.run();
    bench.step(Input::Synced(sync, result));
    assert_eq!(bench.said.len(), 10);
}

#[test]
fn a_failed_sync_refuses_all_that_waits_and_reads_go_on() {
    let mut bench = Bench::with_session();
    bench.append(1, "alice");
    bench.hold_syncs = true;
    let commands = [
        append(1, "alice", "lost"),
        create(2, "alice"),
        Command::ArchiveSession { id: id(1) },
        mark_read(1, "zoe", 1),
        expecting(1, 0),
    ];
    let tokens = commands.map(|command| bench.send(command));
    bench.fail_sync();
    assert!(tokens.iter().all(|&token| bench.answer(token) == Some(Err(Refusal::LogPoisoned))));
    assert_eq!(bench.call(append(1, "alice", "hi")), Err(Refusal::LogPoisoned));
    assert_eq!(bench.seqs(1), [1]);
    assert_eq!(bench.session(1).unwrap()["status"], "active");
    assert_eq!(bench.session(2), Err(Refusal::SessionNotFound));
    assert_eq!(bench.join(HERE, 1, "alice", 0).unwrap().session_last_seq, 1);
    assert!(bench.shard.status().poisoned);
    assert!(bench.syncs.is_empty());
}

#[test]
fn nobody_waits_for_a_sync_that_never_comes() {
    let mut bench = Bench::with_session();
    assert!(bench.shard.is_synced());
    bench.hold_syncs = true;
    bench.send(append(1, "alice", "lost"));
    assert!(!bench.shard.is_synced());
    bench.fail_sync();
    assert!(bench.shard.is_synced());
}

#[test]
fn what_was_lost_to_a_failed_sync_is_neither_replayed_nor_told() {
    let mut bench = Bench::with_session();
    bench.call(keyed(1, "alice", "hi", "kept")).unwrap();
    bench.hold_syncs = true;
    bench.send(keyed(1, "alice", "hi", "lost"));
    bench.send(create(2, "alice"));
    bench.fail_sync();
    assert_eq!(appended(bench.call(keyed(1, "alice", "hi", "kept"))).0, 1);
    for command in
        [keyed(1, "alice", "hi", "lost"), keyed(1, "alice", "other", "lost"), expecting(1, 0), create(2, "bob")]
    {
        assert_eq!(bench.call(command), Err(Refusal::LogPoisoned));
    }
}

#[test]
fn what_a_failed_sync_left_unanswered_may_be_there_after_a_restart_but_only_once() {
    let mut bench = Bench::with_session();
    bench.hold_syncs = true;
    bench.send(keyed(1, "alice", "hi", "k"));
    bench.fail_sync();
    bench.hold_syncs = false;
    bench.kill(); // the bytes had reached the file
    assert!(appended(bench.call(keyed(1, "alice", "hi", "k"))).2);
    assert_eq!(bench.seqs(1), [1]);
}

#[test]
fn a_full_disk_refuses_appends_by_name_and_reads_go_on() {
    let mut bench = Bench::with(storage::Options { segment_bytes: 16 << 10, ..options() });
    bench.create(1, "alice");
    bench.append(1, "alice");
    bench.disk.set_bytes_free(0);
    let refusal = (0..1000).find_map(|_| bench.call(append(1, "alice", "hi")).err());
    assert_eq!(refusal, Some(Refusal::DiskFull));
    let before = bench.seqs(1).len();
    assert!(bench.shard.status().disk_full);
    bench.disk.set_bytes_free(u64::MAX);
    bench.now_us += 60_000_000;
    bench.step(Input::Tick);
    bench.run();
    assert_eq!(bench.append(1, "alice")["seq"], before as u64 + 1);
}

#[test]
fn an_append_that_needs_the_next_segment_waits_for_it() {
    let mut bench = Bench::with(storage::Options { segment_bytes: 16 << 10, ..options() });
    bench.create(1, "alice");
    bench.hold_works = true;
    let tokens: Vec<u64> = (0..100).map(|_| bench.send(append(1, "alice", "hi"))).collect();
    assert!(bench.answer(*tokens.last().unwrap()).is_none());
    bench.hold_works = false;
    bench.run();
    let seqs: Vec<u64> = tokens.into_iter().map(|token| appended(bench.answer(token).unwrap()).0).collect();
    assert!(seqs.iter().copied().eq(1..=100));
}

#[test]
fn in_memory_durability_answers_without_a_sync() {
    let mut bench = Bench::with(memory_durability());
    bench.hold_syncs = true;
    bench.create(1, "alice");
    assert_eq!(bench.append(1, "alice")["seq"], 1);
    assert_eq!(bench.seqs(1), [1]);
}

#[test]
fn more_than_can_wait_is_refused_as_overload_and_reads_are_not() {
    let mut bench = Bench::with(storage::Options { segment_bytes: 64 << 20, ..options() });
    bench.create(1, "alice");
    bench.hold_syncs = true;
    for _ in 0..PENDING_COMMITS_MAX {
        bench.send(append(1, "alice", "hi"));
    }
    let count = bench.said.len();
    assert_eq!(bench.call(append(1, "alice", "hi")), Err(Refusal::Overloaded));
    assert!(bench.session(1).is_ok());
    bench.release_syncs();
    assert_eq!(bench.said.len() - count, PENDING_COMMITS_MAX + 2);
}
