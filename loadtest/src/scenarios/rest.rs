//! POST and GET on keep-alive connections: each connection writes to a session of its own and reads it back.
//!
//! One request at a time on a connection. In an open loop a request that is due while the one before it is under way waits, and its
//! latency counts from when it was due. Verifies numbers and contents of what POST returns, and that a GET holds exactly the latest
//! messages, the one just posted included.

use crate::clock::{Schedule, now_ns};
use crate::content::write_content;
use crate::http::Http;
use crate::options::{Mix, Rest};
use crate::phoenix::{MessageView, Page};
use crate::provision::{self, Session};
use crate::run::{Window, Worker};
use crate::verify::Messages;
use anyhow::{Context, Result, bail};
use glommio::timer::Timer;
use serde::Deserialize;
use std::rc::Rc;
use std::time::Duration;

pub async fn perform(worker: &Rc<Worker>, options: &Rest) -> Result<()> {
    let numbers = worker.share(options.connections);
    let sessions = provision::create(worker, numbers.clone()).await?;
    let mut clients = Vec::with_capacity(sessions.len());
    for session in &sessions {
        let mut client = Client::connect(worker, session, options).await?;
        if options.mix == Mix::Get {
            client.fill(options.limit).await?;
        }
        clients.push(client);
    }
    let window = worker.window(1).await?;
    let load = async {
        let pace = |number| options.rate.map(|rate| Schedule::new(window.start_ns, rate, number, options.connections));
        worker.each(clients.into_iter().zip(numbers).map(|(client, number)| client.run(window, pace(number)))).await;
        Ok(())
    };
    worker.under_load(load).await?;
    provision::remove(&worker.target, &sessions).await;
    Ok(())
}

#[derive(Deserialize)]
struct Posted<'a> {
    #[serde(borrow)]
    message: MessageView<'a>,
}

pub(super) struct Client {
    worker: Rc<Worker>,
    http: Http,
    session: Session,
    path: String,
    posted: u64,
    own: Messages,
    options: Rest,
    body: Vec<u8>,
}

impl Client {
    pub(super) async fn connect(worker: &Rc<Worker>, session: &Session, options: &Rest) -> Result<Self> {
        Ok(Self {
            worker: Rc::clone(worker),
            http: Http::connect(&worker.target).await?,
            session: session.clone(),
            path: format!("/api/sessions/{}/messages", session.id),
            posted: 0,
            own: Messages::new(format!("POST {}", session.topic), 1, session.tag, options.size),
            options: options.clone(),
            body: Vec::new(),
        })
    }

    async fn fill(&mut self, messages: usize) -> Result<()> {
        for _ in 0..messages {
            self.post().await?;
        }
        Ok(())
    }

    pub(super) async fn run(mut self, window: Window, mut pace: Option<Schedule>) -> Result<()> {
        let mut posts = self.options.mix != Mix::Get;
        while let Some(due_ns) = next(&window, &mut pace).await {
            if pace.is_some() && window.measures(due_ns) {
                self.worker.outcome.borrow_mut().latency("send lag", now_ns() - due_ns);
            }
            if posts {
                self.post().await?
            } else {
                self.get().await?
            }
            let done_ns = now_ns();
            let (latency, count) = if posts { ("post", "posts") } else { ("get", "gets") };
            let mut outcome = self.worker.outcome.borrow_mut();
            if window.measures(due_ns) {
                outcome.latency(latency, done_ns - due_ns);
            }
            if window.measures(done_ns) {
                outcome.count("requests", 1);
                outcome.count(count, 1);
            }
            drop(outcome);
            self.worker.progress(1);
            posts = match self.options.mix {
                Mix::Mixed => !posts,
                Mix::Post | Mix::Get => posts,
            };
        }
        Ok(())
    }

    async fn post(&mut self) -> Result<()> {
        let n = self.posted + 1;
        self.body.clear();
        self.body
            .extend_from_slice(format!(r#"{{"user_id":"{}","kind":"text","content":"#, self.session.user).as_bytes());
        write_content(&mut self.body, self.session.tag, n, self.options.size);
        self.body.push(b'}');
        self.http.post(&self.path, &self.body);
        self.http.flush().await?;
        let response = self.http.response().await?;
        if response.status != 200 {
            bail!("POST {}: status {}: {}", self.path, response.status, response.excerpt());
        }
        let posted: Posted = serde_json::from_slice(response.body).context("reading the answer to a POST")?;
        let integrity = &mut self.worker.outcome.borrow_mut().integrity;
        self.own.arrive(posted.message.seq, posted.message.content.get(), integrity);
        self.posted = n;
        Ok(())
    }

    /// Reads the latest messages, up to the one posted last.
    async fn get(&mut self) -> Result<()> {
        let limit = self.options.limit as u64;
        let after = self.posted.saturating_sub(limit);
        self.http.get(&format!("{}?after_seq={after}&limit={limit}", self.path));
        self.http.flush().await?;
        let response = self.http.response().await?;
        if response.status != 200 {
            bail!("GET {}: status {}: {}", self.path, response.status, response.excerpt());
        }
        let page: Page = serde_json::from_slice(response.body).context("reading a page of messages")?;
        let reader = format!("GET {}", self.session.topic);
        let mut messages = Messages::new(reader, after + 1, self.session.tag, self.options.size);
        let integrity = &mut self.worker.outcome.borrow_mut().integrity;
        for message in &page.messages {
            messages.arrive(message.seq, message.content.get(), integrity);
        }
        messages.finish(self.posted + 1, integrity);
        Ok(())
    }
}

/// Waits for the next request's time; `None` when the load is over.
pub(super) async fn next(window: &Window, pace: &mut Option<Schedule>) -> Option<u64> {
    loop {
        let now_ns = now_ns();
        if now_ns >= window.end_ns {
            return None;
        }
        let Some(pace) = pace else { return Some(now_ns) };
        if let Some(due_ns) = pace.take(now_ns) {
            return Some(due_ns);
        }
        let wake_ns = pace.due_ns().min(window.end_ns);
        Timer::new(Duration::from_nanos(wake_ns.saturating_sub(now_ns).max(1_000))).await;
    }
}
