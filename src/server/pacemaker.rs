//! A thread that wakes shards which the runtime has put to sleep with work to do.
//!
//! Seen with glommio-ng 0.12: an executor parks in `io_uring_enter` although tasks are runnable or timers are due, even before its
//! first task ran (docs/decisions/0001). Only something from outside its rings' bookkeeping wakes it. So every shard counts its
//! pulse, and a shard whose count stands still gets a signal whose handler does nothing: the wait ends as interrupted and the
//! executor looks around. A shard that is merely busy gets one too many; that costs it next to nothing.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::pthread::{Pthread, pthread_kill, pthread_self};
use nix::sys::signal::Signal;

use crate::limits;

/// Looks without a new beat after which a shard is woken.
const STILL_MAX: u32 = 3;

/// What ends the wait. Its default is to be ignored, and hardly anything else uses it.
const NUDGE: Signal = Signal::SIGURG;

/// A shard's side: its count, and its thread while it runs. Any executor of this runtime can have one; the load generator's do.
pub struct Pulse {
    beats: Arc<AtomicU64>,
    thread: Arc<Mutex<Option<Pthread>>>,
}

/// Keeps the thread known to the pacemaker; dropped in that thread, before it ends.
pub struct Watched {
    thread: Arc<Mutex<Option<Pthread>>>,
}

/// The pacemaker's side of one shard.
struct Patient {
    beats: Arc<AtomicU64>,
    thread: Arc<Mutex<Option<Pthread>>>,
    last: u64,
    still: u32,
}

/// Starts the thread for `shards` and returns their sides. It ends with the process.
///
/// # Errors
/// When the system gives no signal handler or no thread.
pub fn start(shards: u16) -> io::Result<Vec<Pulse>> {
    // Any handler will do: without one the signal is ignored and interrupts nothing.
    signal_hook::flag::register(NUDGE as i32, Arc::new(AtomicBool::new(false)))?;
    let mut pulses = Vec::new();
    let mut patients = Vec::new();
    for _ in 0..shards {
        let pulse = Pulse { beats: Arc::default(), thread: Arc::default() };
        let (beats, thread) = (Arc::clone(&pulse.beats), Arc::clone(&pulse.thread));
        pulses.push(pulse);
        patients.push(Patient { beats, thread, last: 0, still: 0 });
    }
    thread::Builder::new().name("pacemaker".to_owned()).spawn(move || {
        loop {
            thread::sleep(Duration::from_millis(limits::HEARTBEAT_MS));
            patients.iter_mut().for_each(Patient::look);
        }
    })?;
    Ok(pulses)
}

impl Patient {
    fn look(&mut self) {
        let beats = self.beats.load(Ordering::Relaxed);
        self.still = if beats == self.last { self.still + 1 } else { 0 };
        self.last = beats;
        if self.still >= STILL_MAX {
            self.still = 0;
            // The lock is held while the signal is sent, so the thread is still there.
            if let Some(thread) = *self.thread.lock().unwrap_or_else(PoisonError::into_inner) {
                let _ = pthread_kill(thread, NUDGE); // a failure shows as a shard that stays still, and is tried again
            }
        }
    }
}

impl Pulse {
    /// Makes the calling thread known, before its executor runs: it can be put to sleep from then on.
    pub fn watch_this_thread(&self) -> Watched {
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(pthread_self());
        Watched { thread: Arc::clone(&self.thread) }
    }

    /// Starts counting on the calling thread's executor, until that ends.
    pub fn attach(self) {
        let count = async move {
            loop {
                self.beats.fetch_add(1, Ordering::Relaxed);
                glommio::timer::sleep(Duration::from_millis(limits::HEARTBEAT_MS)).await;
            }
        };
        glommio::spawn_local(count).detach();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
