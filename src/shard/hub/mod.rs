//! The connections' side of a shard: which of its channels hear what.
//!
//! A shard that owns a session sends each event once to every shard that listens; the hub there hands it to the
//! channels. Pure: the driver calls it with what arrived and performs what it says.
//!
//! Invariants:
//! - A channel gets the messages of its session in the order of seq, each once, none left out, starting right above the
//!   last one of its join's reply, in whatever order the reply and the pushes arrive; likewise the chunks of a run from
//!   the first one that it is given (or that its join's reply names) on. Where that cannot be held it gets a
//!   [`Push::Gap`] instead and has to join again. The seq of each push is checked, so a push lost anywhere shows.
//! - A topic that nobody listens to any more is reported by [`Hub::take_abandoned`] until its owner knows.
//!
//! Inboxes have rules of their own: `inbox_view`.

#[cfg(test)]
mod tests;

use super::inbox_view::InboxView;
use super::{ChunkPlace, InboxEntry, Now, Push};
use crate::limits::JOINING_PUSHES_MAX;
use crate::session::{RunId, SessionId};
use hashbrown::HashMap;
use std::collections::VecDeque;

/// A channel of a connection of this shard. Both numbers are the driver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelKey {
    /// The connection.
    pub connection: u64,
    /// The channel on it.
    pub channel: u32,
}

/// What a channel listens to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicKey {
    /// `session:<id>`
    Session(SessionId),
    /// `inbox:<user>`
    Inbox(String),
}

impl TopicKey {
    /// All generations of a main session are one topic: who asks there knows which one it is only from the reply.
    fn base(&self) -> Self {
        match self {
            Self::Session(session) => Self::Session(session.base()),
            Self::Inbox(user) => Self::Inbox(user.clone()),
        }
    }
}

/// What channels are given.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivered {
    /// An event as its owner sent it. After [`Push::Closed`], [`Push::Gap`] and [`Push::InboxGap`] the channels are
    /// no longer known to the hub: the driver closes them (the first) or crashes them, so that clients join again.
    Push(Push),
    /// A user's whole inbox (contract 5), most recently active first.
    InboxDelta {
        /// The user.
        user: String,
        /// The entries.
        entries: Vec<InboxEntry>,
    },
}

/// One event for some channels.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// What.
    pub push: Delivered,
    /// To whom; never empty.
    pub to: Vec<ChannelKey>,
}

/// The channels of one shard's connections, by topic.
#[derive(Debug, Default)]
pub struct Hub {
    sessions: HashMap<SessionId, SessionTopic>,
    inboxes: HashMap<String, InboxTopic>,
    /// Users whose inbox has changes that wait for their interval.
    waiting: Vec<String>,
    abandoned: Vec<TopicKey>,
}

/// As many as there are sockets that idle on a session of their own: it holds what is true of an idle one, the rest is boxed.
#[derive(Debug, Default)]
struct SessionTopic {
    channels: Vec<Member>,
    /// Joins whose reply has not arrived.
    joining: Option<Box<Joining>>,
}

#[derive(Debug, Default)]
struct Joining {
    joins: u32,
    /// Pushes since the oldest of those began, for the channels to come.
    kept: VecDeque<Push>,
    /// The seq of the last message that had to be dropped from those; 0 for none. A join that stands below it has
    /// lost messages, one that stands there or above has not.
    lost_to: u64,
    /// Of the joins, those that were under way when the owner told of a gap.
    broken_joins: u32,
}

/// A channel on a session and what it has heard, which is packed: an optional pair of a run and an index takes 48 bytes, of which 27 are air.
#[derive(Debug)]
struct Member {
    channel: ChannelKey,
    seq: u64,
    run: RunId,
    index: u32,
    has_run: bool,
}

impl Member {
    fn new(channel: ChannelKey, heard: Heard) -> Self {
        let mut member = Self { channel, seq: 0, run: RunId::default(), index: 0, has_run: false };
        member.set_heard(heard);
        member
    }

    fn heard(&self) -> Heard {
        Heard { seq: self.seq, next_chunk: self.has_run.then_some((self.run, self.index)) }
    }

    fn set_heard(&mut self, heard: Heard) {
        self.seq = heard.seq;
        self.has_run = heard.next_chunk.is_some();
        (self.run, self.index) = heard.next_chunk.unwrap_or((self.run, self.index));
    }
}

/// What a channel has been given of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The last message.
    pub seq: u64,
    /// The next chunk and its run; of runs before it nothing is wanted. `None`: whatever comes is taken.
    pub next_chunk: Option<(RunId, u32)>,
}

#[derive(Debug, Default)]
struct InboxTopic {
    channels: Vec<ChannelKey>,
    joining: u32,
    view: InboxView,
    /// Something changed while a join was on its way: its reply may not say it, although others were told.
    changed_while_joining: bool,
    /// Of the joins whose replies have not all arrived, those that were under way when changes were lost.
    broken_joins: u32,
    /// Stands in [`Hub::waiting`].
    waiting: bool,
}

impl Hub {
    /// A join of `topic` is about to be sent to its owner. Exactly one of [`Self::join`] and [`Self::join_failed`]
    /// follows.
    pub fn begin_join(&mut self, topic: &TopicKey) {
        let base = topic.base();
        self.abandoned.retain(|other| *other != base);
        match topic {
            TopicKey::Session(session) => self.sessions.entry(session.base()).or_default().begin_join(),
            TopicKey::Inbox(user) => self.inboxes.entry_ref(user).or_default().joining += 1,
        }
    }

    /// The owner has let `channel` in. `heard` is what the reply holds: up to its `session_last_seq`, and the chunks of a
    /// running answer if they were asked for; nothing for an inbox. Pushes that overtook the reply are delivered now: behind the
    /// reply, which the driver writes first.
    pub fn join(&mut self, topic: &TopicKey, channel: ChannelKey, heard: Heard, out: &mut Vec<Delivery>) {
        match topic {
            TopicKey::Session(session) => self.join_session(*session, channel, heard, out),
            TopicKey::Inbox(user) => self.join_inbox(user, channel, out),
        }
    }

    /// The owner has refused a join, or the channel left before the reply came. True: nobody listens to the topic,
    /// tell its owner.
    pub fn join_failed(&mut self, topic: &TopicKey) -> bool {
        match topic {
            TopicKey::Session(session) => {
                if let Some(topic) = self.sessions.get_mut(&session.base()) {
                    topic.end_join();
                }
            }
            TopicKey::Inbox(user) => {
                if let Some(topic) = self.inboxes.get_mut(user) {
                    topic.end_join();
                }
            }
        }
        self.drop_if_empty(topic)
    }

    /// `channel` is gone. True: nobody listens to the topic, tell its owner.
    pub fn leave(&mut self, topic: &TopicKey, channel: ChannelKey) -> bool {
        match topic {
            TopicKey::Session(session) => {
                if let Some(topic) = self.sessions.get_mut(&session.base()) {
                    topic.channels.retain(|member| member.channel != channel);
                }
            }
            TopicKey::Inbox(user) => {
                if let Some(topic) = self.inboxes.get_mut(user) {
                    topic.channels.retain(|other| *other != channel);
                }
            }
        }
        self.drop_if_empty(topic)
    }

    /// An event arrived from an owner.
    pub fn push(&mut self, now: Now, push: Push, out: &mut Vec<Delivery>) {
        match push {
            Push::Message { session, .. } | Push::Chunk { session, .. } | Push::Run { session, .. } => {
                self.push_live(session, push, out);
            }
            Push::Closed { session } | Push::Gap { session } => self.end_session_topic(session, push, out),
            Push::Inbox { user, entry } => self.push_inbox(now, user, entry, out),
            Push::InboxGap { ref user } => {
                let topic = TopicKey::Inbox(user.clone());
                let Some(inbox) = self.inboxes.get_mut(user) else { return self.abandon(topic) };
                inbox.broken_joins = inbox.joining; // what was lost may not be in their replies
                deliver(Delivered::Push(push), std::mem::take(&mut inbox.channels), out);
                if self.drop_if_empty(&topic) {
                    self.abandon(topic);
                }
            }
        }
    }

    /// One shard's part of a user's inbox, from the reply to a join. Call it for every shard's reply, before or after
    /// [`Self::join`].
    pub fn inbox_joined(&mut self, user: &str, entries: Vec<InboxEntry>) {
        let Some(topic) = self.inboxes.get_mut(user) else { return };
        // The one that asked reads it in the reply. Others have to be told, also those whose own reply was older.
        let others = topic.joining > 1 || !topic.channels.is_empty();
        for entry in entries {
            if others { topic.view.change(entry) } else { topic.view.load(entry) }
        }
        topic.wait(user, &mut self.waiting);
    }

    /// Time passed: sends the deltas whose interval is over.
    pub fn tick(&mut self, now: Now, out: &mut Vec<Delivery>) {
        let inboxes = &mut self.inboxes;
        self.waiting.retain(|user| {
            let Some(topic) = inboxes.get_mut(user) else { return false };
            topic.waiting = !topic.flush_if_due(now, user, out);
            topic.waiting
        });
    }

    /// Topics that nobody listens to although their owner may still push: tell it.
    pub fn take_abandoned(&mut self) -> Vec<TopicKey> {
        std::mem::take(&mut self.abandoned)
    }

    /// The channels that listen to a topic.
    pub fn channels_of(&self, topic: &TopicKey) -> Vec<ChannelKey> {
        match topic {
            TopicKey::Session(session) => {
                let channels = self.sessions.get(&session.base()).map_or(&[][..], |topic| &topic.channels);
                channels.iter().map(|member| member.channel).collect()
            }
            TopicKey::Inbox(user) => self.inboxes.get(user).map(|topic| topic.channels.clone()).unwrap_or_default(),
        }
    }

    /// Topics with a channel or a join on its way.
    pub fn topics(&self) -> usize {
        self.sessions.len() + self.inboxes.len()
    }

    fn join_session(&mut self, session: SessionId, channel: ChannelKey, heard: Heard, out: &mut Vec<Delivery>) {
        let topic = self.sessions.entry(session.base()).or_default();
        let mut at = heard;
        let mut gap =
            topic.take_broken_join() || heard.seq < topic.joining.as_ref().map_or(0, |joining| joining.lost_to);
        for push in topic.joining.iter().flat_map(|joining| &joining.kept) {
            match step(at, push) {
                Step::Deliver(next) if !gap => {
                    at = next;
                    deliver(Delivered::Push(push.clone()), vec![channel], out);
                }
                Step::Gap => gap = true,
                Step::Deliver(_) | Step::Known => {}
            }
        }
        topic.end_join();
        if gap {
            deliver(Delivered::Push(Push::Gap { session }), vec![channel], out);
            let topic = TopicKey::Session(session.base());
            if self.drop_if_empty(&topic) {
                self.abandon(topic);
            }
            return;
        }
        if topic.channels.is_empty() {
            topic.channels.reserve_exact(1); // most sessions have one listener
        }
        topic.channels.push(Member::new(channel, at));
    }

    fn join_inbox(&mut self, user: &str, channel: ChannelKey, out: &mut Vec<Delivery>) {
        let topic = self.inboxes.entry_ref(user).or_default();
        if topic.broken_joins > 0 {
            topic.broken_joins -= 1;
            topic.end_join();
            deliver(Delivered::Push(Push::InboxGap { user: user.to_owned() }), vec![channel], out);
            let topic = TopicKey::Inbox(user.to_owned());
            if self.drop_if_empty(&topic) {
                self.abandon(topic);
            }
            return;
        }
        topic.channels.push(channel);
        topic.end_join();
        topic.wait(user, &mut self.waiting);
    }

    fn push_live(&mut self, session: SessionId, push: Push, out: &mut Vec<Delivery>) {
        let Some(topic) = self.sessions.get_mut(&session.base()) else {
            return self.abandon(TopicKey::Session(session.base()));
        };
        let mut to = Vec::with_capacity(topic.channels.len());
        let mut gapped = Vec::new();
        topic.channels.retain_mut(|member| match step(member.heard(), &push) {
            Step::Deliver(next) => {
                member.set_heard(next);
                to.push(member.channel);
                true
            }
            Step::Known => true,
            Step::Gap => {
                gapped.push(member.channel);
                false
            }
        });
        topic.keep(&push);
        deliver(Delivered::Push(push), to, out);
        deliver(Delivered::Push(Push::Gap { session }), gapped, out);
        let topic = TopicKey::Session(session.base());
        if self.drop_if_empty(&topic) {
            self.abandon(topic);
        }
    }

    fn end_session_topic(&mut self, session: SessionId, push: Push, out: &mut Vec<Delivery>) {
        let closed = matches!(push, Push::Closed { .. });
        let Some(topic) = self.sessions.get_mut(&session.base()) else {
            if !closed {
                self.abandon(TopicKey::Session(session.base()));
            }
            return;
        };
        // Joins that are still on their way must not believe that they heard everything.
        if let Some(joining) = &mut topic.joining {
            joining.broken_joins = joining.joins;
        }
        let to = std::mem::take(&mut topic.channels).into_iter().map(|member| member.channel).collect();
        deliver(Delivered::Push(push), to, out);
        let topic = TopicKey::Session(session.base());
        if self.drop_if_empty(&topic) && !closed {
            self.abandon(topic); // the owner of a deleted session has forgotten it already
        }
    }

    fn push_inbox(&mut self, now: Now, user: String, entry: InboxEntry, out: &mut Vec<Delivery>) {
        let Some(topic) = self.inboxes.get_mut(&user) else { return self.abandon(TopicKey::Inbox(user)) };
        topic.view.change(entry);
        topic.changed_while_joining |= topic.joining > 0;
        if !topic.flush_if_due(now, &user, out) {
            topic.wait(&user, &mut self.waiting);
        }
    }

    fn abandon(&mut self, topic: TopicKey) {
        if !self.abandoned.contains(&topic) {
            self.abandoned.push(topic);
        }
    }

    fn drop_if_empty(&mut self, topic: &TopicKey) -> bool {
        match topic {
            TopicKey::Session(session) => match self.sessions.get(&session.base()) {
                Some(state) if state.channels.is_empty() && state.joining.is_none() => {
                    self.sessions.remove(&session.base()).is_some()
                }
                _ => false,
            },
            TopicKey::Inbox(user) => match self.inboxes.get(user) {
                Some(state) if state.channels.is_empty() && state.joining == 0 => self.inboxes.remove(user).is_some(),
                _ => false,
            },
        }
    }
}

impl SessionTopic {
    fn begin_join(&mut self) {
        self.joining.get_or_insert_default().joins += 1;
    }

    fn keep(&mut self, push: &Push) {
        let Some(joining) = &mut self.joining else { return };
        if joining.kept.len() == JOINING_PUSHES_MAX
            && let Some(Push::Message { seq, .. }) = joining.kept.pop_front()
        {
            joining.lost_to = joining.lost_to.max(seq); // a chunk may be lost: it is told to those who happen to listen
        }
        joining.kept.push_back(push.clone());
    }

    /// Whether the join whose reply has arrived was under way when the owner told of a gap: the owner answers joins in
    /// their order, so the oldest are.
    fn take_broken_join(&mut self) -> bool {
        let Some(joining) = &mut self.joining else { return false };
        let is_broken = joining.broken_joins > 0;
        joining.broken_joins -= u32::from(is_broken);
        is_broken
    }

    /// A join that failed may have been any: it is not taken for a broken one, at the price of a gap too many.
    fn end_join(&mut self) {
        let Some(joining) = &mut self.joining else { return };
        joining.joins -= 1;
        joining.broken_joins = joining.broken_joins.min(joining.joins);
        if joining.joins == 0 {
            self.joining = None;
        }
    }
}

impl InboxTopic {
    fn end_join(&mut self) {
        self.joining = self.joining.saturating_sub(1);
        self.broken_joins = self.broken_joins.min(self.joining);
        if self.changed_while_joining {
            self.view.tell_again();
        }
        self.changed_while_joining &= self.joining > 0;
    }

    /// Sees to it that the next tick looks here, if anything is untold.
    fn wait(&mut self, user: &str, waiting: &mut Vec<String>) {
        if !self.waiting && !self.view.clean() {
            self.waiting = true;
            waiting.push(user.to_owned());
        }
    }

    /// Sends a delta if there is something to say and it may be said now. True: nothing waits any more.
    fn flush_if_due(&mut self, now: Now, user: &str, out: &mut Vec<Delivery>) -> bool {
        if self.channels.is_empty() {
            return false; // the first channel's reply is on its way; what it does not say is said behind it
        }
        if !self.view.due(now.mono_us) {
            return self.view.clean();
        }
        let entries = self.view.flush(now.mono_us, self.joining == 0);
        deliver(Delivered::InboxDelta { user: user.to_owned(), entries }, self.channels.clone(), out);
        true
    }
}

enum Step {
    /// The channel gets it and has then heard this.
    Deliver(Heard),
    /// The channel has it, or it is older than what the channel has.
    Known,
    /// Something before it is missing.
    Gap,
}

fn step(heard: Heard, push: &Push) -> Step {
    match push {
        Push::Message { seq, .. } if *seq <= heard.seq => Step::Known,
        Push::Message { seq, .. } if *seq > heard.seq + 1 => Step::Gap,
        Push::Message { seq, .. } => Step::Deliver(Heard { seq: *seq, ..heard }),
        Push::Chunk { place: Some(place), .. } => step_chunk(heard, *place),
        Push::Run { event, .. } if heard.next_chunk.is_some_and(|(run, _)| event.run < run) => Step::Known,
        _ => Step::Deliver(heard),
    }
}

fn step_chunk(heard: Heard, ChunkPlace { run, index, .. }: ChunkPlace) -> Step {
    let next = Heard { next_chunk: Some((run, index + 1)), ..heard };
    match heard.next_chunk {
        None => Step::Deliver(next),
        Some((known, _)) if run < known => Step::Known,
        Some((known, wanted)) if run == known && index < wanted => Step::Known,
        Some((known, wanted)) if index == if run == known { wanted } else { 0 } => Step::Deliver(next),
        Some(_) => Step::Gap,
    }
}

fn deliver(push: Delivered, to: Vec<ChannelKey>, out: &mut Vec<Delivery>) {
    if !to.is_empty() {
        out.push(Delivery { push, to });
    }
}
