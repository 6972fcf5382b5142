//! A shard's part of the data folder, as it tells the server: its segments, and how far its log is durable.

use super::*;

fn holdings(bench: &mut Bench, before: u32, limit: usize) -> ShardHoldings {
    match bench.call(Command::ReadHoldings { before, limit }) {
        Ok(Reply::Holdings(holdings)) => *holdings,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_no_sync_covers_is_told_apart_from_what_is_durable() {
    let mut bench = Bench::new();
    bench.call(create(1, "alice")).unwrap();
    let before = holdings(&mut bench, u32::MAX, 10);
    assert_eq!((before.durable, before.bytes_unsynced), (before.end, 0));
    bench.hold_syncs = true;
    bench.send(append(1, "alice", "hi"));
    let meanwhile = holdings(&mut bench, u32::MAX, 10);
    assert_eq!(meanwhile.durable, before.durable);
    assert!(meanwhile.end > before.end && meanwhile.bytes_unsynced > 0, "{meanwhile:?}");
    bench.release_syncs();
    let after = holdings(&mut bench, u32::MAX, 10);
    assert_eq!((after.durable, after.bytes_unsynced), (meanwhile.end, 0));
}

#[test]
fn a_page_is_a_part_of_what_is_counted() {
    let mut bench = Bench::new();
    bench.call(create(1, "alice")).unwrap();
    let whole = holdings(&mut bench, u32::MAX, 10);
    assert_eq!(whole.segments, whole.page.len() as u64);
    assert_eq!(whole.bytes_file, whole.page.iter().map(|one| one.bytes_file).sum::<u64>());
    assert_eq!(whole.page.iter().filter(|one| one.stage == Stage::Active && one.end == whole.end).count(), 1);
    let last = whole.page.last().unwrap();
    assert!(holdings(&mut bench, last.number, 10).page.is_empty());
    assert_eq!(holdings(&mut bench, u32::MAX, 1).page, whole.page[..1]);
}

#[test]
fn nobody_with_an_access_of_his_own_asks_for_it() {
    let mut bench = Bench::new();
    let command = || Command::ReadHoldings { before: u32::MAX, limit: 1 };
    for access in [
        Access { namespace: crate::session::Namespace::parse("acme").unwrap(), ..Access::default() },
        Access { reads_only: true, ..Access::default() },
        Access { reach: Reach::Party("alice".into()), ..Access::default() },
        Access { session: Some(id(1)), ..Access::default() },
    ] {
        assert_eq!(bench.call_as(&access, command()), Err(Refusal::Forbidden), "{access:?}");
    }
}
