//! What every response carries whatever it says: the CORS headers of contract 1.6 and `x-request-id` (1.1).

use super::Context;
use crate::protocol::http::{Request, Response};
use xxhash_rust::xxh3::xxh3_128;

const METHODS: &str = "GET,POST,PUT,PATCH,DELETE,OPTIONS";
/// Seconds that a browser remembers a preflight.
const MAX_AGE_S: &str = "600";

/// The headers that wait for a response. Each response must be [sealed](Self::seal) once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    request_id: String,
    allow_headers: String,
}

impl Envelope {
    /// The envelope for the answer to `request`: its own id when it brings one of 20 to 200 characters, else a new one.
    pub fn of(request: &Request, context: &Context) -> Self {
        let own = request.headers.first("x-request-id").filter(|id| (20..=200).contains(&id.chars().count()));
        let asked = request.headers.first("access-control-request-headers").filter(|names| !names.is_empty());
        Self {
            request_id: own.map_or_else(|| request_id(context), str::to_owned),
            allow_headers: asked.unwrap_or("*").to_owned(),
        }
    }

    /// The envelope for the answer to bytes that were no request.
    pub fn of_none(context: &Context) -> Self {
        Self { request_id: request_id(context), allow_headers: "*".to_owned() }
    }

    /// Puts the response into the envelope.
    pub fn seal(self, response: Response) -> Response {
        response
            .with_header("access-control-allow-origin", "*")
            .with_header("access-control-allow-methods", METHODS)
            .with_header("access-control-allow-headers", self.allow_headers)
            .with_header("access-control-max-age", MAX_AGE_S)
            .with_header("x-request-id", self.request_id)
    }
}

/// 32 hexadecimal digits. Hashed, so that the id of a request tells nothing of the ids and tokens made with the same bits.
fn request_id(context: &Context) -> String {
    format!("{:032x}", xxh3_128(&context.random.to_be_bytes()))
}
