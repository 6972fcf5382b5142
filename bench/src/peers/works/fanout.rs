//! Fan-out: one publisher to many readers, saturated and then at half of the slower one's rate.

use super::{Entrant, Heading, Plan, rounds, us};
use crate::child::Place;
use crate::fan::{Outcome, Pace, run};
use crate::link::Link;
use crate::report::{Column, Ratio, Sample, Table};
use crate::servers::{Bare, Contender, Door, DurableStreams, Mode, Nats, Ours, Postgres, Redis, chunk};
use crate::wire::websocket;
use anyhow::{Context, Result};
use std::rc::Rc;

const COLUMNS: [Column; 6] = [
    Column::ranged("deliveries_per_s", "deliveries/s", 0),
    Column::new("p50_us", "p50 us", 0),
    Column::ranged("p99_us", "p99 us", 0),
    Column::new("server_cpu_us_per_delivery", "server CPU us/delivery", 2),
    Column::new("server_cpu_share", "server CPU", 2),
    Column::new("client_cpu_share", "client CPU", 2),
];

/// Chunks in flight when saturated: enough that the server never waits for the publisher, few enough that no outbox overflows.
const WINDOW_CHUNKS: u64 = 64;
/// PostgreSQL has a process for each reader; a round of it takes long.
const POSTGRES_ROUNDS: usize = 1;

/// Everyone who takes part, in the order of the tables.
struct Everyone {
    ours: Ours,
    bare: Bare,
    folding: Bare,
    json: DurableStreams,
    postgres: Postgres,
}

impl Everyone {
    fn contenders(&self) -> [&dyn Contender; 7] {
        [&self.ours, &self.json, &Redis, &Nats, &self.postgres, &self.bare, &self.folding]
    }
}

/// The tables `fanout` and `fanout-paced`.
pub fn fanout(plan: &Plan) -> Result<Vec<Table>> {
    let readers = plan.sizes.readers;
    let ours = plan.ours(Door::Socket);
    let around = Rc::new(envelope(&ours, &plan.place).context("looking at our own frame")?);
    let bare = |fold| Bare::Fan { around: Rc::clone(&around), readers, fold };
    let (bare, folding) = (bare(false), bare(true));
    let json = DurableStreams { mode: Mode::Json };
    let everyone = Everyone { ours, bare, folding, json, postgres: Postgres::default() };
    let title = format!(
        "Chunks of 200 bytes from one publisher to {readers} readers, {WINDOW_CHUNKS} chunks in flight: ours an agent's streamed answer to \
         WebSockets joined to one session; durable-streams appends to server-sent events; Redis PUBLISH, NATS core publish, \
         pg_notify, which keep nothing."
    );
    let saturated = table(plan, "fanout", title, &everyone, |_| Some(Pace::Window(WINDOW_CHUNKS)));
    let per_s = |name: &str| Some(saturated.row(name)?.figure("deliveries_per_s")?.median / readers as f64);
    let ours_and_bare = [per_s(&everyone.ours.name()), per_s(&everyone.bare.name())];
    let Some(slower) = ours_and_bare.into_iter().flatten().reduce(f64::min) else { return Ok(vec![saturated]) };
    let rate = slower / 2.0;
    let title = format!(
        "The same at {rate:.0} chunks/s, half of what the slower one of ours and the bare loop delivered saturated; a contender that \
         cannot do that gets half of its own. Latency from the time a chunk was due to each reader's read."
    );
    let pace = |name: &str| per_s(name).map(|own| Pace::PerSecond(rate.min(own / 2.0)));
    let paced = table(plan, "fanout-paced", title, &everyone, pace);
    Ok(vec![saturated, paced])
}

fn table(
    plan: &Plan,
    work: &'static str,
    title: String,
    everyone: &Everyone,
    pace: impl Fn(&str) -> Option<Pace>,
) -> Table {
    let postgres = everyone.postgres.name();
    let entrants = everyone.contenders().into_iter().filter_map(|contender| {
        let pace = pace(&contender.name())?;
        let mut entrant = Entrant::of(contender, move |contender, place| measure(plan, contender, place, pace));
        if entrant.name == postgres {
            entrant.rounds_max = POSTGRES_ROUNDS;
        }
        Some(entrant)
    });
    let figure = if work == "fanout" { "deliveries_per_s" } else { "p99_us" };
    let ratios = vec![Ratio::of(everyone.ours.name(), figure), Ratio::over(everyone.bare.name(), figure)];
    rounds(plan, Heading { work, title, columns: COLUMNS.to_vec(), ratios }, entrants.collect())
}

fn measure(plan: &Plan, contender: &dyn Contender, place: &Place, pace: Pace) -> Result<Sample> {
    let mut server = contender.start(place)?;
    let fan = server.fan(plan.sizes.readers)?;
    let outcome = run(fan, pace, plan.warm, plan.window, server.child().pid())?;
    Ok(sample(&outcome))
}

fn sample(outcome: &Outcome) -> Sample {
    let deliveries = outcome.deliveries as f64;
    Sample::from([
        ("chunks_total", outcome.chunks_total as f64),
        ("deliveries_per_s", deliveries / outcome.seconds),
        ("p50_us", us(&outcome.latency_ns, 0.5)),
        ("p90_us", us(&outcome.latency_ns, 0.9)),
        ("p99_us", us(&outcome.latency_ns, 0.99)),
        ("max_us", us(&outcome.latency_ns, 1.0)),
        ("server_cpu_us_per_delivery", outcome.server_cpu_s * 1e6 / deliveries),
        ("server_cpu_share", outcome.server_cpu_s / outcome.seconds),
        ("client_cpu_share", outcome.client_cpu_s / outcome.seconds),
    ])
}

/// What our server puts before and behind a chunk on the wire.
fn envelope(ours: &Ours, place: &Place) -> Result<(Vec<u8>, Vec<u8>)> {
    let mut server = ours.start(place)?;
    let mut fan = server.fan(1)?;
    let mut bytes = Vec::new();
    (fan.publish)(0, &mut bytes);
    std::io::Write::write_all(&mut fan.publisher, &bytes)?;
    let reader = fan.readers.pop().context("one reader was asked for")?;
    let mut around = None;
    Link::from_stream(reader, websocket::reply)?.take(|bytes| {
        around = around_chunk(bytes)?;
        Ok(around.as_ref().map(|_| bytes.len()))
    })?;
    around.context("it was found")
}

/// The frame that holds the first chunk, cut around it; `None` while it has not come.
fn around_chunk(bytes: &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    let chunk = chunk(0);
    let mut at = 0;
    while let Some(payload) = websocket::frame(&bytes[at..])? {
        let frame = &bytes[at..at + payload.end];
        if let Some(found) = memchr::memmem::find(frame, &chunk) {
            return Ok(Some((frame[..found].to_vec(), frame[found + chunk.len()..].to_vec())));
        }
        at += payload.end;
    }
    Ok(None)
}
