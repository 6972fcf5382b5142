//! A run of a team: the plan says who speaks, the members are called, what they say is appended as theirs, and the plan is made again,
//! until the team's own message sums up.
//!
//! Invariants: only the team's own message, or the note of a run that failed or was stopped, settles the question; what members say
//! before it is a part. So a crash at any step leaves the question owed: the next life reads from the log what was said, under a new
//! run, and nobody who has answered is called again. A digest is made of the same messages in the same order, so it says the same again.
//!
//! Not here: the plan's rules (`agent::team`), a single call (`voices`).

use super::answer::with_fields;
use super::call::{Call, CallKind, RunStatus};
use super::dispatch::AGAIN_US;
use super::kept::Kept;
use super::runs::{Attempt, Ending, Phase};
use super::voices::{Part, TeamRun, Turn, Uncommitted, Voice, VoiceState};
use super::{Now, Out, Output, Refusal, Shard, Stop};
use crate::agent::{
    Answer, Assembler, Candidate, Invocation, Member, Plan, Said, Sees, Stance, Termination, digest, plan, resolve,
    text_of,
};
use crate::limits::{CALLS_MAX, PARKED_US_MAX};
use crate::session::{
    AgentConfig, Json, MessageId, MessageMeta, RunNote, RunPart, RunSpan, Sender, TeamMode, kind, scoped,
};
use serde_json::{Value, json};
use std::collections::VecDeque;
use storage::{Medium, Slot};

/// Why a team fails of which nobody was even called.
const NOBODY: (&str, &str) = ("team_empty", "no member of the team can be called");

/// What an earlier life has left of a run.
#[derive(Debug, Default)]
struct Earlier {
    /// The last message that it answers, 0 when there was none.
    upto_seq: u64,
    mode: Option<TeamMode>,
    turns: Vec<Turn>,
}

impl<M: Medium> Shard<M> {
    /// The team whose run is to go on or begin at `slot`. `None`: the session's agent is none.
    pub(super) fn team_to_run(&self, slot: Slot) -> Option<Box<AgentConfig>> {
        match &self.runs.of(slot)?.phase {
            Phase::Team(team) => Some(team.team.clone()),
            Phase::Calling(_) | Phase::Compacting(..) | Phase::Closing(_) => None,
            Phase::Waiting | Phase::Recovered(_) | Phase::Preparing(_) | Phase::Retrying(_) => {
                let agent = self.catalog.entry(slot)?.agent;
                let agent = self.roster.agent(&self.catalog.names, agent)?;
                (agent.enabled() && agent.profile.team.is_some()).then(|| Box::new(agent.clone()))
            }
        }
    }

    /// Takes the next step of a team's run, which is due.
    pub(super) fn dispatch_team(
        &mut self,
        now: Now,
        slot: Slot,
        team: Box<AgentConfig>,
        out: &mut Out<M>,
    ) -> Result<(), Stop> {
        // If this command is lost on the way (its wait for the disk may time out), the timer makes another.
        self.runs.set_timer(slot, Some(now.mono_us + PARKED_US_MAX + AGAIN_US));
        if self.runs.team_at(slot).is_none() && !self.begin_team(now, slot, team, out)? {
            return Ok(());
        }
        if self.runs.team_at(slot).is_some_and(|team| team.is_settled() && team.ending.is_none()) {
            self.plan_step(slot, out)?;
        }
        self.call_voices(now, slot, out)?;
        self.rearm_team(slot);
        Ok(())
    }

    /// Opens the run. False: there is nothing to answer.
    fn begin_team(&mut self, now: Now, slot: Slot, team: Box<AgentConfig>, out: &mut Out<M>) -> Result<bool, Stop> {
        let run = self.runs.of(slot).expect("a session that is dispatched stands here");
        let (first_seq, target_seq) = (run.first_seq, run.target_seq);
        if target_seq == 0 {
            drop(self.runs.remove(slot)); // of what a crash has cut off nothing is owed
            return Ok(false);
        }
        // Within one life nothing of an earlier run stands behind the first message that waits.
        let is_recovered = matches!(run.phase, Phase::Recovered(_));
        let earlier = if is_recovered { self.earlier_parts(slot, first_seq)? } else { Earlier::default() };
        let upto_seq = if earlier.upto_seq > 0 { earlier.upto_seq } else { target_seq };
        let question = self.message_value(slot, upto_seq)?;
        let attempt = match &self.runs.of(slot).expect("it stood here above").phase {
            Phase::Preparing(Some(attempt)) | Phase::Retrying(attempt) => Some(*attempt),
            _ => None,
        };
        let attempt = Attempt { attempt: 1, ..attempt.unwrap_or_else(|| self.new_attempt(now)) };
        let note = RunNote::new(attempt.run, upto_seq, None);
        self.append_note(now, self.id_of(slot), kind::RUN_OPENED, 0, &note.render())?;
        let asked = question["metadata"]["team_mode"].as_str().and_then(TeamMode::parse);
        let spec_mode = team.profile.team.as_ref().map_or(TeamMode::default(), |spec| spec.mode);
        let question = text_of(&question["content"]);
        let mode = earlier.mode.unwrap_or_else(|| {
            let abouts = self.abouts(&team);
            resolve(asked.unwrap_or(spec_mode), &question, &members_of(&abouts))
        });
        let run = TeamRun {
            attempt,
            team,
            mode,
            question,
            upto_seq,
            voices: Vec::new(),
            voices_total: 0,
            next_index: 0,
            kept: Kept::default(),
            turns: earlier.turns,
            no_summary: false,
            uncommitted: VecDeque::new(),
            last_seq: 0,
            summary_seq: 0,
            ending: None,
            failure: None,
        };
        self.runs.enter(slot, Phase::Team(Box::new(run)));
        let session = self.runs.of_mut(slot).expect("it was just entered");
        session.is_hurried = false; // what hurried it is under way
        if session.first_us == 0 {
            (session.first_us, session.spoke_us) = (now.mono_us, now.mono_us); // it comes from an earlier life
        }
        self.runs.totals.recovered += u64::from(is_recovered);
        self.runs.totals.started += 1;
        self.tell_run(slot, attempt, upto_seq, RunStatus::Started, out);
        Ok(true)
    }

    /// What members have said in a run that has not ended, to messages from `first_seq` on.
    fn earlier_parts(&self, slot: Slot, first_seq: u64) -> Result<Earlier, Stop> {
        let mut earlier = Earlier::default();
        for seq in first_seq + 1..=self.committed_seq(slot) {
            let record = self.log.read(self.log.find(slot, seq)?)?;
            let Some(meta) = MessageMeta::decode(record.flags, record.meta) else { continue };
            let (RunPart::Part(RunSpan { upto_seq, .. }), Sender::Other(member)) = (meta.run, meta.sender) else {
                continue;
            };
            if u64::from(upto_seq) < first_seq {
                continue;
            }
            let message: Value = serde_json::from_slice(record.payload).unwrap_or_default();
            let round = message["metadata"]["round"].as_u64().and_then(|round| u32::try_from(round).ok());
            earlier.upto_seq = u64::from(upto_seq);
            earlier.mode = message["metadata"]["mode"].as_str().and_then(TeamMode::parse).or(earlier.mode);
            earlier.turns.push(Turn { member: member.to_owned(), round: round.unwrap_or(1), seq: Some(seq) });
        }
        Ok(earlier)
    }

    fn message_value(&self, slot: Slot, seq: u64) -> Result<Value, Stop> {
        let record = self.log.read(self.log.find(slot, seq)?)?;
        Ok(serde_json::from_slice(record.payload).unwrap_or_default())
    }

    /// Who of the team can be called now, and what each is for.
    fn abouts(&self, team: &AgentConfig) -> Vec<(String, Candidate)> {
        let members = self.roster.members(&self.catalog.names, team);
        let about = |agent: &&AgentConfig| {
            let description = agent.profile.description.as_deref().unwrap_or_default();
            (agent.id().to_owned(), Candidate::new(agent.name(), description, &agent.profile.keywords))
        };
        members.iter().map(about).collect()
    }

    /// Everything of the last step is committed: what is next.
    fn plan_step(&mut self, slot: Slot, out: &mut Out<M>) -> Result<(), Stop> {
        let Some(Phase::Team(run)) = self.runs.of(slot).map(|run| &run.phase) else { return Ok(()) };
        let spec = run.team.profile.team.clone().unwrap_or_default();
        let abouts = self.abouts(&run.team);
        let namespace = &run.team.namespace;
        let summarizer = spec.summarizer.as_deref();
        let summarizer = summarizer.filter(|id| self.roster.callable(&self.catalog.names, namespace, id).is_some());
        let said = said_of(run);
        match plan(run.mode, &members_of(&abouts), &run.question, &said, spec.rounds, summarizer) {
            Plan::Invoke(turns) => {
                let voices = turns.iter().map(|turn| self.voice_of(run, turn)).collect::<Vec<_>>();
                self.begin_voices(slot, voices.into_iter().flatten().collect());
            }
            Plan::Summarise(Some(agent)) => {
                let voice = self.new_voice(run, agent, Part::Summary, Sees::Everything, None);
                self.begin_voices(slot, voice.into_iter().collect());
            }
            Plan::Summarise(None) => match self.append_digest(slot) {
                Err(Stop::Refuse(refusal @ Refusal::MessageTooLarge { .. })) => {
                    self.fail(slot, "answer_too_large", refusal.to_string(), out);
                }
                appended => appended?,
            },
            Plan::Done => {
                let failure = run.failure.clone();
                let (reason, detail) = failure.unwrap_or_else(|| (NOBODY.0, NOBODY.1.to_owned()));
                self.fail(slot, reason, detail, out);
            }
        }
        Ok(())
    }

    fn voice_of(&self, run: &TeamRun, turn: &Invocation<'_>) -> Option<Voice> {
        let part = Part::Member(turn.member.to_owned(), turn.round);
        self.new_voice(run, turn.member, part, turn.sees, turn.stance)
    }

    fn new_voice(&self, run: &TeamRun, id: &str, part: Part, sees: Sees, stance: Option<Stance>) -> Option<Voice> {
        let agent = self.roster.callable(&self.catalog.names, &run.team.namespace, id)?;
        Some(Voice {
            number: 0,
            part,
            stance: stance.map(Stance::as_str),
            sees,
            agent: Box::new(agent.clone()),
            attempt: 1,
            state: VoiceState::Due(self.now.mono_us),
            began_us: self.now.mono_us,
            assembler: Assembler::new(String::new()),
            unsaved: VecDeque::new(),
            covered_below: 0,
            messages: 0,
            chunks: (0, 0),
            chunks_bytes: 0,
            lines_dropped: 0,
        })
    }

    /// Numbers the voices of the next step, on from those before them.
    fn begin_voices(&mut self, slot: Slot, mut voices: Vec<Voice>) {
        let team = self.runs.team_at(slot).expect("a step is planned of a run");
        for voice in &mut voices {
            team.voices_total += 1;
            voice.number = team.voices_total;
        }
        team.voices = voices;
    }

    /// Calls the voices that are due, as many as may be called.
    fn call_voices(&mut self, now: Now, slot: Slot, out: &mut Out<M>) -> Result<(), Stop> {
        loop {
            let Some(team) = self.runs.team_at(slot) else { return Ok(()) };
            let is_due = |voice: &Voice| match voice.state {
                VoiceState::Due(at_us) => at_us <= now.mono_us,
                VoiceState::Queued => true,
                VoiceState::Called | VoiceState::Ended(_) => false,
            };
            let Some(place) = team.voices.iter().position(is_due) else { return Ok(()) };
            if self.runs.calls >= CALLS_MAX {
                let team = self.runs.team_at(slot).expect("it was there above");
                team.voices.iter_mut().filter(|voice| is_due(voice)).for_each(|voice| voice.state = VoiceState::Queued);
                self.runs.wait_for_call(slot);
                return Ok(());
            }
            self.call_voice(now, slot, place, out)?;
        }
    }

    fn call_voice(&mut self, now: Now, slot: Slot, place: usize, out: &mut Out<M>) -> Result<(), Stop> {
        let Some(Phase::Team(team)) = self.runs.of(slot).map(|run| &run.phase) else { return Ok(()) };
        let (upto_seq, sees, run) = (team.upto_seq, team.voices[place].sees, team.attempt.run);
        let agent = team.voices[place].agent.clone();
        let object = self.team_object(team, &team.voices[place]);
        let before = if sees == Sees::Question { upto_seq + 1 } else { u64::MAX };
        let said = self.committed_seq(slot).min(before - 1) + 1 - upto_seq; // the question and what was said to it
        let view = self.history_before(slot, &agent, before, usize::try_from(said).unwrap_or(usize::MAX))?;
        let entry = self.catalog.entry(slot).expect("a session with a run has an entry");
        let session = self.runs.of(slot).expect("it stood here above");
        let body = view.history().call_body(
            self.id_of(slot),
            agent.id(),
            self.catalog.names.id(entry.user),
            view.compacted.as_ref().map(|(_, list)| list),
            session.context.as_ref().filter(|(seq, _)| *seq <= upto_seq).map(|(_, context)| context),
            Some(&object),
        );
        let spoke_us = session.first_us;
        let random = self.runs.draw_wide(self.seed);
        let message = MessageId::from_parts(now.unix_us / 1000, random).to_string();
        let team = self.runs.team_at(slot).expect("it was there above");
        let voice = &mut team.voices[place];
        voice.assembler = Assembler::new(message);
        (voice.state, voice.began_us) = (VoiceState::Called, now.mono_us);
        let (number, attempt) = (voice.number, voice.attempt);
        self.runs.calls += 1;
        let session = self.id_of(slot);
        let kind = CallKind::Answer;
        let call = Call { session, run, voice: number, attempt, kind, agent, body, spoke_us };
        out.push(Output::Call(Box::new(call)));
        Ok(())
    }

    /// What a call says of the team that it is made for.
    fn team_object(&self, run: &TeamRun, voice: &Voice) -> Json {
        let spec = run.team.profile.team.as_deref();
        let member = |id: &String| {
            let agent = self.roster.by_id(&self.catalog.names, &run.team.namespace, id);
            json!({ "id": id, "name": agent.map_or(id.as_str(), AgentConfig::name) })
        };
        let members: Vec<Value> = spec.map(|spec| spec.members.iter().map(member).collect()).unwrap_or_default();
        let mut object = json!({
            "id": run.team.id(),
            "name": run.team.name(),
            "mode": run.mode.as_str(),
            "members": members,
        });
        match &voice.part {
            Part::Member(_, round) => object["round"] = json!(round),
            Part::Summary => object["task"] = json!("summary"),
        }
        if let Some(stance) = voice.stance {
            object["stance"] = json!(stance);
        }
        Json::from_rendered(object.to_string().into_bytes())
    }

    /// A message of the run is committed, and everybody was told of it.
    pub(super) fn team_message_committed(&mut self, slot: Slot, seq: u64, out: &mut Out<M>) {
        let Some(team) = self.runs.team_at(slot) else { return };
        team.last_seq = seq;
        let Uncommitted { part, voice, below } = team.uncommitted.pop_front().expect("it was appended before");
        let let_go = team.kept.forget_below(voice, below);
        match part {
            Part::Member(member, round) => team.turns.push(Turn { member, round, seq: Some(seq) }),
            Part::Summary => team.summary_seq = seq,
        }
        self.runs.chunks_bytes -= let_go;
        self.settle_team(slot, out);
    }

    /// Ends the run if nothing is left to say, or sees to it that its next step is taken.
    pub(super) fn settle_team(&mut self, slot: Slot, out: &mut Out<M>) {
        let Some(team) = self.runs.team_at(slot) else { return };
        if team.is_settled() {
            let (attempt, upto_seq, summary_seq) = (team.attempt, team.upto_seq, team.summary_seq);
            match team.ending.clone() {
                ending if summary_seq > 0 => {
                    let ending = ending.unwrap_or(Ending::Finished);
                    return self.end_run(slot, attempt, upto_seq, ending, Some(summary_seq), out);
                }
                Some(ending) => return self.close(slot, ending, out),
                None => {}
            }
        }
        self.rearm_team(slot);
    }

    /// When the run is looked at again, unless one of its calls says something before.
    fn rearm_team(&mut self, slot: Slot) {
        let (now_us, has_room) = (self.now.mono_us, self.runs.calls < CALLS_MAX);
        let Some(team) = self.runs.team_at(slot) else { return };
        let is_planned = team.is_settled() && team.ending.is_none() || has_room && team.is_queued();
        let due_us = if is_planned { Some(now_us) } else { team.next_due_us() };
        let is_unsaved = team.voices.iter().any(|voice| !voice.unsaved.is_empty());
        // Whoever waits for a call is in the queue too; that this is looked at again costs little and forgets nobody.
        let again_us = (is_unsaved || team.is_queued()).then_some(now_us + AGAIN_US);
        let due_us = [due_us, again_us].into_iter().flatten().min();
        self.runs.set_timer(slot, due_us);
    }

    /// Cuts off every voice: what they have said is kept, and the run ends.
    pub(super) fn stop_team(&mut self, slot: Slot, ending: Ending, out: &mut Out<M>) {
        self.stop_calls(slot, out);
        let Some(team) = self.runs.team_at(slot) else { return };
        team.ending = Some(ending.clone());
        let run = team.attempt.run;
        let numbers: Vec<u16> = team.voices.iter().map(|voice| voice.number).collect();
        numbers.into_iter().for_each(|number| self.cut_voice(slot, run, number, ending.clone(), out));
        self.save_voices(slot, out);
    }

    /// Sums up what was said without asking anybody.
    fn append_digest(&mut self, slot: Slot) -> Result<(), Stop> {
        let Some(Phase::Team(team)) = self.runs.of(slot).map(|run| &run.phase) else { return Ok(()) };
        let (run, upto_seq) = (team.attempt.run, team.upto_seq);
        let mut spoken: Vec<(usize, u64, &str)> = Vec::new();
        let spec = team.profile_members();
        for turn in &team.turns {
            let place = spec.iter().position(|member| *member == turn.member).unwrap_or(usize::MAX);
            spoken.extend(turn.seq.map(|seq| (place, seq, turn.member.as_str())));
        }
        spoken.sort_unstable();
        let mut answers = Vec::new();
        for (_, seq, member) in spoken {
            let agent = self.roster.by_id(&self.catalog.names, &team.team.namespace, member);
            let name = agent.map_or(member, AgentConfig::name).to_owned();
            answers.push((name, text_of(&self.message_value(slot, seq)?["content"])));
        }
        let answers: Vec<(&str, &str)> = answers.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let text = digest(&answers);
        let fields = team.fields(&Part::Summary, None);
        let content = json!({ "role": "assistant", "parts": [{ "type": "text", "text": text }] });
        let metadata = Json::from_rendered(
            format!("{{\"termination\":\"finish\",\"run_id\":\"{run}\",\"reply_to\":{upto_seq}}}").into_bytes(),
        );
        let answer = Answer {
            content: Json::from_rendered(content.to_string().into_bytes()),
            metadata: with_fields(&metadata, &fields),
            usage: None,
            termination: Termination::Finish,
        };
        let sender = self.catalog.names.intern(&scoped(&team.team.namespace, team.team.id()));
        self.append_answer(slot, run, sender, RunPart::Answers(self.runs.span(slot, upto_seq)), &answer)?;
        let team = self.runs.team_at(slot).expect("appending ends nothing");
        team.voices.clear();
        team.uncommitted.push_back(Uncommitted { part: Part::Summary, voice: 0, below: 0 });
        Ok(())
    }
}

impl TeamRun {
    fn profile_members(&self) -> &[String] {
        self.team.profile.team.as_ref().map_or(&[], |spec| spec.members.as_slice())
    }
}

fn members_of(abouts: &[(String, Candidate)]) -> Vec<Member<'_>> {
    abouts.iter().map(|(id, about)| Member { id, about }).collect()
}

/// What the plan is made of.
fn said_of<'a>(run: &'a TeamRun) -> Vec<Said<'a>> {
    let over = |turn: &'a Turn| {
        let (member, round) = (turn.member.as_str(), turn.round);
        if turn.seq.is_some() { Said::Answer { member, round } } else { Said::Failed { member, round } }
    };
    let mut said: Vec<Said<'a>> = run.turns.iter().map(over).collect();
    said.extend(run.no_summary.then_some(Said::NoSummary));
    said.extend((run.summary_seq > 0).then_some(Said::Summary));
    said
}
