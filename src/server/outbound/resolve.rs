//! From a host's name to its addresses, off the shard's thread and out of the runtime's blocking pool, which serves the disk.
//!
//! The system's resolver blocks, for seconds when a name server is silent. So a few plain threads of the process ask it; a shard
//! remembers what it learnt for a short time, and asks for a name once however many calls wait for it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use super::error::CallError;
use crate::limits;

/// Addresses, or why there are none.
type Answer = Result<Rc<[IpAddr]>, Rc<str>>;

struct Question {
    host: String,
    answer: oneshot::Sender<Result<Vec<IpAddr>, String>>,
}

/// The threads that ask the system. Cheap to clone; one for the process. They end with its last clone.
#[derive(Clone)]
pub(in crate::server) struct Resolver {
    questions: SyncSender<Question>,
}

impl Resolver {
    /// Starts the threads, which ask the system's resolver.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(in crate::server) fn start() -> io::Result<Self> {
        Self::asking(|host| Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
    }

    /// Starts the threads, which ask `look_up`.
    pub(in crate::server) fn asking(
        look_up: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let (questions, queue) = sync_channel(limits::RESOLVER_QUESTIONS_MAX);
        let queue = Arc::new(Mutex::new(queue));
        let look_up = Arc::new(look_up);
        for _ in 0..limits::RESOLVER_THREADS {
            let (queue, look_up) = (Arc::clone(&queue), Arc::clone(&look_up));
            thread::Builder::new().name("resolver".to_owned()).spawn(move || answer_all(&queue, &*look_up))?;
        }
        Ok(Self { questions })
    }
}

fn answer_all(queue: &Mutex<Receiver<Question>>, look_up: &dyn Fn(&str) -> io::Result<Vec<IpAddr>>) {
    let next = || queue.lock().expect("nobody panics while waiting for a question").recv();
    while let Ok(Question { host, answer }) = next() {
        // Nobody may be waiting any more: the shard's executor has ended.
        let _ = answer.send(look_up(&host).map_err(|error| error.to_string()));
    }
}

/// What a shard knows of names.
pub(super) struct Names {
    resolver: Resolver,
    known: RefCell<HashMap<String, Knowledge>>,
}

enum Knowledge {
    Asked(Vec<oneshot::Sender<Answer>>),
    Answered { answer: Answer, until: Instant },
}

impl Names {
    pub(super) fn new(resolver: Resolver) -> Rc<Self> {
        Rc::new(Self { resolver, known: RefCell::default() })
    }

    /// The addresses of `host`; never none.
    ///
    /// # Errors
    /// [`CallError::Resolve`].
    pub(super) async fn addresses(self: &Rc<Self>, host: &str) -> Result<Rc<[IpAddr]>, CallError> {
        let answer = match self.recall_or_ask(host)? {
            Recalled::Answer(answer) => answer,
            Recalled::Wait(answer) => answer.await.unwrap_or_else(|_| Err("the resolver has ended".into())),
        };
        answer.map_err(|why| CallError::Resolve { why: why.to_string() })
    }

    fn recall_or_ask(self: &Rc<Self>, host: &str) -> Result<Recalled, CallError> {
        let now = Instant::now();
        if let Entry::Occupied(mut entry) = self.known.borrow_mut().entry(host.to_owned()) {
            match entry.get_mut() {
                Knowledge::Asked(waiting) => return Ok(Recalled::Wait(joined(waiting))),
                Knowledge::Answered { answer, until } if now < *until => return Ok(Recalled::Answer(answer.clone())),
                Knowledge::Answered { .. } => drop(entry.remove()),
            }
        }
        self.make_room(now)?;
        self.ask(host).map(Recalled::Wait)
    }

    fn ask(self: &Rc<Self>, host: &str) -> Result<oneshot::Receiver<Answer>, CallError> {
        let (answer, answered) = oneshot::channel();
        let question = Question { host: host.to_owned(), answer };
        self.resolver.questions.try_send(question).map_err(|_| overloaded())?;
        let mut waiting = Vec::new();
        let ours = joined(&mut waiting);
        self.known.borrow_mut().insert(host.to_owned(), Knowledge::Asked(waiting));
        let (names, host) = (Rc::clone(self), host.to_owned());
        // Ends by itself: a thread answers every question, and a queue that goes away cancels it.
        glommio::spawn_local(async move {
            let answer = answered.await.unwrap_or_else(|_| Err("the resolver has ended".to_owned()));
            names.learn(host, answer);
        })
        .detach();
        Ok(ours)
    }

    fn learn(&self, host: String, answer: Result<Vec<IpAddr>, String>) {
        let answer: Answer = match answer {
            Ok(addresses) if addresses.is_empty() => Err("the name has no address".into()),
            Ok(addresses) => Ok(addresses.into()),
            Err(why) => Err(why.into()),
        };
        let seconds = if answer.is_ok() { limits::RESOLVED_S } else { limits::UNRESOLVED_S };
        let until = Instant::now() + Duration::from_secs(seconds);
        let known = Knowledge::Answered { answer: answer.clone(), until };
        let asked = self.known.borrow_mut().insert(host, known);
        if let Some(Knowledge::Asked(waiting)) = asked {
            for call in waiting {
                // A call may have ended meanwhile.
                let _ = call.send(answer.clone());
            }
        }
    }

    /// Forgets what is too old, and where that is not enough the answer that would be forgotten next.
    fn make_room(&self, now: Instant) -> Result<(), CallError> {
        let mut known = self.known.borrow_mut();
        if known.len() < limits::RESOLVED_NAMES_MAX {
            return Ok(());
        }
        known.retain(|_, knowledge| !matches!(knowledge, Knowledge::Answered { until, .. } if *until <= now));
        if known.len() < limits::RESOLVED_NAMES_MAX {
            return Ok(());
        }
        let age = |(host, knowledge): (&String, &Knowledge)| match knowledge {
            Knowledge::Answered { until, .. } => Some((*until, host.clone())),
            Knowledge::Asked(_) => None,
        };
        let (_, oldest) = known.iter().filter_map(age).min().ok_or_else(overloaded)?;
        known.remove(&oldest);
        Ok(())
    }
}

enum Recalled {
    Answer(Answer),
    Wait(oneshot::Receiver<Answer>),
}

fn joined(waiting: &mut Vec<oneshot::Sender<Answer>>) -> oneshot::Receiver<Answer> {
    let (sender, receiver) = oneshot::channel();
    waiting.push(sender);
    receiver
}

fn overloaded() -> CallError {
    CallError::Resolve { why: "too many names are being resolved".to_owned() }
}
