//! A report as a table for a terminal.

use crate::figures::{Bytes, Grouped, Time};
use crate::report::{Generator, Report};
use std::fmt;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}   {:.1} s measured", self.scenario, self.window_s)?;
        for (name, count) in &self.counts {
            writeln!(f, "  {name:<24}{:>14}{:>16}/s", Grouped(count.count as f64), Grouped(count.per_s))?;
        }
        for (name, figure) in &self.figures {
            writeln!(f, "  {name:<24}{:>14}", Grouped(*figure))?;
        }
        if !self.latencies.is_empty() {
            let head = ["p50", "p90", "p99", "p99.9", "max", "count"].map(|name| format!("{name:>11}")).concat();
            writeln!(f, "  {:<24}{head}", "latency")?;
        }
        for (name, measured) in &self.latencies {
            let p = measured.latency.percentiles();
            let times =
                [p.p50_us, p.p90_us, p.p99_us, p.p99_9_us, p.max_us].map(|us| format!("{:>11}", Time(us))).concat();
            writeln!(f, "  {name:<24}{times}{:>11}", Grouped(p.count as f64))?;
        }
        self.fmt_uses(f)?;
        self.fmt_ends(f)
    }
}

impl Report {
    fn fmt_uses(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Generator { threads, cpus_used, busiest } = self.generator;
        writeln!(f, "  generator   {cpus_used:.2} CPUs of {threads}, busiest thread {:.0} %", busiest * 100.0)?;
        if let Some(server) = &self.server {
            let [rss, anon] = [server.memory.rss_bytes, server.memory.anon_bytes].map(|bytes| Bytes(bytes as f64));
            writeln!(f, "  server      {:.2} CPUs, {rss} resident, {anon} of it its own", server.cpus_used)?;
        }
        let mut machines: Vec<_> = self.origins.iter().map(|origin| &origin.machine).collect();
        machines.dedup();
        for machine in machines {
            let memory = Bytes(machine.memory_bytes as f64);
            writeln!(f, "  machine     {}, {} CPUs, {memory}, {}", machine.cpu_model, machine.cpus, machine.kernel)?;
        }
        Ok(())
    }

    fn fmt_ends(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for warning in &self.warnings {
            writeln!(f, "  warning     {warning}")?;
        }
        if self.errors > 0 {
            writeln!(f, "  errors      {}", self.errors)?;
            self.error_examples.iter().try_for_each(|example| writeln!(f, "    {example}"))?;
        }
        if self.integrity.checked == 0 {
            return writeln!(f, "  integrity   NOTHING was checked");
        }
        let checked = Grouped(self.integrity.checked as f64);
        if self.integrity.is_whole() {
            return writeln!(f, "  integrity   ok, {checked} checked");
        }
        let kinds: Vec<_> = self.integrity.violations.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        writeln!(f, "  integrity   VIOLATED: {} ({checked} checked)", kinds.join(", "))?;
        self.integrity.examples.iter().try_for_each(|example| writeln!(f, "    {example}"))
    }
}
