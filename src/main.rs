//! The `fleetlm` binary: command line, logging, exit codes.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Parser;
use fleetlm::config::{Cli, LogFormat, ServeConfig, Task};
use fleetlm::{cli, inspect, server};
use tracing_subscriber::EnvFilter;

/// Thread-local heaps suit one shard per core.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        None => serve(cli.serve),
        Some(Task::Serve(config)) => serve(*config),
        Some(Task::Check { dir }) => inspect::check(&dir),
        Some(Task::Backup { dir, to }) => inspect::backup(&dir, &to, &mut unix_us),
        Some(Task::Keys(task)) if task.place().url.is_some() => cli::keys::run(&task),
        Some(Task::Keys(task)) => server::keys_offline::run(task),
        Some(Task::Client(task)) => cli::run(task),
        Some(Task::Export { dir, session }) => inspect::export(&dir, &session),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("fleetlm: {}", cli::plain(&told(&error))); // it may quote what strangers have said
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes. One that the error before it has quoted at its end is not said again.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        said if said.ends_with(&cause) => text,
        said => format!("{said}: {cause}"),
    })
}

fn serve(config: ServeConfig) -> anyhow::Result<ExitCode> {
    let filter = EnvFilter::try_new(&config.log)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match config.log_format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
    server::run(config)?;
    Ok(ExitCode::SUCCESS)
}

/// Microseconds since 1970.
fn unix_us() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_micros() as u64)
}
