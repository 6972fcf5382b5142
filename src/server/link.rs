//! One Phoenix socket on this shard, whatever carries it: its outbox, its bounds, its way back to the connection's task.
//!
//! Everything that is for the client goes through the outbox in order; the carrier takes it from there when its task runs, so
//! that all that a turn produced leaves with one send. What the client's messages do stands in `channel`.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Waker};

use super::channel;
use super::metrics::{CloseReason, Level, Which};
use super::tenure::Tenure;
use super::websocket::code;
use super::world::World;
use crate::api::auth::Principal;
use crate::api::routes::Connect;
use crate::api::topics::Topic;
use crate::limits;
use crate::protocol::Roomy;
use crate::protocol::channels::{Malformed, Message, Outlet, Socket, Vsn, decode_binary, decode_text};
use crate::protocol::ws;
use crate::session::Namespace;
use crate::shard::{Access, TopicKey};

/// Bytes around a chunk in its frame at the most: the envelope of `stream_chunk` with topic, run and index.
const CHUNK_ENVELOPE_BYTES: usize = 256;

/// The highest bit of a key is a watcher's.
const GENERATION_MAX: u32 = u32::MAX >> 1;

/// What brings the socket's messages to the client.
pub(super) enum Carrier {
    /// Frames, ready to be sent; bytes that the task has taken and the kernel has not; the task.
    WebSocket {
        frames: RefCell<Roomy>,
        unsent: Cell<usize>,
        deflate: Option<ws::Deflate>,
        waker: RefCell<Option<Waker>>,
    },
    /// Boxed: it is larger, and an idle WebSocket pays for what both have.
    LongPoll(Box<LongPoll>),
}

/// What a long-poll session has and a WebSocket has not.
#[derive(Default)]
pub(super) struct LongPoll {
    /// Messages that wait for a poll.
    pub(super) messages: RefCell<VecDeque<Vec<u8>>>,
    /// Their bytes.
    bytes: Cell<usize>,
    /// Messages beyond their bound: what a client that resumes has missed of a running answer.
    granted_messages: Cell<usize>,
    /// When the last poll came.
    pub(super) polled_us: Cell<u64>,
    /// How many came.
    pub(super) polls: Cell<u64>,
    /// The requests that wait.
    wakers: RefCell<Vec<Waker>>,
}

impl Carrier {
    /// A WebSocket that writes `frames` first.
    pub(super) fn web_socket(frames: Vec<u8>, deflate: Option<ws::Deflate>) -> Self {
        Self::WebSocket {
            frames: RefCell::new(frames.into()),
            unsent: Cell::new(0),
            deflate,
            waker: RefCell::new(None),
        }
    }

    /// A session that was opened, which counts as a poll.
    pub(super) fn long_poll(polled_us: u64) -> Self {
        Self::LongPoll(Box::new(LongPoll { polled_us: Cell::new(polled_us), ..LongPoll::default() }))
    }
}

/// Why the server ends a socket: the close code and its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Goodbye {
    pub(super) code: u16,
    pub(super) reason: &'static str,
    /// Nothing more can be sent: the reader is too far behind for even a close frame.
    pub(super) at_once: bool,
}

/// Whose a link is, and how long.
struct Holder {
    principal: Rc<Principal>,
    tenure: OnceCell<Tenure>,
}

/// See the top of the file.
pub(super) struct Link {
    pub(super) id: u64,
    pub(super) identity: Box<str>,
    /// Who it is for sure; nobody in open mode. Boxed: most servers have none.
    holder: Option<Box<Holder>>,
    pub(super) vsn: Vsn,
    pub(super) carrier: Carrier,
    pub(super) socket: RefCell<Socket>,
    /// Bytes of messages that are over the outbox's bound by themselves and still wait: they count as room. At most
    /// one reply at a time is so large, for nothing is read meanwhile.
    granted: Cell<usize>,
    goodbye: Cell<Option<Goodbye>>,
    open: Cell<bool>,
    /// The link's own task is running: what it queues needs no wake-up.
    is_running: Cell<bool>,
}

impl Link {
    /// Opens a socket of this shard.
    pub(super) fn open(
        world: &World,
        connect: Connect,
        carrier: Carrier,
        principal: Option<Rc<Principal>>,
    ) -> Rc<Self> {
        let Connect { identity, vsn } = connect;
        let holder = principal.map(|principal| Box::new(Holder { principal, tenure: OnceCell::new() }));
        let mut links = world.links.borrow_mut();
        let entry = links.vacant_entry();
        let generation = world.links_opened.get().wrapping_add(1) & GENERATION_MAX;
        world.links_opened.set(generation);
        let link = Rc::new(Self {
            id: u64::from(generation) << 32 | entry.key() as u64,
            identity: identity.into_boxed_str(),
            holder,
            vsn,
            carrier,
            socket: RefCell::new(Socket::new(vsn, limits::CHANNELS_MAX)),
            granted: Cell::new(0),
            goodbye: Cell::new(None),
            open: Cell::new(true),
            is_running: Cell::new(false),
        });
        entry.insert(Rc::clone(&link));
        if let Some(holder) = &link.holder {
            let held = Rc::downgrade(&link);
            let tenure = world.tenures.begin(&holder.principal, move |over| {
                if let Some(link) = held.upgrade() {
                    link.say_goodbye(Goodbye { code: code::POLICY_VIOLATION, reason: over.reason(), at_once: false });
                }
            });
            holder.tenure.get_or_init(|| tenure);
        }
        world.metrics.count(Which::SocketsOpened);
        if let Carrier::WebSocket { .. } = link.carrier {
            world.metrics.rise(Level::SocketsOpen);
        }
        link
    }

    /// Who it is for sure; `None` in open mode.
    pub(super) fn principal(&self) -> Option<&Principal> {
        self.holder.as_ref().map(|holder| &*holder.principal)
    }

    /// What goes with each command of its client.
    pub(super) fn access(&self) -> Option<Box<Access>> {
        self.principal().and_then(Principal::access)
    }

    /// The key of a topic that its client names.
    pub(super) fn key_of(&self, topic: &Topic) -> TopicKey {
        match topic {
            Topic::Session(session) => TopicKey::Session(*session),
            Topic::Inbox(user_id) => TopicKey::Inbox(match self.principal() {
                Some(principal) => principal.namespace.scoped(user_id).into_owned(),
                None => Namespace::default().scoped(user_id).into_owned(),
            }),
        }
    }

    /// The open link with that id, if it is still the same one.
    pub(super) fn find(world: &World, id: u64) -> Option<Rc<Self>> {
        world.links.borrow().get(place_of(id)).filter(|link| link.id == id).cloned()
    }

    /// Leaves every topic and forgets the socket. Repeatable.
    pub(super) fn close(&self, world: &Rc<World>) {
        if !self.open.replace(false) {
            return;
        }
        if let Carrier::WebSocket { .. } = self.carrier {
            world.metrics.fall(Level::SocketsOpen);
        }
        world.links.borrow_mut().remove(place_of(self.id));
        channel::depart_all(world, self);
        self.wake();
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.get()
    }

    /// Asks for the end of the socket; what is queued is still sent, unless it cannot be.
    pub(super) fn say_goodbye(&self, goodbye: Goodbye) {
        if self.goodbye.get().is_none() {
            self.goodbye.set(Some(goodbye));
            self.wake();
        }
    }

    pub(super) fn goodbye(&self) -> Option<Goodbye> {
        self.goodbye.get()
    }

    /// Whether more of the client's messages may be taken in: none while a join is being decided (contract 3.3), and not more
    /// than so many unanswered ones.
    pub(super) fn takes_messages(&self) -> bool {
        !self.socket.borrow().is_joining()
            && self.socket.borrow().unanswered() < limits::SOCKET_IN_FLIGHT_MAX
            && self.queued_bytes() < limits::SOCKET_READ_PAUSE_BYTES
            && self.goodbye.get().is_none()
    }

    /// Remembers the task to wake when something is queued: a WebSocket's one, one more of a long-poll session.
    pub(super) fn register(&self, cx: &Context<'_>) {
        let is_known = |waker: &Waker| waker.will_wake(cx.waker());
        match &self.carrier {
            Carrier::WebSocket { waker, .. } if waker.borrow().as_ref().is_some_and(is_known) => {}
            Carrier::WebSocket { waker, .. } => *waker.borrow_mut() = Some(cx.waker().clone()),
            Carrier::LongPoll(poll) if poll.wakers.borrow().iter().any(is_known) => {}
            Carrier::LongPoll(poll) => poll.wakers.borrow_mut().push(cx.waker().clone()),
        }
    }

    /// Runs `work` of the link's own task, during which nothing needs to wake it.
    pub(super) fn running<R>(&self, work: impl FnOnce() -> R) -> R {
        let before = self.is_running.replace(true);
        let result = work();
        self.is_running.set(before);
        result
    }

    pub(super) fn wake(&self) {
        if self.is_running.get() {
            return;
        }
        match &self.carrier {
            Carrier::WebSocket { waker, .. } => {
                if let Some(waker) = waker.borrow_mut().take() {
                    waker.wake();
                }
            }
            Carrier::LongPoll(poll) => poll.wakers.borrow_mut().drain(..).for_each(Waker::wake),
        }
    }

    /// Takes in one text message of the client. A malformed one ends the socket.
    pub(super) fn take_text(self: &Rc<Self>, world: &Rc<World>, text: &str) {
        self.take(world, decode_text(self.vsn, text));
    }

    /// Takes in one binary message of the client.
    pub(super) fn take_binary(self: &Rc<Self>, world: &Rc<World>, bytes: &[u8]) {
        self.take(world, decode_binary(self.vsn, bytes));
    }

    fn take(self: &Rc<Self>, world: &Rc<World>, message: Result<Message<'_>, Malformed>) {
        match message {
            Ok(message) => channel::take(world, self, message),
            Err(Malformed(reason)) => {
                world.metrics.closed(CloseReason::Malformed);
                self.say_goodbye(Goodbye { code: code::INTERNAL_ERROR, reason, at_once: false });
            }
        }
    }

    /// Where the socket's answers go.
    pub(super) fn outbox<'a>(&'a self, world: &'a World) -> Outbox<'a> {
        Outbox { link: self, world }
    }

    /// Queues an event for this client alone: `write` appends the message, if there is room.
    pub(super) fn send_event(&self, world: &World, write: impl FnOnce(&mut Vec<u8>)) {
        if self.has_room(world) {
            let bytes = self.queue(world, write);
            self.grant_once(world, bytes);
            self.wake();
        }
    }

    /// Returns the bytes that the message has come to.
    fn queue(&self, world: &World, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        match &self.carrier {
            Carrier::WebSocket { frames, deflate, .. } => {
                let frames = &mut *frames.borrow_mut();
                let before = frames.len();
                super::fanout::encode_frame(world, *deflate, write, frames.tail());
                frames.len() - before
            }
            Carrier::LongPoll(poll) => {
                let mut message = Vec::new();
                write(&mut message);
                let added = message.len();
                poll.bytes.set(poll.bytes.get() + added);
                poll.messages.borrow_mut().push_back(message);
                added
            }
        }
    }

    /// Queues a frame that was made for many readers.
    pub(super) fn send_frame(&self, world: &World, frame: &[u8]) {
        if let Carrier::WebSocket { frames, .. } = &self.carrier
            && self.has_room(world)
        {
            self.grant_once(world, frame.len());
            frames.borrow_mut().tail().extend_from_slice(frame);
            self.wake();
        }
    }

    /// A reply over the bound by itself brings its own room.
    fn grant(&self, world: &World, bytes: usize) {
        if bytes > world.config.outbox_bytes_max {
            self.granted.set(self.granted.get() + bytes);
        }
    }

    /// What comes right behind an event over the bound (an answer's `run` behind its message) must not end the socket.
    /// One of them at a time, or one who reads nothing could pile them up.
    fn grant_once(&self, world: &World, bytes: usize) {
        if bytes > world.config.outbox_bytes_max && self.granted.get() == 0 {
            self.granted.set(bytes);
        }
    }

    /// What comes now was asked for and is bounded where it is kept (`limits::RUN_CHUNK_BYTES_MAX`): chunks of these sizes.
    pub(super) fn make_room_for(&self, sizes: impl Iterator<Item = usize>) {
        let (count, bytes) =
            sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size + CHUNK_ENVELOPE_BYTES));
        self.granted.set(self.granted.get() + bytes);
        if let Carrier::LongPoll(poll) = &self.carrier {
            poll.granted_messages.set(poll.granted_messages.get() + count);
        }
    }

    /// Ends the socket when too much waits already. What is added may be larger than the bound by itself: it is bounded where
    /// it is made.
    fn has_room(&self, world: &World) -> bool {
        let too_many = match &self.carrier {
            Carrier::WebSocket { .. } => false,
            Carrier::LongPoll(poll) => {
                poll.messages.borrow().len() >= limits::LONG_POLL_MESSAGES_MAX + poll.granted_messages.get()
            }
        };
        let is_full = too_many || self.queued_bytes() > world.config.outbox_bytes_max + self.granted.get();
        if is_full && self.goodbye.get().is_none() {
            world.metrics.closed(CloseReason::SlowReader);
            self.say_goodbye(Goodbye { code: code::TRY_AGAIN_LATER, reason: "too far behind", at_once: true });
        }
        !is_full
    }

    /// Events that wait for their reply.
    pub(super) fn unanswered(&self) -> usize {
        self.socket.borrow().unanswered()
    }

    /// The carrier has taken all that was queued.
    pub(super) fn flushed(&self) {
        self.granted.set(0);
    }

    /// Takes the messages that wait for a poll.
    pub(super) fn take_messages(&self) -> Vec<Vec<u8>> {
        let Carrier::LongPoll(poll) = &self.carrier else { return Vec::new() };
        poll.bytes.set(0);
        self.granted.set(0);
        poll.granted_messages.set(0);
        let taken = poll.messages.borrow_mut().drain(..).collect();
        self.wake(); // a batch may have waited for the room
        taken
    }

    /// The frames of a WebSocket.
    pub(super) fn frames(&self) -> &RefCell<Roomy> {
        match &self.carrier {
            Carrier::WebSocket { frames, .. } => frames,
            Carrier::LongPoll(_) => unreachable!("a WebSocket's task serves a WebSocket's link"),
        }
    }

    /// See [`Carrier::WebSocket`].
    pub(super) fn unsent(&self) -> &Cell<usize> {
        match &self.carrier {
            Carrier::WebSocket { unsent, .. } => unsent,
            Carrier::LongPoll(_) => unreachable!("a WebSocket's task serves a WebSocket's link"),
        }
    }

    fn queued_bytes(&self) -> usize {
        match &self.carrier {
            Carrier::WebSocket { frames, unsent, .. } => frames.borrow().len() + unsent.get(),
            Carrier::LongPoll(poll) => poll.bytes.get(),
        }
    }
}

/// The way from a link's socket into its outbox.
pub(super) struct Outbox<'a> {
    link: &'a Link,
    world: &'a World,
}

impl Outlet for Outbox<'_> {
    fn message(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let Self { link, world } = self;
        if link.has_room(world) {
            let bytes = link.queue(world, write);
            link.grant(world, bytes);
            link.wake();
        }
    }

    /// It becomes its frame where it lies, unless it is compressed.
    fn long_message(&mut self, mut message: Roomy) {
        let Self { link, world } = self;
        match &link.carrier {
            Carrier::WebSocket { frames, deflate, .. }
                if !deflate.is_some_and(|deflate| deflate.reads(message.len())) =>
            {
                if link.has_room(world) {
                    link.grant(world, message.len());
                    ws::frame_text(&mut message);
                    frames.borrow_mut().append(message);
                    link.wake();
                }
            }
            _ => self.message(|out| out.extend_from_slice(&message)),
        }
    }
}

/// A link's place in the table; the upper half of its id tells it from earlier ones there.
fn place_of(id: u64) -> usize {
    (id & u64::from(u32::MAX)) as usize
}
