//! Runs requests of several steps: asks the shards what a [`Flow`] wants to know until it ends. Likewise for frames of sockets.
//!
//! Invariant: the questions of a step are all under way before the first answer is waited for, and a step is taken when all have their
//! answers. No dialect is known here.

use std::cell::RefCell;
use std::rc::Rc;

use super::measure::Measure;
use super::promise::Promise;
use super::world::World;
use crate::api::ask_plan::{AskPlan, SocketAsk, SocketFlow, SocketNext};
use crate::api::error::{ApiError, Kind};
use crate::api::{Answer, Answers, Flow, Next, To};
use crate::limits;
use crate::protocol::http::Response;
use crate::shard::{Access, Command};

/// How a flow ended.
pub(super) enum Ended {
    /// In a response.
    Response(Response),
    /// In an ask, whose answer is the response.
    Ask(Box<AskPlan>),
}

/// How a socket's flow ended.
pub(super) enum SocketEnded {
    /// In a frame.
    Reply(String),
    /// In an ask.
    Begin(Box<SocketAsk>),
}

/// How a step goes on.
enum Step<E> {
    Ask(Vec<(To, Command)>),
    End(E),
}

/// Runs `flow` to its end, for a caller of `access`.
pub(super) async fn run(world: &Rc<World>, access: Option<Box<Access>>, mut flow: Box<dyn Flow>) -> Ended {
    let ended = steps(
        |answers| match flow.step(answers) {
            Next::Ask(questions) => Step::Ask(questions),
            Next::Respond(response) => Step::End(Ended::Response(response)),
            Next::Answer(plan) => Step::End(Ended::Ask(plan)),
        },
        |questions| ask_all(world, &access, questions),
    )
    .await;
    ended.unwrap_or_else(|| {
        tracing::error!(?flow, "a flow does not end");
        Ended::Response(ApiError::from(Kind::Internal).response())
    })
}

/// Runs a socket's flow to its end, for a client of `access`. `None`: it has none, which is a mistake of ours.
pub(super) async fn run_socket(
    world: &Rc<World>,
    access: &Option<Box<Access>>,
    mut flow: Box<dyn SocketFlow>,
) -> Option<SocketEnded> {
    let ended = steps(
        |answers| match flow.step(answers) {
            SocketNext::Ask(questions) => Step::Ask(questions),
            SocketNext::Reply(frame) => Step::End(SocketEnded::Reply(frame)),
            SocketNext::Begin(ask) => Step::End(SocketEnded::Begin(ask)),
        },
        |questions| ask_all(world, access, questions),
    )
    .await;
    if ended.is_none() {
        tracing::error!("a socket's flow does not end");
    }
    ended
}

/// Takes steps until one is the last; `ask` sends the questions of each on their way. `None`: there is no end to it.
async fn steps<E>(
    mut step: impl FnMut(Answers) -> Step<E>,
    mut ask: impl FnMut(Vec<(To, Command)>) -> Rc<Asked>,
) -> Option<E> {
    let mut answers = Answers::new();
    for _ in 0..limits::FLOW_STEPS_MAX {
        match step(answers) {
            Step::End(end) => return Some(end),
            Step::Ask(questions) => answers = ask(questions).answered.kept().await,
        }
    }
    None
}

fn ask_all(world: &Rc<World>, access: &Option<Box<Access>>, questions: Vec<(To, Command)>) -> Rc<Asked> {
    let asked = Asked::new(questions.len());
    for (place, (to, command)) in questions.into_iter().enumerate() {
        ask(world, access.clone(), to, command, Rc::clone(&asked), place);
    }
    asked
}

fn ask(world: &Rc<World>, access: Option<Box<Access>>, to: To, command: Command, asked: Rc<Asked>, place: usize) {
    match to {
        To::One(target) => {
            let measure = Measure::begin(world, &command);
            let done = move |world: &Rc<World>, reply| {
                measure.end(world, &reply);
                asked.answer(place, vec![reply]);
            };
            world.call(access, target, command, Box::new(done));
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
    fn counted_down(left: usize) -> (Vec<Answers>, Option<u16>) {
        let heard = Rc::new(RefCell::new(Vec::new()));
        let mut flow = Countdown { left, heard: Rc::clone(&heard) };
        let step = |answers| match flow.step(answers) {
            Next::Ask(questions) => Step::Ask(questions),
            Next::Respond(response) => Step::End(response.status),
            Next::Answer(plan) => panic!("{plan:?}"),
        };
        let status = LocalExecutor::default().run(steps(step, |questions| {
            let asked = Asked::new(questions.len());
            for (place, (to, _)) in questions.into_iter().enumerate().rev() {
                let asked = Rc::clone(&asked);
                let count = if to == To::Every { 3 } else { 1 };
                let answer = async move { asked.answer(place, vec![Err(Refusal::Overloaded); count]) };
                glommio::spawn_local(answer).detach();
            }
            asked
        }));
        (heard.take(), status)
    }

    #[test]
    fn every_step_is_given_the_answers_to_all_questions_of_the_last_in_their_order() {
        let (heard, status) = counted_down(3);
        let lengths: Vec<Vec<usize>> = heard.iter().map(|answers| answers.iter().map(Vec::len).collect()).collect();
        assert_eq!((lengths, status), (vec![vec![], vec![1, 3, 1], vec![1, 3], vec![1]], Some(204)));
    }

    #[test]
    fn a_flow_that_asks_nothing_goes_on_and_one_that_does_not_end_is_our_fault() {
        let nothing = LocalExecutor::default().run(async { Asked::new(0).answered.kept().await });
        assert!(nothing.is_empty());
        assert_eq!(counted_down(limits::FLOW_STEPS_MAX - 1).1, Some(204));
        assert_eq!(counted_down(limits::FLOW_STEPS_MAX).1, None);
    }
}
