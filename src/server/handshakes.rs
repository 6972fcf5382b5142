//! TLS handshakes of the clients of one shard: bounded in time, and in what they compute before others get their turn.
//!
//! A handshake costs CPU where it computes (a signature, a key exchange) and nothing while it waits for its peer. So the bound is on
//! steps and not on handshakes: whoever has something to compute takes a place for that one step, behind those who are connected
//! already. Clients that say nothing hold no place, and cannot keep others out. What becomes of a connection behind its handshake is
//! `http`'s.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use futures_lite::future::{or, yield_now};
use futures_rustls::TlsAcceptor;
use futures_rustls::server::TlsStream;

use super::http;
use super::listener::Admitted;
use super::metrics::{CloseReason, Which};
use super::net::{Stream, Tcp, Transport};
use super::places::Places;
use super::tls::ServerTls;
use super::watch::Ending;
use super::wire::{Wire, WireIo};
use super::world::World;
use crate::limits;

/// See the top of the file. One per shard.
pub(super) struct Handshakes {
    tls: Arc<ServerTls>,
    places: Places,
}

/// Why there is no connection.
enum Failure {
    /// The peer does not speak TLS, or none that we speak, or it left. The last word to it is sent.
    Refused(io::Error, Tcp),
    /// It took too long, or the server shuts down.
    Ended(Ending),
}

impl Handshakes {
    pub(super) fn new(tls: Arc<ServerTls>) -> Rc<Self> {
        Rc::new(Self { tls, places: Places::of(limits::TLS_HANDSHAKE_STEPS_MAX) })
    }

    /// Serves one connection up to its first request. The rest is a task of its own, which does not keep what a handshake needs.
    pub(super) async fn serve(self: Rc<Self>, world: Rc<World>, stream: Stream, admitted: Admitted) {
        match self.shake(&world.io, stream).await {
            Ok(tls) => {
                world.metrics.count(Which::TlsHandshakes);
                glommio::spawn_local(http::serve(world, Transport::Tls(tls), admitted)).detach();
            }
            Err(Failure::Refused(error, tcp)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                if error.kind() == io::ErrorKind::InvalidData {
                    world.metrics.closed(CloseReason::Handshake); // else the peer just left
                }
                let mut wire = Wire::new(Rc::clone(&world.io), Transport::Plain(tcp.into_inner()));
                wire.linger().await;
                wire.close();
            }
            Err(Failure::Ended(Ending::Late)) => world.metrics.closed(CloseReason::Handshake),
            Err(Failure::Ended(Ending::Drain)) => world.metrics.closed(CloseReason::Drain),
        }
    }

    async fn shake(&self, io: &WireIo, stream: Stream) -> Result<Box<TlsStream<Tcp>>, Failure> {
        let watch = io.watches.add();
        watch.until(io.clock.now().mono_us + limits::TLS_HANDSHAKE_S * 1_000_000);
        let ending = poll_fn(|cx| match watch.poll_ending(cx) {
            Some(ending) => Poll::Ready(Err(Failure::Ended(ending))),
            None => Poll::Pending,
        });
        let handshake = TlsAcceptor::from(self.tls.current()).accept(Tcp::new(stream)).into_fallible();
        let shaking = async {
            // In a box, because few live to see much of it: a client that says nothing has a small task.
            let shaken = in_turns(&self.places, Box::new(handshake)).await;
            shaken.map(Box::new).map_err(|(error, tcp)| Failure::Refused(error, tcp))
        };
        or(ending, shaking).await
    }
}

/// Waits for `work`, each of whose steps takes a place for itself.
async fn in_turns<F: Future + Unpin>(places: &Places, mut work: F) -> F::Output {
    loop {
        let place = places.take().await;
        // Whoever is ready to run runs first, while this place is taken: so many steps at the most stand between two turns of others.
        yield_now().await;
        let step = poll_fn(|cx| Poll::Ready(Pin::new(&mut work).poll(cx))).await;
        drop(place);
        match step {
            Poll::Ready(output) => return output,
            Poll::Pending => woken().await,
        }
    }
}

/// Waits until the task is woken, by whomever it has asked to.
async fn woken() {
    let mut was_asked = false;
    poll_fn(|_| if std::mem::replace(&mut was_asked, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    use glommio::LocalExecutor;

    /// Work of some steps, each of which it counts and then waits to be woken.
    struct Steps {
        left: u32,
        taken: Rc<Cell<u32>>,
    }

    impl Future for Steps {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<()> {
            self.taken.set(self.taken.get() + 1);
            self.left -= 1;
            if self.left == 0 {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }

    #[test]
    fn few_steps_stand_between_two_turns_of_others_and_all_come_to_their_end() {
        const CROWD: u32 = 100;
        LocalExecutor::default().run(async {
            let places = Rc::new(Places::of(limits::TLS_HANDSHAKE_STEPS_MAX));
            let (taken, ended) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            for _ in 0..CROWD {
                let (places, taken, ended) = (Rc::clone(&places), Rc::clone(&taken), Rc::clone(&ended));
                let work = async move {
                    in_turns(&places, Steps { left: 3, taken }).await;
                    ended.set(ended.get() + 1);
                };
                glommio::spawn_local(work).detach();
            }
            let most = RefCell::new(0);
            while ended.get() < CROWD {
                let before = taken.get();
                yield_now().await;
                let seen = *most.borrow();
                *most.borrow_mut() = u32::max(seen, taken.get() - before);
            }
            assert_eq!(taken.get(), 3 * CROWD);
            assert!(most.into_inner() as usize <= limits::TLS_HANDSHAKE_STEPS_MAX);
        });
    }

    #[test]
    fn work_that_waits_holds_no_place() {
        LocalExecutor::default().run(async {
            let places = Rc::new(Places::of(1));
            let taken = Rc::new(Cell::new(0));
            let silent = Rc::clone(&places);
            glommio::spawn_local(async move { in_turns(&silent, std::future::pending::<()>()).await }).detach();
            in_turns(&places, Steps { left: 3, taken: Rc::clone(&taken) }).await;
            assert_eq!(taken.get(), 3);
        });
    }

    #[test]
    fn work_that_is_given_up_when_its_turn_comes_keeps_nobody_waiting() {
        LocalExecutor::default().run(async {
            let places = Rc::new(Places::of(1));
            let held = places.try_take();
            let (gone, stays) = (Rc::clone(&places), Rc::clone(&places));
            let given_up = glommio::spawn_local(async move { in_turns(&gone, std::future::ready(())).await });
            let waits = glommio::spawn_local(async move { in_turns(&stays, std::future::ready(())).await });
            yield_now().await;
            yield_now().await;
            drop(held);
            drop(given_up);
            waits.await;
        });
    }
}
