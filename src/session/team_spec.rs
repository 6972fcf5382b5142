//! What makes an agent a team: its members, how they work together, who sums up. A part of the agent's registration.
//!
//! Invariants: a `TeamSpec` that was cast has up to [`TEAM_MEMBERS_MAX`] members, none twice, and 1 to [`TEAM_ROUNDS_MAX`]
//! rounds.
//! Not here: whether members are registered and are no teams themselves (the directory knows), who speaks when
//! (`agent::team`).

use super::agent_config::FieldErrors;
use super::cast::{Cast, Least};
use crate::limits::{NAME_BYTES_MAX, TEAM_MEMBERS_MAX, TEAM_ROUNDS_MAX};
use serde::{Deserialize, Serialize};

const ROUNDS_DEFAULT: u32 = 1;

/// How the members of a team work together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TeamMode {
    /// One of the others, chosen by the question.
    #[default]
    Auto,
    /// One after the other, each of them sees what was said before.
    RoundRobin,
    /// All at once, each of them sees the question only.
    Parallel,
    /// One after the other, for and against in turn.
    Debate,
    /// All at once, to collect ideas.
    Brainstorm,
    /// The member who knows most of it answers alone.
    Expert,
}

impl TeamMode {
    /// Reads a mode's name. `round-robin` and `sequential` are names of [`TeamMode::RoundRobin`] too.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "round_robin" | "round-robin" | "sequential" => Some(Self::RoundRobin),
            "parallel" => Some(Self::Parallel),
            "debate" => Some(Self::Debate),
            "brainstorm" => Some(Self::Brainstorm),
            "expert" => Some(Self::Expert),
            _ => None,
        }
    }

    /// The name that clients read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::RoundRobin => "round_robin",
            Self::Parallel => "parallel",
            Self::Debate => "debate",
            Self::Brainstorm => "brainstorm",
            Self::Expert => "expert",
        }
    }
}

/// The field `team` of a registration, as clients give and read it and as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TeamSpec {
    /// Ids of the agents that answer, in their order.
    pub members: Vec<String>,
    /// How they work together unless a question says otherwise.
    pub mode: TeamMode,
    /// The agent that sums up. `None`: the server makes a digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summarizer: Option<String>,
    /// How often each member speaks in a debate.
    pub rounds: u32,
}

impl Default for TeamSpec {
    /// The values of fields that are left out: a team whose members are still to come.
    fn default() -> Self {
        Self { members: Vec::new(), mode: TeamMode::default(), summarizer: None, rounds: ROUNDS_DEFAULT }
    }
}

impl TeamSpec {
    /// Whether the team calls this agent.
    pub fn names(&self, agent_id: &str) -> bool {
        self.members.iter().any(|member| member == agent_id) || self.summarizer.as_deref() == Some(agent_id)
    }

    /// This team with the fields changed that the caller's object names.
    pub(super) fn cast(mut self, mut cast: Cast) -> Result<Self, FieldErrors> {
        cast.texts("members", &mut self.members, NAME_BYTES_MAX);
        if self.members.len() > TEAM_MEMBERS_MAX {
            cast.fail("members", format!("should have at most {TEAM_MEMBERS_MAX} item(s)"));
        } else if (1..self.members.len()).any(|place| self.members[..place].contains(&self.members[place])) {
            cast.fail("members", "should name each agent once");
        }
        cast.word("mode", &mut self.mode, TeamMode::parse);
        cast.optional_text("summarizer", &mut self.summarizer, NAME_BYTES_MAX);
        cast.integer("rounds", &mut self.rounds, ROUNDS_DEFAULT, Least::One);
        if self.rounds > TEAM_ROUNDS_MAX {
            cast.fail("rounds", format!("must be less than or equal to {TEAM_ROUNDS_MAX}"));
        }
        if cast.errors.is_empty() { Ok(self) } else { Err(cast.errors) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Json;
    use super::super::cast::{BLANK, INVALID};
    use super::*;

    fn cast(fields: &str) -> Result<TeamSpec, FieldErrors> {
        TeamSpec::default().cast(Cast::new(&Json::parse(fields).unwrap())?)
    }

    #[test]
    fn a_team_needs_nothing_and_its_members_may_come_later() {
        for fields in ["{}", r#"{"members":[]}"#] {
            assert_eq!(cast(fields).unwrap(), TeamSpec::default());
        }
        let team = cast(r#"{"members":["a","b"]}"#).unwrap();
        assert_eq!(
            (team.members.len(), team.mode, team.rounds, team.summarizer.as_deref()),
            (2, TeamMode::Auto, 1, None)
        );
        assert_eq!(serde_json::to_string(&team).unwrap(), r#"{"members":["a","b"],"mode":"auto","rounds":1}"#);
    }

    #[test]
    fn every_mode_is_read_by_the_name_it_is_shown_by_and_two_have_other_names() {
        let all = ["auto", "round_robin", "parallel", "debate", "brainstorm", "expert"];
        for (name, shown) in all.map(|name| (name, name)).into_iter().chain([
            ("round-robin", "round_robin"),
            ("sequential", "round_robin"),
            ("", "auto"),
        ]) {
            let team = cast(&format!(r#"{{"members":["a"],"mode":"{name}","summarizer":"s","rounds":"2"}}"#)).unwrap();
            assert_eq!(team.mode.as_str(), shown);
            let note = serde_json::to_string(&team).unwrap();
            assert_eq!(note, format!(r#"{{"members":["a"],"mode":"{shown}","summarizer":"s","rounds":2}}"#));
            assert_eq!(serde_json::from_str::<TeamSpec>(&note).unwrap(), team);
        }
    }

    #[test]
    fn a_broken_rule_is_named_by_its_field() {
        let crowd = format!(r#"{{"members":[{}]}}"#, (0..17).map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(","));
        let long = format!(r#"{{"members":["{}"]}}"#, "x".repeat(NAME_BYTES_MAX + 1));
        for (fields, field, message) in [
            (r#"{"members":"a"}"#, "members", INVALID),
            (r#"{"members":[1]}"#, "members", INVALID),
            (r#"{"members":[" "]}"#, "members", INVALID),
            (r#"{"members":["a","b","a"]}"#, "members", "should name each agent once"),
            (crowd.as_str(), "members", "should have at most 16 item(s)"),
            (long.as_str(), "members", "should be at most 255 byte(s)"),
            (r#"{"members":["a"],"mode":"vote"}"#, "mode", INVALID),
            (r#"{"members":["a"],"mode":null}"#, "mode", BLANK),
            (r#"{"members":["a"],"summarizer":7}"#, "summarizer", INVALID),
            (r#"{"members":["a"],"rounds":0}"#, "rounds", "must be greater than 0"),
            (r#"{"members":["a"],"rounds":5}"#, "rounds", "must be less than or equal to 4"),
        ] {
            let errors = cast(fields).unwrap_err();
            assert_eq!(errors, FieldErrors::from([(field.into(), vec![message.into()])]), "{fields}");
        }
    }
}
