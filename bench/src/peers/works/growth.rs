//! Growth: what an append and a page cost the server as a session gets longer, and as a server gets fuller. Ours alone.
//!
//! One server is filled step by step. Cost is the server's CPU time per operation, which depends less on the neighbours than wall time; its
//! ratio to the first step is what must stay flat.

use super::append::sample;
use super::{Plan, us};
use crate::closed::{Dialogue, Until, run};
use crate::link::Link;
use crate::report::{Column, Row, Sample, Table};
use crate::servers::{Door, Running, Server, Sessions};
use crate::wire::http;
use anyhow::{Result, ensure};
use rand::Rng;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::rc::Rc;

const COLUMNS: [Column; 6] = [
    Column::ranged("append_cpu_us", "append CPU us", 2),
    Column::new("append_p99_us", "append p99 us", 0),
    Column::new("append_per_s", "appends/s", 0),
    Column::ranged("page_cpu_us", "page CPU us", 2),
    Column::new("page_p99_us", "page p99 us", 0),
    Column::new("page_per_s", "pages/s", 0),
];

/// Connections at work.
const CONNECTIONS: usize = 64;
/// Messages of a page: the server's default.
const PAGE_MESSAGES: u64 = 50;
/// What is drawn is the same in every run.
const SEED: u64 = 4;
/// Bytes of a session's id.
const ID_BYTES: usize = 26;

/// The tables `growth-session` and `growth-server`.
pub fn growth(plan: &Plan) -> Result<Vec<Table>> {
    Ok(vec![of_a_session(plan)?, of_a_server(plan)?])
}

fn of_a_session(plan: &Plan) -> Result<Table> {
    let mut rows = rows(plan, "messages in the session");
    for _ in 0..plan.rounds {
        let mut server = plan.ours(Door::Rest).run(&plan.place)?;
        let mut session = String::new();
        let mut length = 0;
        for (row, messages) in rows.iter_mut().zip(&plan.sizes.growth) {
            if length == 0 {
                let dialogue = server.appenders(CONNECTIONS, Sessions::One)?;
                session = server.sessions()[0].clone();
                length = run(dialogue, 1, Until::Count(*messages as u64), server.child().pid())?.answers_total;
            } else if *messages as u64 > length {
                let more = *messages as u64 - length;
                length += run(appends(&server, vec![session.clone()])?, 1, Until::Count(more), server.child().pid())?
                    .answers_total;
            }
            let (figures, appended) = measure(plan, &server, vec![session.clone()], length)?;
            length += appended;
            ensure!(
                server.stored()? == Some(length),
                "{length} messages were acknowledged, and not as many are stored"
            );
            eprintln!(
                "growth-session {messages}: append {:.2} us, page {:.2} us",
                figures["append_cpu_us"], figures["page_cpu_us"]
            );
            row.rounds.push(Some(figures));
        }
    }
    let title = format!(
        "A session that grows: appends to it, and pages of {PAGE_MESSAGES} messages from anywhere in it, {CONNECTIONS} connections."
    );
    Ok(table("growth-session", title, rows))
}

fn of_a_server(plan: &Plan) -> Result<Table> {
    let mut rows = rows(plan, "sessions on the server");
    for _ in 0..plan.rounds {
        let server = plan.ours(Door::Rest).run(&plan.place)?;
        let mut sessions = Vec::new();
        for (row, count) in rows.iter_mut().zip(&plan.sizes.growth) {
            sessions.extend(server.make_sessions(count - sessions.len())?);
            let (figures, _) = measure(plan, &server, sessions.clone(), 0)?;
            eprintln!(
                "growth-server {count}: append {:.2} us, page {:.2} us",
                figures["append_cpu_us"], figures["page_cpu_us"]
            );
            row.rounds.push(Some(figures));
        }
    }
    let title = format!(
        "A server that fills: appends to its sessions at random, and pages of them, {CONNECTIONS} connections."
    );
    Ok(table("growth-server", title, rows))
}

fn rows(plan: &Plan, what: &str) -> Vec<Row> {
    let row = |count: &usize| Row {
        name: format!("{count} {what}"),
        setting: "--shards 1 --durability disk".to_owned(),
        rounds: Vec::new(),
        trouble: None,
        failed: false,
    };
    plan.sizes.growth.iter().map(row).collect()
}

fn table(work: &str, title: String, rows: Vec<Row>) -> Table {
    Table { work: work.to_owned(), title, columns: COLUMNS.to_vec(), ratio_of: ("append_cpu_us", false), rows }
}

/// Appends, then pages; what they cost and how many messages are more now.
fn measure(plan: &Plan, server: &Running, sessions: Vec<String>, length: u64) -> Result<(Sample, u64)> {
    let until = Until::Time { warm: plan.warm, window: plan.window };
    let pid = server.child().pid();
    let appended = run(appends(server, sessions.clone())?, 1, until, pid)?;
    let read = run(pages(server, sessions, length)?, 1, until, pid)?;
    let (append, page) = (sample(&appended), sample(&read));
    let figures = Sample::from([
        ("append_cpu_us", append["server_cpu_us_per_op"]),
        ("append_p50_us", us(&appended.latency_ns, 0.5)),
        ("append_p99_us", append["p99_us"]),
        ("append_per_s", append["ops_per_s"]),
        ("page_cpu_us", page["server_cpu_us_per_op"]),
        ("page_p99_us", page["p99_us"]),
        ("page_per_s", page["ops_per_s"]),
    ]);
    Ok((figures, appended.answers_total))
}

/// Appends to sessions drawn at random.
fn appends(server: &Running, sessions: Vec<String>) -> Result<Dialogue> {
    let template = Running::append(&"0".repeat(ID_BYTES));
    let id_at = memchr::memmem::find(&template, b"0000").expect("the id stands in the path");
    let sessions = Rc::new(sessions);
    let mut draw = SmallRng::seed_from_u64(SEED);
    let request = move |_, out: &mut Vec<u8>| {
        let session = &sessions[draw.random_range(0..sessions.len())];
        let start = out.len() + id_at;
        out.extend_from_slice(&template);
        out[start..start + ID_BYTES].copy_from_slice(session.as_bytes());
    };
    Ok(Dialogue { streams: server.streams(CONNECTIONS)?, request: Box::new(request), codec: http::reply })
}

/// Pages of sessions drawn at random, from anywhere in their first `length` messages.
fn pages(server: &Running, sessions: Vec<String>, length: u64) -> Result<Dialogue> {
    let mut draw = SmallRng::seed_from_u64(SEED);
    let request = move |_, out: &mut Vec<u8>| {
        let session = &sessions[draw.random_range(0..sessions.len())];
        let after = draw.random_range(0..=length.saturating_sub(PAGE_MESSAGES));
        let path = format!("/api/sessions/{session}/messages?after_seq={after}&limit={PAGE_MESSAGES}");
        out.extend_from_slice(&http::bare("GET", &path));
    };
    let mut link = Link::connect(server.child().address(), http::reply)?;
    let mut probe = Vec::new();
    let mut dialogue =
        Dialogue { streams: server.streams(CONNECTIONS)?, request: Box::new(request), codec: http::reply };
    (dialogue.request)(0, &mut probe);
    link.ask(&probe)?;
    Ok(dialogue)
}
