//! The events of all of a user's sessions for a client that goes on listening.
//!
//! What a frame says is the api's `AllPlan`; here are its commands, its pushes and its heartbeat. It listens to the user's inbox and reads the
//! messages by which a session has grown: so a thousand sessions cost one listener, and the telling keeps the inbox's pace.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::streaming::{Pieces, Speech, Streaming};
use super::watch::Watch;
use super::watcher::Watching;
use super::world::World;
use crate::api::Target;
use crate::api::hapi::all_events::{AllPlan, Untold};
use crate::api::hapi::events::Resume;
use crate::limits;
use crate::protocol::http::Response;
use crate::protocol::json;
use crate::session::{Json, Namespace};
use crate::shard::{Access, Delivered, Push, Refusal, Reply};

/// Begins a stream for a caller of `access`.
///
/// # Errors
/// The refusal to send instead.
pub(super) async fn begin(
    world: &Rc<World>,
    access: Option<Box<Access>>,
    mut plan: AllPlan,
) -> Result<Streaming, Response> {
    let namespace = access.as_ref().map_or_else(Namespace::default, |access| access.namespace.clone());
    let inbox = namespace.scoped(plan.user()).into_owned();
    let watching = Watching::open(world, access);
    let replies = watching.join_inbox(inbox.clone(), plan.watch()).await;
    let head = plan.begin(&namespace, replies)?;
    let heartbeat = world.io.watches.add();
    let telling = Telling { world: Rc::clone(world), watching, plan, inbox, heartbeat };
    Ok(Streaming { head, length: None, source: Box::new(Speech::new(false, |pieces| telling.tell_all(pieces))) })
}

/// See the top of the file.
struct Telling {
    world: Rc<World>,
    watching: Watching,
    plan: AllPlan,
    /// The user, scoped.
    inbox: String,
    heartbeat: Watch,
}

impl Telling {
    async fn tell_all(mut self, pieces: Pieces) {
        pieces.borrow_mut().push_back(self.plan.connected());
        loop {
            let (frames, untold) = match self.news().await {
                None => (vec![self.plan.heartbeat(self.world.now().unix_us)], Vec::new()),
                Some(Delivered::InboxDelta { entries, .. }) => self.plan.changed(entries),
                Some(Delivered::Push(Push::InboxGap { .. })) => {
                    let replies = self.watching.join_inbox(self.inbox.clone(), self.plan.watch()).await;
                    let Ok(news) = self.plan.again(replies) else { return };
                    news
                }
                Some(Delivered::Push(_)) => continue,
            };
            pieces.borrow_mut().extend(frames);
            for untold in untold {
                if self.tell(untold, &pieces).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Tells the messages by which a session has grown. One that is gone meanwhile has none.
    async fn tell(&mut self, untold: Untold, pieces: &Pieces) -> Result<(), Refusal> {
        let (mut cursor, resume) = AllPlan::go_on(&untold);
        if resume == Resume::Gap {
            pieces.borrow_mut().push_back(self.plan.connected());
        }
        let session = untold.session;
        while cursor < untold.upto_seq {
            let page = match self.watching.call(Target::Owner(session), AllPlan::read_on(session, cursor)).await {
                Ok(Reply::Messages(page)) if page.count > 0 => page,
                Ok(_) | Err(Refusal::SessionNotFound) => return Ok(()),
                Err(refusal) => return Err(refusal),
            };
            cursor = page.last_seq;
            let listed = [b"[", &page.into_messages()[..], b"]"].concat();
            let listed = String::from_utf8_lossy(&listed);
            for message in json::elements(&listed) {
                pieces.borrow_mut().push_back(self.plan.message(session, &Json::from_valid(message)));
            }
            self.plan.told(session, cursor);
        }
        Ok(())
    }

    /// What happens next; `None`: nothing has for a while.
    async fn news(&self) -> Option<Delivered> {
        self.heartbeat.rearm(self.world.now().mono_us + limits::EVENTS_HEARTBEAT_S * 1_000_000);
        poll_fn(|cx| match self.watching.poll_next(cx) {
            Poll::Ready(event) => Poll::Ready(Some(event)),
            Poll::Pending if self.heartbeat.poll_late(cx) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}
