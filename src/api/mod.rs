//! Routes, topics and wire errors: a request or a channel's event becomes a [`Command`](crate::shard::Command), a
//! [`Reply`](crate::shard::Reply) or [`Push`](crate::shard::Push) becomes a response.
//!
//! Everything here is pure: time and randomness come with the [`Context`]. Reading order: [`routes`] (which request is
//! what), [`table`] (how rows become routes), [`dialect`] (which chat API a request speaks), [`fleetlm`] (the rules of each resource), [`chat`]
//! (questions whose answers are awaited), [`teammate`] and [`agenfleet`] (the APIs that ask them), [`choosing`] (whom, when nobody is named), [`hapi`],
//! [`flow`] (requests of several steps), [`timeline`] (a user's messages over all sessions), [`render`] (replies to responses), [`view`]
//! (messages as chat dialects show them), [`topics`] (the same for channels), [`auth`] and [`admission`] (who may), [`actor`] (as whom), [`storage`] (what is on the disk),
//! [`error`] (THE table), then the small ones: [`params`], [`query`], [`cors`].

pub mod actor;
pub mod admin;
pub mod admission;
pub mod agenfleet;
pub mod ask;
pub mod ask_plan;
pub mod auth;
pub mod chat;
pub mod choosing;
pub mod cors;
mod deltas;
pub mod dialect;
pub mod error;
pub mod fleetlm;
pub mod flow;
pub mod hapi;
pub mod health;
pub mod longpoll;
mod message;
mod openapi;
pub mod origin;
pub mod own_origin;
pub mod params;
pub mod query;
pub mod render;
pub mod routes;
pub mod runs;
pub mod storage;
pub mod table;
pub mod teammate;
pub mod timeline;
pub mod topics;
pub mod view;

pub use dialect::Dialect;
pub use fleetlm::Ask;
pub use flow::{Answer, Answers, Flow, Next, To};
pub use longpoll::LongPollRequest;
pub use render::Render;
pub use routes::{Connect, Health, Route, expects_file, refused, route};

use crate::session::SessionId;
use crate::shard::{DIRECTORY_SHARD, Now, ShardId, owner_of_session};

/// The content type of every JSON body.
pub const JSON: &str = "application/json; charset=utf-8";

/// What a request is decided with besides itself.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The time of the turn.
    pub now: Now,
    /// 128 fresh random bits, for one request or event only.
    pub random: u128,
    /// Shards of the server.
    pub shards: u16,
}

/// Which shard a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The owner of a session.
    Owner(SessionId),
    /// The shard with the directory of agents.
    Directory,
    /// The shard that the request came to: for what every shard knows.
    Here,
}

impl Target {
    /// The shard among `shards`, seen from `here`.
    pub fn shard(self, shards: u16, here: ShardId) -> ShardId {
        match self {
            Self::Owner(session) => owner_of_session(session, shards),
            Self::Directory => DIRECTORY_SHARD,
            Self::Here => here,
        }
    }
}
