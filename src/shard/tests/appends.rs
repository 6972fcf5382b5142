//! Contract 1.5 and 8.3, 8.6: numbers, authors, keys, expectations.

use super::*;
use crate::limits::{IDEMPOTENCY_WINDOW, MESSAGE_BYTES_MAX, NAME_BYTES_MAX};

#[test]
fn the_first_message_is_seq_1_and_is_read_as_it_was_answered() {
    let mut bench = Bench::with_session();
    let (seq, answer, replayed) = appended(bench.call(append(1, "alice", "hello")));
    assert_eq!((seq, replayed), (1, false));
    assert_eq!(answer["session_id"], id(1).to_string());
    assert_eq!(answer["sender_id"], "alice");
    assert_eq!(answer["content"]["text"], "hello");
    assert_eq!(answer["inserted_at"].as_str().unwrap().len(), 27);
    let page = bench.read(1, PageFrom::After(0), 10);
    assert_eq!(messages(&page), [answer]);
}

#[test]
fn two_parties_share_one_sequence() {
    let mut bench = Bench::with_session();
    for author in ["alice", "bot", "alice"] {
        bench.append(1, author);
    }
    let page = bench.read(1, PageFrom::After(0), 10);
    let senders: Vec<_> =
        messages(&page).iter().map(|message| message["sender_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(seqs(&page), [1, 2, 3]);
    assert_eq!(senders, ["alice", "bot", "alice"]);
}

#[test]
fn appends_to_several_sessions_are_numbered_apart() {
    let mut bench = Bench::new();
    (1..=3).for_each(|n| drop(bench.create(n, "alice")));
    bench.hold_syncs = true;
    let tokens: Vec<u64> = (0..9).map(|n| bench.send(append(n % 3 + 1, "alice", "hi"))).collect();
    bench.release_syncs();
    let seqs: Vec<u64> = tokens.into_iter().map(|token| appended(bench.answer(token).unwrap()).0).collect();
    assert_eq!(seqs, [1, 1, 1, 2, 2, 2, 3, 3, 3]);
    (1..=3).for_each(|n| assert_eq!(bench.seqs(n), [1, 2, 3]));
}

#[test]
fn an_unknown_session_is_refused_and_nothing_is_made() {
    let mut bench = Bench::new();
    assert_eq!(bench.call(append(9, "alice", "hi")), Err(Refusal::SessionNotFound));
    assert_eq!(bench.session(9), Err(Refusal::SessionNotFound));
}

#[test]
fn anybody_may_write_over_rest_and_only_the_parties_over_a_channel() {
    let mut bench = Bench::with_session();
    let on_channel = |who: &str| {
        let author = Author::Identity(who.into());
        Command::Append(Box::new(Append { author, participants_only: true, ..message(1, "", "hi") }))
    };
    assert_eq!(bench.append(1, "stranger")["seq"], 1);
    assert_eq!(bench.call(on_channel("stranger")), Err(Refusal::Unauthorized));
    assert_eq!(appended(bench.call(on_channel("alice"))).0, 2);
    assert_eq!(appended(bench.call(on_channel("bot"))).0, 3);
}

#[test]
fn a_retry_returns_the_first_result() {
    let mut bench = Bench::with_session();
    let first = appended(bench.call(keyed(1, "alice", "hi", "k")));
    bench.append(1, "bot");
    let retry = appended(bench.call(keyed(1, "alice", "hi", "k")));
    assert_eq!((retry.0, &retry.1, retry.2), (1, &first.1, true));
    assert_eq!(bench.seqs(1), [1, 2]);
    assert_eq!(bench.shard.status().replayed_total, 1);
}

#[test]
fn a_key_with_another_request_is_refused_and_another_authors_key_is_another_key() {
    let mut bench = Bench::with_session();
    bench.call(keyed(1, "alice", "hi", "k")).unwrap();
    assert_eq!(bench.call(keyed(1, "alice", "other", "k")), Err(Refusal::IdempotencyMismatch));
    assert_eq!(appended(bench.call(keyed(1, "bot", "other", "k"))).0, 2);
}

#[test]
fn a_retry_of_an_uncommitted_append_waits_for_the_same_commit() {
    let mut bench = Bench::with_session();
    bench.hold_syncs = true;
    let (first, retry) = (bench.send(keyed(1, "alice", "hi", "k")), bench.send(keyed(1, "alice", "hi", "k")));
    let mismatch = bench.send(keyed(1, "alice", "other", "k"));
    assert!([first, retry, mismatch].iter().all(|&token| bench.answer(token).is_none()));
    bench.release_syncs();
    let (first, retry) = (appended(bench.answer(first).unwrap()), appended(bench.answer(retry).unwrap()));
    assert_eq!((first.0, first.2, retry.0, retry.2), (1, false, 1, true));
    assert_eq!(first.1, retry.1);
    assert_eq!(bench.answer(mismatch), Some(Err(Refusal::IdempotencyMismatch)));
    assert_eq!(bench.seqs(1), [1]);
}

#[test]
fn keys_survive_a_crash() {
    let mut bench = Bench::with_session();
    let first = appended(bench.call(keyed(1, "alice", "hi", "k")));
    bench.append(1, "bot");
    bench.cut_power();
    let retry = appended(bench.call(keyed(1, "alice", "hi", "k")));
    assert_eq!((retry.0, retry.1, retry.2), (1, first.1, true));
    assert_eq!(bench.call(keyed(1, "alice", "x", "k")), Err(Refusal::IdempotencyMismatch));
    assert_eq!(bench.seqs(1), [1, 2]);
}

#[test]
fn a_key_beyond_the_window_is_a_new_message_before_and_after_a_restart() {
    let mut bench = Bench::with(storage::Options { segment_bytes: 4 << 20, ..memory_durability() });
    bench.create(1, "alice");
    bench.call(keyed(1, "alice", "hi", "old")).unwrap();
    bench.call(keyed(1, "alice", "hi", "young")).unwrap();
    (2..IDEMPOTENCY_WINDOW).for_each(|_| drop(bench.append(1, "bot")));
    assert!(appended(bench.call(keyed(1, "alice", "hi", "old"))).2); // the last of the window
    bench.append(1, "bot");
    bench.kill();
    assert!(appended(bench.call(keyed(1, "alice", "hi", "young"))).2);
    assert_eq!(appended(bench.call(keyed(1, "alice", "hi", "old"))), {
        let last = bench.read(1, PageFrom::Before(u64::MAX), 1);
        (IDEMPOTENCY_WINDOW + 2, messages(&last)[0].clone(), false)
    });
}

#[test]
fn expected_seq_holds_or_tells_the_current_one() {
    let mut bench = Bench::with_session();
    assert_eq!(appended(bench.call(expecting(1, 0))).0, 1);
    assert_eq!(bench.call(expecting(1, 0)), Err(Refusal::SeqConflict { current: 1 }));
    assert_eq!(appended(bench.call(expecting(1, 1))).0, 2);
}

#[test]
fn a_conflict_with_an_uncommitted_message_is_told_when_that_is_durable() {
    let mut bench = Bench::with_session();
    bench.hold_syncs = true;
    bench.send(append(1, "alice", "hi"));
    let conflict = bench.send(expecting(1, 0));
    assert_eq!(bench.answer(conflict), None);
    bench.release_syncs();
    assert_eq!(bench.answer(conflict), Some(Err(Refusal::SeqConflict { current: 1 })));
}

#[test]
fn the_checks_come_in_their_order() {
    let mut bench = Bench::with_session();
    bench.call(keyed(1, "alice", "hi", "k")).unwrap();
    let big = Json::parse(&format!("{{\"text\":\"{}\"}}", "x".repeat(MESSAGE_BYTES_MAX))).unwrap();
    let all_wrong = Append {
        idempotency_key: Some("k".into()),
        expected_seq: Some(7),
        participants_only: true,
        content: big,
        ..message(1, "stranger", "")
    };
    let mut call = |append: &Append| bench.call(Command::Append(Box::new(append.clone()))).unwrap_err();
    assert_eq!(call(&Append { session: id(9), ..all_wrong.clone() }), Refusal::SessionNotFound);
    assert_eq!(call(&all_wrong), Refusal::Unauthorized);
    let mut append = Append { author: Author::User("alice".into()), ..all_wrong };
    assert_eq!(call(&append), Refusal::IdempotencyMismatch);
    append.idempotency_key = None;
    assert_eq!(call(&append), Refusal::SeqConflict { current: 1 });
    append.expected_seq = None;
    assert!(matches!(call(&append), Refusal::MessageTooLarge { bytes_max: MESSAGE_BYTES_MAX, .. }));
    assert_eq!(bench.seqs(1), [1]);
}

#[test]
fn names_are_bounded() {
    let mut bench = Bench::with_session();
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    for command in [
        create(2, &long),
        append(1, &long, "hi"),
        mark_read(1, &long, 0),
        Command::WatchInbox { user_id: long.clone() },
    ] {
        assert!(matches!(bench.call(command), Err(Refusal::InvalidFields(_))));
    }
    assert_eq!(bench.append(1, &long[1..])["seq"], 1);
}
