//! Recorded replies and pushes, and what an ask makes of them.

use super::*;
use crate::session::{MessageId, MessageParts, TeamMode};
use crate::shard::{AskedTeam, Author, Page, Running};

const SESSION: SessionId = SessionId(ulid::Ulid(1));
const MINE: u128 = 7;
const OTHER: u128 = 6;

fn run(n: u128) -> RunId {
    RunId::from(n)
}

fn append() -> Append {
    Append {
        session: SESSION,
        message: MessageId::from_parts(1, 1),
        author: Author::User("alice".into()),
        kind: "text".into(),
        content: Json::empty_object(),
        metadata: Json::empty_object(),
        idempotency_key: None,
        expected_seq: None,
        participants_only: false,
        echo: false,
        terms: None,
    }
}

fn rendered(seq: u64, sender_id: &str, text: &str, metadata: &str) -> Json {
    MessageParts {
        id: MessageId::from_parts(seq, 1),
        session: SESSION,
        seq,
        sender_id,
        kind: "assistant",
        content: &Json::parse(&format!(r#"{{"parts":[{{"type":"text","text":"{text}"}}]}}"#)).unwrap(),
        metadata: &Json::parse(metadata).unwrap(),
        inserted_at_us: 1_700_000_000_000_000,
    }
    .render()
}

fn answer(of: u128, seq: u64, text: &str) -> Json {
    let metadata = r#""termination":"finish","input_tokens":3,"output_tokens":4,"duration_ms":50"#;
    rendered(seq, "bot", text, &format!(r#"{{"run_id":"{}","reply_to":1,{metadata}}}"#, run(of)))
}

fn broken_answer(of: u128, seq: u64, text: &str, reason: &str) -> Json {
    rendered(seq, "bot", text, &format!(r#"{{"run_id":"{}","termination":"abort"{reason}}}"#, run(of)))
}

fn message(json: Json) -> Push {
    let seq = view::Message::read(&json).unwrap().seq;
    Push::Message { session: SESSION, seq, json }
}

fn delta(of: u128, index: u32, text: &str) -> Push {
    let chunk = text_delta(text);
    let place = Some(ChunkPlace { run: run(of), index, has_floor: true });
    Push::Chunk { session: SESSION, agent_id: "bot".into(), chunk, place }
}

fn text_delta(text: &str) -> Json {
    Json::parse(&format!(r#"{{"type":"text-delta","id":"0","delta":"{text}"}}"#)).unwrap()
}

fn told(of: u128, upto_seq: u64, status: RunStatus) -> Push {
    let event = RunEvent { run: run(of), agent_id: "bot".into(), attempt: 1, upto_seq, status };
    Push::Run { session: SESSION, event: Box::new(event) }
}

fn started(of: u128, upto_seq: u64) -> Push {
    told(of, upto_seq, RunStatus::Started)
}

fn finished(of: u128, upto_seq: u64, seq: u64) -> Push {
    told(of, upto_seq, RunStatus::Finished { seq })
}

fn failed(of: u128, upto_seq: u64, seq: Option<u64>) -> Push {
    told(of, upto_seq, RunStatus::Failed { reason: "http_status", detail: "it said 500".into(), seq })
}

fn asked(seq: u64, replayed: bool, standing: Standing) -> Result<Reply, Refusal> {
    let agent = AgentName { id: "bot".into(), name: "Bot".into() };
    Ok(Reply::Asked(Box::new(Asked { session: SESSION, seq, json: None, replayed, agent, team: None, standing })))
}

fn joined(session_last_seq: u64, run: RunId, first_index: u32, chunks: &[&str]) -> Result<Reply, Refusal> {
    let chunk = |(text, index): (&&str, u32)| RunningChunk { index, agent_id: "bot".into(), chunk: text_delta(text) };
    let chunks: Vec<_> = chunks.iter().zip(first_index..).map(chunk).collect();
    let next_index = first_index + chunks.len() as u32;
    let running = Some(Running { agent_id: "bot".into(), state: "answering", first_index, chunks });
    let resumed = Box::new(Resumed { run, next_index, running, asked: true });
    Ok(Reply::Joined { page: Page { session_last_seq, ..Page::default() }, resumed })
}

fn idle(session_last_seq: u64) -> Result<Reply, Refusal> {
    let resumed = Box::new(Resumed { run: run(MINE), next_index: u32::MAX, running: None, asked: true });
    Ok(Reply::Joined { page: Page { session_last_seq, ..Page::default() }, resumed })
}

fn standing(standing: Standing) -> Result<Reply, Refusal> {
    Ok(Reply::Standing(Box::new(standing)))
}

const WAITING: Standing = Standing::Waiting { run: None };
const UNANSWERED: Standing = Standing::Unanswered { partial: Vec::new() };

fn waiting_for(of: u128, next: u32) -> Standing {
    Standing::Waiting { run: Some((run(of), next)) }
}

/// An ask, and what it has told.
struct Rig {
    ask: Ask,
    events: Vec<AskEvent>,
}

impl Rig {
    fn new() -> Self {
        let (ask, command) = Ask::new(append());
        let Command::Append(append) = command else { panic!("{command:?}") };
        assert!(append.terms.unwrap().watch);
        Self { ask, events: Vec::new() }
    }

    /// One whose message 1 was just appended.
    fn asked() -> Self {
        let mut rig = Self::new();
        assert_eq!(rig.replied(asked(1, false, WAITING)), Step::Wait);
        rig
    }

    fn replied(&mut self, reply: Result<Reply, Refusal>) -> Step {
        self.ask.replied(reply, &mut self.events)
    }

    fn heard(&mut self, push: &Push) -> Step {
        self.ask.heard(push, &mut self.events)
    }

    /// Hears pushes behind which it waits.
    fn hear(&mut self, pushes: &[Push]) {
        for push in pushes {
            assert_eq!(self.heard(push), Step::Wait, "{push:?}");
        }
    }

    /// All text told.
    fn text(&self) -> String {
        let text = |event: &AskEvent| if let AskEvent::Text(text) = event { text.clone() } else { String::new() };
        self.events.iter().map(text).collect()
    }

    /// The end is an answer, and what was told is what it says.
    #[track_caller]
    fn answered(&self, step: Step) -> Answered {
        let Step::Done(Outcome::Answered(answered)) = step else { panic!("{step:?}") };
        assert_eq!(self.text(), answered.text());
        *answered
    }
}

fn watch(after_seq: u64, resume: Resume) -> Step {
    Step::Again(Command::Watch { session: SESSION, after_seq, limit: 0, resume: Some(resume) })
}

fn read_answer() -> Step {
    Step::Again(Command::ReadAnswer { session: SESSION, seq: 1 })
}

#[test]
fn an_answer_is_told_as_it_grows_and_ends_behind_its_message() {
    let mut rig = Rig::asked();
    rig.hear(&[started(MINE, 1), delta(MINE, 0, "Hel"), delta(MINE, 1, "lo")]);
    assert_eq!(rig.events, [AskEvent::Text("Hel".into()), AskEvent::Text("lo".into())]);
    rig.hear(&[message(answer(MINE, 2, "Hello"))]);
    let end = rig.heard(&finished(MINE, 1, 2));
    let answered = rig.answered(end);
    assert_eq!((answered.session, answered.user_seq, answered.agent.name.as_str()), (SESSION, 1, "Bot"));
    assert_eq!((answered.input_tokens, answered.output_tokens, answered.duration_ms), (3, 4, 50));
    let row = &answered.messages[0];
    assert_eq!((row.seq, row.sender_id.as_str(), answered.last_seq()), (2, "bot", Some(2)));
}

#[test]
fn an_answer_of_several_messages_is_all_of_them() {
    let mut rig = Rig::asked();
    rig.hear(&[started(MINE, 1), delta(MINE, 0, "one "), message(answer(MINE, 2, "one "))]);
    rig.hear(&[delta(MINE, 1, "two"), message(answer(MINE, 3, "two"))]);
    let end = rig.heard(&finished(MINE, 1, 3));
    let answered = rig.answered(end);
    assert_eq!(answered.text(), "one two");
    assert_eq!((answered.input_tokens, answered.output_tokens, answered.duration_ms), (6, 8, 50));
}

#[test]
fn what_no_chunk_has_told_is_told_at_the_end() {
    let mut rig = Rig::asked();
    rig.hear(&[started(MINE, 1), delta(MINE, 0, "seen"), message(answer(MINE, 2, "seen and unseen"))]);
    let end = rig.heard(&finished(MINE, 1, 2));
    assert_eq!(rig.answered(end).text(), "seen and unseen");
    assert_eq!(rig.events, [AskEvent::Text("seen".into()), AskEvent::Text(" and unseen".into())]);
}

#[test]
fn numbers_that_an_agent_does_not_say_are_0() {
    let mut rig = Rig::asked();
    let json = rendered(2, "bot", "hi", &format!(r#"{{"run_id":"{}"}}"#, run(MINE)));
    rig.hear(&[started(MINE, 1), message(json)]);
    let end = rig.heard(&finished(MINE, 1, 2));
    let answered = rig.answered(end);
    assert_eq!((answered.input_tokens, answered.output_tokens, answered.duration_ms), (0, 0, 0));
}

#[test]
fn what_overtook_the_reply_is_asked_for_behind_it() {
    let mut rig = Rig::new();
    rig.hear(&[started(MINE, 1), delta(MINE, 0, "fast")]);
    assert_eq!(rig.events, []);
    assert_eq!(rig.replied(asked(1, false, waiting_for(MINE, 1))), watch(1, Resume::All));
    assert_eq!(rig.replied(joined(1, run(MINE), 0, &["fast"])), read_answer());
    assert_eq!(rig.replied(standing(waiting_for(MINE, 1))), Step::Wait);
    assert_eq!(rig.text(), "fast");
    rig.hear(&[delta(MINE, 1, "er"), message(answer(MINE, 2, "faster"))]);
    assert_eq!(rig.heard(&finished(MINE, 1, 2)), read_answer());
    let end = rig.replied(standing(Standing::Answered { messages: vec![answer(MINE, 2, "faster")] }));
    assert_eq!(rig.answered(end).text(), "faster");
}

#[test]
fn an_answer_that_is_there_with_the_reply_is_told_whole() {
    let mut rig = Rig::new();
    let messages = vec![answer(MINE, 2, "one "), answer(MINE, 3, "two")];
    let end = rig.replied(asked(1, true, Standing::Answered { messages }));
    assert_eq!(rig.answered(end).text(), "one two");
}

#[test]
fn a_run_beside_it_is_not_its_answer() {
    let mut rig = Rig::new();
    assert_eq!(rig.replied(asked(5, false, WAITING)), Step::Wait);
    // The run of message 3 was answering when 5 came; what somebody else says counts no more than that.
    rig.hear(&[delta(OTHER, 9, "another"), message(answer(OTHER, 6, "another")), finished(OTHER, 3, 6)]);
    rig.hear(&[message(rendered(7, "carol", "hi", "{}")), failed(OTHER, 4, None)]);
    rig.hear(&[started(MINE, 5), delta(MINE, 0, "mine"), message(rendered(8, "carol", "ho", "{}"))]);
    rig.hear(&[message(answer(MINE, 9, "mine"))]);
    let end = rig.heard(&finished(MINE, 5, 9));
    assert_eq!(rig.answered(end).text(), "mine");
}

#[test]
fn two_asks_that_share_a_run_are_given_the_same_answer() {
    let (mut first, mut second) = (Rig::asked(), Rig::new());
    assert_eq!(second.replied(asked(2, false, WAITING)), Step::Wait);
    let pushes = [started(MINE, 2), delta(MINE, 0, "both"), message(answer(MINE, 3, "both"))];
    first.hear(&pushes);
    second.hear(&pushes);
    let ends = (first.heard(&finished(MINE, 2, 3)), second.heard(&finished(MINE, 2, 3)));
    assert_eq!(first.answered(ends.0).messages, second.answered(ends.1).messages);
}

#[test]
fn an_attempt_that_failed_before_it_spoke_is_followed_by_another() {
    let mut rig = Rig::asked();
    rig.hear(&[started(MINE, 1), told(MINE, 1, RunStatus::Retrying { reason: "connect", retry_in_ms: 500 })]);
    rig.hear(&[delta(MINE, 0, "late"), message(answer(MINE, 2, "late"))]);
    let end = rig.heard(&finished(MINE, 1, 2));
    assert_eq!(rig.answered(end).text(), "late");
}

#[test]
fn a_run_that_failed_before_it_started_ends_the_ask() {
    let mut rig = Rig::asked();
    let step = rig.heard(&failed(MINE, 1, None));
    let Step::Done(Outcome::Failed { reason, detail, partial }) = step else { panic!("{step:?}") };
    assert_eq!((&*reason, &*detail, partial.messages.len()), ("http_status", "it said 500", 0));
}

#[test]
fn what_a_run_had_produced_when_it_failed_or_was_stopped_is_kept() {
    let cut = || broken_answer(MINE, 2, "Hel", r#","reason":"http_status""#);
    let begun = [started(MINE, 1), delta(MINE, 0, "Hel"), message(cut())];
    let mut rig = Rig::asked();
    rig.hear(&begun);
    let step = rig.heard(&failed(MINE, 1, Some(2)));
    let Step::Done(Outcome::Failed { partial, .. }) = step else { panic!("{step:?}") };
    assert_eq!((partial.text(), rig.text()), ("Hel".to_owned(), "Hel".to_owned()));

    let mut rig = Rig::asked();
    rig.hear(&begun);
    let step = rig.heard(&told(MINE, 1, RunStatus::Stopped { seq: Some(2) }));
    assert!(matches!(step, Step::Done(Outcome::Stopped(partial)) if partial.text() == "Hel"));
    let mut rig = Rig::asked();
    let step = rig.heard(&told(MINE, 1, RunStatus::Stopped { seq: None }));
    assert!(matches!(step, Step::Done(Outcome::Stopped(partial)) if partial.messages.is_empty()));
}

#[test]
fn an_answer_that_its_agent_broke_off_has_failed() {
    for (why, expected) in [("", "aborted"), (r#","reason":"deadline""#, "deadline")] {
        let mut rig = Rig::asked();
        rig.hear(&[started(MINE, 1), message(broken_answer(MINE, 2, "Hel", why))]);
        let step = rig.heard(&finished(MINE, 1, 2));
        assert!(matches!(step, Step::Done(Outcome::Failed { reason, .. }) if reason == expected));
    }
    let mut rig = Rig::new();
    let messages = vec![broken_answer(MINE, 2, "Hel", r#","reason":"stopped""#)];
    let step = rig.replied(asked(1, true, Standing::Answered { messages }));
    assert!(matches!(step, Step::Done(Outcome::Stopped(_))));
}

#[test]
fn after_a_gap_the_stream_goes_on_where_it_was() {
    let mut rig = Rig::asked();
    rig.hear(&[started(MINE, 1), delta(MINE, 0, "a")]);
    assert_eq!(rig.heard(&Push::Gap { session: SESSION }), watch(1, Resume::From { run: run(MINE), index: 1 }));
    assert_eq!(rig.replied(joined(1, run(MINE), 1, &["b", "c"])), read_answer());
    assert_eq!(rig.replied(standing(waiting_for(MINE, 3))), Step::Wait);
    assert_eq!(rig.text(), "abc");
    rig.hear(&[delta(MINE, 3, "d"), message(answer(MINE, 2, "abcd"))]);
    assert_eq!(rig.heard(&finished(MINE, 1, 2)), read_answer());
    let end = rig.replied(standing(Standing::Answered { messages: vec![answer(MINE, 2, "abcd")] }));
    assert_eq!(rig.answered(end).text(), "abcd");
}

#[test]
fn after_a_gap_that_took_a_message_the_rest_is_told_at_the_end() {
    let mut rig = Rig::asked();
    rig.hear(&[started(MINE, 1), delta(MINE, 0, "one")]);
    assert_eq!(rig.heard(&Push::Gap { session: SESSION }), watch(1, Resume::From { run: run(MINE), index: 1 }));
    // The first message, of chunks 0 to 4, stands meanwhile; the second grows.
    assert_eq!(rig.replied(joined(2, run(MINE), 5, &["tw"])), read_answer());
    assert_eq!(rig.replied(standing(waiting_for(MINE, 6))), Step::Wait);
    rig.hear(&[delta(MINE, 6, "o"), message(answer(MINE, 3, "two"))]);
    assert_eq!(rig.text(), "one", "what would leave a hole is not told");
    assert_eq!(rig.heard(&finished(MINE, 1, 3)), read_answer());
    let messages = vec![answer(MINE, 2, "one and "), answer(MINE, 3, "two")];
    let end = rig.replied(standing(Standing::Answered { messages }));
    assert_eq!(rig.answered(end).text(), "one and two");
}

#[test]
fn an_end_that_a_gap_took_is_learned_from_the_shard() {
    let mut rig = Rig::asked();
    rig.hear(&[started(MINE, 1), delta(MINE, 0, "Hel")]);
    assert_eq!(rig.heard(&Push::Gap { session: SESSION }), watch(1, Resume::From { run: run(MINE), index: 1 }));
    assert_eq!(rig.replied(idle(2)), read_answer());
    let end = rig.replied(standing(Standing::Answered { messages: vec![answer(MINE, 2, "Hello")] }));
    assert_eq!(rig.answered(end).text(), "Hello");

    let mut rig = Rig::asked();
    assert_eq!(rig.heard(&Push::Gap { session: SESSION }), watch(1, Resume::All));
    assert_eq!(rig.replied(idle(1)), read_answer());
    let step = rig.replied(standing(UNANSWERED));
    assert!(matches!(step, Step::Done(Outcome::Failed { reason, .. }) if reason == "unanswered"));
}

#[test]
fn after_a_gap_before_its_run_another_run_is_told_from_its_own() {
    let mut rig = Rig::asked();
    assert_eq!(rig.heard(&Push::Gap { session: SESSION }), watch(1, Resume::All));
    assert_eq!(rig.replied(joined(1, run(OTHER), 0, &["of", "others"])), read_answer());
    assert_eq!(rig.replied(standing(WAITING)), Step::Wait);
    rig.hear(&[delta(OTHER, 2, "!"), started(MINE, 1), delta(MINE, 0, "mine"), message(answer(MINE, 2, "mine"))]);
    assert_eq!(rig.heard(&finished(MINE, 1, 2)), read_answer());
    let end = rig.replied(standing(Standing::Answered { messages: vec![answer(MINE, 2, "mine")] }));
    assert_eq!(rig.answered(end).text(), "mine");
}

#[test]
fn a_second_gap_is_followed_like_the_first() {
    let mut rig = Rig::asked();
    rig.hear(&[started(MINE, 1)]);
    for last_seq in [1, 4] {
        assert!(matches!(rig.heard(&Push::Gap { session: SESSION }), Step::Again(Command::Watch { .. })));
        assert_eq!(rig.replied(joined(last_seq, run(MINE), 0, &[])), read_answer());
        assert_eq!(rig.replied(standing(waiting_for(MINE, 0))), Step::Wait);
    }
    assert_eq!(rig.heard(&Push::Gap { session: SESSION }), watch(4, Resume::From { run: run(MINE), index: 0 }));
}

#[test]
fn a_message_that_was_not_heard_is_read_at_the_end() {
    let mut rig = Rig::asked();
    rig.hear(&[started(MINE, 1)]);
    assert_eq!(rig.heard(&finished(MINE, 1, 2)), read_answer());
    let end = rig.replied(standing(Standing::Answered { messages: vec![answer(MINE, 2, "read")] }));
    assert_eq!(rig.answered(end).text(), "read");
    // An end that was heard says more than how the message stands.
    let mut rig = Rig::asked();
    assert_eq!(rig.heard(&failed(MINE, 1, Some(2))), read_answer());
    let step = rig.replied(standing(Standing::Answered { messages: vec![answer(MINE, 2, "part")] }));
    assert!(matches!(step, Step::Done(Outcome::Failed { reason, .. }) if reason == "http_status"));
    let mut rig = Rig::asked();
    assert_eq!(rig.heard(&failed(MINE, 1, Some(2))), read_answer());
    assert!(matches!(rig.replied(standing(WAITING)), Step::Done(Outcome::Failed { .. })));
}

#[test]
fn a_retry_watches_the_run_from_its_beginning() {
    let mut rig = Rig::new();
    assert_eq!(rig.replied(asked(1, true, waiting_for(MINE, 2))), watch(1, Resume::All));
    assert_eq!(rig.replied(joined(1, run(MINE), 0, &["a", "b"])), read_answer());
    assert_eq!(rig.replied(standing(waiting_for(MINE, 2))), Step::Wait);
    rig.hear(&[delta(MINE, 1, "b"), delta(MINE, 2, "c"), message(answer(MINE, 2, "abc"))]);
    assert_eq!(rig.events.len(), 3, "a chunk is told once");
    assert_eq!(rig.heard(&finished(MINE, 1, 2)), read_answer());
    let end = rig.replied(standing(Standing::Answered { messages: vec![answer(MINE, 2, "abc")] }));
    assert_eq!(rig.answered(end).text(), "abc");
}

#[test]
fn a_retry_of_what_nobody_answered_has_failed() {
    let mut rig = Rig::new();
    let step = rig.replied(asked(1, true, UNANSWERED));
    assert!(matches!(step, Step::Done(Outcome::Failed { reason, .. }) if reason == "unanswered"));
}

#[test]
fn a_session_that_is_deleted_closes_the_ask() {
    let mut rig = Rig::asked();
    rig.hear(&[started(MINE, 1)]);
    assert_eq!(rig.heard(&Push::Closed { session: SESSION }), Step::Done(Outcome::Closed));
    let mut rig = Rig::asked();
    assert_eq!(rig.heard(&Push::Gap { session: SESSION }), watch(1, Resume::All));
    assert_eq!(rig.replied(Err(Refusal::SessionNotFound)), Step::Done(Outcome::Closed));
}

#[test]
fn a_refusal_of_the_append_is_told_and_one_behind_it_leaves_the_message() {
    let mut rig = Rig::new();
    let refused = rig.replied(Err(Refusal::Overloaded));
    assert_eq!(refused, Step::Done(Outcome::Refused(Refusal::Overloaded)));
    let mut rig = Rig::asked();
    assert_eq!(rig.heard(&Push::Gap { session: SESSION }), watch(1, Resume::All));
    assert_eq!(rig.replied(Err(Refusal::Overloaded)), Step::Done(Outcome::Late));
}

#[test]
fn a_session_that_the_append_chose_is_the_one_that_is_watched() {
    let other = SessionId::from_parts(2, 2);
    let mut rig = Rig::new();
    let reply = asked(1, true, WAITING).map(|reply| match reply {
        Reply::Asked(asked) => Reply::Asked(Box::new(Asked { session: other, ..*asked })),
        other => other,
    });
    let step = rig.replied(reply);
    assert!(matches!(step, Step::Again(Command::Watch { session, .. }) if session == other));
    assert_eq!(rig.ask.asked().unwrap().session, other);
}

/// A chunk of one of a team that speaks at once with others.
fn voice(agent_id: &str, index: u32, chunk: Json) -> Push {
    let place = Some(ChunkPlace { run: run(MINE), index, has_floor: false });
    Push::Chunk { session: SESSION, agent_id: agent_id.into(), chunk, place }
}

fn said_by(sender_id: &str, seq: u64, text: &str) -> Push {
    message(rendered(seq, sender_id, text, &format!(r#"{{"run_id":"{}"}}"#, run(MINE))))
}

#[test]
fn voices_that_speak_at_once_are_told_in_the_order_of_their_messages() {
    let end = || Json::parse(r#"{"type":"finish"}"#).unwrap();
    let mut rig = Rig::asked();
    rig.hear(&[started(MINE, 1), voice("ann", 0, text_delta("a")), voice("ben", 1, text_delta("b"))]);
    rig.hear(&[voice("ann", 2, text_delta("A")), voice("ben", 3, end()), said_by("ben", 2, "b")]);
    assert_eq!(rig.text(), "b");
    rig.hear(&[voice("ann", 4, end()), said_by("ann", 3, "aA")]);
    assert_eq!(rig.text(), "baA");
    rig.hear(&[delta(MINE, 5, "sum"), said_by("bot", 4, "sum")]);
    let end = rig.heard(&finished(MINE, 1, 4));
    assert_eq!(rig.answered(end).text(), "baAsum");
}

#[test]
fn who_comes_late_to_a_team_is_told_its_answer_at_the_end() {
    let mut rig = Rig::new();
    let team = Some(Box::new(AskedTeam { mode: TeamMode::Parallel, members: Vec::new() }));
    let reply = asked(1, true, waiting_for(MINE, 0)).map(|reply| match reply {
        Reply::Asked(asked) => Reply::Asked(Box::new(Asked { team, ..*asked })),
        other => other,
    });
    assert_eq!(rig.replied(reply), watch(1, Resume::All));
    assert_eq!(rig.replied(joined(2, run(MINE), 0, &[])), read_answer());
    assert_eq!(rig.replied(standing(waiting_for(MINE, 0))), Step::Wait);
    // An earlier life of the run has said message 2.
    rig.hear(&[delta(MINE, 0, "b"), said_by("ben", 3, "b")]);
    assert_eq!(rig.text(), "");
    assert_eq!(rig.heard(&finished(MINE, 1, 3)), read_answer());
    let end = rig.replied(standing(Standing::Answered { messages: vec![answer(MINE, 2, "a"), answer(MINE, 3, "b")] }));
    assert_eq!(rig.answered(end).text(), "ab");
}

#[test]
fn what_a_team_has_said_before_it_failed_or_was_stopped_is_kept() {
    let said = |why| vec![answer(MINE, 2, "a"), broken_answer(MINE, 3, "b", why)];
    let mut rig = Rig::new();
    let step = rig.replied(asked(1, true, Standing::Unanswered { partial: said(r#","reason":"stopped""#) }));
    assert!(matches!(step, Step::Done(Outcome::Stopped(partial)) if partial.text() == "ab"));
    assert_eq!(rig.text(), "ab");
    for (partial, expected) in
        [(said(r#","reason":"deadline""#), "deadline"), (vec![answer(MINE, 2, "a")], "unanswered")]
    {
        let count = partial.len();
        let step = Rig::new().replied(asked(1, true, Standing::Unanswered { partial }));
        let Step::Done(Outcome::Failed { reason, partial, .. }) = step else { panic!("{step:?}") };
        assert_eq!((&*reason, partial.messages.len()), (expected, count));
    }
}

#[test]
fn what_cannot_be_known_any_more_is_no_failure() {
    assert_eq!(Rig::new().replied(asked(1, true, Standing::Unknown)), Step::Done(Outcome::Late));
    let mut rig = Rig::asked();
    assert_eq!(rig.heard(&failed(MINE, 1, Some(2))), read_answer());
    assert!(matches!(rig.replied(standing(Standing::Unknown)), Step::Done(Outcome::Failed { .. })));
}
