//! A WebSocket on which a dialect speaks in frames of its own: asks in, their answers out, one behind the other.
//!
//! What a frame says is the dialect's affair; here are the queue of asks, the one task that answers them while there are any, and the
//! pings that tell a silent client from one that is gone.
//!
//! Invariants: answers come in the order of their asks; of the asks that wait there are `ASKS_QUEUED_MAX`, then the socket is not
//! read; a client that does not read is cut at its outbox's bound; with the connection everything of it ends but the runs.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Waker};

use super::ask::{Asking, Told};
use super::fanout;
use super::flow::{self, SocketEnded};
use super::link::Goodbye;
use super::listener::Admitted;
use super::metrics::{CloseReason, Level, Which};
use super::tenure::Tenure;
use super::watch::{Ending, Watch};
use super::websocket::{Conversation, Peer, code};
use super::wire::Wire;
use super::world::World;
use crate::api::Target;
use crate::api::ask_plan::{SocketAsk, SocketFlow, SocketPlan, SocketRender, Taken};
use crate::api::auth::Principal;
use crate::api::error::ApiError;
use crate::limits;
use crate::protocol::Roomy;
use crate::protocol::http::{Request, Response};
use crate::protocol::ws::{self, Decoder, Deflate, HandshakeOptions, Role};
use crate::session::SessionId;
use crate::shard::{Access, Command};

/// An accepted handshake.
pub(super) struct Opening {
    upgrade: ws::Upgrade,
    access: Option<Box<Access>>,
    principal: Option<Rc<Principal>>,
    plan: SocketPlan,
}

impl Opening {
    /// Checks the handshake; the response accepts it.
    ///
    /// # Errors
    /// The refusal to send instead.
    pub(super) fn accept(
        world: &World,
        principal: Option<Rc<Principal>>,
        request: &Request,
        plan: SocketPlan,
    ) -> Result<(Self, Response), Response> {
        let options = HandshakeOptions { deflate: world.config.ws_deflate, subprotocols: &[] };
        let (upgrade, response) = ws::accept(request, &options)?;
        let access = principal.as_ref().and_then(|principal| principal.access());
        Ok((Self { upgrade, access, principal, plan }, response))
    }
}

/// The socket, to its end. `rest` came behind the handshake, `out` is to be written first.
pub(super) fn converse(
    world: Rc<World>,
    wire: Wire,
    opening: Opening,
    rest: &[u8],
    out: Vec<u8>,
    admitted: Admitted,
) -> Conversation<PlainPeer> {
    let Opening { upgrade, access, principal, plan } = opening;
    let limits = ws::Limits { message_bytes_max: world.config.body_bytes_max, fragments_max: limits::WS_FRAGMENTS_MAX };
    let mut decoder = Decoder::new(Role::Server, limits, upgrade.deflate);
    decoder.push(rest);
    let idle_s = world.config.socket_idle_s;
    let socket = PlainSocket::open(world, access, principal, plan.render, upgrade.deflate, out);
    socket.hold();
    Conversation::new(wire, decoder, idle_s, PlainPeer { socket, _admitted: admitted })
}

/// The connection's end of a [`PlainSocket`].
pub(super) struct PlainPeer {
    socket: Rc<PlainSocket>,
    /// Given back when the task ends.
    _admitted: Admitted,
}

/// What waits for its turn.
enum Waiting {
    Ask(Box<SocketAsk>),
    Flow(Box<dyn SocketFlow>),
}

/// See the top of the file.
struct PlainSocket {
    world: Rc<World>,
    /// What its client may do.
    access: Option<Box<Access>>,
    /// Who it is; nobody in open mode.
    principal: Option<Rc<Principal>>,
    render: RefCell<Box<dyn SocketRender>>,
    deflate: Option<Deflate>,
    frames: RefCell<Roomy>,
    unsent: Cell<usize>,
    goodbye: Cell<Option<Goodbye>>,
    waker: RefCell<Option<Waker>>,
    /// The connection's own task is running: what it queues needs no wake-up.
    is_running: Cell<bool>,
    /// By when the next ping is due.
    pings: Watch,
    queue: RefCell<VecDeque<Waiting>>,
    /// The task that answers, while there is something to answer. Dropping it ends it.
    answering: RefCell<Option<glommio::Task<()>>>,
    is_answering: Cell<bool>,
    /// The session of the answer under way.
    session: Cell<Option<SessionId>>,
    tenure: OnceCell<Tenure>,
}

impl PlainSocket {
    fn open(
        world: Rc<World>,
        access: Option<Box<Access>>,
        principal: Option<Rc<Principal>>,
        mut render: Box<dyn SocketRender>,
        deflate: Option<Deflate>,
        out: Vec<u8>,
    ) -> Rc<Self> {
        let greetings = render.open();
        let pings = world.io.watches.add();
        pings.until(world.now().mono_us + limits::SOCKET_PING_S * 1_000_000);
        world.metrics.count(Which::SocketsOpened);
        world.metrics.rise(Level::SocketsOpen);
        let socket = Rc::new(Self {
            world,
            access,
            principal,
            render: RefCell::new(render),
            deflate,
            frames: RefCell::new(out.into()),
            unsent: Cell::new(0),
            goodbye: Cell::new(None),
            waker: RefCell::default(),
            is_running: Cell::new(false),
            pings,
            queue: RefCell::default(),
            answering: RefCell::default(),
            is_answering: Cell::new(false),
            session: Cell::new(None),
            tenure: OnceCell::new(),
        });
        greetings.iter().for_each(|frame| socket.send(frame));
        socket
    }

    /// Ends with the tenure of its principal.
    fn hold(self: &Rc<Self>) {
        let Some(principal) = &self.principal else { return };
        let held = Rc::downgrade(self);
        let tenure = self.world.tenures.begin(principal, move |over| {
            if let Some(socket) = held.upgrade() {
                let goodbye = Goodbye { code: code::POLICY_VIOLATION, reason: over.reason(), at_once: false };
                socket.goodbye.set(Some(goodbye));
                socket.drop_asks();
                socket.wake();
            }
        });
        self.tenure.get_or_init(|| tenure);
    }

    /// Nothing more is asked, and nobody waits for what was: runs go on by themselves.
    fn drop_asks(&self) {
        self.queue.borrow_mut().clear();
        let answering = self.answering.borrow_mut().take();
        drop(answering);
        self.is_answering.set(false);
        self.session.set(None);
    }

    /// Counts what waits for its turn like a request. A stop gets through: it makes less work.
    fn count(&self, taken: &Taken) -> Result<(), ApiError> {
        match (taken, &self.principal) {
            (Taken::Ask(_) | Taken::Flow(_), Some(principal)) => {
                self.world.auth.limiter().take_principal(principal.fingerprint)
            }
            _ => Ok(()),
        }
    }

    fn take(self: &Rc<Self>, taken: Taken) {
        match taken {
            Taken::Nothing => {}
            Taken::Reply(frame) => self.send(&frame),
            Taken::Ask(ask) => self.enqueue(Waiting::Ask(ask)),
            Taken::Flow(flow) => self.enqueue(Waiting::Flow(flow)),
            Taken::Stop => self.stop(),
        }
    }

    fn enqueue(self: &Rc<Self>, waiting: Waiting) {
        self.queue.borrow_mut().push_back(waiting);
        if !self.is_answering.replace(true) {
            let task = glommio::spawn_local(answer_all(Rc::clone(self)));
            *self.answering.borrow_mut() = Some(task);
        }
    }

    /// Ends the answer under way. What came of that is told to the ask itself.
    fn stop(&self) {
        if let Some(session) = self.session.get() {
            let command = Command::StopRun { session, run: None, identity: None };
            self.world.call(self.access.clone(), Target::Owner(session), command, Box::new(|_, _| {}));
        }
    }

    /// Queues a frame. Who reads none is cut.
    fn send(&self, frame: &str) {
        if self.queued_bytes() > self.world.config.outbox_bytes_max {
            if self.goodbye.get().is_none() {
                self.world.metrics.closed(CloseReason::SlowReader);
                let reason = "too far behind";
                self.goodbye.set(Some(Goodbye { code: code::TRY_AGAIN_LATER, reason, at_once: true }));
            }
        } else {
            let mut frames = self.frames.borrow_mut();
            let write = |out: &mut Vec<u8>| out.extend_from_slice(frame.as_bytes());
            fanout::encode_frame(&self.world, self.deflate, write, frames.tail());
        }
        self.wake();
    }

    fn queued_bytes(&self) -> usize {
        self.frames.borrow().len() + self.unsent.get()
    }

    fn wake(&self) {
        if !self.is_running.get()
            && let Some(waker) = self.waker.borrow_mut().take()
        {
            waker.wake();
        }
    }

    /// Sends a ping when it is time for one.
    fn ping_if_due(&self, cx: &Context<'_>) {
        if self.pings.poll_ending(cx) == Some(Ending::Late) {
            ws::encode_ping(&[], self.frames.borrow_mut().tail());
            self.pings.rearm(self.world.now().mono_us + limits::SOCKET_PING_S * 1_000_000);
            let _ = self.pings.poll_ending(cx); // to be woken for the next one
        }
    }
}

/// Answers what is asked, until nothing is.
async fn answer_all(socket: Rc<PlainSocket>) {
    loop {
        let waiting = socket.queue.borrow_mut().pop_front();
        let Some(waiting) = waiting else { break };
        socket.wake(); // it may not have been read for want of room
        match waiting {
            Waiting::Ask(ask) => answer(&socket, *ask).await,
            Waiting::Flow(flow) => match flow::run_socket(&socket.world, &socket.access, flow).await {
                Some(SocketEnded::Begin(ask)) => answer(&socket, *ask).await,
                Some(SocketEnded::Reply(frame)) => socket.send(&frame),
                None => {}
            },
        }
    }
    socket.is_answering.set(false);
    socket.wake(); // a drain waits for this
}

async fn answer(socket: &PlainSocket, ask: SocketAsk) {
    let SocketAsk { append, reader, mut render } = ask;
    let outcome = match Asking::begin(&socket.world, socket.access.clone(), append, reader).await {
        Err(outcome) => outcome,
        Ok(mut asking) => {
            let first = asking.asked().and_then(|asked| {
                socket.session.set(Some(asked.session));
                render.begin(asked)
            });
            first.iter().for_each(|frame| socket.send(frame));
            let outcome = loop {
                match asking.next().await {
                    Told::Events(events) => {
                        events.iter().filter_map(|event| render.tell(event)).for_each(|frame| socket.send(&frame));
                    }
                    Told::Done(outcome) => break outcome,
                }
            };
            socket.session.set(None);
            outcome
        }
    };
    render.done(&outcome).iter().for_each(|frame| socket.send(frame));
}

impl Peer for PlainPeer {
    fn takes_messages(&self) -> bool {
        let socket = &self.socket;
        socket.queue.borrow().len() < limits::ASKS_QUEUED_MAX
            && socket.queued_bytes() < limits::SOCKET_READ_PAUSE_BYTES
            && socket.goodbye.get().is_none()
    }

    fn text(&self, text: String) {
        let socket = &self.socket;
        socket.world.metrics.count(Which::SocketMessagesIn);
        let taken = socket.render.borrow_mut().take(&text, &socket.world.context());
        socket.take(match socket.count(&taken) {
            Ok(()) => taken,
            Err(error) => socket.render.borrow_mut().refuse(&text, &error),
        });
    }

    fn binary(&self, _: Vec<u8>) {
        let taken = self.socket.render.borrow_mut().take_binary();
        self.socket.take(taken);
    }

    fn frames(&self) -> &RefCell<Roomy> {
        &self.socket.frames
    }

    fn unsent(&self) -> &Cell<usize> {
        &self.socket.unsent
    }

    fn unanswered(&self) -> usize {
        self.socket.queue.borrow().len() + usize::from(self.socket.is_answering.get())
    }

    fn flushed(&self) {}

    fn goodbye(&self) -> Option<Goodbye> {
        self.socket.goodbye.get()
    }

    fn register(&self, cx: &Context<'_>) {
        *self.socket.waker.borrow_mut() = Some(cx.waker().clone());
        self.socket.ping_if_due(cx);
    }

    fn closed(&self, reason: CloseReason) {
        self.socket.world.metrics.closed(reason);
    }

    fn running<R>(&self, work: impl FnOnce() -> R) -> R {
        let before = self.socket.is_running.replace(true);
        let result = work();
        self.socket.is_running.set(before);
        result
    }

    fn ended(&self) {
        self.socket.world.metrics.fall(Level::SocketsOpen);
        self.socket.drop_asks();
    }
}
