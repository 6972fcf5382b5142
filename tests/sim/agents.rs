//! Agents: what is called, what it answers, what goes wrong on the way. And what of it every session must show in the end.
//!
//! An agent says the name of its run and then counts, so that a text tells which run made it, and how far it came.

use crate::oracle::Plan;
use crate::teams::{Closed, TEAM, closed_of, is_part};
use crate::world::{Bug, Event, World};
use fleetlm::agent::Failure;
use fleetlm::session::{AgentConfig, AgentPut, DirectoryNote, Json, RunId, SessionId};
use fleetlm::shard::*;
use serde_json::Value;
use std::collections::HashSet;

/// The calls of a life.
#[derive(Default)]
pub struct Calls {
    /// Under way.
    open: HashSet<(SessionId, RunId, u16, u32)>,
}

/// The agent of every session, as it is registered.
fn registration(on_crash: &str) -> AgentPut {
    let fields = format!(
        r#"{{"id":"bot","name":"Bot","origin_url":"http://bot","debounce_window_ms":20,"debounce_max_wait_ms":60,"on_crash":"{on_crash}"}}"#
    );
    let agent = AgentConfig::create(&Json::parse(&fields).expect("it is JSON"), 1).expect("it passes every rule");
    AgentPut { former_id: None, agent }
}

impl World {
    /// Tells every shard of the agent, before anybody is served.
    pub fn register_agent(&mut self) {
        self.calls.open.clear();
        let on_crash = if self.random.chance(50) { "abort" } else { "retry" };
        let mut all = self.team_registrations();
        all.push(DirectoryNote::Agent(registration(on_crash)));
        for shard in 0..self.shards() {
            let command = Command::Learn { notes: all.clone(), complete: true };
            let from = Caller { shard: ShardId(shard), token: Caller::NOBODY };
            self.step(ShardId(shard), Input::Call { from, access: None, command });
        }
    }

    /// An agent is called: decides what it will say, and when.
    pub fn call_agent(&mut self, shard: ShardId, call: &Call) {
        let body: Value = serde_json::from_slice(&call.body).expect("a call's body is JSON");
        self.check_call(call, &body);
        if !self.calls.open.insert((call.session, call.run, call.voice, call.attempt)) {
            self.oracle.violation(format!("call {} {} was begun twice", call.run, call.attempt));
        }
        self.summary.calls += 1;
        let mut at_us = self.random.delay_us(5_000);
        let fails = self.random.chance(if self.settling { 2 } else { 15 });
        if fails && self.random.chance(60) {
            let failure = Failure::of_status(if self.random.chance(70) { 503 } else { 404 }, None);
            return self.end_call(shard, call, at_us, Some(failure));
        }
        let (said, count) = (self.random.below(6), 6);
        let failure = fails.then(|| Failure { is_retryable: true, ..Failure::fatal("network", "planned") });
        // Some answers hold two messages, the second under a name of its own.
        let second = if self.bug == Some(Bug::AnswerTwice) { Some("") } else { self.random.chance(15).then_some("/2") }
            .filter(|_| !fails);
        for part in std::iter::once("").chain(second) {
            self.say(shard, call, at_us, format!(r#"{{"type":"text-delta","id":"0","delta":"{}{part} "}}"#, call.run));
            for n in 0..if fails { said } else { count } {
                at_us += self.random.delay_us(3_000);
                self.say(shard, call, at_us, format!(r#"{{"type":"text-delta","id":"0","delta":"{n} "}}"#));
            }
            at_us += self.random.delay_us(1_000);
            if failure.is_none() {
                self.say(shard, call, at_us, r#"{"type":"finish"}"#.to_owned());
            }
        }
        // Some linger before they end what is complete.
        at_us += if self.random.chance(30) { self.random.below(400_000) } else { 0 };
        self.end_call(shard, call, at_us + 1, failure);
    }

    fn say(&mut self, shard: ShardId, call: &Call, at_us: u64, line: String) {
        self.called_event(shard, call, at_us, CallEvent::Lines(vec![line]));
    }

    fn end_call(&mut self, shard: ShardId, call: &Call, at_us: u64, failure: Option<Failure>) {
        self.called_event(shard, call, at_us, CallEvent::Ended(CallEnd { failure, ..CallEnd::default() }));
    }

    fn called_event(&mut self, shard: ShardId, call: &Call, at_us: u64, event: CallEvent) {
        let Call { session, run, voice, attempt, .. } = *call;
        self.at(at_us, Event::Called { shard, session, run, voice, attempt, event });
    }

    /// What a call has come to reaches its shard; the driver says nothing more of a call that was stopped but its end.
    pub fn hear_agent(
        &mut self,
        shard: ShardId,
        session: SessionId,
        run: RunId,
        voice: u16,
        attempt: u32,
        event: CallEvent,
    ) {
        if matches!(event, CallEvent::Ended(_)) {
            self.calls.open.remove(&(session, run, voice, attempt));
        }
        self.step(shard, Input::Called { session, run, voice, attempt, event });
    }

    /// A call that is stopped says nothing more but that it has ended.
    pub fn stop_call(&mut self, session: SessionId, run: RunId, voice: u16) {
        self.calls.open.retain(|(other, of, who, _)| (*other, *of, *who) != (session, run, voice));
        self.drop_lines(session, run, voice);
    }

    /// A call carries the session's messages up to one of its user, and nothing of another session.
    fn check_call(&mut self, call: &Call, body: &Value) {
        let seqs: Vec<u64> =
            body["messages"].as_array().into_iter().flatten().filter_map(|message| message["seq"].as_u64()).collect();
        let last = seqs.last().copied().unwrap_or(0);
        if last == 0 || !seqs.iter().copied().eq(last + 1 - seqs.len() as u64..=last) {
            self.oracle.violation(format!("call {} carries {seqs:?}", call.run));
        }
        if body["session_id"] != call.session.to_string() {
            self.oracle.violation(format!("call {} carries another session", call.run));
        }
    }

    /// Whether every run has come to its end.
    pub fn runs_are_over(&self) -> bool {
        self.all_shards().iter().all(|shard| shard.status().runs_open == 0)
    }

    /// What a session shows of its runs in the end: every answer is its run's own, whole unless it says otherwise; no message
    /// is answered twice.
    pub fn check_answers(&mut self, session: usize, messages: &[Value]) {
        if self.oracle.sessions[session].agent == TEAM {
            return self.check_team_answers(session, messages);
        }
        let mut found = Vec::new();
        let mut answered = 0;
        for message in messages.iter().filter(|message| message["kind"] == "assistant") {
            let metadata = &message["metadata"];
            let text = message["content"]["parts"][0]["text"].as_str().unwrap_or_default();
            let (run, reply_to) = (metadata["run_id"].as_str().unwrap_or_default(), metadata["reply_to"].as_u64());
            let reply_to = reply_to.unwrap_or(0);
            let words: Vec<&str> = text.split_whitespace().collect();
            let is_second = words.first() == Some(&format!("{run}/2").as_str()) && reply_to == answered;
            if !is_second && reply_to <= answered || reply_to >= message["seq"].as_u64().unwrap_or(0) {
                found
                    .push(format!("the answer at {} is to {reply_to}, {answered} was answered before", message["seq"]));
            }
            answered = answered.max(reply_to);
            let counted = words.iter().skip(1).enumerate().all(|(n, word)| *word == n.to_string());
            if !is_second && words.first() != Some(&run) || !counted {
                found.push(format!("run {run} has the text {text:?}"));
            }
            let is_whole = words.len() == 7;
            if metadata["termination"] == "finish" && !is_whole {
                found.push(format!("run {run} ends with {} and says {text:?}", metadata["termination"]));
            }
        }
        self.oracle.violations.extend(found.into_iter().map(|what| format!("session {session}: {what}")));
    }

    /// Of the messages that waited for an answer, every one that no answer covers must have a run that was closed: clients were
    /// told that it failed.
    pub fn check_unanswered(&mut self, session: usize, messages: &[Value], closed: &Closed) {
        let Plan { user, id, .. } = self.oracle.sessions[session].clone();
        let settled = messages.iter().filter(|message| !is_part(message));
        let answered = settled.filter_map(|message| message["metadata"]["reply_to"].as_u64()).max();
        let asked = messages.iter().filter(|message| message["sender_id"] == user);
        let Some(last) = asked.filter_map(|message| message["seq"].as_u64()).max() else { return };
        if answered.is_some_and(|answered| answered >= last) {
            return;
        }
        if closed_of(closed, id).into_iter().max().unwrap_or(0) < last {
            self.oracle.violation(format!("session {session}: message {last} has no answer and its run did not fail"));
        }
    }

    /// Whether chunks come to a tail in the order of their run, none twice, none left out.
    pub fn check_chunk(&mut self, tail: usize, place: ChunkPlace) {
        let next = &mut self.clients.tails[tail].next_chunk;
        let fits = match *next {
            None => true,
            Some((run, index)) if run == place.run => index == place.index,
            Some((run, _)) => place.run > run && place.index == 0,
        };
        *next = Some((place.run, place.index + 1));
        self.summary.chunks += 1;
        if !fits && self.bug != Some(Bug::DropPushSilently) {
            self.oracle.violation(format!("tail {tail} hears chunk {place:?}, which does not follow"));
        }
    }
}
