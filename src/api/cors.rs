//! What every response carries whatever it says: the CORS headers of contract 1.6 and `x-request-id` (1.1).

use super::Context;
use crate::protocol::http::{Request, Response};
use std::borrow::Cow;
use xxhash_rust::xxh3::xxh3_128;

const METHODS: &str = "GET,POST,PUT,PATCH,DELETE,OPTIONS";
/// Seconds that a browser remembers a preflight.
const MAX_AGE_S: &str = "600";

/// The headers that wait for a response. Each response must be [sealed](Self::seal) once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    request_id: String,
    allow_headers: Cow<'static, str>,
}

impl Envelope {
    /// The envelope for the answer to `request`: its own id when it brings one of 20 to 200 characters, else a new one.
    pub fn of(request: &Request, context: &Context) -> Self {
        let own = request.headers.first("x-request-id").filter(|id| (20..=200).contains(&id.chars().count()));
        let asked = request.headers.first("access-control-request-headers").filter(|names| !names.is_empty());
        Self {
            request_id: own.map_or_else(|| request_id(context), str::to_owned),
            allow_headers: asked.map_or(Cow::Borrowed("*"), |names| Cow::Owned(names.to_owned())),
        }
    }

    /// The envelope for the answer to bytes that were no request.
    pub fn of_none(context: &Context) -> Self {
        Self { request_id: request_id(context), allow_headers: "*".into() }
    }

    /// Puts the response into the envelope. What it says itself of methods and age stays (long polling has its own).
    pub fn seal(self, response: Response) -> Response {
        let own = |name| response.header(name).is_some();
        let (methods, max_age) = (own("access-control-allow-methods"), own("access-control-max-age"));
        let mut response = response
            .with_header("access-control-allow-origin", "*")
            .with_header("access-control-allow-headers", self.allow_headers)
            .with_header("x-request-id", self.request_id);
        if !methods {
            response = response.with_header("access-control-allow-methods", METHODS);
        }
        if !max_age {
            response = response.with_header("access-control-max-age", MAX_AGE_S);
        }
        response
    }
}

/// 32 hexadecimal digits. Hashed, so that the id of a request tells nothing of the ids and tokens made with the same bits.
fn request_id(context: &Context) -> String {
    let hash = xxh3_128(&context.random.to_be_bytes()).to_be_bytes();
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    hash.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::Method;
    use crate::shard::Now;

    const CONTEXT: Context = Context { now: Now { unix_us: 0, mono_us: 0 }, random: 7, shards: 1 };

    fn sealed(request: &Request) -> Response {
        Envelope::of(request, &CONTEXT).seal(Response::new(200))
    }

    #[test]
    fn every_response_carries_the_cors_headers_of_the_contract() {
        let response = sealed(&Request::new(Method::Get, "/"));
        for (name, value) in [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-methods", "GET,POST,PUT,PATCH,DELETE,OPTIONS"),
            ("access-control-allow-headers", "*"),
            ("access-control-max-age", "600"),
        ] {
            assert_eq!(response.header(name), Some(value));
        }
        let request = Request::new(Method::Options, "/").with_header("Access-Control-Request-Headers", "x-a, x-b");
        assert_eq!(sealed(&request).header("access-control-allow-headers"), Some("x-a, x-b"));
    }

    #[test]
    fn a_request_id_of_20_to_200_characters_comes_back_and_any_other_is_replaced() {
        for (length, is_kept) in [(0, false), (19, false), (20, true), (200, true), (201, false)] {
            let id = "x".repeat(length);
            let response = sealed(&Request::new(Method::Get, "/").with_header("x-request-id", &id));
            let answered = response.header("x-request-id").unwrap();
            assert_eq!(answered == id, is_kept, "{length}");
            assert!((20..=200).contains(&answered.len()));
        }
    }

    #[test]
    fn a_new_request_id_does_not_tell_the_random_bits() {
        let id = request_id(&CONTEXT);
        assert_eq!((id.len(), id.contains("0000000000")), (32, false));
        assert_ne!(id, request_id(&Context { random: 8, ..CONTEXT }));
    }

    #[test]
    fn what_a_response_says_itself_is_not_said_twice() {
        let response = Response::new(200).with_header("access-control-max-age", "3600");
        let response = Envelope::of_none(&CONTEXT).seal(response);
        assert_eq!(response.headers.iter().filter(|(name, _)| name == "access-control-max-age").count(), 1);
        assert_eq!(response.header("access-control-max-age"), Some("3600"));
    }
}
