//! Appending: many connections, one connection, and the hot path with several messages in flight on each socket.

use super::{Entrant, Heading, Plan, rounds, us};
use crate::child::{Place, spawn_on};
use crate::closed::{Outcome, Until, run};
use crate::limits::Synced;
use crate::link::Link;
use crate::report::{Column, Ratio, Sample, Table};
use crate::servers::{
    Bare, Contender, Door, DurableStreams, Mode, Nats, Ours, Postgres, QUIET, Redis, Sessions, bare_program,
};
use anyhow::{Context, Result, ensure};
use std::process::Stdio;

const COLUMNS: [Column; 6] = [
    Column::ranged("ops_per_s", "ops/s", 0),
    Column::new("p50_us", "p50 us", 0),
    Column::ranged("p99_us", "p99 us", 0),
    Column::new("server_cpu_us_per_op", "server CPU us/op", 2),
    Column::new("server_cpu_share", "server CPU", 2),
    Column::new("client_cpu_share", "client CPU", 2),
];

/// As the tables call it.
const BARE_SYNC: &str = "limit: bare write+fdatasync";

/// `append-256`.
pub fn many(plan: &Plan) -> Result<Table> {
    let connections = plan.sizes.connections;
    let title = format!(
        "Messages of 256 bytes on {connections} connections, a session each, one request in flight on each; acknowledged as each server's \
         setting says."
    );
    compare(plan, "append-256", title, Door::Rest, Shape { connections, depth: 1 }, Extra::BytesMode)
}

/// `append-1`.
pub fn one(plan: &Plan) -> Result<Table> {
    let title = "Messages of 256 bytes on one connection, one request in flight.".to_owned();
    compare(plan, "append-1", title, Door::Rest, Shape { connections: 1, depth: 1 }, Extra::BareSync)
}

/// `hot-path`.
pub fn hot_path(plan: &Plan) -> Result<Table> {
    let shape = Shape { connections: plan.sizes.sockets, depth: 5 };
    let title = format!(
        "Messages of 256 bytes on {} connections with {} in flight on each; ours over WebSocket, where every sender also gets its own \
         message as an event.",
        shape.connections, shape.depth
    );
    compare(plan, "hot-path", title, Door::Socket, shape, Extra::Nothing)
}

#[derive(Clone, Copy)]
struct Shape {
    connections: usize,
    depth: usize,
}

/// Who takes part besides those who always do.
#[derive(PartialEq, Eq)]
enum Extra {
    Nothing,
    BytesMode,
    BareSync,
}

fn compare(plan: &Plan, work: &'static str, title: String, door: Door, shape: Shape, extra: Extra) -> Result<Table> {
    let ours = plan.ours(door);
    let echo = echo(&ours, &plan.place).context("looking at our own answer")?;
    let commit = match &echo {
        Bare::Echo { request, reply, codec, .. } => {
            Bare::Echo { request: request.clone(), reply: reply.clone(), codec: *codec, commit: true }
        }
        Bare::Sendfile { .. } | Bare::Fan { .. } => unreachable!("an echo was made"),
    };
    let (json, bytes) = (DurableStreams { mode: Mode::Json }, DurableStreams { mode: Mode::Bytes });
    let postgres = Postgres::default();
    let mut contenders: Vec<&dyn Contender> = vec![&ours, &json];
    if extra == Extra::BytesMode {
        contenders.push(&bytes);
    }
    contenders.extend([&Redis as &dyn Contender, &Nats, &postgres, &echo, &commit]);
    let measure = |contender: &dyn Contender, place: &Place| measure(plan, contender, place, shape);
    let mut entrants: Vec<Entrant<'_>> = contenders.into_iter().map(|one| Entrant::of(one, measure)).collect();
    if extra == Extra::BareSync {
        entrants.push(Entrant {
            name: BARE_SYNC.to_owned(),
            setting: "pwrite of 256 bytes into an allocated and written file, fdatasync; no network".to_owned(),
            missing: None,
            turn: Box::new(|place| bare_sync(plan, place)),
            rounds_max: usize::MAX,
        });
    }
    let (limit, figure) = match extra {
        Extra::BareSync => (BARE_SYNC, "p50_us"),
        Extra::BytesMode | Extra::Nothing => ("limit: bare epoll loop", "ops_per_s"),
    };
    let ratios = vec![Ratio::of(ours.name(), figure), Ratio::over(limit, figure)];
    Ok(rounds(plan, Heading { work, title, columns: COLUMNS.to_vec(), ratios }, entrants))
}

/// One turn; every acknowledged message must be stored, and no other.
fn measure(plan: &Plan, contender: &dyn Contender, place: &Place, shape: Shape) -> Result<Sample> {
    let mut server = contender.start(place)?;
    let dialogue = server.appenders(shape.connections, Sessions::Own)?;
    let until = Until::Time { warm: plan.warm, window: plan.window };
    let outcome = run(dialogue, shape.depth, until, server.child().pid())?;
    if let Some(stored) = server.stored()? {
        let acknowledged = outcome.answers_total;
        ensure!(stored == acknowledged, "{acknowledged} messages were acknowledged and {stored} are stored");
    }
    Ok(sample(&outcome))
}

pub(super) fn sample(outcome: &Outcome) -> Sample {
    let answers = outcome.answers as f64;
    Sample::from([
        ("ops_per_s", answers / outcome.seconds),
        ("p50_us", us(&outcome.latency_ns, 0.5)),
        ("p90_us", us(&outcome.latency_ns, 0.9)),
        ("p99_us", us(&outcome.latency_ns, 0.99)),
        ("p999_us", us(&outcome.latency_ns, 0.999)),
        ("max_us", us(&outcome.latency_ns, 1.0)),
        ("server_cpu_us_per_op", outcome.server_cpu_s * 1e6 / answers),
        ("server_cpu_share", outcome.server_cpu_s / outcome.seconds),
        ("client_cpu_share", outcome.client_cpu_s / outcome.seconds),
    ])
}

/// A bare loop with the bytes of one append to our server, of its reply and of what else comes for it.
fn echo(ours: &Ours, place: &Place) -> Result<Bare> {
    let mut server = ours.start(place)?;
    let mut dialogue = server.appenders(1, Sessions::Own)?;
    let mut request = Vec::new();
    (dialogue.request)(0, &mut request);
    let stream = dialogue.streams.pop().context("one connection was asked for")?;
    let mut link = Link::from_stream(stream, dialogue.codec)?;
    link.tell(&request)?;
    let reply = link.until_quiet(QUIET)?;
    Ok(Bare::Echo { request: request.into(), reply: reply.into(), codec: dialogue.codec, commit: false })
}

fn bare_sync(plan: &Plan, place: &Place) -> Result<Sample> {
    let folder = place.folder("sync")?;
    let mut command = bare_program()?;
    command
        .args(["sync", "--seconds", &plan.window.as_secs_f64().to_string(), "--file"])
        .arg(folder.path().join("log"));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let output = spawn_on(command, place.cpu)?.wait_with_output()?;
    ensure!(output.status.success(), "it ended with {}", output.status);
    let synced: Synced = serde_json::from_slice(&output.stdout)?;
    Ok(Sample::from([
        ("ops_per_s", synced.operations as f64 / synced.seconds),
        ("p50_us", synced.p50_us),
        ("p99_us", synced.p99_us),
        ("server_cpu_us_per_op", synced.cpu_s * 1e6 / synced.operations as f64),
        ("server_cpu_share", synced.cpu_s / synced.seconds),
        ("client_cpu_share", 0.0),
    ]))
}
