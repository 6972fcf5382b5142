//! The works that are compared. Each makes a table; all alternate between their contenders, round by round.

mod append;
mod fanout;
mod growth;
mod idle;
mod replay;

use crate::child::Place;
use crate::quiet::{FOREIGN_SHARE_MAX, Mark, wait};
use crate::report::{Column, Ratio, Row, Sample, Table};
use crate::servers::{Contender, Missing, Ours};
use anyhow::{Context, Result};
use clap::ValueEnum;
use std::path::PathBuf;
use std::time::Duration;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// Appends of 256-byte messages on 256 keep-alive connections.
    #[value(name = "append-256")]
    Append256,
    /// Appends on one connection.
    #[value(name = "append-1")]
    Append1,
    /// 20 WebSockets with 5 messages in flight each.
    HotPath,
    /// 10,000 messages of one session to one reader.
    Replay,
    /// Chunks of 200 bytes to 1,000 readers of one session.
    Fanout,
    /// Appends and pages of ever larger sessions, on ever fuller servers.
    Growth,
    /// Memory of idle sockets and idle sessions.
    Idle,
}

/// How much is done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Turns of every contender.
    pub rounds: usize,
    /// Length of a measured window.
    pub window: Duration,
    /// What comes before it.
    pub warm: Duration,
    /// How long a turn waits for a quiet machine.
    pub patience: Duration,
    /// Names, or parts of names, of those that take part; all when empty.
    pub only: Vec<String>,
    /// Where servers run.
    pub place: Place,
    /// Our server's binary.
    pub binary: PathBuf,
    /// How large the works are.
    pub sizes: Sizes,
}

/// How large the works are.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// Connections of `append-256`.
    pub connections: usize,
    /// Sockets of `hot-path`.
    pub sockets: usize,
    /// Messages of `replay`.
    pub replay_messages: u64,
    /// Readers of `fanout`.
    pub readers: usize,
    /// Steps of `growth`: messages in a session, and sessions on a server.
    pub growth: Vec<usize>,
    /// Sockets of `idle`.
    pub idle_sockets: usize,
    /// Sessions of `idle`.
    pub idle_sessions: usize,
}

impl Sizes {
    /// As the goals are stated.
    pub fn full() -> Self {
        Self {
            connections: 256,
            sockets: 20,
            replay_messages: 10_000,
            readers: 1_000,
            growth: vec![1_000, 10_000, 100_000, 1_000_000],
            idle_sockets: 10_000,
            idle_sessions: 1_000_000,
        }
    }

    /// Everything once, for correctness.
    pub fn small() -> Self {
        Self {
            connections: 8,
            sockets: 2,
            replay_messages: 2_500,
            readers: 5,
            growth: vec![20, 100],
            idle_sockets: 20,
            idle_sessions: 200,
        }
    }
}

impl Plan {
    /// Does one work.
    ///
    /// # Errors
    /// When our server or a limit fails; another contender's failure stands in its row.
    pub fn perform(&self, work: Work) -> Result<Vec<Table>> {
        match work {
            Work::Append256 => append::many(self).map(|table| vec![table]),
            Work::Append1 => append::one(self).map(|table| vec![table]),
            Work::HotPath => append::hot_path(self).map(|table| vec![table]),
            Work::Replay => replay::replay(self).map(|table| vec![table]),
            Work::Fanout => fanout::fanout(self),
            Work::Growth => growth::growth(self),
            Work::Idle => idle::idle(self).map(|table| vec![table]),
        }
    }

    fn ours(&self, door: crate::servers::Door) -> Ours {
        Ours { door, binary: self.binary.clone() }
    }

    fn takes_part(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }
}

/// Tries to measure a turn that nobody disturbs.
const TURNS_MAX: usize = 3;

/// Starts, measures and ends.
type Turn<'a> = Box<dyn FnMut(&Place) -> Result<Sample> + 'a>;

/// Someone in a table: how one turn is measured.
struct Entrant<'a> {
    name: String,
    setting: String,
    missing: Option<Missing>,
    turn: Turn<'a>,
    /// Takes part in this many rounds at the most.
    rounds_max: usize,
}

impl<'a> Entrant<'a> {
    /// A contender that is started, measured and ended in each turn.
    fn of(
        contender: &'a dyn Contender,
        mut measure: impl FnMut(&'a dyn Contender, &Place) -> Result<Sample> + 'a,
    ) -> Self {
        Self {
            name: contender.name(),
            setting: contender.setting(),
            missing: contender.missing(),
            turn: Box::new(move |place| measure(contender, place)),
            rounds_max: usize::MAX,
        }
    }
}

/// What a table says besides its rows.
struct Heading {
    work: &'static str,
    title: String,
    columns: Vec<Column>,
    ratios: Vec<Ratio>,
}

/// Lets all take turns. The order is reversed in every second round, so that a machine that gets slower or faster favours nobody.
fn rounds(plan: &Plan, heading: Heading, mut entrants: Vec<Entrant<'_>>) -> Table {
    let Heading { work, title, columns, ratios } = heading;
    let figure = columns.first().map_or("", |column| column.figure);
    entrants.retain(|entrant| plan.takes_part(&entrant.name));
    let row = |entrant: &Entrant<'_>| Row {
        name: entrant.name.clone(),
        setting: entrant.setting.clone(),
        rounds: Vec::new(),
        trouble: entrant
            .missing
            .as_ref()
            .map(|missing| format!("{} is not installed: {} (or --setup)", missing.program, missing.install)),
        failed: false,
    };
    let mut rows: Vec<Row> = entrants.iter().map(row).collect();
    for round in 0..plan.rounds {
        let mut order: Vec<usize> = (0..entrants.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for place in order {
            let (entrant, row) = (&mut entrants[place], &mut rows[place]);
            let takes_part = row.trouble.is_none() && round < entrant.rounds_max;
            let sample = takes_part.then(|| undisturbed(plan, &mut entrant.turn)).transpose().unwrap_or_else(|error| {
                row.trouble = Some(format!("it failed: {error:#}"));
                row.failed = true;
                None
            });
            eprintln!("{work} round {}/{} {}: {}", round + 1, plan.rounds, row.name, progress(row, &sample, figure));
            row.rounds.push(sample);
        }
    }
    Table { work: work.to_owned(), title, columns, ratios, rows }
}

/// A turn on a quiet machine, if there is one to be had: of up to three turns the least disturbed.
fn undisturbed(plan: &Plan, turn: &mut Turn<'_>) -> Result<Sample> {
    let mut best: Option<(f64, Sample)> = None;
    for _ in 0..TURNS_MAX {
        let patient = wait(plan.patience)?;
        let mark = Mark::now()?;
        let mut sample = turn(&plan.place)?;
        let foreign = mark.foreign_share()?;
        sample.insert("foreign_cpu_share", foreign);
        if best.as_ref().is_none_or(|(least, _)| foreign < *least) {
            best = Some((foreign, sample));
        }
        if foreign <= FOREIGN_SHARE_MAX || !patient {
            break;
        }
    }
    best.map(|(_, sample)| sample).context("there is at least one turn")
}

fn progress(row: &Row, sample: &Option<Sample>, figure: &str) -> String {
    match (sample, &row.trouble) {
        (Some(sample), _) => format!("{figure} {:.1}", sample.get(figure).copied().unwrap_or(f64::NAN)),
        (None, Some(trouble)) => trouble.clone(),
        (None, None) => "sits this round out".to_owned(),
    }
}

/// Microseconds at a quantile.
fn us(histogram: &hdrhistogram::Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e3
}
