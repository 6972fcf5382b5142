//! Who speaks in a request of a dialect whose bodies name no user.
//!
//! Not here: whether he may.

use super::auth::principal::{ACTOR_HEADER, USER_DEFAULT};
use super::error::ApiError;
use super::message::bounded_name;
use crate::protocol::http::Request;
use crate::session::Namespace;

/// The user as whom `request` acts: the one that the header `x-user-id` names, else `default`.
///
/// # Errors
/// `NameTooLong` for a name that no session can have.
pub fn of(request: &Request) -> Result<String, ApiError> {
    let named = request.headers.first(ACTOR_HEADER).map(str::trim).filter(|name| !name.is_empty());
    let name = named.unwrap_or(USER_DEFAULT);
    bounded_name(ACTOR_HEADER, name)?;
    Ok(name.to_owned())
}

/// The tenant that `request` comes from, by whom the ids of main sessions are made.
pub fn namespace_of(_: &Request) -> Namespace {
    Namespace::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::error::Kind;
    use crate::protocol::http::Method;

    #[test]
    fn a_header_names_the_actor_and_a_blank_one_is_none() {
        let request = Request::new(Method::Get, "/");
        assert_eq!(of(&request).unwrap(), "default");
        assert_eq!(of(&request.clone().with_header("x-user-id", "  ")).unwrap(), "default");
        assert_eq!(of(&request.clone().with_header("X-User-Id", "alice")).unwrap(), "alice");
        let long = request.with_header("x-user-id", &"x".repeat(256));
        assert_eq!(of(&long).unwrap_err().kind(), Kind::NameTooLong);
    }
}
