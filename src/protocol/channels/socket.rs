//! The channels of one socket, over whatever transport: which topics are joined, under which join_ref, and what a message of
//! the client means (contract 3.2 to 3.4).
//!
//! Invariants: a topic has at most one channel; while a join is undecided no further message is looked at (they wait in
//! order), as in Phoenix; the replies of one channel leave in the order in which its events came; a channel that is gone
//! says nothing more.
//! Not here: topics and events (`api::topics` decides joins and events), transports, frames, time.

use super::{Message, Payload, Ref, Vsn, encode};
use std::collections::VecDeque;

/// What the owner of the socket must do.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Decide a join, then call [`Socket::joined`], [`Socket::refused`] or [`Socket::unmatched`]. No other action
    /// follows before that.
    Join {
        /// The new channel's number.
        channel: u32,
        /// Its topic.
        topic: String,
        /// The parameters.
        payload: Payload,
    },
    /// Perform an event of a joined channel, then call [`Socket::reply`] exactly once.
    Event {
        /// The channel.
        channel: u32,
        /// Its topic.
        topic: String,
        /// The event's name.
        event: String,
        /// Its payload.
        payload: Payload,
        /// Whom to answer.
        reply: ReplyTo,
    },
    /// The channel is gone: forget its subscription.
    Leave {
        /// The channel.
        channel: u32,
        /// Its topic.
        topic: String,
    },
}

/// Names the event that a reply answers.
#[derive(Debug, PartialEq, Eq)]
pub struct ReplyTo {
    channel: u32,
    /// Counts the channel's events.
    serial: u64,
    reference: Ref,
}

/// How an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `ok`.
    Ok,
    /// `error`.
    Error,
}

/// One Phoenix socket. Messages to send are pushed to `out`, one element each.
#[derive(Debug)]
pub struct Socket {
    vsn: Vsn,
    channels_max: usize,
    channels: Vec<Channel>,
    joining: Option<Joining>,
    waiting: VecDeque<Message>,
    channels_opened: u32,
}

#[derive(Debug)]
struct Channel {
    number: u32,
    topic: String,
    /// As the join had it, maybe null.
    join_ref: Ref,
    /// What its pushes and replies carry: the join_ref, or the join's ref in its place.
    push_ref: Ref,
    /// Serial of the oldest event that is not answered on the wire yet.
    answered: u64,
    /// Replies from that one on; `None` where it is still to come.
    replies: VecDeque<Option<Vec<u8>>>,
}

#[derive(Debug)]
struct Joining {
    channel: Channel,
    reference: Ref,
    /// The join_ref of the channel that this join replaces.
    replaced: Option<Ref>,
    /// The parameters, until the join has been handed out.
    payload: Option<Payload>,
}

const NO_RESPONSE: &str = "{}";
const UNMATCHED_TOPIC: &str = r#"{"reason":"unmatched topic"}"#;
const TOO_MANY_CHANNELS: &str = r#"{"reason":"too many channels joined"}"#;

impl Socket {
    /// A socket without channels, of which it may have `channels_max`.
    pub fn new(vsn: Vsn, channels_max: usize) -> Self {
        Self { vsn, channels_max, channels: Vec::new(), joining: None, waiting: VecDeque::new(), channels_opened: 0 }
    }

    /// The version it speaks.
    pub fn vsn(&self) -> Vsn {
        self.vsn
    }

    /// Takes a message of the client. Call [`Self::next`] until it has no more to do.
    pub fn push(&mut self, message: Message) {
        self.waiting.push_back(message);
    }

    /// Whether messages wait for a join to be decided: a good time to read no more from the client.
    pub fn is_joining(&self) -> bool {
        self.joining.is_some()
    }

    /// Events that are not answered yet. The owner bounds them by reading no more from the client.
    pub fn unanswered(&self) -> usize {
        self.channels.iter().map(|channel| channel.replies.len()).sum()
    }

    /// The next thing to do, if any.
    #[allow(clippy::should_implement_trait)] // the name of the house; there is no end to iterate to
    pub fn next(&mut self, out: &mut Vec<Vec<u8>>) -> Option<Action> {
        loop {
            if let Some(joining) = &mut self.joining {
                let payload = joining.payload.take()?;
                let Channel { number, topic, .. } = &joining.channel;
                return Some(Action::Join { channel: *number, topic: topic.clone(), payload });
            }
            let message = self.waiting.pop_front()?;
            if let Some(action) = self.take(message, out) {
                return Some(action);
            }
        }
    }

    /// The join of `channel` is granted with `response`, a JSON value.
    pub fn joined(&mut self, channel: u32, response: &str, out: &mut Vec<Vec<u8>>) {
        let Some(joining) = self.decide(channel) else { return };
        self.answer_join(&joining, &joining.channel.join_ref, true, response, out);
        self.channels.push(joining.channel);
    }

    /// The join of `channel` is refused with `response`, a JSON value.
    pub fn refused(&mut self, channel: u32, response: &str, out: &mut Vec<Vec<u8>>) {
        let Some(joining) = self.decide(channel) else { return };
        self.answer_join(&joining, &joining.channel.join_ref, false, response, out);
    }

    /// There is no such topic as `channel` wants to join.
    pub fn unmatched(&mut self, channel: u32, out: &mut Vec<Vec<u8>>) {
        let Some(joining) = self.decide(channel) else { return };
        self.answer_join(&joining, &Ref::NULL, false, UNMATCHED_TOPIC, out);
    }

    /// Answers an event with `response`, a JSON value. Held back while earlier events of the channel are
    /// unanswered; dropped when the channel is gone.
    pub fn reply(&mut self, to: ReplyTo, status: Status, response: &str, out: &mut Vec<Vec<u8>>) {
        let Some(channel) = self.channels.iter_mut().find(|channel| channel.number == to.channel) else { return };
        let Some(place) = to.serial.checked_sub(channel.answered) else { return };
        let mut bytes = Vec::new();
        let is_ok = status == Status::Ok;
        encode::reply(self.vsn, &channel.push_ref, &to.reference, &channel.topic, is_ok, response, &mut bytes);
        if let Some(reply) = usize::try_from(place).ok().and_then(|place| channel.replies.get_mut(place)) {
            *reply = Some(bytes);
        }
        while let Some(Some(_)) = channel.replies.front() {
            channel.answered += 1;
            out.extend(channel.replies.pop_front().flatten());
        }
    }

    /// An event for one channel, with `payload`, a JSON value.
    pub fn push_event(&self, channel: u32, event: &str, payload: &str, out: &mut Vec<Vec<u8>>) {
        if let Some(channel) = self.channels.iter().find(|open| open.number == channel) {
            let mut bytes = Vec::new();
            encode::push(self.vsn, &channel.push_ref, &channel.topic, event, payload, &mut bytes);
            out.push(bytes);
        }
    }

    /// The server closes `channel` for good. Returns whether it was open.
    pub fn close_channel(&mut self, channel: u32, out: &mut Vec<Vec<u8>>) -> bool {
        self.remove(channel).map(|channel| self.say_closed(&channel.join_ref, &channel.topic, out)).is_some()
    }

    /// `channel` cannot go on and its client must join again. Returns whether it was open.
    pub fn crash_channel(&mut self, channel: u32, out: &mut Vec<Vec<u8>>) -> bool {
        let Some(channel) = self.remove(channel) else { return false };
        let mut bytes = Vec::new();
        encode::error(self.vsn, &channel.join_ref, &channel.topic, &mut bytes);
        out.push(bytes);
        true
    }

    /// Number and topic of every joined channel, for the end of the socket.
    pub fn channels(&self) -> impl Iterator<Item = (u32, &str)> {
        self.channels.iter().map(|channel| (channel.number, channel.topic.as_str()))
    }

    fn take(&mut self, message: Message, out: &mut Vec<Vec<u8>>) -> Option<Action> {
        if message.topic == "phoenix" && message.event == "heartbeat" {
            self.answer(&Ref::NULL, &message, true, NO_RESPONSE, out);
            return None;
        }
        let open = self.channels.iter().position(|channel| channel.topic == message.topic);
        match (message.event.as_str(), open) {
            ("phx_join", _) => self.begin_join(message, open, out),
            ("phx_leave", Some(open)) => self.leave(open, &message, out),
            ("phx_leave", None) => {
                self.answer(&message.join_ref, &message, true, NO_RESPONSE, out);
                None
            }
            (_, Some(open)) => self.channels[open].event(message),
            (_, None) => {
                self.answer(&Ref::NULL, &message, false, UNMATCHED_TOPIC, out);
                None
            }
        }
    }

    /// A join of a joined topic first ends the old channel, whatever becomes of the new one.
    fn begin_join(&mut self, message: Message, open: Option<usize>, out: &mut Vec<Vec<u8>>) -> Option<Action> {
        if open.is_none() && self.channels.len() >= self.channels_max {
            self.answer(&message.join_ref, &message, false, TOO_MANY_CHANNELS, out);
            return None;
        }
        let old = open.map(|open| self.channels.swap_remove(open));
        self.channels_opened = self.channels_opened.wrapping_add(1);
        self.joining = Some(Joining {
            channel: Channel {
                number: self.channels_opened,
                topic: message.topic,
                push_ref: if message.join_ref.is_null() { message.reference.clone() } else { message.join_ref.clone() },
                join_ref: message.join_ref,
                answered: 0,
                replies: VecDeque::new(),
            },
            reference: message.reference,
            replaced: old.as_ref().map(|old| old.join_ref.clone()),
            payload: Some(message.payload),
        });
        old.map(|old| Action::Leave { channel: old.number, topic: old.topic })
    }

    fn leave(&mut self, open: usize, message: &Message, out: &mut Vec<Vec<u8>>) -> Option<Action> {
        if !self.channels[open].is_meant_by(&message.join_ref) {
            return None; // a leave of an earlier incarnation
        }
        let channel = self.channels.swap_remove(open);
        self.answer(&channel.push_ref, message, true, NO_RESPONSE, out);
        self.say_closed(&channel.join_ref, &channel.topic, out);
        Some(Action::Leave { channel: channel.number, topic: channel.topic })
    }

    fn decide(&mut self, channel: u32) -> Option<Joining> {
        self.joining.take_if(|joining| joining.channel.number == channel && joining.payload.is_none())
    }

    /// The reply to a join, then the close of the channel that it replaced: the client tells them apart by join_ref.
    fn answer_join(&self, joining: &Joining, join_ref: &Ref, is_ok: bool, response: &str, out: &mut Vec<Vec<u8>>) {
        let topic = &joining.channel.topic;
        let mut bytes = Vec::new();
        encode::reply(self.vsn, join_ref, &joining.reference, topic, is_ok, response, &mut bytes);
        out.push(bytes);
        if let Some(replaced) = &joining.replaced {
            self.say_closed(replaced, topic, out);
        }
    }

    fn answer(&self, join_ref: &Ref, message: &Message, is_ok: bool, response: &str, out: &mut Vec<Vec<u8>>) {
        let mut bytes = Vec::new();
        encode::reply(self.vsn, join_ref, &message.reference, &message.topic, is_ok, response, &mut bytes);
        out.push(bytes);
    }

    fn say_closed(&self, join_ref: &Ref, topic: &str, out: &mut Vec<Vec<u8>>) {
        let mut bytes = Vec::new();
        encode::close(self.vsn, join_ref, topic, &mut bytes);
        out.push(bytes);
    }

    fn remove(&mut self, channel: u32) -> Option<Channel> {
        let open = self.channels.iter().position(|open| open.number == channel)?;
        Some(self.channels.swap_remove(open))
    }
}

impl Channel {
    /// A null join_ref means whatever channel is open (raw clients, and Phoenix from 1.8.12); a stale one an earlier channel.
    fn is_meant_by(&self, join_ref: &Ref) -> bool {
        join_ref.is_null() || join_ref.matches(&self.join_ref) || join_ref.matches(&self.push_ref)
    }

    fn event(&mut self, message: Message) -> Option<Action> {
        if !self.is_meant_by(&message.join_ref) {
            return None;
        }
        let serial = self.answered + self.replies.len() as u64;
        self.replies.push_back(None);
        Some(Action::Event {
            channel: self.number,
            topic: message.topic,
            event: message.event,
            payload: message.payload,
            reply: ReplyTo { channel: self.number, serial, reference: message.reference },
        })
    }
}
