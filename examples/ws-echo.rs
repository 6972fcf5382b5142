//! Echoes WebSocket messages with this server's own codec and connection code; for conformance suites.
//!
//! `cargo run --release --example ws-echo -- --listen 127.0.0.1:9001`

use std::io::Write;
use std::net::SocketAddr;

use clap::Parser;

#[derive(Parser)]
struct Flags {
    /// Where to listen; port 0 picks one and prints it.
    #[arg(long, default_value = "127.0.0.1:9001", value_name = "ADDR:PORT")]
    listen: SocketAddr,
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    fleetlm::server::echo::run(flags.listen, |address| {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "listening on ws://{address}").and_then(|()| out.flush()); // nobody may be reading
    })
}
