//! Asking an agent on behalf of a client that waits: the append, the answer's events, its end.
//!
//! The rules are the api's `Ask`; here are its commands, its pushes and its deadline. Whoever drops an ask leaves: the message stands
//! and its run goes on.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::watch::{Ending, Watch};
use super::watcher::Watching;
use super::world::World;
use crate::api::Target;
use crate::api::ask::{Ask, Outcome, Step};
use crate::api::view::AskEvent;
use crate::limits;
use crate::shard::{Access, Append, Asked, Command, Delivered, Refusal, Reply, TopicKey};

/// What an ask tells.
#[derive(Debug)]
pub(super) enum Told {
    /// Events, one at least.
    Events(Vec<AskEvent>),
    /// The end. Nothing is told behind it.
    Done(Outcome),
}

/// An ask under way.
pub(super) struct Asking {
    world: Rc<World>,
    watching: Watching,
    deadline: Watch,
    deadline_us: u64,
    ask: Ask,
    /// Whose cursor the answer moves.
    reader: Option<String>,
    /// He will not read it.
    has_left: Rc<Cell<bool>>,
    /// The end, once it is known: it is told behind the last events.
    outcome: Option<Outcome>,
    events: Vec<AskEvent>,
}

impl Asking {
    /// Appends, and waits until the message is durable.
    ///
    /// # Errors
    /// How it ended before.
    pub(super) async fn begin(
        world: &Rc<World>,
        access: Option<Box<Access>>,
        append: Append,
        reader: Option<String>,
    ) -> Result<Self, Outcome> {
        let session = append.session;
        let (ask, command) = Ask::new(append);
        let deadline_us = world.now().mono_us + limits::ASK_S * 1_000_000;
        let deadline = world.io.watches.add();
        deadline.until(deadline_us);
        let watching = Watching::open(world, access);
        let world = Rc::clone(world);
        let mut asking = Self {
            world,
            watching,
            deadline,
            deadline_us,
            ask,
            reader,
            has_left: Rc::default(),
            outcome: None,
            events: Vec::new(),
        };
        let started_us = asking.world.now().mono_us;
        let reply = asking.watching.join(TopicKey::Session(session), Target::Owner(session), command).await;
        if reply.is_ok() {
            asking.world.metrics.appended_us(asking.world.now().mono_us.saturating_sub(started_us));
        }
        let step = asking.ask.replied(reply, &mut asking.events);
        asking.follow(step).await;
        match (asking.ask.asked(), asking.outcome.take()) {
            (None, Some(outcome)) => Err(outcome),
            (_, outcome) => {
                asking.outcome = outcome;
                Ok(asking)
            }
        }
    }

    /// What the shard said of the message.
    pub(super) fn asked(&self) -> Option<&Asked> {
        self.ask.asked()
    }

    /// Set when the reader leaves: his cursor stays where it is.
    pub(super) fn reader_left(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.has_left)
    }

    /// What is told next. After the end it is not asked.
    pub(super) async fn next(&mut self) -> Told {
        loop {
            while self.outcome.is_none()
                && let Some(event) = self.watching.take()
            {
                self.hear(event).await;
            }
            if !self.events.is_empty() {
                return Told::Events(std::mem::take(&mut self.events));
            }
            if let Some(outcome) = self.outcome.take() {
                self.mark_read(&outcome).await;
                return Told::Done(outcome);
            }
            match self.wait().await {
                Ok(event) => self.hear(event).await,
                Err(Ending::Late) => self.outcome = Some(Outcome::Late),
                Err(Ending::Drain) if !self.ask.has_begun() => self.outcome = Some(Outcome::Draining),
                Err(Ending::Drain) => self.deadline.rearm(self.deadline_us), // the run goes on, for as long as the drain does
            }
        }
    }

    /// Waits for the end and lets the events fall.
    pub(super) async fn done(mut self) -> Outcome {
        loop {
            if let Told::Done(outcome) = self.next().await {
                return outcome;
            }
        }
    }

    async fn wait(&self) -> Result<Delivered, Ending> {
        poll_fn(|cx| match self.watching.poll_next(cx) {
            Poll::Ready(event) => Poll::Ready(Ok(event)),
            Poll::Pending => match self.deadline.poll_ending(cx) {
                Some(ending) => Poll::Ready(Err(ending)),
                None => Poll::Pending,
            },
        })
        .await
    }

    async fn hear(&mut self, event: Delivered) {
        let Delivered::Push(push) = event else { return };
        let step = self.ask.heard(&push, &mut self.events);
        self.follow(step).await;
    }

    /// Does what the ask says until it waits or is over.
    async fn follow(&mut self, mut step: Step) {
        loop {
            let command = match step {
                Step::Wait => return,
                Step::Done(outcome) => return self.outcome = Some(outcome),
                Step::Again(command) => command,
            };
            let reply = self.send(command).await;
            step = self.ask.replied(reply, &mut self.events);
        }
    }

    async fn send(&self, command: Command) -> Result<Reply, Refusal> {
        match command {
            Command::Watch { session, .. } => {
                self.watching.join(TopicKey::Session(session), Target::Owner(session), command).await
            }
            command => match command.session() {
                Some(session) => self.watching.call(Target::Owner(session), command).await,
                None => Err(Refusal::SessionNotFound),
            },
        }
    }

    /// What the reader is about to be given is read. A cursor that does not move is no reason to keep the answer back.
    async fn mark_read(&mut self, outcome: &Outcome) {
        let (Some(user_id), Outcome::Answered(answered)) = (self.reader.take(), outcome) else { return };
        let Some(last_seq) = answered.last_seq().filter(|_| !self.has_left.get()) else { return };
        let command = Command::MarkRead { session: answered.session, user_id, last_seq };
        let _ = self.watching.call(Target::Owner(answered.session), command).await;
    }
}
