//! Appends on terms: the main session that is made by its first message, who must be there to answer, who listens.
//!
//! Invariants: what the terms require is checked before anything is appended; a main session and its first message are appended in
//! one turn, so nobody ever sees one without the other unless a crash tears them apart: then the next append fills what is empty.
//!
//! Not here: the message itself (`append`), which generation lives (`mains`), how a message stands (`asked`).

use super::names::NameId;
use super::sessions::NewSession;
use super::{AgentName, Append, AskedTeam, Now, Parties, Refusal, Requires, Shard, Stop, Terms};
use crate::session::{Json, Namespace, SessionId, SessionStatus};
use storage::{Key, Medium, Slot};

/// What an append wants to happen when it is committed.
#[derive(Debug)]
pub(super) struct Spoken {
    /// The answer to the append says how it stands.
    pub(super) asked: bool,
    /// The agent is called without waiting for more.
    pub(super) at_once: bool,
    /// For the agent's call alone.
    pub(super) context: Option<Json>,
}

impl Spoken {
    pub(super) fn of(terms: Option<&Terms>) -> Option<Box<Self>> {
        let terms = terms.filter(|terms| terms.watch || terms.at_once || terms.context.is_some())?;
        let Terms { watch: asked, at_once, context, .. } = terms.clone();
        Some(Box::new(Self { asked, at_once, context }))
    }
}

impl<M: Medium> Shard<M> {
    /// The session that an append goes to.
    pub(super) fn slot_for(&mut self, now: Now, namespace: &Namespace, append: &Append) -> Result<Slot, Stop> {
        let Some(terms) = append.terms.as_deref() else { return self.writable(append.session) };
        let slot = match &terms.parties {
            Some(parties) if append.session.is_main() => {
                self.main_slot(now, namespace, append.session, parties, terms)?
            }
            Some(parties) => {
                let slot = self.writable(append.session)?;
                if !self.is_between(slot, namespace, parties) {
                    return Err(Refusal::SessionNotFound.into());
                }
                slot
            }
            None => self.writable(append.session)?,
        };
        let entry = self.catalog.entry(slot).expect("a writable session has an entry");
        if terms.answer_from == Requires::ActiveSession && entry.status() != SessionStatus::Active {
            return Err(Refusal::SessionInactive.into());
        }
        self.check_agent(Some(entry.agent), terms.answer_from)?;
        self.check_claims(entry, &terms.claims)?;
        Ok(slot)
    }

    /// The living generation of a main session, made if it is not there.
    fn main_slot(
        &mut self,
        now: Now,
        namespace: &Namespace,
        main: SessionId,
        parties: &Parties,
        terms: &Terms,
    ) -> Result<Slot, Stop> {
        let exhausted = Refusal::Full { what: "the main session's generations", max: usize::from(u16::MAX) };
        let mut session = self.mains.living(main).ok_or(exhausted.clone())?;
        while let Some(slot) = self.log.slot(Key(session.to_u128())) {
            match self.catalog.entry(slot) {
                None => return Err(self.damaged().into()),
                // Whoever reads by now knows that it is gone; in the log the next one stands behind its end.
                Some(entry) if entry.deleting() => {
                    let next = session.generation().checked_add(1).filter(|&next| next < u16::MAX);
                    session = session.at_generation(next.ok_or(exhausted.clone())?);
                }
                Some(_) if self.is_between(slot, namespace, parties) => return Ok(slot),
                Some(_) => return Err(Refusal::SessionExists.into()),
            }
        }
        self.make_main(now, namespace, session, parties, terms.answer_from)
    }

    fn make_main(
        &mut self,
        now: Now,
        namespace: &Namespace,
        session: SessionId,
        parties: &Parties,
        answer_from: Requires,
    ) -> Result<Slot, Stop> {
        let Parties { user_id, agent_id, title } = parties;
        let metadata = Json::empty_object();
        let new = NewSession { id: session, user_id, agent_id, title: title.as_deref(), metadata: &metadata };
        new.check()?;
        let agent = self.roster.find(&mut self.catalog.names, namespace, agent_id);
        self.check_agent(agent, answer_from)?;
        if self.poisoned {
            return Err(Refusal::LogPoisoned.into());
        }
        self.found_session(now, self.nobody(), namespace, &new)
    }

    fn is_between(&self, slot: Slot, namespace: &Namespace, parties: &Parties) -> bool {
        let entry = self.catalog.entry(slot).expect("a writable session has an entry");
        let names = &self.catalog.names;
        names.text(entry.user) == namespace.scoped(&parties.user_id)
            && names.text(entry.agent) == namespace.scoped(&parties.agent_id)
    }

    /// Whether this agent may be asked, as far as the caller cares.
    pub(super) fn check_agent(&self, agent: Option<NameId>, answer_from: Requires) -> Result<(), Refusal> {
        let (missing, disabled) = match answer_from {
            Requires::Nothing => return Ok(()),
            Requires::Agent | Requires::Team => (Refusal::AgentNotFound, Refusal::AgentDisabled),
            Requires::ActiveSession => (Refusal::SessionInactive, Refusal::SessionInactive),
        };
        if !self.roster.is_complete() && !self.roster.is_disabled() {
            return Err(Refusal::Overloaded); // the registrations are on their way
        }
        let agent = agent.and_then(|agent| self.roster.agent(&self.catalog.names, agent)).ok_or(missing)?;
        // A team that was deleted is a disabled registration; whoever asks for a team is told that there is none.
        if answer_from == Requires::Team && (agent.profile.team.is_none() || !agent.enabled()) {
            return Err(Refusal::AgentNotFound);
        }
        if !agent.enabled() || self.roster.is_disabled() {
            return Err(disabled);
        }
        let is_empty = agent.profile.team.is_some() && self.roster.members(&self.catalog.names, agent).is_empty();
        if is_empty { Err(Refusal::TeamEmpty) } else { Ok(()) }
    }

    /// What people know of an agent that is a team.
    pub(super) fn asked_team(&self, agent: NameId) -> Option<Box<AskedTeam>> {
        let names = &self.catalog.names;
        let agent = self.roster.agent(names, agent)?;
        let spec = agent.profile.team.as_ref()?;
        let member = |id: &String| {
            let known = self.roster.by_id(names, &agent.namespace, id);
            AgentName { id: id.clone(), name: known.map_or(id.as_str(), |member| member.name()).to_owned() }
        };
        let members = spec.members.iter().map(member).collect();
        Some(Box::new(AskedTeam { mode: spec.mode, members }))
    }

    /// How people know an agent.
    pub(super) fn agent_name(&self, agent: NameId) -> AgentName {
        let names = &self.catalog.names;
        let name = self.roster.agent(names, agent).map(|agent| agent.name().to_owned());
        let id = names.id(agent).to_owned();
        AgentName { name: name.unwrap_or_else(|| id.clone()), id }
    }
}
