//! The last calls of each agent, for people who look for the reason of a silence. In memory only: a restart forgets them.

use super::answer::{EMPTY, INCOMPLETE};
use super::call::{CallEnd, CallKind};
use super::names::NameId;
use super::{CallReport, Shard};
use crate::limits::{DELIVERIES_AGENTS_MAX, DELIVERIES_MAX};
use crate::session::{RunId, scoped};
use hashbrown::HashMap;
use std::collections::VecDeque;
use storage::{Medium, Slot};

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Reports {
    by_agent: HashMap<NameId, VecDeque<CallReport>>,
    /// Agents in the order of their first call.
    agents: VecDeque<NameId>,
}

impl Reports {
    /// Remembers a call.
    pub(super) fn push(&mut self, agent: NameId, report: CallReport) {
        if !self.by_agent.contains_key(&agent) {
            if self.agents.len() >= DELIVERIES_AGENTS_MAX
                && let Some(oldest) = self.agents.pop_front()
            {
                self.by_agent.remove(&oldest);
            }
            self.agents.push_back(agent);
        }
        let reports = self.by_agent.entry(agent).or_default();
        if reports.len() >= DELIVERIES_MAX {
            reports.pop_front();
        }
        reports.push_back(report);
    }

    /// The calls of an agent, latest first.
    pub(super) fn of(&self, agent: NameId) -> Vec<CallReport> {
        self.by_agent.get(&agent).map(|reports| reports.iter().rev().cloned().collect()).unwrap_or_default()
    }
}

impl<M: Medium> Shard<M> {
    /// The call of a team's voice has ended.
    pub(super) fn report_voice(&mut self, slot: Slot, run: RunId, number: u16, attempt: u32, end: &CallEnd) {
        let early = self.runs.ended_early.remove(&(run, number));
        let Some(voice) = self.runs.voice(slot, run, number) else { return };
        let silent = if voice.chunks.0 > 0 { INCOMPLETE } else { EMPTY };
        let is_complete = voice.messages > 0 && voice.assembler.is_empty();
        let failed = end.failure.as_ref().map(|failure| (failure.reason, failure.detail.clone()));
        let failure = early.or(failed).or_else(|| (!is_complete).then(|| (silent.0, silent.1.to_owned())));
        let (chunks, dropped) = (voice.chunks.0, voice.lines_dropped);
        let name = scoped(&voice.agent.namespace, voice.agent.id()).into_owned();
        let report = CallReport {
            session: self.id_of(slot),
            run,
            voice: number,
            attempt,
            kind: CallKind::Answer,
            ended_at_us: self.now.unix_us,
            duration_us: end.duration_us,
            first_line_us: end.first_line_us,
            status: end.status,
            chunks,
            lines_dropped: end.lines_dropped + dropped,
            failure,
        };
        let agent = self.catalog.names.intern(&name);
        self.reports.push(agent, report);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{RunId, SessionId};
    use crate::shard::CallKind;
    use crate::shard::names::Names;

    fn report(n: u32) -> CallReport {
        CallReport {
            session: SessionId::from(1),
            run: RunId::from(2),
            voice: 0,
            attempt: n,
            kind: CallKind::Answer,
            ended_at_us: 0,
            duration_us: 0,
            first_line_us: None,
            status: Some(200),
            chunks: 0,
            lines_dropped: 0,
            failure: None,
        }
    }

    #[test]
    fn the_latest_calls_of_the_latest_agents_are_remembered() {
        let (mut names, mut reports) = (Names::new(1), Reports::default());
        let agent = |names: &mut Names, n: usize| names.intern(&format!("agent-{n}"));
        for n in 0..=DELIVERIES_MAX as u32 {
            reports.push(agent(&mut names, 0), report(n));
        }
        let of_first = reports.of(agent(&mut names, 0));
        assert_eq!((of_first.len(), of_first[0].attempt), (DELIVERIES_MAX, DELIVERIES_MAX as u32));
        for n in 1..=DELIVERIES_AGENTS_MAX {
            reports.push(agent(&mut names, n), report(0));
        }
        assert!(reports.of(agent(&mut names, 0)).is_empty());
        assert_eq!(reports.of(agent(&mut names, DELIVERIES_AGENTS_MAX)).len(), 1);
    }
}
