//! Runs over the end of a process: every unanswered message is answered once, or its run visibly fails.

use super::runs::{FIRST, NOW, REST};
use super::*;
use crate::agent::Failure;

#[test]
fn what_was_not_answered_is_asked_again_and_what_was_answered_is_not() {
    let mut bench = Bench::with_agent(NOW);
    let call = bench.ask();
    bench.say(&call, &REST);
    bench.end(&call, None);
    bench.append(1, "alice");
    let unanswered = bench.called();
    bench.kill();
    bench.learn(NOW);
    bench.pass_ms(1_000);
    let again = bench.called();
    assert_eq!((again.run, Bench::called_seqs(&again)), (unanswered.run, vec![1, 2, 3]), "under the same name");
    bench.say(&again, &REST);
    bench.end(&again, None);
    bench.kill();
    bench.learn(NOW);
    bench.pass_ms(60_000);
    assert!(bench.calls.is_empty());
    assert_eq!(bench.answers().len(), 2);
}

#[test]
fn a_message_that_waited_for_its_window_is_asked_after_a_crash() {
    let mut bench = Bench::with_agent(r#""debounce_window_ms":500"#);
    bench.append(1, "alice");
    bench.kill();
    bench.learn(NOW);
    bench.pass_ms(1_000);
    assert_eq!(Bench::called_seqs(&bench.called()), [1]);
}

#[test]
fn a_half_shown_answer_is_kept_and_says_that_it_was_recovered() {
    let mut bench = Bench::with_agent(NOW);
    let call = bench.ask();
    bench.say(&call, &FIRST);
    bench.kill();
    bench.learn(NOW);
    bench.pass_ms(1_000);
    assert!(bench.calls.is_empty());
    assert_eq!(bench.answers(), [(2, "Hel".to_owned(), "abort".to_owned())]);
    let kept = messages(&bench.read(1, PageFrom::After(1), 1)).remove(0);
    assert_eq!((&kept["metadata"]["recovered"], &kept["metadata"]["reason"]), (&true.into(), &"crashed".into()));
    assert_eq!(kept["metadata"]["run_id"], call.run.to_string());
    bench.kill();
    bench.learn(NOW);
    bench.pass_ms(1_000);
    assert_eq!(bench.answers().len(), 1, "once");
    assert!(bench.ask().run > call.run);
}

#[test]
fn an_agent_that_wants_it_is_asked_again_under_another_name() {
    let retry = format!("{NOW},\"on_crash\":\"retry\"");
    let mut bench = Bench::with_agent(&retry);
    let call = bench.ask();
    bench.say(&call, &FIRST);
    bench.kill();
    bench.learn(&retry);
    bench.pass_ms(1_000);
    let again = bench.called();
    assert!(again.run > call.run, "chunks of two answers must not be mixed");
    bench.say(&again, &[FIRST.as_slice(), &REST].concat());
    bench.end(&again, None);
    assert_eq!(bench.answers(), [(2, "Hello".to_owned(), "finish".to_owned())]);
}

#[test]
fn a_second_message_of_one_response_is_recovered_too() {
    let mut bench = Bench::with_agent(NOW);
    let call = bench.ask();
    bench.say(&call, &REST);
    bench.say(&call, &FIRST);
    bench.kill();
    bench.learn(NOW);
    bench.pass_ms(1_000);
    let texts: Vec<String> = bench.answers().into_iter().map(|(_, text, _)| text).collect();
    assert_eq!(texts, ["lo", "Hel"]);
    bench.pass_ms(60_000);
    assert!(bench.calls.is_empty());
}

#[test]
fn a_failed_run_stays_failed() {
    let mut bench = Bench::with_agent(NOW);
    let call = bench.ask();
    bench.end(&call, Some(Failure::of_status(404, None)));
    bench.kill();
    bench.learn(NOW);
    bench.pass_ms(60_000);
    assert!(bench.calls.is_empty());
}

#[test]
fn snapshots_remember_what_is_owed_and_half_shown() {
    for half_shown in [false, true] {
        let mut bench = Bench::with_agent(NOW);
        bench.create(2, "alice");
        let call = bench.ask();
        if half_shown {
            bench.say(&call, &FIRST);
        }
        // Enough for several segments, so that the run's records lie below a snapshot.
        let filler = "x".repeat(4096);
        for _ in 0..400 {
            bench.call(append(2, "bot", &filler)).unwrap();
            bench.pass_ms(10);
        }
        let has_snapshot = bench.disk.list().unwrap().iter().any(|file| file.name.ends_with(".snapshot"));
        assert!(has_snapshot, "the test is about snapshots");
        bench.kill();
        bench.learn(NOW);
        bench.pass_ms(1_000);
        if half_shown {
            assert_eq!(bench.answers(), [(2, "Hel".to_owned(), "abort".to_owned())]);
            assert!(bench.calls.is_empty());
        } else {
            assert_eq!(bench.called().run, call.run);
        }
    }
}

#[test]
fn a_failing_disk_ends_the_run_for_its_clients_and_the_next_life_goes_on() {
    let mut bench = Bench::with_agent(NOW);
    bench.listen();
    let call = bench.ask();
    bench.say(&call, &FIRST);
    bench.heard();
    bench.hold_syncs = true;
    bench.pass_ms(1_000);
    bench.fail_sync();
    assert_eq!(bench.stopped, [call.run]);
    assert_eq!(bench.heard(), ["failed log_poisoned None"]);
    assert_eq!(bench.shard.status().calls_open, 0);
    bench.hold_syncs = false;
    bench.cut_power();
    bench.learn(NOW);
    bench.pass_ms(1_000);
    // What of the chunks had reached the disk is kept, else the agent is asked again.
    assert!(bench.answers().len() + bench.calls.len() == 1);
}

#[test]
fn a_full_disk_holds_the_message_back_and_loses_nothing() {
    let mut bench = Bench::with_agent(NOW);
    bench.listen();
    let call = bench.ask();
    bench.heard();
    bench.disk.set_bytes_free(0);
    let filler = "x".repeat(8192);
    while bench.call(append(1, "bot", &filler)).is_ok() {}
    bench.heard();
    bench.say(&call, &[FIRST.as_slice(), &REST].concat());
    bench.end(&call, None);
    bench.disk.set_bytes_free(u64::MAX);
    for _ in 0..300 {
        bench.pass_ms(10);
    }
    assert_eq!(bench.heard().last().map(|heard| heard.split(' ').next().unwrap().to_owned()), Some("finished".into()));
    assert_eq!(bench.answers().last().unwrap().1, "Hello");
}
