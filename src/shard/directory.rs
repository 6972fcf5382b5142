//! The directory of agents: few, unique by id within their namespace, listed whole. It lives on one shard.
//!
//! Invariants: `committed` holds durable registrations only, and is all that clients read; `pending` holds the notes
//! that were appended and are not yet durable, in order, and what is decided (is an id taken, what does an update
//! change) is decided on top of them. A disabled agent keeps its id; an id that was given up by a rename is free.

use super::{AgentCommand, ECHO_AGENT, Refusal, Reply};
use crate::limits::{AGENTS_MAX, NAMESPACE_AGENTS_MAX};
use crate::session::{AgentConfig, AgentPut, Json, Namespace, scoped};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// The directory.
#[derive(Debug, Default)]
pub struct Directory {
    /// By scoped id.
    committed: BTreeMap<String, AgentConfig>,
    pending: VecDeque<AgentPut>,
    /// Time of the latest note folded in, microseconds since 1970. Tells old snapshots from new ones.
    as_of_us: u64,
}

/// What an [`AgentCommand`] comes to.
#[derive(Debug, PartialEq)]
pub enum Decision {
    /// Answer this.
    Reply(Reply),
    /// Append this note, then [`Directory::push`] it.
    Put(Box<AgentPut>),
    /// Refuse. If notes are pending, the refusal may rest on them and must wait for them.
    Refuse(Refusal),
}

impl Directory {
    /// Decides on a command of a caller of `namespace` at `now_us`.
    pub fn decide(&self, namespace: &Namespace, command: &AgentCommand, now_us: u64) -> Decision {
        let decided = match command {
            AgentCommand::List { enabled } => {
                Ok(Decision::Reply(Reply::Agents { agents: self.list(namespace, *enabled) }))
            }
            AgentCommand::Read { id } => {
                let agent = self
                    .committed
                    .get(&*namespace.scoped(id))
                    .map(|agent| Decision::Reply(Reply::Agent { json: agent.render() }));
                agent.ok_or(Refusal::AgentNotFound)
            }
            AgentCommand::Create { fields } => self.create(namespace, fields, now_us),
            AgentCommand::Update { id, fields } => self.update(namespace, id, fields, now_us),
            AgentCommand::Disable { id } => {
                let agent = self.latest(&namespace.scoped(id));
                agent.map(|agent| put(None, agent.disable(now_us))).ok_or(Refusal::AgentNotFound)
            }
        };
        decided.unwrap_or_else(Decision::Refuse)
    }

    /// Remembers a note that was appended.
    pub fn push(&mut self, note: AgentPut) {
        self.pending.push_back(note);
    }

    /// The oldest pending note became durable. Gives the agent as clients read it, and the note.
    ///
    /// # Panics
    /// If no note is pending: commits come in the order of appends.
    pub fn commit(&mut self, time_us: u64) -> (Json, AgentPut) {
        let note = self.pending.pop_front().expect("a commit follows its append");
        let json = note.agent.render();
        self.fold(note.clone(), time_us);
        (json, note)
    }

    /// Every registration, for those who keep a copy.
    pub fn all(&self) -> Vec<AgentPut> {
        self.committed.values().map(|agent| AgentPut { former_id: None, agent: agent.clone() }).collect()
    }

    /// The log was poisoned: what is pending will never be durable.
    pub fn forget_pending(&mut self) {
        self.pending.clear();
    }

    /// Whether decisions may rest on notes that are not yet durable.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes in a durable note.
    pub fn fold(&mut self, note: AgentPut, time_us: u64) {
        if let Some(former) = note.former_id {
            self.committed.remove(&*scoped(&note.agent.namespace, &former));
        }
        self.committed.insert(note.agent.scoped_id().into_owned(), note.agent);
        self.as_of_us = self.as_of_us.max(time_us);
    }

    /// The whole directory for a snapshot, pending notes included: a snapshot counts only once they are durable.
    pub fn to_snapshot(&self, out: &mut Vec<u8>) {
        let mut all = Self { committed: self.committed.clone(), pending: VecDeque::new(), as_of_us: self.as_of_us };
        for note in &self.pending {
            all.fold(note.clone(), 0);
        }
        let snapshot = Snapshot { as_of_us: self.as_of_us, agents: all.committed.into_values().collect() };
        serde_json::to_writer(out, &snapshot).expect("agents always have a JSON form and a Vec takes every byte");
    }

    /// Takes over a snapshot unless a newer one was taken over already, or it holds no directory. `None`: the bytes are not one.
    pub fn fold_snapshot(&mut self, state: &[u8]) -> Option<()> {
        #[derive(Deserialize)]
        struct Part {
            as_of_us: Option<u64>,
            #[serde(default)]
            agents: Vec<AgentConfig>,
        }
        let part: Part = serde_json::from_slice(state).ok()?;
        if let Some(as_of_us) = part.as_of_us.filter(|&as_of_us| as_of_us >= self.as_of_us) {
            self.as_of_us = as_of_us;
            self.committed = part.agents.into_iter().map(|agent| (agent.scoped_id().into_owned(), agent)).collect();
        }
        Some(())
    }

    fn list(&self, namespace: &Namespace, enabled: Option<bool>) -> Vec<Json> {
        let wanted = |agent: &&AgentConfig| {
            agent.namespace == namespace.stored() && enabled.is_none_or(|enabled| agent.enabled() == enabled)
        };
        let mut agents: Vec<&AgentConfig> = self.committed.values().filter(wanted).collect();
        agents.sort_by(|a, b| a.name().cmp(b.name())); // stable: equal names stay sorted by id
        agents.into_iter().map(AgentConfig::render).collect()
    }

    fn create(&self, namespace: &Namespace, fields: &Json, now_us: u64) -> Result<Decision, Refusal> {
        let mut agent = AgentConfig::create(fields, now_us).map_err(Refusal::InvalidFields)?;
        agent.namespace = namespace.stored().to_owned();
        self.assert_free(&agent.scoped_id())?;
        self.assert_members(&agent)?;
        if self.committed.len() + self.pending.len() >= AGENTS_MAX {
            return Err(Refusal::Full { what: "the directory of agents", max: AGENTS_MAX });
        }
        let is_here = |agent: &&AgentConfig| agent.namespace == namespace.stored();
        let here = self.committed.values().chain(self.pending.iter().map(|note| &note.agent)).filter(is_here).count();
        if !namespace.stored().is_empty() && here >= NAMESPACE_AGENTS_MAX {
            return Err(Refusal::Full { what: "the namespace's directory of agents", max: NAMESPACE_AGENTS_MAX });
        }
        Ok(put(None, agent))
    }

    fn update(&self, namespace: &Namespace, id: &str, fields: &Json, now_us: u64) -> Result<Decision, Refusal> {
        let present = self.latest(&namespace.scoped(id)).ok_or(Refusal::AgentNotFound)?;
        let agent = present.update(fields, now_us).map_err(Refusal::InvalidFields)?;
        if agent.profile.team != present.profile.team {
            self.assert_members(&agent)?;
        }
        if agent.id() == id {
            return Ok(put(None, agent));
        }
        self.assert_free(&agent.scoped_id())?;
        Ok(put(Some(id.to_owned()), agent))
    }

    fn assert_free(&self, scoped_id: &str) -> Result<(), Refusal> {
        if self.latest(scoped_id).is_none() {
            return Ok(());
        }
        Err(Refusal::InvalidFields(BTreeMap::from([("id".to_owned(), vec!["has already been taken".to_owned()])])))
    }

    /// A team's members are there, and no teams. What is disabled, given up or made a team later is passed over when the team is asked.
    fn assert_members(&self, agent: &AgentConfig) -> Result<(), Refusal> {
        let Some(team) = &agent.profile.team else { return Ok(()) };
        let is_callable = |id: &String| match self.latest(&scoped(&agent.namespace, id)) {
            Some(found) => found.profile.team.is_none(),
            None => id == ECHO_AGENT, // it may be built in
        };
        let mut errors = BTreeMap::new();
        if !team.members.iter().all(is_callable) {
            errors
                .insert("team.members".to_owned(), vec!["should name registered agents that are no teams".to_owned()]);
        }
        if !team.summarizer.iter().all(is_callable) {
            let message = "should name a registered agent that is no team";
            errors.insert("team.summarizer".to_owned(), vec![message.to_owned()]);
        }
        if errors.is_empty() { Ok(()) } else { Err(Refusal::InvalidFields(errors)) }
    }

    /// The agent as it will be when everything pending is durable.
    fn latest(&self, scoped_id: &str) -> Option<&AgentConfig> {
        for note in self.pending.iter().rev() {
            if note.agent.scoped_id() == scoped_id {
                return Some(&note.agent);
            }
            if note.former_id.as_deref().is_some_and(|former| scoped(&note.agent.namespace, former) == scoped_id) {
                return None;
            }
        }
        self.committed.get(scoped_id)
    }
}

fn put(former_id: Option<String>, agent: AgentConfig) -> Decision {
    Decision::Put(Box::new(AgentPut { former_id, agent }))
}

#[derive(Serialize)]
struct Snapshot {
    as_of_us: u64,
    agents: Vec<AgentConfig>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(id: &str, name: &str) -> AgentCommand {
        let fields = format!(r#"{{"id":"{id}","name":"{name}","origin_url":"http://localhost"}}"#);
        AgentCommand::Create { fields: Json::parse(&fields).unwrap() }
    }

    fn update(id: &str, fields: &str) -> AgentCommand {
        AgentCommand::Update { id: id.into(), fields: Json::parse(fields).unwrap() }
    }

    fn push(directory: &mut Directory, command: &AgentCommand) {
        match directory.decide(&Namespace::default(), command, 5) {
            Decision::Put(note) => directory.push(*note),
            other => panic!("{command:?} came to {other:?}"),
        }
    }

    fn ids(directory: &Directory, enabled: Option<bool>) -> Vec<String> {
        let Decision::Reply(Reply::Agents { agents }) =
            directory.decide(&Namespace::default(), &AgentCommand::List { enabled }, 5)
        else {
            panic!()
        };
        let id = |json: &Json| {
            let value: serde_json::Value = serde_json::from_str(json.as_str()).unwrap();
            value["id"].as_str().unwrap().to_owned()
        };
        agents.iter().map(id).collect()
    }

    fn directory(agents: &[(&str, &str)]) -> Directory {
        let mut directory = Directory::default();
        for (id, name) in agents {
            push(&mut directory, &create(id, name));
            directory.commit(5);
        }
        directory
    }

    #[test]
    fn a_registration_is_read_only_once_it_is_durable() {
        let mut directory = Directory::default();
        push(&mut directory, &create("a", "A"));
        let read = AgentCommand::Read { id: "a".into() };
        assert_eq!(directory.decide(&Namespace::default(), &read, 5), Decision::Refuse(Refusal::AgentNotFound));
        assert!(ids(&directory, None).is_empty());
        directory.commit(5);
        assert!(matches!(directory.decide(&Namespace::default(), &read, 5), Decision::Reply(Reply::Agent { .. })));
    }

    #[test]
    fn an_id_is_taken_from_its_append_on_and_stays_taken_when_disabled() {
        let mut directory = Directory::default();
        push(&mut directory, &create("a", "A"));
        let taken = |directory: &Directory| match directory.decide(&Namespace::default(), &create("a", "B"), 5) {
            Decision::Refuse(Refusal::InvalidFields(fields)) => fields["id"] == ["has already been taken"],
            _ => false,
        };
        assert!(taken(&directory));
        directory.commit(5);
        push(&mut directory, &AgentCommand::Disable { id: "a".into() });
        directory.commit(5);
        assert!(taken(&directory));
        assert_eq!(ids(&directory, Some(true)), Vec::<String>::new());
        assert_eq!(ids(&directory, Some(false)), ["a"]);
    }

    #[test]
    fn a_team_names_agents_that_are_there_and_no_teams() {
        let mut directory = directory(&[("a", "A"), ("b", "B")]);
        let team = |id: &str, team: &str| AgentCommand::Create {
            fields: Json::parse(&format!(r#"{{"id":"{id}","name":"T","team":{team}}}"#)).unwrap(),
        };
        push(&mut directory, &team("t", r#"{"members":["a","echo"],"summarizer":"b"}"#));
        directory.commit(5);
        for (fields, field) in [
            (r#"{"members":["a","x"]}"#, "team.members"),
            (r#"{"members":["t"]}"#, "team.members"),
            (r#"{"members":["a"],"summarizer":"t"}"#, "team.summarizer"),
        ] {
            match directory.decide(&Namespace::default(), &team("u", fields), 5) {
                Decision::Refuse(Refusal::InvalidFields(errors)) => {
                    assert_eq!(errors.keys().collect::<Vec<_>>(), [field], "{fields}");
                }
                other => panic!("{fields} came to {other:?}"),
            }
        }
        let change = |fields: &str| directory.decide(&Namespace::default(), &update("t", fields), 5);
        assert!(matches!(change(r#"{"team":{"members":["b","x"]}}"#), Decision::Refuse(_)));
        assert!(matches!(change(r#"{"team":{"members":["b"]}}"#), Decision::Put(_)));
        assert!(matches!(change(r#"{"name":"U"}"#), Decision::Put(_)));
    }

    #[test]
    fn a_rename_frees_the_old_id_and_needs_a_free_new_one() {
        let mut directory = directory(&[("a", "A"), ("b", "B")]);
        assert!(matches!(
            directory.decide(&Namespace::default(), &update("a", r#"{"id":"b"}"#), 5),
            Decision::Refuse(Refusal::InvalidFields(_))
        ));
        push(&mut directory, &update("a", r#"{"id":"c"}"#));
        assert_eq!(
            directory.decide(&Namespace::default(), &update("a", "{}"), 5),
            Decision::Refuse(Refusal::AgentNotFound)
        );
        push(&mut directory, &create("a", "new"));
        directory.commit(5);
        directory.commit(5);
        assert_eq!(ids(&directory, None), ["c", "b", "a"]); // by name: A, B, new
    }

    #[test]
    fn two_updates_in_flight_both_count() {
        let mut directory = directory(&[("a", "A")]);
        push(&mut directory, &update("a", r#"{"name":"B"}"#));
        push(&mut directory, &update("a", r#"{"timeout_ms":5}"#));
        directory.commit(5);
        let json: serde_json::Value = serde_json::from_str(directory.commit(5).0.as_str()).unwrap();
        assert_eq!((json["name"].as_str(), json["timeout_ms"].as_u64()), (Some("B"), Some(5)));
    }

    #[test]
    fn what_a_poisoned_log_lost_is_not_there() {
        let mut directory = directory(&[("a", "A")]);
        push(&mut directory, &update("a", r#"{"id":"b"}"#));
        directory.forget_pending();
        assert_eq!(ids(&directory, None), ["a"]);
        assert!(matches!(directory.decide(&Namespace::default(), &update("a", "{}"), 5), Decision::Put(_)));
    }

    #[test]
    fn a_snapshot_with_the_notes_around_it_folds_to_the_same_directory() {
        let mut directory = directory(&[("a", "A"), ("b", "B")]);
        push(&mut directory, &update("a", r#"{"id":"c"}"#));
        let mut snapshot = Vec::new();
        directory.to_snapshot(&mut snapshot);
        let notes = [create("a", "A"), create("b", "B")];
        let mut folded = Directory::default();
        folded.fold_snapshot(&snapshot).unwrap();
        for command in &notes {
            let AgentCommand::Create { fields } = command else { unreachable!() };
            folded.fold(AgentPut { former_id: None, agent: AgentConfig::create(fields, 5).unwrap() }, 5);
        }
        let renamed = directory.pending[0].clone();
        folded.fold(renamed, 5);
        assert_eq!(ids(&folded, None), ["c", "b"]);
    }

    #[test]
    fn an_older_snapshot_does_not_undo_a_newer_one() {
        let (old, mut new) = (directory(&[("a", "A")]), directory(&[("a", "A")]));
        push(&mut new, &update("a", r#"{"id":"b"}"#));
        new.commit(9);
        let (mut old_bytes, mut new_bytes) = (Vec::new(), Vec::new());
        old.to_snapshot(&mut old_bytes);
        new.to_snapshot(&mut new_bytes);
        let mut folded = Directory::default();
        folded.fold_snapshot(&new_bytes).unwrap();
        folded.fold_snapshot(&old_bytes).unwrap();
        assert_eq!(ids(&folded, None), ["b"]);
        assert_eq!(folded.fold_snapshot(b"x"), None);
    }

    #[test]
    fn a_tenant_has_its_share_of_the_directory_and_no_more() {
        let [acme, initech] = ["acme", "initech"].map(|name| Namespace::parse(name).unwrap());
        let mut directory = Directory::default();
        for n in 0..NAMESPACE_AGENTS_MAX {
            let Decision::Put(note) = directory.decide(&acme, &create(&format!("a{n}"), "A"), 5) else { panic!("{n}") };
            directory.fold(*note, 5);
        }
        let full = Refusal::Full { what: "the namespace's directory of agents", max: NAMESPACE_AGENTS_MAX };
        assert_eq!(directory.decide(&acme, &create("more", "A"), 5), Decision::Refuse(full));
        for other in [initech, Namespace::default()] {
            assert!(matches!(directory.decide(&other, &create("more", "A"), 5), Decision::Put(_)));
        }
    }

    #[test]
    fn an_id_is_taken_in_its_own_namespace_only() {
        let acme = Namespace::parse("acme").unwrap();
        let mut directory = directory(&[("a", "A")]);
        let Decision::Put(note) = directory.decide(&acme, &create("a", "theirs"), 5) else {
            panic!("it is free there")
        };
        directory.push(*note);
        directory.commit(5);
        let read = AgentCommand::Read { id: "a".into() };
        let name = |namespace: &Namespace| match directory.decide(namespace, &read, 5) {
            Decision::Reply(Reply::Agent { json }) => json.as_str().contains("theirs"),
            other => panic!("unexpected {other:?}"),
        };
        assert_eq!((name(&acme), name(&Namespace::default())), (true, false));
        assert_eq!(ids(&directory, None), ["a"]);
        let elsewhere = Namespace::parse("initech").unwrap();
        for command in [read.clone(), update("a", "{}"), AgentCommand::Disable { id: "a".into() }] {
            assert_eq!(directory.decide(&elsewhere, &command, 5), Decision::Refuse(Refusal::AgentNotFound));
        }
        let mut snapshot = Vec::new();
        directory.to_snapshot(&mut snapshot);
        let mut folded = Directory::default();
        folded.fold_snapshot(&snapshot).unwrap();
        assert_eq!(folded.committed.len(), 2);
    }
}
