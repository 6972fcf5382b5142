//! Restarts: what was acknowledged is there, with any number of shards, with and without snapshots.

use super::*;
use proptest::prelude::*;

#[test]
fn a_restart_goes_on_where_it_was() {
    let mut bench = Bench::with_session();
    bench.append(1, "alice");
    bench.append(1, "stranger");
    bench.mark_read(1, "alice", 1);
    bench.mark_read(1, "zoe", 2);
    bench.call(Command::ArchiveSession { id: id(1) }).unwrap();
    bench.create(2, "alice");
    bench.append(2, "bot");
    let (one, two, inbox) = (bench.session(1), bench.session(2), bench.inbox("alice"));
    bench.cut_power();
    assert_eq!((bench.session(1), bench.session(2)), (one, two));
    let strip = |entries: Vec<InboxEntry>| {
        entries.into_iter().map(|entry| InboxEntry { as_of: 0, ..entry }).collect::<Vec<_>>()
    };
    assert_eq!(strip(bench.inbox("alice")), strip(inbox));
    let Reply::Cursors { cursors, .. } = bench.call(Command::ReadCursors { session: id(1) }).unwrap() else { panic!() };
    assert_eq!(cursors, [("alice".to_owned(), 1), ("zoe".to_owned(), 2)]);
    assert_eq!(bench.append(1, "bot")["seq"], 3);
    assert_eq!(bench.seqs(1), [1, 2, 3]);
}

#[test]
fn a_deleted_session_stays_deleted() {
    let mut bench = Bench::with_session();
    bench.append(1, "alice");
    bench.create(2, "alice");
    bench.call(Command::DeleteSession { id: id(1) }).unwrap();
    bench.cut_power();
    assert_eq!(bench.session(1), Err(Refusal::SessionNotFound));
    assert_eq!(bench.shard.status().sessions, 1);
    assert_eq!(bench.append(2, "alice")["seq"], 1);
}

#[test]
fn another_number_of_shards_finds_every_session() {
    let mut bench = Bench::new();
    (1..=40).for_each(|n| drop(bench.create(n, "alice")));
    (1..=40).for_each(|n| drop(bench.append(n, "bot")));
    let mut disk = bench.disk.kill();
    for (life, shards) in [4u16, 3, 1, 16].into_iter().enumerate() {
        let options = storage::Options { shards, seed: life as u64 + 5, ..options() };
        let recovered = storage::recover(&disk, &options).unwrap();
        let mut sessions = 0;
        for shard in 0..shards {
            let options = storage::Options { shard, ..options.clone() };
            let mut opened = Shard::open(disk.clone(), &recovered, options, None).unwrap();
            sessions += opened.status().sessions;
            for n in 1..=40 {
                let owned = owner_of_session(id(n), shards) == ShardId(shard);
                let outcome = opened.read_messages(id(n), PageFrom::After(0), 10);
                let count = match outcome {
                    Ok(Outcome::Reply(Reply::Messages(page))) => Some(page.count),
                    _ => None,
                };
                assert_eq!(count, owned.then_some(1));
            }
        }
        assert_eq!(sessions, 40);
        disk = disk.kill();
    }
}

/// One step of a random life.
#[derive(Clone, Debug)]
enum Deed {
    Create(u64),
    Append(u64, &'static str),
    Keyed(u64, u8),
    Read(u64, &'static str, u64),
    Archive(u64),
    Delete(u64),
    Snapshot,
    Restart,
}

fn deed() -> impl Strategy<Value = Deed> {
    let who = prop_oneof![Just("alice"), Just("bot"), Just("zoe")];
    prop_oneof![
        2 => (1..5u64).prop_map(Deed::Create),
        8 => (1..5u64, who.clone()).prop_map(|(n, who)| Deed::Append(n, who)),
        3 => (1..5u64, 0..6u8).prop_map(|(n, key)| Deed::Keyed(n, key)),
        4 => (1..5u64, who, 0..20u64).prop_map(|(n, who, seq)| Deed::Read(n, who, seq)),
        1 => (1..5u64).prop_map(Deed::Archive),
        1 => (1..5u64).prop_map(Deed::Delete),
        1 => Just(Deed::Snapshot),
        1 => Just(Deed::Restart),
    ]
}

/// The session, its messages, its cursors, its entry in the inbox.
type Visible = (Result<Value, Refusal>, Vec<Value>, Vec<(String, u64)>, Option<InboxEntry>);

/// Everything that clients can see of sessions 1 to 4.
fn visible(bench: &mut Bench) -> Vec<Visible> {
    let mut sessions = Vec::new();
    for n in 1..5 {
        let session = bench.session(n);
        if session.is_err() {
            sessions.push((session, vec![], vec![], None));
            continue;
        }
        let page = bench.read(n, PageFrom::After(0), 1000);
        let Reply::Cursors { cursors, .. } = bench.call(Command::ReadCursors { session: id(n) }).unwrap() else {
            panic!()
        };
        let entry = bench.inbox("alice").into_iter().find(|entry| entry.session == id(n));
        sessions.push((session, messages(&page), cursors, entry.map(|entry| InboxEntry { as_of: 0, ..entry })));
    }
    sessions
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_shows_exactly_what_was_shown_before(deeds in proptest::collection::vec(deed(), 1..60)) {
        let mut bench = Bench::with(storage::Options { segment_bytes: 16 << 10, ..options() });
        for deed in deeds {
            match deed {
                Deed::Create(n) => drop(bench.call(create(n, "alice"))),
                Deed::Append(n, who) => drop(bench.call(append(n, who, "hi"))),
                Deed::Keyed(n, key) => drop(bench.call(keyed(n, "alice", "hi", &key.to_string()))),
                Deed::Read(n, who, seq) => drop(bench.call(mark_read(n, who, seq))),
                Deed::Archive(n) => drop(bench.call(Command::ArchiveSession { id: id(n) })),
                Deed::Delete(n) => drop(bench.call(Command::DeleteSession { id: id(n) })),
                Deed::Snapshot => bench.snapshot_now(),
                Deed::Restart => {
                    let before = visible(&mut bench);
                    bench.cut_power();
                    prop_assert_eq!(visible(&mut bench), before);
                }
            }
        }
        let before = visible(&mut bench);
        bench.cut_power();
        prop_assert_eq!(visible(&mut bench), before);
    }
}

impl Bench {
    /// Takes a snapshot, with appends between its steps left to the caller.
    pub(super) fn snapshot_now(&mut self) {
        self.shard.log.snapshot_now();
        for _ in 0..8 {
            self.step(Input::Tick);
            self.run();
        }
    }
}

#[test]
fn a_snapshot_that_begins_with_appends_in_flight_loses_none_of_them() {
    let mut bench = Bench::with_session();
    bench.append(1, "bot");
    bench.hold_syncs = true;
    bench.send(append(1, "alice", "in flight"));
    bench.send(mark_read(1, "alice", 1));
    bench.shard.log.snapshot_now();
    bench.step(Input::Tick); // the walk happens before their commit
    bench.release_syncs();
    for _ in 0..8 {
        bench.step(Input::Tick);
        bench.run();
    }
    let before = (bench.seqs(1), bench.unread("alice", 1), bench.mark_read(1, "alice", 0));
    bench.cut_power();
    assert_eq!((bench.seqs(1), bench.unread("alice", 1), bench.mark_read(1, "alice", 0)), before);
    bench.append(1, "bot");
    assert_eq!(bench.unread("alice", 1), 1);
    assert_eq!(bench.inbox("alice")[0].last_sender_id.as_deref(), Some("bot"));
}
