//! A listener of this shard that is no socket: a request that awaits an answer, a stream of a session's events.
//!
//! It is a member of the hub like a channel, under a key that no link has, and is given the events themselves: what they become on
//! the wire is the affair of who reads them.
//!
//! Invariants: events come in the hub's order, each once, until a gap; a watcher whose reader is too far behind gets a gap in place of
//! everything that waited, and nothing more until it joins again; one that is dropped has left every topic, also those whose
//! join is still on its way.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::answer;
use super::channel;
use super::promise::Promise;
use super::world::World;
use crate::api::Target;
use crate::shard::{Access, ChannelKey, Command, Delivered, Heard, Push, Refusal, Reply, Standing, TopicKey};

/// Marks the key of a watcher; links have it clear.
const MARK: u64 = 1 << 63;
/// Bytes that an event takes beside its text.
const EVENT_BYTES: usize = 128;

/// Whether a key is a watcher's.
pub(super) fn is_watcher(key: ChannelKey) -> bool {
    key.connection & MARK != 0
}

/// Where events wait for their reader.
pub(super) struct Watcher {
    id: u64,
    bytes_max: usize,
    queue: RefCell<VecDeque<Delivered>>,
    bytes: Cell<usize>,
    /// It is too far behind: what comes now is not kept.
    is_lost: Cell<bool>,
    is_open: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Watcher {
    fn new(id: u64, bytes_max: usize) -> Self {
        Self {
            id,
            bytes_max,
            queue: RefCell::default(),
            bytes: Cell::new(0),
            is_lost: Cell::new(false),
            is_open: Cell::new(true),
            waker: RefCell::default(),
        }
    }

    /// The open watcher with that key, if it is still the same one.
    pub(super) fn find(world: &World, key: ChannelKey) -> Option<Rc<Self>> {
        world.watchers.borrow().get(place_of(key.connection)).filter(|watcher| watcher.id == key.connection).cloned()
    }

    /// Keeps an event for the reader.
    pub(super) fn deliver(&self, event: &Delivered) {
        if self.is_lost.get() {
            return;
        }
        let bytes = self.bytes.get() + bytes_of(event);
        // One that is over the bound by itself is bounded where it is made.
        if bytes > self.bytes_max && self.bytes.get() > 0 {
            self.clear();
            self.is_lost.set(true);
            self.queue.borrow_mut().push_back(Delivered::Push(gap_of(event)));
        } else {
            self.bytes.set(bytes);
            self.queue.borrow_mut().push_back(event.clone());
        }
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn clear(&self) {
        self.queue.borrow_mut().clear();
        self.bytes.set(0);
        self.is_lost.set(false);
    }

    fn take(&self) -> Option<Delivered> {
        let event = self.queue.borrow_mut().pop_front()?;
        self.bytes.set(self.bytes.get().saturating_sub(bytes_of(&event)));
        Some(event)
    }

    fn poll_next(&self, cx: &Context<'_>) -> Poll<Delivered> {
        match self.take() {
            Some(event) => Poll::Ready(event),
            None => {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// A watcher and its reader's end of it.
pub(super) struct Watching {
    world: Rc<World>,
    /// What its reader may do.
    access: Option<Box<Access>>,
    watcher: Rc<Watcher>,
    /// Topics whose join was let through.
    topics: Rc<RefCell<Vec<TopicKey>>>,
}

impl Watching {
    /// A watcher of nothing yet, for a reader of `access`.
    pub(super) fn open(world: &Rc<World>, access: Option<Box<Access>>) -> Self {
        let mut watchers = world.watchers.borrow_mut();
        let entry = watchers.vacant_entry();
        let generation = world.watchers_opened.get().wrapping_add(1);
        world.watchers_opened.set(generation);
        let id = MARK | u64::from(generation) << 32 | entry.key() as u64;
        let watcher = Rc::new(Watcher::new(id, world.config.outbox_bytes_max));
        entry.insert(Rc::clone(&watcher));
        Self { world: Rc::clone(world), access, watcher, topics: Rc::default() }
    }

    /// Sends a command that subscribes this shard to `topic`, and waits for its reply. Events follow from right behind the reply. What
    /// waited is gone: whoever joins again begins again.
    pub(super) async fn join(&self, topic: TopicKey, to: Target, command: Command) -> Result<Reply, Refusal> {
        let promise = Promise::new();
        let keeper = Rc::clone(&promise);
        let (watcher, topics) = (Rc::clone(&self.watcher), Rc::clone(&self.topics));
        self.world.with_hub(|hub| {
            hub.begin_join(&topic);
            hub.leave(&topic, self.key());
        });
        self.watcher.clear();
        let done = move |world: &Rc<World>, reply: Result<Reply, Refusal>| {
            decide(world, &watcher, &topics, topic, heard_of(&reply));
            keeper.keep(reply);
        };
        self.world.call(self.access.clone(), to, command, Box::new(done));
        promise.kept().await
    }

    /// Sends a command that subscribes this shard to an inbox, by its scoped user, to every shard, and waits for the replies. It lets in
    /// when all of them do.
    pub(super) async fn join_inbox(&self, user: String, command: Command) -> Vec<Result<Reply, Refusal>> {
        let promise = Promise::new();
        let keeper = Rc::clone(&promise);
        let (watcher, topics) = (Rc::clone(&self.watcher), Rc::clone(&self.topics));
        let topic = TopicKey::Inbox(user.clone());
        self.world.with_hub(|hub| {
            hub.begin_join(&topic);
            hub.leave(&topic, self.key());
        });
        self.watcher.clear();
        let done = move |world: &Rc<World>, replies: Vec<Result<Reply, Refusal>>| {
            for reply in replies.iter().flatten() {
                if let Reply::Inbox { entries } = reply {
                    world.with_hub(|hub| hub.inbox_joined(&user, entries.clone()));
                }
            }
            let heard = replies.iter().all(Result::is_ok).then(Heard::default);
            decide(world, &watcher, &topics, topic, heard);
            keeper.keep(replies);
        };
        self.world.gather(self.access.clone(), &command, done);
        promise.kept().await
    }

    /// Sends a command of the reader's and waits for its reply.
    pub(super) async fn call(&self, to: Target, command: Command) -> Result<Reply, Refusal> {
        answer::call(&self.world, self.access.clone(), to, command).await
    }

    /// The next event, when there is one.
    pub(super) fn poll_next(&self, cx: &Context<'_>) -> Poll<Delivered> {
        self.watcher.poll_next(cx)
    }

    /// An event that waits.
    pub(super) fn take(&self) -> Option<Delivered> {
        self.watcher.take()
    }

    fn key(&self) -> ChannelKey {
        key_of(&self.watcher)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.watcher.is_open.set(false);
        self.world.watchers.borrow_mut().remove(place_of(self.watcher.id));
        for topic in self.topics.take() {
            if self.world.with_hub(|hub| hub.leave(&topic, self.key())) {
                channel::unsubscribe(&self.world, &topic);
            }
        }
    }
}

/// The reply to a join has come: the hub learns of the watcher before the pushes that follow.
fn decide(
    world: &Rc<World>,
    watcher: &Watcher,
    topics: &RefCell<Vec<TopicKey>>,
    topic: TopicKey,
    heard: Option<Heard>,
) {
    match heard {
        Some(heard) if watcher.is_open.get() => {
            let mut deliveries = Vec::new();
            world.with_hub(|hub| hub.join(&topic, key_of(watcher), heard, &mut deliveries));
            world.send_out(deliveries);
            let mut topics = topics.borrow_mut();
            if !topics.contains(&topic) {
                topics.push(topic);
            }
        }
        _ => {
            if world.with_hub(|hub| hub.join_failed(&topic)) {
                channel::unsubscribe(world, &topic);
            }
        }
    }
}

/// What the reply to a join holds. `None`: it lets nobody in.
fn heard_of(reply: &Result<Reply, Refusal>) -> Option<Heard> {
    match reply {
        Ok(Reply::Asked(asked)) => match asked.standing {
            // A retry's message is an old one, of what came behind it nothing is in the reply: it watches again.
            Standing::Waiting { .. } if !asked.replayed => Some(Heard { seq: asked.seq, next_chunk: None }),
            _ => None,
        },
        Ok(reply @ Reply::Joined { .. }) => Some(channel::heard_of(reply)),
        Ok(Reply::Inbox { .. }) => Some(Heard::default()),
        _ => None,
    }
}

fn key_of(watcher: &Watcher) -> ChannelKey {
    ChannelKey { connection: watcher.id, channel: 0 }
}

/// A watcher's place in the table; the rest of its id tells it from earlier ones there.
fn place_of(id: u64) -> usize {
    (id & u64::from(u32::MAX)) as usize
}

fn bytes_of(event: &Delivered) -> usize {
    EVENT_BYTES
        + match event {
            Delivered::Push(Push::Message { json, .. }) => json.as_str().len(),
            Delivered::Push(Push::Chunk { chunk, agent_id, .. }) => chunk.as_str().len() + agent_id.len(),
            Delivered::Push(_) => 0,
            Delivered::InboxDelta { entries, .. } => entries.len() * EVENT_BYTES,
        }
}

/// The gap that stands for an event and all around it.
fn gap_of(event: &Delivered) -> Push {
    match event {
        Delivered::Push(
            Push::Message { session, .. }
            | Push::Chunk { session, .. }
            | Push::Run { session, .. }
            | Push::Closed { session }
            | Push::Gap { session },
        ) => Push::Gap { session: *session },
        Delivered::Push(Push::Inbox { user, .. } | Push::InboxGap { user }) | Delivered::InboxDelta { user, .. } => {
            Push::InboxGap { user: user.clone() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Json, SessionId};

    const SESSION: SessionId = SessionId(ulid::Ulid(7));

    fn message(seq: u64, bytes: usize) -> Delivered {
        let json = Json::parse(&format!("\"{}\"", "x".repeat(bytes))).unwrap();
        Delivered::Push(Push::Message { session: SESSION, seq, json })
    }

    fn taken(watcher: &Watcher) -> Vec<Delivered> {
        std::iter::from_fn(|| watcher.take()).collect()
    }

    #[test]
    fn a_reader_that_is_too_far_behind_gets_a_gap_in_place_of_what_waited() {
        let watcher = Watcher::new(MARK, 1_000);
        for seq in 1..=9 {
            watcher.deliver(&message(seq, 100));
        }
        let gap = Delivered::Push(Push::Gap { session: SESSION });
        assert_eq!(taken(&watcher), [gap]);
        watcher.deliver(&message(10, 1));
        assert_eq!(taken(&watcher), [], "nothing more before it joins again");
        watcher.clear();
        watcher.deliver(&message(11, 1));
        assert_eq!(taken(&watcher), [message(11, 1)]);
    }

    #[test]
    fn one_event_over_the_bound_is_kept_and_who_reads_has_room_again() {
        let watcher = Watcher::new(MARK, 1_000);
        watcher.deliver(&message(1, 5_000));
        assert_eq!(taken(&watcher), [message(1, 5_000)]);
        for seq in 2..=50 {
            watcher.deliver(&message(seq, 500));
            assert_eq!(taken(&watcher), [message(seq, 500)]);
        }
    }
}
