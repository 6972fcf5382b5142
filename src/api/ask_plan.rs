//! What a dialect says of an ask and the server performs: what to append, and how to write what comes of it.
//!
//! The server knows no dialect and a dialect no socket: the one calls these traits in a fixed order, the other only turns values into
//! bytes. What is begun as a stream ends as one; a refusal, or an end before anything was sent, is a response.

use super::ask::Outcome;
use super::error::ApiError;
use super::view::AskEvent;
use super::{Answers, Context, Target, To};
use crate::protocol::http::Response;
use crate::shard::{Append, Asked, Command};
use std::fmt;

/// An append whose answer the request waits for.
pub struct AskPlan {
    /// What is appended, and on which terms.
    pub append: Append,
    /// Whose read cursor the answer moves before its end is told: an inbox must not show what was just given.
    pub reader: Option<String>,
    /// How it is answered.
    pub render: Box<dyn AskRender>,
}

impl AskPlan {
    /// Of a message whose author is given the answer, and so has read it.
    pub fn of(append: Append, render: Box<dyn AskRender>) -> Self {
        let reader = Some(append.author.id().to_owned());
        Self { append, reader, render }
    }

    /// The shard that is asked.
    pub fn target(&self) -> Target {
        Target::Owner(self.append.session)
    }
}

impl fmt::Debug for AskPlan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { append, reader, .. } = self;
        out.debug_struct("AskPlan").field("append", append).field("reader", reader).finish_non_exhaustive()
    }
}

/// By what is asked: how it is written cannot be compared.
impl PartialEq for AskPlan {
    fn eq(&self, other: &Self) -> bool {
        (&self.append, &self.reader) == (&other.append, &other.reader)
    }
}

/// How a request is answered whose message is durable.
#[derive(Debug)]
pub enum Begin {
    /// At the end, by [`AskRender::respond`].
    Sync,
    /// By this head now and events behind it; its body is ignored. The last of them come from [`AskRender::end`].
    Stream(Response),
}

/// How a dialect answers one ask. Called in the order of the methods; of the last two one is called, once.
pub trait AskRender {
    /// The message is durable.
    fn begin(&mut self, asked: &Asked) -> Begin;
    /// Of a stream: appends one whole event to `out`, or nothing.
    fn tell(&mut self, event: &AskEvent, out: &mut Vec<u8>);
    /// Of a stream: its last events, each whole.
    fn end(&mut self, outcome: &Outcome) -> Vec<Vec<u8>>;
    /// Without a stream: the response.
    fn respond(&mut self, outcome: &Outcome) -> Response;
}

/// How a dialect talks over a WebSocket of its own. Texts are frames without their framing.
pub trait SocketRender {
    /// The first frames, before anything is read.
    fn open(&mut self) -> Vec<String> {
        Vec::new()
    }
    /// Takes in a frame of the client.
    fn take(&mut self, text: &str, context: &Context) -> Taken;
    /// Answers a frame that is not taken in, in its turn.
    fn refuse(&mut self, text: &str, error: &ApiError) -> Taken;
    /// Takes in a frame that is not text.
    fn take_binary(&mut self) -> Taken;
}

/// A WebSocket on which a dialect speaks.
pub struct SocketPlan {
    /// How it does.
    pub render: Box<dyn SocketRender>,
}

impl fmt::Debug for SocketPlan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SocketPlan").finish_non_exhaustive()
    }
}

/// There is nothing in it to compare.
impl PartialEq for SocketPlan {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// What a client's frame comes to.
pub enum Taken {
    /// Nothing.
    Nothing,
    /// This frame, at once.
    Reply(String),
    /// An answer, behind those of the asks before it.
    Ask(Box<SocketAsk>),
    /// Steps that end in an answer or a frame, behind the asks before them.
    Flow(Box<dyn SocketFlow>),
    /// The answer under way ends here.
    Stop,
}

/// What a frame comes to in its turn, in several steps.
pub trait SocketFlow {
    /// Goes on, like [`super::Flow::step`].
    fn step(&mut self, answers: Answers) -> SocketNext;
}

/// How it goes on.
pub enum SocketNext {
    /// Questions, asked all at once.
    Ask(Vec<(To, Command)>),
    /// It is answered with this frame.
    Reply(String),
    /// A message is appended and its answer awaited.
    Begin(Box<SocketAsk>),
}

/// An ask of a socket.
pub struct SocketAsk {
    /// What is appended, and on which terms.
    pub append: Append,
    /// See [`AskPlan::reader`].
    pub reader: Option<String>,
    /// How it is answered.
    pub render: Box<dyn FrameRender>,
}

/// How a dialect answers one ask over a WebSocket. Called in the order of the methods, the last one once.
pub trait FrameRender {
    /// The message is durable.
    fn begin(&mut self, asked: &Asked) -> Option<String>;
    /// A frame for an event, if it has one.
    fn tell(&mut self, event: &AskEvent) -> Option<String>;
    /// The last frames.
    fn done(&mut self, outcome: &Outcome) -> Vec<String>;
}
