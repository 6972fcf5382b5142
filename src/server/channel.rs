//! What a client's channel messages do: joins, events and departures, from the socket's actions to the shard's commands and back.
//!
//! Answers are handled the moment they arrive, in the order of their lane: a channel is known to the hub before the pushes that
//! follow its join's reply.

use std::rc::Rc;

use compact_str::CompactString;

use super::link::Link;
use super::measure::Measure;
use super::metrics::Which;
use super::world::World;
use crate::api::error::ApiError;
use crate::api::topics::{self, NoTopic, Topic};
use crate::api::{Ask, runs};
use crate::protocol::channels::{Action, Message, Payload, ReplyTo, Status};
use crate::shard::{ChannelKey, Command, Delivered, Delivery, Heard, Push, Refusal, Reply, TopicKey, owner_of_session};

/// Takes in one message of the client.
pub(super) fn take(world: &Rc<World>, link: &Rc<Link>, message: Message<'_>) {
    world.metrics.count(Which::SocketMessagesIn);
    let action = link.socket.borrow_mut().take(message, &mut link.outbox(world));
    if let Some(action) = action {
        act(world, link, action);
        go_on(world, link);
    }
}

/// Does what the socket has to do, until it waits for a join or for the client.
fn go_on(world: &Rc<World>, link: &Rc<Link>) {
    loop {
        let action = link.socket.borrow_mut().next(&mut link.outbox(world));
        let Some(action) = action else { return };
        act(world, link, action);
    }
}

fn act(world: &Rc<World>, link: &Rc<Link>, action: Action<'_>) {
    match action {
        Action::Join { channel, topic, payload } => join(world, link, channel, &topic, &payload),
        Action::Event { topic, event, payload, reply, .. } => perform(world, link, &topic, &event, &payload, reply),
        Action::Leave { channel, topic } => leave(world, link, channel, &topic),
    }
}

fn join(world: &Rc<World>, link: &Rc<Link>, channel: u32, topic: &str, payload: &Payload<'_>) {
    let mut out = link.outbox(world);
    let topic = match topics::parse(topic) {
        Ok(topic) => topic,
        Err(NoTopic::Unmatched) => {
            return link.socket.borrow_mut().unmatched(channel, &mut out);
        }
        Err(NoTopic::NotFound) => {
            return link.socket.borrow_mut().refused(channel, &topics::not_found(), &mut out);
        }
    };
    let call = topics::join(&topic, &link.identity, payload)
        .and_then(|call| count(world, link).map(|()| call).map_err(|error| error.join_response()));
    let call = match call {
        Ok(call) => call,
        Err(response) => {
            return link.socket.borrow_mut().refused(channel, &response, &mut out);
        }
    };
    let key = link.key_of(&topic);
    world.with_hub(|hub| hub.begin_join(&key));
    let joiner = Joiner { link: Rc::clone(link), channel, topic, key };
    match call {
        Ask::One(to, command) => {
            world.call(link.access(), to, command, Box::new(move |world, reply| joiner.decide(world, vec![reply])));
        }
        Ask::Every(command) => {
            world.gather(link.access(), &command, move |world, replies| joiner.decide(world, replies))
        }
    }
}

/// A join whose answer is on its way.
struct Joiner {
    link: Rc<Link>,
    channel: u32,
    topic: Topic,
    key: TopicKey,
}

impl Joiner {
    fn decide(self, world: &Rc<World>, replies: Vec<Result<Reply, Refusal>>) {
        let Self { link, channel, topic, key } = self;
        let heard = replies.iter().flatten().map(heard_of).next().unwrap_or_default();
        let missed = replies.iter().flatten().flat_map(|reply| missed_chunks(&topic, reply)).collect::<Vec<_>>();
        if let TopicKey::Inbox(user) = &key {
            for reply in replies.iter().flatten() {
                if let Reply::Inbox { entries } = reply {
                    world.with_hub(|hub| hub.inbox_joined(user, entries.clone()));
                }
            }
        }
        let response = topics::joined(&topic, replies);
        match response {
            Ok(response) if link.is_open() => {
                link.socket.borrow_mut().joined(channel, response, &mut link.outbox(world));
                let mut deliveries = Vec::new();
                let member = ChannelKey { connection: link.id, channel };
                link.make_room_for(missed.iter().map(|push| match push {
                    Push::Chunk { chunk, agent_id, .. } => chunk.as_str().len() + agent_id.len(),
                    _ => 0,
                }));
                deliveries
                    .extend(missed.into_iter().map(|push| Delivery { push: Delivered::Push(push), to: vec![member] }));
                world.with_hub(|hub| hub.join(&key, member, heard, &mut deliveries));
                world.send_out(deliveries);
            }
            refused_or_gone => {
                if let Err(response) = refused_or_gone {
                    link.socket.borrow_mut().refused(channel, &response, &mut link.outbox(world));
                }
                if world.with_hub(|hub| hub.join_failed(&key)) {
                    unsubscribe(world, &key);
                }
            }
        }
        go_on(world, &link);
        link.wake();
    }
}

/// What a member of the hub has heard with the reply to its join.
pub(super) fn heard_of(reply: &Reply) -> Heard {
    match reply {
        Reply::Joined { page, resumed } => {
            Heard { seq: page.session_last_seq, next_chunk: Some((resumed.run, resumed.next_index)) }
        }
        _ => Heard::default(),
    }
}

/// What a client that resumes has not seen of the running answer: it goes behind the reply and before everything live.
fn missed_chunks(topic: &Topic, reply: &Reply) -> Vec<Push> {
    match (topic, reply) {
        (Topic::Session(session), Reply::Joined { resumed, .. }) => runs::missed_chunks(*session, resumed),
        _ => Vec::new(),
    }
}

fn perform(world: &Rc<World>, link: &Rc<Link>, topic: &str, event: &str, payload: &Payload<'_>, reply: ReplyTo) {
    let call = topics::parse(topic)
        .map_err(|_| topics::not_found())
        .and_then(|topic| topics::event(&topic, event, payload, &link.identity, &world.context()));
    let call = call.and_then(|call| count(world, link).map(|()| call).map_err(|error| error.event_response()));
    let (to, command) = match call {
        Ok(call) => call,
        Err(response) => return answer(world, link, reply, Err(response.into())),
    };
    let asker = Rc::clone(link);
    let measure = Measure::begin(world, &command);
    let done = move |world: &Rc<World>, result: Result<Reply, Refusal>| {
        measure.end(world, &result);
        answer(world, &asker, reply, topics::event_reply(&asker.identity, result));
        asker.wake();
    };
    world.call(link.access(), to, command, Box::new(done));
}

/// Counts a join or an event like a request.
fn count(world: &World, link: &Link) -> Result<(), ApiError> {
    link.principal().map_or(Ok(()), |principal| world.auth.limiter().take_principal(principal.fingerprint))
}

fn answer(world: &Rc<World>, link: &Rc<Link>, reply: ReplyTo, response: Result<CompactString, CompactString>) {
    let (status, response) = match &response {
        Ok(response) => (Status::Ok, response),
        Err(response) => (Status::Error, response),
    };
    let left = link.socket.borrow_mut().reply(reply, status, response, &mut link.outbox(world));
    if let Some(Action::Leave { channel, topic }) = left {
        leave(world, link, channel, &topic); // it had waited for this reply
    }
}

/// Takes every channel of a socket off its topic.
pub(super) fn depart_all(world: &Rc<World>, link: &Link) {
    let channels: Vec<_> =
        link.socket.borrow().channels().map(|(channel, topic)| (channel, topic.to_owned())).collect();
    for (channel, topic) in channels {
        leave(world, link, channel, &topic);
    }
}

/// Takes a channel off its topic; the owner is told when it was this shard's last.
fn leave(world: &Rc<World>, link: &Link, channel: u32, topic: &str) {
    let connection = link.id;
    let key =
        topics::parse(topic).map(|topic| link.key_of(&topic)).expect("a joined topic was parsed when it was joined");
    if world.with_hub(|hub| hub.leave(&key, ChannelKey { connection, channel })) {
        unsubscribe(world, &key);
    }
}

/// Tells the owner of a topic that nobody on this shard listens.
pub(super) fn unsubscribe(world: &Rc<World>, key: &TopicKey) {
    match key {
        TopicKey::Session(session) => {
            let owner = owner_of_session(*session, world.shards);
            world.tell(owner, Command::Unsubscribe { session: *session, shard: world.id });
        }
        TopicKey::Inbox(user) => {
            for shard in 0..world.shards {
                let command = Command::UnwatchInbox { user: user.clone(), shard: world.id };
                world.tell(crate::shard::ShardId(shard), command);
            }
        }
    }
}
