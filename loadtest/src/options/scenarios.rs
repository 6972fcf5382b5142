//! The scenarios and their options. Defaults are those of the original's k6 scripts where it had one: docs/loadtest.md.

use super::values::{chunk_bytes, content_bytes, count, count_or_none, mebibytes, rate, window_seconds};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use std::time::Duration;

/// The scenarios.
#[derive(Clone, Debug, Serialize, Subcommand)]
#[serde(untagged)]
pub enum Scenario {
    /// WebSocket: each connection appends to a session of its own with some sends in flight; latency from send to ack.
    HotPath(HotPath),
    /// REST on keep-alive connections: POST a message, GET the latest; a session each.
    Rest(Rest),
    /// Reads whole sessions again and again: time to the first and the last message, messages and bytes per second.
    Replay(Replay),
    /// An agent streams chunks to everybody on its sessions' channels: latency from the agent's write to each reader's read.
    Fanout(Fanout),
    /// Creates sessions: rate, latency, and the server's memory per idle session and per idle socket.
    Sessions(Sessions),
    /// Kills the server (SIGKILL) under load, starts it again, and reads back every acknowledged message. Needs --spawn.
    Durability(Durability),
    /// Everything at once at a steady rate, for long: does anything grow or slow down?
    Soak(Soak),
    /// Runs each scenario for a moment: does everything work? Not for numbers.
    Smoke,
}

impl Scenario {
    /// Its name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::HotPath(_) => "hot-path",
            Self::Rest(_) => "rest",
            Self::Replay(_) => "replay",
            Self::Fanout(_) => "fanout",
            Self::Sessions(_) => "sessions",
            Self::Durability(_) => "durability",
            Self::Soak(_) => "soak",
            Self::Smoke => "smoke",
        }
    }

    /// Whether the server must be one that it can stop and start again.
    pub fn needs_own_server(&self) -> bool {
        matches!(self, Self::Durability(_) | Self::Replay(Replay { cold: true, .. }))
    }

    /// Whether it ends with its work and not after a time.
    pub fn is_open_ended(&self) -> bool {
        matches!(self, Self::Durability(_) | Self::Sessions(_) | Self::Replay(Replay { cold: true, .. }))
    }

    /// Time that it may need beside setting up, warm-up and window.
    pub fn time_beyond_window(&self) -> Duration {
        match self {
            Self::Durability(options) => options.time_max(),
            Self::Sessions(_) => Duration::from_secs(900),
            _ => Duration::ZERO,
        }
    }

    /// How often a line tells how it goes; `None` when only the bar does.
    pub fn interval(&self) -> Option<Duration> {
        match self {
            Self::Soak(soak) => Some(Duration::from_secs_f64(soak.interval)),
            _ => None,
        }
    }

    /// Connections of this program.
    pub fn connections(&self) -> usize {
        match self {
            Self::HotPath(options) => options.connections,
            Self::Rest(options) => options.connections,
            Self::Replay(options) => options.readers,
            // A webhook has a connection for each session.
            Self::Fanout(options) => options.subscribers + options.sessions,
            Self::Sessions(options) => options.connections + options.sockets,
            // A client reads back over a second one.
            Self::Durability(options) => 2 * (options.sockets + options.rest),
            Self::Soak(options) => {
                options.sockets + options.rest + options.subscribers + options.replayers + options.churners
            }
            Self::Smoke => 0,
        }
    }

    /// Seconds that are measured when nothing is said.
    pub fn duration_default(&self) -> f64 {
        if matches!(self, Self::Soak(_)) { 600.0 } else { 10.0 }
    }
}

/// Options of `hot-path`.
#[derive(Args, Clone, Debug, Serialize)]
pub struct HotPath {
    /// Connections, each with its session.
    #[arg(long, default_value_t = 20, value_name = "COUNT", value_parser = count)]
    pub connections: usize,
    /// Sends of one connection that wait for their ack at the same time (closed loop).
    #[arg(long, default_value_t = 5, value_name = "COUNT", value_parser = count)]
    pub depth: usize,
    /// Bytes of a message's content.
    #[arg(long, default_value_t = 256, value_name = "BYTES", value_parser = content_bytes)]
    pub size: usize,
    /// Sends per second of all connections: an open loop, latency from the time a send was due.
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    pub rate: Option<f64>,
}

/// What a `rest` connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Mix {
    /// POST and GET in turn.
    Mixed,
    /// POST only.
    Post,
    /// GET only, of what the warm-up posted.
    Get,
}

/// Options of `rest`.
#[derive(Args, Clone, Debug, Serialize)]
pub struct Rest {
    /// Keep-alive connections, each with its session.
    #[arg(long, default_value_t = 50, value_name = "COUNT", value_parser = count)]
    pub connections: usize,
    /// Bytes of a message's content.
    #[arg(long, default_value_t = 1024, value_name = "BYTES", value_parser = content_bytes)]
    pub size: usize,
    /// Requests to make.
    #[arg(long, value_enum, default_value_t = Mix::Mixed)]
    pub mix: Mix,
    /// Messages of a GET.
    #[arg(long, default_value_t = 50, value_name = "COUNT", value_parser = count)]
    pub limit: usize,
    /// Requests per second of all connections: an open loop, latency from the time a request was due.
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    pub rate: Option<f64>,
}

/// How `replay` reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// GET with `after_seq`, page by page.
    Get,
    /// Join with `last_seq`, page by page.
    Join,
    /// One after the other.
    Both,
}

/// Options of `replay`.
#[derive(Args, Clone, Debug, Serialize)]
pub struct Replay {
    /// Sessions to fill and read.
    #[arg(long, default_value_t = 5, value_name = "COUNT", value_parser = count)]
    pub sessions: usize,
    /// Messages of each.
    #[arg(long, default_value_t = 10_000, value_name = "COUNT", value_parser = count)]
    pub messages: usize,
    /// Bytes of a message's content.
    #[arg(long, default_value_t = 256, value_name = "BYTES", value_parser = content_bytes)]
    pub size: usize,
    /// Readers at the same time, one connection each.
    #[arg(long, default_value_t = 5, value_name = "COUNT", value_parser = count)]
    pub readers: usize,
    /// Messages of a page.
    #[arg(long, default_value_t = 1000, value_name = "COUNT", value_parser = count)]
    pub page: usize,
    /// How to read.
    #[arg(long, value_enum, default_value_t = By::Get)]
    pub by: By,
    /// From the disk: the server is started again, the page cache of its files dropped, and each session read once. Needs
    /// --spawn.
    #[arg(long)]
    pub cold: bool,
}

/// Options of `fanout`.
#[derive(Args, Clone, Debug, Serialize)]
pub struct Fanout {
    /// Reading sockets, spread evenly over the sessions.
    #[arg(long, default_value_t = 1000, value_name = "COUNT", value_parser = count)]
    pub subscribers: usize,
    /// Sessions with a running answer.
    #[arg(long, default_value_t = 10, value_name = "COUNT", value_parser = count)]
    pub sessions: usize,
    /// Bytes of a chunk.
    #[arg(long, default_value_t = 200, value_name = "BYTES", value_parser = chunk_bytes)]
    pub size: usize,
    /// Chunks per second that the agent writes, over all sessions (open loop).
    #[arg(long, default_value_t = 200.0, value_name = "PER_SECOND", value_parser = rate, conflicts_with = "window")]
    pub rate: f64,
    /// As fast as it goes instead: chunks of one session that may be on their way at the same time (closed loop).
    #[arg(long, value_name = "COUNT", value_parser = count)]
    pub window: Option<usize>,
    /// The agent is a webhook of this program, which the server calls: one running answer in each session.
    #[arg(long, conflicts_with = "window")]
    pub webhook: bool,
}

/// Options of `sessions`.
#[derive(Args, Clone, Debug, Serialize)]
pub struct Sessions {
    /// Sessions to create.
    #[arg(long, default_value_t = 10_000, value_name = "COUNT", value_parser = count)]
    pub count: usize,
    /// Keep-alive connections.
    #[arg(long, default_value_t = 8, value_name = "COUNT", value_parser = count)]
    pub connections: usize,
    /// Requests in flight on each.
    #[arg(long, default_value_t = 16, value_name = "COUNT", value_parser = count)]
    pub pipeline: usize,
    /// Idle sockets to open afterwards, each joined to one of the sessions. Beyond 28,000 the server must be on a
    /// loopback address.
    #[arg(long, default_value_t = 0, value_name = "COUNT", value_parser = count_or_none)]
    pub sockets: usize,
}

/// Options of `durability`.
#[derive(Args, Clone, Debug, Serialize)]
pub struct Durability {
    /// Times the server is killed.
    #[arg(long, default_value_t = 5, value_name = "COUNT", value_parser = count)]
    pub cycles: usize,
    /// Each kill comes at a random time up to so many seconds after everybody is under load.
    #[arg(long, default_value_t = 3.0, value_name = "SECONDS", value_parser = window_seconds)]
    pub kill_within: f64,
    /// Seed of these times; a random one is chosen and printed.
    #[arg(long)]
    pub seed: Option<u64>,
    /// WebSocket clients, each with a session.
    #[arg(long, default_value_t = 10, value_name = "COUNT", value_parser = count)]
    pub sockets: usize,
    /// Sends of a WebSocket client that wait for their ack at the same time.
    #[arg(long, default_value_t = 5, value_name = "COUNT", value_parser = count)]
    pub depth: usize,
    /// REST clients, each with a session, one request at a time.
    #[arg(long, default_value_t = 10, value_name = "COUNT", value_parser = count)]
    pub rest: usize,
    /// Bytes of a message's content.
    #[arg(long, default_value_t = 256, value_name = "BYTES", value_parser = content_bytes)]
    pub size: usize,
}

impl Durability {
    /// Generous: load, restart (30 s at the most) and reading back of every cycle.
    fn time_max(&self) -> Duration {
        Duration::from_secs_f64((self.kill_within + 120.0) * self.cycles as f64 + 120.0)
    }
}

/// Options of `soak`.
#[derive(Args, Clone, Debug, Serialize)]
pub struct Soak {
    /// Operations per second of all kinds together: an open loop, latency from the time one was due.
    #[arg(long, default_value_t = 1000.0, value_name = "PER_SECOND", value_parser = rate)]
    pub rate: f64,
    /// WebSocket writers, each with a session.
    #[arg(long, default_value_t = 20, value_name = "COUNT", value_parser = count)]
    pub sockets: usize,
    /// Connections of the REST mix, each with a session.
    #[arg(long, default_value_t = 10, value_name = "COUNT", value_parser = count)]
    pub rest: usize,
    /// Readers of an agent's chunks, over five sessions.
    #[arg(long, default_value_t = 50, value_name = "COUNT", value_parser = count)]
    pub subscribers: usize,
    /// Clients that join a session of 1,000 messages and read all of it.
    #[arg(long, default_value_t = 4, value_name = "COUNT", value_parser = count)]
    pub replayers: usize,
    /// Clients that create a session, use it and delete it.
    #[arg(long, default_value_t = 4, value_name = "COUNT", value_parser = count)]
    pub churners: usize,
    /// Bytes of a message's content and of a chunk.
    #[arg(long, default_value_t = 256, value_name = "BYTES", value_parser = chunk_bytes)]
    pub size: usize,
    /// Seconds between two lines that tell how it goes.
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS", value_parser = window_seconds)]
    pub interval: f64,
    /// Fail (exit code 2) when the server's own memory has grown by more from the first quarter to the last. Mapped log
    /// segments, which are page cache, are not counted.
    #[arg(long, value_name = "MIB", value_parser = mebibytes)]
    pub rss_growth_max: Option<f64>,
}
