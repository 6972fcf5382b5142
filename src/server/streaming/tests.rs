//! Streams over a pair of sockets: an executor on the test's thread, events by hand, deadlines by sweeping.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use glommio::LocalExecutorBuilder;
use glommio::timer::Timer;

use super::*;
use crate::protocol::http::{Step, Version};
use crate::server::net::{Poller, Stream, Transport};
use crate::server::pacemaker;
use crate::server::wire::WireIo;

/// Longer than anything that ends by itself.
const HANG: Duration = Duration::from_secs(60);

/// Behind every deadline.
const LATE_US: u64 = u64::MAX - 1;

/// Events that the test gives.
#[derive(Clone, Default)]
struct Given {
    pieces: Rc<RefCell<VecDeque<Vec<u8>>>>,
    is_over: Rc<std::cell::Cell<bool>>,
    waker: Rc<RefCell<Option<std::task::Waker>>>,
    outlives_drain: bool,
    /// It is no text: nothing may stand between its pieces.
    is_file: bool,
    is_cut_short: bool,
}

impl Given {
    fn give(&self, pieces: &[&str]) {
        self.pieces.borrow_mut().extend(pieces.iter().map(|piece| piece.as_bytes().to_vec()));
        self.wake();
    }

    fn end(&self) {
        self.is_over.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Source for Given {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        match self.pieces.borrow_mut().pop_front() {
            Some(piece) => Poll::Ready(Some(piece)),
            None if self.is_over.get() => Poll::Ready(None),
            None => {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn outlives_drain(&self) -> bool {
        self.outlives_drain
    }

    fn bears_comments(&self) -> bool {
        !self.is_file
    }

    fn is_cut_short(&self) -> bool {
        self.is_cut_short
    }
}

/// The client's end, and the server's side at work.
struct Rig {
    io: Rc<WireIo>,
    client: TcpStream,
    sending: glommio::Task<(Result<(), WireError>, RequestDecoder)>,
}

impl Rig {
    fn start(given: Given, version: Version) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nonblocking(true).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let io = Rc::new(WireIo::default());
        io.clock.read();
        let (wire_io, mut source) = (Rc::clone(&io), given);
        let sending = glommio::spawn_local(async move {
            let poller = Poller::start().unwrap();
            let stream = Stream::new(&poller, OwnedFd::from(socket)).unwrap();
            let mut wire = Wire::new(wire_io, Transport::Plain(stream));
            let limits = http::Limits {
                head_bytes_max: 1000,
                request_line_bytes_max: 1000,
                headers_max: 10,
                body_bytes_max: 1000,
                upload_bytes_max: 1000,
            };
            let mut decoder = RequestDecoder::new(limits);
            let mut out = Vec::new();
            let date = "Thu, 01 Jan 1970 00:00:00 GMT";
            let context = http::Context { head_only: false, keep_alive: true, version, date };
            let framing = Response::new(200).encode_stream(&mut out, &context);
            let way = Way { wire: &mut wire, decoder: &mut decoder, framing };
            let sent = way.send(out, &mut source).await;
            wire.close();
            (sent, decoder)
        });
        Self { io, client, sending }
    }

    /// What the client reads until `is_all` of it.
    async fn read_until(&mut self, is_all: impl Fn(&str) -> bool) -> String {
        self.read(false, is_all).await
    }

    /// The same while every deadline passes.
    async fn read_late_until(&mut self, is_all: impl Fn(&str) -> bool) -> String {
        self.read(true, is_all).await
    }

    async fn read(&mut self, is_late: bool, is_all: impl Fn(&str) -> bool) -> String {
        let mut text = String::new();
        let mut buffer = [0; 4096];
        while !is_all(&text) {
            if is_late {
                self.io.watches.sweep(LATE_US);
            }
            match self.client.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => text.push_str(std::str::from_utf8(&buffer[..count]).unwrap()),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    Timer::new(Duration::from_millis(1)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        text
    }

    /// Reads over the head.
    async fn begun(&mut self) {
        assert!(self.read_until(|text| text.ends_with("\r\n\r\n")).await.starts_with("HTTP/1.1 200"));
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let pulse = pacemaker::start(1).unwrap().pop().unwrap();
    let _watched = pulse.watch_this_thread();
    let executor =
        LocalExecutorBuilder::default().preempt_timer(Duration::from_millis(limits::PREEMPT_MS)).make().unwrap();
    executor.run(async {
        pulse.attach();
        let guard = async {
            Timer::new(HANG).await;
            panic!("the test hangs");
        };
        glommio::spawn_local(guard).detach();
        test.await
    })
}

#[test]
fn each_event_is_one_chunk_and_the_end_is_the_last() {
    run(async {
        let given = Given::default();
        let mut rig = Rig::start(given.clone(), Version::Http11);
        rig.begun().await;
        given.give(&["data: a\n\n", "data: b\n\n"]);
        let read = rig.read_until(|text| text.ends_with("b\n\n\r\n")).await;
        assert_eq!(read, "9\r\ndata: a\n\n\r\n9\r\ndata: b\n\n\r\n");
        given.give(&["data: c\n\n"]);
        given.end();
        assert_eq!(rig.read_until(|text| text.ends_with("0\r\n\r\n")).await, "9\r\ndata: c\n\n\r\n0\r\n\r\n");
        assert!(rig.sending.await.0.is_ok());
    });
}

#[test]
fn an_old_client_reads_to_the_end_of_the_connection() {
    run(async {
        let given = Given::default();
        let mut rig = Rig::start(given.clone(), Version::Http10);
        rig.begun().await;
        given.give(&["data: a\n\n"]);
        given.end();
        assert_eq!(rig.read_until(|_| false).await, "data: a\n\n");
    });
}

#[test]
fn a_silence_is_broken_by_a_comment() {
    run(async {
        let given = Given::default();
        let mut rig = Rig::start(given.clone(), Version::Http11);
        rig.begun().await;
        let read = rig.read_late_until(|text| text.matches("3\r\n").count() > 1 && text.ends_with("\n\n\r\n")).await;
        assert_eq!(read.replace("3\r\n:\n\n\r\n", ""), "");
        given.give(&["data: a\n\n"]);
        given.end();
        assert!(rig.read_until(|text| text.ends_with("0\r\n\r\n")).await.contains("9\r\ndata: a\n\n\r\n"));
    });
}

#[test]
fn in_the_silence_of_a_file_nothing_is_said_and_its_client_is_looked_after() {
    run(async {
        let given = Given { is_file: true, ..Given::default() };
        let mut rig = Rig::start(given.clone(), Version::Http11);
        rig.begun().await;
        given.give(&["abc"]);
        rig.read_until(|text| text.ends_with("abc\r\n")).await;
        for _ in 0..20 {
            rig.io.watches.sweep(LATE_US);
            Timer::new(Duration::from_millis(1)).await;
        }
        given.give(&["def"]);
        given.end();
        assert_eq!(rig.read_until(|text| text.ends_with("0\r\n\r\n")).await, "3\r\ndef\r\n0\r\n\r\n");
        assert!(rig.sending.await.0.is_ok());
    });
}

#[test]
fn what_is_cut_short_ends_its_connection_and_not_itself() {
    run(async {
        let given = Given { is_file: true, is_cut_short: true, ..Given::default() };
        let mut rig = Rig::start(given.clone(), Version::Http11);
        rig.begun().await;
        given.give(&["abc"]);
        given.end();
        assert_eq!(rig.read_until(|_| false).await, "3\r\nabc\r\n");
        assert!(matches!(rig.sending.await.0, Err(WireError::Gone)));
    });
}

#[test]
fn a_client_that_leaves_is_noticed_in_the_silence() {
    run(async {
        let mut rig = Rig::start(Given::default(), Version::Http11);
        rig.begun().await;
        let Rig { client, sending, .. } = rig;
        drop(client);
        assert!(matches!(sending.await.0, Err(WireError::Gone)));
    });
}

#[test]
fn a_request_that_comes_meanwhile_waits_for_its_turn() {
    run(async {
        let given = Given::default();
        let mut rig = Rig::start(given.clone(), Version::Http11);
        rig.begun().await;
        rig.client.write_all(b"GET /next HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        given.give(&["data: a\n\n"]);
        rig.read_until(|text| text.ends_with("a\n\n\r\n")).await;
        rig.read_late_until(|text| text.ends_with(":\n\n\r\n")).await; // it looks at its client before it says so
        given.end();
        let (sent, mut decoder) = rig.sending.await;
        assert!(sent.is_ok());
        assert!(matches!(decoder.next(), Ok(Step::Request(request)) if request.path == "/next"));
    });
}

#[test]
fn a_client_that_takes_nothing_is_cut_and_nothing_more_is_produced_for_it() {
    run(async {
        let given = Given::default();
        let mut rig = Rig::start(given.clone(), Version::Http11);
        rig.begun().await;
        let event = "x".repeat(1_000_000);
        given.give(&[event.as_str(); 64]); // more than two kernels' buffers
        let Rig { io, client: _client, sending } = rig;
        let late = async {
            loop {
                io.watches.sweep(LATE_US); // ends only who waits
                Timer::new(Duration::from_millis(1)).await;
            }
        };
        let (sent, _) = futures_lite::future::or(sending, late).await;
        assert!(matches!(sent, Err(WireError::Ended(Ending::Late))));
        assert!(!given.pieces.borrow().is_empty(), "it was all taken");
    });
}

#[test]
fn a_drain_ends_what_can_be_taken_up_elsewhere_and_lets_the_rest_finish() {
    for outlives_drain in [false, true] {
        run(async {
            let given = Given { outlives_drain, ..Given::default() };
            let mut rig = Rig::start(given.clone(), Version::Http11);
            rig.begun().await;
            rig.io.watches.drain();
            if outlives_drain {
                given.give(&["data: a\n\n"]);
                assert_eq!(rig.read_until(|text| text.ends_with("a\n\n\r\n")).await, "9\r\ndata: a\n\n\r\n");
                given.end();
            }
            assert_eq!(rig.read_until(|text| text.ends_with("0\r\n\r\n")).await, "0\r\n\r\n");
            assert!(rig.sending.await.0.is_ok());
        });
    }
}
