//! Clients: writers that retry, tails that join again, readers that mark, watchers of inboxes. And the end, when all
//! that was promised is looked at.

use crate::oracle::{Op, Plan, messages_of, seq_and_op};
use crate::teams::TEAM;
use crate::world::{Bug, World};
use fleetlm::session::{Json, MessageId, RunId, SessionId};
use fleetlm::shard::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What a token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Create(usize),
    Append(usize),
    Mark(usize),
    Archive(usize),
    Delete(usize),
    Join { tail: usize, attempt: u64 },
    Backfill { tail: usize, attempt: u64 },
    Watch { watcher: usize, attempt: u64 },
}

#[derive(Default)]
pub struct Clients {
    pub tails: Vec<Tail>,
    pub watchers: Vec<Watcher>,
    channels: u32,
    pub settled_since_us: Option<u64>,
}

/// A client that wants every message of a session.
pub struct Tail {
    pub session: usize,
    pub state: State,
    shard: ShardId,
    attempt: u64,
    channel: Option<ChannelKey>,
    /// The seq that the channel must bring next.
    expected: u64,
    /// Everything it has, by seq.
    pub has: BTreeSet<u64>,
    /// The last seq that it knows of.
    known: u64,
    backfilling: bool,
    left: bool,
    /// The chunk that must come next, once one has come or was named.
    pub next_chunk: Option<(RunId, u32)>,
    /// It asked for the chunks of a running answer.
    resumes: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum State {
    Out,
    Joining,
    In,
    /// The session is gone.
    Closed,
}

/// A client that shows a user's inbox.
pub struct Watcher {
    pub user: &'static str,
    pub state: State,
    shard: ShardId,
    attempt: u64,
    waiting: u16,
    failed: bool,
    channel: Option<ChannelKey>,
    pub view: BTreeMap<SessionId, u64>,
}

pub const USERS: [&str; 2] = ["alice", "bob"];
const AUTHORS: [&str; 3] = ["bot", "bot", "stranger"];
const SESSIONS_MAX: usize = 8;

impl Tail {
    fn new(session: usize) -> Self {
        Self {
            session,
            state: State::Out,
            shard: ShardId(0),
            attempt: 0,
            channel: None,
            expected: 0,
            has: BTreeSet::new(),
            known: 0,
            backfilling: false,
            left: false,
            next_chunk: None,
            resumes: false,
        }
    }

    /// The last seq up to which it has everything.
    pub fn cursor(&self) -> u64 {
        self.has.iter().zip(1..).take_while(|(seq, n)| **seq == *n).count() as u64
    }

    fn out(&mut self) {
        if self.state != State::Closed {
            (self.state, self.channel, self.backfilling) = (State::Out, None, false);
        }
    }
}

impl World {
    pub fn begin_clients(&mut self) {
        for user in USERS {
            self.new_session(user);
        }
        for user in USERS.into_iter().chain(USERS) {
            let view = BTreeMap::new();
            let (state, shard) = (State::Out, ShardId(0));
            self.clients.watchers.push(Watcher {
                user,
                state,
                shard,
                attempt: 0,
                waiting: 0,
                failed: false,
                channel: None,
                view,
            });
        }
    }

    fn new_session(&mut self, user: &'static str) {
        let id = SessionId::from_parts(self.now().unix_us / 1000, u128::from(self.random.next()));
        let session = self.oracle.sessions.len();
        let agent = if self.random.chance(40) { TEAM } else { "bot" };
        let plan =
            Plan { id, user, agent, created: false, archived: false, deleting: false, deleted: false, marked: 0 };
        self.oracle.sessions.push(plan);
        (0..2).for_each(|_| self.clients.tails.push(Tail::new(session)));
    }

    fn somewhere(&mut self) -> ShardId {
        ShardId(self.random.below(u64::from(self.shards())) as u16)
    }

    fn ask_for(&mut self, asked: Asked, command: Command) {
        let from = self.somewhere();
        let to = self.owner(command.session().expect("clients ask about sessions"));
        self.send(from, to, command, Some(asked));
    }

    fn is_asked(&self, asked: &Asked) -> bool {
        self.asked.values().any(|other| other == asked)
    }

    /// One thing that a client does.
    pub fn act(&mut self) {
        let session = self.random.below(self.oracle.sessions.len() as u64) as usize;
        if !self.oracle.sessions[session].created {
            return self.create(session);
        }
        match self.random.below(100) {
            0..45 => self.new_op(session),
            45..60 => self.retry(),
            60..70 => self.mark(session),
            70..85 => {
                let tail = self.random.below(self.clients.tails.len() as u64) as usize;
                self.move_tail(tail);
            }
            85..92 => {
                let watcher = self.random.below(self.clients.watchers.len() as u64) as usize;
                self.watch(watcher);
            }
            92..95 if self.oracle.sessions.len() < SESSIONS_MAX => {
                let user = USERS[self.random.below(2) as usize];
                self.new_session(user);
            }
            95 => {
                self.ask_for(Asked::Archive(session), Command::ArchiveSession { id: self.oracle.sessions[session].id })
            }
            96 if session > 1 => self.delete(session),
            _ => {}
        }
    }

    /// Everybody insists on what they were promised, until nothing is open.
    pub fn act_towards_the_end(&mut self) {
        for session in 0..self.oracle.sessions.len() {
            let plan = self.oracle.sessions[session].clone();
            if !plan.created {
                self.create(session);
            } else if plan.deleting && !plan.deleted && !self.is_asked(&Asked::Delete(session)) {
                self.delete(session);
            }
        }
        for _ in 0..4 {
            self.retry();
        }
        for tail in 0..self.clients.tails.len() {
            if self.clients.tails[tail].state == State::Out {
                self.join(tail);
            } else {
                self.backfill(tail);
            }
        }
        for watcher in 0..self.clients.watchers.len() {
            self.watch(watcher);
        }
    }

    fn create(&mut self, session: usize) {
        if self.is_asked(&Asked::Create(session)) {
            return;
        }
        let Plan { id, user, agent, .. } = self.oracle.sessions[session].clone();
        let metadata = Json::empty_object();
        let command =
            Command::CreateSession { id, user_id: user.into(), agent_id: agent.into(), title: None, metadata };
        self.ask_for(Asked::Create(session), command);
    }

    fn delete(&mut self, session: usize) {
        self.oracle.sessions[session].deleting = true;
        for op in self.oracle.ops.iter_mut().filter(|op| op.session == session) {
            op.given_up = true;
        }
        self.ask_for(Asked::Delete(session), Command::DeleteSession { id: self.oracle.sessions[session].id });
    }

    fn new_op(&mut self, session: usize) {
        if self.oracle.sessions[session].deleting {
            return;
        }
        let author = if self.random.chance(40) {
            self.oracle.sessions[session].user
        } else {
            AUTHORS[self.random.below(3) as usize]
        };
        let keyed = self.random.chance(70);
        let op = Op { session, author, keyed, in_flight: false, acked: None, given_up: false };
        self.oracle.ops.push(op);
        self.send_op(self.oracle.ops.len() - 1);
    }

    fn retry(&mut self) {
        let open = |op: &Op| op.acked.is_none() && !op.in_flight && !op.given_up;
        if let Some(op) = self.oracle.ops.iter().position(open) {
            self.send_op(op);
        }
        // Some are repeated although they were answered: the answer may have been lost on the way.
        if let Some(last) = self.oracle.ops.len().checked_sub(1).filter(|_| !self.settling) {
            let op = self.random.below(last as u64 + 1) as usize;
            if self.oracle.ops[op].keyed && !self.oracle.ops[op].given_up && self.random.chance(20) {
                self.send_op(op);
            }
        }
    }

    fn send_op(&mut self, op: usize) {
        self.oracle.ops[op].in_flight = true;
        let mut append = self.append_of(op);
        if self.bug == Some(Bug::ForgetKeys) && self.random.chance(50) {
            append.idempotency_key = None;
        }
        self.ask_for(Asked::Append(op), Command::Append(Box::new(append)));
    }

    /// The append of a message, the same for every try.
    pub fn append_of(&mut self, op: usize) -> Append {
        let Op { session, author, keyed, .. } = self.oracle.ops[op].clone();
        let content = format!("{{\"op\":{op},\"padding\":\"{}\"}}", "x".repeat(op * 37 % 400));
        Append {
            session: self.oracle.sessions[session].id,
            message: MessageId::from_parts(self.now().unix_us / 1000, u128::from(self.random.next())),
            author: Author::User(author.into()),
            kind: "text".into(),
            content: Json::parse(&content).expect("it is JSON"),
            metadata: Json::empty_object(),
            idempotency_key: keyed.then(|| op.to_string().into()),
            expected_seq: None,
            participants_only: false,
            echo: true,
            terms: None,
        }
    }

    fn mark(&mut self, session: usize) {
        let Plan { id, user, .. } = self.oracle.sessions[session].clone();
        let last_seq = self.random.below(40);
        self.ask_for(Asked::Mark(session), Command::MarkRead { session: id, user_id: user.into(), last_seq });
    }

    // Tails.

    fn move_tail(&mut self, tail: usize) {
        let leave = self.random.chance(25);
        match self.clients.tails[tail].state {
            State::Out => self.join(tail),
            State::In if leave => {
                let topic = self.topic_of(tail);
                let Tail { shard, channel, .. } = self.clients.tails[tail];
                self.clients.tails[tail].out();
                let hub = &mut self.hubs[usize::from(shard.0)];
                if hub.leave(&topic, channel.expect("a tail that is in has a channel")) {
                    self.unsubscribe(shard, &topic);
                }
            }
            State::Joining if leave => self.clients.tails[tail].left = true,
            State::In => self.backfill(tail),
            State::Joining | State::Closed => {}
        }
    }

    fn topic_of(&self, tail: usize) -> TopicKey {
        TopicKey::Session(self.oracle.sessions[self.clients.tails[tail].session].id)
    }

    fn join(&mut self, tail: usize) {
        let plan = self.oracle.sessions[self.clients.tails[tail].session].clone();
        if !plan.created {
            return;
        }
        let (shard, limit) = (self.somewhere(), 1 + self.random.below(8) as usize);
        let resumes = self.random.chance(70);
        let state = &mut self.clients.tails[tail];
        let resume = match state.next_chunk {
            _ if !resumes => None,
            Some((run, index)) => Some(Resume::From { run, index }),
            None => Some(Resume::All),
        };
        state.resumes = resumes;
        state.attempt += 1;
        (state.state, state.shard, state.left) = (State::Joining, shard, false);
        let (attempt, after_seq) = (state.attempt, state.cursor());
        self.hubs[usize::from(shard.0)].begin_join(&TopicKey::Session(plan.id));
        let command = Command::Join { session: plan.id, identity: plan.user.into(), after_seq, limit, resume };
        self.send(shard, self.owner(plan.id), command, Some(Asked::Join { tail, attempt }));
    }

    fn joined(&mut self, tail: usize, reply: Result<Reply, Refusal>) {
        let topic = self.topic_of(tail);
        let shard = self.clients.tails[tail].shard;
        let hub = &mut self.hubs[usize::from(shard.0)];
        let (page, resumed) = match reply {
            Ok(Reply::Joined { page, resumed }) if !self.clients.tails[tail].left => (page, resumed),
            reply => {
                if hub.join_failed(&topic) {
                    self.unsubscribe(shard, &topic);
                }
                let gone = reply == Err(Refusal::SessionNotFound);
                self.clients.tails[tail].out();
                if gone {
                    self.clients.tails[tail].state = State::Closed;
                    self.is_gone(self.clients.tails[tail].session);
                }
                return;
            }
        };
        self.clients.channels += 1;
        let channel = ChannelKey { connection: tail as u64, channel: self.clients.channels };
        let state = &mut self.clients.tails[tail];
        (state.state, state.channel) = (State::In, Some(channel));
        state.expected = page.session_last_seq + 1;
        state.known = state.known.max(page.session_last_seq);
        self.take_page(tail, &page);
        let mut deliveries = Vec::new();
        let next_chunk = Some((resumed.run, resumed.next_index));
        self.take_resumed(tail, &resumed);
        let heard = Heard { seq: page.session_last_seq, next_chunk };
        self.hubs[usize::from(shard.0)].join(&topic, channel, heard, &mut deliveries);
        self.deliver(shard, deliveries);
        self.tell_abandoned(shard);
        self.backfill(tail);
    }

    /// The chunks of the reply must go on where the tail's own end; after that the hub goes on where the reply ends.
    fn take_resumed(&mut self, tail: usize, resumed: &Resumed) {
        let before = self.clients.tails[tail].next_chunk.take();
        let Resumed { run, next_index, running: Some(running), asked: true } = resumed else { return };
        let known = before.filter(|(of, _)| of == run).map_or(0, |(_, index)| index);
        let given: Vec<u32> = running.chunks.iter().map(|chunk| chunk.index).collect();
        let is_team = self.oracle.sessions[self.clients.tails[tail].session].agent == TEAM;
        // What a message covers is not given again: of a team whose members speak at once that leaves holes.
        let fits = match (given.first(), given.last()) {
            (Some(&first), Some(&last)) => {
                let is_whole = is_team || (first..*next_index).eq(given.iter().copied());
                first >= known && last < *next_index && given.is_sorted_by(|a, b| a < b) && is_whole
            }
            _ => true,
        };
        if !fits {
            let text = format!("tail {tail} resumes {run} at {known} of {next_index} and is given {given:?}");
            self.oracle.violation(text);
        }
        self.summary.resumed += u64::from(!running.chunks.is_empty());
        self.clients.tails[tail].next_chunk = Some((*run, *next_index));
    }

    /// Reads what lies between its own last message and the live ones.
    fn backfill(&mut self, tail: usize) {
        let Tail { session, known, backfilling, attempt, state, .. } = self.clients.tails[tail];
        let cursor = self.clients.tails[tail].cursor();
        if backfilling || cursor >= known || state != State::In {
            return;
        }
        self.clients.tails[tail].backfilling = true;
        let session = self.oracle.sessions[session].id;
        let from = match self.random.chance(80) {
            true => PageFrom::After(cursor),
            false => PageFrom::Before(known + 1),
        };
        let command = Command::ReadMessages { session, from, limit: 1 + self.random.below(10) as usize };
        self.ask_for(Asked::Backfill { tail, attempt }, command);
    }

    fn take_page(&mut self, tail: usize, page: &Page) {
        let messages = messages_of(page);
        if messages.len() != page.count {
            self.oracle.violation(format!("a page of {} says that it has {}", messages.len(), page.count));
        }
        for message in messages {
            self.oracle.saw(self.clients.tails[tail].session, &message);
            self.clients.tails[tail].has.insert(seq_and_op(&message).0);
        }
    }

    // Watchers.

    fn watch(&mut self, watcher: usize) {
        if self.clients.watchers[watcher].state != State::Out {
            return;
        }
        let (shard, shards) = (self.somewhere(), self.shards());
        let state = &mut self.clients.watchers[watcher];
        state.attempt += 1;
        (state.state, state.shard, state.waiting, state.failed) = (State::Joining, shard, shards, false);
        state.view.clear();
        let (user_id, attempt) = (state.user.to_owned(), state.attempt);
        self.hubs[usize::from(shard.0)].begin_join(&TopicKey::Inbox(user_id.clone()));
        for to in 0..shards {
            let command = Command::WatchInbox { user_id: user_id.clone() };
            self.send(shard, ShardId(to), command, Some(Asked::Watch { watcher, attempt }));
        }
    }

    fn watched(&mut self, watcher: usize, reply: Result<Reply, Refusal>) {
        let state = &mut self.clients.watchers[watcher];
        let (shard, user) = (state.shard, state.user);
        state.waiting -= 1;
        match reply {
            Ok(Reply::Inbox { entries }) => {
                state.view.extend(entries.iter().map(|entry| (entry.session, entry.unread_count)));
                self.hubs[usize::from(shard.0)].inbox_joined(user, entries);
            }
            _ => state.failed = true,
        }
        let state = &mut self.clients.watchers[watcher];
        if state.waiting > 0 {
            return;
        }
        let topic = TopicKey::Inbox(user.to_owned());
        if state.failed {
            state.state = State::Out;
            if self.hubs[usize::from(shard.0)].join_failed(&topic) {
                self.unsubscribe(shard, &topic);
            }
            return;
        }
        self.clients.channels += 1;
        let channel = ChannelKey { connection: 1_000 + watcher as u64, channel: self.clients.channels };
        (state.state, state.channel) = (State::In, Some(channel));
        let mut deliveries = Vec::new();
        self.hubs[usize::from(shard.0)].join(&topic, channel, Heard::default(), &mut deliveries);
        self.deliver(shard, deliveries);
    }

    // What arrives.

    pub fn answered(&mut self, to: Caller, reply: Result<Reply, Refusal>) {
        let Some(asked) = self.asked.remove(&to.token) else {
            return self.oracle.violation(format!("something was answered twice or never asked: {reply:?}"));
        };
        match asked {
            Asked::Create(session) => {
                let created = matches!(reply, Ok(Reply::Session { .. }) | Err(Refusal::SessionExists));
                self.oracle.sessions[session].created |= created;
            }
            Asked::Append(op) => self.append_answered(op, reply),
            Asked::Mark(session) => self.mark_answered(session, reply),
            Asked::Archive(session) => self.oracle.sessions[session].archived |= reply.is_ok(),
            Asked::Delete(session) => {
                if matches!(reply, Ok(Reply::Done) | Err(Refusal::SessionNotFound)) {
                    self.summary.deleted += 1;
                    self.oracle.sessions[session].deleted = true;
                }
            }
            Asked::Join { tail, attempt } if self.clients.tails[tail].attempt == attempt => self.joined(tail, reply),
            Asked::Backfill { tail, attempt } if self.clients.tails[tail].attempt == attempt => {
                self.clients.tails[tail].backfilling = false;
                if let Ok(Reply::Messages(page)) = reply {
                    self.take_page(tail, &page);
                    self.backfill(tail);
                }
            }
            Asked::Watch { watcher, attempt } if self.clients.watchers[watcher].attempt == attempt => {
                self.watched(watcher, reply)
            }
            Asked::Join { .. } | Asked::Backfill { .. } | Asked::Watch { .. } => {}
        }
    }

    fn append_answered(&mut self, op: usize, reply: Result<Reply, Refusal>) {
        match reply {
            Ok(Reply::Appended { seq, json: Some(json), replayed }) => {
                let message: Value = serde_json::from_str(json.as_str()).expect("a message is JSON");
                self.oracle.saw(self.oracle.ops[op].session, &message);
                self.oracle.acked(op, seq);
                self.summary.acked += 1;
                self.summary.replayed += u64::from(replayed);
            }
            Err(Refusal::SessionNotFound) => self.is_gone(self.oracle.ops[op].session),
            Err(refusal @ (Refusal::Overloaded | Refusal::LogPoisoned | Refusal::DiskFull)) => {
                self.summary.disk_full += u64::from(refusal == Refusal::DiskFull);
                let op = &mut self.oracle.ops[op];
                op.in_flight = false;
                op.given_up |= !op.keyed; // without a key nobody knows whether it may be repeated
            }
            other => self.oracle.violation(format!("op {op} was answered {other:?}")),
        }
    }

    /// Only what somebody deletes may be gone.
    fn is_gone(&mut self, session: usize) {
        if !self.oracle.sessions[session].deleting {
            self.oracle.violation(format!("session {session} is gone and nobody has deleted it"));
        }
    }

    fn mark_answered(&mut self, session: usize, reply: Result<Reply, Refusal>) {
        if let Ok(Reply::Cursors { cursors, last_seq, .. }) = reply {
            let plan = &mut self.oracle.sessions[session];
            let cursor = cursors.iter().find(|(reader, _)| reader == plan.user).map_or(0, |(_, cursor)| *cursor);
            let back = cursor < plan.marked && cursor > last_seq;
            plan.marked = plan.marked.max(cursor);
            if back || cursor > last_seq {
                self.oracle.violation(format!("the cursor of session {session} is {cursor} of {last_seq}"));
            }
        }
    }

    pub fn deliver(&mut self, shard: ShardId, deliveries: Vec<Delivery>) {
        for Delivery { push, to } in deliveries {
            for channel in to {
                match channel.connection {
                    watcher @ 1_000.. => self.deliver_to_watcher(watcher as usize - 1_000, channel, &push),
                    tail => self.deliver_to_tail(tail as usize, channel, &push),
                }
            }
        }
        self.tell_abandoned(shard);
    }

    fn deliver_to_tail(&mut self, tail: usize, channel: ChannelKey, push: &Delivered) {
        let state = &mut self.clients.tails[tail];
        if state.channel != Some(channel) {
            return self.oracle.violation(format!("tail {tail} hears {push:?} on a channel that it has left"));
        }
        match push {
            Delivered::Push(Push::Message { seq, json, .. }) => {
                let expected = state.expected;
                if *seq != expected {
                    return self.oracle.violation(format!("tail {tail} hears {seq}, it should be {expected}"));
                }
                state.expected += 1;
                state.known = *seq;
                state.has.insert(*seq);
                let session = state.session;
                let message: Value = serde_json::from_str(json.as_str()).expect("a message is JSON");
                self.oracle.saw(session, &message);
            }
            Delivered::Push(Push::Chunk { place: Some(place), .. }) => self.check_chunk(tail, *place),
            Delivered::Push(Push::Run { .. }) => {}
            Delivered::Push(Push::Gap { .. }) => {
                self.summary.gaps += 1;
                state.out();
            }
            Delivered::Push(Push::Closed { .. }) => {
                state.out();
                state.state = State::Closed;
                self.is_gone(self.clients.tails[tail].session);
            }
            other => self.oracle.violation(format!("tail {tail} hears {other:?}")),
        }
    }

    fn deliver_to_watcher(&mut self, watcher: usize, channel: ChannelKey, push: &Delivered) {
        let state = &mut self.clients.watchers[watcher];
        match push {
            _ if state.channel != Some(channel) => {
                self.oracle.violation(format!("watcher {watcher} hears {push:?} late"))
            }
            Delivered::InboxDelta { entries, .. } => {
                self.summary.deltas += 1;
                state.view = entries.iter().map(|entry| (entry.session, entry.unread_count)).collect();
            }
            Delivered::Push(Push::InboxGap { .. }) => {
                self.summary.gaps += 1;
                (state.state, state.channel) = (State::Out, None);
            }
            other => self.oracle.violation(format!("watcher {watcher} hears {other:?}")),
        }
    }

    /// Every connection is gone with the server's life.
    pub fn reconnect(&mut self) {
        self.asked.clear();
        self.clients.tails.iter_mut().for_each(Tail::out);
        for watcher in &mut self.clients.watchers {
            (watcher.state, watcher.channel) = (State::Out, None);
        }
        for op in &mut self.oracle.ops {
            op.given_up |= op.in_flight && !op.keyed;
            op.in_flight = false;
        }
    }
}
