//! The table of routes: what `routes!` makes of rows is both the match that serves requests and the list that everything else is
//! derived from (who may call what, the description of the API, the walks of tests).
//!
//! Invariant: a route without a class does not compile, and no route is served that is not in [`all`].

use super::dialect::Dialect;
use std::iter::zip;
use std::sync::LazyLock;

/// What a caller must be allowed to do, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Anybody.
    Public,
    /// Read sessions and agents.
    Read,
    /// Change sessions: append, mark, stop, archive.
    Write,
    /// Change agents and teams.
    Manage,
    /// Run the server: keys.
    Admin,
}

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRow {
    /// By name, upper case.
    pub method: &'static str,
    /// The path; `:name` stands for one segment.
    pub pattern: &'static str,
    /// Whose route it is.
    pub dialect: Dialect,
    /// Who may call it.
    pub class: Class,
    /// Its answer comes piece by piece, and ends when an agent or somebody else ends it.
    pub streams: bool,
}

/// All routes of the server.
pub fn all() -> impl Iterator<Item = &'static RouteRow> {
    [
        super::routes::SOCKETS,
        super::routes::ROUTES,
        super::routes::EXCHANGES,
        super::routes::CONSOLE,
        super::admin::ROUTES,
        super::storage::ROUTES,
        super::fleetlm::ROUTES,
        super::teammate::ROUTES,
        super::teammate::teams::ROUTES,
        super::teammate::conversations::ROUTES,
        super::agenfleet::ROUTES,
        super::agenfleet::history::ROUTES,
        super::hapi::ROUTES,
    ]
    .into_iter()
    .flatten()
}

/// The routes whose pattern `path` (decoded segments) fits, in the order of [`all`].
pub fn at(path: &[&str]) -> impl Iterator<Item = &'static RouteRow> {
    let fits =
        move |split: &SplitRow| zip(&split.pattern, path).all(|(part, segment)| part.is_none_or(|own| own == *segment));
    let of_its_length = BY_LENGTH.get(path.len()).map_or(&[][..], Vec::as_slice);
    of_its_length.iter().filter(move |split| fits(split)).map(|split| split.row)
}

/// A route with the parts of its pattern; `None` stands for any segment.
struct SplitRow {
    row: &'static RouteRow,
    pattern: Vec<Option<&'static str>>,
}

/// All routes by how many segments they have: every request with a token is looked up, so no pattern is split for it.
static BY_LENGTH: LazyLock<Vec<Vec<SplitRow>>> = LazyLock::new(|| {
    let mut by_length: Vec<Vec<SplitRow>> = Vec::new();
    for row in all() {
        let parts = row.pattern.split('/').filter(|part| !part.is_empty());
        let pattern: Vec<_> = parts.map(|part| (!part.starts_with(':')).then_some(part)).collect();
        by_length.resize_with(by_length.len().max(pattern.len() + 1), Vec::new);
        by_length[pattern.len()].push(SplitRow { row, pattern });
    }
    by_length
});

/// Makes a function from method and path to `(row, route)`, and `ROUTES`, its rows:
///
/// ```text
/// routes! {
///     pub fn endpoint<'a>(Fleetlm below "/api") -> Endpoint<'a>;
///
///     GET "sessions"/id/"messages", Read => Endpoint::ReadMessages(id);
///     GET "events", Read streams => Endpoint::Events;
/// }
/// ```
///
/// The function is given the decoded segments below the mount; rows are tried in their order. `below "/api" or ""` has the rows of a second mount
/// too, so that what is decided by them (who may) holds below both.
macro_rules! routes {
    (@method GET) => { $crate::protocol::http::Method::Get };
    (@method POST) => { $crate::protocol::http::Method::Post };
    (@method PUT) => { $crate::protocol::http::Method::Put };
    (@method PATCH) => { $crate::protocol::http::Method::Patch };
    (@method DELETE) => { $crate::protocol::http::Method::Delete };
    (@segment $text:literal) => { concat!("/", $text) };
    (@segment $name:ident) => { concat!("/:", stringify!($name)) };
    (@streams) => { false };
    (@streams streams) => { true };
    (@row $dialect:ident $mount:literal $verb:ident [$($segment:tt)+] $class:ident [$($streams:ident)?]) => {
        $crate::api::table::RouteRow {
            method: stringify!($verb),
            pattern: concat!($mount, $($crate::api::table::routes!(@segment $segment)),+),
            dialect: $crate::api::dialect::Dialect::$dialect,
            class: $crate::api::table::Class::$class,
            streams: $crate::api::table::routes!(@streams $($streams)?),
        }
    };
    (@serve
        $(#[$meta:meta])*
        $visible:vis fn $name:ident<$life:lifetime>($dialect:ident below $mount:literal) -> $route:ty;
        $($verb:ident $($segment:tt)/+, $class:ident $($streams:ident)? => $made:expr;)*
    ) => {
        $(#[$meta])*
        $visible fn $name<$life>(
            method: &$crate::protocol::http::Method,
            path: &[&$life str],
        ) -> Option<(&'static $crate::api::table::RouteRow, $route)> {
            match (method, path) {
                $(($crate::api::table::routes!(@method $verb), [$($segment),+]) => Some((
                    &$crate::api::table::routes!(@row $dialect $mount $verb [$($segment)+] $class [$($streams)?]),
                    $made,
                )),)*
                _ => None,
            }
        }
    };
    (
        $(#[$meta:meta])*
        $visible:vis fn $name:ident<$life:lifetime>($dialect:ident below $mount:literal or $alias:literal) -> $route:ty;
        $($verb:ident $($segment:tt)/+, $class:ident $($streams:ident)? => $made:expr;)*
    ) => {
        /// The rows of the routes of this file, below both mounts.
        pub const ROUTES: &[$crate::api::table::RouteRow] = &[
            $($crate::api::table::routes!(@row $dialect $mount $verb [$($segment)+] $class [$($streams)?]),)*
            $($crate::api::table::routes!(@row $dialect $alias $verb [$($segment)+] $class [$($streams)?]),)*
        ];

        $crate::api::table::routes! {
            @serve
            $(#[$meta])*
            $visible fn $name<$life>($dialect below $mount) -> $route;
            $($verb $($segment)/+, $class $($streams)? => $made;)*
        }
    };
    (
        $(#[$meta:meta])*
        $visible:vis fn $name:ident<$life:lifetime>($dialect:ident below $mount:literal) -> $route:ty;
        $($verb:ident $($segment:tt)/+, $class:ident $($streams:ident)? => $made:expr;)*
    ) => {
        /// The rows of the routes of this file.
        pub const ROUTES: &[$crate::api::table::RouteRow] = &[$(
            $crate::api::table::routes!(@row $dialect $mount $verb [$($segment)+] $class [$($streams)?])
        ),*];

        $crate::api::table::routes! {
            @serve
            $(#[$meta])*
            $visible fn $name<$life>($dialect below $mount) -> $route;
            $($verb $($segment)/+, $class $($streams)? => $made;)*
        }
    };
}
pub(super) use routes;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Context, Route, route};
    use crate::protocol::http::{Method, Request};
    use crate::session::SessionId;
    use crate::shard::Now;
    use std::collections::HashSet;

    const CONTEXT: Context = Context { now: Now { unix_us: 1_761_216_480_123_456, mono_us: 5 }, random: 42, shards: 4 };

    /// A request of this row; ids are such that every check of the path passes.
    fn request(row: &RouteRow) -> Request {
        let id = SessionId::from_parts(1_761_216_480_123, 42).to_string();
        let segments = row.pattern.split('/').map(|part| match part {
            ":file" => "main.js",
            part if part.starts_with(':') => id.as_str(),
            part => part,
        });
        Request::new(Method::parse(row.method), &segments.collect::<Vec<_>>().join("/"))
    }

    #[test]
    fn rows_say_what_the_server_serves_and_no_two_say_the_same() {
        let mut seen = HashSet::new();
        for row in all() {
            assert!(seen.insert((row.method, row.pattern)), "{row:?} is there twice");
            assert!(row.pattern == "/" || row.pattern.starts_with('/') && !row.pattern.ends_with('/'), "{row:?}");
            if let Route::Respond(response) = route(&request(row), &CONTEXT) {
                let body = String::from_utf8_lossy(&response.body).into_owned();
                assert!(!body.contains("Not Found"), "{row:?} is not served");
            }
        }
    }

    #[test]
    fn a_path_finds_the_rows_that_its_segments_fit_and_no_others() {
        let found = |path: &str| {
            let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
            at(&segments).map(|row| (row.method, row.pattern)).collect::<Vec<_>>()
        };
        for row in all() {
            assert!(found(row.pattern).contains(&(row.method, row.pattern)), "{row:?}");
            assert!(!found(&format!("{}/more", row.pattern)).contains(&(row.method, row.pattern)), "{row:?}");
        }
        assert_eq!(found("/"), [("GET", "/")]);
        assert_eq!(
            found("/api/sessions/x/messages"),
            [("GET", "/api/sessions/:id/messages"), ("POST", "/api/sessions/:id/messages")]
        );
        assert_eq!(found("/api/sessions/x/nothing"), []);
        assert_eq!(found(&"/x".repeat(40)), []);
    }

    #[test]
    fn a_path_of_a_row_serves_no_other_method_than_its_rows_say() {
        for row in all().filter(|row| !row.pattern.starts_with("/socket/")) {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
                let is_row = all().any(|other| (other.method, other.pattern) == (method, row.pattern));
                let mut request = request(row);
                request.method = Method::parse(method);
                let is_served = match route(&request, &CONTEXT) {
                    Route::Respond(response) => !String::from_utf8_lossy(&response.body).contains("Not Found"),
                    _ => true,
                };
                assert_eq!(is_served, is_row, "{method} {}", row.pattern);
            }
        }
    }

    #[test]
    fn only_probes_the_description_the_ways_to_a_token_and_the_console_are_public_and_only_sockets_streams_and_events_go_on()
     {
        let public: Vec<_> = all().filter(|row| row.class == Class::Public).map(|row| row.pattern).collect();
        let of_tokens = ["/api/auth", "/api/auth/login"];
        let of_itself = ["/health/live", "/health/ready", "/api/openapi.json"];
        assert_eq!(public, [&of_itself[..], &of_tokens, &["/", "/console/:file"]].concat());
        let streams: Vec<_> = all().filter(|row| row.streams).map(|row| row.pattern).collect();
        let answers = ["/api/agents/:id/chat/stream", "/agents/:id/chat/stream"];
        assert_eq!(streams, [&["/socket/websocket"][..], &answers, &["/api/chat/ws", "/api/events"]].concat());
    }

    routes! {
        /// Rows of all shapes.
        fn shapes<'a>(Hapi below "/mount") -> (u32, &'a str);

        GET "one", Public => (1, "");
        GET "two"/name, Read => (2, name);
        GET "two"/name/"three", Admin streams => (3, name);
        PATCH "two"/name, Manage => (4, name);
    }

    #[test]
    fn a_macros_rows_and_its_match_are_the_same_routes() {
        let expected = [
            ("GET", "/mount/one", Class::Public, false),
            ("GET", "/mount/two/:name", Class::Read, false),
            ("GET", "/mount/two/:name/three", Class::Admin, true),
            ("PATCH", "/mount/two/:name", Class::Manage, false),
        ];
        assert_eq!(ROUTES.len(), expected.len());
        for (row, (method, pattern, class, streams)) in ROUTES.iter().zip(expected) {
            assert_eq!(*row, RouteRow { method, pattern, dialect: Dialect::Hapi, class, streams });
        }
        let found = |method, path: &[&'static str]| shapes(&method, path);
        assert_eq!(found(Method::Get, &["one"]), Some((&ROUTES[0], (1, ""))));
        assert_eq!(found(Method::Get, &["two", "x", "three"]), Some((&ROUTES[2], (3, "x"))));
        assert_eq!(found(Method::Patch, &["two", "x"]), Some((&ROUTES[3], (4, "x"))));
        assert_eq!(found(Method::Post, &["one"]), None);
        assert_eq!(found(Method::Get, &["one", "x"]), None);
    }
}
