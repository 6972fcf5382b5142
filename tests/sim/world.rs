//! The machine: shards, their disk, mail between them, time. Clients live in `clients.rs`.
//!
//! Mail goes in three lanes per ordered pair of shards (commands, replies, pushes). A lane keeps its order; lanes do
//! not wait for each other. Everything of a life ends with it: mail, syncs under way, hubs.

use crate::agents::Calls;
use crate::clients::{Asked, Clients};
use crate::oracle::Oracle;
use crate::random::Random;
use fleetlm::session::{RunId, SessionId};
use fleetlm::shard::*;
use std::collections::{BTreeMap, HashMap};
use std::io;
use storage::{Fate, Medium, Memory, Sync, Work};

/// A mistake planted in the machine, to prove that the oracle sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A sync is reported as done although nothing was done.
    AckBeforeSync,
    /// A push is lost without a gap.
    DropPushSilently,
    /// Retries go without their key.
    ForgetKeys,
    /// What an agent says comes twice, the second time as if it were another message of the same answer.
    AnswerTwice,
}

/// How much of what happened over the runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub acked: u64,
    pub replayed: u64,
    pub pushes: u64,
    pub gaps: u64,
    pub deltas: u64,
    pub power_cuts: u64,
    pub kills: u64,
    pub poisoned: u64,
    pub overloads: u64,
    pub resharded: u64,
    pub snapshots: u64,
    pub deleted: u64,
    pub disk_full: u64,
    pub calls: u64,
    pub answers: u64,
    pub chunks: u64,
    pub resumed: u64,
    pub failed_runs: u64,
    pub recovered_runs: u64,
    pub team_answers: u64,
    pub standings: u64,
}

impl Summary {
    fn counters(&self) -> [(&'static str, u64); 21] {
        [
            ("acked", self.acked),
            ("replayed", self.replayed),
            ("pushes", self.pushes),
            ("gaps", self.gaps),
            ("deltas", self.deltas),
            ("power cuts", self.power_cuts),
            ("kills", self.kills),
            ("poisoned", self.poisoned),
            ("overloads", self.overloads),
            ("resharded", self.resharded),
            ("snapshots", self.snapshots),
            ("deleted", self.deleted),
            ("refusals of a full disk", self.disk_full),
            ("calls of agents", self.calls),
            ("answers", self.answers),
            ("chunks", self.chunks),
            ("resumed answers", self.resumed),
            ("failed runs", self.failed_runs),
            ("recovered runs", self.recovered_runs),
            ("answers of teams", self.team_answers),
            ("questions that were retried in the end", self.standings),
        ]
    }

    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.acked, other.acked),
            (&mut self.replayed, other.replayed),
            (&mut self.pushes, other.pushes),
            (&mut self.gaps, other.gaps),
            (&mut self.deltas, other.deltas),
            (&mut self.power_cuts, other.power_cuts),
            (&mut self.kills, other.kills),
            (&mut self.poisoned, other.poisoned),
            (&mut self.overloads, other.overloads),
            (&mut self.resharded, other.resharded),
            (&mut self.snapshots, other.snapshots),
            (&mut self.deleted, other.deleted),
            (&mut self.disk_full, other.disk_full),
            (&mut self.calls, other.calls),
            (&mut self.answers, other.answers),
            (&mut self.chunks, other.chunks),
            (&mut self.resumed, other.resumed),
            (&mut self.failed_runs, other.failed_runs),
            (&mut self.recovered_runs, other.recovered_runs),
            (&mut self.team_answers, other.team_answers),
            (&mut self.standings, other.standings),
        ];
        pairs.into_iter().for_each(|(sum, part)| *sum += part);
    }

    /// A simulation in which nothing goes wrong proves nothing.
    pub fn assert_everything_happened(&self) {
        for (what, count) in self.counters() {
            assert!(count > 0, "over all seeds there were no {what}: {self:?}");
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Lane {
    Commands,
    Replies,
    Pushes,
}

pub enum Event {
    Command { to: ShardId, from: Caller, command: Command },
    Reply { to: Caller, reply: Result<Reply, Refusal> },
    Push { to: ShardId, push: Push },
    Synced { shard: ShardId, sync: Sync<Memory>, fails: bool },
    Worked { shard: ShardId, work: Work<Memory> },
    Called { shard: ShardId, session: SessionId, run: RunId, voice: u16, attempt: u32, event: CallEvent },
    Tick,
    Act,
    Restart,
}

/// The whole run.
pub struct World {
    pub random: Random,
    pub bug: Option<Bug>,
    pub oracle: Oracle,
    pub clients: Clients,
    pub summary: Summary,
    pub hubs: Vec<Hub>,
    pub calls: Calls,
    /// What is asked and not answered, by token.
    pub asked: HashMap<u64, Asked>,
    /// Nothing goes wrong any more: everything that was promised must now come true.
    pub settling: bool,
    now_us: u64,
    events: BTreeMap<(u64, u64), Event>,
    events_total: u64,
    lanes: HashMap<(ShardId, ShardId, Lane), u64>,
    tokens: u64,
    pub disk: Memory,
    shards: Vec<Shard<Memory>>,
    lives: u64,
    acts_left: u64,
    sync_us: u64,
    traces: bool,
}

const START_US: u64 = 1_761_216_480_000_000;
const TICK_US: u64 = 10_000;
/// Events of a run at the most: beyond, something goes round in circles.
const EVENTS_MAX: u64 = 400_000;

/// Runs one seed.
pub fn simulate(seed: u64, bug: Option<Bug>) -> Result<Summary, String> {
    let mut world = World::new(seed, bug);
    world.run();
    if world.oracle.violations.is_empty() {
        world.final_checks();
    }
    match world.oracle.violations.first() {
        None => Ok(world.summary),
        Some(first) => Err(format!("{first} ({} violations)", world.oracle.violations.len())),
    }
}

/// A line about a thing whose whole text may hold a disk.
fn brief(thing: &impl std::fmt::Debug) -> String {
    format!("{thing:?}")
        .split("MemoryHandle")
        .next()
        .unwrap_or_default()
        .split("Memory {")
        .next()
        .unwrap_or_default()
        .to_owned()
}

impl World {
    fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut random = Random::new(seed);
        let (acts_left, sync_us) = (150 + random.below(250), [200, 2_000, 20_000][random.below(3) as usize]);
        let mut world = Self {
            random,
            bug,
            oracle: Oracle::default(),
            clients: Clients::default(),
            summary: Summary::default(),
            hubs: Vec::new(),
            calls: Calls::default(),
            asked: HashMap::new(),
            settling: false,
            now_us: 1_000_000,
            events: BTreeMap::new(),
            events_total: 0,
            lanes: HashMap::new(),
            tokens: 0,
            disk: Memory::new(),
            shards: Vec::new(),
            lives: 0,
            acts_left,
            sync_us,
            traces: std::env::var_os("FLEETLM_SIM_TRACE").is_some(),
        };
        world.start();
        world.begin_clients();
        world.at(1, Event::Act);
        world
    }

    pub fn now(&self) -> Now {
        Now { unix_us: START_US + self.now_us, mono_us: self.now_us }
    }

    pub fn shards(&self) -> u16 {
        self.shards.len() as u16
    }

    /// Says what happens, for the one who looks for the cause of a failure.
    pub fn trace(&self, what: impl FnOnce() -> String) {
        if self.traces {
            println!("{:>12} {}", self.now_us, what());
        }
    }

    pub fn at(&mut self, in_us: u64, event: Event) {
        self.events_total += 1;
        self.events.insert((self.now_us + in_us, self.events_total), event);
    }

    fn run(&mut self) {
        while let Some(((at_us, _), event)) = self.events.pop_first() {
            self.now_us = at_us;
            self.handle(event);
            if !self.oracle.violations.is_empty() || (self.settling && self.is_settled()) {
                return;
            }
            if self.events_total > EVENTS_MAX {
                let open = self.describe_open();
                return self.oracle.violation(format!("the run does not settle: {open}"));
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Command { to, from, command } => self.step(to, Input::Call { from, access: None, command }),
            Event::Reply { to, reply } => self.answered(to, reply),
            Event::Push { to, push } => self.pushed(to, push),
            Event::Synced { shard, sync, fails } => {
                let result = if fails { Err(io::Error::other("planned")) } else { sync.run() };
                self.summary.poisoned += u64::from(fails);
                self.step(shard, Input::Synced(sync, result));
            }
            Event::Called { shard, session, run, voice, attempt, event } => {
                self.hear_agent(shard, session, run, voice, attempt, event);
            }
            Event::Worked { shard, work } => self.step(shard, Input::Worked(work.run())),
            Event::Tick => self.tick(),
            Event::Act => self.act_or_settle(),
            Event::Restart => self.crash(),
        }
    }

    fn tick(&mut self) {
        for shard in 0..self.shards() {
            self.step(ShardId(shard), Input::Tick);
            let mut deliveries = Vec::new();
            let now = self.now();
            self.hubs[usize::from(shard)].tick(now, &mut deliveries);
            self.deliver(ShardId(shard), deliveries);
        }
        self.at(TICK_US, Event::Tick);
    }

    fn act_or_settle(&mut self) {
        if self.acts_left > 0 {
            self.acts_left -= 1;
            self.act();
            if self.random.chance(1) {
                self.at(0, Event::Restart);
            }
            if self.random.chance(3) {
                let full = self.random.chance(40);
                self.trace(|| format!("the disk is full: {full}"));
                self.disk.set_bytes_free(if full { 0 } else { u64::MAX });
            }
        } else {
            // A poisoned log takes nothing more in this life.
            if !self.settling && self.summary.poisoned > 0 {
                self.at(0, Event::Restart);
            }
            self.settling = true;
            self.disk.set_bytes_free(u64::MAX);
            self.act_towards_the_end();
        }
        let pause_us = self.random.delay_us(3_000) + 1;
        self.at(pause_us, Event::Act);
    }

    // Shards.

    pub fn step(&mut self, shard: ShardId, input: Input<Memory>) {
        let mut out = Vec::new();
        let now = self.now();
        if !matches!(input, Input::Tick) {
            self.trace(|| format!("life {} shard {} takes {}", self.lives, shard.0, brief(&input)));
        }
        self.shards[usize::from(shard.0)].step(now, input, &mut out);
        for output in out {
            self.trace(|| format!("life {} shard {} says {}", self.lives, shard.0, brief(&output)));
            match output {
                Output::Reply { to, .. } if to.token == Caller::NOBODY => {}
                Output::Spread { .. } => self.oracle.violation("nobody registers an agent here".to_owned()),
                Output::Call(call) => self.call_agent(shard, &call),
                Output::StopCall { session, run, voice } => self.stop_call(session, run, voice),
                Output::Reply { to, reply } => {
                    let delay_us = self.random.delay_us(100);
                    self.mail(shard, to.shard, Lane::Replies, delay_us, Event::Reply { to, reply });
                }
                Output::Push { to, push } => self.send_push(shard, to, push),
                Output::Sync(sync) => self.begin_sync(shard, sync),
                Output::Work(work) => {
                    let delay_us = self.random.delay_us(1_000);
                    self.at(delay_us, Event::Worked { shard, work });
                }
            }
        }
    }

    fn begin_sync(&mut self, shard: ShardId, sync: Sync<Memory>) {
        if self.bug == Some(Bug::AckBeforeSync) {
            return self.step(shard, Input::Synced(sync, Ok(())));
        }
        let delay_us = self.random.delay_us(self.sync_us);
        let fails = !self.settling && self.random.below(1500) == 0;
        self.at(delay_us, Event::Synced { shard, sync, fails });
        if fails {
            self.at(delay_us + 50_000, Event::Restart); // somebody restarts a server that is not healthy
        }
    }

    /// A push, or, when the mailbox is full, a gap in its place.
    fn send_push(&mut self, from: ShardId, to: ShardId, push: Push) {
        let loses = self.bug == Some(Bug::DropPushSilently);
        let full = (!self.settling || loses) && self.random.chance(2);
        let push = match (full, push) {
            (true, Push::Message { .. } | Push::Chunk { .. } | Push::Run { .. })
                if self.bug == Some(Bug::DropPushSilently) =>
            {
                return;
            }
            (true, Push::Message { session, .. } | Push::Chunk { session, .. } | Push::Run { session, .. }) => {
                Push::Gap { session }
            }
            (true, Push::Inbox { user, .. }) => Push::InboxGap { user },
            (_, push) => push,
        };
        let delay_us = self.random.delay_us(100);
        self.mail(from, to, Lane::Pushes, delay_us, Event::Push { to, push });
    }

    fn mail(&mut self, from: ShardId, to: ShardId, lane: Lane, delay_us: u64, event: Event) {
        let at_us = self.lanes.get(&(from, to, lane)).copied().unwrap_or(0).max(self.now_us + delay_us);
        self.lanes.insert((from, to, lane), at_us);
        self.at(at_us - self.now_us, event);
    }

    /// Sends a command from a connection's shard. When the mailbox is full it is refused at once.
    pub fn send(&mut self, from: ShardId, to: ShardId, command: Command, asked: Option<Asked>) {
        self.tokens += 1;
        let caller = Caller { shard: from, token: self.tokens };
        if let Some(asked) = asked {
            self.asked.insert(self.tokens, asked);
            if !self.settling && self.random.chance(1) {
                self.summary.overloads += 1;
                return self.at(0, Event::Reply { to: caller, reply: Err(Refusal::Overloaded) });
            }
        }
        let delay_us = self.random.delay_us(100);
        self.mail(from, to, Lane::Commands, delay_us, Event::Command { to, from: caller, command });
    }

    pub fn owner(&self, session: SessionId) -> ShardId {
        owner_of_session(session, self.shards())
    }

    /// Tells the owners of topics that nobody here listens to.
    pub fn tell_abandoned(&mut self, shard: ShardId) {
        for topic in self.hubs[usize::from(shard.0)].take_abandoned() {
            self.unsubscribe(shard, &topic);
        }
    }

    pub fn unsubscribe(&mut self, shard: ShardId, topic: &TopicKey) {
        match topic {
            TopicKey::Session(session) => {
                let command = Command::Unsubscribe { session: *session, shard };
                self.send(shard, self.owner(*session), command, None);
            }
            TopicKey::Inbox(user_id) => {
                for to in 0..self.shards() {
                    let command = Command::UnwatchInbox { user: user_id.clone(), shard };
                    self.send(shard, ShardId(to), command, None);
                }
            }
        }
    }

    fn pushed(&mut self, to: ShardId, push: Push) {
        self.summary.pushes += 1;
        let mut deliveries = Vec::new();
        let now = self.now();
        self.hubs[usize::from(to.0)].push(now, push, &mut deliveries);
        self.deliver(to, deliveries);
        self.tell_abandoned(to);
    }

    // Lives.

    fn crash(&mut self) {
        self.count_runs();
        self.disk = if self.random.chance(70) {
            self.summary.power_cuts += 1;
            let random = &mut self.random;
            self.disk.crash(&mut |_| match random.below(4) {
                0 => Fate::Kept,
                1 => Fate::Zeroed,
                2 => Fate::Scrambled,
                _ => Fate::Lost,
            })
        } else {
            self.summary.kills += 1;
            self.disk.kill()
        };
        self.disk.set_bytes_free(u64::MAX);
        self.start();
        self.reconnect();
    }

    /// A new life on the disk as it is.
    fn start(&mut self) {
        self.lives += 1;
        let shards = 1 + self.random.below(4) as u16;
        self.summary.resharded += u64::from(self.lives > 1 && usize::from(shards) != self.shards.len());
        let (seed, segment_bytes) = (self.random.next(), 16 << 10);
        let options = storage::Options { shards, seed, segment_bytes, ..storage::Options::default() };
        let recovered = match storage::recover(&self.disk, &options) {
            Ok(recovered) => recovered,
            Err(error) => return self.oracle.violation(format!("life {} does not recover: {error}", self.lives)),
        };
        if !recovered.report.corrupt.is_empty() {
            self.oracle.violation(format!("recovery found corruption: {:?}", recovered.report.corrupt));
        }
        let open = |shard| {
            let options = storage::Options { shard, ..options.clone() };
            Shard::open(self.disk.clone(), &recovered, options, None).expect("a recovered log opens")
        };
        self.shards = (0..shards).map(open).collect();
        self.trace(|| format!("life {} has {shards} shards, {:?}", self.lives, recovered.report));
        let cold = self.random.chance(50);
        self.disk.set_cold(cold);
        self.hubs = (0..shards).map(|_| Hub::default()).collect();
        let keeps = |event: &Event| matches!(event, Event::Act);
        self.events.retain(|_, event| keeps(event));
        self.lanes.clear();
        self.at(TICK_US, Event::Tick);
        self.register_agent();
    }

    /// Of a call that was stopped nothing more is heard but its end.
    pub fn drop_lines(&mut self, of_session: SessionId, of_run: RunId, of_voice: u16) {
        self.events.retain(|_, event| match event {
            Event::Called { session, run, voice, event: CallEvent::Lines(_), .. } => {
                (*session, *run, *voice) != (of_session, of_run, of_voice)
            }
            _ => true,
        });
    }

    pub fn all_shards(&self) -> &[Shard<Memory>] {
        &self.shards
    }

    // The end.

    /// Asks a shard directly, past all mail, performing what it wants at once.
    pub fn ask(&mut self, shard: ShardId, command: Command) -> Result<Reply, Refusal> {
        let token = u64::MAX;
        let mut inputs = vec![Input::Call { from: Caller { shard, token }, access: None, command }];
        let mut answer = None;
        while let Some(input) = inputs.pop() {
            let mut out = Vec::new();
            self.shards[usize::from(shard.0)].step(
                Now { unix_us: START_US + self.now_us, mono_us: self.now_us },
                input,
                &mut out,
            );
            for output in out {
                match output {
                    Output::Reply { to, reply } if to.token == token => answer = Some(reply),
                    Output::Sync(sync) => {
                        let result = sync.run();
                        inputs.push(Input::Synced(sync, result));
                    }
                    Output::Work(work) => inputs.push(Input::Worked(work.run())),
                    Output::Reply { .. }
                    | Output::Push { .. }
                    | Output::Spread { .. }
                    | Output::Call(_)
                    | Output::StopCall { .. } => {}
                }
            }
        }
        answer.expect("a shard that is not waiting answers at once")
    }

    /// Adds up what this life's runs came to.
    fn count_runs(&mut self) {
        for shard in &self.shards {
            let runs = shard.status().runs;
            self.summary.answers += runs.finished;
            self.summary.failed_runs += runs.failed;
            self.summary.recovered_runs += runs.recovered;
        }
    }

    fn final_checks(&mut self) {
        self.count_runs();
        let files = self.disk.list().expect("a disk in memory can be listed");
        self.summary.snapshots += files.iter().filter(|file| file.name.ends_with(".snapshot")).count() as u64;
        self.check_everything();
    }
}
