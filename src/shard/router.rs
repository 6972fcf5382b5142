//! Who answers a message that names nobody, as far as a shard's roster tells: the one whom the words of the message clearly call for,
//! and the one who is there for the rest.
//!
//! What an agent can be found by is read once and forgotten when any registration changes: changes are rare, and reading the profiles
//! of thousands of agents is not for every message. Not here: the rule of choice (`agent::router`), the user's last agent.

use super::roster::Roster;
use super::{AgentName, Outcome, Refusal, Reply, Shard, Stop};
use crate::agent::{Candidate, choose};
use crate::session::{AgentConfig, Namespace};
use hashbrown::HashMap;
use storage::Medium;

/// The agents that may be chosen, by namespace, as far as somebody has asked.
#[derive(Debug, Default)]
pub(super) struct Router {
    lists: HashMap<Namespace, Vec<Listed>>,
}

/// An agent that may be chosen.
#[derive(Debug)]
struct Listed {
    agent: AgentName,
    candidate: Candidate,
    is_default: bool,
    is_team: bool,
}

impl Router {
    /// Registrations have changed.
    pub(super) fn forget(&mut self) {
        self.lists.clear();
    }

    /// The enabled agents of a namespace, oldest first.
    fn list(&mut self, namespace: &Namespace, roster: &Roster) -> &[Listed] {
        self.lists.entry(namespace.clone()).or_insert_with(|| {
            let is_here = |agent: &&AgentConfig| agent.namespace == namespace.stored() && agent.enabled();
            let mut agents: Vec<&AgentConfig> = roster.registered().filter(is_here).collect();
            agents.sort_by_key(|agent| (agent.inserted_at_us, agent.id()));
            agents.into_iter().map(Listed::of).collect()
        })
    }
}

impl Listed {
    fn of(agent: &AgentConfig) -> Self {
        Self {
            agent: name_of(agent),
            candidate: Candidate::of(agent),
            is_default: agent.profile.is_default,
            is_team: agent.profile.team.is_some(),
        }
    }
}

fn name_of(agent: &AgentConfig) -> AgentName {
    AgentName { id: agent.id().to_owned(), name: agent.name().to_owned() }
}

impl<M: Medium> Shard<M> {
    /// Answers [`super::Command::Route`].
    pub(super) fn route(&mut self, namespace: &Namespace, message: &str) -> Result<Outcome, Stop> {
        if self.roster.is_disabled() {
            return Err(Refusal::AgentDisabled.into());
        }
        if !self.roster.is_complete() {
            return Err(Refusal::Overloaded.into()); // the registrations are on their way
        }
        let list = self.router.list(namespace, &self.roster);
        let chosen = choose(message, list.iter().map(|listed| &listed.candidate));
        let agent = chosen.map(|place| list[place].agent.clone());
        let default = list.iter().find(|listed| listed.is_default);
        let fallback =
            default.or_else(|| list.iter().find(|listed| !listed.is_team)).map(|listed| listed.agent.clone());
        let fallback = fallback.or_else(|| self.roster.built_in().map(name_of));
        Ok(Outcome::Reply(Reply::Routed { agent, fallback }))
    }
}
