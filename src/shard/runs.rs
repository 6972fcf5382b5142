//! The runs of a shard: for each session whose user waits for an answer, how far it is.
//!
//! Invariants: a session stands here only while it owes an answer or is answering, so idle sessions cost nothing; a
//! session has one run under way at most, and an agent alone one call; every state but a call under way has a timer, so nothing is forgotten.
//! What stands here is a fold over the log: `folded` is its part that survives a crash.
//!
//! Not here: what is decided (`dispatch`, `answer`), the rules of time (`agent::schedule`).

use super::RunTotals;
use super::answer::named;
use super::folded::{FoldedRun, OpenRun};
use super::voices::{TeamRun, Voice};
use crate::agent::{Answer, Assembler};
use crate::session::{AgentConfig, Json, RunId, RunSpan};
use hashbrown::{HashMap, HashSet};
use std::collections::{BTreeSet, VecDeque};
use storage::{Lsn, Slot};

/// One session's run, or what it owes until one begins.
#[derive(Debug)]
pub(super) struct SessionRun {
    /// The first message that no ended run covers.
    pub(super) first_seq: u64,
    /// The last message that waits for an answer; 0: none does.
    pub(super) target_seq: u64,
    /// When the first of them was committed, monotonic.
    pub(super) first_us: u64,
    /// When the last of them was.
    pub(super) spoke_us: u64,
    /// When the first of those was that the call under way does not answer.
    pub(super) late_us: Option<u64>,
    /// One that waits is to be answered at once.
    pub(super) is_hurried: bool,
    /// What came with the last of them for the agent's call alone, and the seq it came with.
    pub(super) context: Option<(u64, Json)>,
    /// Where it is.
    pub(super) phase: Phase,
    timer_us: Option<u64>,
}

/// Where a session's run is.
#[derive(Debug)]
pub(super) enum Phase {
    /// The user may go on talking.
    Waiting,
    /// A crash has cut it off.
    Recovered(Box<OpenRun>),
    /// It is due: history is being collected.
    Preparing(Option<Attempt>),
    /// Its older messages, up to this one, are being compacted.
    Compacting(Attempt, u64),
    /// The next attempt waits for its time.
    Retrying(Attempt),
    /// The agent is being called, or answers.
    Calling(Box<Answering>),
    /// The agent is a team: its members are called, or answer.
    Team(Box<TeamRun>),
    /// It is over; that it is waits to be appended.
    Closing(Box<Closing>),
}

/// What is fixed of a run before its agent has said anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    /// The run.
    pub(super) run: RunId,
    /// Which attempt is next or under way, from 1.
    pub(super) attempt: u32,
    /// It is not worth another try to compact before this attempt.
    pub(super) compacted: bool,
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Answering {
    /// The run and its attempt.
    pub(super) attempt: Attempt,
    /// Who answers.
    pub(super) agent: Box<AgentConfig>,
    /// The last message that it answers.
    pub(super) upto_seq: u64,
    /// When the agent was called, monotonic. `None`: in an earlier process.
    pub(super) began_us: Option<u64>,
    /// What it has said since its last message.
    pub(super) assembler: Assembler,
    /// Chunks that no committed message covers, for those who join.
    pub(super) chunks: VecDeque<Json>,
    /// Bytes of them.
    pub(super) chunks_bytes: usize,
    /// The index of the first of them.
    pub(super) first_index: u32,
    /// The address of the run's last chunk.
    pub(super) last_chunk: Option<Lsn>,
    /// The address of its first one: from there on its chunks must stay.
    pub(super) first_chunk: Option<Lsn>,
    /// Messages that are complete and not appended, each with the index behind its last chunk.
    pub(super) unsaved: VecDeque<(Answer, u32)>,
    /// Messages that are appended and not committed, by the same index.
    pub(super) uncommitted: VecDeque<u32>,
    /// The last committed message, 0 before the first.
    pub(super) last_seq: u64,
    /// Messages that are complete.
    pub(super) messages: usize,
    /// Lines that were no chunks.
    pub(super) lines_dropped: u64,
    /// The call is over, and how.
    pub(super) ending: Option<Ending>,
}

impl Answering {
    /// A call that begins.
    pub(super) fn new(attempt: Attempt, agent: Box<AgentConfig>, upto_seq: u64, message: &str) -> Self {
        Self {
            attempt,
            agent,
            upto_seq,
            began_us: None,
            assembler: Assembler::new(message.to_owned()),
            chunks: VecDeque::new(),
            chunks_bytes: 0,
            first_index: 0,
            last_chunk: None,
            first_chunk: None,
            unsaved: VecDeque::new(),
            uncommitted: VecDeque::new(),
            last_seq: 0,
            messages: 0,
            lines_dropped: 0,
            ending: None,
        }
    }

    /// The index of the next chunk.
    pub(super) fn next_index(&self) -> u32 {
        self.first_index + self.chunks.len() as u32
    }

    /// Every chunk below belongs to a message that is complete.
    pub(super) fn covered_below(&self) -> u32 {
        let unsaved = self.unsaved.back().map(|(_, index)| *index);
        unsaved.or(self.uncommitted.back().copied()).unwrap_or(self.first_index)
    }

    /// Whether it has completed a message, and begun no other.
    pub(super) fn is_complete(&self) -> bool {
        self.messages > 0 && self.assembler.is_empty()
    }

    /// Whether anything was shown.
    pub(super) fn has_spoken(&self) -> bool {
        self.next_index() > 0
    }

    /// Keeps a chunk for those who join.
    pub(super) fn keep(&mut self, chunk: Json) {
        self.chunks_bytes += chunk.as_str().len();
        self.chunks.push_back(chunk);
    }

    /// A message ends at `now_us`, monotonic, with the chunks so far: it waits to be appended.
    pub(super) fn complete(&mut self, mut answer: Answer, now_us: u64) {
        let took_ms = self.began_us.map(|began_us| now_us.saturating_sub(began_us) / 1000);
        answer.metadata = named(&answer, self.attempt.run, self.upto_seq, took_ms);
        self.unsaved.push_back((answer, self.next_index()));
    }

    /// A committed message covers every chunk below `index`. Gives the bytes that were let go.
    pub(super) fn forget_below(&mut self, index: u32) -> usize {
        let before = self.chunks_bytes;
        while self.first_index < index
            && let Some(chunk) = self.chunks.pop_front()
        {
            self.chunks_bytes -= chunk.as_str().len();
            self.first_index += 1;
        }
        before - self.chunks_bytes
    }

    /// Whether everything that it has to say is in the log.
    pub(super) fn is_saved(&self) -> bool {
        self.unsaved.is_empty() && self.uncommitted.is_empty()
    }
}

/// How a run ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The agent has said everything.
    Finished,
    /// Somebody stopped it.
    Stopped,
    /// It failed: name and sentence.
    Failed(&'static str, String),
}

/// A run that ends without a message.
#[derive(Debug)]
pub(super) struct Closing {
    /// The run and its attempt.
    pub(super) attempt: Attempt,
    /// The last message that it gives up on.
    pub(super) upto_seq: u64,
    /// Why.
    pub(super) ending: Ending,
    /// The last message that it has left, 0: none.
    pub(super) last_seq: u64,
    /// The note is appended and waits for its commit.
    pub(super) appended: bool,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Runs {
    by_slot: HashMap<Slot, SessionRun>,
    /// Monotonic time and slot.
    timers: BTreeSet<(u64, u32)>,
    /// Sessions that wait for a call to end, because there are as many as there may be.
    queue: VecDeque<Slot>,
    /// Those in the queue: each stands there once.
    queued: HashSet<Slot>,
    /// Why calls were ended early, until their end is reported. As many as calls.
    pub(super) ended_early: HashMap<(RunId, u16), (&'static str, String)>,
    /// Calls under way.
    pub(super) calls: usize,
    /// Bytes of the chunks of all running answers.
    pub(super) chunks_bytes: usize,
    /// The greatest id so far.
    pub(super) last: RunId,
    /// Since start.
    pub(super) totals: RunTotals,
    draws: u64,
}

impl Runs {
    /// An empty table whose runs get ids above `last`.
    pub(super) fn above(last: RunId) -> Self {
        Self { last, ..Self::default() }
    }

    /// How many sessions stand here.
    pub(super) fn len(&self) -> usize {
        self.by_slot.len()
    }

    /// The run of the session at `slot`.
    pub(super) fn of(&self, slot: Slot) -> Option<&SessionRun> {
        if self.by_slot.is_empty() { None } else { self.by_slot.get(&slot) }
    }

    /// See [`Self::of`].
    pub(super) fn of_mut(&mut self, slot: Slot) -> Option<&mut SessionRun> {
        self.by_slot.get_mut(&slot)
    }

    /// The call of `run` under way at `slot`.
    pub(super) fn answering(&mut self, slot: Slot, run: RunId) -> Option<&mut Answering> {
        match &mut self.by_slot.get_mut(&slot)?.phase {
            Phase::Calling(answering) if answering.attempt.run == run => Some(answering),
            _ => None,
        }
    }

    /// What a run at `slot` answers whose last message is `upto_seq`. A run of which only chunks are left after a crash, its first message
    /// having settled all that it was asked, may not know the first any more.
    pub(super) fn span(&self, slot: Slot, upto_seq: u64) -> RunSpan {
        RunSpan::new(self.of(slot).map_or(0, |run| run.first_seq), upto_seq)
    }

    /// Puts a session here that owes an answer from `first_seq` to `target_seq`.
    pub(super) fn insert(&mut self, slot: Slot, first_seq: u64, target_seq: u64, now_us: u64, phase: Phase) {
        let run = SessionRun {
            first_seq,
            target_seq,
            first_us: now_us,
            spoke_us: now_us,
            late_us: None,
            is_hurried: false,
            context: None,
            phase,
            timer_us: None,
        };
        self.by_slot.insert(slot, run);
    }

    /// Takes a session away, with its timer and what it holds.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<SessionRun> {
        self.set_timer(slot, None);
        let run = self.by_slot.remove(&slot)?;
        self.leave(&run.phase);
        Some(run)
    }

    /// Moves a session to another phase and gives the one that it leaves.
    pub(super) fn enter(&mut self, slot: Slot, phase: Phase) -> Phase {
        self.calls += phase.calls().count();
        let run = self.by_slot.get_mut(&slot).expect("a phase is entered by a session that stands here");
        let left = std::mem::replace(&mut run.phase, phase);
        self.leave(&left);
        left
    }

    /// The call of the session at `slot` is over.
    pub(super) fn end_call(&mut self, slot: Slot, ending: Ending) {
        if let Some(SessionRun { phase: Phase::Calling(answering), .. }) = self.by_slot.get_mut(&slot)
            && answering.ending.is_none()
        {
            answering.ending = Some(ending);
            self.leave_call();
        }
    }

    /// One call less is under way.
    pub(super) fn leave_call(&mut self) {
        self.calls -= 1;
        self.call_next();
    }

    /// The team's run `run` at `slot`.
    pub(super) fn team(&mut self, slot: Slot, run: RunId) -> Option<&mut TeamRun> {
        self.team_at(slot).filter(|team| team.attempt.run == run)
    }

    /// The team's run at `slot`.
    pub(super) fn team_at(&mut self, slot: Slot) -> Option<&mut TeamRun> {
        match &mut self.by_slot.get_mut(&slot)?.phase {
            Phase::Team(team) => Some(team),
            _ => None,
        }
    }

    /// A voice of the team's run at `slot`.
    pub(super) fn voice(&mut self, slot: Slot, run: RunId, voice: u16) -> Option<&mut Voice> {
        self.team(slot, run)?.voices.iter_mut().find(|known| known.number == voice)
    }

    /// The session at `slot` is due and there are as many calls as there may be: it is next when one ends.
    pub(super) fn wait_for_call(&mut self, slot: Slot) {
        if self.queued.insert(slot) {
            self.queue.push_back(slot);
        }
    }

    /// Wakes the next session that waits for a call. One that makes none when it is woken must not be the last.
    pub(super) fn call_next(&mut self) {
        while let Some(slot) = self.queue.pop_front() {
            self.queued.remove(&slot);
            let waits = |run: &SessionRun| match &run.phase {
                Phase::Team(team) => team.is_queued(),
                phase => run.timer_us.is_none() && !phase.is_under_way() && !phase.is_called(),
            };
            if self.by_slot.get(&slot).is_some_and(waits) {
                return self.set_timer(slot, Some(0));
            }
        }
    }

    fn leave(&mut self, phase: &Phase) {
        if let Phase::Calling(answering) = phase {
            self.chunks_bytes -= answering.chunks_bytes;
        }
        if let Phase::Team(team) = phase {
            self.chunks_bytes -= team.kept.bytes();
        }
        phase.calls().for_each(|_| self.leave_call());
    }

    /// Sets the time at which the session is looked at again.
    pub(super) fn set_timer(&mut self, slot: Slot, at_us: Option<u64>) {
        let Some(run) = self.by_slot.get_mut(&slot) else { return };
        if let Some(before) = std::mem::replace(&mut run.timer_us, at_us) {
            self.timers.remove(&(before, slot.0));
        }
        if let Some(at_us) = at_us {
            self.timers.insert((at_us, slot.0));
        }
    }

    /// A session whose time has come. Its timer is gone.
    pub(super) fn pop_due(&mut self, now_us: u64) -> Option<Slot> {
        let &(at_us, slot) = self.timers.first()?;
        if at_us > now_us {
            return None;
        }
        self.set_timer(Slot(slot), None);
        Some(Slot(slot))
    }

    /// A run's id, above all before it.
    pub(super) fn new_id(&mut self, unix_us: u64, seed: u64) -> RunId {
        let random = self.draw_wide(seed);
        self.last = RunId::from_parts(unix_us / 1000, random).max(self.last.next());
        self.last
    }

    /// Like [`Self::draw`], with the bits that an id takes.
    pub(super) fn draw_wide(&mut self, seed: u64) -> u128 {
        u128::from(self.draw(seed)) << 64 | u128::from(self.draw(seed))
    }

    /// A number that looks like chance; the same from the same seed.
    pub(super) fn draw(&mut self, seed: u64) -> u64 {
        self.draws += 1;
        xxhash_rust::xxh3::xxh3_64_with_seed(&self.draws.to_le_bytes(), seed)
    }

    /// The slots of all sessions that stand here.
    pub(super) fn slots(&self) -> Vec<Slot> {
        self.by_slot.keys().copied().collect()
    }

    /// What of the session at `slot` must outlive the process.
    pub(super) fn folded(&self, slot: Slot) -> Option<FoldedRun> {
        let run = self.of(slot)?;
        let opened = |attempt: &Attempt, upto_seq| OpenRun::new(attempt.run, upto_seq);
        let open = match &run.phase {
            Phase::Waiting | Phase::Preparing(None) => None,
            Phase::Recovered(open) => Some((**open).clone()),
            Phase::Preparing(Some(attempt)) | Phase::Compacting(attempt, _) | Phase::Retrying(attempt) => {
                Some(opened(attempt, run.target_seq))
            }
            Phase::Closing(closing) => Some(opened(&closing.attempt, closing.upto_seq)),
            Phase::Calling(answering) => Some(OpenRun::of_answering(answering)),
            Phase::Team(team) => Some(opened(&team.attempt, team.upto_seq)),
        };
        let mut folded = FoldedRun { first_seq: run.first_seq, target_seq: run.target_seq, open };
        if let Phase::Calling(answering) = &run.phase
            && answering.last_seq > 0
        {
            folded.settle(answering.upto_seq); // its message is in the log; what the agent may still say is another
        }
        if let Phase::Team(team) = &run.phase
            && team.summary_seq > 0
        {
            folded.settle(team.upto_seq);
        }
        Some(folded)
    }

    /// Where the oldest chunk stands that a running answer may still need.
    pub(super) fn oldest_chunk(&self) -> Option<Lsn> {
        let first = |run: &SessionRun| match &run.phase {
            Phase::Calling(answering) => answering.first_chunk,
            Phase::Recovered(open) => open.first_chunk(),
            _ => None,
        };
        self.by_slot.values().filter_map(first).min()
    }
}

impl Phase {
    /// The calls that are under way, by run and voice.
    pub(super) fn calls(&self) -> impl Iterator<Item = (RunId, u16)> + use<'_> {
        let alone = match self {
            Self::Calling(answering) if answering.ending.is_none() => Some(answering.attempt.run),
            Self::Compacting(attempt, _) => Some(attempt.run),
            _ => None,
        };
        let team = if let Self::Team(team) = self { Some(team) } else { None };
        let voices = team.into_iter().flat_map(|team| team.called().map(|voice| (team.attempt.run, voice)));
        alone.map(|run| (run, 0)).into_iter().chain(voices)
    }

    /// Whether what is said now is for the next run.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self, Self::Calling(_) | Self::Team(_) | Self::Closing(_))
    }

    /// Whether a call is under way.
    pub(super) fn is_called(&self) -> bool {
        self.calls().next().is_some()
    }
}
