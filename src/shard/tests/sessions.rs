//! Contract 1.4: created, read, listed, archived, deleted; read cursors.

use super::*;
use crate::limits::CURSORS_MAX;

fn listed(bench: &mut Bench, user_id: Option<&str>, before: Option<SessionId>, limit: usize) -> (Vec<SessionId>, bool) {
    match bench.call(Command::ListSessions { user_id: user_id.map(Into::into), before, limit }).unwrap() {
        Reply::Sessions { sessions, has_more } => {
            assert!(sessions.iter().all(|(id, json)| value(json)["id"] == id.to_string()));
            (sessions.into_iter().map(|(id, _)| id).collect(), has_more)
        }
        other => panic!("unexpected {other:?}"),
    }
}

#[test]
fn a_created_session_reads_back() {
    let mut bench = Bench::new();
    let created = bench.create(1, "alice");
    assert_eq!(created["id"], id(1).to_string());
    assert_eq!(created["user_id"], "alice");
    assert_eq!(created["agent_id"], "bot");
    assert_eq!(created["status"], "active");
    assert_eq!(created["metadata"]["topic"], "x");
    assert_eq!(created["inserted_at"], created["updated_at"]);
    assert_eq!(bench.session(1), Ok(created));
    assert!(bench.seqs(1).is_empty());
}

#[test]
fn an_id_is_given_once() {
    let mut bench = Bench::with_session();
    assert_eq!(bench.call(create(1, "bob")), Err(Refusal::SessionExists));
    assert_eq!(bench.session(1).unwrap()["user_id"], "alice");
}

#[test]
fn lists_are_newest_first_by_user_and_in_pages() {
    let mut bench = Bench::new();
    for (n, user) in [(1, "alice"), (2, "bob"), (3, "alice"), (4, "alice")] {
        bench.create(n, user);
    }
    assert_eq!(listed(&mut bench, None, None, 3), (vec![id(4), id(3), id(2)], true));
    assert_eq!(listed(&mut bench, None, Some(id(2)), 3), (vec![id(1)], false));
    assert_eq!(listed(&mut bench, Some("alice"), None, 2), (vec![id(4), id(3)], true));
    assert_eq!(listed(&mut bench, Some("alice"), Some(id(3)), 2), (vec![id(1)], false));
    assert_eq!(listed(&mut bench, Some("nobody"), None, 2), (vec![], false));
}

#[test]
fn an_archived_session_still_reads_takes_messages_and_is_listed() {
    let mut bench = Bench::with_session();
    for _ in 0..2 {
        let Reply::Session { json } = bench.call(Command::ArchiveSession { id: id(1) }).unwrap() else { panic!() };
        assert_eq!(value(&json)["status"], "archived");
    }
    let session = bench.session(1).unwrap();
    assert!(session["updated_at"].as_str() > session["inserted_at"].as_str());
    assert_eq!(bench.append(1, "alice")["seq"], 1);
    assert_eq!(bench.join(HERE, 1, "alice", 0).unwrap().count, 1);
    assert_eq!(listed(&mut bench, Some("alice"), None, 5).0, [id(1)]);
    assert_eq!(bench.call(Command::ArchiveSession { id: id(9) }), Err(Refusal::SessionNotFound));
}

#[test]
fn a_deleted_session_is_gone_its_channels_close_and_its_memory_is_free() {
    let mut bench = Bench::with_session();
    bench.append(1, "alice");
    bench.join(THERE, 1, "alice", 0).unwrap();
    assert_eq!(bench.call(Command::DeleteSession { id: id(1) }), Ok(Reply::Done));
    assert_eq!(bench.pushes(), [(THERE, Push::Closed { session: id(1) })]);
    assert_eq!(bench.session(1), Err(Refusal::SessionNotFound));
    assert_eq!(bench.call(append(1, "alice", "hi")), Err(Refusal::SessionNotFound));
    assert_eq!(bench.call(Command::DeleteSession { id: id(1) }), Err(Refusal::SessionNotFound));
    assert!(listed(&mut bench, Some("alice"), None, 5).0.is_empty());
    assert_eq!((bench.shard.status().sessions, bench.shard.status().subscriptions), (0, 0));
    bench.create(2, "alice");
    assert_eq!(bench.append(2, "alice")["seq"], 1);
}

#[test]
fn a_session_that_is_being_deleted_takes_nothing_and_says_so_when_it_is_durable() {
    let mut bench = Bench::with_session();
    bench.hold_syncs = true;
    let delete = bench.send(Command::DeleteSession { id: id(1) });
    let late = [append(1, "alice", "hi"), mark_read(1, "alice", 1), Command::DeleteSession { id: id(1) }];
    let late = late.map(|command| bench.send(command));
    assert!(late.iter().all(|&token| bench.answer(token).is_none()));
    assert!(bench.session(1).is_ok());
    bench.release_syncs();
    assert_eq!(bench.answer(delete), Some(Ok(Reply::Done)));
    assert!(late.iter().all(|&token| bench.answer(token) == Some(Err(Refusal::SessionNotFound))));
}

#[test]
fn cursors_go_forward_only_and_never_beyond_the_last_message() {
    let mut bench = Bench::with_session();
    (0..5).for_each(|_| drop(bench.append(1, "bot")));
    assert_eq!(bench.mark_read(1, "alice", 3)["alice"], 3);
    assert_eq!(bench.mark_read(1, "alice", 2)["alice"], 3);
    assert_eq!(bench.mark_read(1, "alice", 99)["alice"], 5);
    assert_eq!(bench.mark_read(1, "zoe", 2), BTreeMap::from([("alice".into(), 5), ("zoe".into(), 2)]));
    assert_eq!(bench.call(mark_read(9, "alice", 1)), Err(Refusal::SessionNotFound));
    let Reply::Cursors { cursors, last_seq, session } = bench.call(Command::ReadCursors { session: id(1) }).unwrap()
    else {
        panic!()
    };
    assert_eq!((cursors, last_seq), (vec![("alice".into(), 5), ("zoe".into(), 2)], 5));
    assert_eq!(value(&session)["id"], id(1).to_string());
}

#[test]
fn a_reader_cannot_be_ahead_of_what_is_durable() {
    let mut bench = Bench::with_session();
    bench.append(1, "bot");
    bench.hold_syncs = true;
    bench.send(append(1, "bot", "hi"));
    let mark = bench.send(mark_read(1, "alice", 2));
    bench.release_syncs();
    let Some(Ok(Reply::Cursors { cursors, .. })) = bench.answer(mark) else { panic!() };
    assert_eq!(cursors, [("alice".to_owned(), 1)]);
}

#[test]
fn strangers_cannot_grow_a_session_without_end() {
    let mut bench = Bench::with(memory_durability());
    bench.create(1, "alice");
    bench.append(1, "bot");
    for reader in 0..CURSORS_MAX {
        bench.mark_read(1, &format!("r{reader}"), 1);
    }
    assert!(matches!(bench.call(mark_read(1, "one more", 1)), Err(Refusal::Full { max: CURSORS_MAX, .. })));
    assert_eq!(bench.mark_read(1, "alice", 1)["alice"], 1);
}
