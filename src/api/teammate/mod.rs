//! The chat API of AI Teammate (seed 002): which method on which path is what. Every path is served below `/api` and without it.

mod chat;
pub mod conversations;
mod history;
pub mod teams;

use super::Context;
use super::chat::Plan;
use super::error::ApiError;
use super::params::Params;
use super::table::routes;
use crate::protocol::http::Request;

/// A method on a resource. Ids are as they stand in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// `POST /agents/:id/chat`.
    Chat(&'a str),
    /// `POST /agents/:id/chat/stream`.
    ChatStream(&'a str),
}

routes! {
    /// What `method` on a path is, if anything: one below `/api`, or one without it.
    pub fn endpoint<'a>(Teammate below "/api" or "") -> Endpoint<'a>;

    POST "agents"/id/"chat", Write => Endpoint::Chat(id);
    POST "agents"/id/"chat"/"stream", Write streams => Endpoint::ChatStream(id);
}

impl Endpoint<'_> {
    /// What the request comes to.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn plan(self, request: &Request, params: &Params<'_>, context: &Context) -> Result<Plan, ApiError> {
        match self {
            Self::Chat(agent_id) => chat::whole(agent_id, request, params, context),
            Self::ChatStream(agent_id) => chat::streamed(agent_id, request, params, context),
        }
    }
}
