//! Long-poll sessions: sockets that live between requests (contract 3.8).
//!
//! A session lives on the shard that opened it; its token names that shard, so a request that arrives elsewhere is mailed there. A
//! session that nobody polls for a while is gone.

use std::rc::Rc;
use std::task::Poll;

use super::channel;
use super::link::{Carrier, Link, LongPoll};
use super::promise::Promise;
use super::world::World;
use crate::api::admission;
use crate::api::auth::Principal;
use crate::api::longpoll::{self as requests, LongPollRequest};
use crate::api::routes::Connect;
use crate::limits;
use crate::protocol::channels::longpoll::{self as wire, Token};
use crate::protocol::channels::{Malformed, Message};
use crate::protocol::http::Response;
use crate::shard::{Caller, ShardId};

/// Makes a client try again later; phoenix.js knows no other status for it.
const TRY_AGAIN: u16 = 500;

/// A request to a session that exists.
pub(super) struct PollRequest {
    token: Token,
    /// Whose it is; nobody's in open mode.
    by: Option<Box<Principal>>,
    wish: Wish,
}

/// What is asked of it.
enum Wish {
    /// Its messages, or a wait for them.
    Take,
    /// A batch of the client's messages.
    Publish(Result<Vec<Message<'static>>, Malformed>),
}

/// What comes of it.
pub(super) enum PollAnswer {
    /// Messages in order; none when the wait was in vain.
    Messages(Vec<Vec<u8>>),
    /// The batch was taken in.
    Taken,
    /// There is no such session (any more).
    Gone,
    /// The session is busy with what it was sent before.
    Busy,
    /// The way to its shard is full.
    Overloaded,
}

/// Answers a request to `/socket/longpoll`.
pub(super) async fn serve(world: &Rc<World>, principal: Option<Rc<Principal>>, request: LongPollRequest) -> Response {
    let (token, wish, otherwise) = match request {
        LongPollRequest::Open(connect) => return open(world, principal, connect),
        LongPollRequest::Poll { token, otherwise } => (token, Wish::Take, otherwise),
        LongPollRequest::Batch { token, messages } => (token, Wish::Publish(messages), None),
    };
    let by = principal.as_ref().map(|principal| Box::new(Principal::clone(principal)));
    let request = PollRequest { token, by, wish };
    let holder = ShardId(token.shard);
    let answer = if holder == world.id {
        answer(world, request).await
    } else if token.shard < world.shards {
        poll_elsewhere(world, holder, request).await
    } else {
        PollAnswer::Gone // from before a restart with more shards
    };
    match (answer, otherwise) {
        (PollAnswer::Messages(messages), _) => requests::answer(wire::polled(token, &messages)),
        (PollAnswer::Taken, _) => bare(200),
        (PollAnswer::Gone, Some(connect)) => open(world, principal, connect),
        (PollAnswer::Gone, None) => bare(410),
        (PollAnswer::Busy, _) => bare(408),
        (PollAnswer::Overloaded, _) => bare(TRY_AGAIN),
    }
}

fn open(world: &Rc<World>, principal: Option<Rc<Principal>>, connect: Connect) -> Response {
    if principal.as_ref().is_some_and(|by| admission::admit_identity(by, &connect.identity).is_err()) {
        return bare(403);
    }
    if world.long_polls.borrow().len() >= limits::LONG_POLL_SESSIONS_MAX || world.state.is_draining() {
        return bare(TRY_AGAIN);
    }
    let token = Token { random: world.context().random, shard: world.id.0 };
    let carrier = Carrier::long_poll(world.now().mono_us);
    let link = Link::open(world, connect, carrier, principal);
    world.long_polls.borrow_mut().insert(token, link);
    requests::answer(wire::opened(token))
}

/// An answer of nothing but a status, which stands in the body.
fn bare(status: u16) -> Response {
    requests::answer(wire::status(status))
}

/// Answers a poll that another shard forwarded, when it is answered.
pub(super) fn answer_by_mail(world: &Rc<World>, from: Caller, request: PollRequest) {
    let world = Rc::clone(world);
    let polling = async move {
        let answer = answer(&world, request).await;
        world.mail_poll_answer(from, answer);
    };
    glommio::spawn_local(polling).detach();
}

async fn answer(world: &Rc<World>, request: PollRequest) -> PollAnswer {
    let PollRequest { token, by, wish } = request;
    let link = world.long_polls.borrow().get(&token).cloned();
    let is_let_in = |link: &Rc<Link>| match (&wish, by.as_deref()) {
        // With no token but the session's own, which only its opener was told.
        (Wish::Publish(_), Some(by)) if by.is_nobody() => true,
        (_, by) => is_same(link.principal(), by),
    };
    let Some(link) = link.filter(is_let_in) else { return PollAnswer::Gone };
    let answer = match wish {
        Wish::Take => take_messages(world, &link).await,
        Wish::Publish(batch) => publish(world, &link, batch).await,
    };
    if link.goodbye().is_some() || !link.is_open() {
        world.long_polls.borrow_mut().remove(&token);
        link.close(world);
        if !matches!(&answer, PollAnswer::Messages(messages) if !messages.is_empty()) {
            return PollAnswer::Gone;
        }
    }
    answer
}

/// Whether who asks is who opened the session, if with a newer token: for anybody else it is not there.
fn is_same(holder: Option<&Principal>, by: Option<&Principal>) -> bool {
    fn who(principal: &Principal) -> impl PartialEq {
        let Principal { namespace, user, scope, session, .. } = principal;
        (namespace.clone(), user.clone(), scope.clone(), *session)
    }
    holder.map(who) == by.map(who)
}

async fn take_messages(world: &Rc<World>, link: &Rc<Link>) -> PollAnswer {
    let Carrier::LongPoll(session) = &link.carrier else { return PollAnswer::Gone };
    let LongPoll { polled_us, polls, .. } = &**session;
    // A newer poll is the client's only one: an older one, whose connection may be gone, must take nothing.
    let poll = polls.get() + 1;
    polls.set(poll);
    link.wake();
    let deadline_us = world.now().mono_us + limits::LONG_POLL_S * 1_000_000;
    polled_us.set(deadline_us); // nobody else need poll while this one waits
    wait(world, link, deadline_us, |link| match &link.carrier {
        Carrier::LongPoll(session) => !session.messages.borrow().is_empty() || session.polls.get() != poll,
        Carrier::WebSocket { .. } => true,
    })
    .await;
    if polls.get() != poll {
        return PollAnswer::Messages(Vec::new());
    }
    polled_us.set(world.now().mono_us);
    PollAnswer::Messages(link.take_messages())
}

async fn publish(world: &Rc<World>, link: &Rc<Link>, batch: Result<Vec<Message<'static>>, Malformed>) -> PollAnswer {
    let Ok(batch) = batch else {
        // As on a WebSocket: malformed input ends the socket. The client opens another.
        link.close(world);
        return PollAnswer::Gone;
    };
    let deadline_us = world.now().mono_us + limits::LONG_POLL_S * 1_000_000;
    for message in batch {
        if !wait(world, link, deadline_us, |link| link.takes_messages()).await {
            return PollAnswer::Busy;
        }
        if !link.is_open() || link.goodbye().is_some() {
            return PollAnswer::Gone;
        }
        channel::take(world, link, message);
    }
    PollAnswer::Taken
}

/// Waits until `is_so`, the session ends, the server drains, or the deadline passes. False: in vain.
async fn wait(world: &Rc<World>, link: &Rc<Link>, deadline_us: u64, is_so: impl Fn(&Link) -> bool) -> bool {
    let watch = world.io.watches.add();
    watch.until(deadline_us);
    std::future::poll_fn(|cx| {
        if is_so(link) || !link.is_open() || link.goodbye().is_some() {
            return Poll::Ready(true);
        }
        link.register(cx);
        match watch.poll_ending(cx) {
            Some(_) => Poll::Ready(false),
            None => Poll::Pending,
        }
    })
    .await
}

/// Ends the sessions that nobody polls any more.
pub(super) fn sweep(world: &Rc<World>) {
    const IDLE_US: u64 = limits::LONG_POLL_IDLE_S * 1_000_000;
    let now_us = world.now().mono_us;
    end_where(world, |link| match &link.carrier {
        Carrier::LongPoll(session) => session.polled_us.get() + IDLE_US <= now_us,
        Carrier::WebSocket { .. } => false,
    });
}

/// Ends all sessions, for the drain: their next poll is answered 410 by whoever serves then, and they rejoin.
pub(super) fn end_all(world: &Rc<World>) {
    end_where(world, |_| true);
}

fn end_where(world: &Rc<World>, is_over: impl Fn(&Link) -> bool) {
    let mut ended = Vec::new();
    world.long_polls.borrow_mut().retain(|_, link| {
        let over = is_over(link);
        if over {
            ended.push(Rc::clone(link));
        }
        !over
    });
    for link in ended {
        link.close(world);
    }
}

/// Brings a poll to another shard and waits for its answer.
async fn poll_elsewhere(world: &Rc<World>, to: ShardId, request: PollRequest) -> PollAnswer {
    let promise = Promise::new();
    let keeper = Rc::clone(&promise);
    world.poll_elsewhere(to, request, Box::new(move |answer| keeper.keep(answer)));
    promise.kept().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::SessionId;

    #[test]
    fn a_token_for_one_session_is_not_the_one_for_all_or_for_another() {
        let of = |session| Principal { session, ..Principal::nobody() };
        let locked = |n| of(Some(SessionId::from_parts(1, n)));
        assert!(is_same(Some(&locked(1)), Some(&locked(1))) && is_same(None, None));
        for (holder, by) in [(locked(1), locked(2)), (of(None), locked(1)), (locked(1), of(None))] {
            assert!(!is_same(Some(&holder), Some(&by)));
        }
        assert!(!is_same(None, Some(&of(None))));
    }
}
