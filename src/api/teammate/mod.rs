//! The chat API of AI Teammate (seed 002): which method on which path is what. Every path is served below `/api` and without it.

mod chat;
pub mod teams;

use super::Context;
use super::chat::Plan;
use super::error::ApiError;
use super::params::Params;
use super::table::{RouteRow, routes};
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
    pub fn endpoint<'a>(Teammate below "/api") -> Endpoint<'a>;

    POST "agents"/id/"chat", Write => Endpoint::Chat(id);
    POST "agents"/id/"chat"/"stream", Write streams => Endpoint::ChatStream(id);
}

/// The mount of [`ROUTES`].
const MOUNT: &str = "/api";

/// The same rows without their prefix: the seed's headings lack it, its example has it.
pub const ALIASES: &[RouteRow] = &without_prefix::<{ ROUTES.len() }>(ROUTES);

/// Rows below [`MOUNT`] as they are without it. What is decided by rows (who may) so holds for both.
const fn without_prefix<const N: usize>(routes: &[RouteRow]) -> [RouteRow; N] {
    let mut rows = [routes[0]; N];
    let mut place = 0;
    while place < N {
        rows[place] = routes[place];
        rows[place].pattern = routes[place].pattern.split_at(MOUNT.len()).1;
        place += 1;
    }
    rows
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_its_alias_with_the_same_class() {
        let aliases = ALIASES.iter().chain(teams::ALIASES);
        for (row, alias) in ROUTES.iter().chain(teams::ROUTES).zip(aliases) {
            assert_eq!(format!("/api{}", alias.pattern), row.pattern);
            assert_eq!(RouteRow { pattern: row.pattern, ..*alias }, *row);
        }
    }
}
