//! A response that is produced piece by piece while its client reads: the events of an answer, of a session.
//!
//! It runs in the connection's task. All that waits is written at once, each piece whole in one chunk of the response, and what was
//! written is with the kernel before anything is waited for: readers without a carry-over of their own get whole events.
//!
//! Invariants: while a client does not take what was written nothing more is produced for it, so what waits for it is bounded where it
//! comes from; one that takes nothing for `RESPONSE_S` is cut; one that leaves is noticed while nothing is to be said; a silence of
//! `SSE_QUIET_S` is broken by a comment.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::ask::{Asking, Told};
use super::tenure::Lease;
use super::watch::Ending;
use super::wire::{Wire, WireError};
use super::world::World;
use crate::api::ask_plan::AskRender;
use crate::api::auth::Principal;
use crate::api::origin::Signature;
use crate::limits;
use crate::protocol::http::{self, RequestDecoder, Response};

/// A comment that no reader takes for an event.
const COMMENT: &[u8] = b":\n\n";

/// Where the pieces come from.
pub(super) trait Source {
    /// The next piece; `None` is the end. Not asked behind the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>>;
    /// The server shuts down. False: the stream ends here, its client comes back to another server.
    fn outlives_drain(&self) -> bool;
    /// A silence may be broken by a comment. False: what is told are the bytes of something.
    fn bears_comments(&self) -> bool {
        true
    }
    /// The end came before all was told. The connection ends then, so that nobody takes it for all.
    fn is_cut_short(&self) -> bool {
        false
    }
}

/// A streaming answer.
pub(super) struct Streaming {
    /// Its head.
    pub(super) head: Response,
    /// Bytes of its content, if they are known.
    pub(super) length: Option<u64>,
    /// Its content.
    pub(super) source: Box<dyn Source>,
}

impl Streaming {
    /// The same, with what CORS tells the page that asks.
    pub(super) fn signed(self, signature: &Signature) -> Self {
        Self { head: signature.sign(self.head), ..self }
    }

    /// The same, ended when its reader's tenure is over.
    pub(super) fn held_by(self, world: &World, principal: &Rc<Principal>) -> Self {
        let lease = Lease::begin(world, principal);
        Self { source: Box::new(Held { source: self.source, lease, is_over: false }), ..self }
    }
}

/// A source that ends with a tenure.
struct Held {
    source: Box<dyn Source>,
    lease: Lease,
    is_over: bool,
}

impl Source for Held {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        self.is_over = self.lease.poll_over(cx).is_some();
        if self.is_over { Poll::Ready(None) } else { self.source.poll_piece(cx) }
    }

    fn outlives_drain(&self) -> bool {
        self.source.outlives_drain()
    }

    fn bears_comments(&self) -> bool {
        self.source.bears_comments()
    }

    fn is_cut_short(&self) -> bool {
        // A stream of events ends anywhere, a file does not.
        self.source.is_cut_short() || (self.is_over && !self.source.bears_comments())
    }
}

/// The connection that a stream goes over.
pub(super) struct Way<'a> {
    pub(super) wire: &'a mut Wire,
    /// Takes what the client sends meanwhile.
    pub(super) decoder: &'a mut RequestDecoder,
    pub(super) framing: http::Stream,
}

/// What there is to do.
enum News {
    Pieces,
    End,
    Quiet,
    Drain,
}

impl Way<'_> {
    /// Sends `out` (the head, and what stands before it), then the pieces of `source` to its end.
    ///
    /// # Errors
    /// When the client is gone or takes nothing.
    pub(super) async fn send(mut self, mut out: Vec<u8>, source: &mut dyn Source) -> Result<(), WireError> {
        loop {
            self.write(&out).await?;
            out.clear();
            match self.news(source, &mut out).await? {
                News::Pieces => {}
                News::Quiet if source.bears_comments() => self.framing.encode_piece(COMMENT, &mut out),
                News::Quiet => {}
                News::Drain if source.outlives_drain() => {}
                News::End if source.is_cut_short() => {
                    self.write(&out).await?;
                    return Err(WireError::Gone);
                }
                News::End | News::Drain => {
                    self.framing.encode_end(&mut out);
                    return self.write(&out).await;
                }
            }
            glommio::yield_if_needed().await;
        }
    }

    /// Writes all, to the kernel. The deadline is for progress: a slow reader is one that takes nothing.
    async fn write(&mut self, mut bytes: &[u8]) -> Result<(), WireError> {
        self.wire.rearm_within(limits::RESPONSE_S);
        while !bytes.is_empty() {
            let count = poll_fn(|cx| self.wire.poll_write(cx, bytes)).await?;
            bytes = &bytes[count..];
            self.wire.rearm_within(limits::RESPONSE_S);
            glommio::yield_if_needed().await;
        }
        poll_fn(|cx| self.wire.poll_flush(cx)).await
    }

    /// Waits for something to do. All pieces that wait are encoded to `out`.
    async fn news(&mut self, source: &mut dyn Source, out: &mut Vec<u8>) -> Result<News, WireError> {
        self.wire.rearm_within(limits::SSE_QUIET_S);
        if self.wire.is_draining() && !source.outlives_drain() {
            return Ok(News::Drain);
        }
        poll_fn(|cx| match self.poll_pieces(cx, source, out) {
            Poll::Ready(news) => Poll::Ready(Ok(news)),
            Poll::Pending => self.poll_peer(cx),
        })
        .await
    }

    fn poll_pieces(&mut self, cx: &mut Context<'_>, source: &mut dyn Source, out: &mut Vec<u8>) -> Poll<News> {
        loop {
            match source.poll_piece(cx) {
                Poll::Ready(Some(piece)) => self.framing.encode_piece(&piece, out),
                Poll::Ready(None) => return Poll::Ready(News::End),
                Poll::Pending if out.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(News::Pieces),
            }
            if out.len() >= limits::READ_BYTES_PER_TURN {
                return Poll::Ready(News::Pieces);
            }
        }
    }

    /// The client's end, and the time. What it sends before its answer is complete goes to the decoder: up to the first bytes of
    /// a next request, then it is not read.
    fn poll_peer(&mut self, cx: &mut Context<'_>) -> Poll<Result<News, WireError>> {
        let ending = loop {
            if !self.decoder.is_idle() {
                match self.wire.watch.poll_ending(cx) {
                    Some(ending) => break ending,
                    None => return Poll::Pending,
                }
            }
            let decoder = &mut *self.decoder;
            match self.wire.poll_read(cx, &mut |bytes| decoder.push(bytes)) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(WireError::Gone)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(WireError::Ended(ending))) => break ending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        };
        Poll::Ready(Ok(match ending {
            Ending::Late => News::Quiet,
            Ending::Drain => News::Drain,
        }))
    }
}

/// Pieces that were made and not yet sent.
pub(super) type Pieces = Rc<RefCell<VecDeque<Vec<u8>>>>;

/// What a task of its own would say that does not run without its reader: it goes on when all that it said was taken.
pub(super) struct Speech {
    telling: Pin<Box<dyn Future<Output = ()>>>,
    is_told: bool,
    pieces: Pieces,
    outlives_drain: bool,
}

impl Speech {
    /// What the future that `tell` makes puts into its pieces, up to its end.
    pub(super) fn new<T: Future<Output = ()> + 'static>(outlives_drain: bool, tell: impl FnOnce(Pieces) -> T) -> Self {
        let pieces = Pieces::default();
        Self { telling: Box::pin(tell(Rc::clone(&pieces))), is_told: false, pieces, outlives_drain }
    }

    /// The events of an ask as a dialect writes them. Its run goes on as long as a drain does.
    pub(super) fn of_ask(mut asking: Asking, mut render: Box<dyn AskRender>) -> Self {
        Self::new(true, |pieces| async move {
            loop {
                match asking.next().await {
                    Told::Events(events) => {
                        for event in &events {
                            let mut piece = Vec::new();
                            render.tell(event, &mut piece);
                            pieces.borrow_mut().push_back(piece);
                        }
                    }
                    Told::Done(outcome) => return pieces.borrow_mut().extend(render.end(&outcome)),
                }
            }
        })
    }
}

impl Source for Speech {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        let piece = self.pieces.borrow_mut().pop_front();
        if piece.is_some() {
            return Poll::Ready(piece);
        }
        if !self.is_told {
            self.is_told = self.telling.as_mut().poll(cx).is_ready();
        }
        let piece = self.pieces.borrow_mut().pop_front();
        if piece.is_some() || self.is_told { Poll::Ready(piece) } else { Poll::Pending }
    }

    fn outlives_drain(&self) -> bool {
        self.outlives_drain
    }
}
