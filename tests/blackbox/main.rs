//! The real binary over real sockets, held against the behaviour contract by clients that share no code with it.
//!
//! One test binary, one file per subject. Tests share a server where they only add to it and start their own where
//! they stop it, count everything in it, or hurt it. Nothing here uses the project's crates.

mod harness;

mod agents;
mod asks;
mod backup;
mod channels;
mod channels_send;
mod cli;
mod console;
mod conventions;
mod crash;
mod damage;
mod drain;
mod fanout;
mod fast_disk;
mod flow;
mod full_disk;
mod hapi;
mod histories;
mod idempotency;
mod inbox;
mod large_bodies;
mod logs;
mod longpoll;
mod measures;
mod messages;
mod messages_append;
mod phoenix_v1;
mod phoenix_wire;
mod refusals;
mod sessions;
mod storage;
mod strict_http;
mod strict_http_bodies;
mod strict_websocket;
mod teams;
mod tenants;
mod tls;
mod tokens;
mod walk;
mod webhooks;
