//! The goals that this server was given, beside what was measured. Hardware, neighbours and luck are in the figures, so a miss is told with its
//! size and ends nothing.

use crate::report::{Row, Spread, Table};
use serde::Serialize;
use std::fmt;

/// One goal and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Goal {
    /// The work.
    pub work: String,
    /// What is asked for.
    pub what: String,
    /// The bound, and whether it is a least.
    pub bound: (f64, bool),
    /// Median and range over the rounds.
    pub measured: Spread,
}

impl Goal {
    /// Whether the median keeps the bound.
    pub fn met(&self) -> bool {
        let (bound, least) = self.bound;
        if least { self.measured.median >= bound } else { self.measured.median <= bound }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread { median, min, max } = self.measured;
        let (bound, least) = self.bound;
        let sign = if least { ">=" } else { "<=" };
        let by = 100.0 * (median / bound - 1.0);
        let verdict = if self.met() { "met" } else { "MISSED" };
        write!(
            f,
            "| {} | {} | {sign} {} | {} [{}..{}] | {verdict} ({by:+.0} %) |",
            self.work,
            self.what,
            short(bound),
            short(median),
            short(min),
            short(max)
        )
    }
}

fn short(value: f64) -> String {
    if value.abs() >= 1_000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// A goal of one work, read from its table.
type Read = fn(&Table) -> Option<Spread>;

const LEAST: bool = true;
const MOST: bool = false;

/// Work, what is asked for, bound, where it stands.
const GOALS: &[(&str, &str, (f64, bool), Read)] = &[
    ("hot-path", "durable acks per second", (150_000.0, LEAST), |t| t.rows.first()?.figure("ops_per_s")),
    ("hot-path", "p99 in us", (5_000.0, MOST), |t| t.rows.first()?.figure("p99_us")),
    ("append-256", "rate over durable-streams", (3.0, LEAST), |t| ours_over(t, "durable-streams", "ops_per_s")),
    ("append-256", "rate over the bare epoll loop", (0.5, LEAST), |t| {
        ours_over(t, "limit: bare epoll loop", "ops_per_s")
    }),
    ("append-256", "p99 over durable-streams", (0.5, MOST), |t| ours_over(t, "durable-streams", "p99_us")),
    ("append-1", "p50 over bare write+fdatasync", (1.5, MOST), |t| {
        ours_over(t, "limit: bare write+fdatasync", "p50_us")
    }),
    ("replay", "GET over sendfile of the same bytes", (0.6, LEAST), |t| {
        ours_over(t, "limit: sendfile of the GET", "messages_per_s")
    }),
    ("replay", "joins over sendfile of the same bytes", (0.6, LEAST), |t| {
        let ours = t.row("fleetlm (WebSocket)")?;
        ours.ratio(t.row("limit: sendfile of the joins")?, "messages_per_s")
    }),
    ("fanout", "saturated, over the bare send loop", (0.7, LEAST), |t| {
        ours_over(t, "limit: bare send loop", "deliveries_per_s")
    }),
    ("fanout", "the same, with folding", (1.0, LEAST), |t| ours_over(t, "limit: bare send loop", "deliveries_per_s")),
    ("fanout-paced", "p99 over the bare send loop", (2.0, MOST), |t| ours_over(t, "limit: bare send loop", "p99_us")),
    ("idle", "resident bytes of an idle WebSocket", (2_560.0, MOST), |t| {
        t.row("idle WebSocket")?.figure("resident_bytes_each")
    }),
    ("idle", "resident MiB of all of them", (30.0 / 1.048_576, MOST), |t| {
        t.row("idle WebSocket")?.figure("resident_mib")
    }),
    ("idle", "own bytes of an idle session", (200.0, MOST), |t| t.row("idle session")?.figure("anonymous_bytes_each")),
    ("idle", "own MiB of all of them", (200.0 / 1.048_576, MOST), |t| t.row("idle session")?.figure("anonymous_mib")),
    ("growth-session", "append, dearest step over the first", (1.1, MOST), |t| dearest(t, "append_cpu_us")),
    ("growth-session", "read, dearest step over the first", (1.1, MOST), |t| dearest(t, "read_cpu_us")),
    ("growth-server", "append, dearest step over the first", (1.1, MOST), |t| dearest(t, "append_cpu_us")),
    ("growth-server", "read, dearest step over the first", (1.1, MOST), |t| dearest(t, "read_cpu_us")),
];

/// Goals of the works that were measured with whom they name.
pub fn of(tables: &[Table]) -> Vec<Goal> {
    let reached = GOALS.iter().filter_map(|(work, what, bound, read)| {
        let table = tables.iter().find(|table| table.work == *work)?;
        let measured = read(table)?;
        Some(Goal { work: (*work).to_owned(), what: (*what).to_owned(), bound: *bound, measured })
    });
    reached.collect()
}

/// The table of all goals.
pub fn print(goals: &[Goal]) {
    if goals.is_empty() {
        return;
    }
    println!("## goals\n\n| work | what | goal | measured | |\n|---|---|---|---|---|");
    goals.iter().for_each(|goal| println!("{goal}"));
    println!();
}

fn ours_over(table: &Table, name: &str, figure: &str) -> Option<Spread> {
    table.rows.first()?.ratio(table.row(name)?, figure)
}

/// The largest ratio of a later step to the first.
fn dearest(table: &Table, figure: &str) -> Option<Spread> {
    let (first, later) = table.rows.split_first()?;
    let ratios = later.iter().filter_map(|row: &Row| row.ratio(first, figure));
    ratios.max_by(|a, b| a.median.total_cmp(&b.median))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Sample;

    fn row(name: &str, figures: &[(&'static str, f64)]) -> Row {
        let rounds = vec![Some(figures.iter().copied().collect::<Sample>())];
        Row { name: name.to_owned(), setting: String::new(), rounds, trouble: None, failed: false }
    }

    fn table(work: &str, rows: Vec<Row>) -> Table {
        Table { work: work.to_owned(), title: String::new(), columns: Vec::new(), ratios: Vec::new(), rows }
    }

    #[test]
    fn a_goal_is_met_or_missed_by_the_ratio_to_whom_it_names() {
        let ours = row("fleetlm", &[("ops_per_s", 90.0), ("p99_us", 40.0)]);
        let peer = row("durable-streams", &[("ops_per_s", 20.0), ("p99_us", 50.0)]);
        let goals = of(&[table("append-256", vec![ours, peer])]);
        let told: Vec<_> = goals.iter().map(|goal| (goal.what.as_str(), goal.met(), goal.measured.median)).collect();
        assert_eq!(told, [("rate over durable-streams", true, 4.5), ("p99 over durable-streams", false, 0.8)]);
        assert!(goals[1].to_string().contains("MISSED (+60 %)"), "{}", goals[1]);
    }

    #[test]
    fn growth_is_judged_by_its_dearest_step() {
        let step = |append| row("step", &[("append_cpu_us", append), ("read_cpu_us", 1.0)]);
        let goals = of(&[table("growth-session", vec![step(10.0), step(12.0), step(10.5)])]);
        assert_eq!(
            goals.iter().map(|goal| (goal.measured.median, goal.met())).collect::<Vec<_>>(),
            [(1.2, false), (1.0, true)]
        );
    }
}
