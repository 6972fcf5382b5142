//! Who answers a message that names nobody, as far as a shard's roster tells: the one whom the words of the message clearly call for,
//! and the one who is there for the rest:
//! whom the user spoke to last, the default, the oldest, the built-in one.
//!
//! What the agents of a namespace can be found by is read once, into an index by word, and forgotten when a registration there changes:
//! changes are rare, and neither the profiles of thousands of agents nor all of them are for every message. Not here: the rule of choice
//! (`agent::router`), whom the user spoke to last.

use super::roster::Roster;
use super::{AgentName, Outcome, Refusal, Reply, Shard, Stop};
use crate::agent::{Candidate, Index};
use crate::session::{AgentConfig, Namespace};
use hashbrown::HashMap;
use storage::Medium;

/// The agents that may be chosen, by namespace, as far as somebody has asked.
#[derive(Debug, Default)]
pub(super) struct Router {
    lists: HashMap<Namespace, List>,
}

/// The enabled agents of a namespace, oldest first.
#[derive(Debug, Default)]
struct List {
    agents: Vec<AgentName>,
    /// Their places, by word.
    index: Index,
    /// Their places, by id.
    by_id: HashMap<String, usize>,
    /// Who is there for what calls for nobody: the first default, else the first that is no team.
    default: Option<usize>,
}

impl Router {
    /// A registration of this namespace (as it is stored) has changed.
    pub(super) fn forget(&mut self, namespace: &str) {
        self.lists.retain(|known, _| known.stored() != namespace);
    }

    fn list(&mut self, namespace: &Namespace, roster: &Roster) -> &List {
        self.lists.entry(namespace.clone()).or_insert_with(|| {
            let is_here = |agent: &&AgentConfig| agent.namespace == namespace.stored() && agent.enabled();
            let mut agents: Vec<&AgentConfig> = roster.registered().filter(is_here).collect();
            agents.sort_by_key(|agent| (agent.inserted_at_us, agent.id()));
            List::of(&agents)
        })
    }
}

impl List {
    fn of(agents: &[&AgentConfig]) -> Self {
        let first = |is_it: fn(&AgentConfig) -> bool| agents.iter().position(|agent| is_it(agent));
        Self {
            agents: agents.iter().map(|agent| name_of(agent)).collect(),
            index: Index::of(agents.iter().map(|agent| Candidate::of(agent))),
            by_id: agents.iter().enumerate().map(|(place, agent)| (agent.id().to_owned(), place)).collect(),
            default: first(|agent| agent.profile.is_default).or_else(|| first(|agent| agent.profile.team.is_none())),
        }
    }
}

fn name_of(agent: &AgentConfig) -> AgentName {
    AgentName { id: agent.id().to_owned(), name: agent.name().to_owned() }
}

impl<M: Medium> Shard<M> {
    /// Answers [`super::Command::Route`].
    pub(super) fn route(
        &mut self,
        namespace: &Namespace,
        message: &str,
        recent: Option<&str>,
    ) -> Result<Outcome, Stop> {
        if self.roster.is_disabled() {
            return Err(Refusal::AgentDisabled.into());
        }
        if !self.roster.is_complete() {
            return Err(Refusal::Overloaded.into()); // the registrations are on their way
        }
        let list = self.router.list(namespace, &self.roster);
        let at = |place: usize| list.agents[place].clone();
        let agent = list.index.choose(message).map(at);
        let built_in = self.roster.built_in(&self.catalog.names, namespace).map(name_of);
        let last_spoken_to = recent.and_then(|recent| {
            let registered = list.by_id.get(recent).copied().map(at);
            registered.or_else(|| built_in.clone().filter(|echo| echo.id == recent))
        });
        let fallback = last_spoken_to.or_else(|| list.default.map(at)).or(built_in);
        Ok(Outcome::Reply(Reply::Routed { agent, fallback }))
    }
}
