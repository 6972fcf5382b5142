//! Phoenix Channels, server side: the messages of both protocol versions, one socket's channels, and long polling.
//!
//! [`decode_text`] and [`decode_binary`] turn a WebSocket message (or a line of a long-poll batch) into a [`Message`],
//! [`Socket`] decides what it means, [`encode`] writes what is sent back. Everything is pure: no I/O, no time, no topic of
//! ours is known here, and payloads pass through as the bytes they came in.
//!
//! The owner of a socket turns this wheel for each message of its client:
//!
//! ```
//! use fleetlm::protocol::channels::{Action, Socket, Status, Vsn, decode_text};
//!
//! let mut socket = Socket::new(Vsn::V2, 100);
//! let mut out = Vec::new(); // one element per message to send
//! for text in [r#"["1","1","room:a","phx_join",{}]"#, r#"["1","2","room:a","shout",{"text":"hi"}]"#] {
//!     let mut action = socket.take(decode_text(socket.vsn(), text)?, &mut out);
//!     while let Some(next) = action {
//!         match next {
//!             Action::Join { channel, .. } => socket.joined(channel, "{}", &mut out),
//!             Action::Event { reply, .. } => drop(socket.reply(reply, Status::Ok, r#"{"seq":1}"#, &mut out)),
//!             Action::Leave { .. } => {}
//!         }
//!         action = socket.next(&mut out);
//!     }
//! }
//! assert_eq!(out[0], br#"["1","1","room:a","phx_reply",{"status":"ok","response":{}}]"#);
//! assert_eq!(out[1], br#"["1","2","room:a","phx_reply",{"status":"ok","response":{"seq":1}}]"#);
//! # Ok::<(), fleetlm::protocol::channels::Malformed>(())
//! ```

use super::Roomy;

/// Takes messages that are to be sent, in their order.
pub trait Outlet {
    /// Takes one: `write` appends it to the buffer that it is given.
    fn message(&mut self, write: impl FnOnce(&mut Vec<u8>));

    /// Takes one that is there already and may be long.
    fn long_message(&mut self, message: Roomy) {
        self.message(|out| out.extend_from_slice(&message));
    }
}

/// One element for each message.
impl Outlet for Vec<Vec<u8>> {
    fn message(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut message = Vec::new();
        write(&mut message);
        self.push(message);
    }
}

pub mod encode;
pub mod longpoll;
mod message;
mod socket;

pub use message::{Malformed, Message, Payload, Ref, Vsn, decode_binary, decode_text};
pub use socket::{Action, ReplyTo, Socket, Status};
