//! One event to many channels: encoded once per wire format, copied into each outbox.
//!
//! A broadcast carries neither join_ref nor ref, so its bytes are the same for every reader of a format, compressed ones
//! included (no context is taken over from one message to the next).

use std::rc::Rc;

use super::link::{Carrier, Link};
use super::metrics::Which;
use super::watcher::{self, Watcher};
use super::world::World;
use crate::api::topics::{self, Broadcast, Topic};
use crate::protocol::channels::{Vsn, encode};
use crate::protocol::ws;
use crate::session::split;
use crate::shard::{ChannelKey, Delivered, Delivery, Push};

/// Brings an event to its channels.
pub(super) fn send(world: &Rc<World>, delivery: Delivery) {
    let Delivery { push, mut to } = delivery;
    if to.iter().any(|&key| watcher::is_watcher(key)) {
        to.retain(|&key| !deliver_to_watcher(world, key, &push));
        if to.is_empty() {
            return;
        }
    }
    match &push {
        Delivered::Push(Push::Closed { .. }) => end_channels(world, &to, true),
        Delivered::Push(Push::Gap { .. } | Push::InboxGap { .. }) => end_channels(world, &to, false),
        Delivered::Push(_) | Delivered::InboxDelta { .. } => broadcast(world, &push, &to),
    }
}

/// A watcher gets the event itself. False: the key is a link's.
fn deliver_to_watcher(world: &World, key: ChannelKey, event: &Delivered) -> bool {
    if !watcher::is_watcher(key) {
        return false;
    }
    if let Some(watcher) = Watcher::find(world, key) {
        watcher.deliver(event);
        world.metrics.count(Which::Deliveries);
    }
    true
}

fn end_channels(world: &Rc<World>, to: &[ChannelKey], closed: bool) {
    for key in to {
        let Some(link) = Link::find(world, key.connection) else { continue };
        let (mut socket, mut out) = (link.socket.borrow_mut(), link.outbox(world));
        let _was_open = if closed {
            socket.close_channel(key.channel, &mut out)
        } else {
            socket.crash_channel(key.channel, &mut out)
        };
    }
}

fn broadcast(world: &Rc<World>, push: &Delivered, to: &[ChannelKey]) {
    let Some(event) = event_of(push) else { return };
    if let [key] = to {
        if let Some(link) = Link::find(world, key.connection) {
            let Broadcast { topic, event, payload } = &event;
            link.send_event(world, |out| encode::broadcast(link.vsn, topic, event, payload, out));
            world.metrics.count(Which::Deliveries);
        }
        return;
    }
    let mut encoded = Encoded { event: &event, messages: [None, None], frames: [None, None], deflated: [None, None] };
    let mut delivered = 0;
    for key in to {
        let Some(link) = Link::find(world, key.connection) else { continue };
        delivered += 1;
        match &link.carrier {
            Carrier::WebSocket { deflate, .. } => {
                let frame = encoded.frame(world, link.vsn, *deflate);
                link.send_frame(world, frame);
            }
            Carrier::LongPoll(_) => link.send_event(world, |out| out.extend_from_slice(encoded.message(link.vsn))),
        }
    }
    world.metrics.add(Which::Deliveries, delivered);
}

fn event_of(delivered: &Delivered) -> Option<Broadcast<'_>> {
    match delivered {
        Delivered::Push(push) => topics::push(push),
        Delivered::InboxDelta { user, entries } => Some(Broadcast {
            topic: Topic::Inbox(split(user).1.to_owned()).to_string(),
            event: "inbox_delta",
            payload: topics::inbox_delta(entries).into(),
        }),
    }
}

/// One event in the formats that were asked for so far; indexed by protocol version.
struct Encoded<'a> {
    event: &'a Broadcast<'a>,
    messages: [Option<Vec<u8>>; 2],
    frames: [Option<Vec<u8>>; 2],
    deflated: [Option<Vec<u8>>; 2],
}

impl Encoded<'_> {
    fn message(&mut self, vsn: Vsn) -> &[u8] {
        let event = self.event;
        self.messages[index(vsn)].get_or_insert_with(|| {
            let mut bytes = Vec::with_capacity(event.payload.len() + 96);
            encode::broadcast(vsn, &event.topic, event.event, &event.payload, &mut bytes);
            bytes
        })
    }

    fn frame(&mut self, world: &World, vsn: Vsn, deflate: Option<ws::Deflate>) -> &[u8] {
        let bytes = self.message(vsn).len();
        let compressed = deflate.is_some_and(|deflate| deflate.reads(bytes));
        let made = if compressed { self.deflated[index(vsn)].take() } else { self.frames[index(vsn)].take() };
        let frame = made.unwrap_or_else(|| {
            let mut frame = Vec::with_capacity(bytes + 16);
            let deflate = if compressed { deflate } else { None };
            encode_frame(world, deflate, |out| out.extend_from_slice(self.message(vsn)), &mut frame);
            frame
        });
        let place = if compressed { &mut self.deflated[index(vsn)] } else { &mut self.frames[index(vsn)] };
        place.insert(frame)
    }
}

fn index(vsn: Vsn) -> usize {
    match vsn {
        Vsn::V1 => 0,
        Vsn::V2 => 1,
    }
}

/// Appends the message that `write` appends as one text frame, compressed when the reader can take it.
pub(super) fn encode_frame(
    world: &World,
    deflate: Option<ws::Deflate>,
    write: impl FnOnce(&mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    let Some(deflate) = deflate else { return ws::encode_text_with(write, out) };
    let mut message = Vec::new();
    write(&mut message);
    if deflate.reads(message.len()) {
        ws::encode_text_deflated(&message, &mut world.compressor.borrow_mut(), out);
    } else {
        ws::encode_text(&message, out);
    }
}
