//! The hub: what each channel hears, in whatever order replies and pushes arrive.

use super::*;
use crate::limits::{INBOX_DIRTY_MAX, INBOX_INTERVAL_US};
use crate::session::Json;

const NOW: Now = at(5_000_000);

const fn at(mono_us: u64) -> Now {
    Now { unix_us: 0, mono_us }
}

fn session() -> SessionId {
    SessionId::from(7)
}

fn topic() -> TopicKey {
    TopicKey::Session(session())
}

fn channel(n: u32) -> ChannelKey {
    ChannelKey { connection: 1, channel: n }
}

fn message(seq: u64) -> Push {
    Push::Message { session: session(), seq, json: Json::empty_object() }
}

fn chunk() -> Push {
    Push::Chunk { session: session(), agent_id: "bot".into(), chunk: Json::empty_object(), place: None }
}

fn at_seq(seq: u64) -> Heard {
    Heard { seq, next_chunk: None }
}

/// What each channel was given: seqs of messages, 0 for a chunk, -1 for a gap, -2 for closed.
fn heard(deliveries: &[Delivery], channel: ChannelKey) -> Vec<i64> {
    let to_channel = deliveries.iter().filter(|delivery| delivery.to.contains(&channel));
    let number = |delivery: &Delivery| match &delivery.push {
        Delivered::Push(Push::Message { seq, .. }) => *seq as i64,
        Delivered::Push(Push::Chunk { .. }) => 0,
        Delivered::Push(Push::Gap { .. } | Push::InboxGap { .. }) => -1,
        Delivered::Push(Push::Closed { .. }) => -2,
        other => panic!("unexpected {other:?}"),
    };
    to_channel.map(number).collect()
}

struct Bench {
    hub: Hub,
    out: Vec<Delivery>,
}

impl Bench {
    fn new() -> Self {
        Self { hub: Hub::default(), out: Vec::new() }
    }

    fn join(&mut self, n: u32, cursor: u64) {
        self.hub.begin_join(&topic());
        self.hub.join(&topic(), channel(n), at_seq(cursor), &mut self.out);
    }

    fn push(&mut self, push: Push) {
        self.hub.push(NOW, push, &mut self.out);
    }

    fn heard(&self, n: u32) -> Vec<i64> {
        heard(&self.out, channel(n))
    }
}

#[test]
fn a_channel_hears_what_is_above_its_cursor_once() {
    let mut bench = Bench::new();
    bench.join(1, 3);
    for seq in 2..=5 {
        bench.push(message(seq));
    }
    bench.push(message(5));
    bench.push(chunk());
    assert_eq!(bench.heard(1), [4, 5, 0]);
}

fn placed(run: u128, index: u32) -> Push {
    let place = Some(ChunkPlace { run: RunId::from(run), index, has_floor: true });
    Push::Chunk { session: session(), agent_id: "bot".into(), chunk: Json::empty_object(), place }
}

/// Run and index of each chunk that a channel was given; (0, 0) for a gap.
fn chunks(deliveries: &[Delivery], channel: ChannelKey) -> Vec<(u128, u32)> {
    let to_channel = deliveries.iter().filter(|delivery| delivery.to.contains(&channel));
    let place = |delivery: &Delivery| match &delivery.push {
        Delivered::Push(Push::Chunk { place: Some(place), .. }) => (place.run.to_u128(), place.index),
        Delivered::Push(Push::Gap { .. }) => (0, 0),
        other => panic!("unexpected {other:?}"),
    };
    to_channel.map(place).collect()
}

#[test]
fn a_channel_that_resumes_gets_the_chunks_that_its_reply_left_out_once_in_any_order() {
    let resumed = Heard { seq: 0, next_chunk: Some((RunId::from(7), 3)) };
    for early in 0..=5 {
        let mut bench = Bench::new();
        bench.hub.begin_join(&topic());
        (0..early).for_each(|index| bench.push(placed(7, index)));
        bench.push(placed(6, 9));
        bench.hub.join(&topic(), channel(1), resumed, &mut bench.out);
        (early.min(3)..6).for_each(|index| bench.push(placed(7, index)));
        bench.push(placed(8, 0));
        let expected = [(7, 3), (7, 4), (7, 5), (8, 0)];
        assert_eq!(chunks(&bench.out, channel(1)), expected, "{early} chunks overtook the reply");
    }
}

#[test]
fn a_channel_that_did_not_ask_joins_in_the_middle_and_misses_nothing_from_there() {
    let mut bench = Bench::new();
    bench.join(1, 0);
    bench.push(placed(7, 4));
    bench.push(placed(7, 5));
    bench.push(placed(7, 7));
    assert_eq!(chunks(&bench.out, channel(1)), [(7, 4), (7, 5), (0, 0)]);
}

#[test]
fn a_run_that_begins_in_the_middle_is_a_gap_to_those_who_heard_the_one_before() {
    let mut bench = Bench::new();
    bench.join(1, 0);
    bench.push(placed(7, 0));
    bench.push(placed(8, 1));
    assert_eq!(chunks(&bench.out, channel(1)), [(7, 0), (0, 0)]);
}

#[test]
fn channels_with_different_cursors_share_one_event() {
    let mut bench = Bench::new();
    bench.join(1, 4);
    bench.join(2, 3);
    bench.push(message(4));
    bench.push(message(5));
    assert_eq!((bench.heard(1), bench.heard(2)), (vec![5], vec![4, 5]));
    assert_eq!(bench.out.last().unwrap().to.len(), 2);
}

#[test]
fn pushes_that_overtake_the_reply_are_delivered_behind_it() {
    let mut bench = Bench::new();
    bench.hub.begin_join(&topic());
    bench.push(message(4));
    bench.push(message(5));
    bench.push(chunk());
    bench.push(message(6));
    assert!(bench.out.is_empty());
    bench.hub.join(&topic(), channel(1), at_seq(4), &mut bench.out);
    bench.push(message(7));
    assert_eq!(bench.heard(1), [5, 0, 6, 7]);
}

#[test]
fn a_lost_push_shows_as_a_gap_to_those_who_miss_it() {
    let mut bench = Bench::new();
    bench.join(1, 3);
    bench.join(2, 5);
    bench.push(message(6));
    assert_eq!((bench.heard(1), bench.heard(2)), (vec![-1], vec![6]));
    assert_eq!(bench.hub.channels_of(&topic()), [channel(2)]);
    bench.push(message(8));
    assert_eq!(bench.heard(2), [6, -1]);
    assert_eq!(bench.hub.take_abandoned(), [topic()]);
    assert_eq!(bench.hub.topics(), 0);
}

#[test]
fn a_gap_from_the_owner_reaches_every_channel_and_joins_on_their_way() {
    let mut bench = Bench::new();
    bench.join(1, 3);
    bench.hub.begin_join(&topic());
    bench.push(Push::Gap { session: session() });
    assert_eq!(bench.heard(1), [-1]);
    bench.hub.join(&topic(), channel(2), at_seq(9), &mut bench.out);
    assert_eq!(bench.heard(2), [-1]);
    bench.join(3, 9);
    bench.push(message(10));
    assert_eq!(bench.heard(3), [10]);
}

#[test]
fn more_pushes_than_can_be_kept_for_a_join_become_a_gap() {
    let mut bench = Bench::new();
    bench.hub.begin_join(&topic());
    (1..=JOINING_PUSHES_MAX as u64 + 1).for_each(|seq| bench.push(message(seq)));
    bench.hub.join(&topic(), channel(1), at_seq(0), &mut bench.out);
    let heard = bench.heard(1);
    assert_eq!(heard.last(), Some(&-1));
}

/// Joins overlap without end, as when a room full of clients reconnects: each begins before the one before it ends.
fn overlapping_joins(bench: &mut Bench, rounds: u32, mut between: impl FnMut(&mut Bench) -> u64) {
    for n in 1..=rounds {
        bench.hub.begin_join(&topic());
        let cursor = between(bench);
        bench.hub.join(&topic(), channel(n), at_seq(cursor), &mut bench.out);
    }
}

#[test]
fn overlapping_joins_on_a_busy_session_get_in_however_much_was_pushed_since_the_first() {
    let mut bench = Bench::new();
    bench.hub.begin_join(&topic());
    let mut seq = 0;
    overlapping_joins(&mut bench, 2 * JOINING_PUSHES_MAX as u32, |bench| {
        seq += 1;
        bench.push(message(seq));
        seq
    });
    bench.push(message(seq + 1));
    for n in [1, JOINING_PUSHES_MAX as u32, 2 * JOINING_PUSHES_MAX as u32] {
        let heard = bench.heard(n);
        assert_eq!((heard.last(), heard.contains(&-1)), (Some(&(seq as i64 + 1)), false));
    }
}

#[test]
fn a_join_below_what_was_dropped_becomes_a_gap_and_one_above_gets_the_rest() {
    let mut bench = Bench::new();
    let last = JOINING_PUSHES_MAX as u64 + 10;
    (0..2).for_each(|_| bench.hub.begin_join(&topic()));
    (1..=last).for_each(|seq| bench.push(message(seq)));
    bench.hub.join(&topic(), channel(1), at_seq(10), &mut bench.out);
    bench.hub.join(&topic(), channel(2), at_seq(9), &mut bench.out);
    assert!(bench.heard(1).into_iter().eq(11..=last as i64));
    assert_eq!(bench.heard(2), [-1]);
}

#[test]
fn dropped_chunks_are_no_gap() {
    let mut bench = Bench::new();
    bench.hub.begin_join(&topic());
    (0..JOINING_PUSHES_MAX).for_each(|_| bench.push(chunk()));
    bench.push(message(1));
    bench.hub.join(&topic(), channel(1), at_seq(0), &mut bench.out);
    assert_eq!(bench.heard(1).last(), Some(&1));
}

#[test]
fn an_owners_gap_ends_the_joins_that_were_under_way_and_no_later_ones() {
    let mut bench = Bench::new();
    (0..2).for_each(|_| bench.hub.begin_join(&topic()));
    bench.push(Push::Gap { session: session() });
    bench.hub.begin_join(&topic());
    (1..=3).for_each(|n| bench.hub.join(&topic(), channel(n), at_seq(0), &mut bench.out));
    bench.push(message(1));
    assert_eq!([bench.heard(1), bench.heard(2), bench.heard(3)], [vec![-1], vec![-1], vec![1]]);
}

#[test]
fn a_deleted_session_closes_its_channels_and_is_forgotten() {
    let mut bench = Bench::new();
    bench.join(1, 0);
    bench.push(Push::Closed { session: session() });
    assert_eq!(bench.heard(1), [-2]);
    assert_eq!(bench.hub.topics(), 0);
    assert!(bench.hub.take_abandoned().is_empty());
}

#[test]
fn the_last_to_leave_is_told_and_a_join_on_its_way_keeps_the_topic() {
    let mut bench = Bench::new();
    bench.join(1, 0);
    bench.join(2, 0);
    bench.hub.begin_join(&topic());
    assert!(!bench.hub.leave(&topic(), channel(1)));
    assert!(!bench.hub.leave(&topic(), channel(2)));
    assert!(bench.hub.join_failed(&topic()));
    assert!(!bench.hub.leave(&topic(), channel(2)));
    assert_eq!(bench.hub.topics(), 0);
}

#[test]
fn a_push_for_nobody_is_reported_until_somebody_joins() {
    let mut bench = Bench::new();
    bench.push(message(1));
    bench.push(message(2));
    bench.hub.begin_join(&topic());
    assert!(bench.hub.take_abandoned().is_empty());
    let user = "u".to_owned();
    bench.push(Push::InboxGap { user: user.clone() });
    assert_eq!(bench.hub.take_abandoned(), [TopicKey::Inbox(user)]);
}

// Inboxes.

fn entry(session: u128, as_of: u64) -> InboxEntry {
    InboxEntry {
        session: SessionId::from(session),
        agent_id: "bot".into(),
        unread_count: as_of,
        last_activity_us: (as_of > 0).then_some(as_of),
        last_sender_id: None,
        last_seq: 0,
        gone: false,
        as_of,
    }
}

fn inbox() -> TopicKey {
    TopicKey::Inbox("u".into())
}

fn watched(entries: Vec<InboxEntry>) -> Bench {
    let mut bench = Bench::new();
    bench.hub.begin_join(&inbox());
    bench.hub.inbox_joined("u", entries);
    bench.hub.join(&inbox(), channel(1), Heard::default(), &mut bench.out);
    bench
}

impl Bench {
    fn change(&mut self, mono_us: u64, entry: InboxEntry) {
        self.hub.push(at(mono_us), Push::Inbox { user: "u".into(), entry }, &mut self.out);
    }

    fn tick(&mut self, mono_us: u64) {
        self.hub.tick(at(mono_us), &mut self.out);
    }

    /// Session and unread count of each entry of each delta since the last call.
    fn deltas(&mut self) -> Vec<Vec<(u128, u64)>> {
        let delta = |delivery: Delivery| match delivery.push {
            Delivered::InboxDelta { entries, .. } => {
                entries.iter().map(|entry| (entry.session.to_u128(), entry.unread_count)).collect()
            }
            other => panic!("unexpected {other:?}"),
        };
        self.out.drain(..).map(delta).collect()
    }
}

#[test]
fn the_first_change_after_quiet_goes_at_once_and_later_ones_wait_for_the_interval() {
    let mut bench = watched(vec![entry(1, 0)]);
    bench.change(10, entry(1, 1));
    assert_eq!(bench.deltas(), [[(1, 1)]]);
    bench.change(20, entry(1, 2));
    bench.change(30, entry(1, 3));
    bench.tick(INBOX_INTERVAL_US);
    assert!(bench.deltas().is_empty());
    bench.tick(10 + INBOX_INTERVAL_US);
    bench.tick(20 + INBOX_INTERVAL_US);
    assert_eq!(bench.deltas(), [[(1, 3)]]);
}

#[test]
fn deltas_never_stop_however_long_it_was_quiet() {
    let mut bench = watched(vec![entry(1, 0)]);
    let mut now_us = 0;
    for change in 1..=50 {
        now_us += INBOX_INTERVAL_US * (change % 7); // idle for none to many intervals, ticking all the time
        bench.tick(now_us);
        bench.deltas();
        bench.change(now_us + 1, entry(1, change));
        bench.tick(now_us + 2 + INBOX_INTERVAL_US);
        assert_eq!(bench.deltas().last().unwrap(), &[(1, change)]);
        now_us += 2 + INBOX_INTERVAL_US;
    }
}

#[test]
fn many_dirty_entries_do_not_wait() {
    let mut bench = watched(vec![]);
    bench.change(1, entry(1000, 1));
    bench.deltas();
    (1..INBOX_DIRTY_MAX as u128).for_each(|n| bench.change(2, entry(n, 2)));
    assert!(bench.deltas().is_empty());
    bench.change(3, entry(999, 3));
    assert_eq!(bench.deltas()[0].len(), INBOX_DIRTY_MAX + 1);
}

#[test]
fn a_delta_is_the_whole_inbox_most_recently_active_first_and_without_what_is_gone() {
    let mut bench = watched(vec![entry(1, 10), entry(2, 0), entry(3, 30)]);
    bench.change(1, entry(4, 20));
    assert_eq!(bench.deltas(), [[(3, 30), (4, 20), (1, 10), (2, 0)]]);
    bench.change(2, InboxEntry { gone: true, ..entry(3, 40) });
    bench.tick(2 * INBOX_INTERVAL_US);
    assert_eq!(bench.deltas(), [[(4, 20), (1, 10), (2, 0)]]);
}

#[test]
fn of_two_accounts_the_later_one_wins_in_any_order() {
    let mut bench = Bench::new();
    bench.hub.begin_join(&inbox());
    bench.change(1, entry(1, 5));
    bench.change(1, InboxEntry { gone: true, ..entry(2, 6) });
    bench.hub.inbox_joined("u", vec![entry(1, 4), entry(2, 4), entry(3, 4)]);
    bench.hub.join(&inbox(), channel(1), Heard::default(), &mut bench.out);
    bench.tick(2);
    assert_eq!(bench.deltas(), [[(1, 5), (3, 4)]]); // the reply did not say it: said behind it
    bench.change(3, entry(1, 3));
    bench.tick(2 * INBOX_INTERVAL_US);
    assert!(bench.deltas().is_empty());
}

#[test]
fn a_reply_that_is_newer_than_what_others_know_is_told_to_them() {
    let mut bench = watched(vec![entry(1, 1)]);
    bench.hub.begin_join(&inbox());
    bench.hub.inbox_joined("u", vec![entry(1, 2)]);
    bench.hub.join(&inbox(), channel(2), Heard::default(), &mut bench.out);
    bench.change(1, entry(1, 2)); // the push that the reply has overtaken
    bench.tick(2 * INBOX_INTERVAL_US);
    assert_eq!(bench.deltas(), [[(1, 2)]]);
}

#[test]
fn a_change_that_overtakes_the_reply_of_a_second_join_is_told_again() {
    let mut bench = watched(vec![entry(1, 1)]);
    bench.hub.begin_join(&inbox());
    bench.change(1, entry(1, 2));
    assert_eq!(bench.deltas(), [[(1, 2)]]);
    bench.hub.inbox_joined("u", vec![entry(1, 1)]);
    bench.hub.join(&inbox(), channel(2), Heard::default(), &mut bench.out);
    bench.tick(2 * INBOX_INTERVAL_US);
    assert_eq!(bench.out.last().unwrap().to.len(), 2);
    assert_eq!(bench.deltas(), [[(1, 2)]]);
}

#[test]
fn an_inbox_gap_ends_the_joins_that_were_under_way_and_no_later_ones() {
    let mut bench = Bench::new();
    bench.hub.begin_join(&inbox());
    bench.push(Push::InboxGap { user: "u".into() });
    bench.hub.begin_join(&inbox());
    bench.hub.join(&inbox(), channel(1), Heard::default(), &mut bench.out);
    bench.hub.join(&inbox(), channel(2), Heard::default(), &mut bench.out);
    assert_eq!((bench.heard(1), bench.heard(2)), (vec![-1], vec![]));
    assert_eq!(bench.hub.channels_of(&inbox()), [channel(2)]);
}

#[test]
fn an_inbox_gap_ends_its_channels() {
    let mut bench = watched(vec![]);
    bench.push(Push::InboxGap { user: "u".into() });
    assert_eq!(bench.heard(1), [-1]);
    assert_eq!(bench.hub.take_abandoned(), [inbox()]);
}

/// With the table's free places a topic takes up to twice its place.
#[test]
fn a_topic_with_one_channel_takes_less_than_100_bytes_here() {
    let (place, member) = (size_of::<(SessionId, SessionTopic)>(), size_of::<Member>());
    assert!(place <= 48 && member <= 48, "{place} bytes for its place, {member} for its channel");
}
