//! A session's events for a client that goes on listening: what it missed, then what happens, until one of the two ends it.
//!
//! What a frame says is the api's `EventsPlan`; here are its commands, its pushes and its heartbeat.
//!
//! Invariants: every message behind the client's place is told once, in order, or a gap is told in its place; messages are read page by
//! page, the next when the last was taken, so a reader that is slow costs a page and its watcher's queue. One that its watcher lost
//! watches again from its place.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::streaming::{Pieces, Speech, Streaming};
use super::watch::Watch;
use super::watcher::Watching;
use super::world::World;
use crate::api::Target;
use crate::api::hapi::events::{EventsPlan, Resume, go_on, is_thinking};
use crate::limits;
use crate::protocol::http::Response;
use crate::protocol::json;
use crate::session::{Json, Namespace};
use crate::shard::{Access, Command, Delivered, Page, Push, Refusal, Reply, Resumed, TopicKey};

/// Begins a stream for a caller of `access`.
///
/// # Errors
/// The refusal to send instead.
pub(super) async fn begin(
    world: &Rc<World>,
    access: Option<Box<Access>>,
    mut plan: EventsPlan,
) -> Result<Streaming, Response> {
    let namespace = access.as_ref().map_or_else(Namespace::default, |access| access.namespace.clone());
    let watching = Watching::open(world, access);
    let to = Target::Owner(plan.session);
    let session = watching.call(to, Command::ReadSession { id: plan.session }).await;
    let head = plan.begin(&namespace, session)?;
    let heartbeat = world.io.watches.add();
    let mut telling = Telling { world: Rc::clone(world), watching, plan, heartbeat, cursor: 0, is_thinking: false };
    let first = telling.watch(telling.plan.first_after_seq()).await;
    let (page, resumed) = match first {
        Ok(joined) => joined,
        Err(refusal) => return Err(telling.plan.begin(&namespace, Err(refusal)).unwrap_or_else(|refused| refused)),
    };
    let speech = Speech::new(false, |pieces| telling.tell_all(pieces, page, resumed));
    Ok(Streaming { head, length: None, source: Box::new(speech) })
}

/// See the top of the file.
struct Telling {
    world: Rc<World>,
    watching: Watching,
    plan: EventsPlan,
    heartbeat: Watch,
    /// The last message that was told.
    cursor: u64,
    is_thinking: bool,
}

/// What happens next.
enum News {
    Event(Delivered),
    Heartbeat,
}

impl Telling {
    async fn tell_all(mut self, pieces: Pieces, page: Page, resumed: Box<Resumed>) {
        let tell = |piece| pieces.borrow_mut().push_back(piece);
        let (cursor, resume) = self.plan.resume(page.session_last_seq);
        self.cursor = cursor;
        tell(self.plan.connected(resume));
        let mut joined = Some((page, resumed));
        while let Some((page, resumed)) = joined.take() {
            if self.catch_up(page, &pieces).await.is_err() {
                return;
            }
            self.note_thinking(resumed.running.is_some(), &pieces);
            if !self.live(&pieces).await {
                return;
            }
            let Ok((page, resumed)) = self.watch(self.cursor).await else { return };
            let (cursor, resume) = go_on(self.cursor, page.session_last_seq);
            if resume == Resume::Gap {
                self.cursor = cursor;
                tell(self.plan.connected(resume));
            }
            joined = Some((page, resumed));
        }
    }

    async fn watch(&mut self, after_seq: u64) -> Result<(Page, Box<Resumed>), Refusal> {
        let session = self.plan.session;
        let command = self.plan.watch(after_seq);
        match self.watching.join(TopicKey::Session(session), Target::Owner(session), command).await? {
            Reply::Joined { page, resumed } => Ok((page, resumed)),
            _ => Err(Refusal::SessionNotFound),
        }
    }

    /// Tells all messages up to where the session stood when it was subscribed to.
    async fn catch_up(&mut self, mut page: Page, pieces: &Pieces) -> Result<(), Refusal> {
        let upto_seq = page.session_last_seq;
        loop {
            self.tell_page(page, pieces);
            if self.cursor >= upto_seq {
                return Ok(());
            }
            let command = self.plan.read_on(self.cursor);
            page = match self.watching.call(Target::Owner(self.plan.session), command).await? {
                Reply::Messages(page) if page.count > 0 => page,
                _ => return Err(Refusal::SessionNotFound),
            };
        }
    }

    fn tell_page(&mut self, page: Page, pieces: &Pieces) {
        if page.count == 0 || page.last_seq <= self.cursor {
            return;
        }
        let seqs = page.first_seq..=page.last_seq;
        let listed = [b"[", &page.into_messages()[..], b"]"].concat();
        let listed = String::from_utf8_lossy(&listed);
        for (seq, message) in seqs.zip(json::elements(&listed)) {
            self.tell_message(seq, &Json::from_valid(message), pieces);
        }
    }

    fn tell_message(&mut self, seq: u64, message: &Json, pieces: &Pieces) {
        if seq > self.cursor {
            self.cursor = seq;
            pieces.borrow_mut().push_back(self.plan.message(seq, message));
        }
    }

    fn note_thinking(&mut self, is_thinking: bool, pieces: &Pieces) {
        if is_thinking != self.is_thinking {
            self.is_thinking = is_thinking;
            pieces.borrow_mut().push_back(self.plan.thinking(is_thinking));
        }
    }

    /// Tells what happens. False: the session is gone; true: something was lost on the way, watch again.
    async fn live(&mut self, pieces: &Pieces) -> bool {
        loop {
            match self.news().await {
                News::Heartbeat => pieces.borrow_mut().push_back(self.plan.heartbeat(self.world.now().unix_us)),
                News::Event(Delivered::Push(Push::Message { seq, json, .. })) => {
                    self.tell_message(seq, &json, pieces);
                }
                News::Event(Delivered::Push(Push::Run { event, .. })) => {
                    self.note_thinking(is_thinking(&event), pieces);
                }
                News::Event(Delivered::Push(Push::Closed { .. })) => {
                    pieces.borrow_mut().push_back(self.plan.removed());
                    return false;
                }
                News::Event(Delivered::Push(Push::Gap { .. })) => return true,
                News::Event(_) => {}
            }
        }
    }

    async fn news(&self) -> News {
        self.heartbeat.rearm(self.world.now().mono_us + limits::EVENTS_HEARTBEAT_S * 1_000_000);
        poll_fn(|cx| match self.watching.poll_next(cx) {
            Poll::Ready(event) => Poll::Ready(News::Event(event)),
            Poll::Pending if self.heartbeat.poll_late(cx) => Poll::Ready(News::Heartbeat),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}
