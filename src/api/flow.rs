//! Requests that one question to the shards does not answer: look a thing up, then act on it; ask everybody, then those who know.
//!
//! A flow is pure. It is handed the answers to its last questions, and says what to ask next or what to respond. Whoever runs it
//! knows nothing of what it is about.
//!
//! Invariant: a flow responds within [`FLOW_STEPS_MAX`](crate::limits::FLOW_STEPS_MAX) steps. Not here: transactions. What a flow has
//! learnt may have changed by its next step, so a step that acts lets the shard check again.

use super::Target;
use super::ask_plan::AskPlan;
use crate::protocol::http::Response;
use crate::shard::{Command, Refusal, Reply};
use std::fmt::Debug;

/// The answer to a question: one to a question to one shard; to a question to all as many as there are shards, in their order.
pub type Answer = Vec<Result<Reply, Refusal>>;

/// The answers to the questions of a step, in their order.
pub type Answers = Vec<Answer>;

/// A request of several steps.
pub trait Flow: Debug {
    /// Goes on. The first step is given no answers, every later one those to the questions of the step before.
    fn step(&mut self, answers: Answers) -> Next;
}

/// How a flow goes on.
#[derive(Debug)]
pub enum Next {
    /// Questions, asked all at once.
    Ask(Vec<(To, Command)>),
    /// It is answered.
    Respond(Response),
    /// A message is appended, and its answer is the request's.
    Answer(Box<AskPlan>),
}

/// Whom a question is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// One shard.
    One(Target),
    /// Every shard.
    Every,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::error::{ApiError, Kind};
    use crate::session::{Json, SessionId};

    /// Reads a session, and archives it if it is there.
    #[derive(Debug)]
    enum Archive {
        Begin(SessionId),
        Look(SessionId),
        Act,
    }

    impl Flow for Archive {
        fn step(&mut self, mut answers: Answers) -> Next {
            let answer = answers.pop().and_then(|mut answer| answer.pop());
            let (next, then) = match (&*self, answer) {
                (Self::Begin(id), None) => {
                    let question = (To::One(Target::Owner(*id)), Command::ReadSession { id: *id });
                    (Self::Look(*id), Next::Ask(vec![question]))
                }
                (Self::Look(id), Some(Ok(_))) => {
                    let question = (To::One(Target::Owner(*id)), Command::ArchiveSession { id: *id });
                    (Self::Act, Next::Ask(vec![question]))
                }
                (Self::Act, Some(Ok(Reply::Session { .. }))) => (Self::Act, Next::Respond(Response::new(204))),
                (_, Some(Err(refusal))) => (Self::Act, Next::Respond(ApiError::from(refusal).response())),
                _ => (Self::Act, Next::Respond(ApiError::from(Kind::Internal).response())),
            };
            *self = next;
            then
        }
    }

    /// Runs a flow against answers made up here; the commands that it asked, and its status.
    fn run(mut flow: impl Flow, mut answer: impl FnMut(&Command) -> Result<Reply, Refusal>) -> (Vec<Command>, u16) {
        let (mut asked, mut answers) = (Vec::new(), Vec::new());
        loop {
            match flow.step(answers) {
                Next::Respond(response) => return (asked, response.status),
                Next::Answer(plan) => panic!("{plan:?}"),
                Next::Ask(questions) => {
                    answers = questions.iter().map(|(_, command)| vec![answer(command)]).collect();
                    asked.extend(questions.into_iter().map(|(_, command)| command));
                }
            }
        }
    }

    #[test]
    fn a_flow_asks_with_what_it_was_answered() {
        let id = SessionId::from_parts(1, 2);
        let (asked, status) = run(Archive::Begin(id), |_| Ok(Reply::Session { json: Json::empty_object() }));
        assert_eq!((asked, status), (vec![Command::ReadSession { id }, Command::ArchiveSession { id }], 204));
        let (asked, status) = run(Archive::Begin(id), |_| Err(Refusal::SessionNotFound));
        assert_eq!((asked, status), (vec![Command::ReadSession { id }], 404));
    }

    #[test]
    fn here_is_the_shard_that_the_request_came_to() {
        use crate::shard::{DIRECTORY_SHARD, ShardId, owner_of_session};
        let session = SessionId::from_parts(1, 2);
        for here in [ShardId(0), ShardId(3)] {
            assert_eq!(Target::Here.shard(4, here), here);
            assert_eq!(Target::Directory.shard(4, here), DIRECTORY_SHARD);
            assert_eq!(Target::Owner(session).shard(4, here), owner_of_session(session, 4));
        }
    }
}
