//! What keeps tenants apart on a shard, and what a caller may do within its own.

use super::*;
use crate::session::{Feedback, Namespace};

fn tenant(name: &str) -> Access {
    Access { namespace: Namespace::parse(name).unwrap(), ..Access::default() }
}

fn within(reach: Reach) -> Access {
    Access { reach, ..Access::default() }
}

fn party(id: &str) -> Access {
    within(Reach::Party(id.into()))
}

fn agent(id: &str) -> Access {
    within(Reach::Agent(id.into()))
}

fn forbidden<T: PartialEq + std::fmt::Debug>(answer: Result<T, Refusal>) {
    assert_eq!(answer.err(), Some(Refusal::Forbidden));
}

impl Bench {
    pub(super) fn call_as(&mut self, access: &Access, command: Command) -> Result<Reply, Refusal> {
        self.tokens += 1;
        self.now_us += 1000;
        let from = Caller { shard: HERE, token: self.tokens };
        self.step(Input::Call { from, access: Some(Box::new(access.clone())), command });
        self.run();
        self.answer(self.tokens).expect("the command was answered")
    }

    /// Users of the sessions that are listed for `access`.
    fn listed(&mut self, access: &Access, user_id: Option<&str>) -> Vec<String> {
        let command = Command::ListSessions { user_id: user_id.map(str::to_owned), before: None, limit: 100 };
        let Ok(Reply::Sessions { sessions, .. }) = self.call_as(access, command) else {
            panic!("a list was asked for")
        };
        sessions.iter().map(|(_, json)| value(json)["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Every command of a client about session 1, as alice or bot would say it.
    fn refusals(&mut self, access: &Access) -> Vec<Option<Refusal>> {
        let session = id(1);
        let commands = [
            Command::ReadSession { id: session },
            Command::ArchiveSession { id: session },
            Command::DeleteSession { id: session },
            append(1, "alice", "hi"),
            Command::ReadMessages { session, from: PageFrom::After(0), limit: 9 },
            mark_read(1, "alice", 1),
            Command::ReadCursors { session },
            join(1, "alice", 0),
            Command::Chunk { session, agent_id: "bot".into(), chunk: json("{}") },
            Command::StopRun { session, run: None, identity: None },
            create(1, "alice"),
            Command::RenameSession { id: session, title: "T".into() },
            Command::Rate { session, feedback: Feedback { seq: 1, rater: "alice".into(), rating: 5, comment: None } },
            Command::ReadRatings { session },
            Command::ReadRows { places: vec![(session, 1)] },
            rows_of(Some("alice"), Some(session)),
            timeline_of("alice", Some(session)),
            mark_all("alice", Some(session)),
        ];
        commands.map(|command| self.call_as(access, command).err()).into()
    }
}

fn rows_of(user_id: Option<&str>, session: Option<SessionId>) -> Command {
    Command::ListRows { user_id: user_id.map(Into::into), agent_id: None, session, limit: 9, offset: 0 }
}

/// Of an agent that is called like the user alice.
fn with_agent_alice(user_id: Option<&str>) -> Command {
    let agent_id = Some("alice".into());
    Command::ListRows { user_id: user_id.map(Into::into), agent_id, session: None, limit: 9, offset: 0 }
}

fn timeline_of(user_id: &str, session: Option<SessionId>) -> Command {
    Command::TimelineKeys { user_id: user_id.into(), agent_id: None, session, upto: 9 }
}

fn mark_all(user_id: &str, session: Option<SessionId>) -> Command {
    Command::MarkAllRead { user_id: user_id.into(), agent_id: None, session, upto: None }
}

#[test]
fn lists_over_sessions_hold_one_namespace_and_are_for_those_whose_they_are() {
    let (acme, initech) = (tenant("acme"), tenant("initech"));
    let mut bench = Bench::new();
    for (access, n) in [(&acme, 1), (&initech, 2), (&Access::default(), 3)] {
        bench.call_as(access, create(n, "alice")).unwrap();
        bench.call_as(access, append(n, "bot", "hi")).unwrap();
    }
    bench.call_as(&acme, mark_all("alice", None)).unwrap();
    for (access, n, unread) in [(&acme, 1, 0), (&initech, 2, 1), (&Access::default(), 3, 1)] {
        for user_id in [None, Some("alice")] {
            let Ok(Reply::SessionRows { total: 1, rows }) = bench.call_as(access, rows_of(user_id, None)) else {
                panic!("rows were asked for")
            };
            assert_eq!((rows[0].id, rows[0].user_id.as_str()), (id(n), "alice"));
        }
        let Ok(Reply::TimelineKeys { total: 1, keys }) = bench.call_as(access, timeline_of("alice", None)) else {
            panic!("a timeline was asked for")
        };
        assert_eq!(keys[0].session, id(n));
        let inbox = Command::ReadUnread { user_id: "alice".into(), agent_id: None, limit: 9 };
        let Ok(Reply::Unread { count, .. }) = bench.call_as(access, inbox) else { panic!("an inbox was asked for") };
        assert_eq!(count, unread);
    }
    let reaching = |reach| Access { reach, ..acme.clone() };
    let (alice, bot) = (reaching(Reach::Party("alice".into())), reaching(Reach::Agent("bot".into())));
    let of_bot = Command::ListRows {
        user_id: Some("alice".into()),
        agent_id: Some("bot".into()),
        session: None,
        limit: 9,
        offset: 0,
    };
    for (access, command, is_admitted) in [
        (&alice, rows_of(Some("alice"), None), true),
        (&alice, rows_of(None, None), false),
        (&alice, rows_of(Some("zoe"), None), false),
        (&alice, timeline_of("zoe", None), false),
        (&alice, with_agent_alice(None), false),
        (&alice, with_agent_alice(Some("zoe")), false),
        (&alice, with_agent_alice(Some("alice")), true),
        (
            &alice,
            Command::TimelineKeys { user_id: "zoe".into(), agent_id: Some("alice".into()), session: None, upto: 9 },
            false,
        ),
        (&alice, mark_all("alice", None), true),
        (&alice, mark_all("zoe", None), false),
        (&bot, of_bot, true),
        (&bot, rows_of(Some("alice"), None), false),
        (&bot, rows_of(Some("alice"), Some(id(1))), true),
        (&bot, timeline_of("alice", None), false),
        (&bot, mark_all("alice", None), false),
        (&bot, mark_all("alice", Some(id(1))), true),
    ] {
        let refused = bench.call_as(access, command.clone()).err();
        assert_eq!(refused, (!is_admitted).then_some(Refusal::Forbidden), "{access:?} {command:?}");
    }
    let only = Access { session: Some(id(1)), ..acme.clone() };
    assert!(bench.call_as(&only, timeline_of("alice", Some(id(1)))).is_ok());
    assert!(bench.call_as(&only, Command::ReadRows { places: vec![(id(1), 1)] }).is_ok());
    assert_eq!(bench.call_as(&only, timeline_of("alice", None)).err(), Some(Refusal::Forbidden));
    let reads = Access { reads_only: true, ..acme };
    for command in [mark_all("alice", None), Command::RenameSession { id: id(1), title: "T".into() }] {
        assert_eq!(bench.call_as(&reads, command).err(), Some(Refusal::Forbidden));
    }
}

#[test]
fn the_same_ids_in_two_namespaces_are_different_people() {
    let (acme, initech) = (tenant("acme"), tenant("initech"));
    let mut bench = Bench::new();
    bench.call_as(&acme, create(1, "alice")).unwrap();
    bench.call_as(&initech, create(2, "alice")).unwrap();
    bench.create(3, "alice");
    for (access, n) in [(&acme, 1), (&initech, 2), (&Access::default(), 3)] {
        assert_eq!(bench.listed(access, None), [id(n).to_string()]);
        assert_eq!(bench.listed(access, Some("alice")), [id(n).to_string()]);
        let Ok(Reply::Inbox { entries }) = bench.call_as(access, Command::WatchInbox { user_id: "alice".into() })
        else {
            panic!("an inbox was asked for")
        };
        assert_eq!(entries.iter().map(|entry| entry.session).collect::<Vec<_>>(), [id(n)]);
    }
}

#[test]
fn no_command_reaches_a_session_of_another_namespace() {
    let mut bench = Bench::with_session();
    for access in [tenant("acme"), Access { reach: Reach::Party("alice".into()), ..tenant("acme") }] {
        let refusals = bench.refusals(&access);
        assert!(refusals.iter().all(|refusal| *refusal == Some(Refusal::OtherNamespace)), "{refusals:?}");
    }
    bench.call_as(&tenant("acme"), create(2, "alice")).unwrap();
    let read = Command::ReadSession { id: id(2) };
    assert_eq!(bench.call(read).err(), Some(Refusal::OtherNamespace), "nor does one without an access");
    assert_eq!(bench.session(1).unwrap()["status"], "active");
}

#[test]
fn a_forged_scoped_id_stays_in_its_namespace() {
    let mut bench = Bench::new();
    bench.call_as(&tenant("acme"), create(1, "alice")).unwrap();
    let forged = tenant("acme").namespace.scoped("alice").into_owned();
    assert!(bench.inbox(&forged).is_empty());
    assert!(bench.listed(&Access::default(), Some(&forged)).is_empty());
    bench.create(2, &forged);
    assert_eq!(bench.inbox(&forged).len(), 1);
    bench.kill();
    assert_eq!(bench.inbox(&forged).len(), 1);
}

#[test]
fn plain_ids_stand_where_clients_and_agents_read() {
    let acme = tenant("acme");
    let mut bench = Bench::new();
    let Ok(Reply::Session { json }) = bench.call_as(&acme, create(1, "alice")) else { panic!("a session was made") };
    assert_eq!((&value(&json)["user_id"], &value(&json)["agent_id"]), (&"alice".into(), &"bot".into()));
    bench.call_as(&acme, append(1, "mallory", "hi")).unwrap();
    let Ok(Reply::Cursors { cursors, .. }) = bench.call_as(&acme, mark_read(1, "carol", 1)) else {
        panic!("cursors come back")
    };
    assert_eq!(cursors, [("carol".to_owned(), 1)]);
    let Ok(Reply::Inbox { entries }) = bench.call_as(&acme, Command::WatchInbox { user_id: "alice".into() }) else {
        panic!("an inbox was asked for")
    };
    assert_eq!((entries[0].agent_id.as_str(), entries[0].last_sender_id.as_deref()), ("bot", Some("mallory")));
}

#[test]
fn namespaces_survive_a_restart_and_a_snapshot() {
    let acme = tenant("acme");
    let mut bench = Bench::new();
    bench.call_as(&acme, create(1, "alice")).unwrap();
    bench.create(2, "alice");
    bench.call_as(&acme, append(1, "mallory", "hi")).unwrap();
    bench.call_as(&acme, mark_read(1, "carol", 1)).unwrap();
    let check = |bench: &mut Bench| {
        assert_eq!(bench.listed(&acme, Some("alice")), [id(1).to_string()]);
        assert_eq!(bench.listed(&Access::default(), None), [id(2).to_string()]);
        let read = Command::ReadCursors { session: id(1) };
        let Ok(Reply::Cursors { cursors, .. }) = bench.call_as(&acme, read) else { panic!("cursors were asked for") };
        assert_eq!(cursors, [("carol".to_owned(), 1)]);
        let watched = bench.call_as(&acme, Command::WatchInbox { user_id: "alice".into() });
        let Ok(Reply::Inbox { entries }) = watched else { panic!("an inbox was asked for") };
        assert_eq!(entries[0].last_sender_id.as_deref(), Some("mallory"));
    };
    bench.kill();
    check(&mut bench);
    bench.snapshot_now();
    bench.kill();
    check(&mut bench);
}

#[test]
fn a_party_reaches_its_own_sessions_and_acts_as_itself() {
    let mut bench = Bench::with_session();
    bench.call_as(&party("alice"), Command::ReadSession { id: id(1) }).unwrap();
    forbidden(bench.call_as(&party("bot"), Command::ReadSession { id: id(1) }));
    forbidden(bench.call_as(&party("bot"), create(2, "alice")));
    let refusals = bench.refusals(&party("mallory"));
    assert!(refusals.iter().all(|refusal| *refusal == Some(Refusal::Forbidden)), "{refusals:?}");
    forbidden(bench.call_as(&party("alice"), append(1, "bot", "hi")));
    bench.call_as(&party("alice"), append(1, "alice", "hi")).unwrap();
    forbidden(bench.call_as(&party("alice"), mark_read(1, "bot", 1)));
    forbidden(bench.call_as(&party("alice"), join(1, "bot", 0)));
    forbidden(bench.call_as(&party("alice"), Command::WatchInbox { user_id: "bob".into() }));
    forbidden(bench.call_as(&party("alice"), create(2, "bob")));
    let list =
        |user_id: Option<&str>| Command::ListSessions { user_id: user_id.map(Into::into), before: None, limit: 9 };
    forbidden(bench.call_as(&party("alice"), list(None)));
    bench.call_as(&party("alice"), list(Some("alice"))).unwrap();
    let disable = Command::Agents(AgentCommand::Disable { id: "bot".into() });
    forbidden(bench.call_as(&party("alice"), disable));
}

#[test]
fn an_agents_caller_reaches_the_sessions_of_that_agent() {
    let mut bench = Bench::with_session();
    bench.call_as(&agent("bot"), append(1, "alice", "hi")).unwrap();
    let refusals = bench.refusals(&agent("other"));
    assert!(refusals.iter().all(|refusal| *refusal == Some(Refusal::Forbidden)), "{refusals:?}");
    forbidden(bench.call_as(&agent("other"), Command::ReadDeliveries { agent_id: "bot".into() }));
    forbidden(bench.call_as(&agent("bot"), Command::WatchInbox { user_id: "alice".into() }));
    let list = AgentCommand::List { enabled: None };
    forbidden(bench.call_as(&agent("bot"), Command::Agents(list)));
}

#[test]
fn a_reader_changes_nothing_and_a_lock_holds_one_session() {
    let mut bench = Bench::with_session();
    bench.create(2, "alice");
    let reader = Access { reads_only: true, ..Access::default() };
    bench.call_as(&reader, Command::ReadSession { id: id(1) }).unwrap();
    bench.call_as(&reader, join(1, "alice", 0)).unwrap();
    for command in [append(1, "alice", "hi"), mark_read(1, "alice", 1), create(3, "alice")] {
        forbidden(bench.call_as(&reader, command));
    }
    forbidden(bench.call_as(&reader, Command::Chunk { session: id(1), agent_id: "bot".into(), chunk: json("{}") }));
    let locked = Access { session: Some(id(1)), ..Access::default() };
    bench.call_as(&locked, append(1, "alice", "hi")).unwrap();
    forbidden(bench.call_as(&locked, append(2, "alice", "hi")));
    forbidden(bench.call_as(&locked, Command::WatchInbox { user_id: "alice".into() }));
    forbidden(bench.call_as(&locked, Command::ListSessions { user_id: None, before: None, limit: 9 }));
}

#[test]
fn what_is_damaged_is_named_only_to_who_runs_the_server() {
    use storage::Medium;
    let mut bench = Bench::new();
    bench.call_as(&tenant("acme"), create(1, "alice")).unwrap();
    bench.call_as(&tenant("acme"), append(1, "alice", "hi")).unwrap();
    let disk = bench.disk.kill();
    let holds_it = |name: &String| find(&disk, name).is_some();
    let file = disk.list().unwrap().into_iter().map(|entry| entry.name).find(holds_it).unwrap();
    disk.flip(&file, find(&disk, &file).unwrap(), 1);
    bench.shard = open(&disk, &storage::Options { seed: 2, ..options() });
    let read = || Command::ReadSession { id: id(1) };
    assert!(matches!(bench.call_as(&Access::default(), read()), Err(Refusal::Corrupt { .. })));
    let locked = Access { session: Some(id(1)), ..Access::default() };
    for access in [tenant("acme"), tenant("initech"), party("alice"), agent("bot"), locked] {
        assert_eq!(bench.call_as(&access, read()).err(), Some(Refusal::SessionNotFound), "{access:?}");
    }

    /// Where the first record that names alice does.
    fn find(disk: &Memory, file: &str) -> Option<usize> {
        let bytes = disk.read(file).unwrap();
        bytes.windows(5).position(|window| window == b"alice")
    }
}
