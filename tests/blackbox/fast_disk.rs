//! A disk that answers before the turn is over: syncs end while replies of the last one are still being sent. Whether they do in a
//! given run is the scheduler's; `server::world` tests the rule itself, without a clock.

use crate::harness::{Options, Server, Socket, json};

/// Sockets, each with a session of its own.
const SOCKETS: usize = 8;
/// Sends of one socket that wait at the same time.
const DEPTH: u64 = 16;
/// Sends of each.
const SENDS: u64 = 400;

/// The ack of a message comes before its event, and both in the order of `seq`, however syncs and turns interleave.
#[test]
fn acks_and_messages_keep_their_order_on_a_disk_in_memory() {
    let folder = tempfile::tempdir_in("/dev/shm").expect("Linux has a file system in memory");
    let server = Server::on(folder.path(), &Options::shards(1));
    std::thread::scope(|scope| {
        for _ in 0..SOCKETS {
            scope.spawn(|| converse(&server));
        }
    });
}

fn converse(server: &Server) {
    let session = server.session("alice", "bot");
    let mut socket = Socket::open(server, "alice");
    let topic = socket.join_session(&session);
    let (mut sent, mut acked, mut heard) = (0, 0, 0);
    while heard < SENDS {
        while sent < SENDS && sent - acked < DEPTH {
            sent += 1;
            let content = json!({"content": {"kind": "text", "content": {"n": sent}}});
            socket.push(&topic, "send", &content);
        }
        let frame = socket.next();
        match frame.event.as_str() {
            "phx_reply" => {
                acked += 1;
                assert_eq!(frame.payload["response"]["seq"], acked, "{}", frame.payload);
            }
            "message" => {
                heard += 1;
                assert_eq!((&frame.payload["seq"], &frame.payload["content"]["n"]), (&json!(heard), &json!(heard)));
                assert!(heard <= acked, "message {heard} came before its ack");
            }
            other => panic!("{other} on {topic}: {}", frame.payload),
        }
    }
}
