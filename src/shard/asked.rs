//! How a message stands that owes an answer: waiting, answered, or neither.
//!
//! A message's answer is what a run has said that covers it: each message of a run says which messages that run answers, from the first to
//! the last ([`RunSpan`]). Runs follow each other, so behind the first message of a later run nothing is said to it any more. A member of a team
//! answers nothing alone: what members have said without the team's own message behind it is what a run that failed has left.
//!
//! What is told is committed: a message of an answer that is not yet durable is not there, its run is still under way.

use super::append::stored_json;
use super::park::Walk;
use super::runs::Phase;
use super::{Asked, Outcome, Reply, Shard, Standing, Stop};
use crate::limits::ANSWER_WITHIN;
use crate::session::{Json, MessageMeta, RunPart, RunSpan, SessionId};
use storage::{Log, Medium, Record, Slot};

impl<M: Medium> Shard<M> {
    pub(super) fn read_answer(&mut self, id: SessionId, seq: u64) -> Result<Outcome, Stop> {
        let slot = self.readable(id)?;
        Ok(Outcome::Reply(Reply::Standing(Box::new(self.standing(slot, seq)?))))
    }

    /// The answer to an append that is watched.
    pub(super) fn asked(&self, slot: Slot, seq: u64, json: Option<Json>, replayed: bool, standing: Standing) -> Reply {
        let entry = self.catalog.entry(slot).expect("a session whose message is committed has an entry");
        let (session, agent) = (self.id_of(slot), self.agent_name(entry.agent));
        let team = self.asked_team(entry.agent);
        Reply::Asked(Box::new(Asked { session, seq, json, replayed, agent, team, standing }))
    }

    /// How message `seq` stands.
    pub(super) fn standing(&mut self, slot: Slot, seq: u64) -> Result<Standing, Stop> {
        if let Some(waiting) = self.awaited(slot, seq) {
            return Ok(waiting);
        }
        let looked = match self.parked.take_walk() {
            Some(Walk::Answer { seq: of, looked }) if of == seq => looked,
            _ => seq,
        };
        let mut search = Search::new(seq, looked);
        let standing = search.go(&self.log, slot, self.committed_seq(slot));
        if standing.is_err() {
            self.parked.keep_walk(Walk::Answer { seq, looked: search.looked });
        }
        standing
    }

    /// The run that is to answer message `seq`, if one is.
    fn awaited(&self, slot: Slot, seq: u64) -> Option<Standing> {
        let run = self.runs.of(slot)?;
        match &run.phase {
            Phase::Calling(answering) if run.first_seq <= seq && seq <= answering.upto_seq => {
                Some(Standing::Waiting { run: Some((answering.attempt.run, answering.next_index())) })
            }
            Phase::Team(team) if run.first_seq <= seq && seq <= team.upto_seq => {
                Some(Standing::Waiting { run: Some((team.attempt.run, team.next_index)) })
            }
            Phase::Recovered(open) if run.first_seq <= seq && seq <= open.upto_seq => {
                Some(Standing::Waiting { run: Some((open.run, open.next_index)) })
            }
            Phase::Closing(closing) if run.first_seq <= seq && seq <= closing.upto_seq => {
                Some(Standing::Waiting { run: None })
            }
            Phase::Preparing(Some(attempt)) | Phase::Compacting(attempt, _) | Phase::Retrying(attempt)
                if run.first_seq <= seq && seq <= run.target_seq =>
            {
                Some(Standing::Waiting { run: Some((attempt.run, 0)) })
            }
            _ if run.first_seq <= seq && seq <= run.target_seq => Some(Standing::Waiting { run: None }),
            _ => None,
        }
    }
}

/// The walk over the messages behind a question, up to its answer.
struct Search {
    seq: u64,
    /// Up to here nothing has to do with the question.
    looked: u64,
    /// What the run answers of which these messages are.
    span: Option<RunSpan>,
    messages: Vec<Json>,
    /// One of them is the answer, not a part of one that may never have come.
    is_settled: bool,
}

impl Search {
    fn new(seq: u64, looked: u64) -> Self {
        Self { seq, looked, span: None, messages: Vec::new(), is_settled: false }
    }

    /// Walks up to `last_seq`, and no further than the bound.
    fn go<M: Medium>(&mut self, log: &Log<M>, slot: Slot, last_seq: u64) -> Result<Standing, Stop> {
        let mut reader = log.reader();
        let (mut at, mut block) = (self.looked, Vec::new());
        let mut upto = last_seq.min(self.seq + ANSWER_WITHIN);
        while at < upto {
            if block.is_empty() {
                reader.walk_block(slot, at, upto, &mut block)?;
            }
            let Some(lsn) = block.pop() else { break };
            let is_found = self.span.is_some();
            if !self.take(&log.read(lsn)?) {
                return Ok(self.end(true));
            }
            at += 1;
            match self.span {
                None => self.looked = at,
                Some(_) if !is_found => upto = last_seq.min(at + ANSWER_WITHIN),
                Some(_) => {}
            }
        }
        Ok(self.end(at >= last_seq))
    }

    /// Takes in the next message. False: behind it nothing is said to the question.
    fn take(&mut self, record: &Record<'_>) -> bool {
        let part = MessageMeta::decode(record.flags, record.meta).map_or(RunPart::None, |meta| meta.run);
        let Some(span) = part.span() else { return true };
        let is_same_run = self.span.is_some_and(|known| known.upto_seq == span.upto_seq);
        if !is_same_run && (!span.covers(self.seq) || self.is_settled) {
            // A run of earlier messages may still have been speaking when the question came.
            return u64::from(span.upto_seq) < self.seq;
        }
        if !is_same_run {
            self.messages.clear(); // what a crash has cut off another run has answered
            self.span = Some(span);
        }
        self.is_settled |= matches!(part, RunPart::Answers(_));
        self.messages.push(stored_json(record.payload));
        true
    }

    /// How the question stands. `is_whole`: everything that could be its answer was looked at.
    fn end(&mut self, is_whole: bool) -> Standing {
        let messages = std::mem::take(&mut self.messages);
        match (self.is_settled, is_whole) {
            (true, _) => Standing::Answered { messages },
            (false, true) => Standing::Unanswered { partial: messages },
            (false, false) => Standing::Unknown,
        }
    }
}
