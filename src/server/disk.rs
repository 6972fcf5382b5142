//! The disk's side of a shard: its syncs, on a thread of their own or, when it is calm, on its own; and its other blocking works, on
//! helper threads.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use futures_channel::oneshot;
use storage::{File, Sync, Work};

use super::mailbox::Bell;
use super::metrics::Which;
use super::slice;
use super::world::World;
use crate::limits;
use crate::shard::{Input, ShardId};

/// What the shard has asked the disk for.
pub(super) struct Disk {
    bell: Bell,
    syncer: mpsc::Sender<Order>,
    works: RefCell<VecDeque<Work<File>>>,
    syncs_running: Cell<usize>,
    works_running: Cell<usize>,
}

impl Disk {
    /// Starts the thread that syncs.
    ///
    /// # Errors
    /// When the system gives none.
    pub(super) fn start(shard: ShardId) -> io::Result<Self> {
        Ok(Self {
            bell: Bell::default(),
            syncer: start_syncer(shard)?,
            works: RefCell::default(),
            syncs_running: Cell::default(),
            works_running: Cell::default(),
        })
    }

    pub(super) fn ask_for_work(&self, work: Work<File>) {
        self.works.borrow_mut().push_back(work);
        self.bell.ring();
    }

    /// Whether nothing waits and nothing runs.
    pub(super) fn is_idle(&self) -> bool {
        self.works.borrow().is_empty() && self.syncs_running.get() + self.works_running.get() == 0
    }
}

/// Begins a sync. Its order is with the thread when this returns: nothing else of the turn stands before it.
pub(super) fn begin_sync(world: &Rc<World>, sync: Sync<File>) {
    glommio::spawn_local(perform_sync(Rc::clone(world), sync)).detach();
}

/// Performs the works that are asked for.
pub(super) async fn serve(world: Rc<World>) {
    loop {
        world.disk.bell.heard().await;
        while world.disk.works_running.get() < limits::DISK_WORKS_MAX {
            let Some(work) = ({ world.disk.works.borrow_mut().pop_front() }) else { break };
            glommio::spawn_local(perform_work(Rc::clone(&world), work)).detach();
        }
    }
}

/// Performs a sync on the shard's own thread, which stands still meanwhile. For a shard that is calm.
pub(super) fn sync_here(world: &Rc<World>, sync: Sync<File>) {
    let started = Instant::now();
    let result = sync.run();
    finish_sync(world, started, sync, result);
}

async fn perform_sync(world: Rc<World>, sync: Sync<File>) {
    let running = &world.disk.syncs_running;
    running.set(running.get() + 1);
    let started = Instant::now();
    let (sync, result) = run_sync(&world, sync).await;
    running.set(running.get() - 1);
    finish_sync(&world, started, sync, result);
}

fn finish_sync(world: &Rc<World>, started: Instant, sync: Sync<File>, result: io::Result<()>) {
    let took_us = started.elapsed().as_micros() as u64;
    world.metrics.count(Which::Syncs);
    world.metrics.synced_us(took_us);
    world.read_clock();
    world.calm.borrow_mut().synced(took_us);
    let has_failed = result.is_err();
    if let Err(error) = &result {
        world.metrics.count(Which::SyncFailures);
        tracing::error!(shard = world.id.0, %error, "a sync failed: this shard takes no more appends until a restart");
    }
    world.take(Input::Synced(sync, result));
    world.release(); // at once; what was appended meanwhile is the next sync's, which begins at the end of the turn
    if has_failed {
        world.publish_status();
    }
}

/// Runs the sync on the thread for it and waits.
async fn run_sync(world: &World, sync: Sync<File>) -> (Sync<File>, io::Result<()>) {
    let (done, answer) = oneshot::channel();
    let order = Order { sync, done };
    world.disk.syncer.send(order).unwrap_or_else(|_| unreachable!("the thread lives as long as somebody can send"));
    answer.await.expect("the thread answers every order: panics abort")
}

/// A sync and who waits for it.
struct Order {
    sync: Sync<File>,
    done: oneshot::Sender<(Sync<File>, io::Result<()>)>,
}

/// The thread that syncs. It ends when nobody can send any more.
fn start_syncer(shard: ShardId) -> io::Result<mpsc::Sender<Order>> {
    let (sender, orders) = mpsc::channel::<Order>();
    let serve = move || {
        slice::ask_for_short_slices();
        while let Ok(Order { sync, done }) = orders.recv() {
            let result = sync.run();
            drop(done.send((sync, result))); // in a drain that ran out of time nobody waits any more
        }
    };
    thread::Builder::new().name(format!("sync-{}", shard.0)).spawn(serve)?;
    Ok(sender)
}

async fn perform_work(world: Rc<World>, work: Work<File>) {
    let running = &world.disk.works_running;
    running.set(running.get() + 1);
    let done = glommio::executor().spawn_blocking(move || work.run()).await;
    running.set(running.get() - 1);
    world.disk.bell.ring();
    world.read_clock();
    let was_full = world.is_disk_full();
    world.take(Input::Worked(done));
    if world.is_disk_full() != was_full {
        world.publish_status(); // told at once
    }
}
