//! A few shards over one medium, beside a model that knows what each was told and what it acknowledged.

#![allow(dead_code)] // Each test binary uses its part.

use std::collections::{BTreeMap, BTreeSet};
use storage::{
    AppendError, Durability, ENDS_KEY, Fold, Key, Kind, Log, Lsn, Medium, Memory, NewRecord, Options, ReadError,
    Record, Recovered, Slot, SnapshotStep, TRANSIENT, recover,
};

pub const MESSAGE: Kind = Kind(1);
pub const NOTE: Kind = Kind(2);
pub const DELETED: Kind = Kind(3);
/// A note that is transient.
pub const CHUNK: Kind = Kind(4);
pub const AGENT: Kind = Kind(64);

/// Marks the address of a transient note in a snapshot's state.
const CHUNK_MARK: u64 = 1 << 63;

/// What a caller of the log would keep per key: here, the addresses of its notes and its last seq.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub last_seq: u64,
    pub notes: BTreeSet<u64>,
    pub chunks: BTreeSet<u64>,
}

/// What a caller keeps of a whole log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    pub keys: BTreeMap<u128, State>,
    pub agents: BTreeSet<u64>,
    pub slots: BTreeMap<u32, u128>,
}

impl Fold for Folded {
    fn snapshot(&mut self, entry: Option<(Key, Slot)>, state: &[u8]) {
        let numbers: Vec<u64> = state.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        match entry {
            None => self.agents.extend(numbers),
            Some((key, slot)) => {
                self.slots.insert(slot.0, key.0);
                let (chunks, notes) = numbers[1..].iter().partition::<BTreeSet<u64>, _>(|lsn| **lsn & CHUNK_MARK != 0);
                let chunks = chunks.into_iter().map(|lsn| lsn ^ CHUNK_MARK).collect();
                self.keys.insert(key.0, State { last_seq: numbers[0], notes, chunks });
            }
        }
    }

    fn record(&mut self, record: &Record<'_>, slot: Option<Slot>) {
        let Some(slot) = slot else {
            self.agents.insert(record.lsn.0);
            return;
        };
        self.slots.insert(slot.0, record.key.0);
        let state = self.keys.entry(record.key.0).or_default();
        if record.seq > 0 {
            state.last_seq = state.last_seq.max(record.seq);
        } else if record.is_transient() {
            state.chunks.insert(record.lsn.0);
        } else {
            state.notes.insert(record.lsn.0);
        }
        if record.flags & ENDS_KEY != 0 {
            self.keys.remove(&record.key.0);
            self.slots.remove(&slot.0);
        }
    }
}

impl Folded {
    fn state_bytes(&self, slot: Option<Slot>, out: &mut Vec<u8>) {
        let mut push = |number: u64| out.extend_from_slice(&number.to_le_bytes());
        match slot {
            None => self.agents.iter().for_each(|lsn| push(*lsn)),
            Some(slot) => {
                let state = &self.keys[&self.slots[&slot.0]];
                push(state.last_seq);
                state.notes.iter().for_each(|lsn| push(*lsn));
                state.chunks.iter().for_each(|lsn| push(*lsn | CHUNK_MARK));
            }
        }
    }
}

/// A record that was appended.
#[derive(Clone, Debug)]
pub struct Appended {
    pub lsn: Lsn,
    pub shard: usize,
    pub key: u128,
    pub kind: Kind,
    pub seq: u64,
    pub payload: Vec<u8>,
}

pub struct Shard<M: Medium> {
    pub log: Log<M>,
    pub folded: Folded,
}

/// The shards of one start, and all that was ever appended and can still be there.
pub struct Rig<M: Medium> {
    pub medium: M,
    pub options: Options,
    pub shards: Vec<Shard<M>>,
    pub appended: Vec<Appended>,
    pub deleted: BTreeSet<u128>,
    /// Addresses of transient records that lay below a floor once: they may be there or not.
    pub passed: BTreeSet<u64>,
    pub recovered: Recovered,
    pub starts: u64,
    /// The stamp of what is appended.
    pub time_us: u64,
}

pub fn small() -> Options {
    Options { segment_bytes: 16 << 10, index_every: 4, seed: 1, ..Options::default() }
}

pub fn payload(seed: u64, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (seed.wrapping_mul(31).wrapping_add(at as u64 * 7) % 251) as u8 + 1).collect()
}

impl<M: Medium> Rig<M> {
    pub fn start(medium: M, options: Options) -> Self {
        let recovered = recover(&medium, &options).expect("the folder recovers");
        let mut rig = Self {
            medium,
            options,
            shards: Vec::new(),
            appended: Vec::new(),
            deleted: BTreeSet::new(),
            passed: BTreeSet::new(),
            recovered,
            starts: 1,
            time_us: 5,
        };
        rig.open();
        rig
    }

    fn open(&mut self) {
        let shards = u128::from(self.options.shards);
        self.shards = (0..self.options.shards)
            .map(|shard| {
                let mut folded = Folded::default();
                let options = Options { shard, ..self.options.clone() };
                let owns = move |key: Key| key.0 % shards == u128::from(shard);
                let log =
                    Log::open(self.medium.clone(), &self.recovered, options, owns, &mut folded).expect("it opens");
                Shard { log, folded }
            })
            .collect();
    }

    /// Starts again on another image of the disk, with another number of shards. The model stays.
    pub fn restart(&mut self, medium: M, shards: u16) {
        self.shards.clear();
        self.medium = medium;
        self.starts += 1;
        self.options.shards = shards;
        self.options.seed = self.starts;
        self.recovered = recover(&self.medium, &self.options).expect("the folder recovers");
        self.open();
    }

    pub fn shard_of(&self, key: u128) -> usize {
        (key % u128::from(self.options.shards)) as usize
    }

    pub fn try_append(&mut self, kind: Kind, key: u128, payload: &[u8]) -> Result<Lsn, AppendError> {
        let index = self.shard_of(key);
        let shard = &mut self.shards[index];
        let seq = match kind {
            MESSAGE => shard.log.slot(Key(key)).map_or(0, |slot| shard.log.last_seq(slot)) + 1,
            _ => 0,
        };
        let flags = match kind {
            DELETED => ENDS_KEY,
            CHUNK => TRANSIENT,
            _ => 0,
        };
        let (one, other) = payload.split_at(payload.len() / 2);
        let record =
            NewRecord { kind, flags, key: Key(key), seq, time_us: self.time_us, meta: b"meta", payload: &[one, other] };
        let appended = shard.log.append(record)?;
        let at = shard.log.read(appended.lsn).expect("what was appended can be read");
        shard.folded.record(&at, appended.slot);
        if kind == DELETED {
            shard.log.forget(Key(key));
            self.deleted.insert(key);
        }
        // No address is used twice, but for one that a crash took before anything knew of it.
        self.passed.remove(&appended.lsn.0);
        self.appended.push(Appended { lsn: appended.lsn, shard: index, key, kind, seq, payload: payload.to_vec() });
        Ok(appended.lsn)
    }

    /// Appends, running work when the next segment is not ready.
    pub fn append(&mut self, kind: Kind, key: u128, payload: &[u8]) -> Lsn {
        loop {
            match self.try_append(kind, key, payload) {
                Ok(lsn) => return lsn,
                Err(AppendError::NotReady) => assert!(self.work() > 0, "nothing prepares the next segment"),
                Err(error) => panic!("append: {error}"),
            }
        }
    }

    pub fn message(&mut self, key: u128, bytes: usize) -> Lsn {
        let seed = self.appended.len() as u64;
        self.append(MESSAGE, key, &payload(seed, bytes))
    }

    /// A transient record.
    pub fn chunk(&mut self, key: u128, bytes: usize) -> Lsn {
        let seed = self.appended.len() as u64;
        self.append(CHUNK, key, &payload(seed, bytes))
    }

    /// Sets the transient floor of a shard.
    pub fn set_floor(&mut self, shard: usize, lsn: Lsn) {
        let log = &mut self.shards[shard].log;
        log.set_transient_floor(lsn);
        let floor = lsn.min(log.end());
        let shards = u128::from(self.options.shards);
        let below = self
            .appended
            .iter()
            .filter(|record| record.kind == CHUNK && record.key % shards == shard as u128 && record.lsn < floor);
        self.passed.extend(below.map(|record| record.lsn.0));
    }

    /// Sets the transient floor of every shard to its end.
    pub fn set_floors(&mut self) {
        (0..self.shards.len()).for_each(|shard| self.set_floor(shard, self.shards[shard].log.end()));
    }

    pub fn sync(&mut self) {
        (0..self.shards.len()).for_each(|shard| self.sync_shard(shard));
    }

    pub fn sync_shard(&mut self, shard: usize) {
        let log = &mut self.shards[shard].log;
        if let Some(sync) = log.begin_sync() {
            let result = sync.run();
            log.finish_sync(sync, result).expect("the sync succeeds");
        }
    }

    /// Runs all work there is, and says how much.
    pub fn work(&mut self) -> usize {
        let mut count = 0;
        for shard in &mut self.shards {
            while let Some(work) = shard.log.begin_work() {
                let done = work.run();
                shard.log.finish_work(done);
                count += 1;
                assert!(count < 100_000, "work without end");
            }
        }
        count
    }

    pub fn snapshot_step(&mut self, shard: usize, budget: usize) -> SnapshotStep {
        let Shard { log, folded } = &mut self.shards[shard];
        log.snapshot_step(budget, &mut |slot, out| folded.state_bytes(slot, out))
    }

    /// Takes a snapshot of every shard, to the end.
    pub fn snapshot_all(&mut self) {
        for shard in 0..self.shards.len() {
            self.shards[shard].log.snapshot_now();
            for _ in 0..10_000 {
                if self.snapshot_step(shard, 1000) == SnapshotStep::Idle {
                    break;
                }
                self.sync_shard(shard);
                self.work();
            }
            assert!(!self.shards[shard].log.snapshot_due(), "the snapshot of shard {shard} ends");
        }
    }

    /// How many appended records of a shard are durable.
    pub fn durable_of(&self, shard: usize) -> Lsn {
        self.shards[shard].log.durable()
    }

    /// Drops from the model what a crash has taken: of each former shard's records, those behind the first that is gone.
    /// What lies below `promised` must be there.
    pub fn settle(&mut self, promised: &[Lsn]) {
        let mut gone = vec![false; promised.len()];
        let mut kept = Vec::new();
        for record in std::mem::take(&mut self.appended) {
            let is_old = record.shard == usize::MAX;
            let reader = &self.shards[self.shard_of(record.key)].log;
            let is_there = match reader.read(record.lsn) {
                Ok(found) => {
                    assert_eq!(found.key.0, record.key, "{}", record.lsn);
                    assert_eq!(found.payload, record.payload, "{}", record.lsn);
                    assert_eq!((found.kind, found.seq, found.meta), (record.kind, record.seq, &b"meta"[..]));
                    true
                }
                Err(ReadError::Unknown) => false,
                Err(error) => panic!("{}: {error}", record.lsn),
            };
            let is_dead =
                (self.deleted.contains(&record.key) && record.kind != DELETED) || self.passed.contains(&record.lsn.0);
            if is_old {
                assert!(is_there || is_dead, "{} of an earlier life is lost", record.lsn);
            } else if is_there {
                assert!(!gone[record.shard], "{} is there and a record before it is not", record.lsn);
            } else {
                assert!(record.lsn >= promised[record.shard] || is_dead, "{} was durable and is lost", record.lsn);
                gone[record.shard] |= !is_dead;
            }
            if is_there {
                kept.push(Appended { shard: usize::MAX, ..record });
            } else if record.kind == DELETED {
                self.deleted.remove(&record.key);
            }
        }
        self.appended = kept;
    }

    /// The logs and what was folded from them hold exactly what the model holds.
    pub fn check(&self) {
        let mut expected: BTreeMap<u128, Vec<&Appended>> = BTreeMap::new();
        let mut states: BTreeMap<u128, State> = BTreeMap::new();
        let mut agents = BTreeSet::new();
        for record in &self.appended {
            let live = !self.deleted.contains(&record.key);
            match record.kind {
                AGENT => {
                    agents.insert(record.lsn.0);
                }
                MESSAGE if live => {
                    expected.entry(record.key).or_default().push(record);
                    let state = states.entry(record.key).or_default();
                    state.last_seq = state.last_seq.max(record.seq);
                }
                NOTE if live => {
                    states.entry(record.key).or_default().notes.insert(record.lsn.0);
                }
                CHUNK if live && !self.passed.contains(&record.lsn.0) => {
                    states.entry(record.key).or_default().chunks.insert(record.lsn.0);
                }
                _ => {}
            }
        }
        let mut folded: BTreeMap<u128, State> = BTreeMap::new();
        let mut folded_agents = BTreeSet::new();
        for shard in &self.shards {
            folded.extend(shard.folded.keys.clone());
            folded_agents.extend(shard.folded.agents.iter().copied());
            assert_eq!(shard.log.status().keys as usize, shard.folded.keys.len());
        }
        // What a floor has passed may be known or not, and a key that had nothing else may be known or not.
        folded.values_mut().for_each(|state| state.chunks.retain(|lsn| !self.passed.contains(lsn)));
        folded.retain(|_, state| *state != State::default());
        assert_eq!(folded, states);
        assert_eq!(folded_agents, agents);
        for (key, messages) in expected {
            self.check_key(key, &messages);
        }
    }

    fn check_key(&self, key: u128, messages: &[&Appended]) {
        let log = &self.shards[self.shard_of(key)].log;
        let slot = log.slot(Key(key)).expect("the key is known");
        assert_eq!(log.key(slot), Key(key));
        assert_eq!(log.last_seq(slot), messages.len() as u64, "key {key}");
        for (at, message) in messages.iter().enumerate() {
            assert_eq!(message.seq, at as u64 + 1);
            assert_eq!(log.find(slot, message.seq), Ok(message.lsn), "key {key} seq {}", message.seq);
            assert_eq!(log.read(message.lsn).expect("it reads").payload, message.payload);
        }
        let lsns: Vec<Lsn> = messages.iter().map(|message| message.lsn).collect();
        let count = lsns.len() as u64;
        for after in [0, 1, count / 2, count] {
            let page = log.messages(slot, after, log.end(), 3, u64::MAX).expect("a page");
            let rest = &lsns[(after as usize).min(lsns.len())..];
            assert_eq!(page.lsns, rest[..rest.len().min(3)], "key {key} after {after}");
            assert_eq!(page.more, rest.len() > 3);
            let page = log.messages_before(slot, after, log.end(), 3, u64::MAX).expect("a page");
            let below = &lsns[..(after as usize).saturating_sub(1).min(lsns.len())];
            assert_eq!(page.lsns, below[below.len().saturating_sub(3)..], "key {key} before {after}");
            assert_eq!(page.more, below.len() > 3);
            self.check_reader(key, after, messages);
        }
    }
}

impl<M: Medium> Rig<M> {
    /// A reader finds the same messages above `after`: each behind the last one, or where a walk over its block says.
    fn check_reader(&self, key: u128, after: u64, messages: &[&Appended]) {
        let log = &self.shards[self.shard_of(key)].log;
        let slot = log.slot(Key(key)).expect("the key is known");
        let mut reader = log.reader();
        let mut last: Option<Record<'_>> = None;
        let mut block = Vec::new();
        for message in messages.iter().filter(|message| message.seq > after) {
            if block.is_empty() {
                reader.walk_block(slot, message.seq - 1, u64::MAX, &mut block).expect("it is there");
            }
            assert_eq!(block.pop(), Some(message.lsn), "key {key} seq {}", message.seq);
            let near = last.and_then(|last| reader.read_next(&last, usize::MAX).expect("in memory"));
            let record = reader.read(message.lsn).expect("it reads");
            assert!(near.is_none_or(|near| near == record), "key {key}: a neighbour that is another one");
            assert_eq!((record.seq, record.payload), (message.seq, message.payload.as_slice()));
            let bytes = record.payload.len();
            assert_eq!(reader.read_within(message.lsn, bytes), Ok(Some(record)));
            if bytes > 0 {
                assert_eq!(reader.read_within(message.lsn, bytes - 1), Ok(None));
            }
            last = Some(record);
        }
        assert!(last.is_none_or(|last| reader.read_next(&last, usize::MAX) == Ok(None)), "key {key} goes on");
    }
}

impl Rig<Memory> {
    /// The disk when the process dies after it has handed everything to the kernel.
    pub fn kill(&self) -> Memory {
        self.shards.iter().for_each(|shard| shard.log.flush().expect("this medium takes all"));
        self.medium.kill()
    }

    /// Cuts the power or kills the process, starts again with `shards` shards, and checks.
    pub fn crash(&mut self, fate: &mut dyn FnMut(storage::Unsynced<'_>) -> storage::Fate, shards: u16) {
        let is_disk = self.options.durability == Durability::Disk;
        let promised: Vec<Lsn> =
            self.shards.iter().map(|shard| if is_disk { shard.log.durable() } else { Lsn::NONE }).collect();
        self.kill(); // the kernel has everything, so that anything of it may have reached the disk
        let image = self.medium.crash(fate);
        self.restart(image, shards);
        self.settle(&promised);
        self.check();
        assert!(self.recovered.report.corrupt.is_empty(), "{:?}", self.recovered.report.corrupt);
    }
}

/// The folder of `tests/golden/v1`: two shards, two lives, a snapshot of each shard, a packed segment, a torn end.
pub fn golden_v1() -> Memory {
    let mut rig = Rig::start(Memory::new(), Options { shards: 2, ..small() });
    for key in 1..5 {
        rig.append(NOTE, key, b"created");
    }
    rig.append(AGENT, 9, b"agent");
    for seq in 1..=30 {
        for key in 1..5 {
            rig.append(MESSAGE, key, &payload(seq, 100 + key as usize));
        }
        for key in 11..15 {
            rig.append(MESSAGE, key, &payload(seq, 300));
        }
        rig.sync();
        rig.work();
        if seq == 12 {
            rig.snapshot_all();
        }
    }
    for key in 11..15 {
        rig.append(DELETED, key, b"");
    }
    for _ in 0..20 {
        rig.sync();
        rig.work();
    }
    rig.restart(rig.kill(), 2);
    rig.append(MESSAGE, 5, &payload(1, 105));
    rig.sync();
    rig.append(MESSAGE, 5, &payload(2, 105));
    let torn = rig.append(MESSAGE, 5, &payload(3, 105));
    let image = rig.kill();
    image.flip(&storage::segment::file_name(torn.segment()), torn.offset() as usize + 80, 1);
    image
}
