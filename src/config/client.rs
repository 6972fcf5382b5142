//! Flags of the subcommands that are clients of a running server.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Which server, and as whom.
#[derive(Clone, Debug, Args)]
pub struct ServerAt {
    /// The server. The variable FLEETLM_TOKEN, or --token-file, holds the API key or token where one is required.
    #[arg(long, env = "FLEETLM_URL", default_value = "http://127.0.0.1:4000", value_name = "URL", global = true)]
    pub url: String,
    /// A file with the API key or token. Never a flag: those are there for every user of the machine to read.
    #[arg(long, env = "FLEETLM_TOKEN_FILE", value_name = "FILE", global = true)]
    pub token_file: Option<PathBuf>,
    /// Certificates (PEM) to trust beside the system's.
    #[arg(long, env = "FLEETLM_CA", value_name = "FILE", global = true)]
    pub ca: Option<PathBuf>,
    /// Send the token over http to another machine, where a network keeps strangers away.
    #[arg(long, env = "FLEETLM_INSECURE_HTTP", global = true)]
    pub insecure_http: bool,
    /// Print JSON, one object a line.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What is asked of a running server.
#[derive(Debug, Subcommand)]
pub enum ClientTask {
    /// Say something in a session of a running server and print the answer as it comes.
    Send(SendTask),
    /// Print a session's messages and stay with it.
    Tail(TailTask),
    /// Ask a running server whether it is ready. Exit code 1 when it is not.
    Health(ServerAt),
    /// List, make, rename, archive and delete sessions of a running server.
    Sessions {
        /// Which server.
        #[command(flatten)]
        at: ServerAt,
        /// What to do; `list` when left out.
        #[command(subcommand)]
        task: Option<SessionsTask>,
    },
    /// List, register and switch agents of a running server, and look at their last calls.
    Agents {
        /// Which server.
        #[command(flatten)]
        at: ServerAt,
        /// What to do; `list` when left out.
        #[command(subcommand)]
        task: Option<AgentsTask>,
    },
}

/// `fleetlm send`.
#[derive(Debug, Args)]
pub struct SendTask {
    /// Which server.
    #[command(flatten)]
    pub at: ServerAt,
    /// What to say; `-` reads it from standard input.
    pub text: String,
    /// The session. Without one a new one is made, and its id is printed on standard error.
    #[arg(long, value_name = "ID", required_unless_present = "agent", conflicts_with = "agent")]
    pub session: Option<String>,
    /// Whom to ask, in a new session.
    #[arg(long, value_name = "ID")]
    pub agent: Option<String>,
    /// Who says it: the session's user when left out, `default` in a new session.
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// Retries with the same key say it once.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Do not wait for the answer.
    #[arg(long)]
    pub no_wait: bool,
    /// Seconds to wait for the whole answer. It stands in the session whether it was waited for or not.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
}

/// `fleetlm tail`.
#[derive(Debug, Args)]
pub struct TailTask {
    /// Which server.
    #[command(flatten)]
    pub at: ServerAt,
    /// The session's id.
    pub session: String,
    /// Begin behind this seq: 0 for the whole session.
    #[arg(long, value_name = "SEQ", conflicts_with = "last")]
    pub after: Option<u64>,
    /// Begin with the last so many messages.
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub last: u64,
    /// Print answers while they are produced, and what becomes of runs. With --json each line is `{"event", "payload"}` then.
    #[arg(long)]
    pub live: bool,
    /// End with the last message there is.
    #[arg(long, conflicts_with = "live")]
    pub no_follow: bool,
}

/// `fleetlm sessions ..`.
#[derive(Debug, Subcommand)]
pub enum SessionsTask {
    /// The newest first.
    List {
        /// Of this user only.
        #[arg(long, value_name = "ID")]
        user: Option<String>,
        /// How many at most; 0 for all.
        #[arg(long, value_name = "COUNT", default_value_t = 50)]
        limit: u64,
    },
    /// Make one.
    New {
        /// Its user.
        #[arg(long, value_name = "ID")]
        user: String,
        /// Its agent.
        #[arg(long, value_name = "ID")]
        agent: String,
        /// Its title.
        #[arg(long)]
        title: Option<String>,
    },
    /// Give it another title.
    Rename {
        /// The session's id.
        id: String,
        /// Its title from now on.
        title: String,
    },
    /// Take it out of its user's inbox.
    Archive {
        /// The session's id.
        id: String,
    },
    /// Delete it and its messages for good.
    Delete {
        /// The session's id.
        id: String,
        /// Yes, for good.
        #[arg(long, required = true)]
        permanently: bool,
    },
}

/// `fleetlm agents ..`.
#[derive(Debug, Subcommand)]
pub enum AgentsTask {
    /// All, by name.
    List,
    /// Register one that is called by webhook.
    Add {
        /// Its id.
        id: String,
        /// Where its webhook is: `http://host:port`.
        origin_url: String,
        /// Its name; the id when left out.
        #[arg(long)]
        name: Option<String>,
        /// The path of its webhook.
        #[arg(long, value_name = "PATH")]
        webhook_path: Option<String>,
    },
    /// Have it called again.
    Enable {
        /// Its id.
        id: String,
    },
    /// Have it called no more.
    Disable {
        /// Its id.
        id: String,
    },
    /// Its last calls, latest first.
    Deliveries {
        /// Its id.
        id: String,
    },
}
