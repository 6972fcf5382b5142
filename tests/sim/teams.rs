//! Sessions whose agent is a team: how it is registered, and what its sessions must show in the end. And, of every session, whose answer a
//! retry of a question is told.

use crate::oracle::{Op, Plan};
use crate::world::{Bug, World};
use fleetlm::session::{AgentConfig, AgentPut, DirectoryNote, Json, RunNote, SessionId, kind};
use fleetlm::shard::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use storage::{Medium, View};

/// The agent that is a team.
pub const TEAM: &str = "team";
const MEMBERS: [&str; 2] = ["ann", "ben"];
const MODES: [&str; 6] = ["auto", "round_robin", "parallel", "debate", "brainstorm", "expert"];

/// Up to which messages runs have given up, by session.
pub type Closed = BTreeMap<u128, Vec<u64>>;

/// An agent of this session may have sent a message of this sender.
pub fn is_answer_of(plan: &Plan, sender: &str) -> bool {
    if plan.agent == TEAM { sender == TEAM || MEMBERS.contains(&sender) } else { sender == plan.agent }
}

impl World {
    /// The team and its members, as they are registered in this life: the mode is another one in each.
    pub fn team_registrations(&mut self) -> Vec<DirectoryNote> {
        let mode = MODES[self.random.below(6) as usize];
        let summarizer = if self.random.chance(50) { r#","summarizer":"ben""# } else { "" };
        let team = format!(
            r#"{{"id":"{TEAM}","name":"Team","debounce_window_ms":20,"debounce_max_wait_ms":60,"team":{{"members":["ann","ben"],"mode":"{mode}","rounds":2{summarizer}}}}}"#
        );
        let member = |id| format!(r#"{{"id":"{id}","name":"{id}","origin_url":"http://{id}"}}"#);
        let put = |fields: String| {
            let agent = AgentConfig::create(&Json::parse(&fields).expect("it is JSON"), 1);
            DirectoryNote::Agent(AgentPut { former_id: None, agent: agent.expect("it passes every rule") })
        };
        MEMBERS.into_iter().map(member).chain([team]).map(put).collect()
    }

    /// What a team's session shows of its runs in the end: every message of a member is its run's own; nobody who has answered in a turn was
    /// called again; the team sums up once, behind all that is said to the question.
    pub fn check_team_answers(&mut self, session: usize, messages: &[Value]) {
        let mut found = Vec::new();
        let (mut summed_up, mut summary, mut last) = (0, "", 0);
        let mut turns: BTreeMap<(u64, &str, u64), &str> = BTreeMap::new();
        for message in messages.iter().filter(|message| message["kind"] == "assistant") {
            let metadata = &message["metadata"];
            let (run, sender) = (text(&metadata["run_id"]), text(&message["sender_id"]));
            let reply_to = metadata["reply_to"].as_u64().unwrap_or(0);
            let is_second = sender == TEAM && run == summary; // a summary of two messages
            if reply_to <= summed_up && !is_second
                || reply_to < last
                || reply_to >= message["seq"].as_u64().unwrap_or(0)
            {
                found.push(format!("{sender} says at {} something to {reply_to}, after {summed_up}", message["seq"]));
            }
            last = reply_to;
            if sender == TEAM {
                let is_cut_off = metadata["termination"] == "abort";
                (summed_up, summary) = (reply_to, run);
                self.summary.team_answers += u64::from(!is_cut_off);
                continue;
            }
            let turn = (reply_to, sender, metadata["round"].as_u64().unwrap_or(0));
            let known = *turns.entry(turn).or_insert(run);
            if known != run {
                found.push(format!("{turn:?} was answered by {known} and by {run}"));
            }
            let said = message["content"]["parts"][0]["text"].as_str().unwrap_or_default();
            let words: Vec<&str> = said.split_whitespace().collect();
            let is_its = words.first().is_some_and(|first| *first == run || *first == format!("{run}/2"));
            let counted = words.iter().skip(1).enumerate().all(|(n, word)| *word == n.to_string());
            if !is_its || !counted || metadata["termination"] == "finish" && words.len() != 7 {
                found.push(format!("run {run} ends with {} and says {said:?}", metadata["termination"]));
            }
        }
        self.oracle.violations.extend(found.into_iter().map(|what| format!("session {session}: {what}")));
    }

    /// Every message that was acknowledged under a key is found again under it, where it was. Of a question a retry is told the answer of its
    /// own run: not that of a later one when its own has failed.
    pub fn check_retries(&mut self, session: usize, messages: &[Value], closed: &Closed) {
        if self.bug == Some(Bug::ForgetKeys) {
            return; // what was appended without its key is not found under it
        }
        let (owner, id) = (self.owner(self.oracle.sessions[session].id), self.oracle.sessions[session].id);
        let is_retried = |op: &&(usize, Op)| op.1.session == session && op.1.keyed && op.1.acked.is_some();
        let ops: Vec<(usize, Op)> = self.oracle.ops.iter().cloned().enumerate().collect();
        for (n, op) in ops.iter().filter(is_retried) {
            let mut append = self.append_of(*n);
            append.terms = Some(Box::new(Terms { watch: true, ..Terms::default() }));
            let seq = op.acked.expect("only those are looked at");
            match self.ask(owner, Command::Append(Box::new(append))) {
                Ok(Reply::Asked(asked)) if asked.replayed && asked.seq == seq => {
                    if op.author == self.oracle.sessions[session].user {
                        self.check_standing(session, seq, &asked.standing, messages, &closed_of(closed, id));
                    }
                }
                other => self.oracle.violation(format!("a retry of op {n}, which is at {seq}, is answered {other:?}")),
            }
        }
    }

    fn check_standing(&mut self, session: usize, seq: u64, standing: &Standing, all: &[Value], closed: &[u64]) {
        self.summary.standings += 1;
        let (messages, is_answered) = match standing {
            Standing::Answered { messages } => (messages, true),
            Standing::Unanswered { partial } => (partial, false),
            other => return self.oracle.violation(format!("session {session}: question {seq} stands {other:?}")),
        };
        let told: Vec<Value> = messages.iter().map(|json| serde_json::from_str(json.as_str()).expect("JSON")).collect();
        let spans: BTreeSet<u64> = told.iter().filter_map(|told| told["metadata"]["reply_to"].as_u64()).collect();
        let given_up = closed.iter().copied().filter(|upto| *upto >= seq).min();
        let expected: Vec<&Value> =
            all.iter().filter(|m| spans.contains(&m["metadata"]["reply_to"].as_u64().unwrap_or(0))).collect();
        let upto = spans.first().copied();
        let is_own = spans.len() <= 1 && upto.is_none_or(|upto| upto >= seq) && told.iter().eq(expected);
        let is_right = match is_answered {
            true => upto.is_some_and(|upto| given_up.is_none_or(|given_up| given_up >= upto)),
            // A message that nobody had to answer, or whose run was closed.
            false => given_up.is_some() || !all.iter().any(|m| m["metadata"]["reply_to"] == seq && !is_part(m)),
        };
        if !is_own || !is_right {
            let text = format!("session {session}: question {seq} is told {told:?}, given up at {given_up:?}");
            self.oracle.violation(text);
        }
    }

    /// Looked up in the log itself, by the reader that `fleetlm check` uses.
    pub fn closed_runs(&self) -> Closed {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        for file in self.disk.list().expect("a disk in memory can be listed") {
            let view = self.disk.view(&file.name).expect("a listed file can be read");
            std::fs::write(folder.path().join(&file.name), view.bytes()).expect("there is room for a file");
        }
        let mut closed = Closed::new();
        let records = storage::check::scan(folder.path()).expect("the folder can be read").filter_map(Result::ok);
        for record in records.filter(|record| record.kind.0 == kind::RUN_CLOSED) {
            let note = RunNote::parse(&record.payload);
            closed.entry(record.key.0).or_default().extend(note.map(|note| note.upto_seq));
        }
        closed
    }
}

/// Up to which messages runs of a session have given up.
pub fn closed_of(closed: &Closed, session: SessionId) -> Vec<u64> {
    closed.get(&session.to_u128()).cloned().unwrap_or_default()
}

/// Whether a message is what a member of a team has said: alone it answers nothing.
pub fn is_part(message: &Value) -> bool {
    MEMBERS.contains(&text(&message["sender_id"]))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
