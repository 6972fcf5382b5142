//! Pages forward and backward, cold ranges, corrupt records.

use super::*;
use crate::limits::{PAGE_BYTES_MAX, PARKED_MAX};

fn bench_with(messages: usize) -> Bench {
    let mut bench = Bench::with_session();
    (0..messages).for_each(|n| drop(bench.append(1, if n % 2 == 0 { "alice" } else { "bot" })));
    bench
}

#[test]
fn five_appends_replay_in_order_and_after_three_come_four_and_five() {
    let mut bench = bench_with(5);
    assert_eq!(bench.seqs(1), [1, 2, 3, 4, 5]);
    let page = bench.read(1, PageFrom::After(3), 50);
    assert_eq!((seqs(&page), page.has_more, page.session_last_seq), (vec![4, 5], false, 5));
    assert_eq!(bench.read(1, PageFrom::After(5), 50), Page { session_last_seq: 5, ..Page::default() });
    assert_eq!(bench.read(1, PageFrom::After(u64::MAX), 50).count, 0);
}

#[test]
fn a_full_page_says_that_there_is_more() {
    let mut bench = bench_with(5);
    let page = bench.read(1, PageFrom::After(1), 3);
    assert_eq!((seqs(&page), page.has_more), (vec![2, 3, 4], true));
    assert!(bench.read(1, PageFrom::After(1), 0).has_more);
}

#[test]
fn pages_go_backward_from_the_newest() {
    let mut bench = bench_with(5);
    let page = bench.read(1, PageFrom::Before(u64::MAX), 2);
    assert_eq!((seqs(&page), page.has_more), (vec![4, 5], true));
    let page = bench.read(1, PageFrom::Before(page.first_seq), 2);
    assert_eq!((seqs(&page), page.has_more), (vec![2, 3], true));
    let page = bench.read(1, PageFrom::Before(page.first_seq), 2);
    assert_eq!((seqs(&page), page.has_more), (vec![1], false));
    assert_eq!(bench.read(1, PageFrom::Before(1), 2).count, 0);
    assert_eq!(bench.read(1, PageFrom::Before(0), 2).count, 0);
}

#[test]
fn every_page_of_a_long_session_is_found() {
    let mut bench = Bench::with(memory_durability());
    bench.create(1, "alice");
    (0..300).for_each(|_| drop(bench.append(1, "bot")));
    for after in 0..300 {
        assert_eq!(seqs(&bench.read(1, PageFrom::After(after), 1)), [after + 1]);
        assert_eq!(seqs(&bench.read(1, PageFrom::Before(after + 2), 1)), [after + 1]);
    }
}

#[test]
fn a_page_is_bounded_in_bytes_and_leaves_out_what_is_farther_away() {
    let mut bench = Bench::with(storage::Options { segment_bytes: 32 << 20, ..memory_durability() });
    bench.create(1, "alice");
    let text = "x".repeat(PAGE_BYTES_MAX / 3);
    (0..4).for_each(|_| drop(bench.call(append(1, "alice", &text)).unwrap()));
    let page = bench.read(1, PageFrom::After(0), 10);
    assert_eq!((seqs(&page), page.has_more), (vec![1, 2], true));
    let page = bench.read(1, PageFrom::Before(u64::MAX), 10);
    assert_eq!((seqs(&page), page.has_more), (vec![3, 4], true));
}

#[test]
fn what_lies_beyond_a_pages_bytes_is_not_read() {
    let mut bench = Bench::with(storage::Options { segment_bytes: 64 << 20, ..memory_durability() });
    bench.create(1, "alice");
    let text = "x".repeat(PAGE_BYTES_MAX / 40);
    (0..100).for_each(|_| drop(bench.call(append(1, "alice", &text)).unwrap()));
    let disk = bench.disk.kill();
    for seq in [45, 90] {
        let pattern = format!("\"seq\":{seq},");
        let file = segment_with(&disk, pattern.as_bytes());
        disk.flip(&file, find(&disk.read(&file).unwrap(), pattern.as_bytes()), 1);
    }
    bench.shard = open(&disk, &storage::Options { seed: 2, ..bench.options.clone() });
    let page = bench.read(1, PageFrom::After(0), 100);
    assert_eq!((page.first_seq, page.last_seq, page.has_more), (1, 39, true));
}

#[test]
fn a_page_from_any_place_is_whole_across_blocks() {
    let mut bench = Bench::with(memory_durability());
    bench.create(1, "alice");
    (0..200).for_each(|_| drop(bench.append(1, "bot")));
    for (after, limit) in [(0, 200), (63, 2), (64, 64), (64, 65), (1, 127), (130, 500)] {
        let page = bench.read(1, PageFrom::After(after), limit);
        assert!(seqs(&page).into_iter().eq((after + 1..=200).take(limit)));
    }
}

#[test]
fn a_session_that_lies_among_others_is_read_like_one_that_lies_together() {
    let mut bench = Bench::with(memory_durability());
    (1..=3).for_each(|n| drop(bench.create(n, "alice")));
    // Session 1 lies together, then among the others, then together again; session 2 is never its own neighbour.
    (0..70).for_each(|_| drop(bench.append(1, "bot")));
    (0..70).for_each(|_| (1..=3).for_each(|n| drop(bench.append(n, "bot"))));
    (0..70).for_each(|_| drop(bench.append(1, "bot")));
    for (after, limit) in [(0, 500), (1, 3), (60, 100), (69, 2), (100, 60), (138, 5), (209, 9)] {
        let page = bench.read(1, PageFrom::After(after), limit);
        assert!(seqs(&page).into_iter().eq((after + 1..=210).take(limit)), "after {after}");
    }
    assert!(bench.seqs(2).into_iter().eq(1..=70));
}

#[test]
fn a_page_has_room_for_what_goes_around_it_unless_it_is_empty() {
    let mut bench = bench_with(3);
    let page = bench.read(1, PageFrom::After(0), 10);
    assert!(page.room > 0);
    assert_eq!(page.text[page.room], b'{');
    let page = bench.read(1, PageFrom::After(3), 10);
    assert_eq!((page.room, page.text.len()), (0, 0));
}

#[test]
fn unknown_sessions_are_refused() {
    let mut bench = Bench::new();
    let read = Command::ReadMessages { session: id(9), from: PageFrom::After(0), limit: 5 };
    assert_eq!(bench.call(read), Err(Refusal::SessionNotFound));
    assert_eq!(bench.join(HERE, 9, "alice", 0), Err(Refusal::SessionNotFound));
}

/// A bench whose sealed segments are cold; its session has 50 messages.
fn cold_bench() -> Bench {
    let mut bench = Bench::with(storage::Options { segment_bytes: 16 << 10, ..options() });
    bench.create(1, "alice");
    (0..50).for_each(|_| drop(bench.append(1, "bot")));
    bench.disk.set_cold(true);
    bench.kill();
    bench.disk.set_cold(true);
    bench
}

#[test]
fn a_cold_read_waits_for_the_disk_and_nothing_else_does() {
    let mut bench = cold_bench();
    bench.create(2, "alice");
    bench.hold_works = true;
    let read = bench.send(Command::ReadMessages { session: id(1), from: PageFrom::After(0), limit: 100 });
    assert_eq!(bench.answer(read), None);
    assert!(!bench.works.is_empty());
    assert_eq!(bench.append(2, "alice")["seq"], 1);
    bench.hold_works = false;
    bench.run();
    let Some(Ok(Reply::Messages(page))) = bench.answer(read) else { panic!("{:?}", bench.answer(read)) };
    assert_eq!(page.count, 50);
}

#[test]
fn what_one_sender_pipelines_does_not_overtake_a_parked_command() {
    let mut bench = cold_bench();
    bench.hold_works = true;
    let commands = [keyed(1, "alice", "hi", "k"), append(1, "alice", "later"), join(1, "alice", 49)];
    let tokens = commands.map(|command| bench.send(command));
    bench.hold_works = false;
    bench.run();
    let (seqs, answers): (Vec<u64>, Vec<usize>) = bench
        .said
        .iter()
        .enumerate()
        .filter_map(|(at, said)| match said {
            Said::Reply(token, Ok(Reply::Appended { seq, .. })) if tokens.contains(token) => Some((*seq, at)),
            _ => None,
        })
        .unzip();
    assert_eq!(seqs, [51, 52]);
    assert!(answers.is_sorted());
    assert!(matches!(bench.answer(tokens[2]), Some(Ok(Reply::Joined { .. }))));
}

#[test]
fn parked_commands_are_bounded() {
    let mut bench = cold_bench();
    bench.hold_works = true;
    for _ in 0..PARKED_MAX {
        bench.send(Command::ReadMessages { session: id(1), from: PageFrom::After(0), limit: 1 });
    }
    assert!(bench.said.is_empty());
    assert_eq!(bench.call(Command::ReadSession { id: id(1) }), Err(Refusal::Overloaded));
}

#[test]
fn a_warmed_range_is_asked_for_once() {
    let mut bench = cold_bench();
    bench.hold_works = true;
    bench.works.clear();
    for _ in 0..10 {
        bench.send(Command::ReadMessages { session: id(1), from: PageFrom::After(0), limit: 1 });
    }
    let asked = bench.works.len();
    assert!(asked <= 3, "{asked} works for one cold range");
}

/// Disk work that somebody waited for until `command` was answered. `forgets_at`: after so much of it, all that was
/// warm is cold again.
fn works_until_answered(command: Command, forgets_at: usize) -> usize {
    let mut bench = Bench::with(storage::Options { segment_bytes: 16 << 10, ..options() });
    bench.create(1, "alice");
    (0..300).for_each(|n| drop(bench.call(keyed(1, "bot", "hi", &n.to_string())).unwrap()));
    bench.disk.set_cold(true);
    bench.kill();
    bench.disk.set_cold(true);
    bench.hold_works = true;
    let token = bench.send(command);
    let mut works = 0;
    while bench.answer(token).is_none() {
        let Some(work) = bench.works.pop_front() else {
            bench.now_us += 1_100_000; // until a range is asked for again
            bench.step(Input::Tick);
            continue;
        };
        let done = work.run();
        works += usize::from(done.is_awaited());
        bench.step(Input::Worked(done));
        bench.run();
        if works == forgets_at {
            bench.step(Input::Tick); // the first one gives maps back
        }
    }
    assert!(bench.answer(token).unwrap().is_ok());
    works
}

#[test]
fn a_window_that_is_built_from_cold_ranges_never_begins_again() {
    let fresh = keyed(1, "alice", "hi", "new");
    let works = works_until_answered(fresh.clone(), usize::MAX);
    assert!(works >= 5, "{works}");
    let with_forgetting = works_until_answered(fresh, works - 1);
    assert!(with_forgetting <= works + 1, "{with_forgetting} after {works}");
}

#[test]
fn work_that_nobody_waits_for_wakes_nobody() {
    let mut bench = cold_bench();
    bench.create(2, "alice");
    bench.hold_works = true;
    let mut done = Vec::new();
    while done.is_empty() {
        bench.send(append(2, "alice", "hi"));
        for result in bench.works.drain(..).map(|work| work.run()).collect::<Vec<_>>() {
            if result.is_awaited() { bench.step(Input::Worked(result)) } else { done.push(result) }
        }
    }
    bench.send(Command::ReadMessages { session: id(1), from: PageFrom::After(0), limit: 1 });
    bench.works.clear();
    bench.now_us += 2_000_000; // a command that is tried now asks for its range again
    done.into_iter().for_each(|done| bench.step(Input::Worked(done)));
    assert!(!bench.works.drain(..).any(|work| work.run().is_awaited()));
    bench.step(Input::Tick);
    assert!(bench.works.drain(..).any(|work| work.run().is_awaited()));
}

#[test]
fn a_command_whose_range_never_gets_warm_is_refused_in_the_end() {
    let mut bench = cold_bench();
    bench.hold_works = true;
    let read = bench.send(Command::ReadMessages { session: id(1), from: PageFrom::After(0), limit: 1 });
    bench.step(Input::Tick);
    assert_eq!(bench.answer(read), None);
    bench.now_us += 60_000_000;
    bench.step(Input::Tick);
    assert_eq!(bench.answer(read), Some(Err(Refusal::Overloaded)));
}

#[test]
fn a_corrupt_record_is_named_and_the_rest_keeps_working() {
    let mut bench = bench_with(3);
    bench.create(2, "alice");
    bench.append(2, "alice");
    let disk = bench.disk.kill();
    let file = segment_with(&disk, b"\"seq\":2,");
    let offset = find(&disk.read(&file).unwrap(), b"\"seq\":2,");
    disk.flip(&file, offset, 1);
    bench.shard = open(&disk, &storage::Options { seed: 2, ..options() });
    let answer = bench.call(Command::ReadMessages { session: id(1), from: PageFrom::After(0), limit: 10 });
    assert!(matches!(&answer, Err(Refusal::Corrupt { file: named, .. }) if *named == file), "{answer:?}");
    assert_eq!(seqs(&bench.read(1, PageFrom::After(2), 10)), [3]);
    assert_eq!(bench.seqs(2), [1]);
    assert!(bench.shard.status().corrupt[0].contains(&file));
}

fn find(bytes: &[u8], pattern: &[u8]) -> usize {
    bytes.windows(pattern.len()).position(|window| window == pattern).expect("the pattern is there")
}

fn segment_with(disk: &Memory, pattern: &[u8]) -> String {
    use storage::Medium;
    let has = |name: &String| disk.read(name).unwrap().windows(pattern.len()).any(|window| window == pattern);
    disk.list().unwrap().into_iter().map(|entry| entry.name).find(has).expect("a file has the pattern")
}
