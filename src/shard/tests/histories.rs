//! Titles, ratings, rows of sessions, unread messages and timelines: what a user sees over all sessions.

use super::*;
use crate::limits::{RATINGS_MAX, SESSION_ROWS_MAX, TIMELINE_ROWS_MAX, TITLE_BYTES_MAX};
use crate::session::Feedback;
use proptest::prelude::*;

fn feedback(seq: u64, rater: &str, rating: u8, comment: Option<&str>) -> Feedback {
    Feedback { seq, rater: rater.into(), rating, comment: comment.map(Into::into) }
}

fn answer(n: u64, text: &str) -> Command {
    let author = Author::Agent("bot".into());
    Command::Append(Box::new(Append { author, kind: "assistant".into(), ..message(n, "bot", text) }))
}

impl Bench {
    fn make(&mut self, n: u64, user: &str, agent: &str, title: Option<&str>) -> Value {
        let (user_id, agent_id, title) = (user.into(), agent.into(), title.map(Into::into));
        let create = Command::CreateSession { id: id(n), user_id, agent_id, title, metadata: Json::empty_object() };
        let Ok(Reply::Session { json }) = self.call(create) else { panic!("a session is made") };
        value(&json)
    }

    fn rename(&mut self, n: u64, title: &str) -> Result<Value, Refusal> {
        self.call(Command::RenameSession { id: id(n), title: title.into() }).map(|reply| match reply {
            Reply::Session { json } => value(&json),
            other => panic!("unexpected {other:?}"),
        })
    }

    fn rate(&mut self, n: u64, feedback: Feedback) -> Result<Reply, Refusal> {
        self.call(Command::Rate { session: id(n), feedback })
    }

    fn ratings(&mut self, n: u64) -> Vec<Feedback> {
        match self.call(Command::ReadRatings { session: id(n) }).unwrap() {
            Reply::Ratings(rows) => rows.into_iter().map(|row| row.feedback).collect(),
            other => panic!("unexpected {other:?}"),
        }
    }

    fn rows(&mut self, user: Option<&str>, agent: Option<&str>, limit: usize) -> (u64, Vec<SessionRow>) {
        let (user_id, agent_id) = (user.map(Into::into), agent.map(Into::into));
        match self.call(Command::ListRows { user_id, agent_id, session: None, limit, offset: 0 }).unwrap() {
            Reply::SessionRows { total, rows } => (total, rows),
            other => panic!("unexpected {other:?}"),
        }
    }

    fn unread_rows(&mut self, user: &str, agent: Option<&str>, limit: usize) -> (u64, Vec<(u64, u64)>) {
        let command = Command::ReadUnread { user_id: user.into(), agent_id: agent.map(Into::into), limit };
        match self.call(command).unwrap() {
            Reply::Unread { count, rows, is_cut } => {
                assert!(!is_cut);
                (count, rows.into_iter().map(|row| (n_of(row.session), row.seq)).collect())
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    fn mark_all(&mut self, user: &str, session: Option<u64>, upto: Option<u64>) -> Result<Reply, Refusal> {
        let session = session.map(id);
        self.call(Command::MarkAllRead { user_id: user.into(), agent_id: None, session, upto })
    }

    fn keys(&mut self, user: &str, agent: Option<&str>, upto: usize) -> (u64, Vec<(u64, u64)>) {
        let command =
            Command::TimelineKeys { user_id: user.into(), agent_id: agent.map(Into::into), session: None, upto };
        let token = self.send(command);
        while self.answer(token).is_none() {
            self.now_us += 1_100_000; // until a range is asked for again
            self.step(Input::Tick);
            self.run();
        }
        match self.answer(token).unwrap().unwrap() {
            Reply::TimelineKeys { total, keys } => {
                assert!(keys.is_sorted_by(|a, b| a > b), "keys descend");
                (total, keys.into_iter().map(|key| (n_of(key.session), key.seq)).collect())
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    fn rows_at(&mut self, places: &[(u64, u64)]) -> Vec<Row> {
        let places = places.iter().map(|&(n, seq)| (id(n), seq)).collect();
        match self.call(Command::ReadRows { places }).unwrap() {
            Reply::Rows { rows, .. } => rows,
            other => panic!("unexpected {other:?}"),
        }
    }
}

fn n_of(session: SessionId) -> u64 {
    (0..100).find(|&n| id(n) == session).expect("a session of the test")
}

#[test]
fn a_title_comes_with_the_session_and_is_changed_by_its_last_note() {
    let mut bench = Bench::new();
    let made = bench.make(1, "alice", "bot", Some("First"));
    assert_eq!(made["title"], "First");
    assert_eq!(bench.session(1), Ok(made));
    bench.make(2, "alice", "bot", None);
    assert_eq!(bench.session(2).unwrap().get("title"), None);
    let renamed = bench.rename(2, "Second").unwrap();
    assert_eq!(renamed["title"], "Second");
    assert!(renamed["updated_at"].as_str() > renamed["inserted_at"].as_str());
    bench.rename(1, "Third \"x\"").unwrap();
    bench.call(Command::ArchiveSession { id: id(1) }).unwrap();
    let (one, two) = (bench.session(1), bench.session(2));
    assert_eq!(one.as_ref().unwrap()["title"], "Third \"x\"");
    bench.cut_power();
    assert_eq!((bench.session(1), bench.session(2)), (one.clone(), two.clone()));
    bench.snapshot_now();
    bench.kill();
    assert_eq!((bench.session(1), bench.session(2)), (one, two));
    assert_eq!(bench.rename(9, "x"), Err(Refusal::SessionNotFound));
    for title in ["", "  ", &"x".repeat(TITLE_BYTES_MAX + 1)] {
        assert!(matches!(bench.rename(1, title), Err(Refusal::InvalidFields(_))), "{title:?}");
    }
}

#[test]
fn a_session_without_rare_things_is_snapshotted_as_ever() {
    let mut bench = Bench::with_session();
    bench.append(1, "alice");
    let mut plain = Vec::new();
    fold::encode_session(&bench.shard.catalog, None, storage::Slot(0), &mut plain);
    assert_eq!(
        (plain[0], plain.last()),
        (2, Some(&0)),
        "version 2, and nothing behind the byte that says what follows"
    );
    bench.rename(1, "T").unwrap();
    let mut titled = Vec::new();
    fold::encode_session(&bench.shard.catalog, None, storage::Slot(0), &mut titled);
    assert_eq!((titled[0], titled.len(), titled[plain.len() - 1]), (2, plain.len() + 10, 4));
}

#[test]
fn answers_are_rated_and_the_last_rating_of_each_rater_counts() {
    let mut bench = Bench::with_session();
    bench.append(1, "alice");
    bench.call(answer(1, "42")).unwrap();
    bench.append(1, "bot");
    assert_eq!(bench.rate(1, feedback(1, "alice", 5, None)), Err(Refusal::NotAnAnswer));
    for seq in [0, 4, u64::MAX] {
        assert_eq!(bench.rate(1, feedback(seq, "alice", 5, None)), Err(Refusal::MessageNotFound));
    }
    assert_eq!(bench.rate(9, feedback(1, "alice", 5, None)), Err(Refusal::SessionNotFound));
    for rating in [0, 6] {
        assert!(matches!(bench.rate(1, feedback(2, "alice", rating, None)), Err(Refusal::InvalidFields(_))));
    }
    assert_eq!(bench.rate(1, feedback(2, "zoe", 1, Some("no"))), Ok(Reply::Done));
    assert_eq!(bench.rate(1, feedback(3, "alice", 4, None)), Ok(Reply::Done));
    assert_eq!(bench.rate(1, feedback(2, "alice", 2, Some("hm"))), Ok(Reply::Done));
    assert_eq!(bench.rate(1, feedback(2, "alice", 5, Some("oh!"))), Ok(Reply::Done));
    let expected =
        vec![feedback(2, "alice", 5, Some("oh!")), feedback(2, "zoe", 1, Some("no")), feedback(3, "alice", 4, None)];
    assert_eq!(bench.ratings(1), expected);
    bench.cut_power();
    assert_eq!(bench.ratings(1), expected);
    bench.snapshot_now();
    bench.kill();
    assert_eq!(bench.ratings(1), expected);
    bench.disk.set_cold(true);
    bench.kill();
    bench.disk.set_cold(true);
    assert_eq!(bench.ratings(1), expected);
}

#[test]
fn ratings_of_a_session_are_bounded_and_known_raters_may_go_on() {
    let mut bench = Bench::with(memory_durability());
    bench.create(1, "alice");
    bench.call(answer(1, "42")).unwrap();
    for n in 0..RATINGS_MAX {
        bench.rate(1, feedback(1, &n.to_string(), 3, None)).unwrap();
    }
    assert!(matches!(bench.rate(1, feedback(1, "one more", 3, None)), Err(Refusal::Full { .. })));
    assert_eq!(bench.rate(1, feedback(1, "7", 4, None)), Ok(Reply::Done));
    assert_eq!(bench.ratings(1).len(), RATINGS_MAX);
}

#[test]
fn rows_of_sessions_are_in_the_order_of_activity() {
    let mut bench = Bench::new();
    for n in 1..=4 {
        bench.make(n, "alice", if n == 3 { "other" } else { "bot" }, (n == 2).then_some("Two"));
    }
    bench.make(5, "zoe", "bot", None);
    bench.append(2, "alice");
    bench.append(1, "bot");
    let order = |rows: &[SessionRow]| rows.iter().map(|row| n_of(row.id)).collect::<Vec<_>>();
    let (total, rows) = bench.rows(Some("alice"), None, 10);
    assert_eq!((total, order(&rows)), (4, vec![1, 2, 4, 3]));
    assert_eq!((rows[0].messages, rows[0].unread, rows[1].unread), (1, 1, 0));
    assert_eq!((rows[1].title.as_deref(), rows[0].title.as_deref()), (Some("Two"), None));
    assert!(rows[0].updated_us > rows[0].created_us);
    let (total, rows) = bench.rows(Some("alice"), Some("bot"), 2);
    assert_eq!((total, order(&rows)), (3, vec![1, 2]));
    assert_eq!(bench.rows(None, None, 10).0, 5);
    assert_eq!(bench.rows(Some("nobody"), None, 10).0, 0);
    assert_eq!(bench.rows(Some("alice"), Some("nobody"), 10).0, 0);
    assert_eq!(bench.rows(Some("alice"), None, SESSION_ROWS_MAX + 1), (4, vec![]));
    let one = |user: &str, n| {
        let (user_id, session) = (Some(user.into()), Some(id(n)));
        Command::ListRows { user_id, agent_id: Some("bot".into()), session, limit: 1, offset: 0 }
    };
    assert!(matches!(bench.call(one("alice", 1)), Ok(Reply::SessionRows { total: 1, .. })));
    for (user, n) in [("zoe", 1), ("alice", 3), ("alice", 9)] {
        assert_eq!(bench.call(one(user, n)), Err(Refusal::SessionNotFound));
    }
}

#[test]
fn unread_messages_come_oldest_first_over_sessions_and_marking_reads_them() {
    let mut bench = Bench::new();
    (1..=3).for_each(|n| drop(bench.create(n, "alice")));
    for (n, author) in [(1, "bot"), (2, "bot"), (1, "alice"), (1, "alice"), (1, "bot"), (2, "zoe"), (3, "alice")] {
        bench.append(n, author);
    }
    assert_eq!(bench.unread_rows("alice", None, 10), (4, vec![(1, 1), (2, 1), (1, 4), (2, 2)]));
    assert_eq!(bench.unread_rows("alice", Some("bot"), 2), (4, vec![(1, 1), (2, 1)]));
    assert_eq!(bench.unread_rows("alice", Some("other"), 2), (0, vec![]));
    bench.mark_all("alice", Some(1), Some(2)).unwrap();
    assert_eq!(bench.unread_rows("alice", None, 10), (3, vec![(2, 1), (1, 4), (2, 2)]));
    assert_eq!(bench.mark_all("zoe", Some(1), None), Err(Refusal::SessionNotFound));
    bench.hold_syncs = true;
    let token = bench.send(Command::MarkAllRead { user_id: "alice".into(), agent_id: None, session: None, upto: None });
    assert_eq!(bench.answer(token), None, "nothing is told before it is durable");
    bench.release_syncs();
    assert_eq!(bench.answer(token), Some(Ok(Reply::Done)));
    assert_eq!(bench.unread_rows("alice", None, 10), (0, vec![]));
    bench.cut_power();
    assert_eq!((bench.unread("alice", 1), bench.unread("alice", 2)), (0, 0));
    assert_eq!(bench.mark_all("alice", None, None), Ok(Reply::Done));
    bench.append(2, "bot");
    bench.call(Command::ArchiveSession { id: id(2) }).unwrap();
    assert_eq!(bench.unread_rows("alice", None, 10), (0, vec![]), "what is archived is out of the inbox");
}

#[test]
fn what_the_user_wrote_meanwhile_is_leapt_over() {
    let mut bench = Bench::with(memory_durability());
    bench.create(1, "alice");
    let authors = |n: u64| if [1, 150, 151, 299].contains(&n) { "bot" } else { "alice" };
    (1..=300).for_each(|n| drop(bench.append(1, authors(n))));
    assert_eq!(bench.unread_rows("alice", None, 10), (4, vec![(1, 1), (1, 150), (1, 151), (1, 299)]));
}

#[test]
fn a_rows_agent_is_who_wrote_it_and_the_sessions_otherwise() {
    let mut bench = Bench::with_session();
    bench.append(1, "alice");
    bench.call(answer(1, "hi")).unwrap();
    bench.append(1, "stranger");
    let rows = bench.rows_at(&[(1, 2), (1, 1), (1, 3), (1, 4), (7, 1)]);
    let said: Vec<_> = rows.iter().map(|row| (row.seq, row.by_agent, row.agent.id.as_str())).collect();
    assert_eq!(said, [(2, true, "bot"), (1, false, "bot"), (3, false, "bot")]);
}

#[test]
fn a_clock_that_is_set_back_leaves_the_timeline_in_order() {
    let mut bench = Bench::with_session();
    bench.create(2, "alice");
    bench.append(1, "bot");
    bench.now_us += 60_000_000;
    bench.append(2, "bot");
    bench.now_us -= 59_000_000;
    bench.append(2, "bot");
    bench.append(1, "bot");
    bench.cut_power();
    bench.now_us -= 500_000;
    bench.append(1, "bot");
    bench.append(2, "bot");
    // Since the leap all have one stamp, and of one stamp the order is by session.
    assert_eq!(bench.keys("alice", None, 10), (6, vec![(2, 3), (2, 2), (2, 1), (1, 3), (1, 2), (1, 1)]));
}

#[test]
fn a_timeline_beyond_its_bound_has_a_total_and_no_rows() {
    let mut bench = Bench::with_session();
    bench.append(1, "alice");
    assert_eq!(bench.keys("alice", None, TIMELINE_ROWS_MAX), (1, vec![(1, 1)]));
    assert_eq!(bench.keys("alice", None, TIMELINE_ROWS_MAX + 1), (1, vec![]));
    assert_eq!(bench.keys("nobody", None, 5), (0, vec![]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_timeline_is_the_merge_of_its_sessions(
        deeds in proptest::collection::vec((0..12u64, 0..8u64), 0..120),
        upto in 0..140usize,
        is_cold in any::<bool>(),
    ) {
        let mut bench = Bench::with(storage::Options { segment_bytes: 16 << 10, ..options() });
        let user = |n: u64| if n == 5 { "zoe" } else { "alice" };
        let agent = |n: u64| if n == 4 { "other" } else { "bot" };
        (0..6).for_each(|n| drop(bench.make(n, user(n), agent(n), None)));
        let mut oracle: Vec<(u64, u64)> = Vec::new(); // oldest first
        for (deed, n) in deeds {
            match (deed, n) {
                (0, 0..6) => {
                    if bench.call(Command::DeleteSession { id: id(n) }).is_ok() {
                        oracle.retain(|(of, _)| *of != n);
                    }
                }
                (1, 6) => bench.cut_power(),
                (_, 0..6) => {
                    if let Ok(Reply::Appended { seq, .. }) = bench.call(append(n, "bot", "hi")) {
                        oracle.push((n, seq));
                    }
                }
                _ => bench.now_us -= 5_000.min(bench.now_us - START_US),
            }
        }
        if is_cold {
            bench.disk.set_cold(true);
            bench.kill();
            bench.disk.set_cold(true);
        }
        for of_agent in [None, Some("bot"), Some("other")] {
            let is_in = |n: u64| user(n) == "alice" && of_agent.is_none_or(|of| agent(n) == of);
            let all: Vec<_> = oracle.iter().rev().copied().filter(|(n, _)| is_in(*n)).collect();
            let (total, keys) = bench.keys("alice", of_agent, upto);
            prop_assert_eq!(total, all.len() as u64);
            // Of one stamp the order is by session: compared as sets of each session's run, and in each session's order.
            prop_assert_eq!(keys.len(), upto.min(all.len()));
            for n in 0..6 {
                let of = |keys: &[(u64, u64)]| keys.iter().filter(|key| key.0 == n).map(|key| key.1).collect::<Vec<_>>();
                prop_assert!(of(&all).starts_with(&of(&keys)), "session {}", n);
            }
            let rows = bench.rows_at(&keys[..keys.len().min(50)]);
            prop_assert!(rows.is_sorted_by(|a, b| (a.time_us, a.session, a.seq) > (b.time_us, b.session, b.seq)));
        }
    }
}

#[test]
fn a_turn_marks_so_many_sessions_and_the_same_command_the_next() {
    use crate::limits::MARKED_SESSIONS_MAX;
    let mut bench = Bench::new();
    let sessions = MARKED_SESSIONS_MAX as u64 + 2;
    for n in 1..=sessions {
        bench.create(n, "alice");
        bench.append(n, "bot");
    }
    let mark = || Command::MarkAllRead { user_id: "alice".into(), agent_id: None, session: None, upto: None };
    let unread =
        |bench: &mut Bench| match bench.call(Command::ReadUnread { user_id: "alice".into(), agent_id: None, limit: 1 })
        {
            Ok(Reply::Unread { count, rows, is_cut }) => (count, rows.first().map(|row| row.session), is_cut),
            other => panic!("unexpected {other:?}"),
        };
    assert_eq!(unread(&mut bench), (sessions, Some(id(1)), true), "who has been quiet for longest comes first");
    assert_eq!(bench.call(mark()), Ok(Reply::DoneInPart));
    let left = unread(&mut bench);
    assert_eq!((left.0, left.2), (2, false));
    assert_eq!((bench.call(mark()), bench.call(mark())), (Ok(Reply::Done), Ok(Reply::Done)));
    assert_eq!(unread(&mut bench), (0, None, false));
}
