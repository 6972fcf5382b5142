//! A shard over a disk in memory, driven by hand: what it holds back, what it lets go, what it remembers.

mod agents;
mod appends;
mod asks;
mod blobs;
mod durability;
mod histories;
mod holdings;
mod inboxes;
mod keys;
mod reads;
mod recovery;
mod router;
mod runs;
mod runs_lost;
mod sessions;
mod standings;
mod tails;
mod teams;
mod tenants;

use super::*;
use crate::session::{Json, MessageId, RunId};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use storage::{Durability, Memory};

/// A turn's outputs, as the driver would see them.
#[derive(Debug, PartialEq)]
enum Said {
    Reply(u64, Result<Reply, Refusal>),
    Push(ShardId, Push),
}

/// One shard, its disk and its driver. Syncs and work are performed at once unless they are held.
struct Bench {
    disk: Memory,
    options: storage::Options,
    shard: Shard<Memory>,
    said: Vec<Said>,
    syncs: VecDeque<storage::Sync<Memory>>,
    works: VecDeque<storage::Work<Memory>>,
    calls: VecDeque<Call>,
    /// Runs whose call was ended early.
    stopped: Vec<RunId>,
    hold_syncs: bool,
    hold_works: bool,
    now_us: u64,
    tokens: u64,
    lives: u64,
}

const HERE: ShardId = ShardId(0);
const THERE: ShardId = ShardId(1);
const START_US: u64 = 1_761_216_480_000_000;

fn options() -> storage::Options {
    storage::Options { segment_bytes: 256 << 10, seed: 1, ..storage::Options::default() }
}

fn open(disk: &Memory, options: &storage::Options) -> Shard<Memory> {
    let recovered = storage::recover(disk, options).expect("the disk can be recovered");
    Shard::open(disk.clone(), &recovered, options.clone(), None).expect("the shard opens")
}

fn id(n: u64) -> SessionId {
    SessionId::from_parts(START_US / 1000 + n, 0)
}

fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

fn value(json: &Json) -> Value {
    serde_json::from_str(json.as_str()).unwrap()
}

impl Bench {
    fn new() -> Self {
        Self::with(options())
    }

    fn with(options: storage::Options) -> Self {
        let disk = Memory::new();
        let shard = open(&disk, &options);
        let (said, syncs, works, calls) = (Vec::new(), VecDeque::new(), VecDeque::new(), VecDeque::new());
        let (hold_syncs, hold_works) = (false, false);
        Self {
            disk,
            options,
            shard,
            said,
            syncs,
            works,
            calls,
            stopped: Vec::new(),
            hold_syncs,
            hold_works,
            now_us: START_US,
            tokens: 0,
            lives: 1,
        }
    }

    /// A bench with the session `id(1)` of alice and bot.
    fn with_session() -> Self {
        let mut bench = Self::new();
        bench.create(1, "alice");
        bench.said.clear();
        bench
    }

    fn now(&self) -> Now {
        Now { unix_us: self.now_us, mono_us: self.now_us }
    }

    fn step(&mut self, input: Input<Memory>) {
        let mut out = Vec::new();
        self.shard.step(self.now(), input, &mut out);
        for output in out {
            match output {
                Output::Reply { to, reply } => self.said.push(Said::Reply(to.token, reply)),
                Output::Push { to, push } => self.said.push(Said::Push(to, push)),
                Output::Sync(sync) => self.syncs.push_back(sync),
                Output::Work(work) => self.works.push_back(work),
                Output::Call(call) => self.calls.push_back(*call),
                Output::StopCall { run, .. } => self.stopped.push(run),
                Output::Spread { to, reply, note } => {
                    let from = Caller { shard: HERE, token: Caller::NOBODY };
                    let command = Command::Learn { notes: vec![*note], complete: false };
                    let mut out = Vec::new();
                    self.shard.step(self.now(), Input::Call { from, access: None, command }, &mut out);
                    assert!(matches!(out[..], [Output::Reply { .. }]), "a shard that learns says that it did");
                    self.said.push(Said::Reply(to.token, Ok(reply)));
                }
            }
        }
    }

    /// Performs what is not held until nothing is left.
    fn run(&mut self) {
        loop {
            if !self.hold_works
                && let Some(work) = self.works.pop_front()
            {
                self.step(Input::Worked(work.run()));
            } else if !self.hold_syncs
                && let Some(sync) = self.syncs.pop_front()
            {
                let result = sync.run();
                self.step(Input::Synced(sync, result));
            } else {
                return;
            }
        }
    }

    fn release_syncs(&mut self) {
        self.hold_syncs = false;
        self.run();
    }

    /// The sync in flight fails.
    fn fail_sync(&mut self) {
        let sync = self.syncs.pop_front().expect("a sync is in flight");
        self.step(Input::Synced(sync, Err(io::Error::other("the disk is gone"))));
    }

    /// Sends a command from `shard` without waiting. Gives its token.
    fn send_from(&mut self, shard: ShardId, command: Command) -> u64 {
        self.tokens += 1;
        self.now_us += 1000;
        let from = Caller { shard, token: self.tokens };
        self.step(Input::Call { from, access: None, command });
        self.run();
        self.tokens
    }

    fn send(&mut self, command: Command) -> u64 {
        self.send_from(HERE, command)
    }

    /// The answer to a command, if it has come.
    fn answer(&self, token: u64) -> Option<Result<Reply, Refusal>> {
        let mut answers = self.said.iter().filter_map(|said| match said {
            Said::Reply(to, reply) if *to == token => Some(reply.clone()),
            _ => None,
        });
        let answer = answers.next();
        assert!(answers.next().is_none(), "a command is answered once");
        answer
    }

    fn call(&mut self, command: Command) -> Result<Reply, Refusal> {
        let token = self.send(command);
        self.answer(token).expect("the command was answered")
    }

    fn pushes(&mut self) -> Vec<(ShardId, Push)> {
        let said = std::mem::take(&mut self.said);
        said.into_iter()
            .filter_map(|said| if let Said::Push(to, push) = said { Some((to, push)) } else { None })
            .collect()
    }

    /// The process dies and starts again on `disk`.
    fn restart_on(&mut self, disk: Memory) {
        self.lives += 1;
        self.options.seed = self.lives;
        self.shard = open(&disk, &self.options);
        self.disk = disk;
        (self.syncs, self.works, self.said) = (VecDeque::new(), VecDeque::new(), Vec::new());
    }

    fn kill(&mut self) {
        self.restart_on(self.disk.kill());
    }

    fn cut_power(&mut self) {
        self.restart_on(self.disk.cut_power());
    }

    // Commands.

    fn create(&mut self, n: u64, user: &str) -> Value {
        match self.call(create(n, user)).unwrap() {
            Reply::Session { json } => value(&json),
            other => panic!("unexpected {other:?}"),
        }
    }

    fn append(&mut self, n: u64, author: &str) -> Value {
        let (_, json, _) = appended(self.call(append(n, author, "hi")));
        json
    }

    fn read(&mut self, n: u64, from: PageFrom, limit: usize) -> Page {
        match self.call(Command::ReadMessages { session: id(n), from, limit }).unwrap() {
            Reply::Messages(page) => page,
            other => panic!("unexpected {other:?}"),
        }
    }

    fn seqs(&mut self, n: u64) -> Vec<u64> {
        let page = self.read(n, PageFrom::After(0), 1000);
        seqs(&page)
    }

    fn session(&mut self, n: u64) -> Result<Value, Refusal> {
        self.call(Command::ReadSession { id: id(n) }).map(|reply| match reply {
            Reply::Session { json } => value(&json),
            other => panic!("unexpected {other:?}"),
        })
    }

    fn mark_read(&mut self, n: u64, user: &str, last_seq: u64) -> BTreeMap<String, u64> {
        match self.call(mark_read(n, user, last_seq)).unwrap() {
            Reply::Cursors { cursors, .. } => cursors.into_iter().collect(),
            other => panic!("unexpected {other:?}"),
        }
    }

    fn inbox(&mut self, user: &str) -> Vec<InboxEntry> {
        match self.call(Command::WatchInbox { user_id: user.into() }).unwrap() {
            Reply::Inbox { entries } => entries,
            other => panic!("unexpected {other:?}"),
        }
    }

    fn unread(&mut self, user: &str, n: u64) -> u64 {
        let entries = self.inbox(user);
        entries.iter().find(|entry| entry.session == id(n)).expect("the session is in the inbox").unread_count
    }

    fn join(&mut self, shard: ShardId, n: u64, identity: &str, after_seq: u64) -> Result<Page, Refusal> {
        let token = self.send_from(shard, join(n, identity, after_seq));
        self.answer(token).expect("the join was answered").map(|reply| match reply {
            Reply::Joined { page, .. } => page,
            other => panic!("unexpected {other:?}"),
        })
    }
}

fn create(n: u64, user: &str) -> Command {
    let metadata = json(r#"{"topic": "x"}"#);
    Command::CreateSession { id: id(n), user_id: user.into(), agent_id: "bot".into(), title: None, metadata }
}

fn message(n: u64, author: &str, text: &str) -> Append {
    Append {
        session: id(n),
        message: MessageId::from(u128::from(n) << 64 | 9),
        author: Author::User(author.into()),
        kind: "text".into(),
        content: json(&format!("{{\"text\":\"{text}\"}}")),
        metadata: Json::empty_object(),
        idempotency_key: None,
        expected_seq: None,
        participants_only: false,
        echo: true,
        terms: None,
    }
}

fn append(n: u64, author: &str, text: &str) -> Command {
    Command::Append(Box::new(message(n, author, text)))
}

fn keyed(n: u64, author: &str, text: &str, key: &str) -> Command {
    Command::Append(Box::new(Append { idempotency_key: Some(key.into()), ..message(n, author, text) }))
}

fn expecting(n: u64, expected: u64) -> Command {
    Command::Append(Box::new(Append { expected_seq: Some(expected), ..message(n, "alice", "hi") }))
}

fn mark_read(n: u64, user: &str, last_seq: u64) -> Command {
    Command::MarkRead { session: id(n), user_id: user.into(), last_seq }
}

fn join(n: u64, identity: &str, after_seq: u64) -> Command {
    Command::Join { session: id(n), identity: identity.into(), after_seq, limit: 100, resume: None }
}

fn appended(answer: Result<Reply, Refusal>) -> (u64, Value, bool) {
    match answer.unwrap() {
        Reply::Appended { seq, json: Some(json), replayed } => (seq, value(&json), replayed),
        other => panic!("unexpected {other:?}"),
    }
}

fn messages(page: &Page) -> Vec<Value> {
    let joined = String::from_utf8(page.clone().into_messages()).unwrap();
    let all: Vec<Value> = serde_json::from_str(&format!("[{joined}]")).unwrap();
    assert_eq!(all.len(), page.count);
    all
}

fn seqs(page: &Page) -> Vec<u64> {
    let seqs: Vec<u64> = messages(page).iter().map(|message| message["seq"].as_u64().unwrap()).collect();
    assert_eq!((page.first_seq, page.last_seq), (*seqs.first().unwrap_or(&0), *seqs.last().unwrap_or(&0)));
    seqs
}

fn memory_durability() -> storage::Options {
    storage::Options { durability: Durability::Memory, ..options() }
}
