//! What an operator may set: flags, each also a `FLEETLM_*` variable.
//!
//! Owns names, defaults and their checks. What a bound is for stands in `limits`.

mod auth;
mod client;

pub use auth::{AuthConfig, AuthMode, KeyFields, KeysPlace, KeysTask, Secret};
pub use client::{AgentsTask, ClientTask, SendTask, ServerAt, SessionsTask, TailTask};

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::limits;

/// FleetLM: a session server for AI chat. Every session is one durable, ordered log.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; `serve` when left out.
    #[command(subcommand)]
    pub command: Option<Task>,
    /// Flags of `serve`.
    #[command(flatten)]
    pub serve: ServeConfig,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Run the server (the default).
    Serve(Box<ServeConfig>),
    /// Verify a data folder record by record and print what it holds.
    Check {
        /// The data folder.
        dir: PathBuf,
    },
    /// Copy a data folder, also of a running server, as it is at one moment, and verify the copy.
    Backup {
        /// The data folder.
        dir: PathBuf,
        /// The folder to make. Start a server on it, or on a copy of it, to restore.
        to: PathBuf,
    },
    /// List, make and revoke API keys of a data folder that no server uses, or of a running server (--url).
    #[command(subcommand)]
    Keys(KeysTask),
    /// What asks a running server.
    #[command(flatten)]
    Client(ClientTask),
    /// Print a session as JSON lines, oldest first.
    Export {
        /// The data folder.
        dir: PathBuf,
        /// The session's id.
        #[arg(long)]
        session: String,
    },
}

/// When an append is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// After fdatasync: survives a power cut, as far as the disk is honest.
    Disk,
    /// After the copy into the mapped log: survives a crash of the process, not of the machine.
    Memory,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Everything `serve` can be told.
#[derive(Clone, Debug, Args)]
pub struct ServeConfig {
    /// Address and port to listen on. Port 0 picks a free one and prints it. `PORT` alone sets the port on all interfaces. An address that
    /// others can reach needs --auth required, or --insecure-open. [default: 127.0.0.1:4000]
    #[arg(long, env = "FLEETLM_LISTEN", value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// The port on all interfaces when --listen is not given, as platforms set it.
    #[arg(long, env = "PORT", hide = true, value_name = "PORT")]
    pub port: Option<u16>,
    /// Where the log lives. Created when missing.
    #[arg(long, env = "FLEETLM_DATA_DIR", default_value = "./data", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Shards, one thread and one core each; all online cores by default. A data folder opens with any number.
    #[arg(long, env = "FLEETLM_SHARDS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub shards: Option<u16>,
    /// When an append is acknowledged.
    #[arg(long, env = "FLEETLM_DURABILITY", value_enum, default_value = "disk")]
    pub durability: Durability,
    /// How log lines look.
    #[arg(long, env = "FLEETLM_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// Which log lines are printed: error, warn, info, debug, or a tracing filter.
    #[arg(long, env = "FLEETLM_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
    /// Offer permessage-deflate to WebSocket clients (costs CPU; saves bandwidth).
    #[arg(long, env = "FLEETLM_WS_DEFLATE")]
    pub ws_deflate: bool,
    /// Bytes of a request body, and of a WebSocket message. More is refused with 413 or close code 1009.
    #[arg(long, env = "FLEETLM_BODY_BYTES_MAX", default_value_t = limits::BODY_BYTES_MAX, value_name = "BYTES")]
    pub body_bytes_max: usize,
    /// Open connections of the whole server. More are closed at once. 90 % of the file limit by default.
    #[arg(long, env = "FLEETLM_CONNECTIONS_MAX", value_name = "COUNT")]
    pub connections_max: Option<usize>,
    /// Unsent bytes of one connection. A reader that falls further behind is closed and can come back with its cursor.
    #[arg(long, env = "FLEETLM_OUTBOX_BYTES_MAX", default_value_t = limits::OUTBOX_BYTES_MAX, value_name = "BYTES")]
    pub outbox_bytes_max: usize,
    /// Seconds after which a socket that sent nothing is closed.
    #[arg(long, env = "FLEETLM_SOCKET_IDLE_S", default_value_t = limits::SOCKET_IDLE_S, value_name = "SECONDS")]
    pub socket_idle_s: u64,
    /// Seconds that a shutdown waits for connections to finish.
    #[arg(long, env = "FLEETLM_DRAIN_S", default_value_t = limits::DRAIN_S, value_name = "SECONDS")]
    pub drain_s: u64,
    /// Bytes of a log segment file.
    #[arg(long, env = "FLEETLM_SEGMENT_BYTES", default_value_t = limits::SEGMENT_BYTES, value_name = "BYTES",
          value_parser = clap::value_parser!(u32).range(i64::from(limits::SEGMENT_BYTES_MIN)..=i64::from(limits::SEGMENT_BYTES_MAX)))]
    pub segment_bytes: u32,
    /// Microseconds that an idle shard spins before it parks: lower latency for a little CPU. 0 suits shared containers.
    #[arg(long, env = "FLEETLM_SPIN_US", default_value_t = 50, value_name = "MICROSECONDS",
          value_parser = clap::value_parser!(u64).range(0..=1000))]
    pub spin_us: u64,
    /// Do not pin shards to cores. For containers with a CPU quota instead of a CPU set.
    #[arg(long, env = "FLEETLM_UNPINNED")]
    pub unpinned: bool,
    /// Pieces a second in which the built-in agent `echo` answers; 0 switches it off.
    #[arg(long, env = "FLEETLM_ECHO_CHUNKS_PER_S", default_value_t = limits::ECHO_CHUNKS_PER_S, value_name = "COUNT")]
    pub echo_chunks_per_s: u32,
    /// Call no agent. Messages wait for no answer, and what was owed before stays as it is.
    #[arg(long, env = "FLEETLM_DISABLE_AGENT_WEBHOOKS")]
    pub disable_agent_webhooks: bool,
    /// Call webhooks on addresses of the public Internet only: no loopback, private or link-local ones. For servers on which
    /// strangers may register agents.
    #[arg(long, env = "FLEETLM_DENY_PRIVATE_WEBHOOKS")]
    pub deny_private_webhooks: bool,
    /// Certificates (PEM) to trust beside the system's, for https webhooks.
    #[arg(long, env = "FLEETLM_WEBHOOK_CA", value_name = "FILE")]
    pub webhook_ca: Option<PathBuf>,
    /// The server's certificate chain (PEM, its own first): it speaks HTTPS then, and nothing else. Needs --tls-key. Both files are
    /// read again on SIGHUP.
    #[arg(long, env = "FLEETLM_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of that certificate (PEM, not encrypted).
    #[arg(long, env = "FLEETLM_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Who is let in.
    #[command(flatten)]
    pub auth: AuthConfig,
}

impl ServeConfig {
    /// The address to listen on: `--listen`, else `PORT` on all interfaces, else 127.0.0.1:4000.
    pub fn address(&self) -> SocketAddr {
        match (self.listen, self.port) {
            (Some(address), _) => address,
            (None, Some(port)) => SocketAddr::from(([0, 0, 0, 0], port)),
            (None, None) => SocketAddr::from(([127, 0, 0, 1], 4000)),
        }
    }

    /// How many shards: as told, or one for each core that this process may use.
    pub fn shard_count(&self) -> u16 {
        self.shards.unwrap_or_else(|| {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            u16::try_from(cores).unwrap_or(256).min(256)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_is_the_default_and_listen_wins_over_port() {
        let cli = Cli::parse_from(["fleetlm", "--listen", "127.0.0.1:0", "--port", "9"]);
        assert!(cli.command.is_none());
        assert!(!cli.serve.deny_private_webhooks, "webhooks on the machine itself are what one starts with");
        assert_eq!(cli.serve.address(), "127.0.0.1:0".parse().unwrap());
        let cli = Cli::parse_from(["fleetlm", "serve", "--port", "9"]);
        let Some(Task::Serve(serve)) = cli.command else { panic!("serve") };
        assert_eq!(serve.address(), "0.0.0.0:9".parse().unwrap());
    }
}
