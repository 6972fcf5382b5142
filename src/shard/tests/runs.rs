//! Runs: when an agent is called, what its lines become, who hears of it.

use super::*;
use crate::agent::Failure;
use crate::limits::{CALLS_MAX, RUN_MESSAGES_MAX};
use crate::session::{AgentConfig, AgentPut, DirectoryNote};

pub(super) const FIRST: [&str; 3] =
    [r#"{"type":"start"}"#, r#"{"type":"text-start","id":"0"}"#, r#"{"type":"text-delta","id":"0","delta":"Hel"}"#];
pub(super) const REST: [&str; 2] = [r#"{"type":"text-delta","id":"0","delta":"lo"}"#, r#"{"type":"finish"}"#];

impl Bench {
    /// A bench with the session `id(1)` of alice and the agent bot, which is registered with these fields.
    pub(super) fn with_agent(fields: &str) -> Self {
        let mut bench = Self::with_session();
        bench.learn(fields);
        bench
    }

    pub(super) fn learn(&mut self, fields: &str) {
        let comma = if fields.is_empty() { "" } else { "," };
        let agent = format!(r#"{{"id":"bot","name":"B","origin_url":"http://b"{comma}{fields}}}"#);
        let agent = AgentConfig::create(&json(&agent), 5).unwrap();
        let notes = vec![DirectoryNote::Agent(AgentPut { former_id: None, agent })];
        assert_eq!(self.call(Command::Learn { notes, complete: true }), Ok(Reply::Done));
    }

    pub(super) fn pass_ms(&mut self, ms: u64) {
        self.now_us += ms * 1000;
        self.step(Input::Tick);
        self.run();
    }

    /// The only call that was begun since the last look.
    pub(super) fn called(&mut self) -> Call {
        let call = self.calls.pop_front().expect("the agent is called");
        assert!(self.calls.is_empty(), "one call at a time");
        call
    }

    /// Says something and gives the call that follows at once (no debounce window).
    pub(super) fn ask(&mut self) -> Call {
        self.append(1, "alice");
        self.called()
    }

    pub(super) fn tell(&mut self, call: &Call, event: CallEvent) {
        let Call { session, run, voice, attempt, .. } = *call;
        self.step(Input::Called { session, run, voice, attempt, event });
        self.run();
    }

    pub(super) fn say(&mut self, call: &Call, lines: &[&str]) {
        self.tell(call, CallEvent::Lines(lines.iter().map(|line| (*line).to_owned()).collect()));
    }

    pub(super) fn end(&mut self, call: &Call, failure: Option<Failure>) {
        self.tell(call, CallEvent::Ended(CallEnd { failure, ..CallEnd::default() }));
    }

    pub(super) fn listen(&mut self) {
        self.join(THERE, 1, "alice", 0).unwrap();
        self.said.clear();
    }

    /// What listeners heard since the last look: the type of a chunk with its index, the seq of a message, the status of a run.
    pub(super) fn heard(&mut self) -> Vec<String> {
        let heard = |(_, push)| match push {
            Push::Chunk { chunk, place: Some(place), .. } => {
                Some(format!("{} {}", place.index, value(&chunk)["type"].as_str().unwrap()))
            }
            Push::Message { seq, .. } => Some(format!("message {seq}")),
            Push::Run { event, .. } => Some(match event.status {
                RunStatus::Started => "started".to_owned(),
                RunStatus::Retrying { reason, .. } => format!("retrying {reason}"),
                RunStatus::Finished { seq } => format!("finished {seq}"),
                RunStatus::Stopped { seq } => format!("stopped {seq:?}"),
                RunStatus::Failed { reason, seq, .. } => format!("failed {reason} {seq:?}"),
            }),
            _ => None,
        };
        self.pushes().into_iter().filter_map(heard).collect()
    }

    pub(super) fn stop(&mut self, run: Option<RunId>) -> Result<Reply, Refusal> {
        self.call(Command::StopRun { session: id(1), run, identity: None })
    }

    /// Seq, text and termination of the assistant's messages.
    pub(super) fn answers(&mut self) -> Vec<(u64, String, String)> {
        let page = self.read(1, PageFrom::After(0), 100);
        let answers = messages(&page).into_iter().filter(|message| message["kind"] == "assistant");
        let parts = |message: &Value| -> String {
            let parts = message["content"]["parts"].as_array().unwrap().iter();
            parts.filter_map(|part| part["text"].as_str()).collect()
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        answers
            .map(|message| {
                (message["seq"].as_u64().unwrap(), parts(&message), text(&message["metadata"]["termination"]))
            })
            .collect()
    }

    pub(super) fn body(call: &Call) -> Value {
        serde_json::from_slice(&call.body).unwrap()
    }

    pub(super) fn called_seqs(call: &Call) -> Vec<u64> {
        let body = Self::body(call);
        body["messages"].as_array().unwrap().iter().map(|message| message["seq"].as_u64().unwrap()).collect()
    }
}

pub(super) const NOW: &str = r#""debounce_window_ms":0"#;

#[test]
fn an_answer_is_shown_as_it_comes_and_stands_as_one_message_at_the_end() {
    let mut bench = Bench::with_agent(NOW);
    bench.listen();
    let call = bench.ask();
    assert_eq!((call.attempt, call.kind, Bench::called_seqs(&call)), (1, CallKind::Answer, vec![1]));
    assert_eq!(bench.heard(), ["message 1", "started"]);
    bench.say(&call, &FIRST);
    assert_eq!(bench.heard(), ["0 start", "1 text-start", "2 text-delta"]);
    bench.say(&call, &REST);
    assert_eq!(bench.heard(), ["3 text-delta", "4 finish", "message 2"]);
    bench.end(&call, None);
    assert_eq!(bench.heard(), ["finished 2"]);
    assert_eq!(bench.answers(), [(2, "Hello".to_owned(), "finish".to_owned())]);
    let last = messages(&bench.read(1, PageFrom::After(1), 1)).remove(0);
    assert_eq!(last["metadata"]["run_id"], call.run.to_string());
    assert_eq!((&last["metadata"]["reply_to"], &last["sender_id"]), (&1.into(), &"bot".into()));
    assert_eq!(bench.shard.status().runs_open, 0);
}

#[test]
fn an_answer_says_how_long_it_took_and_what_its_agent_says_it_has_cost() {
    let mut bench = Bench::with_agent(NOW);
    bench.pass_ms(10);
    let call = bench.ask();
    bench.pass_ms(40);
    bench.say(&call, &FIRST);
    bench.say(&call, &REST);
    bench.pass_ms(2);
    bench.say(&call, &FIRST);
    let costs = r#"{"type":"finish","messageMetadata":{"usage":{"in":12,"out":3},"latency_ms":5,"duration_ms":-1}}"#;
    bench.say(&call, &[costs]);
    bench.end(&call, None);
    let said = String::from_utf8(bench.read(1, PageFrom::After(1), 9).into_messages()).unwrap();
    let run = format!(r#""run_id":"{}","reply_to":1"#, call.run);
    let plain = r#"{"termination":"finish","_finish_chunk":{"type":"finish"},"#;
    let first = format!(r#""metadata":{plain}{run},"duration_ms":40,"latency_ms":40}}"#);
    assert!(said.contains(&first), "{said}");
    let costly = r#"{"usage":{"in":12,"out":3},"latency_ms":5,"termination":"finish","_finish_chunk":"#;
    let numbers = r#""duration_ms":42,"input_tokens":12,"output_tokens":3}"#;
    assert!(said.contains(&format!(r#""metadata":{costly}{costs},{run},{numbers}"#)), "{said}");
}

#[test]
fn a_run_ends_behind_the_commit_of_its_message() {
    let mut bench = Bench::with_agent(NOW);
    bench.listen();
    let call = bench.ask();
    bench.heard();
    bench.hold_syncs = true;
    bench.say(&call, &FIRST);
    bench.say(&call, &REST);
    bench.end(&call, None);
    assert_eq!(bench.heard().len(), 5, "chunks wait for no disk");
    bench.release_syncs();
    assert_eq!(bench.heard(), ["message 2", "finished 2"]);
}

#[test]
fn only_the_sessions_user_is_answered_and_only_by_an_enabled_agent() {
    let mut bench = Bench::with_agent(NOW);
    bench.append(1, "bot");
    bench.append(1, "carol");
    assert!(bench.calls.is_empty());
    bench.learn(r#""debounce_window_ms":0,"status":"disabled""#);
    bench.append(1, "alice");
    bench.pass_ms(10_000);
    assert!(bench.calls.is_empty());
    bench.learn(NOW);
    bench.pass_ms(10_000);
    assert!(bench.calls.is_empty(), "what was said to a disabled agent owes nothing");
    assert_eq!(Bench::called_seqs(&bench.ask()), [1, 2, 3, 4]);
}

#[test]
fn nobody_is_called_before_the_whole_directory_is_known() {
    let mut bench = Bench::with_session();
    bench.append(1, "alice");
    bench.pass_ms(10_000);
    assert!(bench.calls.is_empty());
}

#[test]
fn messages_within_the_window_make_one_call_and_a_steady_talker_is_answered() {
    let mut bench = Bench::with_agent(r#""debounce_window_ms":500,"debounce_max_wait_ms":1500"#);
    bench.append(1, "alice");
    bench.pass_ms(490);
    bench.append(1, "alice");
    bench.pass_ms(490);
    assert!(bench.calls.is_empty(), "the second message restarted the window");
    bench.pass_ms(30);
    let call = bench.called();
    assert_eq!(Bench::called_seqs(&call), [1, 2]);
    bench.say(&call, &REST);
    bench.end(&call, None);
    for said in 1..=4 {
        bench.append(1, "alice");
        bench.pass_ms(400);
        assert_eq!(bench.calls.len(), usize::from(said == 4), "after {said} messages");
    }
    assert_eq!(Bench::called_seqs(&bench.called()), [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn what_comes_in_the_middle_of_an_answer_makes_one_more_call() {
    let mut bench = Bench::with_agent(NOW);
    let call = bench.ask();
    bench.append(1, "alice");
    bench.append(1, "alice");
    assert!(bench.calls.is_empty());
    bench.say(&call, &REST);
    bench.append(1, "alice");
    bench.end(&call, None);
    bench.pass_ms(10);
    let second = bench.called();
    assert_eq!(Bench::called_seqs(&second), [1, 2, 3, 4, 5]);
    assert!(second.run > call.run);
    bench.say(&second, &REST);
    bench.end(&second, None);
    bench.pass_ms(10_000);
    assert!(bench.calls.is_empty());
    assert_eq!(bench.answers().len(), 2);
}

#[test]
fn history_modes_show_the_last_messages_not_the_first() {
    for (mode, expected) in [
        (r#""message_history_mode":"tail","message_history_limit":3"#, vec![10, 11, 12]),
        (r#""message_history_mode":"last""#, vec![12]),
        (r#""message_history_mode":"entire""#, (1..=12).collect()),
    ] {
        let mut bench = Bench::with_session();
        (0..11).for_each(|_| drop(bench.append(1, "alice")));
        bench.learn(&format!("{NOW},{mode}"));
        assert_eq!(Bench::called_seqs(&bench.ask()), expected, "{mode}");
    }
}

#[test]
fn a_call_that_shows_nothing_is_tried_five_times_and_then_the_run_has_failed() {
    let mut bench = Bench::with_agent(NOW);
    bench.listen();
    let first = bench.ask();
    bench.heard();
    let mut call = first.clone();
    for attempt in 1..5 {
        bench.end(&call, Some(Failure::of_status(503, None)));
        assert_eq!(bench.heard(), ["retrying http_status"]);
        assert!(bench.calls.is_empty());
        bench.pass_ms(5_000);
        call = bench.called();
        assert_eq!((call.run, call.attempt), (first.run, attempt + 1));
    }
    bench.end(&call, Some(Failure::of_status(503, None)));
    assert_eq!(bench.heard(), ["failed http_status None"]);
    bench.pass_ms(60_000);
    assert!(bench.calls.is_empty() && bench.answers().is_empty());
    assert_eq!(bench.shard.status().runs_open, 0);
}

#[test]
fn a_message_between_two_attempts_is_in_the_next_one() {
    let mut bench = Bench::with_agent(NOW);
    let call = bench.ask();
    bench.end(&call, Some(Failure::of_status(429, Some(2_000))));
    bench.append(1, "alice");
    bench.pass_ms(1_900);
    assert!(bench.calls.is_empty());
    bench.pass_ms(200);
    let second = bench.called();
    assert_eq!(Bench::called_seqs(&second), [1, 2]);
    bench.say(&second, &REST);
    bench.end(&second, None);
    bench.pass_ms(10_000);
    assert!(bench.calls.is_empty(), "both are answered");
}

#[test]
fn a_failure_in_the_middle_keeps_what_was_said_and_shows_where_it_stops() {
    let mut bench = Bench::with_agent(NOW);
    bench.listen();
    let call = bench.ask();
    bench.say(&call, &FIRST);
    bench.heard();
    bench.end(&call, Some(Failure { is_retryable: true, ..Failure::fatal("gap_timeout", "x") }));
    assert_eq!(bench.heard(), ["3 abort", "message 2", "failed gap_timeout Some(2)"]);
    assert_eq!(bench.answers(), [(2, "Hel".to_owned(), "abort".to_owned())]);
    bench.pass_ms(60_000);
    assert!(bench.calls.is_empty());
}

#[test]
fn an_end_without_a_terminal_chunk_or_without_any_chunk_is_a_visible_failure() {
    let mut bench = Bench::with_agent(NOW);
    bench.listen();
    let call = bench.ask();
    bench.say(&call, &FIRST);
    bench.end(&call, None);
    let heard = bench.heard();
    assert_eq!(heard.last().unwrap(), "failed answer_incomplete Some(2)");
    let call = bench.ask();
    bench.end(&call, None);
    assert_eq!(bench.heard().last().unwrap(), "failed answer_empty None");
    assert_eq!(bench.answers().len(), 1);
}

#[test]
fn an_error_chunk_is_shown_and_ends_the_run_by_name() {
    let mut bench = Bench::with_agent(NOW);
    bench.listen();
    let call = bench.ask();
    bench.say(&call, &FIRST);
    bench.heard();
    bench.say(&call, &[r#"{"type":"error","errorText":"no more"}"#, REST[0]]);
    assert_eq!(bench.heard(), ["3 error", "4 abort", "message 2", "failed agent_error Some(2)"]);
    assert_eq!(bench.stopped, [call.run]);
    bench.end(&call, None);
    assert_eq!(bench.heard(), [""; 0]);
}

#[test]
fn deliveries_say_why_a_run_failed_whoever_ended_it() {
    let mut bench = Bench::with_agent(NOW);
    for lines in [&FIRST[..], &[], &[r#"{"type":"error","errorText":"no"}"#]] {
        let call = bench.ask();
        bench.say(&call, lines);
        bench.end(&call, None);
    }
    let call = bench.ask();
    bench.stop(None).unwrap();
    bench.end(&call, Some(Failure::fatal("stopped", "x")));
    let Reply::Deliveries(reports) = bench.call(Command::ReadDeliveries { agent_id: "bot".into() }).unwrap() else {
        panic!("another reply")
    };
    let reasons: Vec<&str> = reports.iter().map(|report| report.failure.as_ref().unwrap().0).collect();
    assert_eq!(reasons, ["stopped", "agent_error", "answer_empty", "answer_incomplete"]);
}

#[test]
fn a_call_that_this_server_has_no_room_for_is_no_attempt() {
    let mut bench = Bench::with_agent(NOW);
    let mut call = bench.ask();
    for _ in 0..20 {
        let failure = Failure { is_retryable: true, is_ours: true, ..Failure::fatal("too_many_connections", "x") };
        bench.end(&call, Some(failure));
        bench.pass_ms(1_000);
        call = bench.called();
        assert_eq!(call.attempt, 1);
    }
}

#[test]
fn an_answer_that_lingers_behind_its_message_is_not_asked_for_again() {
    let mut bench = Bench::with_agent(NOW);
    bench.create(2, "alice");
    let call = bench.ask();
    bench.say(&call, &REST);
    let filler = "x".repeat(4096);
    for _ in 0..400 {
        bench.call(append(2, "bot", &filler)).unwrap();
        bench.pass_ms(10);
    }
    assert!(bench.disk.list().unwrap().iter().any(|file| file.name.ends_with(".snapshot")));
    bench.end(&call, None);
    bench.kill();
    bench.learn(NOW);
    bench.pass_ms(60_000);
    assert!(bench.calls.is_empty());
    assert_eq!(bench.answers().len(), 1);
}

#[test]
fn lines_that_are_no_chunks_are_dropped_and_counted_and_the_answer_goes_on() {
    let mut bench = Bench::with_agent(NOW);
    bench.listen();
    let call = bench.ask();
    bench.heard();
    bench.say(&call, &["garbage", "[1]", r#"{"no":"type"}"#, "7"]);
    assert_eq!(bench.heard(), [""; 0]);
    bench.say(&call, &REST);
    bench.end(&call, None);
    assert_eq!(bench.heard(), ["0 text-delta", "1 finish", "message 2", "finished 2"]);
    match bench.call(Command::ReadDeliveries { agent_id: "bot".into() }).unwrap() {
        Reply::Deliveries(reports) => {
            assert_eq!((reports[0].lines_dropped, reports[0].chunks, &reports[0].failure), (4, 2, &None));
        }
        other => panic!("unexpected {other:?}"),
    }
}

#[test]
fn one_response_may_hold_several_messages() {
    let mut bench = Bench::with_agent(NOW);
    bench.listen();
    let call = bench.ask();
    bench.heard();
    bench.say(&call, &[REST, REST].concat());
    bench.end(&call, None);
    assert_eq!(
        bench.heard(),
        ["0 text-delta", "1 finish", "2 text-delta", "3 finish", "message 2", "message 3", "finished 3"]
    );
}

#[test]
fn an_answer_of_endless_messages_is_ended() {
    let mut bench = Bench::with_agent(NOW);
    bench.listen();
    let call = bench.ask();
    bench.say(&call, &[REST[1]; RUN_MESSAGES_MAX + 5]);
    assert_eq!(bench.heard().last().unwrap(), &format!("failed answer_too_large Some({})", RUN_MESSAGES_MAX + 1));
    assert_eq!(bench.stopped, [call.run]);
}

#[test]
fn what_comes_in_the_middle_has_its_own_window() {
    let mut bench = Bench::with_agent(r#""debounce_window_ms":500,"debounce_max_wait_ms":1500"#);
    bench.append(1, "alice");
    bench.pass_ms(600);
    let call = bench.called();
    bench.pass_ms(60_000);
    bench.append(1, "alice");
    bench.say(&call, &REST);
    bench.end(&call, None);
    bench.pass_ms(300);
    assert!(bench.calls.is_empty(), "the user may go on");
    bench.append(1, "alice");
    bench.pass_ms(600);
    assert_eq!(Bench::called_seqs(&bench.called()).last(), Some(&4));
}

#[test]
fn stopping_keeps_what_was_produced_for_everybody() {
    let mut bench = Bench::with_agent(NOW);
    bench.listen();
    let call = bench.ask();
    bench.say(&call, &FIRST);
    bench.heard();
    assert_eq!(bench.stop(Some(call.run.next())), Err(Refusal::RunNotFound));
    let stranger = Command::StopRun { session: id(1), run: None, identity: Some("carol".into()) };
    assert_eq!(bench.call(stranger), Err(Refusal::Unauthorized));
    assert!(matches!(bench.stop(Some(call.run)), Ok(Reply::Run(event)) if event.run == call.run));
    assert_eq!(bench.stopped, [call.run]);
    assert_eq!(bench.heard(), ["3 abort", "message 2", "stopped Some(2)"]);
    bench.say(&call, &REST);
    bench.end(&call, None);
    assert_eq!(bench.heard(), [""; 0], "what a stopped agent still says is not heard");
    assert_eq!(bench.stop(None), Err(Refusal::RunNotFound));
}

#[test]
fn a_run_that_has_said_nothing_can_be_stopped_wherever_it_is() {
    let mut bench = Bench::with_agent(r#""debounce_window_ms":500"#);
    bench.append(1, "alice");
    assert!(matches!(bench.stop(None), Ok(Reply::Run(_))));
    bench.pass_ms(10_000);
    assert!(bench.calls.is_empty(), "stopped while it waited");
    bench.append(1, "alice");
    bench.pass_ms(600);
    let call = bench.called();
    bench.end(&call, Some(Failure::of_status(503, None)));
    assert!(matches!(bench.stop(Some(call.run)), Ok(Reply::Run(_))));
    bench.pass_ms(60_000);
    assert!(bench.calls.is_empty() && bench.answers().is_empty());
}

#[test]
fn a_client_that_resumes_is_given_what_it_has_not_seen_and_what_is_old() {
    let mut bench = Bench::with_agent(NOW);
    let resume = |bench: &mut Bench, resume| {
        let join =
            Command::Join { session: id(1), identity: "alice".into(), after_seq: 0, limit: 9, resume: Some(resume) };
        match bench.call(join).unwrap() {
            Reply::Joined { resumed, .. } => *resumed,
            other => panic!("unexpected {other:?}"),
        }
    };
    assert_eq!(resume(&mut bench, Resume::All).running, None);
    let call = bench.ask();
    bench.say(&call, &FIRST);
    let all = resume(&mut bench, Resume::All);
    assert_eq!((all.run, all.next_index), (call.run, 3));
    let running = all.running.unwrap();
    assert_eq!((running.state, running.first_index, running.chunks.len()), ("answering", 0, 3));
    let rest = resume(&mut bench, Resume::From { run: call.run, index: 2 }).running.unwrap();
    assert_eq!((rest.first_index, rest.chunks.len()), (2, 1));
    let other = resume(&mut bench, Resume::From { run: call.run.next(), index: 2 }).running.unwrap();
    assert_eq!(other.chunks.len(), 3);
    bench.say(&call, &REST);
    bench.end(&call, None);
    let after = resume(&mut bench, Resume::From { run: call.run, index: 3 });
    assert_eq!((after.running, after.run, after.next_index), (None, call.run, u32::MAX));
}

#[test]
fn a_full_table_of_calls_makes_further_runs_wait() {
    let mut bench = Bench::with_agent(NOW);
    bench.shard.runs.calls = CALLS_MAX;
    bench.append(1, "alice");
    bench.pass_ms(1_000);
    assert!(bench.calls.is_empty());
    bench.shard.runs.calls = 1;
    bench.shard.runs.leave_call();
    bench.pass_ms(10);
    bench.called();
}

#[test]
fn a_drain_begins_no_call_and_lets_the_one_under_way_end() {
    let mut bench = Bench::with_agent(NOW);
    bench.create(2, "alice");
    let call = bench.ask();
    bench.shard.hold_runs();
    bench.append(2, "alice");
    bench.say(&call, &REST);
    bench.end(&call, None);
    bench.pass_ms(10_000);
    assert!(bench.calls.is_empty());
    assert_eq!(bench.answers().len(), 1);
    bench.kill();
    bench.learn(NOW);
    bench.pass_ms(1_000);
    assert_eq!(bench.called().session, id(2), "the next life takes it up");
}

#[test]
fn deleting_a_session_ends_its_call() {
    let mut bench = Bench::with_agent(NOW);
    let call = bench.ask();
    bench.say(&call, &FIRST);
    bench.call(Command::DeleteSession { id: id(1) }).unwrap();
    assert_eq!(bench.stopped, [call.run]);
    bench.end(&call, None);
    assert_eq!((bench.shard.status().runs_open, bench.shard.status().runs_bytes), (0, 0));
}

#[test]
fn history_is_compacted_when_it_is_too_much_and_the_unanswered_stay_in_the_call() {
    let compaction = r#""compaction_enabled":true,"compaction_token_budget":10,"compaction_trigger_ratio":1,"compaction_webhook_url":"http://c""#;
    let mut bench = Bench::with_session();
    (0..9).for_each(|_| drop(bench.append(1, "alice")));
    bench.learn(&format!("{NOW},{compaction}"));
    let request = bench.ask();
    assert_eq!((request.kind, Bench::called_seqs(&request)), (CallKind::Compaction, (1..=9).collect::<Vec<_>>()));
    let body = br#"{"compacted":[{"role":"system","content":"so far"}]}"#.to_vec();
    bench.tell(&request, CallEvent::Ended(CallEnd { body, ..CallEnd::default() }));
    let call = bench.called();
    assert_eq!((call.kind, Bench::called_seqs(&call)), (CallKind::Answer, vec![10]));
    assert_eq!(Bench::body(&call)["compacted"][0]["content"], "so far");
    bench.say(&call, &REST);
    bench.end(&call, None);
    bench.kill();
    bench.learn(&format!("{NOW},{compaction}"));
    let call = bench.ask();
    assert_eq!((call.kind, Bench::called_seqs(&call)), (CallKind::Answer, vec![10, 11, 12]));
    assert_eq!(Bench::body(&call)["compacted"][0]["content"], "so far", "it survives a crash");
}

#[test]
fn a_compaction_that_fails_leaves_the_plain_window() {
    let compaction = r#""compaction_enabled":true,"compaction_token_budget":1,"compaction_webhook_url":"http://c""#;
    for failure in [Some(Failure::of_status(500, None)), None] {
        let mut bench = Bench::with_session();
        bench.append(1, "alice");
        bench.learn(&format!("{NOW},{compaction}"));
        let request = bench.ask();
        assert_eq!(request.kind, CallKind::Compaction);
        bench.tell(&request, CallEvent::Ended(CallEnd { failure, body: b"nonsense".to_vec(), ..CallEnd::default() }));
        bench.pass_ms(10);
        let call = bench.called();
        assert_eq!((call.kind, Bench::called_seqs(&call)), (CallKind::Answer, vec![1, 2]));
        assert_eq!(Bench::body(&call).get("compacted"), None);
    }
}
