//! The user as whom a request of AI Teammate's or AgenFleet's acts: these APIs have no parties in their bodies.

use super::auth::principal::{ACTOR_HEADER, USER_DEFAULT};
use super::error::{ApiError, Kind};
use super::message::bounded_name;
use crate::protocol::http::Request;
use crate::session::Namespace;

/// The user that `request` acts as: who sent it, if that is known for sure; else whom the header `x-user-id` names; else whom its
/// key acts as, `default` where there is no key.
///
/// # Errors
/// [`Kind::Forbidden`] for the name of somebody else, [`Kind::NameTooLong`].
pub fn of(request: &Request) -> Result<String, ApiError> {
    let named = request.headers.first(ACTOR_HEADER).filter(|name| !name.is_empty());
    let actor = match (&request.remote_user, named) {
        (Some(user), Some(named)) if user.is_fixed && user.name != named => return Err(Kind::Forbidden.into()),
        (_, Some(named)) => named,
        (Some(user), None) => &user.name,
        (None, None) => USER_DEFAULT,
    };
    bounded_name(ACTOR_HEADER, actor)?;
    Ok(actor.to_owned())
}

/// The tenant that `request` comes from, by whom the ids of main sessions are made.
pub fn namespace_of(request: &Request) -> Namespace {
    request.remote_user.as_ref().map_or_else(Namespace::default, |user| Namespace::from_stored(&user.realm))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::{Method, RemoteUser};

    fn actor(user: Option<(&str, bool)>, named: Option<&str>) -> Result<String, Kind> {
        let mut request = Request::new(Method::Get, "/");
        request.remote_user =
            user.map(|(name, is_fixed)| Box::new(RemoteUser { name: name.to_owned(), realm: "acme".into(), is_fixed }));
        let request = match named {
            Some(named) => request.with_header("X-User-Id", named),
            None => request,
        };
        of(&request).map_err(|error| error.kind())
    }

    #[test]
    fn only_who_is_a_user_for_sure_may_be_nobody_else() {
        for (user, named, expected) in [
            (None, None, Ok("default")),
            (None, Some(""), Ok("default")),
            (None, Some("bob"), Ok("bob")),
            (Some(("robot", false)), None, Ok("robot")),
            (Some(("robot", false)), Some("bob"), Ok("bob")),
            (Some(("alice", true)), None, Ok("alice")),
            (Some(("alice", true)), Some("alice"), Ok("alice")),
            (Some(("alice", true)), Some("bob"), Err(Kind::Forbidden)),
        ] {
            assert_eq!(actor(user, named), expected.map(str::to_owned), "{user:?} {named:?}");
        }
        assert_eq!(actor(None, Some(&"x".repeat(256))), Err(Kind::NameTooLong));
    }
}
