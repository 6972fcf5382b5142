//! Reads whole sessions from their first message to the last, page by page, again and again.
//!
//! First the sessions are filled. Then each reader takes one session after the other: by GET with `after_seq`, or by
//! joining the channel with `last_seq` and leaving it. Measures the time to the first byte of the first page and to the
//! last message verified. Every message of every replay is verified.
//!
//! Cold: after the filling the server is stopped and started again, and the page cache of its files dropped; then each
//! session is read once. How much the server had read from the disk meanwhile is told, so that cold can be believed.

use crate::clock::{Schedule, nanos, now_ns};
use crate::figures::SECONDS_PASSED;
use crate::http::Http;
use crate::options::{By, Replay};
use crate::phoenix::{self, Page};
use crate::provision::{self, Session};
use crate::run::{Window, Worker};
use crate::socket::Socket;
use crate::usage;
use crate::verify::{Integrity, Messages};
use crate::wire::{ANSWER_TIMEOUT, Filled};
use anyhow::{Context, Result, bail};
use std::rc::Rc;

/// Messages of a page when nothing is said.
const PAGE: usize = 1000;

pub async fn perform(worker: &Rc<Worker>, options: &Replay) -> Result<()> {
    let own = provision::create(worker, worker.share(options.sessions)).await?;
    let fills = own.clone().into_iter().map(|session| {
        let (worker, messages, size) = (Rc::clone(worker), options.messages as u64, options.size);
        async move { provision::fill(&worker, &session, messages, size).await }
    });
    worker.each(fills).await;
    if let Some(failure) = worker.outcome.borrow().error_examples.first() {
        bail!("filling the sessions: {failure}");
    }
    worker.shared.sessions.lock().expect("no worker panics").extend(own.iter().cloned().enumerate());
    let (window, meetings) = match options.cold {
        true => (cold_window(worker).await?, 3),
        false => (worker.window(1).await?, 1),
    };
    let sessions: Vec<Session> =
        worker.shared.sessions.lock().expect("no worker panics").iter().map(|(_, session)| session.clone()).collect();
    let sessions: Rc<[Session]> = sessions.into();
    let from_disk = disk_read_bytes(worker);
    let readers = worker.share(options.readers);
    let load = async {
        let read = |number| read(Rc::clone(worker), options.clone(), Rc::clone(&sessions), number, window);
        worker.each(readers.map(read)).await;
        Ok(())
    };
    worker.under_load(load).await?;
    worker.meet(meetings + 1).await?;
    if let (true, Some(before), Some(after)) = (options.cold, from_disk, disk_read_bytes(worker)) {
        let mut outcome = worker.outcome.borrow_mut();
        outcome.figures.insert(SECONDS_PASSED, (now_ns() - window.start_ns) as f64 / 1e9);
        outcome.figures.insert("bytes read from disk", (after - before) as f64);
    }
    provision::remove(&worker.target, &own).await;
    Ok(())
}

/// Of the server, told by the first worker.
fn disk_read_bytes(worker: &Worker) -> Option<u64> {
    worker.server_pid().filter(|_| worker.index == 0).and_then(|pid| usage::disk_read_bytes(pid).ok())
}

/// Restarts the server without its page cache. The window begins when it is ready and ends with the work.
async fn cold_window(worker: &Rc<Worker>) -> Result<Window> {
    worker.meet(1).await?;
    if worker.index == 0 {
        let own = worker.shared.subject.own.clone().context("only a server of our own is stopped: --spawn")?;
        let restart = move || {
            // The start finishes the end of the log, and has the system read most of it ahead: only after it can the
            // cache be cold.
            own.end();
            own.restart()?;
            own.drop_page_cache()
        };
        glommio::executor().spawn_blocking(restart).await.context("restarting the server without its page cache")?;
    }
    worker.meet(2).await?;
    let start_ns = now_ns();
    worker.record(start_ns, u64::MAX);
    worker.meet(3).await?;
    Ok(Window { start_ns, from_ns: start_ns, end_ns: u64::MAX, drain_ns: u64::MAX })
}

/// One reader: session after session until the window ends. What began before the end is finished, and counted by when it
/// began.
async fn read(
    worker: Rc<Worker>,
    options: Replay,
    sessions: Rc<[Session]>,
    number: usize,
    window: Window,
) -> Result<()> {
    let last = options.messages as u64;
    let mut http = match options.by {
        By::Get => Some(Http::connect(&worker.target).await?),
        By::Join | By::Both => None,
    };
    // Cold: each session once, by one reader. Otherwise all of them again and again.
    let (step, turns) = if options.cold { (options.readers, sessions.len()) } else { (1, usize::MAX) };
    for turn in (number..turns).step_by(step) {
        let started_ns = now_ns();
        if started_ns >= window.end_ns {
            break;
        }
        let session = &sessions[turn % sessions.len()];
        let mut replay = Reading::of(session, options.size);
        let bytes = match &mut http {
            Some(http) => by_get(http, session, options.page, last, &mut replay).await?,
            None => by_join(&worker, session, options.page, last, &mut replay).await?,
        };
        replay.finish(&worker, started_ns, last, bytes, &window);
        worker.progress(last);
    }
    Ok(())
}

/// A replay by join that is due at its times, until the window ends: for a soak.
pub(super) async fn join_at_times(
    worker: Rc<Worker>,
    session: Session,
    messages: u64,
    size: usize,
    window: Window,
    pace: Schedule,
) -> Result<()> {
    let mut pace = Some(pace);
    while let Some(due_ns) = super::rest::next(&window, &mut pace).await {
        let mut replay = Reading::of(&session, size);
        let bytes = by_join(&worker, &session, PAGE, messages, &mut replay).await?;
        replay.finish(&worker, due_ns, messages, bytes, &window);
        worker.progress(1);
    }
    Ok(())
}

/// One replay under way.
struct Reading {
    messages: Messages,
    integrity: Integrity,
    first_ns: Option<u64>,
}

impl Reading {
    fn of(session: &Session, size: usize) -> Self {
        Self {
            messages: Messages::new(format!("replay of {}", session.topic), 1, session.tag, size),
            integrity: Integrity::default(),
            first_ns: None,
        }
    }

    /// Judges and counts a replay that was begun, or due, at `started_ns`.
    fn finish(mut self, worker: &Worker, started_ns: u64, last: u64, bytes: u64, window: &Window) {
        let done_ns = now_ns();
        self.messages.finish(last + 1, &mut self.integrity);
        let mut outcome = worker.outcome.borrow_mut();
        outcome.integrity.merge(self.integrity);
        if window.measures(started_ns) {
            outcome.latency("replay first", self.first_ns.unwrap_or(done_ns) - started_ns);
            outcome.latency("replay last", done_ns - started_ns);
        }
        if window.measures(done_ns) {
            outcome.count("replays", 1);
            outcome.count("messages replayed", last);
            outcome.count("bytes", bytes);
        }
    }

    /// Verifies a page. Whether there must be another one.
    fn page(&mut self, text: &str, last: u64) -> Result<bool> {
        let page: Page = serde_json::from_str(text).context("reading a page of messages")?;
        for message in &page.messages {
            self.messages.arrive(message.seq, message.content.get(), &mut self.integrity);
        }
        // An empty page before the end is a loss: the verifier tells, and asking again would not end.
        Ok(self.messages.next() <= last && !page.messages.is_empty() && page.has_more != Some(false))
    }
}

async fn by_get(http: &mut Http, session: &Session, limit: usize, last: u64, replay: &mut Reading) -> Result<u64> {
    let before = http.bytes_total();
    loop {
        let after = replay.messages.next() - 1;
        http.get(&format!("/api/sessions/{}/messages?after_seq={after}&limit={limit}", session.id));
        http.flush().await?;
        let response = http.response().await?;
        if response.status != 200 {
            bail!("GET of {}: status {}: {}", session.id, response.status, response.excerpt());
        }
        replay.first_ns.get_or_insert(response.first_ns);
        if !replay.page(std::str::from_utf8(response.body).context("a page is not UTF-8")?, last)? {
            return Ok(http.bytes_total() - before);
        }
    }
}

/// A replay by join is what a client does that comes back: its time includes connecting.
async fn by_join(worker: &Worker, session: &Session, limit: usize, last: u64, replay: &mut Reading) -> Result<u64> {
    let mut socket = Socket::connect(&worker.target, &format!("user_id={}", session.user)).await?;
    for reference in 1.. {
        let after = replay.messages.next() - 1;
        let payload = format!(r#"{{"last_seq":{after},"limit":{limit}}}"#);
        // The leave of the page before and this join travel together; join_refs tell their answers apart.
        if reference > 1 {
            socket.push(reference - 1, reference, &session.topic, "phx_leave", b"{}");
        }
        let join_ref = reference;
        socket.push(join_ref, join_ref, &session.topic, "phx_join", payload.as_bytes());
        if !joined(&mut socket, join_ref, last, replay).await? {
            break;
        }
    }
    Ok(socket.bytes_total())
}

/// Waits for the reply to the join of `join_ref` and verifies its page. Whether there must be another one.
async fn joined(socket: &mut Socket, join_ref: u64, last: u64, replay: &mut Reading) -> Result<bool> {
    loop {
        if socket.fill_until(now_ns() + nanos(ANSWER_TIMEOUT)).await? == Filled::Due {
            bail!("a join was not answered in 30 s");
        }
        replay.first_ns.get_or_insert_with(now_ns);
        while let Some(incoming) = socket.pop()? {
            let ours = incoming.event == "phx_reply" && phoenix::number(incoming.join_ref) == Some(join_ref);
            if !ours {
                continue;
            }
            let reply: phoenix::Reply = serde_json::from_str(incoming.payload)?;
            if reply.status != "ok" {
                bail!("a join was refused: {}", reply.response.get());
            }
            return replay.page(reply.response.get(), last);
        }
    }
}
