//! One run of a scenario: worker threads (an executor each), their meeting points, the measured window, and the sum of what they found.
//!
//! Everything has an end: a run that outlives its plan is given up by the main thread.

use crate::clock::{nanos, now_ns};
use crate::latency::Latency;
use crate::options::{Common, Scenario};
use crate::provision::Session;
use crate::scenarios;
use crate::target::Target;
use crate::usage;
use crate::verify::Integrity;
use anyhow::{Context, Result, anyhow, bail};
use fleetlm::server::pacemaker;
use glommio::timer::Timer;
use glommio::{LocalExecutorBuilder, Placement};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// After the window: for what is still on its way.
const DRAIN_NS: u64 = 10_000_000_000;
/// Before the window: for creating, filling and joining.
const SETUP_TIME: Duration = Duration::from_secs(900);
/// Depth of an executor's ring; the default of 128 costs CPU at many connections.
const RING_DEPTH: usize = 1024;
/// The default of 100 ms lets a busy task delay all sockets that long; below 1 ms the executor may sleep with work to do.
const PREEMPT_TIMER: Duration = Duration::from_millis(1);
/// Failures that are told in full.
const EXAMPLES_MAX: usize = 10;

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
    /// Makes the contents of this run different from those of others.
    pub seed: u64,
    arrived: AtomicUsize,
    failed: AtomicBool,
    start_ns: OnceLock<u64>,
    progress: AtomicU64,
    workers: usize,
}

impl Shared {
    /// Worker threads of the run.
    pub fn workers(&self) -> usize {
        self.workers
    }
}

/// What was found, by one worker or by all.
#[derive(Clone, Default)]
pub struct Outcome {
    /// Events in the window by name.
    pub counts: BTreeMap<&'static str, u64>,
    /// Latencies by name.
    pub latencies: BTreeMap<&'static str, Latency>,
    /// Other figures by name (the last word wins).
    pub figures: BTreeMap<&'static str, f64>,
    /// What the verifiers say.
    pub integrity: Integrity,
    /// Failed requests and connections.
    pub errors: u64,
    /// The first of them in words.
    pub error_examples: Vec<String>,
    /// Seconds of CPU of each worker's thread between start and end of load, with the seconds that passed.
    pub busy: Vec<(f64, f64)>,
    /// The same of the server, when its process is known.
    pub server: Option<(f64, f64, usage::Memory)>,
}

impl Outcome {
    /// Counts `count` events.
    pub fn count(&mut self, name: &'static str, count: u64) {
        *self.counts.entry(name).or_default() += count;
    }

    /// Records a latency.
    pub fn latency(&mut self, name: &'static str, latency_ns: u64) {
        self.latencies.entry(name).or_default().record(latency_ns);
    }

    /// Notes a failure.
    pub fn error(&mut self, what: String) {
        self.errors += 1;
        if self.error_examples.len() < EXAMPLES_MAX {
            self.error_examples.push(what);
        }
    }

    fn merge(&mut self, other: Self) {
        for (name, count) in other.counts {
            self.count(name, count);
        }
        for (name, latency) in &other.latencies {
            self.latencies.entry(name).or_default().merge(latency);
        }
        self.figures.extend(other.figures);
        self.integrity.merge(other.integrity);
        self.errors += other.errors;
        self.error_examples.extend(other.error_examples);
        self.error_examples.truncate(EXAMPLES_MAX);
        self.busy.extend(other.busy);
        self.server = self.server.or(other.server);
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
    /// Its process, when it is on this machine and known.
    pub server_pid: Option<u32>,
    /// What the threads share.
    pub shared: Arc<Shared>,
    /// What this thread has found.
    pub outcome: RefCell<Outcome>,
    duration_ns: u64,
    warmup_ns: u64,
}

impl Worker {
    /// This worker's part of `total` things, evenly.
    pub fn share(&self, total: usize) -> Range<usize> {
        total * self.index / self.count..total * (self.index + 1) / self.count
    }

    /// Counts work for the progress line.
    pub fn progress(&self, count: u64) {
        self.shared.progress.fetch_add(count, Ordering::Relaxed);
    }

    /// Waits until every worker has come to its `meeting`-th meeting (from 1).
    ///
    /// # Errors
    /// When another worker has failed.
    pub async fn meet(&self, meeting: usize) -> Result<()> {
        self.shared.arrived.fetch_add(1, Ordering::SeqCst);
        while self.shared.arrived.load(Ordering::SeqCst) < meeting * self.count {
            if self.shared.failed.load(Ordering::SeqCst) {
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
    pub async fn window(&self, meeting: usize) -> Result<Window> {
        self.meet(meeting).await?;
        let start_ns = *self.shared.start_ns.get_or_init(|| now_ns() + 5_000_000);
        let from_ns = start_ns + self.warmup_ns;
        let end_ns = from_ns + self.duration_ns;
        Timer::new(Duration::from_nanos(start_ns.saturating_sub(now_ns()))).await;
        Ok(Window { start_ns, from_ns, end_ns, drain_ns: end_ns + DRAIN_NS })
    }

    /// Runs `load` and measures the CPU that this thread and the server use meanwhile.
    ///
    /// # Errors
    /// Those of `load`, and when /proc cannot be read.
    pub async fn under_load<T>(&self, load: impl Future<Output = Result<T>>) -> Result<T> {
        let server_pid = self.server_pid.filter(|_| self.index == 0);
        let (before_ns, cpu) = (now_ns(), usage::cpu_s(None)?);
        let server_cpu = server_pid.map(|pid| usage::cpu_s(Some(pid))).transpose()?;
        let done = load.await?;
        let passed_s = (now_ns() - before_ns) as f64 / 1e9;
        let mut outcome = self.outcome.borrow_mut();
        outcome.busy.push((usage::cpu_s(None)? - cpu, passed_s));
        if let (Some(pid), Some(before)) = (server_pid, server_cpu) {
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

/// Runs `scenario` against `target` and returns what all threads found.
///
/// # Errors
/// When it could not be set up, or does not end in time.
pub fn run(scenario: &Scenario, common: &Common, target: &Target, server_pid: Option<u32>) -> Result<Outcome> {
    let placements = placements(common);
    let shared = Arc::new(Shared {
        sessions: Mutex::default(),
        chunks: OnceLock::new(),
        agents_done: AtomicUsize::new(0),
        agent_failed: AtomicBool::new(false),
        seed: u64::from(std::process::id()) ^ now_ns(),
        arrived: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
        start_ns: OnceLock::new(),
        progress: AtomicU64::new(0),
        workers: placements.len(),
    });
    let (done, results) = channel();
    // The runtime can put an executor to sleep with work to do; seen here as readers with unread bytes, for half a minute.
    let pulses = pacemaker::start(placements.len().try_into()?)?;
    for ((index, placement), pulse) in placements.into_iter().enumerate().zip(pulses) {
        let (scenario, target, shared, done) = (scenario.clone(), target.clone(), Arc::clone(&shared), done.clone());
        let (duration_ns, warmup_ns) = (seconds_ns(common.duration), seconds_ns(common.warmup));
        let executor = LocalExecutorBuilder::new(placement)
            .name("loadtest")
            .io_memory(64 * 1024)
            .ring_depth(RING_DEPTH)
            .preempt_timer(PREEMPT_TIMER);
        let handle = executor.spawn(move || async move {
            let count = shared.workers;
            let worker = Worker {
                index,
                count,
                target,
                server_pid,
                shared,
                outcome: RefCell::default(),
                duration_ns,
                warmup_ns,
            };
            let worker = Rc::new(worker);
            let _watched = pulse.watch_this_thread();
            pulse.attach();
            let performed = scenarios::perform(&scenario, &worker).await;
            if performed.is_err() {
                worker.shared.failed.store(true, Ordering::SeqCst);
            }
            let outcome = worker.outcome.take();
            // Nobody listens any more once the run was given up.
            drop(done.send(performed.map(|()| outcome)));
        });
        handle
            .map_err(|error| anyhow!("{error}"))
            .context("starting an executor; io_uring and 512 KiB of memlock are needed")?;
    }
    drop(done);
    collect(&results, &shared, common)
}

fn placements(common: &Common) -> Vec<Placement> {
    match &common.client_cpus {
        Some(cpus) => cpus.0.iter().map(|cpu| Placement::Fixed(*cpu)).collect(),
        None => (0..common.threads).map(|_| Placement::Unbound).collect(),
    }
}

fn seconds_ns(seconds: f64) -> u64 {
    nanos(Duration::from_secs_f64(seconds))
}

/// Waits for all workers, shows progress once a second, and gives up when the run is far beyond its plan.
fn collect(results: &Receiver<Result<Outcome>>, shared: &Shared, common: &Common) -> Result<Outcome> {
    let planned =
        SETUP_TIME + Duration::from_secs_f64(common.duration + common.warmup) + Duration::from_nanos(DRAIN_NS);
    let give_up_ns = now_ns() + nanos(planned);
    let terminal = std::io::stderr().is_terminal();
    let (mut total, mut finished, mut failure) = (Outcome::default(), 0, None);
    let mut shown = 0;
    while finished < shared.workers {
        match results.recv_timeout(Duration::from_secs(1)) {
            Ok(result) => {
                finished += 1;
                match result {
                    Ok(outcome) => total.merge(outcome),
                    // The first failure is the cause; the others gave up because of it, unless they were faster to say so.
                    Err(error) if failure.is_none() || error.root_cause().to_string() != GIVEN_UP => {
                        failure = Some(error)
                    }
                    Err(_) => {}
                }
            }
            Err(RecvTimeoutError::Disconnected) => bail!("a worker ended without a result"),
            Err(RecvTimeoutError::Timeout) if now_ns() > give_up_ns => {
                bail!("the run did not end in {planned:?} and was given up")
            }
            Err(RecvTimeoutError::Timeout) if terminal => {
                let now = shared.progress.load(Ordering::Relaxed);
                eprint!("\r\x1b[K{}", progress_line(shared, common, now, now - shown));
                drop(std::io::stderr().flush());
                shown = now;
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    if terminal {
        eprint!("\r\x1b[K");
    }
    failure.map_or(Ok(total), Err)
}

/// What a worker says that stops because of another.
const GIVEN_UP: &str = "given up because another worker failed";

fn progress_line(shared: &Shared, common: &Common, total: u64, last_second: u64) -> String {
    let Some(start_ns) = shared.start_ns.get() else { return format!("setting up: {total}") };
    let passed_s = now_ns().saturating_sub(*start_ns) as f64 / 1e9;
    format!("{passed_s:.0} of {:.0} s   {last_second}/s   {total} in all", common.warmup + common.duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_measures_what_begins_between_warm_up_and_end() {
        let window = Window { start_ns: 0, from_ns: 10, end_ns: 20, drain_ns: 30 };
        assert_eq!([9, 10, 19, 20].map(|at| window.measures(at)), [false, true, true, false]);
    }

    #[test]
    fn what_threads_found_adds_up() {
        let mut total = Outcome::default();
        for _ in 0..2 {
            let mut one = Outcome::default();
            one.count("acks", 3);
            one.latency("ack", 1_000);
            (0..EXAMPLES_MAX + 1).for_each(|_| one.error("refused".into()));
            total.merge(one);
        }
        assert_eq!((total.counts["acks"], total.latencies["ack"].percentiles().count), (6, 2));
        assert_eq!((total.errors, total.error_examples.len()), (22, EXAMPLES_MAX));
    }
}
