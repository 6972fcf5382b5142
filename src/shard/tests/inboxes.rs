//! Contract 5 with its defects mended: unread means messages by others above the cursor, and every change is told.

use super::*;

fn changes(bench: &mut Bench) -> Vec<(SessionId, u64, bool)> {
    let change = |(_, push)| match push {
        Push::Inbox { entry, .. } => Some((entry.session, entry.unread_count, entry.gone)),
        _ => None,
    };
    bench.pushes().into_iter().filter_map(change).collect()
}

#[test]
fn unread_counts_messages_of_others_above_the_cursor() {
    let mut bench = Bench::with_session();
    for author in ["bot", "alice", "bot", "stranger", "alice", "bot"] {
        bench.append(1, author);
    }
    assert_eq!(bench.unread("alice", 1), 4);
    bench.mark_read(1, "alice", 3);
    assert_eq!(bench.unread("alice", 1), 2);
    bench.mark_read(1, "bot", 6); // another reader's cursor does not matter
    assert_eq!(bench.unread("alice", 1), 2);
    bench.mark_read(1, "alice", 6);
    assert_eq!(bench.unread("alice", 1), 0);
    bench.append(1, "alice");
    assert_eq!(bench.unread("alice", 1), 0);
    bench.append(1, "bot");
    assert_eq!(bench.unread("alice", 1), 1);
}

#[test]
fn an_entry_names_agent_last_sender_and_last_activity() {
    let mut bench = Bench::with_session();
    let entry = bench.inbox("alice").remove(0);
    assert_eq!((entry.session, entry.agent_id.as_str(), entry.unread_count), (id(1), "bot", 0));
    assert_eq!((entry.last_activity_us, entry.last_sender_id), (None, None));
    bench.append(1, "stranger");
    let appended_us = bench.now_us;
    let entry = bench.inbox("alice").remove(0);
    assert_eq!((entry.last_activity_us, entry.last_sender_id.as_deref()), (Some(appended_us), Some("stranger")));
}

#[test]
fn watchers_are_told_of_new_sessions_messages_reads_and_departures() {
    let mut bench = Bench::with_session();
    let watch = bench.send_from(THERE, Command::WatchInbox { user_id: "alice".into() });
    assert!(bench.answer(watch).unwrap().is_ok());
    bench.create(2, "alice");
    bench.create(3, "bob");
    assert_eq!(changes(&mut bench), [(id(2), 0, false)]);
    bench.append(2, "bot");
    bench.append(3, "bot");
    assert_eq!(changes(&mut bench), [(id(2), 1, false)]);
    bench.mark_read(2, "zoe", 1);
    bench.mark_read(2, "alice", 1);
    bench.mark_read(2, "alice", 1);
    assert_eq!(changes(&mut bench), [(id(2), 0, false)]);
    bench.call(Command::ArchiveSession { id: id(2) }).unwrap();
    bench.append(2, "bot");
    bench.call(Command::DeleteSession { id: id(1) }).unwrap();
    assert_eq!(changes(&mut bench), [(id(2), 0, true), (id(1), 0, true)]);
    assert!(bench.inbox("alice").is_empty());
    bench.send(Command::UnwatchInbox { user: "alice".into(), shard: THERE });
    bench.send(Command::UnwatchInbox { user: "alice".into(), shard: HERE });
    bench.create(4, "alice");
    assert!(changes(&mut bench).is_empty());
}

#[test]
fn nothing_is_counted_before_it_is_durable() {
    let mut bench = Bench::with_session();
    bench.inbox("alice");
    bench.hold_syncs = true;
    bench.send(append(1, "bot", "hi"));
    assert_eq!(bench.unread("alice", 1), 0);
    assert!(changes(&mut bench).is_empty());
    bench.release_syncs();
    assert_eq!(changes(&mut bench), [(id(1), 1, false)]);
    assert_eq!(bench.unread("alice", 1), 1);
}

#[test]
fn a_later_account_has_a_greater_as_of_than_an_earlier_one() {
    let mut bench = Bench::with_session();
    let watched = bench.inbox("alice")[0].as_of;
    bench.append(1, "bot");
    let Some((_, Push::Inbox { entry, .. })) = bench.pushes().pop() else { panic!() };
    let watched_again = bench.inbox("alice")[0].as_of;
    assert!(watched < entry.as_of && entry.as_of <= watched_again);
}

#[test]
fn unread_counts_equal_brute_force_over_restarts() {
    let mut bench = Bench::with_session();
    let mut authors = Vec::new();
    let mut cursor = 0;
    for turn in 0..60u64 {
        match turn * 7 % 5 {
            0 => cursor = (turn / 2).min(authors.len() as u64).max(cursor),
            1 | 2 => authors.push("bot"),
            _ => authors.push("alice"),
        }
        if turn * 7 % 5 == 0 {
            bench.mark_read(1, "alice", turn / 2);
        } else {
            bench.append(1, authors.last().unwrap());
        }
        if turn % 13 == 0 {
            bench.cut_power();
        }
        let brute_force = authors.iter().skip(cursor as usize).filter(|author| **author != "alice").count() as u64;
        assert_eq!(bench.unread("alice", 1), brute_force, "after turn {turn}");
    }
}
