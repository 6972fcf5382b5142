//! How a question stands once its run is over: whose answer is told to a retry, in this life and the next.

use super::runs::{FIRST, NOW, REST};
use super::*;
use crate::agent::Failure;
use crate::limits::{ANSWER_WITHIN, MESSAGE_BYTES_MAX};

impl Bench {
    fn standing(&mut self, seq: u64) -> Standing {
        match self.call(Command::ReadAnswer { session: id(1), seq }).unwrap() {
            Reply::Standing(standing) => *standing,
            other => panic!("unexpected {other:?}"),
        }
    }

    /// The seqs of the answer to message `seq`.
    #[track_caller]
    fn answer_of(&mut self, seq: u64) -> Vec<u64> {
        match self.standing(seq) {
            Standing::Answered { messages } => seqs_of(&messages),
            other => panic!("unexpected {other:?}"),
        }
    }

    /// What is left of the run that failed to answer message `seq`.
    #[track_caller]
    fn left_of(&mut self, seq: u64) -> Vec<u64> {
        match self.standing(seq) {
            Standing::Unanswered { partial } => seqs_of(&partial),
            other => panic!("unexpected {other:?}"),
        }
    }

    fn answers_now(&mut self, call: &Call) {
        self.say(call, &FIRST);
        self.say(call, &REST);
        self.end(call, None);
    }

    /// What `check` says is so now, after a crash, and after one behind a snapshot; `learn` tells the directory again.
    fn in_every_life(&mut self, learn: impl Fn(&mut Self), check: impl Fn(&mut Self)) {
        check(self);
        self.kill();
        learn(self);
        check(self);
        self.snapshot_now();
        self.cut_power();
        learn(self);
        check(self);
    }
}

fn seqs_of(messages: &[Json]) -> Vec<u64> {
    messages.iter().map(|message| value(message)["seq"].as_u64().unwrap()).collect()
}

/// A way in which the run of a question ends without a message, given its call.
type Fails = fn(&mut Bench, Call);

const WAYS_TO_FAIL: [Fails; 6] = [
    |bench, call| bench.end(&call, Some(Failure::fatal("bad_status", "the webhook answered 400"))),
    |bench, mut call| {
        loop {
            bench.end(&call, Some(Failure::of_status(503, None)));
            bench.pass_ms(600_000);
            match bench.calls.pop_front() {
                Some(next) => call = next,
                None => return,
            }
        }
    },
    |bench, call| bench.end(&call, None),
    |bench, call| {
        bench.stop(Some(call.run)).unwrap();
        bench.end(&call, None);
    },
    |bench, call| {
        let long = "x".repeat(MESSAGE_BYTES_MAX - 100);
        let delta = format!(r#"{{"type":"text-delta","id":"0","delta":"{long}"}}"#);
        bench.say(&call, &[&delta, r#"{"type":"finish"}"#]);
        bench.end(&call, None);
    },
    |bench, call| {
        bench.end(&call, Some(Failure::of_status(503, None)));
        bench.learn(r#""status":"disabled""#);
        bench.pass_ms(600_000);
        bench.learn(NOW);
    },
];

#[test]
fn a_question_whose_run_failed_is_not_told_the_answer_of_a_later_one() {
    for (way, fails) in WAYS_TO_FAIL.iter().enumerate() {
        let mut bench = Bench::with_agent(NOW);
        let call = bench.ask();
        fails(&mut bench, call);
        assert_eq!(bench.left_of(1), [0; 0], "way {way}");
        assert_eq!(bench.seqs(1), [1], "way {way}");
        let call = bench.ask();
        bench.answers_now(&call);
        bench.in_every_life(
            |bench| bench.learn(NOW),
            |bench| {
                assert_eq!(bench.left_of(1), [0; 0], "way {way}");
                assert_eq!(bench.answer_of(2), [3], "way {way}");
            },
        );
    }
}

#[test]
fn a_question_that_came_while_an_earlier_run_failed_has_its_own_answer() {
    let mut bench = Bench::with_agent(NOW);
    let first = bench.ask();
    bench.append(1, "alice");
    bench.end(&first, Some(Failure::fatal("bad_status", "the webhook answered 400")));
    bench.pass_ms(1);
    let second = bench.called();
    bench.answers_now(&second);
    bench.in_every_life(
        |bench| bench.learn(NOW),
        |bench| assert_eq!((bench.left_of(1), bench.answer_of(2)), (vec![], vec![3])),
    );
}

#[test]
fn every_question_of_one_run_is_told_its_answer() {
    let mut bench = Bench::with_agent(r#""debounce_window_ms":100"#);
    (0..3).for_each(|_| drop(bench.append(1, "alice")));
    bench.pass_ms(200);
    let call = bench.called();
    bench.say(&call, &FIRST);
    bench.append(1, "alice"); // the next run's
    bench.say(&call, &REST);
    bench.say(&call, &FIRST);
    bench.say(&call, &REST);
    bench.end(&call, None);
    bench.pass_ms(200);
    let next = bench.called();
    bench.answers_now(&next);
    bench.in_every_life(
        |bench| bench.learn(NOW),
        |bench| {
            for seq in 1..=3 {
                assert_eq!(bench.answer_of(seq), [5, 6]);
            }
            assert_eq!(bench.answer_of(4), [7]);
        },
    );
}

#[test]
fn what_a_crash_has_cut_off_answers_every_question_of_its_run() {
    let mut bench = Bench::with_agent(r#""debounce_window_ms":100"#);
    (0..2).for_each(|_| drop(bench.append(1, "alice")));
    bench.pass_ms(200);
    let call = bench.called();
    bench.say(&call, &FIRST);
    bench.kill();
    bench.learn(NOW);
    bench.pass_ms(1);
    bench.in_every_life(
        |bench| bench.learn(NOW),
        |bench| assert_eq!((bench.answer_of(1), bench.answer_of(2)), (vec![3], vec![3])),
    );
}

const TEAM: &str = r#""members":["ann","bob"],"mode":"round_robin""#;

#[test]
fn a_team_that_is_stopped_after_a_member_has_spoken_has_not_answered() {
    let mut bench = Bench::with_team(TEAM);
    bench.append(1, "alice");
    let call = bench.called();
    bench.answer_with(&call, "A.");
    bench.stop(None).unwrap();
    bench.calls.clear();
    bench.in_every_life(|bench| bench.learn_team(TEAM), |bench| assert_eq!(bench.left_of(1), [2]));
    bench.append(1, "alice");
    bench.answer_all();
    bench.in_every_life(
        |bench| bench.learn_team(TEAM),
        |bench| assert_eq!((bench.left_of(1), bench.answer_of(3)), (vec![2], vec![4, 5, 6])),
    );
}

#[test]
fn what_a_crash_has_left_of_a_team_goes_on_and_is_one_answer() {
    let mut bench = Bench::with_team(TEAM);
    bench.append(1, "alice");
    let call = bench.called();
    bench.answer_with(&call, "A.");
    bench.calls.clear();
    bench.kill();
    bench.learn_team(TEAM);
    assert!(matches!(bench.standing(1), Standing::Waiting { .. }));
    bench.pass_ms(1);
    bench.answer_all();
    bench.in_every_life(|bench| bench.learn_team(TEAM), |bench| assert_eq!(bench.answer_of(1), [2, 3, 4]));
}

#[test]
fn who_answers_in_the_place_of_a_team_is_the_answer() {
    let mut bench = Bench::with_team(TEAM);
    bench.append(1, "alice");
    let call = bench.called();
    bench.answer_with(&call, "A.");
    bench.calls.clear();
    bench.kill();
    bench.append(1, "alice"); // nobody knows of agents yet: it waits for none
    bench.learn(NOW); // bot is no team any more
    bench.append(1, "alice");
    (0..3).for_each(|_| bench.pass_ms(300));
    let call = bench.called();
    bench.answers_now(&call);
    bench.in_every_life(
        |bench| bench.learn(NOW),
        |bench| assert_eq!((bench.answer_of(1), bench.answer_of(4)), (vec![5], vec![5])),
    );
}

#[test]
fn an_answer_is_found_as_far_behind_its_question_as_a_retry_is_known() {
    let mut bench = Bench::with_agent(NOW);
    let call = bench.ask();
    (0..ANSWER_WITHIN - 1).for_each(|_| drop(bench.append(1, "carol")));
    bench.answers_now(&call);
    let answer = ANSWER_WITHIN + 1;
    assert_eq!(bench.answer_of(1), [answer]);
    (0..10).for_each(|_| drop(bench.append(1, "carol")));
    bench.kill();
    bench.learn(NOW);
    assert_eq!(bench.answer_of(1), [answer]);

    let mut bench = Bench::with_agent(NOW);
    let call = bench.ask();
    bench.end(&call, Some(Failure::fatal("bad_status", "the webhook answered 400")));
    (0..ANSWER_WITHIN).for_each(|_| drop(bench.append(1, "carol")));
    assert_eq!(bench.left_of(1), [0; 0]);
    bench.append(1, "carol");
    assert_eq!(bench.standing(1), Standing::Unknown);
}
