//! The channels of one socket, over whatever transport: which topics are joined, under which join_ref, and what a message of
//! the client means (contract 3.2 to 3.4).
//!
//! Invariants: a topic has at most one channel; while a join is undecided no further message is looked at (they wait in
//! order), as in Phoenix; the replies of one channel leave in the order in which its events came, and a leave waits for
//! them; a channel that is gone says nothing more.
//! Not here: topics and events (`api::topics` decides joins and events), transports, frames, time.

use super::{Message, Outlet, Payload, Ref, Vsn, encode};
use crate::protocol::Roomy;
use std::borrow::Cow;
use std::collections::VecDeque;

/// What the owner of the socket must do.
#[derive(Debug, PartialEq)]
pub enum Action<'a> {
    /// Decide a join, then call [`Socket::joined`], [`Socket::refused`] or [`Socket::unmatched`]. No other action
    /// follows before that.
    Join {
        /// The new channel's number.
        channel: u32,
        /// Its topic.
        topic: Cow<'a, str>,
        /// The parameters.
        payload: Payload<'a>,
    },
    /// Perform an event of a joined channel, then call [`Socket::reply`] exactly once.
    Event {
        /// The channel.
        channel: u32,
        /// Its topic.
        topic: Cow<'a, str>,
        /// The event's name.
        event: Cow<'a, str>,
        /// Its payload.
        payload: Payload<'a>,
        /// Whom to answer.
        reply: ReplyTo,
    },
    /// The channel is gone: forget its subscription.
    Leave {
        /// The channel.
        channel: u32,
        /// Its topic.
        topic: Cow<'a, str>,
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

/// One Phoenix socket. Messages to send go to `out` in their order.
#[derive(Debug)]
pub struct Socket {
    vsn: Vsn,
    channels_max: usize,
    channels: Vec<Channel>,
    /// Boxed: it is there for a moment, and sockets idle by the thousands.
    joining: Option<Box<Joining>>,
    /// Messages that came while a join was undecided.
    waiting: VecDeque<Message<'static>>,
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
    /// The ref of a leave that waits for them.
    leaving: Option<Ref>,
}

#[derive(Debug)]
struct Joining {
    channel: Channel,
    reference: Ref,
    /// The join_ref of the channel that this join replaces.
    replaced: Option<Ref>,
    /// The parameters, until the join has been handed out.
    payload: Option<Payload<'static>>,
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

    /// Takes a message of the client: the first thing to do, if any. Call [`Self::next`] until it has no more.
    pub fn take<'a>(&mut self, message: Message<'a>, out: &mut impl Outlet) -> Option<Action<'a>> {
        if self.is_joining() || !self.waiting.is_empty() {
            self.waiting.push_back(message.into_owned());
            return self.next(out);
        }
        self.perform(message, out).or_else(|| self.next(out))
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
    pub fn next(&mut self, out: &mut impl Outlet) -> Option<Action<'static>> {
        loop {
            if let Some(joining) = &mut self.joining {
                let payload = joining.payload.take()?;
                let Channel { number, topic, .. } = &joining.channel;
                return Some(Action::Join { channel: *number, topic: topic.clone().into(), payload });
            }
            let message = self.waiting.pop_front()?;
            if let Some(action) = self.perform(message, out) {
                return Some(action);
            }
        }
    }

    /// The join of `channel` is granted with `response`, a JSON value, which may be long: the reply is put around it.
    pub fn joined(&mut self, channel: u32, response: impl Into<Roomy>, out: &mut impl Outlet) {
        let Some(joining) = self.decide(channel) else { return };
        let Joining { channel, reference, replaced, .. } = *joining;
        let mut reply = response.into();
        encode::reply_around(self.vsn, &channel.join_ref, &reference, &channel.topic, true, &mut reply);
        out.long_message(reply);
        if let Some(replaced) = &replaced {
            self.say_closed(replaced, &channel.topic, out);
        }
        if self.channels.is_empty() {
            self.channels.reserve_exact(1); // most sockets join one topic
        }
        self.channels.push(channel);
    }

    /// The join of `channel` is refused with `response`, a JSON value.
    pub fn refused(&mut self, channel: u32, response: &str, out: &mut impl Outlet) {
        let Some(joining) = self.decide(channel) else { return };
        self.refuse_join(&joining, &joining.channel.join_ref, response, out);
    }

    /// There is no such topic as `channel` wants to join.
    pub fn unmatched(&mut self, channel: u32, out: &mut impl Outlet) {
        let Some(joining) = self.decide(channel) else { return };
        self.refuse_join(&joining, &Ref::NULL, UNMATCHED_TOPIC, out);
    }

    /// Answers an event with `response`, a JSON value. Held back while earlier events of the channel are
    /// unanswered; dropped when the channel is gone. A leave that waited for the last of them is given back to be performed.
    #[must_use]
    pub fn reply(
        &mut self,
        to: ReplyTo,
        status: Status,
        response: &str,
        out: &mut impl Outlet,
    ) -> Option<Action<'static>> {
        let open = self.channels.iter().position(|channel| channel.number == to.channel)?;
        let channel = &mut self.channels[open];
        let place = to.serial.checked_sub(channel.answered)?;
        let vsn = self.vsn;
        let is_ok = status == Status::Ok;
        let write = |bytes: &mut Vec<u8>| {
            encode::reply(vsn, &channel.push_ref, &to.reference, &channel.topic, is_ok, response, bytes);
        };
        if place > 0 {
            let mut held = Vec::new();
            write(&mut held);
            if let Some(reply) = usize::try_from(place).ok().and_then(|place| channel.replies.get_mut(place)) {
                *reply = Some(held);
            }
            return None;
        }
        out.message(write);
        channel.answered += 1;
        channel.replies.pop_front();
        while let Some(held) = channel.replies.front_mut().and_then(Option::take) {
            out.message(|bytes| bytes.extend_from_slice(&held));
            channel.answered += 1;
            channel.replies.pop_front();
        }
        channel.leaving.take_if(|_| channel.replies.is_empty()).map(|reference| self.left(open, &reference, out))
    }

    /// An event for one channel, with `payload`, a JSON value.
    pub fn push_event(&self, channel: u32, event: &str, payload: &str, out: &mut impl Outlet) {
        if let Some(channel) = self.channels.iter().find(|open| open.number == channel) {
            out.message(|bytes| encode::push(self.vsn, &channel.push_ref, &channel.topic, event, payload, bytes));
        }
    }

    /// The server closes `channel` for good. Returns whether it was open.
    pub fn close_channel(&mut self, channel: u32, out: &mut impl Outlet) -> bool {
        self.remove(channel).map(|channel| self.say_closed(&channel.join_ref, &channel.topic, out)).is_some()
    }

    /// `channel` cannot go on and its client must join again. Returns whether it was open.
    pub fn crash_channel(&mut self, channel: u32, out: &mut impl Outlet) -> bool {
        let Some(channel) = self.remove(channel) else { return false };
        out.message(|bytes| encode::error(self.vsn, &channel.join_ref, &channel.topic, bytes));
        true
    }

    /// Number and topic of every joined channel, for the end of the socket.
    pub fn channels(&self) -> impl Iterator<Item = (u32, &str)> {
        self.channels.iter().map(|channel| (channel.number, channel.topic.as_str()))
    }

    fn perform<'a>(&mut self, message: Message<'a>, out: &mut impl Outlet) -> Option<Action<'a>> {
        if message.topic == "phoenix" && message.event == "heartbeat" {
            self.answer(&Ref::NULL, &message.reference, &message.topic, true, NO_RESPONSE, out);
            return None;
        }
        let open = self.channels.iter().position(|channel| channel.topic == message.topic);
        let is_leaving = open.is_some_and(|open| self.channels[open].leaving.is_some());
        match (&*message.event, open.filter(|_| !is_leaving)) {
            ("phx_join", _) => self.begin_join(message, open, out),
            ("phx_leave", Some(open)) => self.leave(open, &message, out),
            ("phx_leave", None) => {
                self.answer(&message.join_ref, &message.reference, &message.topic, true, NO_RESPONSE, out);
                None
            }
            (_, Some(open)) => self.channels[open].event(message),
            (_, None) => {
                self.answer(&Ref::NULL, &message.reference, &message.topic, false, UNMATCHED_TOPIC, out);
                None
            }
        }
    }

    /// A join of a joined topic first ends the old channel, whatever becomes of the new one.
    fn begin_join(
        &mut self,
        message: Message<'_>,
        open: Option<usize>,
        out: &mut impl Outlet,
    ) -> Option<Action<'static>> {
        if open.is_none() && self.channels.len() >= self.channels_max {
            self.answer(&message.join_ref, &message.reference, &message.topic, false, TOO_MANY_CHANNELS, out);
            return None;
        }
        let message = message.into_owned();
        let old = open.map(|open| self.channels.swap_remove(open));
        if let Some((old, reference)) = old.as_ref().and_then(|old| Some((old, old.leaving.as_ref()?))) {
            self.answer(&old.push_ref, reference, &old.topic, true, NO_RESPONSE, out);
        }
        self.channels_opened = self.channels_opened.wrapping_add(1);
        self.joining = Some(Box::new(Joining {
            channel: Channel {
                number: self.channels_opened,
                topic: message.topic.into_owned(),
                push_ref: if message.join_ref.is_null() { message.reference.clone() } else { message.join_ref.clone() },
                join_ref: message.join_ref,
                answered: 0,
                replies: VecDeque::new(),
                leaving: None,
            },
            reference: message.reference,
            replaced: old.as_ref().map(|old| old.join_ref.clone()),
            payload: Some(message.payload),
        }));
        old.map(|old| Action::Leave { channel: old.number, topic: old.topic.into() })
    }

    fn leave(&mut self, open: usize, message: &Message<'_>, out: &mut impl Outlet) -> Option<Action<'static>> {
        let channel = &mut self.channels[open];
        if !channel.is_meant_by(&message.join_ref) {
            return None; // a leave of an earlier incarnation
        }
        if !channel.replies.is_empty() {
            channel.leaving = Some(message.reference.clone());
            return None;
        }
        Some(self.left(open, &message.reference, out))
    }

    fn left(&mut self, open: usize, reference: &Ref, out: &mut impl Outlet) -> Action<'static> {
        let channel = self.channels.swap_remove(open);
        self.answer(&channel.push_ref, reference, &channel.topic, true, NO_RESPONSE, out);
        self.say_closed(&channel.join_ref, &channel.topic, out);
        Action::Leave { channel: channel.number, topic: channel.topic.into() }
    }

    fn decide(&mut self, channel: u32) -> Option<Box<Joining>> {
        self.joining.take_if(|joining| joining.channel.number == channel && joining.payload.is_none())
    }

    /// The reply to a join, then the close of the channel that it replaced: the client tells them apart by join_ref.
    fn refuse_join(&self, joining: &Joining, join_ref: &Ref, response: &str, out: &mut impl Outlet) {
        let topic = &joining.channel.topic;
        self.answer(join_ref, &joining.reference, topic, false, response, out);
        if let Some(replaced) = &joining.replaced {
            self.say_closed(replaced, topic, out);
        }
    }

    fn answer(&self, join_ref: &Ref, reference: &Ref, topic: &str, is_ok: bool, response: &str, out: &mut impl Outlet) {
        out.message(|bytes| encode::reply(self.vsn, join_ref, reference, topic, is_ok, response, bytes));
    }

    fn say_closed(&self, join_ref: &Ref, topic: &str, out: &mut impl Outlet) {
        out.message(|bytes| encode::close(self.vsn, join_ref, topic, bytes));
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

    fn event<'a>(&mut self, message: Message<'a>) -> Option<Action<'a>> {
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

#[cfg(test)]
mod tests {
    use super::super::decode_text;
    use super::*;

    /// A socket, what it has sent since it was last asked, and the shortest way through a join.
    struct Bench {
        socket: Socket,
        out: Vec<Vec<u8>>,
    }

    impl Bench {
        fn new(vsn: Vsn) -> Self {
            Self { socket: Socket::new(vsn, 3), out: Vec::new() }
        }

        fn take<'a>(&mut self, text: &'a str) -> Option<Action<'a>> {
            self.socket.take(decode_text(self.socket.vsn(), text).unwrap(), &mut self.out)
        }

        fn next(&mut self) -> Option<Action<'static>> {
            self.socket.next(&mut self.out)
        }

        /// Joins `topic` with `join_ref` and returns the channel's number; nothing of it stays in `sent`.
        fn join(&mut self, join_ref: &str, topic: &str) -> u32 {
            let text = format!("[{join_ref},{join_ref},\"{topic}\",\"phx_join\",{{}}]");
            let action = self.take(&text);
            let Some(Action::Join { channel, .. }) = action else { panic!("{action:?}") };
            self.socket.joined(channel, "{}", &mut self.out);
            self.sent();
            channel
        }

        fn event(&mut self, text: &str) -> ReplyTo {
            match self.take(text) {
                Some(Action::Event { reply, .. }) => reply,
                action => panic!("{action:?}"),
            }
        }

        fn reply(&mut self, to: ReplyTo, response: &str) -> Option<Action<'static>> {
            self.socket.reply(to, Status::Ok, response, &mut self.out)
        }

        fn sent(&mut self) -> Vec<String> {
            std::mem::take(&mut self.out).into_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect()
        }
    }

    #[test]
    fn a_join_is_answered_with_its_refs_and_opens_the_channel() {
        let mut bench = Bench::new(Vsn::V2);
        let action = bench.take(r#"["1","1","session:x","phx_join",{"last_seq":3}]"#);
        let Some(Action::Join { channel, topic, payload: Payload::Json(payload) }) = action else {
            panic!("{action:?}")
        };
        assert_eq!((&*topic, &*payload), ("session:x", r#"{"last_seq":3}"#));
        assert!(bench.socket.is_joining());
        bench.socket.joined(channel, r#"{"messages":[]}"#, &mut bench.out);
        assert!(!bench.socket.is_joining());
        assert_eq!(bench.sent(), [r#"["1","1","session:x","phx_reply",{"status":"ok","response":{"messages":[]}}]"#]);
        assert_eq!(bench.socket.channels().collect::<Vec<_>>(), [(channel, "session:x")]);
    }

    #[test]
    fn a_refused_join_opens_nothing() {
        let mut bench = Bench::new(Vsn::V2);
        let Some(Action::Join { channel, .. }) = bench.take(r#"["1","1","session:x","phx_join",{}]"#) else { panic!() };
        bench.socket.refused(channel, r#"{"reason":"unauthorized"}"#, &mut bench.out);
        assert_eq!(
            bench.sent(),
            [r#"["1","1","session:x","phx_reply",{"status":"error","response":{"reason":"unauthorized"}}]"#]
        );
        assert_eq!(bench.take(r#"["1","2","session:x","send",{}]"#), None);
        assert_eq!(
            bench.sent(),
            [r#"[null,"2","session:x","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]"#]
        );
    }

    #[test]
    fn a_join_of_an_unknown_topic_is_answered_like_an_event_of_one() {
        let mut bench = Bench::new(Vsn::V2);
        let Some(Action::Join { channel, .. }) = bench.take(r#"["1","1","room:x","phx_join",{}]"#) else { panic!() };
        bench.socket.unmatched(channel, &mut bench.out);
        assert_eq!(
            bench.sent(),
            [r#"[null,"1","room:x","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]"#]
        );
    }

    #[test]
    fn nothing_is_looked_at_while_a_join_is_undecided() {
        let mut bench = Bench::new(Vsn::V2);
        let Some(Action::Join { channel, .. }) = bench.take(r#"["1","1","t","phx_join",{}]"#) else { panic!() };
        assert_eq!(bench.take(r#"[null,"2","phoenix","heartbeat",{}]"#), None);
        assert_eq!(bench.take(r#"["1","3","t","send",{}]"#), None);
        assert!(bench.sent().is_empty());
        bench.socket.joined(channel, "{}", &mut bench.out);
        assert!(matches!(bench.next(), Some(Action::Event { event, .. }) if event == "send"));
        let sent = bench.sent();
        assert!(sent[0].starts_with(r#"["1","1","t","phx_reply""#) && sent[1].starts_with(r#"[null,"2","phoenix""#));
        assert_eq!(bench.next(), None);
    }

    #[test]
    fn a_join_is_decided_once_and_by_its_own_number() {
        let mut bench = Bench::new(Vsn::V2);
        let Some(Action::Join { channel, .. }) = bench.take(r#"["1","1","t","phx_join",{}]"#) else { panic!() };
        bench.socket.joined(channel + 1, "{}", &mut bench.out);
        assert!(bench.sent().is_empty() && bench.socket.is_joining());
        bench.socket.joined(channel, "{}", &mut bench.out);
        bench.socket.refused(channel, "{}", &mut bench.out);
        assert_eq!(bench.sent().len(), 1);
    }

    #[test]
    fn a_heartbeat_is_answered_whatever_its_ref_and_payload() {
        let mut bench = Bench::new(Vsn::V2);
        for reference in ["\"7\"", "7", "null"] {
            for payload in ["{}", "null"] {
                assert_eq!(bench.take(&format!("[null,{reference},\"phoenix\",\"heartbeat\",{payload}]")), None);
                assert_eq!(
                    bench.sent(),
                    [format!("[null,{reference},\"phoenix\",\"phx_reply\",{{\"status\":\"ok\",\"response\":{{}}}}]")]
                );
            }
        }
        bench.take(r#"[null,"1","phoenix","other",{}]"#);
        assert!(bench.sent()[0].contains("unmatched topic"));
    }

    #[test]
    fn an_event_with_a_null_join_ref_is_taken_and_answered_with_the_channels() {
        let mut bench = Bench::new(Vsn::V2);
        bench.join("\"1\"", "session:x");
        let reply = bench.event(r#"[null,"2","session:x","send",{"content":{}}]"#);
        assert_eq!(bench.reply(reply, r#"{"seq":1}"#), None);
        assert_eq!(bench.sent(), [r#"["1","2","session:x","phx_reply",{"status":"ok","response":{"seq":1}}]"#]);
    }

    #[test]
    fn an_event_with_a_stale_join_ref_is_dropped() {
        let mut bench = Bench::new(Vsn::V2);
        bench.join("\"5\"", "t");
        assert_eq!(bench.take(r#"["1","2","t","send",{}]"#), None);
        assert_eq!(bench.take(r#"[5,"2","t","send",{}]"#), None);
        assert!(bench.sent().is_empty());
        bench.event(r#"["5","2","t","send",{}]"#);
    }

    #[test]
    fn without_a_join_ref_the_ref_of_the_join_marks_the_channels_messages() {
        let mut bench = Bench::new(Vsn::V2);
        let Some(Action::Join { channel, .. }) = bench.take(r#"[null,"9","t","phx_join",{}]"#) else { panic!() };
        bench.socket.joined(channel, "{}", &mut bench.out);
        bench.socket.push_event(channel, "message", r#"{"seq":1}"#, &mut bench.out);
        bench.socket.close_channel(channel, &mut bench.out);
        assert_eq!(
            bench.sent(),
            [
                r#"[null,"9","t","phx_reply",{"status":"ok","response":{}}]"#,
                r#"["9",null,"t","message",{"seq":1}]"#,
                r#"[null,null,"t","phx_close",{}]"#,
            ]
        );
    }

    #[test]
    fn a_leave_is_answered_and_then_the_channel_closes() {
        for join_ref in ["\"1\"", "null"] {
            let mut bench = Bench::new(Vsn::V2);
            let channel = bench.join("\"1\"", "t");
            let text = format!("[{join_ref},\"2\",\"t\",\"phx_leave\",{{}}]");
            let left = bench.take(&text);
            assert_eq!(left, Some(Action::Leave { channel, topic: "t".into() }));
            assert_eq!(
                bench.sent(),
                [r#"["1","2","t","phx_reply",{"status":"ok","response":{}}]"#, r#"["1","1","t","phx_close",{}]"#]
            );
            assert_eq!(bench.socket.channels().count(), 0);
        }
    }

    #[test]
    fn a_leave_waits_for_the_replies_of_earlier_events() {
        let mut bench = Bench::new(Vsn::V2);
        let channel = bench.join("1", "t");
        let pending = bench.event(r#"[1,"a","t","send",{}]"#);
        assert_eq!(bench.take(r#"[1,"b","t","phx_leave",{}]"#), None);
        assert!(bench.sent().is_empty());
        assert_eq!(bench.take(r#"[1,"c","t","send",{}]"#), None);
        assert!(bench.sent()[0].contains("unmatched topic"));
        assert_eq!(bench.reply(pending, r#"{"seq":1}"#), Some(Action::Leave { channel, topic: "t".into() }));
        assert_eq!(
            bench.sent(),
            [
                r#"[1,"a","t","phx_reply",{"status":"ok","response":{"seq":1}}]"#,
                r#"[1,"b","t","phx_reply",{"status":"ok","response":{}}]"#,
                r#"[1,1,"t","phx_close",{}]"#,
            ]
        );
    }

    #[test]
    fn a_join_ends_a_leave_that_waits() {
        let mut bench = Bench::new(Vsn::V2);
        let old = bench.join("1", "t");
        let pending = bench.event(r#"[1,"a","t","send",{}]"#);
        assert_eq!(bench.take(r#"[1,"b","t","phx_leave",{}]"#), None);
        assert_eq!(bench.take(r#"[2,"c","t","phx_join",{}]"#), Some(Action::Leave { channel: old, topic: "t".into() }));
        let Some(Action::Join { channel, .. }) = bench.next() else { panic!() };
        bench.socket.joined(channel, "{}", &mut bench.out);
        assert_eq!(bench.reply(pending, "{}"), None);
        assert_eq!(
            bench.sent(),
            [
                r#"[1,"b","t","phx_reply",{"status":"ok","response":{}}]"#,
                r#"[2,"c","t","phx_reply",{"status":"ok","response":{}}]"#,
                r#"[1,1,"t","phx_close",{}]"#,
            ]
        );
    }

    #[test]
    fn a_leave_of_a_topic_not_joined_is_just_answered() {
        let mut bench = Bench::new(Vsn::V2);
        assert_eq!(bench.take(r#"["8","2","t","phx_leave",{}]"#), None);
        assert_eq!(bench.sent(), [r#"["8","2","t","phx_reply",{"status":"ok","response":{}}]"#]);
    }

    #[test]
    fn a_stale_leave_is_ignored() {
        let mut bench = Bench::new(Vsn::V2);
        bench.join("\"5\"", "t");
        assert_eq!(bench.take(r#"["1","6","t","phx_leave",{}]"#), None);
        assert!(bench.sent().is_empty());
        assert_eq!(bench.socket.channels().count(), 1);
    }

    #[test]
    fn a_second_join_replaces_the_channel_and_its_reply_comes_before_the_close() {
        for is_granted in [true, false] {
            let mut bench = Bench::new(Vsn::V2);
            let old = bench.join("\"1\"", "t");
            let left = bench.take(r#"["4","4","t","phx_join",{}]"#);
            assert_eq!(left, Some(Action::Leave { channel: old, topic: "t".into() }));
            let Some(Action::Join { channel, .. }) = bench.next() else { panic!() };
            assert_ne!(channel, old);
            if is_granted {
                bench.socket.joined(channel, "{}", &mut bench.out);
            } else {
                bench.socket.refused(channel, "{}", &mut bench.out);
            }
            let status = if is_granted { "ok" } else { "error" };
            assert_eq!(
                bench.sent(),
                [
                    format!(r#"["4","4","t","phx_reply",{{"status":"{status}","response":{{}}}}]"#),
                    r#"["1","1","t","phx_close",{}]"#.to_owned(),
                ]
            );
            assert_eq!(bench.socket.channels().count(), usize::from(is_granted));
        }
    }

    #[test]
    fn one_channel_too_many_is_refused_and_a_rejoin_is_not_one() {
        let mut bench = Bench::new(Vsn::V2);
        for (join_ref, topic) in [("1", "a"), ("2", "b"), ("3", "c")] {
            bench.join(join_ref, topic);
        }
        assert_eq!(bench.take(r#"["4","4","d","phx_join",{}]"#), None);
        assert_eq!(
            bench.sent(),
            [r#"["4","4","d","phx_reply",{"status":"error","response":{"reason":"too many channels joined"}}]"#]
        );
        assert!(matches!(bench.take(r#"["5","5","a","phx_join",{}]"#), Some(Action::Leave { .. })));
    }

    #[test]
    fn replies_leave_in_the_order_of_the_events() {
        let mut bench = Bench::new(Vsn::V2);
        bench.join("1", "t");
        bench.join("2", "u");
        let first = bench.event(r#"[1,"a","t","send",{}]"#);
        let second = bench.event(r#"[1,"b","t","send",{}]"#);
        let third = bench.event(r#"[1,"c","t","send",{}]"#);
        let other = bench.event(r#"[2,"d","u","send",{}]"#);
        assert_eq!(bench.socket.unanswered(), 4);
        assert_eq!(bench.reply(second, "2"), None);
        assert!(bench.sent().is_empty());
        assert_eq!(bench.reply(other, "4"), None);
        assert_eq!(bench.sent(), [r#"[2,"d","u","phx_reply",{"status":"ok","response":4}]"#]);
        assert_eq!(bench.reply(first, "1"), None);
        let sent = bench.sent();
        assert!(sent.len() == 2 && sent[0].contains("\"a\"") && sent[1].contains("\"b\""), "{sent:?}");
        assert_eq!(bench.socket.reply(third, Status::Error, "3", &mut bench.out), None);
        assert_eq!(bench.sent(), [r#"[1,"c","t","phx_reply",{"status":"error","response":3}]"#]);
        assert_eq!(bench.socket.unanswered(), 0);
    }

    #[test]
    fn refs_may_be_used_again() {
        let mut bench = Bench::new(Vsn::V2);
        bench.join("1", "t");
        let (first, second) = (bench.event("[1,1,\"t\",\"send\",{}]"), bench.event("[1,1,\"t\",\"send\",{}]"));
        assert_eq!(bench.reply(first, "\"one\""), None);
        assert_eq!(bench.reply(second, "\"two\""), None);
        let sent = bench.sent();
        assert!(sent[0].contains("\"one\"") && sent[1].contains("\"two\""), "{sent:?}");
    }

    #[test]
    fn a_channel_that_is_gone_answers_nothing_more() {
        let mut bench = Bench::new(Vsn::V2);
        let channel = bench.join("1", "t");
        let pending = bench.event(r#"[1,"a","t","send",{}]"#);
        assert!(bench.socket.crash_channel(channel, &mut bench.out));
        assert_eq!(bench.sent(), [r#"[1,1,"t","phx_error",{}]"#]);
        assert!(!bench.socket.close_channel(channel, &mut bench.out));
        bench.join("2", "t");
        assert_eq!(bench.reply(pending, "{}"), None);
        bench.socket.push_event(channel, "message", "{}", &mut bench.out);
        assert!(bench.sent().is_empty());
    }

    #[test]
    fn a_v1_socket_speaks_objects() {
        let mut bench = Bench::new(Vsn::V1);
        let join = r#"{"topic":"t","event":"phx_join","payload":{},"ref":"1"}"#;
        let Some(Action::Join { channel, .. }) = bench.take(join) else { panic!() };
        bench.socket.joined(channel, "{}", &mut bench.out);
        let reply = bench.event(r#"{"topic":"t","event":"send","payload":{},"ref":"2"}"#);
        assert_eq!(bench.reply(reply, r#"{"seq":1}"#), None);
        bench.take(r#"{"topic":"t","event":"phx_leave","payload":{},"ref":"3"}"#);
        assert_eq!(
            bench.sent(),
            [
                r#"{"topic":"t","event":"phx_reply","ref":"1","payload":{"status":"ok","response":{}}}"#,
                r#"{"topic":"t","event":"phx_reply","ref":"2","payload":{"status":"ok","response":{"seq":1}}}"#,
                r#"{"topic":"t","event":"phx_reply","ref":"3","payload":{"status":"ok","response":{}}}"#,
                r#"{"topic":"t","event":"phx_close","ref":null,"payload":{}}"#,
            ]
        );
    }
}
