//! One shard's tasks: heartbeat, disk, mail, accept; from the start of its thread to the end of its drain.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use glommio::timer::sleep;
use storage::{Blobs, File};

use super::authority::ServerAuth;
use super::disk::{self, Disk};
use super::folder::{self, Folder};
use super::handshakes::Handshakes;
use super::listener::{self, Door};
use super::mailbox::{Inbound, Post};
use super::metrics::Metrics;
use super::net::{Listener, Poller};
use super::outbound::{Outbound, Policy, Resolver, Trust};
use super::pacemaker::Pulse;
use super::state::SharedState;
use super::tls::ServerTls;
use super::uploads::{self, Uploads};
use super::world::World;
use crate::config::ServeConfig;
use crate::limits;
use crate::shard::{DIRECTORY_SHARD, Shard, ShardId};

/// What a shard's thread starts with.
pub(super) struct Start {
    pub(super) id: ShardId,
    pub(super) shards: u16,
    pub(super) config: Arc<ServeConfig>,
    pub(super) state: Arc<SharedState>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) posts: Vec<Post>,
    pub(super) socket: OwnedFd,
    pub(super) connections_max: usize,
    pub(super) open: Box<dyn FnOnce() -> Result<Shard<File>, anyhow::Error> + Send>,
    pub(super) opened: mpsc::Sender<Result<u64, anyhow::Error>>,
    pub(super) pulse: Pulse,
    pub(super) resolver: Resolver,
    pub(super) trust: Trust,
    pub(super) tls: Option<Arc<ServerTls>>,
    pub(super) blobs: Blobs,
    pub(super) folder: Arc<Folder>,
    pub(super) auth: Arc<ServerAuth>,
}

/// Runs a shard to the end of its drain.
pub(super) async fn run(start: Start) {
    let Start {
        id,
        shards,
        config,
        state,
        metrics,
        posts,
        socket,
        connections_max,
        open,
        opened,
        pulse,
        resolver,
        trust,
        tls,
        blobs,
        folder,
        auth,
    } = start;
    pulse.attach();
    let mut shard = match open() {
        Ok(shard) => shard,
        Err(error) => {
            let _ = opened.send(Err(error)); // the main thread waits for this answer, unless it gave up already
            return;
        }
    };
    let sessions = shard.status().sessions;
    if config.disable_agent_webhooks {
        shard.disable_agents();
    }
    let outbound = Outbound::new(Policy { deny_private: config.deny_private_webhooks }, resolver, trust);
    let (disk, poller, listener) = match tools(id, socket) {
        Ok(tools) => tools,
        Err(error) => {
            let _ = opened.send(Err(error.into())); // as above
            return;
        }
    };
    let world = World::new(
        id,
        shards,
        config,
        state,
        auth,
        metrics.of_shard(id),
        shard,
        outbound,
        disk,
        Uploads::new(blobs),
        folder,
    );
    world.read_clock();
    meet_peers(&world, posts).await;
    glommio::spawn_local(send_mail(Rc::clone(&world))).detach();
    glommio::spawn_local(disk::serve(Rc::clone(&world))).detach();
    glommio::spawn_local(settle_turns(Rc::clone(&world), Rc::clone(&poller))).detach();
    world.publish_status();
    if id == DIRECTORY_SHARD {
        begin_chores(&world);
        world.spread_all(move || drop(opened.send(Ok(sessions))));
    } else {
        let _ = opened.send(Ok(sessions));
    }
    let door = Door { connections_max, handshakes: tls.map(Handshakes::new) };
    let accept = listener::accept(Rc::clone(&world), poller, listener, door);
    beat(&world, accept).await;
    drain(&world).await;
}

/// What is done for the whole server, by one shard.
fn begin_chores(world: &Rc<World>) {
    glommio::spawn_local(super::jwks::keep_fresh(Rc::clone(world))).detach();
    glommio::spawn_local(uploads::sweep_again_and_again(Rc::clone(world))).detach();
    glommio::spawn_local(folder::look_again_and_again(Rc::clone(world))).detach();
}

/// What a shard has of its own beside its log.
fn tools(id: ShardId, socket: OwnedFd) -> io::Result<(Disk, Rc<Poller>, Listener)> {
    let poller = Poller::start()?;
    let listener = Listener::new(&poller, socket)?;
    Ok((Disk::start(id)?, poller, listener))
}

async fn meet_peers(world: &Rc<World>, posts: Vec<Post>) {
    let meetings: Vec<_> = posts.into_iter().map(|post| glommio::spawn_local(post.connect())).collect();
    for meeting in meetings {
        let (outbound, inbound) = meeting.await;
        world.peers.borrow_mut().push(outbound);
        let Inbound { commands, events } = inbound;
        let receiver = Rc::clone(world);
        glommio::spawn_local(async move {
            while let Some(batch) = commands.recv().await {
                receiver.commands_arrived(batch);
            }
        })
        .detach();
        let receiver = Rc::clone(world);
        glommio::spawn_local(async move {
            while let Some(batch) = events.recv().await {
                receiver.events_arrived(batch);
            }
        })
        .detach();
    }
}

/// Ends the turns. The task runs after those that are runnable already, and while more arrives a turn takes that in too: one
/// settling, and one sync, covers it all. A sync costs the same whatever it covers, so a busy shard makes few large ones; one that
/// has nothing else to do makes each at once.
async fn settle_turns(world: Rc<World>, poller: Rc<Poller>) {
    loop {
        world.turn_bell.heard().await;
        let began = Instant::now();
        while poller.look() && began.elapsed() < Duration::from_micros(limits::TURN_US_MAX) {
            futures_lite::future::yield_now().await;
        }
        world.settle(poller.changes());
    }
}

/// Sends what the turns queued. The task runs after those that are runnable already: their mail travels together.
async fn send_mail(world: Rc<World>) {
    loop {
        world.mail_bell.heard().await;
        world.flush_mail();
    }
}

/// Beats until the drain begins. Accepts connections from when every shard knows every agent: a message must not be taken as one
/// that nobody answers.
async fn beat(world: &Rc<World>, accept: impl Future<Output = ()> + 'static) {
    let mut next_sweep_us = 0;
    let mut accept = Some(accept);
    while !world.state.is_draining() {
        if world.state.is_serving()
            && let Some(accept) = accept.take()
        {
            glommio::spawn_local(accept).detach();
        }
        sleep(Duration::from_millis(limits::HEARTBEAT_MS)).await;
        heartbeat(world, &mut next_sweep_us);
    }
}

fn heartbeat(world: &Rc<World>, next_sweep_us: &mut u64) {
    const SWEEP_US: u64 = 1_000_000;
    world.read_clock();
    world.renew_trusted();
    world.tick();
    if world.mail_waits() {
        world.flush_mail();
    }
    let now_us = world.now().mono_us;
    if now_us >= *next_sweep_us {
        *next_sweep_us = now_us + SWEEP_US;
        world.io.watches.sweep(now_us);
        super::longpoll::sweep(world);
        world.sweep_tenures();
        world.outbound.close_idle(Instant::now());
        world.publish_status();
    }
}

/// Stops accepting, lets connections and answers of agents finish, serves mail until no shard has any, syncs. An answer that takes
/// longer is taken up by the next start, like after a crash.
async fn drain(world: &Rc<World>) {
    let deadline = Instant::now() + Duration::from_secs(world.config.drain_s);
    let mut next_sweep_us = 0;
    world.drain_bell.ring();
    world.io.watches.drain();
    super::longpoll::end_all(world);
    world.hold_runs();
    let mut reported = false;
    while Instant::now() < deadline && !(reported && world.state.all_drained()) {
        if !reported && world.io.watches.len() == 0 && world.calls_out.is_empty() {
            reported = true;
            world.state.shard_drained();
            continue;
        }
        sleep(Duration::from_millis(limits::HEARTBEAT_MS)).await;
        heartbeat(world, &mut next_sweep_us);
    }
    let left = world.io.watches.len();
    if left > 0 {
        tracing::warn!(shard = world.id.0, connections = left, "the drain's time is over, connections are cut");
    }
    let deadline = Instant::now() + Duration::from_secs(world.config.drain_s);
    // A helper thread that comes back to an executor that is gone ends the whole process with a panic.
    let is_at_rest = || world.is_synced() && world.disk.is_idle() && world.uploads.is_idle();
    while !is_at_rest() && Instant::now() < deadline {
        sleep(Duration::from_millis(1)).await;
        heartbeat(world, &mut next_sweep_us);
    }
}
