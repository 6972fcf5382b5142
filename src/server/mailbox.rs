//! Mail between shards: for each ordered pair one lane of commands and one of events, both bounded and in order.
//!
//! Replies and pushes share the lane of events, so that a join's reply stands before the pushes that follow it. What one turn
//! produced for one shard travels as one item. A full lane of commands refuses by name; a full lane of events drops pushes and
//! says so to their topic once there is room (docs/architecture.md).

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use futures_lite::future::zip;
use glommio::channels::shared_channel::{self, ConnectedReceiver, ConnectedSender, SharedReceiver, SharedSender};

use super::longpoll::{PollAnswer, PollRequest};
use crate::limits;
use crate::session::SessionId;
use crate::shard::{Access, Caller, Command, Push, Refusal, Reply, ShardId};

/// Items (not commands) that a lane holds; each carries what a turn produced, up to [`BATCH_MAX`].
const LANE_ITEMS: usize = 16;
/// Commands or events in one item, so that what is in the lane is bounded as well as what waits for it.
const BATCH_MAX: usize = 1024;

/// To an owner.
pub(super) enum Mail {
    /// A command, who is to be answered, and what that one may do.
    Command(Caller, Option<Box<Access>>, Command),
    /// A poll of a long-poll session that lives there.
    Poll(Caller, PollRequest),
}

/// From an owner.
pub(super) enum Event {
    /// The answer to a command.
    Reply(u64, Result<Reply, Refusal>),
    /// The answer to a poll.
    Polled(u64, PollAnswer),
    /// Something for the shard's subscribers.
    Push(Push),
}

/// What a pushed event is about; a gap is told per subject.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Subject {
    Session(SessionId),
    Inbox(String),
}

/// The ends of one shard's lanes before its executor runs.
pub(super) struct Post {
    pub(super) peer: ShardId,
    commands_out: SharedSender<Vec<Mail>>,
    events_out: SharedSender<Vec<Event>>,
    commands_in: SharedReceiver<Vec<Mail>>,
    events_in: SharedReceiver<Vec<Event>>,
}

/// Lanes for every ordered pair of `shards`; one list of ends for each shard.
pub(super) fn lanes(shards: u16) -> Vec<Vec<Post>> {
    let mut posts: Vec<Vec<Post>> = (0..shards).map(|_| Vec::new()).collect();
    for left in 0..shards {
        for right in left + 1..shards {
            let (left_commands, right_commands_in) = shared_channel::new_bounded(LANE_ITEMS);
            let (right_commands, left_commands_in) = shared_channel::new_bounded(LANE_ITEMS);
            let (left_events, right_events_in) = shared_channel::new_bounded(LANE_ITEMS);
            let (right_events, left_events_in) = shared_channel::new_bounded(LANE_ITEMS);
            posts[usize::from(left)].push(Post {
                peer: ShardId(right),
                commands_out: left_commands,
                events_out: left_events,
                commands_in: left_commands_in,
                events_in: left_events_in,
            });
            posts[usize::from(right)].push(Post {
                peer: ShardId(left),
                commands_out: right_commands,
                events_out: right_events,
                commands_in: right_commands_in,
                events_in: right_events_in,
            });
        }
    }
    posts
}

/// The receiving ends of one peer's lanes.
pub(super) struct Inbound {
    pub(super) commands: ConnectedReceiver<Vec<Mail>>,
    pub(super) events: ConnectedReceiver<Vec<Event>>,
}

impl Post {
    /// Meets the peer. All executors must be running: each end waits for its other one, so all four wait side by side.
    pub(super) async fn connect(self) -> (Outbound, Inbound) {
        let senders = zip(self.commands_out.connect(), self.events_out.connect());
        let receivers = zip(self.commands_in.connect(), self.events_in.connect());
        let ((commands, events), (commands_in, events_in)) = zip(senders, receivers).await;
        let inbound = Inbound { commands: commands_in, events: events_in };
        let outbound = Outbound {
            peer: self.peer,
            commands: Lane::new(commands),
            events: Lane::new(events),
            gaps: RefCell::default(),
        };
        (outbound, inbound)
    }
}

struct Lane<T: Send + 'static> {
    sender: ConnectedSender<Vec<T>>,
    waiting: RefCell<Vec<T>>,
}

impl<T: Send + 'static> Lane<T> {
    fn new(sender: ConnectedSender<Vec<T>>) -> Self {
        Self { sender, waiting: RefCell::default() }
    }

    fn len(&self) -> usize {
        self.waiting.borrow().len()
    }

    fn push(&self, item: T) {
        self.waiting.borrow_mut().push(item);
    }

    /// Sends what waits; when the lane is full it goes on waiting.
    fn flush(&self) {
        use glommio::{GlommioError, ResourceType};
        let mut waiting = self.waiting.borrow_mut();
        while !waiting.is_empty() {
            let count = waiting.len().min(BATCH_MAX);
            let rest = waiting.split_off(count);
            let batch = std::mem::replace(&mut *waiting, rest);
            if let Err(GlommioError::WouldBlock(ResourceType::Channel(mut batch))) = self.sender.try_send(batch) {
                batch.append(&mut waiting);
                *waiting = batch;
                return;
            }
        }
    }
}

/// The sending ends of one peer's lanes.
pub(super) struct Outbound {
    pub(super) peer: ShardId,
    commands: Lane<Mail>,
    events: Lane<Event>,
    gaps: RefCell<HashSet<Subject>>,
}

/// A push was dropped; its subject will be told.
pub(super) struct Dropped;

impl Outbound {
    /// Queues a command for the end of the turn, or gives it back when too many wait.
    #[allow(clippy::result_large_err)] // what finds no room comes back as it was given
    pub(super) fn command(&self, mail: Mail) -> Result<(), Mail> {
        if self.commands.len() >= limits::MAILBOX_COMMANDS_MAX {
            return Err(mail);
        }
        self.commands.push(mail);
        Ok(())
    }

    /// Queues a command whatever waits already; for those that must not be lost and are bounded elsewhere.
    pub(super) fn command_unbounded(&self, mail: Mail) {
        self.commands.push(mail);
    }

    /// Queues a reply; there are no more of them than commands that the peer was let send.
    pub(super) fn reply(&self, event: Event) {
        self.events.push(event);
    }

    /// Queues a push, or drops it when too many wait; then everything on its subject is dropped until the gap is told.
    pub(super) fn push(&self, push: Push) -> Result<(), Dropped> {
        let subject = subject_of(&push);
        if self.gaps.borrow().contains(&subject) {
            return Err(Dropped);
        }
        if self.events.len() >= limits::MAILBOX_EVENTS_MAX {
            self.gaps.borrow_mut().insert(subject);
            return Err(Dropped);
        }
        self.events.push(Event::Push(push));
        Ok(())
    }

    /// Sends what the turn queued, and the gaps once there is room again.
    pub(super) fn flush(&self) {
        self.commands.flush();
        if !self.gaps.borrow().is_empty() && self.events.len() < limits::MAILBOX_EVENTS_MAX / 2 {
            for subject in self.gaps.borrow_mut().drain() {
                self.events.push(Event::Push(gap_of(subject)));
            }
        }
        self.events.flush();
    }

    /// Whether something waits for room in a lane.
    pub(super) fn is_waiting(&self) -> bool {
        self.commands.len() > 0 || self.events.len() > 0 || !self.gaps.borrow().is_empty()
    }
}

fn subject_of(push: &Push) -> Subject {
    match push {
        Push::Message { session, .. }
        | Push::Chunk { session, .. }
        | Push::Run { session, .. }
        | Push::Closed { session }
        | Push::Gap { session } => Subject::Session(*session),
        Push::Inbox { user, .. } | Push::InboxGap { user } => Subject::Inbox(user.clone()),
    }
}

fn gap_of(subject: Subject) -> Push {
    match subject {
        Subject::Session(session) => Push::Gap { session },
        Subject::Inbox(user) => Push::InboxGap { user },
    }
}

/// A flag that the tasks of one executor wait for: "there is mail to send".
#[derive(Default)]
pub(super) struct Bell {
    rung: Cell<bool>,
    waker: RefCell<Option<std::task::Waker>>,
}

impl Bell {
    /// Wakes the waiting task, once for any number of rings until it runs.
    pub(super) fn ring(&self) {
        if !self.rung.replace(true)
            && let Some(waker) = self.waker.borrow_mut().take()
        {
            waker.wake();
        }
    }

    /// Waits for a ring since the last wait. One task at a time.
    pub(super) async fn heard(&self) {
        std::future::poll_fn(|cx| {
            if self.rung.replace(false) {
                return std::task::Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            std::task::Poll::Pending
        })
        .await;
    }
}
