//! The live line: phase, time passed and planned, throughput and p99 of the last second. Silent when the errors' output
//! is no terminal.

use crate::clock::now_ns;
use crate::figures::{Grouped, Time};
use crate::report::SEND_LAG;
use crate::run::Plan;
use crate::worker::Shared;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::VecDeque;

/// Over which throughput and p99 are taken.
const SPAN_NS: u64 = 1_000_000_000;

/// A bar for one scenario.
pub struct Progress {
    bar: ProgressBar,
    warmup_s: f64,
    /// `None` when it ends with its work.
    planned_s: Option<f64>,
    /// What was done at which time, over the last second.
    seen: VecDeque<(u64, u64)>,
}

impl Progress {
    /// For a run.
    pub fn new(plan: &Plan) -> Self {
        let planned_s = (!plan.scenario.is_open_ended()).then_some(plan.warmup_s + plan.duration_s);
        let bar = ProgressBar::new(planned_s.map_or(1, |planned_s| (planned_s * 10.0) as u64));
        let style = ProgressStyle::with_template("{prefix:.bold} [{bar:24.cyan}] {msg}")
            .expect("the template is constant and valid");
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(plan.name);
        Self { bar, warmup_s: plan.warmup_s, planned_s, seen: VecDeque::new() }
    }

    /// Says a line above the bar; on the errors' output when there is no bar.
    pub fn print(&self, line: &str) {
        if self.bar.is_hidden() { eprintln!("{line}") } else { self.bar.println(line) }
    }

    /// Shows how far the run is.
    pub fn show(&mut self, shared: &Shared) {
        if self.bar.is_hidden() {
            return;
        }
        let now_ns = now_ns();
        let passed_s = shared.start_ns().map(|start_ns| now_ns.saturating_sub(start_ns) as f64 / 1e9);
        let per_s = self.per_s(now_ns, shared.progress());
        if self.planned_s.is_some() {
            self.bar.set_position((passed_s.unwrap_or(0.0) * 10.0) as u64);
        }
        let mut text = match passed_s {
            None => format!("setting up  {}", Grouped(shared.progress() as f64)),
            Some(passed_s) => format!("{}  {}/s", self.phase(passed_s), Grouped(per_s.round())),
        };
        for (name, p99_us) in
            shared.recording.p99s_us(SPAN_NS as f64 / 1e9).iter().filter(|(name, _)| *name != SEND_LAG)
        {
            text += &format!("  {name} p99 {}", Time(*p99_us));
        }
        self.bar.set_message(text);
    }

    fn phase(&self, passed_s: f64) -> String {
        let Some(planned_s) = self.planned_s else { return format!("running  {passed_s:.0} s") };
        let phase = match passed_s {
            s if s < self.warmup_s => "warm-up",
            s if s < planned_s => "measuring",
            _ => "finishing",
        };
        format!("{phase}  {passed_s:.0} of {planned_s:.0} s")
    }

    fn per_s(&mut self, now_ns: u64, done: u64) -> f64 {
        self.seen.push_back((now_ns, done));
        while self.seen.len() > 2 && self.seen[1].0 + SPAN_NS <= now_ns {
            self.seen.pop_front();
        }
        let (first_ns, first) = self.seen[0];
        (done - first) as f64 * 1e9 / (now_ns - first_ns).max(1) as f64
    }

    /// Takes the line away.
    pub fn end(self) {
        self.bar.finish_and_clear();
    }
}
