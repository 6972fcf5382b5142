//! What clients were promised and what they saw; says what does not hold.

use crate::teams::is_answer_of;
use fleetlm::session::SessionId;
use fleetlm::shard::Page;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A message that a client wants to be there. Its text is its number, so it is known wherever it is seen.
#[derive(Clone, Debug)]
pub struct Op {
    pub session: usize,
    pub author: &'static str,
    pub keyed: bool,
    pub in_flight: bool,
    pub acked: Option<u64>,
    /// Nobody will try again: an append without a key whose answer was lost, or into a session that is being deleted.
    pub given_up: bool,
}

/// A session of the run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub id: SessionId,
    pub user: &'static str,
    /// Who answers.
    pub agent: &'static str,
    pub created: bool,
    pub archived: bool,
    /// Somebody has asked for its deletion.
    pub deleting: bool,
    pub deleted: bool,
    /// The highest cursor of its user that was acknowledged.
    pub marked: u64,
}

/// Everything that was seen.
#[derive(Default)]
pub struct Oracle {
    pub sessions: Vec<Plan>,
    pub ops: Vec<Op>,
    /// What anybody has seen of a session: text by seq.
    seen: HashMap<usize, BTreeMap<u64, usize>>,
    pub violations: Vec<String>,
}

/// A session as it is in the end.
pub struct Final {
    /// Op by seq, ascending.
    pub messages: Vec<(u64, usize)>,
    pub cursor: u64,
    /// `None`: not in the inbox.
    pub unread: Option<u64>,
    pub archived: bool,
}

/// Answers of agents are ops of their own, numbered from here by their seq: a session has no two at one.
pub const ANSWERS: usize = 1 << 40;

/// The messages of a page as its reader parses them.
pub fn messages_of(page: &Page) -> Vec<Value> {
    let joined = page.clone().into_messages();
    serde_json::from_slice(&[b"[", joined.as_slice(), b"]"].concat()).expect("a page is JSON")
}

/// Seq and op of a message as clients read it.
pub fn seq_and_op(message: &Value) -> (u64, usize) {
    let seq = message["seq"].as_u64().expect("every message has a seq");
    if message["kind"] == "assistant" {
        return (seq, ANSWERS + seq as usize);
    }
    let op = message["content"]["op"].as_u64().expect("every message of the simulation carries its op");
    (seq, op as usize)
}

impl Oracle {
    pub fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    /// Somebody sees a message. What is seen once must be there for ever.
    pub fn saw(&mut self, session: usize, message: &Value) {
        let (seq, op) = seq_and_op(message);
        let of_session = op >= ANSWERS || self.ops[op].session == session;
        if message["session_id"] != self.sessions[session].id.to_string() || !of_session {
            self.violation(format!("a message of another session was seen: {message}"));
        }
        let sender = message["sender_id"].as_str().unwrap_or_default();
        let is_its =
            if op >= ANSWERS { is_answer_of(&self.sessions[session], sender) } else { sender == self.ops[op].author };
        if !is_its {
            self.violation(format!("op {op} has another sender: {message}"));
        }
        let known = self.seen.entry(session).or_default().entry(seq).or_insert(op);
        if *known != op {
            let text = format!("session {session} seq {seq} was op {known} and is op {op}");
            self.violation(text);
        }
    }

    /// The last seq that anybody has seen of a session.
    pub fn last_seen(&self, session: usize) -> u64 {
        self.seen.get(&session).and_then(|seen| seen.keys().next_back().copied()).unwrap_or(0)
    }

    pub fn acked(&mut self, op: usize, seq: u64) {
        self.ops[op].in_flight = false;
        match self.ops[op].acked.replace(seq) {
            Some(before) if before != seq => {
                self.violation(format!("op {op} was acknowledged at {before} and at {seq}"))
            }
            _ => {}
        }
    }

    /// Compares the end of a session with all that was promised and seen of it.
    pub fn check(&mut self, session: usize, end: &Final) {
        let plan = self.sessions[session].clone();
        let mut found = Vec::new();
        if !end.messages.iter().map(|(seq, _)| *seq).eq(1..=end.messages.len() as u64) {
            found.push(format!("seqs are not contiguous: {:?}", end.messages));
        }
        let by_seq: BTreeMap<u64, usize> = end.messages.iter().copied().collect();
        let distinct: BTreeSet<usize> = by_seq.values().copied().collect();
        if distinct.len() != by_seq.len() {
            found.push(format!("an op is there twice: {:?}", end.messages));
        }
        for (op, state) in self.ops.iter().enumerate().filter(|(_, op)| op.session == session) {
            if let Some(seq) = state.acked
                && by_seq.get(&seq) != Some(&op)
            {
                found.push(format!("op {op} was acknowledged at {seq}, there is {:?}", by_seq.get(&seq)));
            }
        }
        for (seq, op) in self.seen.get(&session).into_iter().flatten() {
            if by_seq.get(seq) != Some(op) {
                found.push(format!("op {op} was seen at {seq}, there is {:?}", by_seq.get(seq)));
            }
        }
        if end.cursor < plan.marked {
            found.push(format!("the cursor was acknowledged at {} and is {}", plan.marked, end.cursor));
        }
        let by_others =
            |(seq, op): &&(u64, usize)| *seq > end.cursor && (*op >= ANSWERS || self.ops[*op].author != plan.user);
        let unread = end.messages.iter().filter(by_others).count() as u64;
        if end.unread != (!end.archived).then_some(unread) {
            found.push(format!("unread is {:?}, by brute force {unread}, archived: {}", end.unread, end.archived));
        }
        if plan.archived && !end.archived {
            found.push("it was archived and is not".to_owned());
        }
        self.violations.extend(found.into_iter().map(|what| format!("session {session}: {what}")));
    }
}
