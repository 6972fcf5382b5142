//! What an agent is for: the part of its registration by which a message finds its agent, and the team that it is.
//!
//! Invariants: an agent without a profile has the note and the rendering that agents had before there were profiles, byte
//! for byte. Not here: how an agent is called, and who is chosen (`agent::router`).

use super::cast::{Cast, Given};
use super::team_spec::TeamSpec;
use crate::limits::AGENT_ABOUT_BYTES_MAX;
use serde::{Deserialize, Serialize};

/// See the file's head. What is blank is left out, in the log and for clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentProfile {
    /// What it is good for, in a sentence or a few.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Words that call for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// It answers what nobody else is chosen for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_default: bool,
    /// It is a team: its members are called, itself it has no address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<Box<TeamSpec>>,
}

impl AgentProfile {
    /// Takes over the fields that the caller's object names. A named `team` changes the team that there is, null ends it.
    pub(super) fn cast(&mut self, cast: &mut Cast) {
        cast.optional_text("description", &mut self.description, AGENT_ABOUT_BYTES_MAX);
        cast.texts("keywords", &mut self.keywords, AGENT_ABOUT_BYTES_MAX);
        if self.keywords.iter().map(String::len).sum::<usize>() > AGENT_ABOUT_BYTES_MAX {
            cast.fail("keywords", format!("should be at most {AGENT_ABOUT_BYTES_MAX} byte(s)"));
        }
        cast.flag("is_default", &mut self.is_default);
        match cast.object("team") {
            Given::Nothing => {}
            Given::Blank => self.team = None,
            Given::Object(fields) => match self.team.as_deref().cloned().unwrap_or_default().cast(fields) {
                Ok(team) => self.team = Some(Box::new(team)),
                Err(errors) => {
                    // So that the address, which a team has not, is not asked for on top.
                    self.team.get_or_insert_default();
                    cast.fail_within("team", errors);
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cast::{BLANK, INVALID};
    use super::super::{AgentConfig, FieldErrors, Json, TeamMode};
    use super::*;

    const TEAM: &str = r#"{"id":"t","name":"T","team":{"members":["a","b"],"mode":"sequential"}}"#;
    const AGENT: &str = r#"{"id":"a","name":"A","origin_url":"http://a"}"#;

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    fn created(fields: &str) -> AgentConfig {
        AgentConfig::create(&json(fields), 9).unwrap()
    }

    #[track_caller]
    fn assert_error(result: Result<AgentConfig, FieldErrors>, field: &str, message: &str) {
        assert_eq!(result.unwrap_err(), FieldErrors::from([(field.into(), vec![message.into()])]));
    }

    #[test]
    fn a_note_without_a_profile_is_the_one_of_before() {
        assert_eq!(
            std::str::from_utf8(&created(AGENT).to_note()).unwrap(),
            r#"{"id":"a","name":"A","origin_url":"http://a","webhook_path":"/webhook","message_history_mode":"tail","message_history_limit":50,"timeout_ms":30000,"headers":{},"status":"enabled","debounce_window_ms":500,"compaction_enabled":false,"compaction_token_budget":50000,"compaction_trigger_ratio":0.7,"compaction_webhook_url":null,"debounce_max_wait_ms":5000,"total_timeout_ms":600000,"on_crash":"abort","secret":null,"inserted_at_us":9,"updated_at_us":9}"#
        );
    }

    #[test]
    fn a_profile_stands_behind_everything_else_in_the_note_and_for_clients() {
        let mut agent = created(AGENT);
        agent.namespace = "acme".into();
        let profile = r#"{"description":"Knows tax.","keywords":["vat","duty"],"is_default":true}"#;
        let agent = agent.update(&json(profile), 9).unwrap();
        let note = String::from_utf8(agent.to_note()).unwrap();
        let shown = r#","description":"Knows tax.","keywords":["vat","duty"],"is_default":true}"#;
        assert!(note.ends_with(&format!(r#""updated_at_us":9,"namespace":"acme"{shown}"#)), "{note}");
        assert!(agent.render().as_str().ends_with(&format!(r#""secret":null{shown}"#)), "{agent:?}");
        assert!(!format!("{agent:?}").contains("acme"), "the namespace is not the client's to read");
        assert_eq!(AgentConfig::from_note(note.as_bytes()).unwrap(), agent);
        let blank = r#"{"description":"","keywords":null,"is_default":"","namespace":"other"}"#;
        assert_error(agent.update(&json(blank), 9), "keywords", BLANK);
        let blank = agent.update(&json(&blank.replace("null", "[]")), 9).unwrap();
        assert_eq!((blank.namespace.as_str(), blank.render()), ("acme", created(AGENT).render()));
    }

    #[test]
    fn a_team_has_no_address_and_reads_back_as_it_was_written() {
        let team = created(TEAM);
        let shown = r#","team":{"members":["a","b"],"mode":"round_robin","rounds":1}}"#;
        let note = String::from_utf8(team.to_note()).unwrap();
        assert!(note.contains(r#""origin_url":"","#) && note.ends_with(shown), "{note}");
        assert!(team.render().as_str().ends_with(shown));
        assert_eq!(AgentConfig::from_note(note.as_bytes()).unwrap(), team);
        assert_eq!(team.update(&team.render(), 10).unwrap(), team, "a client may write back what it has read");
        let debate = team.update(&json(r#"{"team":{"mode":"debate","rounds":3}}"#), 10).unwrap().profile.team.unwrap();
        assert_eq!((debate.members.len(), debate.mode, debate.rounds), (2, TeamMode::Debate, 3));
    }

    #[test]
    fn an_agent_can_become_a_team_and_a_team_an_agent_again() {
        let team = created(AGENT).update(&json(r#"{"team":{"members":["b"]}}"#), 10).unwrap();
        assert_eq!((team.origin_url.as_str(), team.profile.team.is_some()), ("", true));
        assert_error(team.update(&json(r#"{"team":null}"#), 11), "origin_url", BLANK);
        let agent = team.update(&json(r#"{"team":null,"origin_url":"http://a"}"#), 9).unwrap();
        assert_eq!(agent.profile.team, None);
        assert_eq!(
            agent.render().as_str(),
            created(AGENT).render().as_str().replace("000009Z\",\"deb", "000010Z\",\"deb")
        );
    }

    #[test]
    fn a_broken_rule_of_a_profile_is_named_by_its_field() {
        let agent = created(AGENT);
        let long = format!(r#"{{"keywords":["{0}","{0}"]}}"#, "x".repeat(AGENT_ABOUT_BYTES_MAX / 2 + 1));
        for (fields, field, message) in [
            (r#"{"description":7}"#, "description", INVALID),
            (r#"{"keywords":"tax"}"#, "keywords", INVALID),
            (long.as_str(), "keywords", "should be at most 4096 byte(s)"),
            (r#"{"is_default":null}"#, "is_default", BLANK),
            (r#"{"team":7}"#, "team", INVALID),
            (r#"{"team":{"members":["b"],"mode":"vote"}}"#, "team.mode", INVALID),
            (r#"{"team":{"members":["b","a"]}}"#, "team", "should not name itself"),
            (r#"{"team":{"members":["b"],"summarizer":"a"}}"#, "team", "should not name itself"),
            (r#"{"team":{"members":["b"]},"origin_url":"http://a"}"#, "origin_url", "should be blank for a team"),
        ] {
            assert_error(agent.update(&json(fields), 9), field, message);
        }
    }
}
