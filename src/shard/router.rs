//! Who answers a message that names nobody, as far as a shard's roster tells: the one whom the words of the message clearly call for,
//! and the one who is there for the rest:
//! whom the user spoke to last, the default, the oldest, the built-in one.
//!
//! What an agent can be found by is read once and forgotten when any registration changes: changes are rare, and reading the profiles
//! of thousands of agents is not for every message. Not here: the rule of choice (`agent::router`), whom the user spoke to last.

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
        let chosen = choose(message, list.iter().map(|listed| &listed.candidate));
        let agent = chosen.map(|place| list[place].agent.clone());
        let built_in = self.roster.built_in(namespace).map(name_of);
        let first = |is_it: &dyn Fn(&Listed) -> bool| {
            list.iter().find(|listed| is_it(listed)).map(|listed| listed.agent.clone())
        };
        let last_spoken_to = recent.and_then(|recent| {
            let registered = first(&|listed| listed.agent.id == recent);
            registered.or_else(|| built_in.clone().filter(|echo| echo.id == recent))
        });
        let default = || first(&|listed| listed.is_default).or_else(|| first(&|listed| !listed.is_team));
        let fallback = last_spoken_to.or_else(default).or(built_in);
        Ok(Outcome::Reply(Reply::Routed { agent, fallback }))
    }
}
