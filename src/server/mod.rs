//! Sockets, threads, timers and the ring: the thin, impure rim of the server. Only this folder names glommio.
//!
//! `run` starts one pinned executor per shard and waits for a signal. `driver` is a shard's tasks, `world` its turn, `http` and
//! `websocket` its connections (`tls` and `handshakes` what goes before them), `link` and `fanout` its subscribers, `mailbox` its way to the others. It has no rules of its own:
//! what a request means is `api`'s, what happens is `shard`'s.

mod all_events;
mod answer;
mod ask;
mod authority;
mod calm;
mod channel;
mod clock;
mod disk;
mod driver;
mod echo_agent;
mod events;
mod fanout;
mod flow;
mod folder;
mod handshakes;
mod http;
mod jwks;
mod keys;
mod limiter;
mod link;
mod listener;
mod longpoll;
mod mailbox;
mod measure;
mod metrics;
mod outbound;
mod outputs;
mod places;
mod plain_socket;
mod promise;
mod ring;
mod slice;
mod state;
mod streaming;
mod tenure;
mod tls;
mod uploads;
mod watch;
mod watcher;
mod webhook;
mod websocket;
mod wire;
mod world;

pub mod echo;
pub mod keys_offline;
pub mod net;
pub mod pacemaker;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use glommio::{LocalExecutorBuilder, Placement, PoolPlacement};
use nix::sys::signal::{SigSet, Signal};
use storage::File;

use crate::api::auth::Mode;
use crate::config::{Durability, ServeConfig};
use crate::limits;
use crate::session::AgentConfig;
use crate::shard::{ECHO_AGENT, Shard, ShardId};
use authority::ServerAuth;
use folder::Folder;
use metrics::Metrics;
use state::SharedState;
use tls::ServerTls;

/// Runs the server until a signal ends it.
///
/// # Errors
/// When it cannot start; each with what to do about it.
pub fn run(config: ServeConfig) -> anyhow::Result<()> {
    let signals = block_signals()?;
    let tls = ServerTls::of_config(&config)?.map(Arc::new);
    let auth = Arc::new(ServerAuth::of_config(&config.auth, config.address(), config.tls_cert.is_some())?);
    let config = Arc::new(config);
    let shards = config.shard_count();
    ring::probe()?;
    let (address, sockets) = listener::listen(config.address(), shards)?;
    let state = Arc::new(SharedState::new(shards));
    heed_signals(signals, Arc::clone(&state), tls.clone(), Arc::clone(&auth))?;
    let opening = Opening::of_folder(&config, shards)?;
    let recovered = describe(&opening.recovered.report);
    let (opened, answers) = mpsc::channel();
    let connections_max = connections_max(&config);
    let metrics = Arc::new(Metrics::default());
    let folder = Arc::new(Folder::new(config.data_dir.clone(), opening.blobs.clone()));
    if let Ok(room) = folder.room() {
        metrics.set_room(room); // so that nobody reads of a full disk before the first look
    }
    let mut threads = Vec::new();
    let resolver = outbound::Resolver::start().context("cannot start the resolver's threads")?;
    let trust = outbound::Trust::load(config.webhook_ca.as_deref())?;
    let pulses = pacemaker::start(shards)?;
    for (((number, socket), posts), pulse) in (0..shards).zip(sockets).zip(mailbox::lanes(shards)).zip(pulses) {
        let id = ShardId(number);
        let start = driver::Start {
            id,
            shards,
            config: Arc::clone(&config),
            state: Arc::clone(&state),
            metrics: Arc::clone(&metrics),
            posts,
            socket,
            connections_max,
            open: opening.shard(id),
            opened: opened.clone(),
            pulse,
            resolver: resolver.clone(),
            trust: trust.clone(),
            tls: tls.clone(),
            blobs: opening.blobs.clone(),
            folder: Arc::clone(&folder),
            auth: Arc::clone(&auth),
        };
        threads.push(start_executor(&config, start)?);
    }
    drop(opened);
    let sessions = wait_until_open(&answers, shards)?;
    state.serve();
    announce(&config, address, shards, sessions, &recovered)?;
    for thread in threads {
        thread.join().map_err(|_| anyhow!("a shard's thread failed"))?;
    }
    tracing::info!("drained");
    Ok(())
}

/// Signals are taken by one thread of their own; a handler would interrupt the rings.
fn block_signals() -> anyhow::Result<SigSet> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().context("cannot block signals")?;
    Ok(signals)
}

/// SIGHUP reloads what can be reloaded. The first of the others starts the drain, a second one ends the process at once: recovery takes
/// care of the rest. While the server is still starting there is nothing to drain, so the first one ends it.
fn heed_signals(
    signals: SigSet,
    state: Arc<SharedState>,
    tls: Option<Arc<ServerTls>>,
    auth: Arc<ServerAuth>,
) -> anyhow::Result<()> {
    let heed = move || {
        while let Ok(signal) = signals.wait() {
            if signal == Signal::SIGHUP {
                reload(tls.as_deref());
                reload_auth(&auth);
                continue;
            }
            if state.is_draining() || !state.is_serving() {
                tracing::warn!(%signal, "ending at once");
                std::process::exit(128 + signal as i32);
            }
            tracing::info!(%signal, "draining");
            state.drain();
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(heed)?;
    Ok(())
}

/// What is wrong with the files must not end a server that runs: it goes on with what it has.
fn reload(tls: Option<&ServerTls>) {
    match tls.map(ServerTls::reload) {
        None => tracing::info!("SIGHUP: there is nothing to reload without --tls-cert"),
        Some(Ok(())) => tracing::info!("the TLS certificate was reloaded, new connections get it"),
        Some(Err(error)) => tracing::error!(%error, "the TLS certificate was not reloaded, the old one stays"),
    }
}

/// As for the certificate.
fn reload_auth(auth: &ServerAuth) {
    match auth.reload() {
        Ok(()) if auth.mode() == Mode::Open => {}
        Ok(()) => tracing::info!("what tokens are checked with was reloaded"),
        Err(error) => tracing::error!(%error, "what tokens are checked with was not reloaded, the old stays"),
    }
}

/// The data folder after recovery, before its shards open their logs.
struct Opening {
    file: File,
    recovered: Arc<storage::Recovered>,
    options: storage::Options,
    echo: Option<AgentConfig>,
    blobs: storage::Blobs,
}

impl Opening {
    fn of_folder(config: &ServeConfig, shards: u16) -> anyhow::Result<Self> {
        let dir = &config.data_dir;
        let file = File::open(dir).with_context(|| format!("cannot open the data folder {}", dir.display()))?;
        warn_of_write_amplification(dir);
        let options = storage::Options {
            shards,
            segment_bytes: config.segment_bytes,
            durability: match config.durability {
                Durability::Disk => storage::Durability::Disk,
                Durability::Memory => storage::Durability::Memory,
            },
            ..storage::Options::default()
        };
        let recovered = storage::recover(&file, &options)
            .with_context(|| format!("cannot recover the data folder {}", dir.display()))?;
        for corruption in &recovered.report.corrupt {
            tracing::error!(
                "{corruption}: sessions with messages there answer with an error for them, all others work"
            );
        }
        let rate = config.echo_chunks_per_s;
        let echo = (rate > 0).then(|| AgentConfig::echo(ECHO_AGENT, rate));
        let blobs = storage::Blobs::open(dir.join(storage::backup::BLOBS_FOLDER))
            .with_context(|| format!("cannot open the folder of files in {}", dir.display()))?;
        Ok(Self { file, recovered: Arc::new(recovered), options, echo, blobs })
    }

    fn shard(&self, id: ShardId) -> Box<dyn FnOnce() -> anyhow::Result<Shard<File>> + Send> {
        let file = self.file.clone();
        let recovered = Arc::clone(&self.recovered);
        let options = storage::Options { shard: id.0, ..self.options.clone() };
        let echo = self.echo.clone();
        Box::new(move || Ok(Shard::open(file, &recovered, options, echo)?))
    }
}

/// A kernel or file system that turns small commits into large writes costs a factor of two in throughput and wears the disk.
fn warn_of_write_amplification(dir: &std::path::Path) {
    const SYNC_BYTES_MAX: u64 = 128 * 1024;
    match storage::sync_write_amplification(dir) {
        Ok(Some(bytes)) if bytes > SYNC_BYTES_MAX => tracing::warn!(
            "one sync of 4 KiB writes {} KiB to this disk; see docs/operations.md, write amplification",
            bytes / 1024
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the self-check of the disk failed"),
    }
}

fn start_executor(config: &ServeConfig, start: driver::Start) -> anyhow::Result<thread::JoinHandle<()>> {
    let cores = allowed_cores();
    let crowded = usize::from(start.shards) > cores.len();
    let placement = match cores.get(usize::from(start.id.0) % cores.len().max(1)) {
        Some(&core) if !config.unpinned => Placement::Fixed(core),
        _ => Placement::Unbound,
    };
    // Shards that share a core must not spin: the one would keep the other from its work.
    let spin_us = if crowded { 0 } else { config.spin_us };
    let depths = ring::depths(start.shards);
    let name = format!("shard-{}", start.id.0);
    let builder = move |depth| {
        LocalExecutorBuilder::new(placement.clone())
            .ring_depth(depth)
            .io_memory(limits::RING_MEMORY_BYTES)
            .preempt_timer(Duration::from_millis(limits::PREEMPT_MS))
            .spin_before_park(Duration::from_micros(spin_us))
            // One thread more than works may run: a sync never waits behind them, nor does it behind files.
            .blocking_thread_pool_placement(PoolPlacement::Unbound(limits::DISK_WORKS_MAX + 1 + limits::UPLOADS_MAX))
    };
    let run = move || {
        let _watched = start.pulse.watch_this_thread();
        match ring::first_that_fits(depths, |depth| builder(depth).make()) {
            Ok(executor) => executor.run(driver::run(start)),
            Err(error) => {
                let _ = start.opened.send(Err(error.into())); // the main thread waits for this answer, unless it gave up already
            }
        }
    };
    Ok(thread::Builder::new().name(name).spawn(run)?)
}

/// The cores that this process may run on.
fn allowed_cores() -> Vec<usize> {
    match rustix::thread::sched_getaffinity(None) {
        Ok(set) => (0..rustix::thread::CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect(),
        Err(_) => Vec::new(),
    }
}

/// As told, or 90 % of the descriptors that this process may have: the rest is for segments and the unforeseen.
fn connections_max(config: &ServeConfig) -> usize {
    config.connections_max.unwrap_or_else(|| {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20);
        usize::try_from(files / 10 * 9).unwrap_or(usize::MAX)
    })
}

fn wait_until_open(answers: &mpsc::Receiver<anyhow::Result<u64>>, shards: u16) -> anyhow::Result<u64> {
    let mut sessions = 0;
    for _ in 0..shards {
        match answers.recv() {
            Ok(answer) => sessions += answer?,
            Err(_) => bail!("a shard ended before it was open"),
        }
    }
    Ok(sessions)
}

/// What recovery found, for people.
fn describe(report: &storage::Report) -> String {
    let mut text = format!("{} segments, {} MiB", report.segments, report.bytes >> 20);
    if report.bytes_cut > 0 {
        text += &format!(", {} bytes of a torn end cut (never acknowledged)", report.bytes_cut);
    }
    if !report.corrupt.is_empty() {
        text += &format!(", {} CORRUPT places", report.corrupt.len());
    }
    text
}

fn announce(
    config: &ServeConfig,
    address: SocketAddr,
    shards: u16,
    sessions: u64,
    recovered: &str,
) -> anyhow::Result<()> {
    let durability = match config.durability {
        Durability::Disk => "disk (acknowledged after fdatasync)",
        Durability::Memory => "memory (acknowledged after the copy into the log; a power cut loses the last second)",
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "FleetLM {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "data folder {}: {sessions} sessions, {recovered}", config.data_dir.display())?;
    writeln!(out, "{shards} shards, durability {durability}")?;
    let scheme = if config.tls_cert.is_some() { "https" } else { "http" };
    writeln!(out, "console {scheme}://{address}/")?;
    writeln!(out, "listening on {scheme}://{address}")?;
    out.flush()?;
    Ok(())
}
