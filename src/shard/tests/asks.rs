//! Appends on terms: main sessions, who must be there to answer, how an awaited answer stands.

use super::runs::{FIRST, NOW, REST};
use super::*;
use crate::session::{AgentConfig, AgentPut, DirectoryNote, Namespace, main_id};

fn main_of(user: &str) -> SessionId {
    main_id("", user, "bot")
}

/// A message of `user` to its main session with bot.
fn question(user: &str, text: &str) -> Append {
    let parties = Parties { user_id: user.into(), agent_id: "bot".into(), title: None };
    let terms =
        Terms { parties: Some(parties), at_once: true, watch: true, answer_from: Requires::Agent, ..Terms::default() };
    Append { session: main_of(user), terms: Some(Box::new(terms)), ..message(1, user, text) }
}

impl Bench {
    /// A bench with bot and no session.
    fn with_bot(fields: &str) -> Self {
        let mut bench = Self::new();
        bench.learn(fields);
        bench
    }

    fn asks(&mut self, append: Append) -> Result<Asked, Refusal> {
        let token = self.send(Command::Append(Box::new(append)));
        match self.answer(token).expect("the append was answered") {
            Ok(Reply::Asked(asked)) => Ok(*asked),
            Ok(other) => panic!("unexpected {other:?}"),
            Err(refusal) => Err(refusal),
        }
    }

    fn answers_with(&mut self, call: &Call) {
        self.say(call, &FIRST);
        self.say(call, &REST);
        self.end(call, None);
    }

    fn sessions(&mut self) -> Vec<SessionId> {
        let command = Command::ListSessions { user_id: None, before: None, limit: 100 };
        let Ok(Reply::Sessions { sessions, .. }) = self.call(command) else { panic!("a list was asked for") };
        sessions.into_iter().map(|(id, _)| id).collect()
    }
}

#[test]
fn the_first_message_makes_the_main_session_and_the_next_goes_there() {
    let mut bench = Bench::with_bot(r#""debounce_window_ms":60000"#);
    let asked = bench.asks(question("alice", "hi")).unwrap();
    assert_eq!((asked.session, asked.seq, asked.replayed), (main_of("alice"), 1, false));
    assert_eq!(asked.standing, Standing::Waiting { run: None });
    assert_eq!((asked.agent.id.as_str(), asked.agent.name.as_str()), ("bot", "B"));
    let call = bench.called(); // at once, whatever the window
    assert_eq!((call.session, Bench::called_seqs(&call)), (main_of("alice"), vec![1]));
    bench.answers_with(&call);
    let asked = bench.asks(question("alice", "and?")).unwrap();
    assert_eq!((asked.session, asked.seq), (main_of("alice"), 3));
    assert_eq!(bench.sessions(), [main_of("alice")]);
}

#[test]
fn whoever_asks_hears_everything_behind_the_reply() {
    let mut bench = Bench::with_bot(NOW);
    let token = bench.send(Command::Append(Box::new(question("alice", "hi"))));
    assert!(matches!(bench.said[1], Said::Reply(to, Ok(Reply::Asked(_))) if to == token), "{:?}", bench.said);
    assert_eq!(bench.heard(), ["message 1", "started"]);
}

#[test]
fn a_deleted_main_session_is_followed_by_another_and_never_comes_back() {
    let mut bench = Bench::with_bot(NOW);
    let first = bench.asks(question("alice", "hi")).unwrap().session;
    bench.call(Command::DeleteSession { id: first }).unwrap();
    let second = bench.asks(question("alice", "again")).unwrap();
    assert_eq!((second.session, second.seq), (first.at_generation(1), 1));
    bench.call(Command::DeleteSession { id: second.session }).unwrap();
    bench.kill();
    bench.snapshot_now();
    bench.kill();
    bench.learn(NOW);
    assert_eq!(bench.asks(question("alice", "hi")).unwrap().session, first.at_generation(2));
    for gone in [first, second.session] {
        assert_eq!(bench.call(Command::ReadSession { id: gone }), Err(Refusal::SessionNotFound));
    }
}

#[test]
fn a_message_behind_a_deletion_in_flight_begins_the_next_generation() {
    let mut bench = Bench::with_bot(NOW);
    let first = bench.asks(question("alice", "hi")).unwrap().session;
    bench.calls.clear();
    bench.hold_syncs = true;
    let deleted = bench.send(Command::DeleteSession { id: first });
    let asked = bench.send(Command::Append(Box::new(question("alice", "again"))));
    bench.release_syncs();
    assert_eq!(bench.answer(deleted), Some(Ok(Reply::Done)));
    match bench.answer(asked) {
        Some(Ok(Reply::Asked(asked))) => assert_eq!((asked.session, asked.seq), (first.at_generation(1), 1)),
        other => panic!("unexpected {other:?}"),
    }
    assert_eq!(bench.sessions(), [first.at_generation(1)]);
}

#[test]
fn who_is_not_there_to_answer_is_not_asked_and_nothing_is_made() {
    let mut bench = Bench::new();
    assert_eq!(bench.asks(question("alice", "hi")), Err(Refusal::Overloaded), "who is registered is not known yet");
    assert_eq!(bench.call(Command::Learn { notes: Vec::new(), complete: true }), Ok(Reply::Done));
    assert_eq!(bench.asks(question("alice", "hi")), Err(Refusal::AgentNotFound));
    bench.learn(r#""status":"disabled""#);
    assert_eq!(bench.asks(question("alice", "hi")), Err(Refusal::AgentDisabled));
    assert!(bench.sessions().is_empty());
}

#[test]
fn a_session_that_is_named_must_be_between_those_who_name_it() {
    let mut bench = Bench::with_agent(NOW);
    let ask = |session, user: &str| Append { session, ..question(user, "hi") };
    assert_eq!(bench.asks(ask(id(1), "mallory")), Err(Refusal::SessionNotFound));
    assert_eq!(bench.asks(ask(id(2), "alice")), Err(Refusal::SessionNotFound));
    assert_eq!(bench.asks(ask(id(1), "alice")).unwrap().session, id(1));
    assert_eq!(bench.asks(ask(main_of("alice"), "mallory")), Err(Refusal::Forbidden), "the id is not that pair's");
}

#[test]
fn an_archived_session_takes_no_message_of_who_wants_an_active_one() {
    let mut bench = Bench::with_agent(NOW);
    bench.call(Command::ArchiveSession { id: id(1) }).unwrap();
    let terms = Terms { answer_from: Requires::ActiveSession, ..Terms::default() };
    let append = Append { terms: Some(Box::new(terms)), ..message(1, "alice", "hi") };
    assert_eq!(bench.call(Command::Append(Box::new(append))), Err(Refusal::SessionInactive));
    assert!(bench.call(append_of_alice()).is_ok(), "anybody else may still write");
}

fn append_of_alice() -> Command {
    append(1, "alice", "hi")
}

#[test]
fn a_retry_learns_how_its_question_stands() {
    let mut bench = Bench::with_bot(NOW);
    let ask = || Append { idempotency_key: Some("k".into()), ..question("alice", "hi") };
    bench.asks(ask()).unwrap();
    let call = bench.called();
    let standing = |bench: &mut Bench| {
        let asked = bench.asks(ask()).unwrap();
        assert!(asked.replayed && asked.seq == 1);
        asked.standing
    };
    assert_eq!(standing(&mut bench), Standing::Waiting { run: Some((call.run, 0)) });
    bench.say(&call, &FIRST);
    assert_eq!(standing(&mut bench), Standing::Waiting { run: Some((call.run, 3)) });
    bench.say(&call, &REST);
    bench.end(&call, None);
    match standing(&mut bench) {
        Standing::Answered { messages } => assert_eq!(value(&messages[0])["seq"], 2),
        other => panic!("unexpected {other:?}"),
    }
    bench.kill();
    bench.learn(NOW);
    assert!(matches!(standing(&mut bench), Standing::Answered { .. }));
}

#[test]
fn another_request_under_the_key_is_a_replay_where_the_caller_wants_that() {
    let mut bench = Bench::with_bot(NOW);
    let ask = |text: &str, same_key_replays| {
        let mut append = Append { idempotency_key: Some("k".into()), ..question("alice", text) };
        append.terms.as_mut().unwrap().same_key_replays = same_key_replays;
        append
    };
    bench.asks(ask("hi", true)).unwrap();
    assert!(bench.asks(ask("other", true)).unwrap().replayed);
    assert_eq!(bench.asks(ask("other", false)), Err(Refusal::IdempotencyMismatch));
}

#[test]
fn a_second_question_waits_for_the_first_answer_and_is_then_asked_at_once() {
    let mut bench = Bench::with_bot(r#""debounce_window_ms":60000"#);
    bench.asks(question("alice", "one")).unwrap();
    let first = bench.called();
    bench.asks(question("alice", "two")).unwrap();
    assert!(bench.calls.is_empty());
    bench.answers_with(&first);
    let second = bench.called();
    assert_ne!(second.run, first.run);
    assert_eq!(Bench::called_seqs(&second).last(), Some(&3));
}

#[test]
fn a_context_goes_with_the_call_and_nowhere_else() {
    let mut bench = Bench::with_bot(NOW);
    let mut ask = question("alice", "hi");
    ask.terms.as_mut().unwrap().context = Some(json(r#"[{"role":"user","content":"before"}]"#));
    let asked = bench.asks(ask).unwrap();
    let call = bench.called();
    assert_eq!(Bench::body(&call)["context"][0]["content"], "before");
    assert!(!asked.json.unwrap().as_str().contains("before"));
    bench.answers_with(&call);
    bench.asks(question("alice", "and?")).unwrap();
    let call = bench.called();
    assert!(Bench::body(&call).get("context").is_none());
}

#[test]
fn a_main_session_whose_first_message_the_crash_has_taken_is_filled_by_the_next() {
    let mut bench = Bench::with_bot(NOW);
    bench.hold_syncs = true;
    bench.send(Command::Append(Box::new(question("alice", "lost"))));
    let whole = bench.disk.clone();
    for fate in 0..2 {
        let mut dropped = 0;
        let disk = whole.crash(&mut |unsynced| {
            dropped += 1;
            let _ = unsynced;
            if fate == 0 { storage::Fate::Lost } else { storage::Fate::Kept }
        });
        let mut after = Bench::with_bot(NOW);
        after.restart_on(disk);
        after.learn(NOW);
        let asked = after.asks(question("alice", "hi")).unwrap();
        assert_eq!(asked.session, main_of("alice"));
        assert!(dropped > 0);
    }
}

#[test]
fn an_agent_answers_in_its_own_namespace_only() {
    let mut bench = Bench::with_bot(NOW);
    let acme = Access { namespace: Namespace::parse("acme").unwrap(), ..Access::default() };
    let ask = |bench: &mut Bench| {
        let append = Append { session: main_id("acme", "alice", "bot"), ..question("alice", "hi") };
        bench.call_as(&acme, Command::Append(Box::new(append)))
    };
    assert_eq!(ask(&mut bench), Err(Refusal::AgentNotFound), "bot is registered elsewhere");
    let mut agent = AgentConfig::create(&json(r#"{"id":"bot","name":"Theirs","origin_url":"http://b"}"#), 5).unwrap();
    agent.namespace = "acme".to_owned();
    let notes = vec![DirectoryNote::Agent(AgentPut { former_id: None, agent })];
    bench.call(Command::Learn { notes, complete: false }).unwrap();
    match ask(&mut bench) {
        Ok(Reply::Asked(asked)) => assert_eq!((asked.agent.id.as_str(), asked.agent.name.as_str()), ("bot", "Theirs")),
        other => panic!("unexpected {other:?}"),
    }
    assert_eq!(bench.called().agent.name(), "Theirs");
}
