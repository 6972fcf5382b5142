//! Teams: who of a team is called, what becomes of what its members say, and what a crash leaves of it.

use super::runs::NOW;
use super::*;
use crate::agent::Failure;
use crate::limits::CALLS_MAX;
use crate::session::{AgentConfig, AgentPut, DirectoryNote};

impl Bench {
    /// A bench with the session `id(1)` of alice and the team bot of these fields, whose members are registered.
    pub(super) fn with_team(team: &str) -> Self {
        let mut bench = Self::with_session();
        bench.learn_team(team);
        bench
    }

    pub(super) fn learn_team(&mut self, team: &str) {
        let member = |id: &str, about: &str| {
            format!(
                r#"{{"id":"{id}","name":"{}","origin_url":"http://{id}","keywords":["{about}"]}}"#,
                id.to_uppercase()
            )
        };
        let agents = [
            member("ann", "cooking"),
            member("bob", "gardening"),
            member("cem", "sailing"),
            member("sum", "summaries"),
            format!(r#"{{"id":"bot","name":"Team",{NOW},"team":{{{team}}}}}"#),
        ];
        let put = |agent: String| AgentPut { former_id: None, agent: AgentConfig::create(&json(&agent), 5).unwrap() };
        let notes = agents.into_iter().map(put).map(DirectoryNote::Agent).collect();
        assert_eq!(self.call(Command::Learn { notes, complete: true }), Ok(Reply::Done));
    }

    fn ask_team(&mut self, text: &str, metadata: &str) {
        let append = Append { metadata: json(metadata), ..message(1, "alice", text) };
        appended(self.call(Command::Append(Box::new(append))));
    }

    fn called_all(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.calls).into()
    }

    /// The call says this and ends.
    pub(super) fn answer_with(&mut self, call: &Call, text: &str) {
        let delta = format!(r#"{{"type":"text-delta","id":"0","delta":"{text}"}}"#);
        self.say(call, &[r#"{"type":"text-start","id":"0"}"#, &delta, r#"{"type":"finish"}"#]);
        self.end(call, None);
    }

    /// Every call is answered with its agent's name, until nobody is called any more.
    pub(super) fn answer_all(&mut self) {
        loop {
            let calls = self.called_all();
            if calls.is_empty() {
                return;
            }
            for call in calls {
                self.answer_with(&call, &format!("{} says. More.", call.agent.id()));
            }
        }
    }

    /// Sender and text of every message, and whose answer it is by its metadata: mode, round, stance.
    fn log(&mut self) -> Vec<(String, String)> {
        let page = self.read(1, PageFrom::After(0), 100);
        let text = |message: &Value| match message["content"]["parts"].as_array() {
            Some(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
            None => message["content"]["text"].as_str().unwrap_or_default().to_owned(),
        };
        let row = |message: Value| (message["sender_id"].as_str().unwrap().to_owned(), text(&message));
        messages(&page).into_iter().map(row).collect()
    }

    fn metadata(&mut self, seq: u64) -> Value {
        messages(&self.read(1, PageFrom::After(seq - 1), 1)).remove(0)["metadata"].take()
    }
}

fn rows(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|(sender, text)| ((*sender).to_owned(), (*text).to_owned())).collect()
}

fn ids(calls: &[Call]) -> Vec<&str> {
    calls.iter().map(|call| call.agent.id()).collect()
}

#[test]
fn in_parallel_all_members_are_called_at_once_and_the_team_sums_up() {
    let mut bench = Bench::with_team(r#""members":["ann","bob"],"mode":"parallel""#);
    bench.listen();
    bench.ask_team("hi", "{}");
    let calls = bench.called_all();
    assert_eq!(ids(&calls), ["ann", "bob"]);
    assert_eq!((calls[0].run, calls[0].voice, calls[1].voice), (calls[1].run, 1, 2));
    let body = Bench::body(&calls[1]);
    assert_eq!(body["agent_id"], "bob");
    let expected: Value = serde_json::from_str(
        r#"{"id":"bot","name":"Team","mode":"parallel","round":1,"members":[{"id":"ann","name":"ANN"},{"id":"bob","name":"BOB"}]}"#,
    )
    .unwrap();
    assert_eq!(body["team"], expected);
    bench.say(&calls[1], &[r#"{"type":"text-delta","id":"0","delta":"B. b"}"#]);
    bench.say(&calls[0], &[r#"{"type":"text-delta","id":"0","delta":"A"}"#, r#"{"type":"finish"}"#]);
    bench.say(&calls[1], &[r#"{"type":"finish"}"#]);
    bench.end(&calls[0], None);
    assert_eq!(bench.shard.status().calls_open, 1);
    bench.end(&calls[1], None);
    assert_eq!(
        bench.heard(),
        [
            "message 1",
            "started",
            "0 text-delta",
            "1 text-delta",
            "2 finish",
            "message 2",
            "3 finish",
            "message 3",
            "message 4",
            "finished 4"
        ]
    );
    assert_eq!(bench.log(), rows(&[("alice", "hi"), ("ann", "A"), ("bob", "B. b"), ("bot", "ANN: A\nBOB: B.")]));
    let metadata = bench.metadata(2);
    let run = calls[0].run.to_string();
    assert_eq!(
        (&metadata["team"], &metadata["mode"], &metadata["round"]),
        (&"bot".into(), &"parallel".into(), &1.into())
    );
    assert_eq!((&metadata["run_id"], &metadata["reply_to"]), (&run.as_str().into(), &1.into()));
    assert_eq!(bench.metadata(4)["run_id"], run);
    let status = bench.shard.status();
    assert_eq!((status.runs_open, status.calls_open), (0, 0));
}

#[test]
fn chunks_are_shown_under_the_name_of_who_speaks() {
    let mut bench = Bench::with_team(r#""members":["ann","bob"],"mode":"parallel""#);
    bench.listen();
    bench.ask_team("hi", "{}");
    let calls = bench.called_all();
    bench.said.clear();
    for call in [&calls[1], &calls[0]] {
        bench.say(call, &[r#"{"type":"text-delta","id":"0","delta":"x"}"#]);
    }
    let speakers = bench.pushes().into_iter().filter_map(|(_, push)| match push {
        Push::Chunk { agent_id, place, .. } => Some((agent_id, place.unwrap().index)),
        _ => None,
    });
    assert_eq!(speakers.collect::<Vec<_>>(), [("bob".to_owned(), 0), ("ann".to_owned(), 1)]);
}

#[test]
fn in_turn_each_member_sees_what_was_said_before_it() {
    let mut bench = Bench::with_team(r#""members":["ann","bob"],"mode":"round_robin""#);
    bench.ask_team("hi", "{}");
    let first = bench.called();
    assert_eq!((first.agent.id(), Bench::called_seqs(&first)), ("ann", vec![1]));
    bench.answer_with(&first, "A.");
    let second = bench.called();
    assert_eq!((second.agent.id(), second.voice, Bench::called_seqs(&second)), ("bob", 2, vec![1, 2]));
    bench.answer_with(&second, "B.");
    assert_eq!(bench.log(), rows(&[("alice", "hi"), ("ann", "A."), ("bob", "B."), ("bot", "ANN: A.\nBOB: B.")]));
}

#[test]
fn in_parallel_a_member_that_is_called_late_sees_the_question_only() {
    let mut bench = Bench::with_team(r#""members":["ann","bob"],"mode":"brainstorm""#);
    bench.shard.runs.calls = CALLS_MAX - 1;
    bench.ask_team("hi", "{}");
    let first = bench.called();
    bench.answer_with(&first, "A.");
    let second = bench.called();
    assert_eq!((second.agent.id(), Bench::called_seqs(&second)), ("bob", vec![1]));
    bench.answer_with(&second, "B.");
    assert_eq!(bench.log().len(), 4);
    assert_eq!(bench.shard.runs.calls, CALLS_MAX - 1);
}

#[test]
fn a_debate_has_sides_and_rounds() {
    let mut bench = Bench::with_team(r#""members":["ann","bob"],"mode":"debate","rounds":2"#);
    bench.ask_team("hi", "{}");
    let mut turns = Vec::new();
    while let Some(call) = bench.calls.pop_front() {
        let team = Bench::body(&call)["team"].take();
        turns.push(format!("{} {} {}", call.agent.id(), team["stance"].as_str().unwrap(), team["round"]));
        bench.answer_with(&call, "x");
    }
    assert_eq!(turns, ["ann pro 1", "bob con 1", "ann pro 2", "bob con 2"]);
    let last = bench.metadata(5);
    assert_eq!((&last["stance"], &last["round"]), (&"con".into(), &2.into()));
    assert_eq!(bench.log().len(), 6);
}

#[test]
fn the_message_may_name_the_mode_and_an_expert_is_who_knows() {
    let mut bench = Bench::with_team(r#""members":["ann","bob"],"mode":"parallel""#);
    bench.ask_team("gardening please", r#"{"team_mode":"expert"}"#);
    let call = bench.called();
    assert_eq!(call.agent.id(), "bob");
    bench.answer_with(&call, "B.");
    assert_eq!(bench.log().last().unwrap(), &("bot".to_owned(), "BOB: B.".to_owned()));
    assert_eq!(bench.metadata(3)["mode"], "expert");
}

#[test]
fn a_summarizer_sees_everything_and_speaks_as_the_team() {
    let mut bench = Bench::with_team(r#""members":["ann","bob"],"mode":"parallel","summarizer":"sum""#);
    bench.ask_team("hi", "{}");
    for call in bench.called_all() {
        bench.answer_with(&call, "x");
    }
    let call = bench.called();
    assert_eq!((call.agent.id(), Bench::called_seqs(&call)), ("sum", vec![1, 2, 3]));
    assert_eq!(Bench::body(&call)["team"]["task"], "summary");
    bench.answer_with(&call, "All agree.");
    assert_eq!(bench.log()[3..], rows(&[("bot", "All agree.")]));
    assert_eq!(bench.shard.status().runs_open, 0);
}

#[test]
fn a_summarizer_that_fails_gives_way_to_a_digest() {
    let mut bench = Bench::with_team(r#""members":["ann"],"mode":"parallel","summarizer":"sum""#);
    bench.ask_team("hi", "{}");
    let call = bench.called();
    bench.answer_with(&call, "x");
    let call = bench.called();
    bench.end(&call, Some(Failure::fatal("http_error", "no")));
    assert_eq!(bench.log()[2..], rows(&[("bot", "ANN: x")]));
}

#[test]
fn a_member_that_fails_is_left_out_and_one_that_may_come_back_is_called_again() {
    let mut bench = Bench::with_team(r#""members":["ann","bob","cem"],"mode":"parallel""#);
    bench.ask_team("hi", "{}");
    let calls = bench.called_all();
    bench.end(&calls[0], Some(Failure::fatal("http_error", "no")));
    bench.end(&calls[1], Some(Failure::of_status(503, None)));
    bench.answer_with(&calls[2], "C.");
    assert!(bench.calls.is_empty());
    bench.pass_ms(60_000);
    let again = bench.called();
    assert_eq!((again.agent.id(), again.voice, again.attempt), ("bob", 2, 2));
    bench.answer_with(&again, "B.");
    assert_eq!(bench.log()[1..], rows(&[("cem", "C."), ("bob", "B."), ("bot", "BOB: B.\nCEM: C.")]));
}

#[test]
fn a_team_of_which_everybody_fails_fails_by_its_last_reason_and_answers_the_next_question() {
    let mut bench = Bench::with_team(r#""members":["ann","bob"],"mode":"parallel""#);
    bench.listen();
    bench.ask_team("hi", "{}");
    for call in bench.called_all() {
        bench.end(&call, Some(Failure::fatal("http_error", "no")));
    }
    assert_eq!(bench.heard(), ["message 1", "started", "failed http_error None"]);
    bench.ask_team("again", "{}");
    bench.answer_all();
    assert_eq!(bench.log().len(), 5);
}

#[test]
fn what_a_member_had_said_before_it_broke_off_stands() {
    let mut bench = Bench::with_team(r#""members":["ann"],"mode":"parallel""#);
    bench.ask_team("hi", "{}");
    let call = bench.called();
    bench.say(&call, &[r#"{"type":"text-delta","id":"0","delta":"Hal"}"#]);
    bench.end(&call, Some(Failure::fatal("network", "gone")));
    assert_eq!(bench.log()[1..], rows(&[("ann", "Hal"), ("bot", "ANN: Hal")]));
    assert_eq!(bench.metadata(2)["reason"], "network");
}

#[test]
fn stopping_cuts_every_voice_off_and_keeps_what_was_said() {
    let mut bench = Bench::with_team(r#""members":["ann","bob","cem"],"mode":"parallel""#);
    bench.listen();
    bench.ask_team("hi", "{}");
    let calls = bench.called_all();
    bench.answer_with(&calls[0], "A.");
    bench.say(&calls[1], &[r#"{"type":"text-delta","id":"0","delta":"Bo"}"#]);
    bench.heard();
    assert!(matches!(bench.stop(None), Ok(Reply::Run(_))));
    assert_eq!(bench.stopped.len(), 2);
    assert_eq!(bench.heard(), ["4 abort", "message 3", "stopped Some(3)"]);
    for call in &calls[1..] {
        bench.end(call, Some(Failure::fatal("stopped", "stopped")));
    }
    bench.pass_ms(60_000);
    assert!(bench.calls.is_empty());
    assert_eq!(bench.log()[1..], rows(&[("ann", "A."), ("bob", "Bo")]));
    bench.ask_team("again", "{}");
    assert_eq!(ids(&bench.called_all()), ["ann", "bob", "cem"]);
}

#[test]
fn what_is_said_meanwhile_is_the_next_question() {
    let mut bench = Bench::with_team(r#""members":["ann"],"mode":"parallel""#);
    bench.ask_team("one", "{}");
    let call = bench.called();
    bench.ask_team("two", "{}");
    assert!(bench.calls.is_empty());
    bench.answer_with(&call, "1.");
    bench.answer_all();
    let senders: Vec<String> = bench.log().into_iter().map(|(sender, _)| sender).collect();
    assert_eq!(senders, ["alice", "alice", "ann", "bot", "ann", "bot"]);
}

#[test]
fn a_team_without_anybody_to_call_fails_and_is_refused_to_those_who_want_an_answer() {
    let mut bench = Bench::with_team(r#""members":["nobody"],"mode":"parallel""#);
    bench.listen();
    bench.ask_team("hi", "{}");
    assert_eq!(bench.heard(), ["message 1", "started", "failed team_empty None"]);
    let terms = Some(Box::new(Terms { answer_from: Requires::Agent, ..Terms::default() }));
    let append = Append { terms, ..message(1, "alice", "hi") };
    assert_eq!(bench.call(Command::Append(Box::new(append))), Err(Refusal::TeamEmpty));
}

#[test]
fn how_a_question_to_a_team_stands_is_told_with_all_its_messages() {
    let mut bench = Bench::with_team(r#""members":["ann","bob"],"mode":"round_robin""#);
    bench.ask_team("hi", "{}");
    let read = Command::ReadAnswer { session: id(1), seq: 1 };
    let call = bench.called();
    bench.answer_with(&call, "A.");
    let standing = bench.call(read.clone()).unwrap();
    assert!(matches!(standing, Reply::Standing(standing) if matches!(*standing, Standing::Waiting { run: Some(_) })));
    bench.answer_all();
    let Reply::Standing(standing) = bench.call(read).unwrap() else { panic!() };
    let Standing::Answered { messages } = *standing else { panic!() };
    assert_eq!(messages.len(), 3);
}

/// Runs a question to its end with a crash after so many events; the messages behind the question.
fn crashed_after(team: &str, events: usize, is_power_cut: bool) -> Vec<(String, String)> {
    let mut bench = Bench::with_team(team);
    bench.ask_team("hi", "{}");
    let mut left = events;
    let mut lives = 1;
    loop {
        let calls = bench.called_all();
        if calls.is_empty() {
            return bench.log().split_off(1);
        }
        'life: for call in calls {
            let text = format!(r#"{{"type":"text-delta","id":"0","delta":"{} says."}}"#, call.agent.id());
            for step in 0..3 {
                if left == 0 && lives == 1 {
                    lives += 1;
                    if is_power_cut {
                        bench.cut_power()
                    } else {
                        bench.kill()
                    }
                    bench.calls.clear();
                    bench.learn_team(team);
                    bench.pass_ms(1);
                    break 'life;
                }
                left = left.saturating_sub(1);
                match step {
                    0 => bench.say(&call, &[&text]),
                    1 => bench.say(&call, &[r#"{"type":"finish"}"#]),
                    _ => bench.end(&call, None),
                }
            }
        }
    }
}

#[test]
fn after_a_crash_at_any_step_each_member_has_answered_once_and_the_team_sums_up_once() {
    for team in [
        r#""members":["ann","bob"],"mode":"parallel""#,
        r#""members":["ann","bob"],"mode":"brainstorm","summarizer":"sum""#,
        r#""members":["ann","bob"],"mode":"round_robin""#,
        r#""members":["ann","bob"],"mode":"debate","rounds":2"#,
        r#""members":["ann","bob"],"mode":"expert""#,
        r#""members":["ann","bob"]"#,
    ] {
        let whole = crashed_after(team, usize::MAX, false);
        assert!(whole.len() >= 2 && whole.last().unwrap().0 == "bot", "{whole:?}");
        for events in 0..3 * whole.len() {
            for is_power_cut in [false, true] {
                assert_eq!(crashed_after(team, events, is_power_cut), whole, "{team}: a crash after {events} events");
            }
        }
    }
}

#[test]
fn a_run_that_a_crash_has_cut_off_goes_on_under_a_new_name() {
    let mut bench = Bench::with_team(r#""members":["ann","bob"],"mode":"round_robin""#);
    bench.ask_team("hi", "{}");
    let first = bench.called();
    bench.answer_with(&first, "A.");
    let cut = bench.called();
    bench.say(&cut, &[r#"{"type":"text-delta","id":"0","delta":"half"}"#]);
    bench.append(1, "alice");
    bench.kill();
    bench.learn_team(r#""members":["ann","bob"],"mode":"parallel""#);
    bench.pass_ms(1);
    let second = bench.called();
    assert_eq!(second.agent.id(), "bob");
    assert_ne!(second.run, first.run);
    assert_eq!(Bench::body(&second)["team"]["mode"], "round_robin", "as it was begun");
    bench.answer_with(&second, "B.");
    let expected = [("alice", "hi"), ("ann", "A."), ("alice", "hi"), ("bob", "B."), ("bot", "ANN: A.\nBOB: B.")];
    assert_eq!(bench.log(), rows(&expected));
    assert_eq!(ids(&bench.called_all()), ["ann", "bob"], "what was said meanwhile is the next question");
}

#[test]
fn a_team_that_was_deleted_is_not_there_to_be_asked() {
    let mut bench = Bench::with_team(r#""members":["ann"]"#);
    let ask = |answer_from| {
        let terms = Terms { answer_from, ..Terms::default() };
        Command::Append(Box::new(Append { terms: Some(Box::new(terms)), ..message(1, "alice", "hi") }))
    };
    let fields = r#"{"id":"bot","name":"Team","status":"disabled","team":{"members":["ann"]}}"#;
    let agent = AgentConfig::create(&json(fields), 5).unwrap();
    let notes = vec![DirectoryNote::Agent(AgentPut { former_id: None, agent })];
    assert_eq!(bench.call(Command::Learn { notes, complete: false }), Ok(Reply::Done));
    assert_eq!(bench.call(ask(Requires::Team)), Err(Refusal::AgentNotFound));
    assert_eq!(bench.call(ask(Requires::Agent)), Err(Refusal::AgentDisabled));
}

#[test]
fn who_joins_in_the_middle_of_a_teams_run_is_given_what_no_message_holds() {
    let mut bench = Bench::with_team(r#""members":["ann","bob"],"mode":"parallel""#);
    bench.ask_team("hi", "{}");
    let calls = bench.called_all();
    let delta = |text: &str| format!(r#"{{"type":"text-delta","id":"0","delta":"{text}"}}"#);
    bench.say(&calls[0], &[&delta("a")]);
    bench.say(&calls[1], &[&delta("b")]);
    bench.say(&calls[0], &[&delta("a"), r#"{"type":"finish"}"#]);
    bench.say(&calls[1], &[&delta("b")]);
    let resumed = |bench: &mut Bench, resume| {
        let watch = Command::Watch { session: id(1), after_seq: 0, limit: 0, resume: Some(resume) };
        let Reply::Joined { resumed, .. } = bench.call(watch).unwrap() else { panic!("a reply to a watch") };
        let running = resumed.running.expect("a team answers");
        let chunks: Vec<_> = running.chunks.into_iter().map(|chunk| (chunk.index, chunk.agent_id)).collect();
        (resumed.run, resumed.next_index, running.state, running.first_index, chunks)
    };
    let bob = |indexes: &[u32]| indexes.iter().map(|index| (*index, "bob".to_owned())).collect::<Vec<_>>();
    let run = calls[0].run;
    assert_eq!(resumed(&mut bench, Resume::All), (run, 5, "answering", 1, bob(&[1, 4])));
    assert_eq!(resumed(&mut bench, Resume::From { run, index: 2 }), (run, 5, "answering", 4, bob(&[4])));
    assert_eq!(resumed(&mut bench, Resume::From { run, index: 5 }), (run, 5, "answering", 5, bob(&[])));
    assert!(bench.shard.runs.chunks_bytes > 0);
    bench.end(&calls[0], None);
    bench.end(&calls[1], Some(Failure::fatal("reset", "gone")));
    bench.answer_all();
    assert_eq!(bench.shard.runs.chunks_bytes, 0);
}

#[test]
fn whatever_ends_a_teams_run_leaves_no_bytes_of_it() {
    let text = r#"{"type":"text-delta","id":"0","delta":"half"}"#;
    let begun = || {
        let mut bench = Bench::with_team(r#""members":["ann","bob"],"mode":"parallel""#);
        bench.ask_team("hi", "{}");
        let calls = bench.called_all();
        calls
            .iter()
            .for_each(|call| bench.say(call, &[text, r#"{"type":"finish"}"#, text, r#"{"type":"start-step"}"#]));
        assert!(bench.shard.runs.chunks_bytes > 0);
        (bench, calls)
    };
    let (mut bench, _) = begun();
    bench.stop(None).unwrap();
    assert_eq!(bench.shard.runs.chunks_bytes, 0);
    let (mut bench, _) = begun();
    bench.call(Command::DeleteSession { id: id(1) }).unwrap();
    assert_eq!(bench.shard.runs.chunks_bytes, 0);
    let (mut bench, calls) = begun();
    calls.iter().for_each(|call| bench.end(call, Some(Failure::fatal("reset", "gone"))));
    assert_eq!(bench.shard.runs.chunks_bytes, 0);
}

#[test]
fn a_voice_that_meets_the_bound_of_all_running_answers_ends_with_what_it_has() {
    let mut bench = Bench::with_team(r#""members":["ann","bob"],"mode":"parallel""#);
    bench.ask_team("hi", "{}");
    let calls = bench.called_all();
    bench.shard.runs.chunks_bytes += crate::limits::RUNS_BYTES_MAX; // as if other sessions held it
    bench.say(&calls[0], &[r#"{"type":"text-delta","id":"0","delta":"a"}"#]);
    bench.shard.runs.chunks_bytes -= crate::limits::RUNS_BYTES_MAX;
    let cut = bench.metadata(2);
    assert_eq!((&cut["termination"], &cut["reason"]), (&"abort".into(), &"overloaded".into()));
    bench.end(&calls[0], None);
    bench.answer_with(&calls[1], "B.");
    assert_eq!(bench.log().last().unwrap().0, "bot");
}

#[test]
fn what_a_message_says_of_its_team_stands_there_once() {
    let mut bench = Bench::with_team(r#""members":["ann"],"mode":"debate","rounds":1"#);
    bench.ask_team("hi", "{}");
    let call = bench.called();
    let metadata = r#"{"team":"mine","mode":"mine","round":9,"stance":"mine","own":1}"#;
    let delta = r#"{"type":"text-delta","id":"0","delta":"A."}"#;
    bench.say(&call, &[delta, &format!(r#"{{"type":"finish","messageMetadata":{metadata}}}"#)]);
    let page = bench.read(1, PageFrom::After(1), 1);
    let json = String::from_utf8(page.into_messages()).unwrap();
    let own = json.split("\"_finish_chunk\"").next().unwrap().to_owned() + json.split("\"run_id\"").nth(1).unwrap();
    for name in ["team", "mode", "round", "stance"] {
        assert_eq!(own.matches(&format!("\"{name}\":")).count(), 1, "{json}");
    }
    let metadata = bench.metadata(2);
    assert_eq!((&metadata["team"], &metadata["round"], &metadata["own"]), (&"bot".into(), &1.into(), &1.into()));
}
