//! Growth: what an append and a read cost the server as a session gets longer, and as a server gets fuller. Ours alone.
//!
//! One server is filled step by step. Cost is the server's CPU time per operation, which depends less on the neighbours than wall time; its
//! ratio to the first step is what must stay flat.

use super::Plan;
use super::append::sample;
use crate::closed::{Dialogue, Until, run};
use crate::quiet::{Mark, wait};
use crate::report::{Column, Ratio, Row, Sample, Table};
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
    Column::ranged("read_cpu_us", "read CPU us", 2),
    Column::new("read_p99_us", "read p99 us", 0),
    Column::new("read_per_s", "reads/s", 0),
];

/// Connections at work.
const CONNECTIONS: usize = 256;
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
        let first = server.appenders(0, Sessions::One)?;
        drop(first);
        let session = Rc::new(server.sessions().to_vec());
        let mut length = 0;
        for (row, messages) in rows.iter_mut().zip(&plan.sizes.growth) {
            let more = (*messages as u64).saturating_sub(length);
            if more > 0 {
                length += run(appends(&server, &session)?, 1, Until::Count(more), server.child().pid())?.answers_total;
            }
            let reads = pages(&server, &session[0], length)?;
            let (figures, appended) = measure(plan, &server, appends(&server, &session)?, reads)?;
            length += appended;
            ensure!(
                server.stored()? == Some(length),
                "{length} messages were acknowledged, and not as many are stored"
            );
            tell("growth-session", *messages, &figures);
            row.rounds.push(Some(figures));
        }
    }
    let title = format!(
        "A session that grows: appends to it, and reads of {PAGE_MESSAGES} messages from anywhere in it, {CONNECTIONS} connections."
    );
    Ok(table("growth-session", title, rows))
}

fn of_a_server(plan: &Plan) -> Result<Table> {
    let mut rows = rows(plan, "sessions on the server");
    for _ in 0..plan.rounds {
        let server = plan.ours(Door::Rest).run(&plan.place)?;
        let mut sessions = Rc::new(Vec::new());
        for (row, count) in rows.iter_mut().zip(&plan.sizes.growth) {
            let more = server.make_sessions(count - sessions.len())?;
            Rc::make_mut(&mut sessions).extend(more);
            let (figures, _) = measure(plan, &server, appends(&server, &sessions)?, looks(&server, &sessions)?)?;
            tell("growth-server", *count, &figures);
            row.rounds.push(Some(figures));
        }
    }
    let title = format!(
        "A server that fills: appends to its sessions at random, and reads of one session's head, {CONNECTIONS} connections."
    );
    Ok(table("growth-server", title, rows))
}

fn tell(work: &str, step: usize, figures: &Sample) {
    eprintln!("{work} {step}: append {:.2} us, read {:.2} us", figures["append_cpu_us"], figures["read_cpu_us"]);
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
    let first = rows.first().map_or(String::new(), |row| row.name.clone());
    let ratios = vec![Ratio::over(first.clone(), "append_cpu_us"), Ratio::over(first, "read_cpu_us")];
    Table { work: work.to_owned(), title, columns: COLUMNS.to_vec(), ratios, rows }
}

/// Appends, then reads; what they cost and how many messages are more now.
fn measure(plan: &Plan, server: &Running, appends: Dialogue, reads: Dialogue) -> Result<(Sample, u64)> {
    let until = Until::Time { warm: plan.warm, window: plan.window };
    let pid = server.child().pid();
    wait(plan.patience)?;
    let mark = Mark::now()?;
    let appended = run(appends, 1, until, pid)?;
    let read = run(reads, 1, until, pid)?;
    let (append, read) = (sample(&appended), sample(&read));
    let figures = Sample::from([
        ("append_cpu_us", append["server_cpu_us_per_op"]),
        ("append_p50_us", append["p50_us"]),
        ("append_p99_us", append["p99_us"]),
        ("append_per_s", append["ops_per_s"]),
        ("read_cpu_us", read["server_cpu_us_per_op"]),
        ("read_p99_us", read["p99_us"]),
        ("read_per_s", read["ops_per_s"]),
        ("foreign_cpu_share", mark.foreign_share()?),
    ]);
    Ok((figures, appended.answers_total))
}

/// Appends to sessions drawn at random.
fn appends(server: &Running, sessions: &Rc<Vec<String>>) -> Result<Dialogue> {
    let template = Running::append(&"0".repeat(ID_BYTES));
    let id_at = memchr::memmem::find(&template, b"0000").expect("the id stands in the path");
    let sessions = Rc::clone(sessions);
    let mut draw = SmallRng::seed_from_u64(SEED);
    let request = move |_, out: &mut Vec<u8>| {
        let session = &sessions[draw.random_range(0..sessions.len())];
        let start = out.len() + id_at;
        out.extend_from_slice(&template);
        out[start..start + ID_BYTES].copy_from_slice(session.as_bytes());
    };
    Ok(Dialogue { streams: server.streams(CONNECTIONS)?, request: Box::new(request), codec: http::reply })
}

/// Pages of the session, from anywhere in its first `length` messages.
fn pages(server: &Running, session: &str, length: u64) -> Result<Dialogue> {
    let mut draw = SmallRng::seed_from_u64(SEED);
    let session = session.to_owned();
    let request = move |_, out: &mut Vec<u8>| {
        let after = draw.random_range(0..=length.saturating_sub(PAGE_MESSAGES));
        let path = format!("/api/sessions/{session}/messages?after_seq={after}&limit={PAGE_MESSAGES}");
        out.extend_from_slice(&http::bare("GET", &path));
    };
    Ok(Dialogue { streams: server.streams(CONNECTIONS)?, request: Box::new(request), codec: http::reply })
}

/// Looks at sessions drawn at random.
fn looks(server: &Running, sessions: &Rc<Vec<String>>) -> Result<Dialogue> {
    let mut draw = SmallRng::seed_from_u64(SEED);
    let sessions = Rc::clone(sessions);
    let request = move |_, out: &mut Vec<u8>| {
        let session = &sessions[draw.random_range(0..sessions.len())];
        out.extend_from_slice(&http::bare("GET", &format!("/api/sessions/{session}")));
    };
    Ok(Dialogue { streams: server.streams(CONNECTIONS)?, request: Box::new(request), codec: http::reply })
}
