//! A page of a user's messages over all sessions, latest first: first the keys of all shards, then the rows of the page alone.
//!
//! Pure steps; dialects choose the window and the rendering. Invariants: the page is a cut of one order over all shards; what was deleted
//! between the steps is left out, and what a page has no room for ends it, wherever it lies.

use super::error::{ApiError, Kind};
use super::flow::{Answer, Answers, Flow, Next, To};
use super::{Dialect, JSON, Target};
use crate::limits::TIMELINE_ROWS_MAX;
use crate::protocol::http::Response;
use crate::session::SessionId;
use crate::shard::{Command, Reply, Row, TimelineKey, owner_of_session};

/// Which messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Whose.
    pub user_id: String,
    /// Only those of sessions with this agent.
    pub agent_id: Option<String>,
    /// Only those of this session.
    pub session: Option<SessionId>,
    /// Behind so many,
    pub offset: usize,
    /// so many.
    pub limit: usize,
}

/// Messages of a window.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Page {
    /// How many there are without a window.
    pub total: u64,
    /// Latest first.
    pub rows: Vec<Row>,
    /// There are more behind them that a window can show.
    pub has_more: bool,
}

/// Reads a window and renders it.
#[derive(Debug)]
pub struct TimelineFlow {
    window: Window,
    shards: u16,
    stage: Stage,
    dialect: Dialect,
    render: fn(&Window, &Page) -> String,
}

#[derive(Debug)]
enum Stage {
    Begin,
    Keys,
    Rows { total: u64, chosen: Vec<TimelineKey>, is_last: bool, asked: Vec<Vec<usize>> },
}

impl TimelineFlow {
    /// A flow on a server of so many shards.
    pub fn new(window: Window, shards: u16, dialect: Dialect, render: fn(&Window, &Page) -> String) -> Self {
        Self { window, shards, stage: Stage::Begin, dialect, render }
    }

    fn begin(&mut self) -> Next {
        let Window { user_id, agent_id, session, offset, limit } = self.window.clone();
        self.stage = Stage::Keys;
        let upto = offset.saturating_add(limit).min(TIMELINE_ROWS_MAX);
        let upto = if offset >= TIMELINE_ROWS_MAX { TIMELINE_ROWS_MAX + 1 } else { upto }; // beyond: the total alone
        let known = agent_id.clone().map(|id| (To::One(Target::Here), Command::DescribeAgents { ids: vec![id] }));
        let keys = Command::TimelineKeys { user_id, agent_id, session, upto };
        Next::Ask(match session {
            // That the session is there with this agent is all there is to know.
            Some(session) => vec![(To::One(Target::Owner(session)), keys)],
            None => std::iter::once((To::Every, keys)).chain(known).collect(),
        })
    }

    fn choose(&mut self, mut answers: Answers) -> Result<Next, ApiError> {
        let known = if answers.len() > 1 { answers.pop() } else { None };
        let (mut total, mut all) = (0, Vec::new());
        for reply in answers.into_iter().flatten() {
            let Reply::TimelineKeys { total: here, keys } = reply? else { return Err(Kind::Internal.into()) };
            total += here;
            all.extend(keys);
        }
        if let Some(known) = known.filter(|_| total == 0) {
            known_agent(known)?;
        }
        all.sort_unstable_by(|a, b| b.cmp(a));
        let Window { offset, limit, .. } = self.window;
        let chosen: Vec<TimelineKey> = match self.window.session {
            Some(session) if offset >= TIMELINE_ROWS_MAX => places_of(session, total, offset, limit),
            _ => all.into_iter().skip(offset).take(limit).collect(),
        };
        if chosen.is_empty() {
            return Ok(self.respond(&Page { total, ..Page::default() }));
        }
        let mut asked: Vec<(u16, Vec<usize>)> = Vec::new();
        for (at, key) in chosen.iter().enumerate() {
            let owner = owner_of_session(key.session, self.shards).0;
            match asked.iter_mut().find(|(shard, _)| *shard == owner) {
                Some((_, places)) => places.push(at),
                None => asked.push((owner, vec![at])),
            }
        }
        let asked: Vec<Vec<usize>> = asked.into_iter().map(|(_, places)| places).collect();
        let questions = asked.iter().map(|places| {
            let to = To::One(Target::Owner(chosen[places[0]].session));
            let places = places.iter().map(|&at| (chosen[at].session, chosen[at].seq)).collect();
            (to, Command::ReadRows { places })
        });
        let questions = questions.collect();
        let is_last = (offset + chosen.len()) as u64 >= total;
        self.stage = Stage::Rows { total, chosen, is_last, asked };
        Ok(Next::Ask(questions))
    }

    fn show(&self, answers: Answers) -> Result<Next, ApiError> {
        let Stage::Rows { total, chosen, is_last, asked } = &self.stage else { return Err(Kind::Internal.into()) };
        let mut found: Vec<Option<Row>> = vec![None; chosen.len()];
        let mut end = chosen.len();
        for (places, reply) in asked.iter().zip(answers.into_iter().flatten()) {
            let Reply::Rows { rows, decided } = reply? else { return Err(Kind::Internal.into()) };
            end = places.get(decided).map_or(end, |&at| end.min(at));
            let mut places = places.iter();
            for row in rows {
                let is_its = |&&at: &&usize| (chosen[at].session, chosen[at].seq) == (row.session, row.seq);
                let &at = places.find(is_its).ok_or(Kind::Internal)?;
                found[at] = Some(row);
            }
        }
        let has_more = end < chosen.len() || !is_last;
        let rows = found.into_iter().take(end).flatten().collect();
        Ok(self.respond(&Page { total: *total, rows, has_more }))
    }

    fn respond(&self, page: &Page) -> Next {
        Next::Respond(Response::new(200).with_body(JSON, (self.render)(&self.window, page)))
    }
}

impl Flow for TimelineFlow {
    fn step(&mut self, answers: Answers) -> Next {
        let next = match self.stage {
            Stage::Begin => Ok(self.begin()),
            Stage::Keys => self.choose(answers),
            Stage::Rows { .. } => self.show(answers),
        };
        next.unwrap_or_else(|error| Next::Respond(error.respond(self.dialect)))
    }
}

/// A window of one session, however far back: its messages are numbered, so none has to be looked for. Only the places count.
fn places_of(session: SessionId, total: u64, offset: usize, limit: usize) -> Vec<TimelineKey> {
    let latest = total.saturating_sub(offset as u64);
    let seqs = (1..=latest).rev().take(limit);
    seqs.map(|seq| TimelineKey { time_us: 0, session, seq }).collect()
}

/// Whether the agent is there that [`Command::DescribeAgents`] was asked for.
///
/// # Errors
/// [`Kind::AgentNotFound`], and what the shard refused.
pub fn known_agent(mut answer: Answer) -> Result<(), ApiError> {
    match answer.pop().ok_or(Kind::Internal)?? {
        Reply::AgentNames(names) if matches!(names[..], [Some(_)]) => Ok(()),
        Reply::AgentNames(_) => Err(Kind::AgentNotFound.into()),
        _ => Err(Kind::Internal.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Json;
    use crate::shard::{AgentName, Refusal};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn session(n: u64) -> SessionId {
        SessionId::from_parts(n, n.into())
    }

    fn row(session: SessionId, seq: u64, time_us: u64) -> Row {
        let json = Json::parse(&seq.to_string()).unwrap();
        Row { session, seq, time_us, by_agent: false, agent: AgentName::default(), json }
    }

    #[test]
    fn one_session_is_read_to_its_beginning() {
        const TOTAL: u64 = TIMELINE_ROWS_MAX as u64 + 300;
        let read = |offset: usize| {
            let window = Window { session: Some(session(1)), ..window(offset, 200) };
            let mut flow = TimelineFlow::new(window, 4, Dialect::Agenfleet, rendered);
            assert!(matches!(flow.step(Answers::new()), Next::Ask(questions) if questions.len() == 1));
            let keys = Reply::TimelineKeys { total: TOTAL, keys: Vec::new() };
            let places = match flow.step(vec![vec![Ok(keys)]]) {
                Next::Ask(mut questions) => match questions.pop() {
                    Some((_, Command::ReadRows { places })) => places,
                    other => panic!("unexpected {other:?}"),
                },
                other => panic!("unexpected {other:?}"),
            };
            let rows: Vec<Row> = places.iter().map(|&(session, seq)| row(session, seq, 0)).collect();
            let decided = rows.len();
            let Next::Respond(response) = flow.step(vec![vec![Ok(Reply::Rows { rows, decided })]]) else { panic!() };
            let said = String::from_utf8_lossy(&response.body).into_owned();
            let seqs: Vec<u64> = places.iter().map(|(_, seq)| *seq).collect();
            (seqs.first().copied(), seqs.last().copied(), said.split(' ').nth(1).map(str::to_owned))
        };
        assert_eq!(read(TIMELINE_ROWS_MAX), (Some(300), Some(101), Some("true".to_owned())));
        assert_eq!(read(TIMELINE_ROWS_MAX + 200), (Some(100), Some(1), Some("false".to_owned())));
        assert_eq!(places_of(session(1), TOTAL, TIMELINE_ROWS_MAX + 300, 200), []);
    }

    fn window(offset: usize, limit: usize) -> Window {
        Window { user_id: "alice".into(), agent_id: None, session: None, offset, limit }
    }

    fn rendered(_: &Window, page: &Page) -> String {
        let rows: Vec<_> = page.rows.iter().map(|row| format!("{}/{}", row.session, row.seq)).collect();
        format!("{} {} {}", page.total, page.has_more, rows.join(" "))
    }

    /// What a server of so many shards with these messages responds; each `ReadRows` is given at most `room` rows.
    fn respond(log: &BTreeMap<(SessionId, u64), u64>, shards: u16, window: Window, room: usize) -> String {
        let mut flow = TimelineFlow::new(window, shards, Dialect::Agenfleet, rendered);
        let mut answers = Answers::new();
        loop {
            let questions = match flow.step(answers) {
                Next::Respond(response) => return String::from_utf8_lossy(&response.body).into_owned(),
                Next::Ask(questions) => questions,
                other => panic!("unexpected {other:?}"),
            };
            let answer = |shard: u16, command: &Command| match command {
                Command::TimelineKeys { upto, .. } => {
                    let here = log.iter().filter(|((session, _), _)| owner_of_session(*session, shards).0 == shard);
                    let mut keys: Vec<_> =
                        here.map(|(&(session, seq), &time_us)| TimelineKey { time_us, session, seq }).collect();
                    keys.sort_unstable_by(|a, b| b.cmp(a));
                    let total = keys.len() as u64;
                    keys.truncate(if *upto > TIMELINE_ROWS_MAX { 0 } else { *upto });
                    Ok(Reply::TimelineKeys { total, keys })
                }
                Command::ReadRows { places } => {
                    let rows = places.iter().take(room).map(|&(id, seq)| row(id, seq, log[&(id, seq)])).collect();
                    Ok(Reply::Rows { rows, decided: places.len().min(room) })
                }
                other => panic!("unexpected {other:?}"),
            };
            let asked = questions.iter().map(|(to, command)| match to {
                To::Every => (0..shards).map(|shard| answer(shard, command)).collect(),
                To::One(target) => vec![answer(target.shard(shards, crate::shard::ShardId(0)).0, command)],
            });
            answers = asked.collect();
        }
    }

    proptest! {
        #[test]
        fn pages_over_shards_are_those_of_one_sorted_list(
            times in proptest::collection::vec(proptest::collection::vec(0..4u64, 0..20), 1..8),
            shards in 1..5u16, offset in 0..60usize, limit in 1..30usize,
        ) {
            let mut log = BTreeMap::new();
            for (n, steps) in times.iter().enumerate() {
                let mut time_us = 0;
                for (seq, step) in (1..).zip(steps) {
                    time_us += step;
                    log.insert((session(n as u64), seq), time_us);
                }
            }
            let mut all: Vec<_> = log.iter().map(|(&(session, seq), &time_us)| row(session, seq, time_us)).collect();
            all.sort_unstable_by_key(|row| std::cmp::Reverse((row.time_us, row.session, row.seq)));
            let total = all.len() as u64;
            let rows: Vec<_> = all.into_iter().skip(offset).take(limit).collect();
            let has_more = !rows.is_empty() && ((offset + rows.len()) as u64) < total;
            let expected = rendered(&window(offset, limit), &Page { total, rows, has_more });
            prop_assert_eq!(respond(&log, shards, window(offset, limit), usize::MAX), expected);
        }
    }

    #[test]
    fn a_page_ends_before_the_first_row_that_had_no_room() {
        let log: BTreeMap<_, _> = (1..=9).map(|n| ((session(n), 1), n)).collect();
        let whole = respond(&log, 3, window(0, 9), usize::MAX);
        let cut = respond(&log, 3, window(0, 9), 1);
        let rows = |text: &str| text.split(' ').skip(2).map(str::to_owned).collect::<Vec<_>>();
        assert!(cut.starts_with("9 true ") && rows(&whole).starts_with(&rows(&cut)) && !rows(&cut).is_empty(), "{cut}");
        assert!(rows(&cut).len() < 9);
    }

    #[test]
    fn beyond_the_bound_there_is_a_total_and_nothing_more() {
        let log: BTreeMap<_, _> = (1..=9).map(|n| ((session(n), 1), n)).collect();
        assert_eq!(respond(&log, 2, window(TIMELINE_ROWS_MAX, 5), usize::MAX), "9 false ");
        assert_eq!(respond(&log, 2, window(usize::MAX, 5), usize::MAX), "9 false ");
    }

    #[test]
    fn an_agent_that_nobody_knows_has_no_history_unless_there_is_some() {
        let of_agent = Window { agent_id: Some("bot".into()), ..window(0, 5) };
        for (total, status) in [(0, 404), (3, 200)] {
            let mut flow = TimelineFlow::new(of_agent.clone(), 1, Dialect::Agenfleet, rendered);
            let Next::Ask(questions) = flow.step(Answers::new()) else { panic!("it asks first") };
            assert_eq!(questions.len(), 2);
            let keys = vec![Ok(Reply::TimelineKeys { total, keys: Vec::new() })];
            let Next::Respond(response) = flow.step(vec![keys, vec![Ok(Reply::AgentNames(vec![None]))]]) else {
                panic!("it responds")
            };
            assert_eq!(response.status, status);
        }
        let of_session = Window { session: Some(session(1)), ..of_agent };
        let mut flow = TimelineFlow::new(of_session, 1, Dialect::Agenfleet, rendered);
        let Next::Ask(questions) = flow.step(Answers::new()) else { panic!("it asks first") };
        assert_eq!(questions[0].0, To::One(Target::Owner(session(1))));
        let Next::Respond(response) = flow.step(vec![vec![Err(Refusal::SessionNotFound)]]) else { panic!() };
        assert_eq!((response.status, &response.body[..]), (404, &br#"{"error":"Session not found"}"#[..]));
    }
}
