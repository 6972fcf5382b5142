//! How a message stands that owes an answer: waiting, answered, or neither.
//!
//! What is told is committed: a message of an answer that is not yet durable is not there, its run is still under way.

use super::append::stored_json;
use super::runs::Phase;
use super::{Asked, Outcome, Reply, Shard, Standing, Stop};
use crate::limits::RUN_MESSAGES_MAX;
use crate::session::{Json, MessageMeta, RunPart, SessionId};
use storage::{Medium, Slot};

/// Messages behind a question among which its answer is looked for: the longest, with as much again said beside it.
const ANSWER_WITHIN: u64 = 2 * RUN_MESSAGES_MAX as u64;

impl<M: Medium> Shard<M> {
    pub(super) fn read_answer(&self, id: SessionId, seq: u64) -> Result<Outcome, Stop> {
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
    pub(super) fn standing(&self, slot: Slot, seq: u64) -> Result<Standing, Stop> {
        if let Some(waiting) = self.awaited(slot, seq) {
            return Ok(waiting);
        }
        let mut messages = Vec::new();
        let mut answered = None;
        for at in seq + 1..=self.committed_seq(slot).min(seq + ANSWER_WITHIN) {
            let record = self.log.read(self.log.find(slot, at)?)?;
            let part = MessageMeta::decode(record.flags, record.meta).map_or(RunPart::None, |meta| meta.run);
            let (RunPart::Answers(upto) | RunPart::Part(upto)) = part else { continue };
            // Of two runs that cover it the first is its answer.
            if u64::from(upto) >= seq && *answered.get_or_insert(upto) == upto {
                messages.push(stored_json(record.payload));
            }
        }
        Ok(if messages.is_empty() { Standing::Unanswered } else { Standing::Answered { messages } })
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
