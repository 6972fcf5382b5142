//! Who answers a message that names nobody (seed 003): the agent that its words clearly call for, else the one that is there for the
//! rest. Pure steps; whoever asks runs them.
//!
//! Invariant: the same message and the same agents find the same one.

use super::Target;
use super::chat::Question;
use super::error::{ApiError, Kind};
use super::flow::{Answers, To};
use crate::shard::{Command, Reply};

/// A search for who is to answer.
#[derive(Debug)]
pub struct Choosing {
    message: String,
    user_id: String,
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
        Self { message: question.text.clone(), user_id: question.actor.user_id.clone() }
    }

    /// Goes on. The first step is given no answers.
    pub fn step(&mut self, mut answers: Answers) -> Chosen {
        match answers.pop().and_then(|mut answer| answer.pop()) {
            None => {
                let (message, user_id) = (std::mem::take(&mut self.message), self.user_id.clone());
                Chosen::Ask(vec![(To::One(Target::Here), Command::Route { message, user_id })])
            }
            Some(Ok(Reply::Routed { agent, fallback })) => match agent.or(fallback) {
                Some(agent) => Chosen::Agent(agent.id),
                None => Chosen::Nobody(Kind::NobodyToAsk.into()),
            },
            Some(Ok(_)) => Chosen::Nobody(Kind::Internal.into()),
            Some(Err(refusal)) => Chosen::Nobody(refusal.into()),
        }
    }
}
