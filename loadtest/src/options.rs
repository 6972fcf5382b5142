//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Measures a FleetLM server and verifies every answer while it does.
///
/// Ends with 0 when all went well, 1 when a promise was broken (lost, duplicated, reordered or altered messages), 2 when requests failed or
/// the run could not be made.
#[derive(Clone, Debug, Parser)]
#[command(name = "loadtest", version)]
pub struct Options {
    /// What to measure.
    #[command(subcommand)]
    pub scenario: Scenario,
    /// How.
    #[command(flatten)]
    pub common: Common,
}

/// Options of all scenarios.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// The server to measure.
    #[arg(long, global = true, default_value = "http://127.0.0.1:4000", conflicts_with = "spawn")]
    pub url: String,
    /// Start a server on a free port with a temporary data folder, and stop it at the end.
    #[arg(long, global = true)]
    pub spawn: bool,
    /// The binary to start; `fleetlm` beside this program when not given.
    #[arg(long, global = true, value_name = "PATH", requires = "spawn")]
    pub server_bin: Option<PathBuf>,
    /// CPUs of the started server, one shard each (`0`, `0-3,6`).
    #[arg(long, global = true, value_name = "LIST", requires = "spawn", value_parser = cpu_list)]
    pub server_cpus: Option<CpuList>,
    /// A further argument for the started server; may be repeated.
    #[arg(long, global = true, value_name = "ARG", requires = "spawn", allow_hyphen_values = true)]
    pub server_arg: Vec<String>,
    /// Process id of the server, when it runs on this machine: its CPU and memory are reported.
    #[arg(long, global = true, conflicts_with = "spawn")]
    pub pid: Option<u32>,
    /// CPUs of the generator, one thread each.
    #[arg(long, global = true, value_name = "LIST", value_parser = cpu_list)]
    pub client_cpus: Option<CpuList>,
    /// Threads of the generator when no CPUs are named.
    #[arg(long, global = true, default_value_t = 1, conflicts_with = "client_cpus", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
    /// Seconds that are measured.
    #[arg(long, global = true, default_value_t = 10.0, value_parser = window_seconds)]
    pub duration: f64,
    /// Seconds under load before them.
    #[arg(long, global = true, default_value_t = 1.0, value_parser = seconds)]
    pub warmup: f64,
    /// Write the report to this file as JSON, too.
    #[arg(long, global = true, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// CPU numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList(pub Vec<usize>);

/// The scenarios.
#[derive(Clone, Debug, Subcommand)]
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
    /// Runs each scenario for a moment: does everything work? Not for numbers.
    Smoke,
}

/// Options of `hot-path`.
#[derive(Args, Clone, Debug)]
pub struct HotPath {
    /// Connections, each with its session.
    #[arg(long, default_value_t = 20, value_parser = count)]
    pub connections: usize,
    /// Sends of one connection that wait for their ack at the same time (closed loop).
    #[arg(long, default_value_t = 5, value_parser = count)]
    pub depth: usize,
    /// Bytes of a message's content.
    #[arg(long, default_value_t = 256, value_parser = content_bytes)]
    pub size: usize,
    /// Sends per second of all connections: an open loop, latency from the time a send was due.
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,
}

/// What a `rest` connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mix {
    /// POST and GET in turn.
    Mixed,
    /// POST only.
    Post,
    /// GET only, of what the warm-up posted.
    Get,
}

/// Options of `rest`.
#[derive(Args, Clone, Debug)]
pub struct Rest {
    /// Keep-alive connections, each with its session.
    #[arg(long, default_value_t = 50, value_parser = count)]
    pub connections: usize,
    /// Bytes of a message's content.
    #[arg(long, default_value_t = 1024, value_parser = content_bytes)]
    pub size: usize,
    /// Requests to make.
    #[arg(long, value_enum, default_value_t = Mix::Mixed)]
    pub mix: Mix,
    /// Messages of a GET.
    #[arg(long, default_value_t = 50, value_parser = count)]
    pub limit: usize,
    /// Requests per second of all connections: an open loop, latency from the time a request was due.
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,
}

/// How `replay` reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// GET with `after_seq`, page by page.
    Get,
    /// Join with `last_seq`, page by page.
    Join,
}

/// Options of `replay`.
#[derive(Args, Clone, Debug)]
pub struct Replay {
    /// Sessions to fill and read.
    #[arg(long, default_value_t = 5, value_parser = count)]
    pub sessions: usize,
    /// Messages of each.
    #[arg(long, default_value_t = 10_000, value_parser = count)]
    pub messages: usize,
    /// Bytes of a message's content.
    #[arg(long, default_value_t = 256, value_parser = content_bytes)]
    pub size: usize,
    /// Readers at the same time, one connection each.
    #[arg(long, default_value_t = 5, value_parser = count)]
    pub readers: usize,
    /// Messages of a page.
    #[arg(long, default_value_t = 1000, value_parser = count)]
    pub page: usize,
    /// How to read.
    #[arg(long, value_enum, default_value_t = By::Get)]
    pub by: By,
}

/// Options of `fanout`.
#[derive(Args, Clone, Debug)]
pub struct Fanout {
    /// Reading sockets, spread evenly over the sessions.
    #[arg(long, default_value_t = 1000, value_parser = count)]
    pub subscribers: usize,
    /// Sessions with a running answer.
    #[arg(long, default_value_t = 10, value_parser = count)]
    pub sessions: usize,
    /// Bytes of a chunk.
    #[arg(long, default_value_t = 200, value_parser = chunk_bytes)]
    pub size: usize,
    /// Chunks per second that the agent writes, over all sessions (open loop).
    #[arg(long, default_value_t = 200.0, value_parser = rate, conflicts_with = "window")]
    pub rate: f64,
    /// As fast as it goes instead: chunks of one session that may be on their way at the same time (closed loop).
    #[arg(long, value_parser = count)]
    pub window: Option<usize>,
    /// The agent is a webhook of this program, which the server calls: one running answer in each session.
    #[arg(long, conflicts_with = "window")]
    pub webhook: bool,
}

/// Options of `sessions`.
#[derive(Args, Clone, Debug)]
pub struct Sessions {
    /// Sessions to create.
    #[arg(long, default_value_t = 10_000, value_parser = count)]
    pub count: usize,
    /// Keep-alive connections.
    #[arg(long, default_value_t = 8, value_parser = count)]
    pub connections: usize,
    /// Requests in flight on each.
    #[arg(long, default_value_t = 16, value_parser = count)]
    pub pipeline: usize,
    /// Idle sockets to open afterwards, each joined to one of the sessions.
    #[arg(long, default_value_t = 0)]
    pub sockets: usize,
}

fn count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| (1..=100_000_000).contains(n)).ok_or_else(|| "a number from 1 to 100000000".into())
}

fn sized(text: &str, min: usize) -> Result<usize, String> {
    let bytes = text.parse().ok().filter(|n| (min..=7_000_000).contains(n));
    bytes.ok_or_else(|| format!("bytes from {min} to 7000000"))
}

fn content_bytes(text: &str) -> Result<usize, String> {
    sized(text, crate::content::CONTENT_BYTES_MIN)
}

fn chunk_bytes(text: &str) -> Result<usize, String> {
    sized(text, crate::content::CHUNK_BYTES_MIN)
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|rate| (0.001..=1e8).contains(rate)).ok_or_else(|| "per second, from 0.001 to 1e8".into())
}

fn seconds(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|s| (0.0..=864_000.0).contains(s)).ok_or_else(|| "seconds from 0 to 864000".into())
}

fn window_seconds(text: &str) -> Result<f64, String> {
    seconds(text).ok().filter(|s| *s >= 0.1).ok_or_else(|| "seconds from 0.1 to 864000".into())
}

/// Reads `0`, `0,2` or `0-3,6`.
fn cpu_list(text: &str) -> Result<CpuList, String> {
    let number = |text: &str| text.parse::<usize>().ok().filter(|cpu| *cpu < 1024);
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => cpus.extend(first..=last),
            _ => return Err(format!("{part} is no CPU and no range of CPUs")),
        }
    }
    Ok(CpuList(cpus))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_are_read() {
        assert_eq!(cpu_list("0-2,5"), Ok(CpuList(vec![0, 1, 2, 5])));
        assert_eq!(cpu_list("1"), Ok(CpuList(vec![1])));
        for bad in ["", "2-1", "a", "1,,2", "99999"] {
            assert!(cpu_list(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_command_line_is_sound_and_refuses_nonsense() {
        use clap::CommandFactory;
        Options::command().debug_assert();
        let parse = |line: &str| Options::try_parse_from(line.split(' '));
        assert!(parse("loadtest hot-path --connections 3 --spawn --server-cpus 0 --client-cpus 1").is_ok());
        assert!(parse("loadtest fanout --url http://127.0.0.1:4000 --rate 50").is_ok());
        for bad in [
            "loadtest hot-path --connections 0",
            "loadtest rest --rate 0",
            "loadtest hot-path --size 1",
            "loadtest rest --pid 1 --spawn",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
