//! What the server does itself about keys and tokens: makes secrets, asks the directory, exchanges keys for tokens.

use std::net::IpAddr;
use std::rc::Rc;

use super::answer;
use super::world::World;
use crate::api::admin::{self, KeyRequest};
use crate::api::auth::{Principal, exchange};
use crate::api::error::ApiError;
use crate::api::routes::Exchange;
use crate::api::table::Class;
use crate::api::{Context, JSON, Target};
use crate::protocol::http::Response;
use crate::shard::Command;

/// Answers a request about keys. The table of routes let the caller through; that it is an administrator is asked once more here, for
/// the command carries nobody's access.
pub(super) async fn serve(world: &Rc<World>, principal: &Principal, request: KeyRequest) -> Response {
    if let Err(error) = principal.permits(Class::Admin) {
        return ApiError::from(error).response();
    }
    // Of its own: the bits of the context are behind ids that others see.
    let context = Context { random: world.random(), ..world.context() };
    let (command, text) = request.into_command(&context, &world.random());
    let reply = answer::call(world, None, Target::Directory, Command::Keys(command)).await;
    admin::respond(reply, text.as_ref())
}

/// Answers a request for a token.
pub(super) fn exchanged(world: &World, address: Option<IpAddr>, exchange: Exchange, body: &[u8]) -> Response {
    if let Err(error) = world.auth.limiter().take_failure(address) {
        return error.respond(exchange.dialect());
    }
    let now_us = world.now().unix_us;
    let given = world.with_authority(|authority| match exchange {
        Exchange::AccessToken => exchange::access_token(body, authority, now_us),
        Exchange::Login => exchange::login(body, authority, now_us),
    });
    match given {
        Ok(json) => Response::new(200).with_body(JSON, json).with_header("cache-control", "no-store"),
        Err(error) => ApiError::from(error).respond(exchange.dialect()),
    }
}
