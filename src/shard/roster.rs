//! The agents as a shard knows them: a copy of the directory, so that an append can say at once whether it waits for an
//! answer.
//!
//! Invariants: the directory's shard tells every shard of a change before it answers the one who made it, in the order
//! of the changes; until the whole directory was told once, the roster is not complete and no agent is called.

use super::names::{NameId, Names};
use crate::session::{AgentConfig, AgentPut, Namespace, scoped};
use hashbrown::HashMap;

/// The id of the agent that answers without being registered, unless it is switched off.
pub const ECHO_AGENT: &str = "echo";

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Roster {
    agents: HashMap<NameId, AgentConfig>,
    echo: Option<AgentConfig>,
    complete: bool,
    disabled: bool,
}

impl Roster {
    /// A roster that knows the built-in agent, if there is to be one.
    pub(super) fn with_echo(echo: Option<AgentConfig>) -> Self {
        Self { echo, ..Self::default() }
    }

    /// Takes in registrations. `complete`: these are all that there are.
    pub(super) fn learn(&mut self, names: &mut Names, notes: Vec<AgentPut>, complete: bool) {
        for AgentPut { former_id, agent } in notes {
            if let Some(former) = former_id {
                self.agents.remove(&names.intern(&scoped(&agent.namespace, &former)));
            }
            self.agents.insert(names.intern(&agent.scoped_id()), agent);
        }
        self.complete |= complete;
    }

    /// No agent answers.
    pub(super) fn disable(&mut self) {
        self.disabled = true;
    }

    /// Whether agents answer at all.
    pub(super) fn is_disabled(&self) -> bool {
        self.disabled
    }

    /// Whether every registration is known.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// The registered agents, in any order.
    pub(super) fn registered(&self) -> impl Iterator<Item = &AgentConfig> {
        self.agents.values()
    }

    /// The built-in agent, if there is to be one and no other has its name in this namespace.
    pub(super) fn built_in(&self, names: &Names, namespace: &Namespace) -> Option<&AgentConfig> {
        let registered =
            |echo: &AgentConfig| names.find(&namespace.scoped(echo.id())).and_then(|name| self.agents.get(&name));
        self.echo.as_ref().filter(|echo| registered(echo).is_none())
    }

    /// The name of an agent that is registered or built in.
    pub(super) fn find(&self, names: &mut Names, namespace: &Namespace, agent_id: &str) -> Option<NameId> {
        let is_echo = self.echo.as_ref().is_some_and(|echo| echo.id() == agent_id);
        let scoped = namespace.scoped(agent_id);
        let name = if is_echo { names.intern(&scoped) } else { names.find(&scoped)? };
        self.agent(names, name).map(|_| name)
    }

    /// The agent that is known by this id in a namespace, enabled or not.
    pub(super) fn by_id(&self, names: &Names, namespace: &str, id: &str) -> Option<&AgentConfig> {
        let registered = names.find(&scoped(namespace, id)).and_then(|name| self.agents.get(&name));
        registered.or_else(|| self.echo.as_ref().filter(|echo| id == echo.id()))
    }

    /// Who of a team can be called now, in the team's order: who is registered, enabled and no team.
    pub(super) fn members(&self, names: &Names, team: &AgentConfig) -> Vec<&AgentConfig> {
        let Some(spec) = &team.profile.team else { return Vec::new() };
        spec.members.iter().filter_map(|id| self.callable(names, &team.namespace, id)).collect()
    }

    /// An agent that a team can call.
    pub(super) fn callable(&self, names: &Names, namespace: &str, id: &str) -> Option<&AgentConfig> {
        self.by_id(names, namespace, id).filter(|agent| agent.enabled() && agent.profile.team.is_none())
    }

    /// The agent of this name, enabled or not. The built-in one gives way to a registered one of its name.
    pub(super) fn agent(&self, names: &Names, name: NameId) -> Option<&AgentConfig> {
        let registered = self.agents.get(&name);
        registered.or_else(|| self.echo.as_ref().filter(|echo| names.id(name) == echo.id()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Json;

    fn put(former_id: Option<&str>, id: &str) -> AgentPut {
        let fields = format!(r#"{{"id":"{id}","name":"A","origin_url":"http://a"}}"#);
        let agent = AgentConfig::create(&Json::parse(&fields).unwrap(), 5).unwrap();
        AgentPut { former_id: former_id.map(str::to_owned), agent }
    }

    #[test]
    fn a_renamed_agent_is_known_by_its_new_name_only() {
        let (mut names, mut roster) = (Names::new(1), Roster::default());
        roster.learn(&mut names, vec![put(None, "a")], true);
        roster.learn(&mut names, vec![put(Some("a"), "b")], false);
        assert!(roster.is_complete());
        let (a, b) = (names.intern("a"), names.intern("b"));
        assert!(roster.agent(&names, a).is_none());
        assert_eq!(roster.agent(&names, b).unwrap().id(), "b");
    }

    #[test]
    fn the_built_in_agent_gives_way_to_a_registered_one_and_comes_back() {
        let mut names = Names::new(1);
        let mut roster = Roster::with_echo(Some(AgentConfig::echo(ECHO_AGENT, 7)));
        let echo = names.intern(ECHO_AGENT);
        assert!(roster.agent(&names, echo).unwrap().origin_url.starts_with("builtin:"));
        roster.learn(&mut names, vec![put(None, ECHO_AGENT)], true);
        assert_eq!(roster.agent(&names, echo).unwrap().origin_url, "http://a");
        roster.learn(&mut names, vec![put(Some(ECHO_AGENT), "b")], false);
        assert!(roster.agent(&names, echo).unwrap().origin_url.starts_with("builtin:"));
    }
}
