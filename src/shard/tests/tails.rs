//! Joining, live messages, chunks: contract 2.2 and 8.4.

use super::*;

fn pushed_seqs(pushes: &[(ShardId, Push)], shard: ShardId) -> Vec<u64> {
    let seq = |(to, push): &(ShardId, Push)| match push {
        Push::Message { seq, .. } if *to == shard => Some(*seq),
        _ => None,
    };
    pushes.iter().filter_map(seq).collect()
}

#[test]
fn a_join_replays_what_is_above_its_cursor_and_then_stays_live() {
    let mut bench = Bench::with_session();
    (0..4).for_each(|_| drop(bench.append(1, "alice")));
    let page = bench.join(THERE, 1, "alice", 2).unwrap();
    assert_eq!((seqs(&page), page.session_last_seq, page.has_more), (vec![3, 4], 4, false));
    bench.append(1, "bot");
    let pushes = bench.pushes();
    assert_eq!(pushed_seqs(&pushes, THERE), [5]);
}

#[test]
fn a_join_with_more_messages_than_it_asked_for_says_so() {
    let mut bench = Bench::with_session();
    (0..4).for_each(|_| drop(bench.append(1, "alice")));
    let Ok(Reply::Joined { page, .. }) =
        bench.call(Command::Join { session: id(1), identity: "bot".into(), after_seq: 0, limit: 3, resume: None })
    else {
        panic!()
    };
    assert_eq!((seqs(&page), page.session_last_seq, page.has_more), (vec![1, 2, 3], 4, true));
}

#[test]
fn only_the_parties_may_join() {
    let mut bench = Bench::with_session();
    assert_eq!(bench.join(THERE, 1, "stranger", 0), Err(Refusal::Unauthorized));
    bench.join(HERE, 1, "alice", 0).unwrap();
    bench.join(HERE, 1, "bot", 0).unwrap();
    bench.append(1, "alice");
    let pushes = bench.pushes();
    assert_eq!((pushed_seqs(&pushes, HERE), pushed_seqs(&pushes, THERE)), (vec![1], vec![]));
}

#[test]
fn the_sender_is_answered_before_anybody_hears_the_message() {
    let mut bench = Bench::with_session();
    bench.join(HERE, 1, "alice", 0).unwrap();
    bench.join(THERE, 1, "bot", 0).unwrap();
    bench.said.clear();
    let token = bench.send(append(1, "alice", "hi"));
    assert!(matches!(bench.said[0], Said::Reply(to, Ok(Reply::Appended { seq: 1, .. })) if to == token));
    let (_, answer, _) = appended(bench.answer(token).unwrap());
    assert_eq!(bench.said.len(), 3);
    for (to, push) in bench.pushes() {
        let Push::Message { session, seq, json } = push else { panic!() };
        assert_eq!((session, seq, value(&json)), (id(1), 1, answer.clone()), "to {to:?}");
    }
}

#[test]
fn a_join_between_append_and_commit_hears_the_message_once() {
    let mut bench = Bench::with_session();
    bench.hold_syncs = true;
    bench.send(append(1, "alice", "hi"));
    let page = bench.join(THERE, 1, "alice", 0).unwrap();
    assert_eq!((page.count, page.session_last_seq), (0, 0));
    bench.release_syncs();
    let pushes = bench.pushes();
    assert_eq!(pushed_seqs(&pushes, THERE), [1]);
}

#[test]
fn a_shard_that_left_hears_nothing_more() {
    let mut bench = Bench::with_session();
    bench.join(THERE, 1, "alice", 0).unwrap();
    bench.join(HERE, 1, "alice", 0).unwrap();
    assert_eq!(bench.shard.status().subscriptions, 2);
    let token = bench.send(Command::Unsubscribe { session: id(1), shard: THERE });
    assert_eq!(bench.answer(token), None);
    bench.append(1, "alice");
    let pushes = bench.pushes();
    assert_eq!((pushed_seqs(&pushes, HERE), pushed_seqs(&pushes, THERE)), (vec![1], vec![]));
    assert_eq!(bench.shard.status().subscriptions, 1);
}

#[test]
fn a_replayed_append_is_not_pushed_again() {
    let mut bench = Bench::with_session();
    bench.join(HERE, 1, "alice", 0).unwrap();
    bench.call(keyed(1, "alice", "hi", "k")).unwrap();
    bench.call(keyed(1, "alice", "hi", "k")).unwrap();
    let pushes = bench.pushes();
    assert_eq!(pushed_seqs(&pushes, HERE), [1]);
}

#[test]
fn a_chunk_of_the_sessions_agent_reaches_everybody_at_once_and_is_not_stored() {
    let mut bench = Bench::with_session();
    bench.join(HERE, 1, "alice", 0).unwrap();
    bench.join(THERE, 1, "bot", 0).unwrap();
    bench.said.clear();
    bench.hold_syncs = true;
    let chunk = json(r#"{"type": "text-delta", "delta": "He"}"#);
    let command = |agent: &str| Command::Chunk { session: id(1), agent_id: agent.into(), chunk: chunk.clone() };
    assert_eq!(bench.call(command("bot")), Ok(Reply::Done));
    let push = Push::Chunk { session: id(1), agent_id: "bot".into(), chunk: chunk.clone(), place: None };
    assert_eq!(bench.pushes(), [(HERE, push.clone()), (THERE, push)]);
    assert_eq!(bench.call(command("alice")), Err(Refusal::Unauthorized));
    assert!(bench.seqs(1).is_empty());
}
