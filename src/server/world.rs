//! One shard's thread: its shard, its hub, its connections and the calls between them.
//!
//! A turn is: an input steps the shard, its outputs are performed in order, replies complete the calls that asked, pushes go
//! through the hub into outboxes, mail waits for the end of the turn. No borrow of the shard or the hub is held while a call
//! is completed, and no call waits inside a turn.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use slab::Slab;
use storage::{File, Sync, Work};

use super::authority::{ServerAuth, Trusted};
use super::calm::Calm;
use super::channel;
use super::disk::{self, Disk};
use super::folder::Folder;
use super::link::Link;
use super::longpoll::{self, PollAnswer, PollRequest};
use super::mailbox::{Bell, Event, Mail, Outbound as Peer};
use super::metrics::{Level, ShardMetrics, Which};
use super::outbound::Outbound;
use super::outputs::{Outputs, perform_in_order};
use super::state::SharedState;
use super::tenure::{self, Tenures};
use super::uploads::Uploads;
use super::watcher::Watcher;
use super::webhook;
use super::wire::WireIo;
use crate::api::auth::{Authority, Principal, Verified};
use crate::api::{self, Target};
use crate::config::ServeConfig;
use crate::protocol::channels::longpoll::Token;
use crate::protocol::ws;
use crate::session::DirectoryNote;
use crate::shard::{Access, Caller, Command, Delivery, Hub, Input, Now, Output, Push, Refusal, Reply, Shard, ShardId};

/// What is done with the answer to a call, on this shard, in the order in which answers arrive.
pub(super) type Done = Box<dyn FnOnce(&Rc<World>, Result<Reply, Refusal>)>;

enum Waiting {
    Reply(Done),
    Poll(Box<dyn FnOnce(PollAnswer)>),
}

/// See the top of the file.
pub(super) struct World {
    pub(super) id: ShardId,
    pub(super) shards: u16,
    pub(super) config: Arc<ServeConfig>,
    pub(super) state: Arc<SharedState>,
    pub(super) auth: Arc<ServerAuth>,
    /// The shard's own of [`ServerAuth::current`].
    pub(super) trusted: RefCell<Arc<Trusted>>,
    /// Tokens that were verified with [`Self::trusted`].
    pub(super) verified: Verified,
    pub(super) tenures: Tenures,
    /// Who everybody is in open mode.
    pub(super) anyone: Rc<Principal>,
    pub(super) metrics: ShardMetrics,
    pub(super) io: Rc<WireIo>,
    pub(super) links: RefCell<Slab<Rc<Link>>>,
    pub(super) links_opened: Cell<u32>,
    pub(super) watchers: RefCell<Slab<Rc<Watcher>>>,
    pub(super) watchers_opened: Cell<u16>,
    pub(super) compressor: RefCell<ws::Compressor>,
    pub(super) long_polls: RefCell<HashMap<Token, Rc<Link>>>,
    pub(super) mail_bell: Bell,
    pub(super) turn_bell: Bell,
    pub(super) drain_bell: Bell,
    pub(super) disk: Disk,
    pub(super) uploads: Uploads,
    pub(super) folder: Arc<Folder>,
    pub(super) calm: RefCell<Calm>,
    /// Batches of mail and pieces of webhooks' answers that came.
    pub(super) arrivals: Cell<u64>,
    pub(super) peers: RefCell<Vec<Peer>>,
    pub(super) outbound: Rc<Outbound>,
    pub(super) calls_out: webhook::Calls,
    shard: RefCell<Shard<File>>,
    outputs: RefCell<Outputs>,
    performing: Cell<bool>,
    hub: RefCell<Hub>,
    calls: RefCell<Slab<Waiting>>,
    random: RefCell<rand::rngs::StdRng>,
}

impl World {
    #[allow(clippy::too_many_arguments)] // a shard's belongings, put together once
    pub(super) fn new(
        id: ShardId,
        shards: u16,
        config: Arc<ServeConfig>,
        state: Arc<SharedState>,
        auth: Arc<ServerAuth>,
        metrics: ShardMetrics,
        shard: Shard<File>,
        outbound: Rc<Outbound>,
        disk: Disk,
        uploads: Uploads,
        folder: Arc<Folder>,
    ) -> Rc<Self> {
        Rc::new(Self {
            id,
            shards,
            config,
            state,
            trusted: RefCell::new(auth.current()),
            auth,
            verified: Verified::default(),
            tenures: Tenures::default(),
            anyone: Rc::new(Principal::anyone()),
            metrics,
            io: Rc::default(),
            links: RefCell::default(),
            links_opened: Cell::new(0),
            watchers: RefCell::default(),
            watchers_opened: Cell::new(0),
            compressor: RefCell::new(ws::Compressor::new()),
            long_polls: RefCell::default(),
            mail_bell: Bell::default(),
            turn_bell: Bell::default(),
            drain_bell: Bell::default(),
            disk,
            uploads,
            folder,
            calm: RefCell::default(),
            arrivals: Cell::default(),
            peers: RefCell::default(),
            outbound,
            calls_out: webhook::Calls::default(),
            shard: RefCell::new(shard),
            outputs: RefCell::default(),
            performing: Cell::new(false),
            hub: RefCell::new(Hub::default()),
            calls: RefCell::default(),
            random: RefCell::new(rand::rngs::StdRng::from_os_rng()),
        })
    }

    /// The time of this turn.
    pub(super) fn now(&self) -> Now {
        self.io.clock.now()
    }

    /// Reads the clocks. Once per event from outside, not per command.
    pub(super) fn read_clock(&self) {
        self.io.clock.read();
    }

    /// Something came that is no bytes of a socket in the set.
    pub(super) fn arrived(&self) {
        self.arrivals.set(self.arrivals.get() + 1);
        self.read_clock();
    }

    /// What the pure parts may know of time and chance.
    pub(super) fn context(&self) -> api::Context {
        let random = self.random.borrow_mut().random();
        api::Context { now: self.now(), random, shards: self.shards }
    }

    /// Sends a command to its shard; `done` is called once, perhaps before this returns.
    pub(super) fn call(self: &Rc<Self>, access: Option<Box<Access>>, target: Target, command: Command, done: Done) {
        self.call_shard(target.shard(self.shards, self.id), access, command, done);
    }

    /// The registrations that this shard keeps, for all others; nothing on a shard without the directory.
    pub(super) fn spread_all(self: &Rc<Self>, done: impl FnOnce() + 'static) {
        let notes = self.shard.borrow().registrations();
        let command = Command::Learn { notes, complete: true };
        self.gather(None, &command, move |_, _| done());
    }

    fn call_shard(self: &Rc<Self>, to: ShardId, access: Option<Box<Access>>, command: Command, done: Done) {
        let token = self.calls.borrow_mut().insert(Waiting::Reply(done)) as u64;
        let caller = Caller { shard: self.id, token };
        if to == self.id {
            self.take(Input::Call { from: caller, access, command });
            return;
        }
        self.metrics.count(Which::CommandsMailed);
        let mail = Mail::Command(caller, access, command);
        let refused = self.with_peer(to, |peer| match &mail {
            // A shard that missed one would not know an agent; there are as many of them as registrations under way.
            Mail::Command(_, _, Command::Learn { .. }) => {
                peer.command_unbounded(mail);
                false
            }
            _ => peer.command(mail).is_err(),
        });
        if refused {
            self.metrics.count(Which::MailRefused);
            self.complete(token, Err(Refusal::Overloaded));
        }
    }

    /// Sends a command to every shard; `done` gets the answers in the order of the shards.
    pub(super) fn gather(
        self: &Rc<Self>,
        access: Option<Box<Access>>,
        command: &Command,
        done: impl FnOnce(&Rc<World>, Vec<Result<Reply, Refusal>>) + 'static,
    ) {
        let gathered = Rc::new(RefCell::new(Gathered {
            replies: vec![None; usize::from(self.shards)],
            missing: usize::from(self.shards),
            done: Some(Box::new(done)),
        }));
        for shard in 0..self.shards {
            let part = Rc::clone(&gathered);
            let place = usize::from(shard);
            let done: Done = Box::new(move |world, reply| Gathered::add(&part, world, place, reply));
            self.call_shard(ShardId(shard), access.clone(), command.clone(), done);
        }
    }

    /// Sends a command that is not answered.
    pub(super) fn tell(self: &Rc<Self>, to: ShardId, command: Command) {
        let caller = Caller { shard: self.id, token: u64::MAX };
        if to == self.id {
            self.take(Input::Call { from: caller, access: None, command });
            return;
        }
        // These are departures from topics, no more of them than joins that were let through: the bound of commands holds
        // for them in effect, and dropping one would leave a subscription behind.
        self.with_peer(to, |peer| peer.command_unbounded(Mail::Command(caller, None, command)));
    }

    /// Brings a poll to the shard that holds its session.
    pub(super) fn poll_elsewhere(&self, to: ShardId, request: PollRequest, done: Box<dyn FnOnce(PollAnswer)>) {
        let token = self.calls.borrow_mut().insert(Waiting::Poll(done)) as u64;
        let caller = Caller { shard: self.id, token };
        let refused = self.with_peer(to, |peer| peer.command(Mail::Poll(caller, request)).is_err());
        if refused {
            self.polled(token, PollAnswer::Overloaded);
        }
    }

    /// Lets the shard take an input in and performs what it says. What that changes for others is settled at the end of the turn.
    pub(super) fn take(self: &Rc<Self>, input: Input<File>) {
        if let Input::Call { command: Command::ReadStatus, .. } = input {
            self.publish_status();
        }
        let is_revocation = tenure::revokes(&input);
        self.shard.borrow_mut().take(self.now(), input, &mut self.outputs.borrow_mut().fresh);
        if is_revocation {
            self.sweep_tenures();
        }
        self.turn_bell.ring();
        self.perform_all();
    }

    /// Everything that decides whom to let in.
    pub(super) fn with_authority<R>(&self, ask: impl FnOnce(&Authority<'_>) -> R) -> R {
        let (trusted, shard) = (self.trusted.borrow(), self.shard.borrow());
        let verified = &self.verified;
        ask(&Authority { settings: &trusted.settings, keyring: shard.keyring(), keys: &trusted.keys, verified })
    }

    /// Fresh random bits, for whatever must not be guessed.
    pub(super) fn random<T>(&self) -> T
    where
        rand::distr::StandardUniform: rand::distr::Distribution<T>,
    {
        self.random.borrow_mut().random()
    }

    /// Answers and pushes what became durable.
    pub(super) fn release(self: &Rc<Self>) {
        self.shard.borrow_mut().release_now(&mut self.outputs.borrow_mut().fresh);
        self.perform_all();
    }

    /// Ends the turn: releases what became durable, begins the next sync. `changes` of sockets were told so far.
    pub(super) fn settle(self: &Rc<Self>, changes: u64) {
        let (sync, is_calm) = {
            let outputs = &mut *self.outputs.borrow_mut();
            let mut shard = self.shard.borrow_mut();
            shard.settle(&mut outputs.fresh);
            let place = outputs.fresh.iter().rposition(|output| matches!(output, Output::Sync(_)));
            let sync = place.map(|place| outputs.fresh.remove(place));
            let heard = changes + self.arrivals.get();
            let is_calm = sync.is_some() && self.calm.borrow_mut().bears_a_sync(heard, shard.awaiting_commit());
            (sync, is_calm && outputs.is_empty())
        };
        match sync {
            Some(Output::Sync(sync)) if is_calm => disk::sync_here(self, sync),
            // The disk has nothing to do until it hears of its next sync; the replies of the last one can wait for that.
            Some(sync) => self.perform(sync),
            None => {}
        }
        self.perform_all();
    }

    fn perform_all(self: &Rc<Self>) {
        perform_in_order(&self.performing, || self.outputs.borrow_mut().next(), |output| self.perform(output));
    }

    fn perform(self: &Rc<Self>, output: Output<Sync<File>, Work<File>>) {
        match output {
            Output::Reply { to, reply } if to.shard == self.id => self.complete(to.token, reply),
            Output::Reply { to, reply } => {
                self.with_peer(to.shard, |peer| peer.reply(Event::Reply(to.token, reply)));
            }
            Output::Push { to, push } if to == self.id => self.deliver(push),
            Output::Push { to, push } => {
                if self.with_peer(to, |peer| peer.push(push).is_err()) {
                    self.metrics.count(Which::PushesDropped);
                }
            }
            Output::Spread { to, reply, note } => self.spread(vec![*note], false, to, reply),
            Output::Call(call) => webhook::begin(self, call),
            Output::StopCall { session, run, voice } => self.calls_out.stop(session, run, voice),
            Output::Sync(sync) => disk::begin_sync(self, sync),
            Output::Work(work) => self.disk.ask_for_work(work),
        }
    }

    /// Tells every shard of registrations; when all know, `to` is answered.
    pub(super) fn spread(self: &Rc<Self>, notes: Vec<DirectoryNote>, complete: bool, to: Caller, reply: Reply) {
        self.gather(None, &Command::Learn { notes, complete }, move |world, replies| {
            let refused = replies.into_iter().find_map(Result::err);
            world.perform(Output::Reply { to, reply: refused.map_or(Ok(reply), Err) });
        });
    }

    /// Takes in a batch of commands from another shard.
    pub(super) fn commands_arrived(self: &Rc<Self>, batch: Vec<Mail>) {
        self.arrived();
        for mail in batch {
            match mail {
                Mail::Command(from, access, command) => self.take(Input::Call { from, access, command }),
                Mail::Poll(from, request) => longpoll::answer_by_mail(self, from, request),
            }
        }
    }

    /// Takes in a batch of events from another shard.
    pub(super) fn events_arrived(self: &Rc<Self>, batch: Vec<Event>) {
        self.arrived();
        for event in batch {
            match event {
                Event::Reply(token, reply) => self.complete(token, reply),
                Event::Polled(token, answer) => self.polled(token, answer),
                Event::Push(push) => self.deliver(push),
            }
        }
    }

    /// Sends a poll's answer to the shard that forwarded the poll.
    pub(super) fn mail_poll_answer(&self, to: Caller, answer: PollAnswer) {
        self.with_peer(to.shard, |peer| peer.reply(Event::Polled(to.token, answer)));
    }

    /// Looks at the hub without calling anything else meanwhile.
    pub(super) fn with_hub<R>(&self, look: impl FnOnce(&mut Hub) -> R) -> R {
        look(&mut self.hub.borrow_mut())
    }

    /// Brings a push to this shard's subscribers.
    pub(super) fn deliver(self: &Rc<Self>, push: Push) {
        let mut deliveries = Vec::new();
        self.hub.borrow_mut().push(self.now(), push, &mut deliveries);
        self.send_out(deliveries);
    }

    /// The heartbeat: deadlines of the shard and the hub.
    pub(super) fn tick(self: &Rc<Self>) {
        self.take(Input::Tick);
        let mut deliveries = Vec::new();
        self.hub.borrow_mut().tick(self.now(), &mut deliveries);
        self.send_out(deliveries);
    }

    /// Performs what the hub said, and tells the owners of topics that it found nobody listening to.
    pub(super) fn send_out(self: &Rc<Self>, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            super::fanout::send(self, delivery);
        }
        let abandoned = self.hub.borrow_mut().take_abandoned();
        for topic in abandoned {
            channel::unsubscribe(self, &topic);
        }
    }

    fn complete(self: &Rc<Self>, token: u64, reply: Result<Reply, Refusal>) {
        let Some(place) = usize::try_from(token).ok() else { return };
        let waiting = self.calls.borrow_mut().try_remove(place);
        if let Some(Waiting::Reply(done)) = waiting {
            done(self, reply);
        }
    }

    fn polled(&self, token: u64, answer: PollAnswer) {
        let Some(place) = usize::try_from(token).ok() else { return };
        let waiting = self.calls.borrow_mut().try_remove(place);
        if let Some(Waiting::Poll(done)) = waiting {
            done(answer);
        }
    }

    fn with_peer<R>(&self, to: ShardId, act: impl FnOnce(&Peer) -> R) -> R {
        let peers = self.peers.borrow();
        let peer = peers.iter().find(|peer| peer.peer == to).expect("every other shard is a peer");
        let result = act(peer);
        self.mail_bell.ring();
        result
    }

    /// Sends the mail of the turn.
    pub(super) fn flush_mail(&self) {
        for peer in self.peers.borrow().iter() {
            peer.flush();
        }
    }

    /// Whether mail waits for room, so that the heartbeat must try again.
    pub(super) fn mail_waits(&self) -> bool {
        self.peers.borrow().iter().any(Peer::is_waiting)
    }

    /// Publishes the shard's status for health and metrics.
    pub(super) fn publish_status(&self) {
        let status = self.shard.borrow().status();
        self.metrics.take_over(&status);
        self.metrics.set(Level::WebhookConnections, self.outbound.open_connections() as u64);
        self.metrics.set(Level::LongPollsOpen, self.long_polls.borrow().len() as u64);
        let is_ready = self.state.publish(self.id, &status);
        self.metrics.set(Level::Ready, u64::from(is_ready));
    }

    /// Begins no further call of an agent.
    pub(super) fn hold_runs(&self) {
        self.shard.borrow_mut().hold_runs();
    }

    /// Whether the shard refuses appends for want of room.
    pub(super) fn is_disk_full(&self) -> bool {
        self.shard.borrow().is_disk_full()
    }

    /// Whether everything that was appended is durable.
    pub(super) fn is_synced(&self) -> bool {
        self.shard.borrow().is_synced()
    }
}

type GatherDone = Box<dyn FnOnce(&Rc<World>, Vec<Result<Reply, Refusal>>)>;

struct Gathered {
    replies: Vec<Option<Result<Reply, Refusal>>>,
    missing: usize,
    done: Option<GatherDone>,
}

impl Gathered {
    fn add(this: &Rc<RefCell<Self>>, world: &Rc<World>, place: usize, reply: Result<Reply, Refusal>) {
        let finished = {
            let mut gathered = this.borrow_mut();
            gathered.replies[place] = Some(reply);
            gathered.missing -= 1;
            if gathered.missing > 0 {
                return;
            }
            let replies = std::mem::take(&mut gathered.replies);
            gathered.done.take().map(|done| (done, replies))
        };
        if let Some((done, replies)) = finished {
            done(world, replies.into_iter().flatten().collect());
        }
    }
}
