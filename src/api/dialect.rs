//! Which of the four chat APIs a request speaks. Pure and total: the path decides, and where two APIs share one path, the words
//! of the request do.
//!
//! Invariant: every documented request of a product lands in its own dialect, and a request that uses the words of two is refused and
//! never guessed at. Not here: routes, and what a dialect says.

use super::error::{ApiError, Kind};
use super::params::Params;
use crate::protocol::http::{Method, Request};

/// A chat API that this server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The native one, seeds 000 and 001.
    Fleetlm,
    /// AI Teammate, seed 002.
    Teammate,
    /// AgenFleet, seed 003.
    Agenfleet,
    /// HAPI, seed 004.
    Hapi,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Fleetlm, Self::Teammate, Self::Agenfleet, Self::Hapi];

    /// The product's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fleetlm => "FleetLM",
            Self::Teammate => "AI Teammate",
            Self::Agenfleet => "AgenFleet",
            Self::Hapi => "HAPI",
        }
    }

    /// The dialect whose errors a path is answered with, whether or not there is such a route. `/api/sessions/:id/messages`, which two
    /// share, counts as FleetLM's here.
    pub fn of_path(path: &[&str]) -> Self {
        match path {
            ["api", "auth", "login"] | ["api", "chat", ..] => Self::Agenfleet,
            ["teams" | "agents", ..] | ["api", "teams", ..] => Self::Teammate,
            ["api", "agents", _, "chat" | "history" | "conversations" | "inbox" | "mark-read", ..] => Self::Teammate,
            ["api", "auth" | "events"] => Self::Hapi,
            ["api", "sessions", _, "upload" | "files" | "abort", ..] => Self::Hapi,
            _ => Self::Fleetlm,
        }
    }

    /// The dialect of a request to `/api/sessions/:id/messages`. `method` is the one that the request is served as, `listener` the
    /// dialect that the operator has pinned; the header `x-dialect` wins over that.
    ///
    /// # Errors
    /// [`Kind::DialectUnclear`] for words of two dialects.
    pub fn of_messages_request(
        request: &Request,
        method: &Method,
        params: &Params<'_>,
        listener: Option<Self>,
    ) -> Result<Self, ApiError> {
        let pinned = request.headers.first("x-dialect").and_then(pin).or(listener);
        let scheme = request.headers.first("authorization").and_then(|value| value.split(' ').next());
        let has_bearer = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"));
        of_messages(method, params.query_names(), params.body_names(), has_bearer, pinned).map_err(|clash| {
            let error = ApiError::about(Kind::DialectUnclear, "{fleetlm}", clash.fleetlm);
            error.fill("{hapi}", clash.hapi)
        })
    }
}

/// The dialect that the header `x-dialect` pins: one of the two that share a path.
pub fn pin(name: &str) -> Option<Dialect> {
    match name.trim().to_ascii_lowercase().as_str() {
        "fleetlm" => Some(Dialect::Fleetlm),
        "hapi" => Some(Dialect::Hapi),
        _ => None,
    }
}

/// Fields of two dialects in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clash {
    /// One of FleetLM's.
    pub fleetlm: &'static str,
    /// One of HAPI's.
    pub hapi: &'static str,
}

/// The words of a query. `before_seq` is an addition of ours to FleetLM.
const FLEETLM_QUERY: &[&str] = &["after_seq", "before_seq"];
const HAPI_QUERY: &[&str] = &["beforeSeq", "beforeAt", "afterSeq", "afterAt", "untilSeq", "untilAt", "epoch"];

/// The words of a body. The last two of FleetLM's are additions of ours.
const FLEETLM_BODY: &[&str] =
    &["user_id", "agent_id", "sender_id", "kind", "content", "metadata", "idempotency_key", "expected_seq"];
const HAPI_BODY: &[&str] = &["text", "localId", "attachments", "scheduledAt", "deliveryMode"];

/// The decision table of the path that FleetLM and HAPI share: a pin, else the words of the request, else whether it brings a bearer
/// token, which HAPI always asked for and FleetLM never did. Other methods than GET and POST have no route in either, and are FleetLM's.
///
/// # Errors
/// [`Clash`] for words of both.
pub fn of_messages<'a>(
    method: &Method,
    query: impl IntoIterator<Item = &'a str>,
    body: impl IntoIterator<Item = &'a str>,
    has_bearer: bool,
    pinned: Option<Dialect>,
) -> Result<Dialect, Clash> {
    if let Some(pinned) = pinned {
        return Ok(pinned);
    }
    let (fleetlm, hapi) = match method {
        Method::Get | Method::Head => words(query, FLEETLM_QUERY, HAPI_QUERY),
        Method::Post => words(body, FLEETLM_BODY, HAPI_BODY),
        _ => return Ok(Dialect::Fleetlm),
    };
    match (fleetlm, hapi) {
        (Some(fleetlm), Some(hapi)) => Err(Clash { fleetlm, hapi }),
        (Some(_), None) => Ok(Dialect::Fleetlm),
        (None, Some(_)) => Ok(Dialect::Hapi),
        (None, None) => Ok(if has_bearer { Dialect::Hapi } else { Dialect::Fleetlm }),
    }
}

/// The first word of each vocabulary among `names`.
fn words<'a>(
    names: impl IntoIterator<Item = &'a str>,
    fleetlm: &[&'static str],
    hapi: &[&'static str],
) -> (Option<&'static str>, Option<&'static str>) {
    let known = |vocabulary: &[&'static str], name| vocabulary.iter().copied().find(|word| *word == name);
    names.into_iter().fold((None, None), |(first, second), name| {
        (first.or_else(|| known(fleetlm, name)), second.or_else(|| known(hapi, name)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Dialect::{Agenfleet, Fleetlm, Hapi, Teammate};

    #[test]
    fn a_path_has_one_dialect_whether_or_not_there_is_such_a_route() {
        for (path, dialect) in [
            ("", Fleetlm),
            ("health/live", Fleetlm),
            ("socket/websocket", Fleetlm),
            ("api", Fleetlm),
            ("api/none", Fleetlm),
            ("api/agents", Fleetlm),
            ("api/agents/a", Fleetlm),
            ("api/agents/a/deliveries", Fleetlm),
            ("api/sessions/s/messages", Fleetlm),
            ("api/sessions/s/read", Fleetlm),
            ("agents", Teammate),
            ("agents/a/chat/stream", Teammate),
            ("teams/t/chat", Teammate),
            ("api/teams", Teammate),
            ("api/teams/t/agents/a", Teammate),
            ("api/agents/a/chat", Teammate),
            ("api/agents/a/chat/stream", Teammate),
            ("api/agents/a/history", Teammate),
            ("api/agents/a/conversations/c", Teammate),
            ("api/agents/a/inbox", Teammate),
            ("api/agents/a/mark-read", Teammate),
            ("api/chat", Agenfleet),
            ("api/chat/message", Agenfleet),
            ("api/chat/ws", Agenfleet),
            ("api/auth/login", Agenfleet),
            ("api/auth", Hapi),
            ("api/events", Hapi),
            ("api/sessions/s/upload/delete", Hapi),
            ("api/sessions/s/files/h/n", Hapi),
            ("api/sessions/s/abort", Hapi),
        ] {
            let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
            assert_eq!(Dialect::of_path(&segments), dialect, "{path}");
        }
    }

    /// Every set of words of both vocabularies, with every pin, with a token and without, against the rules said another way.
    #[test]
    fn the_decision_is_that_of_the_rules_for_every_set_of_words() {
        let mut rows = 0;
        for (method, fleetlm, hapi) in
            [(Method::Get, FLEETLM_QUERY, HAPI_QUERY), (Method::Post, FLEETLM_BODY, HAPI_BODY)]
        {
            let words = [fleetlm, hapi].concat();
            for set in 0..1u32 << words.len() {
                let chosen = |place: &usize| set >> place & 1 == 1;
                let names: Vec<&str> = (0..words.len()).filter(chosen).map(|place| words[place]).collect();
                let (snakes, camels) = (set & ((1 << fleetlm.len()) - 1), set >> fleetlm.len());
                for (has_bearer, pinned) in [false, true]
                    .into_iter()
                    .flat_map(|bearer| [None, Some(Fleetlm), Some(Hapi)].map(|pinned| (bearer, pinned)))
                {
                    let decided = match method {
                        Method::Get => of_messages(&method, names.clone(), ["text", "kind"], has_bearer, pinned),
                        _ => of_messages(&method, ["after_seq", "beforeSeq"], names.clone(), has_bearer, pinned),
                    };
                    rows += 1;
                    let expected = match pinned {
                        Some(pinned) => pinned,
                        None if snakes > 0 && camels > 0 => {
                            let clash = decided.unwrap_err();
                            assert!(names.contains(&clash.fleetlm) && fleetlm.contains(&clash.fleetlm), "{names:?}");
                            assert!(names.contains(&clash.hapi) && hapi.contains(&clash.hapi), "{names:?}");
                            continue;
                        }
                        None if snakes > 0 => Fleetlm,
                        None if camels > 0 || has_bearer => Hapi,
                        None => Fleetlm,
                    };
                    assert_eq!(decided, Ok(expected), "{method} {names:?} {has_bearer} {pinned:?}");
                }
            }
        }
        assert_eq!(rows, 6 * ((1 << 9) + (1 << 13)));
    }

    #[test]
    fn other_methods_and_other_words_change_nothing() {
        for method in [Method::Put, Method::Delete, Method::Other("BREW".into())] {
            assert_eq!(of_messages(&method, ["beforeSeq"], ["text"], true, None), Ok(Fleetlm));
        }
        for (has_bearer, dialect) in [(false, Fleetlm), (true, Hapi)] {
            assert_eq!(of_messages(&Method::Get, ["limit", "AFTER_SEQ", ""], [], has_bearer, None), Ok(dialect));
            assert_eq!(of_messages(&Method::Post, [], ["Text", "localid", "_json"], has_bearer, None), Ok(dialect));
        }
        assert_eq!(of_messages(&Method::Head, ["beforeSeq"], [], false, None), Ok(Hapi));
    }

    fn decided(request: &Request, listener: Option<Dialect>) -> Result<Dialect, ApiError> {
        let params = Params::of(request).unwrap();
        Dialect::of_messages_request(request, &request.method, &params, listener)
    }

    fn post(body: &str) -> Request {
        Request::new(Method::Post, "/api/sessions/s/messages")
            .with_header("content-type", "application/json")
            .with_body(body)
    }

    fn get(query: &str) -> Request {
        Request::new(Method::Get, &format!("/api/sessions/s/messages{query}"))
    }

    #[test]
    fn the_documented_requests_of_both_products_land_in_their_own_dialect() {
        for (request, dialect) in [
            (get("?after_seq=0&limit=50"), Fleetlm),
            (get(""), Fleetlm),
            (post(r#"{"user_id":"alice","kind":"text","content":{"text":"hi"},"metadata":{}}"#), Fleetlm),
            (post(r#"{"agent_id":"bot","content":{"text":"hi"}}"#), Fleetlm),
            (get("?limit=50").with_header("authorization", "Bearer a.b.c"), Hapi),
            (get("?limit=50&beforeSeq=42").with_header("authorization", "Bearer a.b.c"), Hapi),
            (post(r#"{"text":"hi","localId":"l","attachments":[]}"#).with_header("authorization", "bearer t"), Hapi),
            (post(r#"{"text":"hi"}"#), Hapi),
        ] {
            assert_eq!(decided(&request, None), Ok(dialect), "{request:?}");
        }
        let basic = get("").with_header("authorization", "Basic eDp5");
        assert_eq!(decided(&basic, None), Ok(Fleetlm));
    }

    #[test]
    fn a_header_pins_a_request_and_wins_over_the_listener() {
        let both = post(r#"{"text":"hi","kind":"text"}"#);
        assert_eq!(decided(&both, Some(Hapi)), Ok(Hapi));
        assert_eq!(decided(&both.clone().with_header("x-dialect", " FleetLM"), Some(Hapi)), Ok(Fleetlm));
        assert_eq!(decided(&get("").with_header("x-dialect", "hapi"), None), Ok(Hapi));
        assert_eq!(decided(&get("").with_header("x-dialect", "teammate"), None), Ok(Fleetlm));
        let error = decided(&both, None).unwrap_err().respond(Hapi);
        let said = r#"{"error":"kind and text belong to different APIs: send one of them, or the header x-dialect"}"#;
        assert_eq!((error.status, std::str::from_utf8(&error.body).unwrap()), (400, said));
    }
}
