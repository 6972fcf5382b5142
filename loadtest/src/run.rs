//! One run of a scenario: worker threads (an executor each), and the main thread that waits for them, shows how far they
//! are, and sums up what they found.
//!
//! Everything has an end: a run that outlives its plan is given up.

use crate::clock::{nanos, now_ns};
use crate::options::{Common, Scenario};
pub use crate::outcome::{EXAMPLES_MAX, Outcome};
use crate::progress::Progress;
use crate::sampling::Sampler;
use crate::scenarios;
use crate::server::Subject;
use crate::worker::{DRAIN_NS, GIVEN_UP, Shared};
pub use crate::worker::{Window, Worker};
use anyhow::{Context, Result, anyhow, bail};
use fleetlm::server::pacemaker::{self, Pulse};
use glommio::{LocalExecutorBuilder, Placement};
use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Before the window: for creating, filling and joining.
const SETUP_TIME: Duration = Duration::from_secs(900);
/// Depth of an executor's ring; the default of 128 costs CPU at many connections.
const RING_DEPTH: usize = 1024;
/// The default of 100 ms lets a busy task delay all sockets that long; below 1 ms the executor may sleep with work to do.
const PREEMPT_TIMER: Duration = Duration::from_millis(1);
/// How often the main thread looks at the run.
const LOOK: Duration = Duration::from_millis(200);
/// Slots of a short run; a long one has slots of a second, and longer ones when there are too many.
const SLOTS: f64 = 50.0;

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// As reports name it.
    pub name: &'static str,
    /// What.
    pub scenario: Scenario,
    /// Seconds that are measured.
    pub duration_s: f64,
    /// Seconds under load before them.
    pub warmup_s: f64,
}

impl Plan {
    /// The scenario's options and the times, as reports keep them.
    ///
    /// # Errors
    /// When they cannot be told, which is a defect.
    pub fn options(&self) -> Result<BTreeMap<String, Value>> {
        let mut options: BTreeMap<String, Value> = serde_json::from_value(serde_json::to_value(&self.scenario)?)?;
        options.insert("duration_s".to_owned(), self.duration_s.into());
        options.insert("warmup_s".to_owned(), self.warmup_s.into());
        Ok(options)
    }
}

type Results = Sender<Result<Outcome>>;

/// Set once somebody wants the run to end: the run is given up, and what it started is stopped. The second time ends the
/// program at once.
///
/// # Errors
/// When the system gives no signal handler.
pub fn interruptible() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&interrupted))?;
        flag::register(signal, Arc::clone(&interrupted))?;
    }
    Ok(interrupted)
}

/// Runs `plan` against `subject` and returns what all threads found.
///
/// # Errors
/// When it could not be set up, or does not end in time.
pub fn run(plan: &Plan, common: &Common, subject: &Subject, interrupted: &AtomicBool) -> Result<Outcome> {
    let placements = placements(common);
    let slot_ns = seconds_ns((plan.duration_s / SLOTS).clamp(0.05, 1.0));
    let shared = Arc::new(Shared::new(subject.clone(), placements.len(), slot_ns));
    let (done, results) = channel();
    // The runtime can put an executor to sleep with work to do; seen here as readers with unread bytes, for half a minute.
    let pulses = pacemaker::start(placements.len().try_into()?)?;
    for ((index, placement), pulse) in placements.into_iter().enumerate().zip(pulses) {
        start_worker(index, placement, pulse, plan, Arc::clone(&shared), done.clone())?;
    }
    drop(done);
    collect(&results, &shared, plan, interrupted)
}

fn start_worker(
    index: usize,
    placement: Placement,
    pulse: Pulse,
    plan: &Plan,
    shared: Arc<Shared>,
    done: Results,
) -> Result<()> {
    let (scenario, duration_ns, warmup_ns) =
        (plan.scenario.clone(), seconds_ns(plan.duration_s), seconds_ns(plan.warmup_s));
    let executor = LocalExecutorBuilder::new(placement)
        .name("loadtest")
        .io_memory(64 * 1024)
        .ring_depth(RING_DEPTH)
        .preempt_timer(PREEMPT_TIMER);
    let handle = executor.spawn(move || async move {
        let count = shared.workers();
        let target = shared.subject.target.clone();
        let worker = Worker { index, count, target, shared, outcome: RefCell::default(), duration_ns, warmup_ns };
        let worker = Rc::new(worker);
        let _watched = pulse.watch_this_thread();
        pulse.attach();
        let performed = scenarios::perform(&scenario, &worker).await;
        if performed.is_err() {
            worker.shared.fail();
        }
        worker.hand_over();
        let outcome = worker.outcome.take();
        // Nobody listens any more once the run was given up.
        drop(done.send(performed.map(|()| outcome)));
    });
    handle
        .map_err(|error| anyhow!("{error}"))
        .context("starting an executor; io_uring and 512 KiB of memlock are needed")?;
    Ok(())
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

/// Waits for all workers, looks at the run five times a second, and gives up when it is far beyond its plan.
fn collect(
    results: &Receiver<Result<Outcome>>,
    shared: &Shared,
    plan: &Plan,
    interrupted: &AtomicBool,
) -> Result<Outcome> {
    let planned = SETUP_TIME
        + Duration::from_secs_f64(plan.duration_s + plan.warmup_s)
        + plan.scenario.time_beyond_window()
        + Duration::from_nanos(DRAIN_NS);
    let give_up_ns = now_ns() + nanos(planned);
    let mut progress = Progress::new(plan);
    let mut sampler = Sampler::new(shared, plan.duration_s, plan.scenario.interval());
    let (mut total, mut finished, mut failure) = (Outcome::default(), 0, None);
    while finished < shared.workers() {
        match results.recv_timeout(LOOK) {
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
            Err(RecvTimeoutError::Timeout) if interrupted.load(Ordering::SeqCst) => bail!("interrupted"),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(line) = sampler.look(shared) {
                    progress.print(&line);
                }
                progress.show(shared);
            }
        }
    }
    progress.end();
    total.latencies = shared.recording.finish();
    total.samples = sampler.samples();
    failure.map_or(Ok(total), Err)
}
