//! Creates sessions and looks at what they cost the server when nobody uses them; then, if asked, the same for idle sockets.
//!
//! The window ends when all are created, not by time. Verifies that ids are unique and that every hundredth session can
//! be read back. Memory is the server's own after it has settled, so it needs its process on this machine (`--spawn` or
//! `--pid`).

mod idle;

use crate::clock::now_ns;
use crate::http::Http;
use crate::options::Sessions;
use crate::provision::{AGENT, created, creation, user};
use crate::run::Worker;
use crate::usage::{self, Memory};
use crate::verify::Violation;
use anyhow::{Context, Result, bail};
use glommio::timer::Timer;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// One of so many is read back.
const SAMPLE: usize = 100;
/// Between two looks at the server's memory. Twice the same is at rest.
const REST: Duration = Duration::from_millis(500);
/// Looks after which it is taken as it is.
const LOOKS_MAX: usize = 20;
/// What still counts as the same, as a share.
const SAME: f64 = 0.001;

pub async fn perform(worker: &Rc<Worker>, options: &Sessions) -> Result<()> {
    let connections = worker.share(options.connections);
    let mut https = Vec::with_capacity(connections.len());
    for _ in connections.clone() {
        https.push(Http::connect(&worker.target).await?);
    }
    // Meetings: all are connected, memory was read, all is created, memory was read, sockets are joined.
    worker.meet(1).await?;
    let empty = memory_at_rest(worker).await?;
    worker.meet(2).await?;

    let started_ns = now_ns();
    worker.record(started_ns, u64::MAX);
    let ids = Rc::new(RefCell::new(HashMap::new()));
    let part =
        |number| options.count * number / options.connections..options.count * (number + 1) / options.connections;
    let load = async {
        let creators = https.into_iter().zip(connections.clone()).map(|(http, number)| {
            let creator = Creator { worker: Rc::clone(worker), http, ids: Rc::clone(&ids), pipeline: options.pipeline };
            creator.run(part(number))
        });
        worker.each(creators).await;
        Ok(())
    };
    worker.under_load(load).await?;
    worker.meet(3).await?;
    let passed_s = (now_ns() - started_ns) as f64 / 1e9;
    let full = memory_at_rest(worker).await?;
    if worker.index == 0 {
        let mut outcome = worker.outcome.borrow_mut();
        outcome.figures.insert(super::SECONDS_PASSED, passed_s);
        per_piece(&mut outcome, ["bytes (anon)/session", "bytes (RSS)/session"], empty, full, options.count);
    }
    worker.meet(4).await?;
    idle_sockets(worker, options, ids.take(), full).await
}

/// The server's memory once it is idle; `None` for all workers but the first, and when its process is not known.
async fn memory_at_rest(worker: &Worker) -> Result<Option<Memory>> {
    let Some(pid) = worker.server_pid().filter(|_| worker.index == 0) else { return Ok(None) };
    let mut memory = usage::memory(pid)?;
    for _ in 0..LOOKS_MAX {
        Timer::new(REST).await;
        let before = std::mem::replace(&mut memory, usage::memory(pid)?);
        let moved = memory.anon_bytes.abs_diff(before.anon_bytes) + memory.rss_bytes.abs_diff(before.rss_bytes);
        if moved as f64 <= SAME * memory.rss_bytes as f64 {
            break;
        }
    }
    Ok(Some(memory))
}

fn per_piece(
    outcome: &mut crate::run::Outcome,
    names: [&'static str; 2],
    before: Option<Memory>,
    after: Option<Memory>,
    pieces: usize,
) {
    let (Some(before), Some(after)) = (before, after) else { return };
    let each = |before: u64, after: u64| (after as f64 - before as f64) / pieces as f64;
    outcome.figures.insert(names[0], each(before.anon_bytes, after.anon_bytes));
    outcome.figures.insert(names[1], each(before.rss_bytes, after.rss_bytes));
}

struct Creator {
    worker: Rc<Worker>,
    http: Http,
    /// The number of each session by its id.
    ids: Rc<RefCell<HashMap<String, usize>>>,
    pipeline: usize,
}

impl Creator {
    async fn run(mut self, numbers: Range<usize>) -> Result<()> {
        let mut waiting = VecDeque::with_capacity(self.pipeline);
        let mut queued = numbers.start;
        for number in numbers.clone() {
            while queued < numbers.end && waiting.len() < self.pipeline {
                self.http.post("/api/sessions", creation(&self.user(queued), AGENT).as_bytes());
                waiting.push_back(now_ns());
                queued += 1;
            }
            self.http.flush().await?;
            let user = self.user(number);
            let response = self.http.response().await?;
            let id = created(response.status, response.body, &user)?;
            self.note(id, number, waiting.pop_front().context("a response to nothing")?);
        }
        let sampled = |number: usize| number.is_multiple_of(SAMPLE) && numbers.contains(&number);
        let sample: Vec<_> =
            self.ids.borrow().iter().filter(|(_, n)| sampled(**n)).map(|(id, n)| (id.clone(), *n)).collect();
        for (id, number) in sample {
            self.read_back(&id, &self.user(number)).await?;
        }
        Ok(())
    }

    fn user(&self, number: usize) -> String {
        user(self.worker.shared.seed, number)
    }

    fn note(&self, id: String, number: usize, sent_ns: u64) {
        let mut outcome = self.worker.outcome.borrow_mut();
        outcome.integrity.checked += 1;
        outcome.count("sessions", 1);
        outcome.latency("create", now_ns() - sent_ns);
        if let Some(other) = self.ids.borrow_mut().insert(id, number) {
            outcome
                .integrity
                .report(Violation::Duplicate, || format!("sessions {other} and {number} have the same id"));
        }
        drop(outcome);
        self.worker.progress(1);
    }

    async fn read_back(&mut self, id: &str, user: &str) -> Result<()> {
        self.http.get(&format!("/api/sessions/{id}"));
        self.http.flush().await?;
        let response = self.http.response().await?;
        // The same body as of a creation, with another status.
        let same = response.status == 200 && created(201, response.body, user).is_ok_and(|read| read == id);
        let what = format!("session {id} read back: status {} {}", response.status, response.excerpt());
        let integrity = &mut self.worker.outcome.borrow_mut().integrity;
        integrity.checked += 1;
        if !same {
            integrity.report(Violation::Lost, || what);
        }
        Ok(())
    }
}

async fn idle_sockets(
    worker: &Rc<Worker>,
    options: &Sessions,
    sessions: HashMap<String, usize>,
    before: Option<Memory>,
) -> Result<()> {
    let mine = worker.share(options.sockets);
    if mine.len() > sessions.len() {
        bail!("{} idle sockets need as many sessions (--count), and each thread its part of them", options.sockets);
    }
    let seed = worker.shared.seed;
    let places: Vec<idle::Place> =
        sessions.into_iter().take(mine.len()).map(|(id, number)| (id, user(seed, number))).collect();
    let (shared, target, first) = (Arc::clone(&worker.shared), worker.target.clone(), mine.start);
    let open = move || idle::IdleSockets::open(&target, first, &places, |count| shared.advance(count as u64));
    let mut sockets = glommio::executor().spawn_blocking(open).await?;
    worker.meet(5).await?;
    let after = memory_at_rest(worker).await?;
    if options.sockets > 0 {
        let mut outcome = worker.outcome.borrow_mut();
        per_piece(
            &mut outcome,
            ["bytes (anon)/idle socket", "bytes (RSS)/idle socket"],
            before,
            after,
            options.sockets,
        );
    }
    worker.meet(6).await?;
    // All of them are still there, or their memory was that of others.
    let count = sockets.len() as u64;
    glommio::executor().spawn_blocking(move || sockets.beat().map(|()| sockets)).await?;
    worker.outcome.borrow_mut().integrity.checked += count;
    worker.meet(7).await
}
