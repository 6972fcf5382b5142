//! One thread's world: its sessions, its log, its tails.
//!
//! [`Shard::step`] takes what happened and says what to do. It never waits, reads no clock, draws no randomness and
//! shares nothing; the driver performs what it says and hands the results back.
//!
//! What holds:
//! - Nothing is acknowledged, pushed, counted or readable before it is durable. In memory stands committed state only; what is
//!   appended and not yet durable waits in the queue of `commit`.
//! - Answers and pushes leave in the order of the log; a sender's answer goes before the push of its message.
//! - A log whose sync has failed takes nothing more: what waited for it is refused, what is durable is still read.
//!
//! Reading order: `input` and `output` (the words), this file (one step), `append`, `sessions`, `titles`, `ratings`, `read`, `inbox`,
//! `rows`, `timeline` (the commands), `commit` and `release` (what durability sets free), `catalog` (the memory), `fold` (recovery); `hub` is
//! the other side, that of the connections. Runs of agents: `call` (the words), `dispatch`, `answer`, `resume`, `compact`
//! (what happens, in this order), `team_run` and `voices` (the same of a team), `runs` (the memory), `folded` (recovery).

mod access;
mod agents;
mod answer;
mod append;
mod ask_words;
mod asked;
mod blobs;
mod call;
mod catalog;
mod commands;
mod commit;
mod compact;
mod directory;
mod dispatch;
mod fold;
mod folded;
mod holdings;
mod hub;
mod inbox;
mod inbox_view;
mod input;
mod kept;
mod keyring;
mod mains;
mod names;
mod order;
mod output;
mod park;
mod ratings;
mod read;
mod release;
mod reports;
mod resume;
mod roster;
mod router;
mod routing;
mod rows;
mod runs;
mod sessions;
mod splice;
mod tail;
mod team_run;
mod terms;
#[cfg(test)]
mod tests;
mod timeline;
mod titles;
mod upkeep;
mod voices;
mod windows;

pub use access::{Access, Reach};
pub use ask_words::*;
pub use blobs::BlobCommand;
pub use call::*;
pub use fold::Unreadable;
pub use holdings::{Holding, Lsn, ShardHoldings, Stage};
pub use hub::{ChannelKey, Delivered, Delivery, Heard, Hub, TopicKey};
pub use input::*;
pub use keyring::Keyring;
pub use output::*;
pub use roster::ECHO_AGENT;
pub use routing::*;

use crate::limits::NAME_BYTES_MAX;
use crate::session::{AgentConfig, SessionId};
use catalog::Catalog;
use commit::{Commits, Effect};
use directory::Directory;
use fold::Folding;
use mains::Mains;
use park::Parked;
use reports::Reports;
use roster::Roster;
use router::Router;
use runs::Runs;
use std::collections::BTreeMap;
use storage::{AppendError, Cold, Key, Log, Medium, ReadError, Recovered, Slot};
use tail::Listeners;
use windows::Windows;

/// What a shard over `M` says.
pub type Out<M> = Vec<Output<storage::Sync<M>, storage::Work<M>>>;

/// A shard. See the module's head.
pub struct Shard<M: Medium> {
    log: Log<M>,
    catalog: Catalog,
    /// On [`DIRECTORY_SHARD`].
    directory: Option<Directory>,
    commits: Commits,
    /// Shards with channels on a session.
    tails: Listeners<Slot>,
    /// Shards with channels on a user's inbox.
    watchers: Listeners<String>,
    windows: Windows,
    parked: Parked,
    mains: Mains,
    roster: Roster,
    router: Router,
    keyring: Keyring,
    runs: Runs,
    reports: Reports,
    /// The time of this turn; its wall clock never before that of a message in the log.
    now: Now,
    id: ShardId,
    /// For what looks like chance.
    seed: u64,
    /// The last record whose effect was released.
    released: Lsn,
    poisoned: bool,
    /// When maps were last given back.
    maps_released_us: u64,
    /// Runs that have not begun stay as they are.
    holds_runs: bool,
    /// When the log was last told which chunks are dead.
    floor_raised_us: u64,
    /// When the last sync began.
    synced_us: u64,
    counters: Counters,
    scratch: Vec<u8>,
}

#[derive(Debug, Default)]
struct Counters {
    appended_total: u64,
    replayed_total: u64,
    read_messages_total: u64,
}

/// Why a shard does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenShardError {
    /// The log does not open.
    #[error(transparent)]
    Log(#[from] storage::OpenError),
    /// The log holds what this version does not know.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// What a command came to.
enum Outcome {
    /// Answer it.
    Reply(Reply),
    /// It is in the queue of commits.
    Later,
    /// It is not answered.
    Silent,
}

/// Why a command came to nothing yet.
enum Stop {
    /// Refuse it.
    Refuse(Refusal),
    /// Refuse it when everything is durable that the refusal may rest on.
    Behind(Refusal),
    /// Try it again when this range is in memory.
    Cold(Cold),
    /// Try it again when disk work was done.
    Park,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Cold(cold) => Self::Cold(cold),
            ReadError::Corrupt(at) => Self::Refuse(Refusal::Corrupt { file: at.file, offset: at.offset }),
            ReadError::Unreadable { file, .. } => Self::Refuse(Refusal::Corrupt { file, offset: 0 }),
            // What was looked for is known to have been there: its file, or the records that lead to it, are gone.
            ReadError::Unknown => Self::Refuse(Refusal::Corrupt { file: "a missing segment".to_owned(), offset: 0 }),
        }
    }
}

impl From<AppendError> for Stop {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Poisoned => Self::Refuse(Refusal::LogPoisoned),
            AppendError::DiskFull => Self::Refuse(Refusal::DiskFull),
            AppendError::TooLarge { bytes, bytes_max } => Self::Refuse(Refusal::MessageTooLarge { bytes, bytes_max }),
            AppendError::NotReady => Self::Park,
        }
    }
}

/// Microseconds after which what nobody waits for is synced.
const UNAWAITED_SYNC_US: u64 = 100_000;
impl<M: Medium> Shard<M> {
    /// Opens the shard `options.shard` of a recovered folder and folds what it owns. Blocks for the time of that.
    ///
    /// # Errors
    /// See [`OpenShardError`].
    pub fn open(
        medium: M,
        recovered: &Recovered,
        options: storage::Options,
        echo: Option<AgentConfig>,
    ) -> Result<Self, OpenShardError> {
        let (id, shards, seed) = (ShardId(options.shard), options.shards, options.seed);
        let mut folding = Folding::new(options.seed, id == DIRECTORY_SHARD);
        let owns = move |key: Key| owner_of_session(SessionId::from(key.0), shards) == id;
        let log = Log::open(medium, recovered, options, owns, &mut folding)?;
        if let Some(unreadable) = folding.unreadable {
            return Err(unreadable.into());
        }
        folding.catalog.show_all(|slot| SessionId::from(log.key(slot).0));
        folding.mains.retain(|base| owner_of_session(base, shards) == id);
        let mut runs = Runs::above(folding.last_run);
        folding.runs.retain(|&slot, _| folding.catalog.entry(slot).is_some()); // else its created note is damaged
        resume::revive(&log, folding.runs, &mut runs);
        Ok(Self {
            log,
            catalog: folding.catalog,
            directory: folding.directory,
            commits: Commits::default(),
            tails: Listeners::default(),
            watchers: Listeners::default(),
            windows: Windows::default(),
            parked: Parked::default(),
            mains: folding.mains,
            keyring: folding.keyring,
            roster: Roster::with_echo(echo),
            router: Router::default(),
            runs,
            reports: Reports::default(),
            now: Now { unix_us: folding.last_stamp_us, mono_us: 0 },
            id,
            seed,
            released: Lsn::NONE,
            poisoned: false,
            maps_released_us: 0,
            holds_runs: false,
            floor_raised_us: 0,
            synced_us: 0,
            counters: Counters::default(),
            scratch: Vec::new(),
        })
    }

    /// One turn with one input: [`Self::take`], then [`Self::settle`].
    pub fn step(&mut self, now: Now, input: Input<M>, out: &mut Out<M>) {
        self.take(now, input, out);
        self.settle(out);
    }

    /// Takes in what happened. A turn may take many inputs and then [`Self::settle`] once, so that one sync covers
    /// them all.
    pub fn take(&mut self, now: Now, input: Input<M>, out: &mut Out<M>) {
        let said = out.len();
        self.take_in(now, input, out);
        self.keep_names_of_calls(&out[said..]);
    }

    fn take_in(&mut self, now: Now, input: Input<M>, out: &mut Out<M>) {
        self.log.tick(now.mono_us);
        // Stamps never fall, so that a session's messages ascend in time as in seq: a wall clock may be set back.
        let now = Now { unix_us: now.unix_us.max(self.now.unix_us), ..now };
        self.now = now;
        match input {
            Input::Call { from, access, command } => {
                if self.parked.blocks(&command) {
                    self.park(now, from, access, command, out);
                } else {
                    self.call(now, from, access, command, out);
                }
            }
            Input::Synced(sync, result) => {
                self.poisoned |= self.log.finish_sync(sync, result).is_err();
            }
            Input::Worked(done) => {
                let is_awaited = done.is_awaited();
                self.log.finish_work(done);
                if is_awaited {
                    self.retry_parked(now, out);
                }
            }
            Input::Called { session, run, voice, attempt, event } => {
                self.called(session, run, voice, attempt, event, out);
            }
            Input::Tick => {
                self.retry_parked(now, out);
                self.release(out); // a snapshot holds everything that is durable
                self.snapshot();
                self.release_maps(now);
                self.raise_floor(now);
            }
        }
    }

    /// Releases what became durable and asks for the disk work that the log wants.
    pub fn settle(&mut self, out: &mut Out<M>) {
        let said = out.len();
        self.release(out);
        self.run_due(out);
        self.keep_names_of_calls(&out[said..]);
        for cold in self.parked.take_wanted() {
            out.extend(self.log.begin_warm(cold).map(Output::Work));
        }
        // Chunks of answers are in the log and wait for nobody: the disk need not turn for each of them.
        let is_awaited = self.commits.len() > 0 || self.now.mono_us >= self.synced_us + UNAWAITED_SYNC_US;
        if is_awaited && self.log.wants_sync() {
            self.synced_us = self.now.mono_us;
            out.extend(self.log.begin_sync().map(Output::Sync));
        }
        while let Some(work) = self.log.begin_work() {
            out.push(Output::Work(work));
        }
    }

    /// An agent that is called again after the end of this process must be called under the same name: the note of it is handed to
    /// the kernel before the call goes out. A write that fails shows in the next sync.
    fn keep_names_of_calls(&self, said: &[Output<storage::Sync<M>, storage::Work<M>>]) {
        if said.iter().any(|output| matches!(output, Output::Call(_))) {
            let _ = self.log.flush();
        }
    }

    fn call(&mut self, now: Now, from: Caller, access: Option<Box<Access>>, command: Command, out: &mut Out<M>) {
        let everything = Access::default();
        let admitted_as = access.as_deref().unwrap_or(&everything);
        let outcome = match self.admit(admitted_as, &command) {
            Err(refusal) => Err(refusal.into()),
            Ok(()) if command.appends() && !self.commits.has_room() => Err(Refusal::Overloaded.into()),
            Ok(()) => self.run(now, from, &admitted_as.namespace, &command, out),
        };
        if !matches!(outcome, Err(Stop::Cold(_) | Stop::Park)) {
            self.parked.take_walk(); // it was this command's alone
        }
        let reply = match outcome {
            Ok(Outcome::Reply(reply)) => Ok(reply),
            Ok(Outcome::Later | Outcome::Silent) => return,
            Err(Stop::Refuse(refusal) | Stop::Behind(refusal)) if let Command::Dispatch { session } = command => {
                return self.dispatch_refused(session, &refusal, out);
            }
            Err(Stop::Refuse(refusal)) => Err(refusal),
            Err(Stop::Behind(_)) if self.poisoned => Err(Refusal::LogPoisoned), // it may rest on what was lost
            Err(Stop::Behind(refusal)) => match self.commits.push_behind(from, Effect::Refused(refusal)) {
                Some(Effect::Refused(refusal)) => Err(refusal),
                _ => return,
            },
            Err(Stop::Cold(cold)) => {
                self.parked.want(now.mono_us, cold);
                return self.park(now, from, access, command, out);
            }
            Err(Stop::Park) => return self.park(now, from, access, command, out),
        };
        out.push(Output::Reply { to: from, reply });
    }

    /// Replies and pushes that wait for their commit.
    pub fn awaiting_commit(&self) -> usize {
        self.commits.len()
    }

    /// Calls no agent in this life: messages owe no answer from now on.
    pub fn disable_agents(&mut self) {
        self.roster.disable();
        self.hold_runs();
    }

    /// Begins no further call: the server shuts down, and the next start takes up what is owed.
    pub fn hold_runs(&mut self) {
        self.holds_runs = true;
    }

    /// Whether there is nothing to wait for: everything that was appended is durable, or never will be.
    pub fn is_synced(&self) -> bool {
        self.poisoned || self.log.durable() >= self.log.end()
    }

    /// Whether there is no room for another segment.
    pub fn is_disk_full(&self) -> bool {
        self.log.status().disk_full
    }

    fn park(&mut self, now: Now, from: Caller, access: Option<Box<Access>>, command: Command, out: &mut Out<M>) {
        if let Err(command) = self.parked.push(now.mono_us, from, access, command)
            && command.is_answered()
        {
            out.push(Output::Reply { to: from, reply: Err(Refusal::Overloaded) });
        }
    }

    fn retry_parked(&mut self, now: Now, out: &mut Out<M>) {
        if self.parked.is_empty() {
            return;
        }
        for mut parked in self.parked.take() {
            if parked.is_overdue(now.mono_us) {
                if parked.command.is_answered() {
                    out.push(Output::Reply { to: parked.from, reply: Err(Refusal::Overloaded) });
                }
                continue;
            }
            self.parked.retrying(Some(&mut parked));
            self.take(now, Input::Call { from: parked.from, access: parked.access, command: parked.command }, out);
        }
        self.parked.retrying(None);
    }

    /// The slot of a session that clients may see.
    fn readable(&self, id: SessionId) -> Result<Slot, Refusal> {
        let slot = self.log.slot(Key(id.to_u128())).ok_or(Refusal::SessionNotFound)?;
        match self.catalog.entry(slot) {
            Some(entry) if entry.shown() => Ok(slot),
            Some(_) => Err(Refusal::SessionNotFound),
            None => Err(self.damaged()),
        }
    }

    /// A session of which there are records and no created note: that one is damaged. By the name of the damage that
    /// is known.
    fn damaged(&self) -> Refusal {
        let known = self.log.status().corrupt.into_iter().next();
        let (file, offset) = known.map_or(("a missing segment".to_owned(), 0), |at| (at.file, at.offset));
        Refusal::Corrupt { file, offset }
    }

    /// The slot of a session that takes messages: from the append of its created note to that of its deleted note.
    fn writable(&self, id: SessionId) -> Result<Slot, Stop> {
        let slot = self.log.slot(Key(id.to_u128())).ok_or(Refusal::SessionNotFound)?;
        if self.catalog.entry(slot).is_none() {
            return Err(self.damaged().into());
        }
        self.check_not_deleting(slot)?;
        Ok(slot)
    }

    /// Once its deleted note is appended, a session takes nothing more; that it is gone is told when the note is
    /// durable.
    fn check_not_deleting(&self, slot: Slot) -> Result<(), Stop> {
        match self.catalog.entry(slot) {
            Some(entry) if entry.deleting() => Err(Stop::Behind(Refusal::SessionNotFound)),
            _ => Ok(()),
        }
    }

    /// The last seq of the session at `slot` that is released.
    fn committed_seq(&self, slot: Slot) -> u64 {
        self.log.last_seq(slot) - u64::from(self.commits.of(slot).messages)
    }

    /// Who asks for what the shard does of its own accord.
    fn nobody(&self) -> Caller {
        Caller { shard: self.id, token: Caller::NOBODY }
    }

    fn slot_of(&self, session: SessionId) -> Option<Slot> {
        self.log.slot(Key(session.to_u128())).filter(|&slot| self.catalog.entry(slot).is_some())
    }

    fn id_of(&self, slot: Slot) -> SessionId {
        SessionId::from(self.log.key(slot).0)
    }
}

/// Names stand in memory for good, so they are bounded here too, whatever the api lets through.
fn bounded_name(field: &str, name: &str) -> Result<(), Refusal> {
    if name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    let message = format!("should be at most {NAME_BYTES_MAX} bytes");
    Err(Refusal::InvalidFields(BTreeMap::from([(field.to_owned(), vec![message])])))
}
