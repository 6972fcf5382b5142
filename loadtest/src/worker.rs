//! What a scenario sees of the run: its worker thread, what all threads share, their meeting points and the measured window.

use crate::clock::now_ns;
pub use crate::outcome::Outcome;
use crate::provision::Session;
use crate::recording::Recording;
use crate::scenarios::Kills;
use crate::server::Subject;
use crate::target::Target;
use crate::usage;
use anyhow::{Result, bail};
use glommio::timer::Timer;
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// After the window: for what is still on its way.
pub const DRAIN_NS: u64 = 10_000_000_000;
/// What a worker says that stops because of another.
pub const GIVEN_UP: &str = "given up because another worker failed";

/// The measured time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Load begins.
    pub start_ns: u64,
    /// Measuring begins.
    pub from_ns: u64,
    /// Load and measuring end.
    pub end_ns: u64,
    /// What has not come by now will not come.
    pub drain_ns: u64,
}

impl Window {
    /// Whether an operation of this time counts.
    pub fn measures(&self, at_ns: u64) -> bool {
        (self.from_ns..self.end_ns).contains(&at_ns)
    }
}

/// What all threads share.
pub struct Shared {
    /// The sessions of the run, for scenarios in which all threads use them.
    pub sessions: Mutex<Vec<(usize, Session)>>,
    /// Per session: chunks that its agent has sent, and chunks that readers have received.
    pub chunks: OnceLock<Vec<(AtomicU64, AtomicU64)>>,
    /// Agents that have sent all.
    pub agents_done: AtomicUsize,
    /// One of them broke.
    pub agent_failed: AtomicBool,
    /// What a durability run shares.
    pub kills: Kills,
    /// Makes the contents of this run different from those of others.
    pub seed: u64,
    /// The server.
    pub subject: Subject,
    /// Latencies of all threads.
    pub recording: Recording,
    arrived: AtomicUsize,
    failed: AtomicBool,
    start_ns: OnceLock<u64>,
    progress: AtomicU64,
    workers: usize,
}

impl Shared {
    /// For a run of `workers` threads against `subject`.
    pub fn new(subject: Subject, workers: usize, slot_ns: u64) -> Self {
        Self {
            sessions: Mutex::default(),
            chunks: OnceLock::new(),
            agents_done: AtomicUsize::new(0),
            agent_failed: AtomicBool::new(false),
            kills: Kills::default(),
            seed: u64::from(std::process::id()) ^ now_ns(),
            subject,
            recording: Recording::new(slot_ns),
            arrived: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            start_ns: OnceLock::new(),
            progress: AtomicU64::new(0),
            workers,
        }
    }

    /// What was done so far, in the scenario's own unit.
    pub fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// Counts what was done.
    pub fn advance(&self, count: u64) {
        self.progress.fetch_add(count, Ordering::Relaxed);
    }

    /// When load began.
    pub fn start_ns(&self) -> Option<u64> {
        self.start_ns.get().copied()
    }

    /// A worker has failed, and the others need not wait for it.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::SeqCst);
    }

    /// Whether a worker has failed.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Worker threads of the run.
    pub fn workers(&self) -> usize {
        self.workers
    }
}

/// One thread of the generator, as its scenario sees it.
pub struct Worker {
    /// From 0.
    pub index: usize,
    /// Threads of the run.
    pub count: usize,
    /// The server.
    pub target: Target,
    /// What the threads share.
    pub shared: Arc<Shared>,
    /// What this thread has found.
    pub outcome: RefCell<Outcome>,
    /// Nanoseconds that are measured.
    pub duration_ns: u64,
    /// Nanoseconds under load before them.
    pub warmup_ns: u64,
}

impl Worker {
    /// This worker's part of `total` things, evenly.
    pub fn share(&self, total: usize) -> Range<usize> {
        total * self.index / self.count..total * (self.index + 1) / self.count
    }

    /// Counts work for the progress line.
    pub fn progress(&self, count: u64) {
        self.shared.advance(count);
    }

    /// The server's process, when it is on this machine and known.
    pub fn server_pid(&self) -> Option<u32> {
        self.shared.subject.pid()
    }

    /// Hands this thread's latencies over once per slot, from `from_ns` on; what ends after `end_ns` counts as the last
    /// of it. Called once per run by each worker.
    pub fn record(self: &Rc<Self>, from_ns: u64, end_ns: u64) {
        self.shared.start_ns.get_or_init(|| from_ns);
        self.shared.recording.begin(from_ns, end_ns);
        let worker = Rc::clone(self);
        let slot_ns = worker.shared.recording.slot_ns();
        glommio::spawn_local(async move {
            for slot in 1.. {
                let wake_ns = from_ns + slot * slot_ns;
                Timer::new(Duration::from_nanos(wake_ns.saturating_sub(now_ns()))).await;
                worker.hand_over();
            }
        })
        .detach();
    }

    /// Hands this thread's latencies over.
    pub fn hand_over(&self) {
        self.shared.recording.take_in(&mut self.outcome.borrow_mut().fresh, now_ns());
    }

    /// Waits until every worker has come to its `meeting`-th meeting (from 1).
    ///
    /// # Errors
    /// When another worker has failed.
    pub async fn meet(&self, meeting: usize) -> Result<()> {
        self.shared.arrived.fetch_add(1, Ordering::SeqCst);
        while self.shared.arrived.load(Ordering::SeqCst) < meeting * self.count {
            if self.shared.has_failed() {
                bail!(GIVEN_UP);
            }
            Timer::new(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// The last meeting before load: all workers get the same window and wait for its start.
    ///
    /// # Errors
    /// When another worker has failed.
    pub async fn window(self: &Rc<Self>, meeting: usize) -> Result<Window> {
        self.meet(meeting).await?;
        let start_ns = *self.shared.start_ns.get_or_init(|| now_ns() + 5_000_000);
        let from_ns = start_ns + self.warmup_ns;
        let end_ns = from_ns + self.duration_ns;
        self.record(from_ns, end_ns);
        Timer::new(Duration::from_nanos(start_ns.saturating_sub(now_ns()))).await;
        Ok(Window { start_ns, from_ns, end_ns, drain_ns: end_ns + DRAIN_NS })
    }

    /// Runs `load` and measures the CPU that this thread and the server use meanwhile.
    ///
    /// # Errors
    /// Those of `load`, and when /proc cannot be read.
    pub async fn under_load<T>(&self, load: impl Future<Output = Result<T>>) -> Result<T> {
        let pid = || self.server_pid().filter(|_| self.index == 0);
        let server_pid = pid();
        let (before_ns, cpu) = (now_ns(), usage::cpu_s(None)?);
        let server_cpu = server_pid.map(|pid| usage::cpu_s(Some(pid))).transpose()?;
        let done = load.await?;
        let passed_s = (now_ns() - before_ns) as f64 / 1e9;
        let mut outcome = self.outcome.borrow_mut();
        outcome.busy.push((usage::cpu_s(None)? - cpu, passed_s));
        // Another process is another server: what it used is not the difference.
        if let (Some(pid), Some(before)) = (server_pid.filter(|before| pid() == Some(*before)), server_cpu) {
            outcome.server = Some((usage::cpu_s(Some(pid))? - before, passed_s, usage::memory(pid)?));
        }
        Ok(done)
    }

    /// Runs one task per item and waits for all; a failing one is noted and stops nobody else.
    pub async fn each<F: Future<Output = Result<()>> + 'static>(self: &Rc<Self>, tasks: impl Iterator<Item = F>) {
        let tasks: Vec<_> = tasks
            .map(|task| {
                let worker = Rc::clone(self);
                glommio::spawn_local(async move {
                    if let Err(error) = task.await {
                        worker.outcome.borrow_mut().error(format!("{error:#}"));
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_measures_what_begins_between_warm_up_and_end() {
        let window = Window { start_ns: 0, from_ns: 10, end_ns: 20, drain_ns: 30 };
        assert_eq!([9, 10, 19, 20].map(|at| window.measures(at)), [false, true, true, false]);
    }
}
