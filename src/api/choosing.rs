//! Who answers a message that names nobody (seed 003): the agent that its words clearly call for, else the one with whom the user spoke
//! last, else the one that is there for the rest. Pure steps; whoever asks runs them.
//!
//! Invariant: the same message, agents and sessions find the same one.

use super::Target;
use super::chat::Question;
use super::error::{ApiError, Kind};
use super::flow::{Answers, To};
use crate::shard::{AgentName, Command, Refusal, Reply};

/// A search for who is to answer.
#[derive(Debug)]
pub struct Choosing {
    message: String,
    user_id: String,
    asked: Asked,
}

/// What was asked last.
#[derive(Debug)]
enum Asked {
    Nothing,
    /// Whom the words call for.
    Words,
    /// With whom the user spoke last; where that tells nothing this one answers.
    Recent(Option<AgentName>),
    /// Whether he still answers, and who does if not.
    Fallback,
}

/// How it goes on.
#[derive(Debug)]
pub enum Chosen {
    /// Questions to shards, whose answers are the next step's.
    Ask(Vec<(To, Command)>),
    /// This one.
    Agent(String),
    /// There is nobody, or it is not known.
    Nobody(ApiError),
}

impl Choosing {
    /// A search for who is to answer `question`.
    pub fn new(question: &Question) -> Self {
        Self { message: question.text.clone(), user_id: question.actor.user_id.clone(), asked: Asked::Nothing }
    }

    /// Goes on. The first step is given no answers.
    pub fn step(&mut self, mut answers: Answers) -> Chosen {
        let replies: Result<Vec<Reply>, Refusal> = answers.pop().unwrap_or_default().into_iter().collect();
        let mut replies = match replies {
            Ok(replies) => replies,
            Err(refusal) => return Chosen::Nobody(refusal.into()),
        };
        match (std::mem::replace(&mut self.asked, Asked::Nothing), replies.pop()) {
            (Asked::Nothing, None) => self.route(Asked::Words, None),
            (Asked::Words, Some(Reply::Routed { agent: Some(agent), .. })) => Chosen::Agent(agent.id),
            (Asked::Words, Some(Reply::Routed { agent: None, fallback })) => self.ask_for_recent(fallback),
            (Asked::Recent(fallback), Some(last)) => match most_recent(replies.into_iter().chain([last])) {
                Some(recent) => self.route(Asked::Fallback, Some(recent)),
                None => chosen(fallback),
            },
            (Asked::Fallback, Some(Reply::Routed { fallback, .. })) => chosen(fallback),
            _ => Chosen::Nobody(Kind::Internal.into()),
        }
    }

    /// The words were looked at when somebody recent is named.
    fn route(&mut self, asked: Asked, recent: Option<String>) -> Chosen {
        self.asked = asked;
        let (message, user_id) = (std::mem::take(&mut self.message), self.user_id.clone());
        Chosen::Ask(vec![(To::One(Target::Here), Command::Route { message, user_id, recent })])
    }

    fn ask_for_recent(&mut self, fallback: Option<AgentName>) -> Chosen {
        self.asked = Asked::Recent(fallback);
        let user_id = Some(self.user_id.clone());
        let rows = Command::ListRows { user_id, agent_id: None, session: None, limit: 1, offset: 0 };
        Chosen::Ask(vec![(To::Every, rows)])
    }
}

fn chosen(agent: Option<AgentName>) -> Chosen {
    agent.map_or_else(|| Chosen::Nobody(Kind::NobodyToAsk.into()), |agent| Chosen::Agent(agent.id))
}

/// The agent of the session in which something was said last, of each shard's first.
fn most_recent(replies: impl Iterator<Item = Reply>) -> Option<String> {
    let rows = replies.filter_map(|reply| match reply {
        Reply::SessionRows { rows, .. } => rows.into_iter().next(),
        _ => None,
    });
    rows.max_by_key(|row| (row.active_us, row.id)).map(|row| row.agent_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::chat::Actor;
    use crate::session::{Namespace, SessionId, SessionStatus};
    use crate::shard::SessionRow;

    fn choosing() -> Choosing {
        let actor = Actor { namespace: Namespace::default(), user_id: "alice".into() };
        Choosing::new(&Question { actor, text: "hi".into(), key: None, context: None })
    }

    fn name(id: &str) -> AgentName {
        AgentName { id: id.to_owned(), name: id.to_owned() }
    }

    fn routed(agent: Option<&str>, fallback: Option<&str>) -> Vec<Result<Reply, Refusal>> {
        vec![Ok(Reply::Routed { agent: agent.map(name), fallback: fallback.map(name) })]
    }

    /// One shard's rows: its latest session, if it has one.
    fn rows(row: Option<(&str, u64)>) -> Result<Reply, Refusal> {
        let row = row.map(|(agent_id, active_us)| SessionRow {
            id: SessionId::from_parts(1, 2),
            user_id: "alice".into(),
            agent_id: agent_id.to_owned(),
            status: SessionStatus::Active,
            title: None,
            created_us: 1,
            updated_us: 1,
            active_us,
            messages: 1,
            unread: 0,
        });
        Ok(Reply::SessionRows { total: 9, rows: row.into_iter().collect() })
    }

    /// What is asked of whom.
    fn asked(chosen: Chosen) -> (To, Command) {
        match chosen {
            Chosen::Ask(mut questions) if questions.len() == 1 => questions.remove(0),
            other => panic!("{other:?}"),
        }
    }

    /// Whom a search finds that is given these answers one after another.
    fn found(answers: Vec<Vec<Result<Reply, Refusal>>>) -> Result<String, Kind> {
        let mut choosing = choosing();
        let mut chosen = choosing.step(Vec::new());
        for answer in answers {
            asked(chosen);
            chosen = choosing.step(vec![answer]);
        }
        match chosen {
            Chosen::Agent(agent) => Ok(agent),
            Chosen::Nobody(error) => Err(error.kind()),
            Chosen::Ask(questions) => panic!("{questions:?}"),
        }
    }

    #[test]
    fn the_words_are_asked_about_first_then_every_shard_for_the_last_session() {
        let mut choosing = choosing();
        let (to, command) = asked(choosing.step(Vec::new()));
        let words = Command::Route { message: "hi".into(), user_id: "alice".into(), recent: None };
        assert_eq!((to, command), (To::One(Target::Here), words));
        let (to, command) = asked(choosing.step(vec![routed(None, Some("host"))]));
        assert!(
            matches!((to, command), (To::Every, Command::ListRows { user_id: Some(user), limit: 1, .. }) if user == "alice")
        );
        let shards = vec![rows(Some(("old", 5))), rows(None), rows(Some(("new", 7)))];
        let (to, command) = asked(choosing.step(vec![shards]));
        let again = Command::Route { message: String::new(), user_id: "alice".into(), recent: Some("new".into()) };
        assert_eq!((to, command), (To::One(Target::Here), again));
    }

    #[test]
    fn whoever_is_clearly_called_for_answers_else_the_last_else_the_fallback() {
        assert_eq!(found(vec![routed(Some("tax"), Some("host"))]), Ok("tax".into()));
        let last = || vec![rows(Some(("cook", 5)))];
        assert_eq!(found(vec![routed(None, Some("host")), last(), routed(None, Some("cook"))]), Ok("cook".into()));
        assert_eq!(found(vec![routed(None, Some("host")), vec![rows(None), rows(None)]]), Ok("host".into()));
        assert_eq!(found(vec![routed(None, None), vec![rows(None)]]), Err(Kind::NobodyToAsk));
        assert_eq!(found(vec![routed(None, None), last(), routed(None, None)]), Err(Kind::NobodyToAsk));
    }

    #[test]
    fn a_shard_that_cannot_say_refuses_the_whole() {
        assert_eq!(found(vec![vec![Err(Refusal::Overloaded)]]), Err(Kind::Overloaded));
        let answers = vec![routed(None, Some("host")), vec![rows(None), Err(Refusal::Overloaded)]];
        assert_eq!(found(answers), Err(Kind::Overloaded));
        assert_eq!(found(vec![vec![Ok(Reply::Done)]]), Err(Kind::Internal));
    }
}
