//! Runs requests of several steps: asks the shards what a [`Flow`] wants to know until it responds.
//!
//! Invariant: the questions of a step are all under way before the first answer is waited for, and a step is taken when all have their
//! answers. No dialect is known here.

use std::cell::RefCell;
use std::rc::Rc;

use super::http::Promise;
use super::world::World;
use crate::api::error::{ApiError, Kind};
use crate::api::{Answer, Answers, Flow, Next, To};
use crate::limits;
use crate::protocol::http::Response;
use crate::shard::{Access, Command};

/// Runs `flow` to its response, for a caller of `access`.
pub(super) async fn run(world: &Rc<World>, access: Option<Box<Access>>, flow: Box<dyn Flow>) -> Response {
    steps(flow, |questions| {
        let asked = Asked::new(questions.len());
        for (place, (to, command)) in questions.into_iter().enumerate() {
            ask(world, access.clone(), to, command, Rc::clone(&asked), place);
        }
        asked
    })
    .await
}

/// Takes the steps of `flow`; `ask` sends the questions of each on their way.
async fn steps(mut flow: Box<dyn Flow>, mut ask: impl FnMut(Vec<(To, Command)>) -> Rc<Asked>) -> Response {
    let mut answers = Answers::new();
    for _ in 0..limits::FLOW_STEPS_MAX {
        match flow.step(answers) {
            Next::Respond(response) => return response,
            Next::Ask(questions) => answers = ask(questions).answered.kept().await,
        }
    }
    tracing::error!(?flow, "a flow does not end");
    ApiError::from(Kind::Internal).response()
}

fn ask(world: &Rc<World>, access: Option<Box<Access>>, to: To, command: Command, asked: Rc<Asked>, place: usize) {
    match to {
        To::One(target) => {
            world.call(access, target, command, Box::new(move |_, reply| asked.answer(place, vec![reply])));
        }
        To::Every => world.gather(access, &command, move |_, replies| asked.answer(place, replies)),
    }
}

/// The questions of a step.
struct Asked {
    answers: RefCell<Vec<Option<Answer>>>,
    answered: Rc<Promise<Answers>>,
}

impl Asked {
    fn new(questions: usize) -> Rc<Self> {
        let asked = Self { answers: RefCell::new(vec![None; questions]), answered: Promise::new() };
        asked.settle();
        Rc::new(asked)
    }

    /// Notes the answer to the question at `place`.
    fn answer(&self, place: usize, answer: Answer) {
        self.answers.borrow_mut()[place] = Some(answer);
        self.settle();
    }

    /// Keeps the promise when no answer is missing.
    fn settle(&self) {
        let mut answers = self.answers.borrow_mut();
        if answers.iter().all(Option::is_some) {
            self.answered.keep(answers.drain(..).flatten().collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Target;
    use crate::shard::Refusal;
    use glommio::LocalExecutor;

    /// Asks as many questions as it has left, then one less, and says at last what it heard.
    #[derive(Debug)]
    struct Countdown {
        left: usize,
        heard: Rc<RefCell<Vec<Answers>>>,
    }

    impl Flow for Countdown {
        fn step(&mut self, answers: Answers) -> Next {
            self.heard.borrow_mut().push(answers);
            if self.left == 0 {
                return Next::Respond(Response::new(204));
            }
            let question = |place| match place % 2 {
                0 => (To::One(Target::Here), Command::ReadStatus),
                _ => (To::Every, Command::ReadStatus),
            };
            let questions = (0..self.left).map(question).collect();
            self.left -= 1;
            Next::Ask(questions)
        }
    }

    /// Runs a countdown whose questions are answered in reverse, by tasks of their own; what it heard, and its status.
    fn counted_down(left: usize) -> (Vec<Answers>, u16) {
        let heard = Rc::new(RefCell::new(Vec::new()));
        let flow = Box::new(Countdown { left, heard: Rc::clone(&heard) });
        let response = LocalExecutor::default().run(steps(flow, |questions| {
            let asked = Asked::new(questions.len());
            for (place, (to, _)) in questions.into_iter().enumerate().rev() {
                let asked = Rc::clone(&asked);
                let count = if to == To::Every { 3 } else { 1 };
                let answer = async move { asked.answer(place, vec![Err(Refusal::Overloaded); count]) };
                glommio::spawn_local(answer).detach();
            }
            asked
        }));
        (heard.take(), response.status)
    }

    #[test]
    fn every_step_is_given_the_answers_to_all_questions_of_the_last_in_their_order() {
        let (heard, status) = counted_down(3);
        let lengths: Vec<Vec<usize>> = heard.iter().map(|answers| answers.iter().map(Vec::len).collect()).collect();
        assert_eq!((lengths, status), (vec![vec![], vec![1, 3, 1], vec![1, 3], vec![1]], 204));
    }

    #[test]
    fn a_flow_that_asks_nothing_goes_on_and_one_that_does_not_end_is_our_fault() {
        let nothing = LocalExecutor::default().run(async { Asked::new(0).answered.kept().await });
        assert!(nothing.is_empty());
        assert_eq!(counted_down(limits::FLOW_STEPS_MAX - 1).1, 204);
        assert_eq!(counted_down(limits::FLOW_STEPS_MAX).1, 500);
    }
}
