//! The durable mark has passed: state changes, callers are answered, listeners are told, in the order of the log.

use super::answer::MessageRun;
use super::commit::{Effect, Facts, Pending};
use super::names::NameId;
use super::{Caller, Output, Push, Refusal, Reply, Shard, Standing};
use crate::session::{DirectoryNote, Json, SessionId};
use storage::{Key, Medium, Slot, Sync, Work};

/// Answers whoever asked, if anybody did.
pub(super) fn reply<S, W>(to: Caller, reply: Result<Reply, Refusal>, out: &mut Vec<Output<S, W>>) {
    if to.token != Caller::NOBODY {
        out.push(Output::Reply { to, reply });
    }
}

impl<M: Medium> Shard<M> {
    /// As [`Self::settle`], without the disk work: for what a sync has just made durable.
    pub fn release_now(&mut self, out: &mut Vec<Output<Sync<M>, Work<M>>>) {
        let said = out.len();
        self.release(out);
        self.keep_names_of_calls(&out[said..]);
    }

    /// Releases everything that is durable; when the log is poisoned, fails everything else.
    pub(super) fn release(&mut self, out: &mut Vec<Output<Sync<M>, Work<M>>>) {
        self.poisoned |= self.log.keep_promise().is_err();
        let durable = self.log.durable();
        while !self.poisoned
            && let Some(pending) = self.commits.pop_below(durable)
        {
            self.released = self.released.max(pending.lsn);
            let from = pending.from;
            let answer = self.take_effect(pending, out);
            if let Some(answer) = answer {
                reply(from, answer, out);
            }
        }
        if self.poisoned {
            self.fail_pending(out);
        }
    }

    /// Nothing more will become durable. State was never changed, so there is nothing to undo.
    fn fail_pending(&mut self, out: &mut Vec<Output<Sync<M>, Work<M>>>) {
        while let Some(pending) = self.commits.pop_lost() {
            reply(pending.from, Err(Refusal::LogPoisoned), out);
        }
        for slot in self.runs.slots() {
            self.abandon(slot, out);
        }
        if let Some(directory) = &mut self.directory {
            directory.forget_pending();
            self.keyring.forget_pending();
        }
    }

    /// Gives the answer that is still to be sent: of a message it is sent here, before the pushes.
    fn take_effect(
        &mut self,
        pending: Pending,
        out: &mut Vec<Output<Sync<M>, Work<M>>>,
    ) -> Option<Result<Reply, Refusal>> {
        let reply = match pending.effect {
            Effect::Message { slot, seq, json, sender, own, time_us, run, echo, spoken } => {
                self.commit_message(slot, sender, own, time_us);
                let owes = run == MessageRun::Owes;
                let asked = spoken.as_ref().is_some_and(|spoken| spoken.asked).then_some(owes);
                self.tell_message(pending.from, echo, asked, slot, seq, json, out);
                match run {
                    MessageRun::None => {}
                    MessageRun::Owes => self.user_spoke(slot, seq, spoken),
                    MessageRun::Answers(run) => self.answer_committed(slot, run, seq, out),
                }
                return None;
            }
            Effect::RunClosed { slot, run } => {
                self.run_closed(slot, run, out);
                return None;
            }
            Effect::Compacted { slot, compacted } => {
                self.commit_compaction(slot, compacted);
                return None;
            }
            Effect::Stopped(event) => Reply::Run(event),
            Effect::Created { slot, json } => {
                let log = &self.log;
                self.catalog.show(slot, |slot| SessionId::from(log.key(slot).0));
                self.push_inbox(slot, false, out);
                Reply::Session { json }
            }
            Effect::Archived { slot, facts, time_us } => self.commit_archive(slot, &facts, time_us, out),
            Effect::CursorMoved { slot, reader, last_seq, own_at, facts } => {
                self.commit_cursor(slot, reader, last_seq, own_at, out);
                self.cursors(slot, &facts?)
            }
            Effect::Marked { is_part: true } => Reply::DoneInPart,
            Effect::Marked { is_part: false } => Reply::Done,
            Effect::Renamed { slot, note, facts, time_us } => self.commit_rename(slot, note, &facts, time_us),
            Effect::Rated { slot, rating } => self.commit_rating(slot, rating),
            Effect::Deleted { slot, session } => self.commit_delete(slot, session, out),
            Effect::BlobClaimed { slot, claim } => self.commit_claim(slot, claim),
            Effect::BlobReleased { slot, released } => self.commit_release(slot, &released),
            Effect::AgentPut { time_us } => {
                out.push(self.commit_agent(pending.from, time_us));
                return None;
            }
            Effect::KeyPut => {
                out.push(self.commit_key(pending.from));
                return None;
            }
            Effect::Replayed { seq, json, asked } => self.replayed(seq, json, asked),
            Effect::Refused(refusal) => return Some(Err(refusal)),
        };
        Some(Ok(reply))
    }

    fn commit_cursor(
        &mut self,
        slot: Slot,
        reader: NameId,
        last_seq: u32,
        own_at: u32,
        out: &mut Vec<Output<Sync<M>, Work<M>>>,
    ) {
        let entry = self.catalog.entry_mut(slot).expect("a session with a pending note has an entry");
        let of_user = entry.user == reader;
        entry.move_cursor(reader, last_seq, own_at);
        if of_user {
            self.push_inbox(slot, false, out);
        }
    }

    fn replayed(&mut self, seq: u64, json: Option<Json>, asked: Option<Slot>) -> Reply {
        self.counters.replayed_total += 1;
        match asked {
            // It was committed just now, so it waits; a log that cannot be read now changes nothing about that.
            Some(slot) => {
                let standing = self.standing(slot, seq).unwrap_or(Standing::Waiting { run: None });
                self.asked(slot, seq, json, true, standing)
            }
            None => Reply::Appended { seq, json, replayed: true },
        }
    }

    /// Every shard is told before the answer leaves.
    fn commit_agent(&mut self, to: Caller, time_us: u64) -> Output<Sync<M>, Work<M>> {
        let directory = self.directory.as_mut().expect("only the directory's shard appends agents");
        let (json, note) = directory.commit(time_us);
        Output::Spread { to, reply: Reply::Agent { json }, note: Box::new(DirectoryNote::Agent(note)) }
    }

    /// The same: a key that was revoked opens nothing anywhere when its answer leaves.
    fn commit_key(&mut self, to: Caller) -> Output<Sync<M>, Work<M>> {
        let key = self.keyring.commit();
        Output::Spread { to, reply: Reply::Key(Box::new(key.clone())), note: Box::new(DirectoryNote::Key(key)) }
    }

    fn commit_message(&mut self, slot: Slot, sender: NameId, own: bool, time_us: u64) {
        let entry = self.catalog.entry_mut(slot).expect("a session with a pending message has an entry");
        entry.last_activity_us = time_us;
        entry.last_sender = sender;
        entry.own_total += u32::from(own);
    }

    /// The sender first, then everybody (contract 2.2). `asked`: the sender awaits an answer, and whether there will be one.
    #[allow(clippy::too_many_arguments)] // one message and how it is told
    fn tell_message(
        &self,
        from: Caller,
        echo: bool,
        asked: Option<bool>,
        slot: Slot,
        seq: u64,
        json: Json,
        out: &mut Vec<Output<Sync<M>, Work<M>>>,
    ) {
        let session = self.id_of(slot);
        if from.token != Caller::NOBODY {
            let json = echo.then(|| json.clone());
            let reply = match asked {
                Some(true) => self.asked(slot, seq, json, false, Standing::Waiting { run: None }),
                Some(false) => self.asked(slot, seq, json, false, Standing::Unanswered { partial: Vec::new() }),
                None => Reply::Appended { seq, json, replayed: false },
            };
            out.push(Output::Reply { to: from, reply: Ok(reply) });
        }
        // The last listener takes the message itself: nearly always the only one.
        if let Some((&last, others)) = self.tails.of(&slot).split_last() {
            let push = |to, json| Output::Push { to, push: Push::Message { session, seq, json } };
            out.extend(others.iter().map(|&to| push(to, json.clone())));
            out.push(push(last, json));
        }
        self.push_inbox(slot, false, out);
    }

    fn commit_archive(
        &mut self,
        slot: Slot,
        facts: &Facts,
        time_us: u64,
        out: &mut Vec<Output<Sync<M>, Work<M>>>,
    ) -> Reply {
        self.catalog.entry_mut(slot).expect("a session with a pending note has an entry").archive(time_us);
        self.push_inbox(slot, true, out);
        Reply::Session { json: self.session_json(slot, facts) }
    }

    fn commit_delete(&mut self, slot: Slot, session: SessionId, out: &mut Vec<Output<Sync<M>, Work<M>>>) -> Reply {
        self.push_inbox(slot, true, out);
        let tails = self.tails.take(&slot);
        out.extend(tails.into_iter().map(|to| Output::Push { to, push: Push::Closed { session } }));
        self.windows.forget(slot);
        let log = &self.log;
        self.catalog.remove(slot, |slot| SessionId::from(log.key(slot).0));
        self.log.forget(Key(session.to_u128()));
        self.mains.deleted(session);
        Reply::Done
    }
}
