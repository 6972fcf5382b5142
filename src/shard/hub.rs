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

/// What channels are given.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivered {
    /// An event as its owner sent it. After [`Push::Closed`], [`Push::Gap`] and [`Push::InboxGap`] the channels are
    /// no longer known to the hub: the driver closes them (the first) or crashes them, so that clients join again.
    Push(Push),
    /// A user's whole inbox (contract 5), most recently active first.
    InboxDelta {
        /// The user.
        user_id: String,
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

#[derive(Debug, Default)]
struct SessionTopic {
    channels: Vec<Member>,
    /// Joins whose reply has not arrived.
    joining: u32,
    /// Pushes since the oldest of those began, for the channels to come.
    kept: VecDeque<Push>,
    /// The seq of the last message that had to be dropped from those; 0 for none. A join that stands below it has
    /// lost messages, one that stands there or above has not.
    lost_to: u64,
    /// Of the joins whose reply has not arrived, those that were under way when the owner told of a gap.
    broken_joins: u32,
}

/// A channel on a session.
#[derive(Debug)]
struct Member {
    channel: ChannelKey,
    heard: Heard,
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
        self.abandoned.retain(|other| other != topic);
        match topic {
            TopicKey::Session(session) => self.sessions.entry(*session).or_default().joining += 1,
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
                if let Some(topic) = self.sessions.get_mut(session) {
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
                if let Some(topic) = self.sessions.get_mut(session) {
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
            Push::Inbox { user_id, entry } => self.push_inbox(now, user_id, entry, out),
            Push::InboxGap { ref user_id } => {
                let topic = TopicKey::Inbox(user_id.clone());
                let Some(inbox) = self.inboxes.get_mut(user_id) else { return self.abandon(topic) };
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
    pub fn inbox_joined(&mut self, user_id: &str, entries: Vec<InboxEntry>) {
        let Some(topic) = self.inboxes.get_mut(user_id) else { return };
        // The one that asked reads it in the reply. Others have to be told, also those whose own reply was older.
        let others = topic.joining > 1 || !topic.channels.is_empty();
        for entry in entries {
            if others { topic.view.change(entry) } else { topic.view.load(entry) }
        }
        topic.wait(user_id, &mut self.waiting);
    }

    /// Time passed: sends the deltas whose interval is over.
    pub fn tick(&mut self, now: Now, out: &mut Vec<Delivery>) {
        let inboxes = &mut self.inboxes;
        self.waiting.retain(|user_id| {
            let Some(topic) = inboxes.get_mut(user_id) else { return false };
            topic.waiting = !topic.flush_if_due(now, user_id, out);
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
                let channels = self.sessions.get(session).map_or(&[][..], |topic| &topic.channels);
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
        let topic = self.sessions.entry(session).or_default();
        let mut at = heard;
        let mut gap = topic.take_broken_join() || heard.seq < topic.lost_to;
        for push in &topic.kept {
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
            let topic = TopicKey::Session(session);
            if self.drop_if_empty(&topic) {
                self.abandon(topic);
            }
            return;
        }
        topic.channels.push(Member { channel, heard: at });
    }

    fn join_inbox(&mut self, user: &str, channel: ChannelKey, out: &mut Vec<Delivery>) {
        let topic = self.inboxes.entry_ref(user).or_default();
        if topic.broken_joins > 0 {
            topic.broken_joins -= 1;
            topic.end_join();
            deliver(Delivered::Push(Push::InboxGap { user_id: user.to_owned() }), vec![channel], out);
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
        let Some(topic) = self.sessions.get_mut(&session) else { return self.abandon(TopicKey::Session(session)) };
        let mut to = Vec::with_capacity(topic.channels.len());
        let mut gapped = Vec::new();
        topic.channels.retain_mut(|Member { channel, heard }| match step(*heard, &push) {
            Step::Deliver(next) => {
                *heard = next;
                to.push(*channel);
                true
            }
            Step::Known => true,
            Step::Gap => {
                gapped.push(*channel);
                false
            }
        });
        topic.keep(&push);
        deliver(Delivered::Push(push), to, out);
        deliver(Delivered::Push(Push::Gap { session }), gapped, out);
        let topic = TopicKey::Session(session);
        if self.drop_if_empty(&topic) {
            self.abandon(topic);
        }
    }

    fn end_session_topic(&mut self, session: SessionId, push: Push, out: &mut Vec<Delivery>) {
        let closed = matches!(push, Push::Closed { .. });
        let Some(topic) = self.sessions.get_mut(&session) else {
            if !closed {
                self.abandon(TopicKey::Session(session));
            }
            return;
        };
        // Joins that are still on their way must not believe that they heard everything.
        topic.broken_joins = topic.joining;
        let to = std::mem::take(&mut topic.channels).into_iter().map(|member| member.channel).collect();
        deliver(Delivered::Push(push), to, out);
        let topic = TopicKey::Session(session);
        if self.drop_if_empty(&topic) && !closed {
            self.abandon(topic); // the owner of a deleted session has forgotten it already
        }
    }

    fn push_inbox(&mut self, now: Now, user_id: String, entry: InboxEntry, out: &mut Vec<Delivery>) {
        let Some(topic) = self.inboxes.get_mut(&user_id) else { return self.abandon(TopicKey::Inbox(user_id)) };
        topic.view.change(entry);
        topic.changed_while_joining |= topic.joining > 0;
        if !topic.flush_if_due(now, &user_id, out) {
            topic.wait(&user_id, &mut self.waiting);
        }
    }

    fn abandon(&mut self, topic: TopicKey) {
        if !self.abandoned.contains(&topic) {
            self.abandoned.push(topic);
        }
    }

    fn drop_if_empty(&mut self, topic: &TopicKey) -> bool {
        match topic {
            TopicKey::Session(session) => match self.sessions.get(session) {
                Some(state) if state.channels.is_empty() && state.joining == 0 => {
                    self.sessions.remove(session).is_some()
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
    fn keep(&mut self, push: &Push) {
        if self.joining == 0 {
            return;
        }
        if self.kept.len() == JOINING_PUSHES_MAX
            && let Some(Push::Message { seq, .. }) = self.kept.pop_front()
        {
            self.lost_to = self.lost_to.max(seq); // a chunk may be lost: it is told to those who happen to listen
        }
        self.kept.push_back(push.clone());
    }

    /// Whether the join whose reply has arrived was under way when the owner told of a gap: the owner answers joins in
    /// their order, so the oldest are.
    fn take_broken_join(&mut self) -> bool {
        let is_broken = self.broken_joins > 0;
        self.broken_joins -= u32::from(is_broken);
        is_broken
    }

    /// A join that failed may have been any: it is not taken for a broken one, at the price of a gap too many.
    fn end_join(&mut self) {
        self.joining = self.joining.saturating_sub(1);
        self.broken_joins = self.broken_joins.min(self.joining);
        if self.joining == 0 {
            self.kept = VecDeque::new();
            self.lost_to = 0;
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
    fn wait(&mut self, user_id: &str, waiting: &mut Vec<String>) {
        if !self.waiting && !self.view.clean() {
            self.waiting = true;
            waiting.push(user_id.to_owned());
        }
    }

    /// Sends a delta if there is something to say and it may be said now. True: nothing waits any more.
    fn flush_if_due(&mut self, now: Now, user_id: &str, out: &mut Vec<Delivery>) -> bool {
        if self.channels.is_empty() {
            return false; // the first channel's reply is on its way; what it does not say is said behind it
        }
        if !self.view.due(now.mono_us) {
            return self.view.clean();
        }
        let entries = self.view.flush(now.mono_us, self.joining == 0);
        deliver(Delivered::InboxDelta { user_id: user_id.to_owned(), entries }, self.channels.clone(), out);
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

fn step_chunk(heard: Heard, ChunkPlace { run, index }: ChunkPlace) -> Step {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{INBOX_DIRTY_MAX, INBOX_INTERVAL_US};
    use crate::session::Json;

    const NOW: Now = at(5_000_000);

    const fn at(mono_us: u64) -> Now {
        Now { unix_us: 0, mono_us }
    }

    fn session() -> SessionId {
        SessionId::from(7)
    }

    fn topic() -> TopicKey {
        TopicKey::Session(session())
    }

    fn channel(n: u32) -> ChannelKey {
        ChannelKey { connection: 1, channel: n }
    }

    fn message(seq: u64) -> Push {
        Push::Message { session: session(), seq, json: Json::empty_object() }
    }

    fn chunk() -> Push {
        Push::Chunk { session: session(), agent_id: "bot".into(), chunk: Json::empty_object(), place: None }
    }

    fn at_seq(seq: u64) -> Heard {
        Heard { seq, next_chunk: None }
    }

    /// What each channel was given: seqs of messages, 0 for a chunk, -1 for a gap, -2 for closed.
    fn heard(deliveries: &[Delivery], channel: ChannelKey) -> Vec<i64> {
        let to_channel = deliveries.iter().filter(|delivery| delivery.to.contains(&channel));
        let number = |delivery: &Delivery| match &delivery.push {
            Delivered::Push(Push::Message { seq, .. }) => *seq as i64,
            Delivered::Push(Push::Chunk { .. }) => 0,
            Delivered::Push(Push::Gap { .. } | Push::InboxGap { .. }) => -1,
            Delivered::Push(Push::Closed { .. }) => -2,
            other => panic!("unexpected {other:?}"),
        };
        to_channel.map(number).collect()
    }

    struct Bench {
        hub: Hub,
        out: Vec<Delivery>,
    }

    impl Bench {
        fn new() -> Self {
            Self { hub: Hub::default(), out: Vec::new() }
        }

        fn join(&mut self, n: u32, cursor: u64) {
            self.hub.begin_join(&topic());
            self.hub.join(&topic(), channel(n), at_seq(cursor), &mut self.out);
        }

        fn push(&mut self, push: Push) {
            self.hub.push(NOW, push, &mut self.out);
        }

        fn heard(&self, n: u32) -> Vec<i64> {
            heard(&self.out, channel(n))
        }
    }

    #[test]
    fn a_channel_hears_what_is_above_its_cursor_once() {
        let mut bench = Bench::new();
        bench.join(1, 3);
        for seq in 2..=5 {
            bench.push(message(seq));
        }
        bench.push(message(5));
        bench.push(chunk());
        assert_eq!(bench.heard(1), [4, 5, 0]);
    }

    fn placed(run: u128, index: u32) -> Push {
        let place = Some(ChunkPlace { run: RunId::from(run), index });
        Push::Chunk { session: session(), agent_id: "bot".into(), chunk: Json::empty_object(), place }
    }

    /// Run and index of each chunk that a channel was given; (0, 0) for a gap.
    fn chunks(deliveries: &[Delivery], channel: ChannelKey) -> Vec<(u128, u32)> {
        let to_channel = deliveries.iter().filter(|delivery| delivery.to.contains(&channel));
        let place = |delivery: &Delivery| match &delivery.push {
            Delivered::Push(Push::Chunk { place: Some(place), .. }) => (place.run.to_u128(), place.index),
            Delivered::Push(Push::Gap { .. }) => (0, 0),
            other => panic!("unexpected {other:?}"),
        };
        to_channel.map(place).collect()
    }

    #[test]
    fn a_channel_that_resumes_gets_the_chunks_that_its_reply_left_out_once_in_any_order() {
        let resumed = Heard { seq: 0, next_chunk: Some((RunId::from(7), 3)) };
        for early in 0..=5 {
            let mut bench = Bench::new();
            bench.hub.begin_join(&topic());
            (0..early).for_each(|index| bench.push(placed(7, index)));
            bench.push(placed(6, 9));
            bench.hub.join(&topic(), channel(1), resumed, &mut bench.out);
            (early.min(3)..6).for_each(|index| bench.push(placed(7, index)));
            bench.push(placed(8, 0));
            let expected = [(7, 3), (7, 4), (7, 5), (8, 0)];
            assert_eq!(chunks(&bench.out, channel(1)), expected, "{early} chunks overtook the reply");
        }
    }

    #[test]
    fn a_channel_that_did_not_ask_joins_in_the_middle_and_misses_nothing_from_there() {
        let mut bench = Bench::new();
        bench.join(1, 0);
        bench.push(placed(7, 4));
        bench.push(placed(7, 5));
        bench.push(placed(7, 7));
        assert_eq!(chunks(&bench.out, channel(1)), [(7, 4), (7, 5), (0, 0)]);
    }

    #[test]
    fn a_run_that_begins_in_the_middle_is_a_gap_to_those_who_heard_the_one_before() {
        let mut bench = Bench::new();
        bench.join(1, 0);
        bench.push(placed(7, 0));
        bench.push(placed(8, 1));
        assert_eq!(chunks(&bench.out, channel(1)), [(7, 0), (0, 0)]);
    }

    #[test]
    fn channels_with_different_cursors_share_one_event() {
        let mut bench = Bench::new();
        bench.join(1, 4);
        bench.join(2, 3);
        bench.push(message(4));
        bench.push(message(5));
        assert_eq!((bench.heard(1), bench.heard(2)), (vec![5], vec![4, 5]));
        assert_eq!(bench.out.last().unwrap().to.len(), 2);
    }

    #[test]
    fn pushes_that_overtake_the_reply_are_delivered_behind_it() {
        let mut bench = Bench::new();
        bench.hub.begin_join(&topic());
        bench.push(message(4));
        bench.push(message(5));
        bench.push(chunk());
        bench.push(message(6));
        assert!(bench.out.is_empty());
        bench.hub.join(&topic(), channel(1), at_seq(4), &mut bench.out);
        bench.push(message(7));
        assert_eq!(bench.heard(1), [5, 0, 6, 7]);
    }

    #[test]
    fn a_lost_push_shows_as_a_gap_to_those_who_miss_it() {
        let mut bench = Bench::new();
        bench.join(1, 3);
        bench.join(2, 5);
        bench.push(message(6));
        assert_eq!((bench.heard(1), bench.heard(2)), (vec![-1], vec![6]));
        assert_eq!(bench.hub.channels_of(&topic()), [channel(2)]);
        bench.push(message(8));
        assert_eq!(bench.heard(2), [6, -1]);
        assert_eq!(bench.hub.take_abandoned(), [topic()]);
        assert_eq!(bench.hub.topics(), 0);
    }

    #[test]
    fn a_gap_from_the_owner_reaches_every_channel_and_joins_on_their_way() {
        let mut bench = Bench::new();
        bench.join(1, 3);
        bench.hub.begin_join(&topic());
        bench.push(Push::Gap { session: session() });
        assert_eq!(bench.heard(1), [-1]);
        bench.hub.join(&topic(), channel(2), at_seq(9), &mut bench.out);
        assert_eq!(bench.heard(2), [-1]);
        bench.join(3, 9);
        bench.push(message(10));
        assert_eq!(bench.heard(3), [10]);
    }

    #[test]
    fn more_pushes_than_can_be_kept_for_a_join_become_a_gap() {
        let mut bench = Bench::new();
        bench.hub.begin_join(&topic());
        (1..=JOINING_PUSHES_MAX as u64 + 1).for_each(|seq| bench.push(message(seq)));
        bench.hub.join(&topic(), channel(1), at_seq(0), &mut bench.out);
        let heard = bench.heard(1);
        assert_eq!(heard.last(), Some(&-1));
    }

    /// Joins overlap without end, as when a room full of clients reconnects: each begins before the one before it ends.
    fn overlapping_joins(bench: &mut Bench, rounds: u32, mut between: impl FnMut(&mut Bench) -> u64) {
        for n in 1..=rounds {
            bench.hub.begin_join(&topic());
            let cursor = between(bench);
            bench.hub.join(&topic(), channel(n), at_seq(cursor), &mut bench.out);
        }
    }

    #[test]
    fn overlapping_joins_on_a_busy_session_get_in_however_much_was_pushed_since_the_first() {
        let mut bench = Bench::new();
        bench.hub.begin_join(&topic());
        let mut seq = 0;
        overlapping_joins(&mut bench, 2 * JOINING_PUSHES_MAX as u32, |bench| {
            seq += 1;
            bench.push(message(seq));
            seq
        });
        bench.push(message(seq + 1));
        for n in [1, JOINING_PUSHES_MAX as u32, 2 * JOINING_PUSHES_MAX as u32] {
            let heard = bench.heard(n);
            assert_eq!((heard.last(), heard.contains(&-1)), (Some(&(seq as i64 + 1)), false));
        }
    }

    #[test]
    fn a_join_below_what_was_dropped_becomes_a_gap_and_one_above_gets_the_rest() {
        let mut bench = Bench::new();
        let last = JOINING_PUSHES_MAX as u64 + 10;
        (0..2).for_each(|_| bench.hub.begin_join(&topic()));
        (1..=last).for_each(|seq| bench.push(message(seq)));
        bench.hub.join(&topic(), channel(1), at_seq(10), &mut bench.out);
        bench.hub.join(&topic(), channel(2), at_seq(9), &mut bench.out);
        assert!(bench.heard(1).into_iter().eq(11..=last as i64));
        assert_eq!(bench.heard(2), [-1]);
    }

    #[test]
    fn dropped_chunks_are_no_gap() {
        let mut bench = Bench::new();
        bench.hub.begin_join(&topic());
        (0..JOINING_PUSHES_MAX).for_each(|_| bench.push(chunk()));
        bench.push(message(1));
        bench.hub.join(&topic(), channel(1), at_seq(0), &mut bench.out);
        assert_eq!(bench.heard(1).last(), Some(&1));
    }

    #[test]
    fn an_owners_gap_ends_the_joins_that_were_under_way_and_no_later_ones() {
        let mut bench = Bench::new();
        (0..2).for_each(|_| bench.hub.begin_join(&topic()));
        bench.push(Push::Gap { session: session() });
        bench.hub.begin_join(&topic());
        (1..=3).for_each(|n| bench.hub.join(&topic(), channel(n), at_seq(0), &mut bench.out));
        bench.push(message(1));
        assert_eq!([bench.heard(1), bench.heard(2), bench.heard(3)], [vec![-1], vec![-1], vec![1]]);
    }

    #[test]
    fn a_deleted_session_closes_its_channels_and_is_forgotten() {
        let mut bench = Bench::new();
        bench.join(1, 0);
        bench.push(Push::Closed { session: session() });
        assert_eq!(bench.heard(1), [-2]);
        assert_eq!(bench.hub.topics(), 0);
        assert!(bench.hub.take_abandoned().is_empty());
    }

    #[test]
    fn the_last_to_leave_is_told_and_a_join_on_its_way_keeps_the_topic() {
        let mut bench = Bench::new();
        bench.join(1, 0);
        bench.join(2, 0);
        bench.hub.begin_join(&topic());
        assert!(!bench.hub.leave(&topic(), channel(1)));
        assert!(!bench.hub.leave(&topic(), channel(2)));
        assert!(bench.hub.join_failed(&topic()));
        assert!(!bench.hub.leave(&topic(), channel(2)));
        assert_eq!(bench.hub.topics(), 0);
    }

    #[test]
    fn a_push_for_nobody_is_reported_until_somebody_joins() {
        let mut bench = Bench::new();
        bench.push(message(1));
        bench.push(message(2));
        bench.hub.begin_join(&topic());
        assert!(bench.hub.take_abandoned().is_empty());
        let user = "u".to_owned();
        bench.push(Push::InboxGap { user_id: user.clone() });
        assert_eq!(bench.hub.take_abandoned(), [TopicKey::Inbox(user)]);
    }

    // Inboxes.

    fn entry(session: u128, as_of: u64) -> InboxEntry {
        InboxEntry {
            session: SessionId::from(session),
            agent_id: "bot".into(),
            unread_count: as_of,
            last_activity_us: (as_of > 0).then_some(as_of),
            last_sender_id: None,
            gone: false,
            as_of,
        }
    }

    fn inbox() -> TopicKey {
        TopicKey::Inbox("u".into())
    }

    fn watched(entries: Vec<InboxEntry>) -> Bench {
        let mut bench = Bench::new();
        bench.hub.begin_join(&inbox());
        bench.hub.inbox_joined("u", entries);
        bench.hub.join(&inbox(), channel(1), Heard::default(), &mut bench.out);
        bench
    }

    impl Bench {
        fn change(&mut self, mono_us: u64, entry: InboxEntry) {
            self.hub.push(at(mono_us), Push::Inbox { user_id: "u".into(), entry }, &mut self.out);
        }

        fn tick(&mut self, mono_us: u64) {
            self.hub.tick(at(mono_us), &mut self.out);
        }

        /// Session and unread count of each entry of each delta since the last call.
        fn deltas(&mut self) -> Vec<Vec<(u128, u64)>> {
            let delta = |delivery: Delivery| match delivery.push {
                Delivered::InboxDelta { entries, .. } => {
                    entries.iter().map(|entry| (entry.session.to_u128(), entry.unread_count)).collect()
                }
                other => panic!("unexpected {other:?}"),
            };
            self.out.drain(..).map(delta).collect()
        }
    }

    #[test]
    fn the_first_change_after_quiet_goes_at_once_and_later_ones_wait_for_the_interval() {
        let mut bench = watched(vec![entry(1, 0)]);
        bench.change(10, entry(1, 1));
        assert_eq!(bench.deltas(), [[(1, 1)]]);
        bench.change(20, entry(1, 2));
        bench.change(30, entry(1, 3));
        bench.tick(INBOX_INTERVAL_US);
        assert!(bench.deltas().is_empty());
        bench.tick(10 + INBOX_INTERVAL_US);
        bench.tick(20 + INBOX_INTERVAL_US);
        assert_eq!(bench.deltas(), [[(1, 3)]]);
    }

    #[test]
    fn deltas_never_stop_however_long_it_was_quiet() {
        let mut bench = watched(vec![entry(1, 0)]);
        let mut now_us = 0;
        for change in 1..=50 {
            now_us += INBOX_INTERVAL_US * (change % 7); // idle for none to many intervals, ticking all the time
            bench.tick(now_us);
            bench.deltas();
            bench.change(now_us + 1, entry(1, change));
            bench.tick(now_us + 2 + INBOX_INTERVAL_US);
            assert_eq!(bench.deltas().last().unwrap(), &[(1, change)]);
            now_us += 2 + INBOX_INTERVAL_US;
        }
    }

    #[test]
    fn many_dirty_entries_do_not_wait() {
        let mut bench = watched(vec![]);
        bench.change(1, entry(1000, 1));
        bench.deltas();
        (1..INBOX_DIRTY_MAX as u128).for_each(|n| bench.change(2, entry(n, 2)));
        assert!(bench.deltas().is_empty());
        bench.change(3, entry(999, 3));
        assert_eq!(bench.deltas()[0].len(), INBOX_DIRTY_MAX + 1);
    }

    #[test]
    fn a_delta_is_the_whole_inbox_most_recently_active_first_and_without_what_is_gone() {
        let mut bench = watched(vec![entry(1, 10), entry(2, 0), entry(3, 30)]);
        bench.change(1, entry(4, 20));
        assert_eq!(bench.deltas(), [[(3, 30), (4, 20), (1, 10), (2, 0)]]);
        bench.change(2, InboxEntry { gone: true, ..entry(3, 40) });
        bench.tick(2 * INBOX_INTERVAL_US);
        assert_eq!(bench.deltas(), [[(4, 20), (1, 10), (2, 0)]]);
    }

    #[test]
    fn of_two_accounts_the_later_one_wins_in_any_order() {
        let mut bench = Bench::new();
        bench.hub.begin_join(&inbox());
        bench.change(1, entry(1, 5));
        bench.change(1, InboxEntry { gone: true, ..entry(2, 6) });
        bench.hub.inbox_joined("u", vec![entry(1, 4), entry(2, 4), entry(3, 4)]);
        bench.hub.join(&inbox(), channel(1), Heard::default(), &mut bench.out);
        bench.tick(2);
        assert_eq!(bench.deltas(), [[(1, 5), (3, 4)]]); // the reply did not say it: said behind it
        bench.change(3, entry(1, 3));
        bench.tick(2 * INBOX_INTERVAL_US);
        assert!(bench.deltas().is_empty());
    }

    #[test]
    fn a_reply_that_is_newer_than_what_others_know_is_told_to_them() {
        let mut bench = watched(vec![entry(1, 1)]);
        bench.hub.begin_join(&inbox());
        bench.hub.inbox_joined("u", vec![entry(1, 2)]);
        bench.hub.join(&inbox(), channel(2), Heard::default(), &mut bench.out);
        bench.change(1, entry(1, 2)); // the push that the reply has overtaken
        bench.tick(2 * INBOX_INTERVAL_US);
        assert_eq!(bench.deltas(), [[(1, 2)]]);
    }

    #[test]
    fn a_change_that_overtakes_the_reply_of_a_second_join_is_told_again() {
        let mut bench = watched(vec![entry(1, 1)]);
        bench.hub.begin_join(&inbox());
        bench.change(1, entry(1, 2));
        assert_eq!(bench.deltas(), [[(1, 2)]]);
        bench.hub.inbox_joined("u", vec![entry(1, 1)]);
        bench.hub.join(&inbox(), channel(2), Heard::default(), &mut bench.out);
        bench.tick(2 * INBOX_INTERVAL_US);
        assert_eq!(bench.out.last().unwrap().to.len(), 2);
        assert_eq!(bench.deltas(), [[(1, 2)]]);
    }

    #[test]
    fn an_inbox_gap_ends_the_joins_that_were_under_way_and_no_later_ones() {
        let mut bench = Bench::new();
        bench.hub.begin_join(&inbox());
        bench.push(Push::InboxGap { user_id: "u".into() });
        bench.hub.begin_join(&inbox());
        bench.hub.join(&inbox(), channel(1), Heard::default(), &mut bench.out);
        bench.hub.join(&inbox(), channel(2), Heard::default(), &mut bench.out);
        assert_eq!((bench.heard(1), bench.heard(2)), (vec![-1], vec![]));
        assert_eq!(bench.hub.channels_of(&inbox()), [channel(2)]);
    }

    #[test]
    fn an_inbox_gap_ends_its_channels() {
        let mut bench = watched(vec![]);
        bench.push(Push::InboxGap { user_id: "u".into() });
        assert_eq!(bench.heard(1), [-1]);
        assert_eq!(bench.hub.take_abandoned(), [inbox()]);
    }
}
