//! A million records in a real folder: little memory, a quick restart, small commits. One test, because it measures the
//! memory of the process; it prints what it measured.

use std::time::{Duration, Instant};
use storage::{AppendError, File, Fold, Key, Kind, Log, NewRecord, Options, Record, Slot, recover};

const KEYS: u64 = 1_000_000;

/// Counts what a start is given.
#[derive(Default)]
struct Count {
    snapshots: u64,
    records: u64,
}

impl Fold for Count {
    fn snapshot(&mut self, entry: Option<(Key, Slot)>, _state: &[u8]) {
        self.snapshots += u64::from(entry.is_some());
    }

    fn record(&mut self, _record: &Record<'_>, _slot: Option<Slot>) {
        self.records += 1;
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").expect("Linux has /proc");
    status.split(' ').nth(1).expect("the resident pages").parse::<u64>().expect("a number") * 4096
}

/// CPU time of the whole process in milliseconds: on a shared machine it says more than the clock.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux has /proc");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    (11..13).map(|field| fields[field].parse::<u64>().expect("ticks") * 10).sum()
}

/// Bytes that the device below the folder has written, if the kernel tells.
fn device_written(dir: &std::path::Path) -> Option<u64> {
    let device = rustix::fs::stat(dir).ok()?.st_dev;
    let path = format!("/sys/dev/block/{}:{}/stat", rustix::fs::major(device), rustix::fs::minor(device));
    Some(std::fs::read_to_string(path).ok()?.split_whitespace().nth(6)?.parse::<u64>().ok()? * 512)
}

fn work(log: &mut Log<File>) {
    while let Some(work) = log.begin_work() {
        let done = work.run();
        log.finish_work(done);
    }
}

fn sync(log: &mut Log<File>) {
    if let Some(sync) = log.begin_sync() {
        let result = sync.run();
        log.finish_sync(sync, result).expect("the sync succeeds");
    }
}

fn append(log: &mut Log<File>, key: u64, seq: u64, payload: &[u8]) {
    // Spread over the table as ids with random low bits are.
    let key = Key(u128::from(key) << 80 | u128::from(key.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let kind = if seq == 0 { Kind(2) } else { Kind(1) };
    let record = NewRecord { kind, flags: 0, key, seq, time_us: 1, meta: &[], payload: &[payload] };
    loop {
        match log.append(record) {
            Ok(_) => return,
            Err(AppendError::NotReady) => work(log),
            Err(error) => panic!("{error}"),
        }
    }
}

fn open(medium: &File) -> (Log<File>, Count, Duration) {
    let (started, cpu) = (Instant::now(), cpu_ms());
    let recovered = recover(medium, &Options::default()).expect("it recovers");
    let (recover_took, recover_cpu) = (started.elapsed(), cpu_ms() - cpu);
    let mut count = Count::default();
    let log = Log::open(medium.clone(), &recovered, Options::default(), |_| true, &mut count).expect("it opens");
    println!(
        "recover {recover_took:?} (CPU {recover_cpu} ms), with open {:?} (CPU {} ms): {} records of {}",
        started.elapsed(),
        cpu_ms() - cpu,
        count.records,
        recovered.report.records
    );
    (log, count, started.elapsed())
}

#[test]
fn a_million_sessions_cost_little_memory_and_a_restart_reads_them_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let medium = File::open(dir.path()).expect("it opens");
    let (mut log, _, _) = open(&medium);
    let before = resident_bytes();
    let (started, cpu) = (Instant::now(), cpu_ms());
    for key in 0..KEYS {
        append(&mut log, key, 0, &[b'x'; 250]);
        if key % 512 == 0 {
            sync(&mut log);
            work(&mut log);
        }
    }
    sync(&mut log);
    work(&mut log);
    let grown = resident_bytes() - before;
    let cpu = cpu_ms() - cpu;
    println!(
        "a million notes of 250 bytes: {:?} (CPU {cpu} ms), {} bytes of memory each",
        started.elapsed(),
        grown / KEYS
    );
    assert!(grown < 100 * KEYS, "{grown} bytes: the index and nothing of the records");
    let status = log.status();
    assert_eq!(status.prepare_misses, 0, "nobody touched a page that was not prepared");

    // One commit of 16 records of 300 bytes, as runtime.md measured it; others may write to the device meanwhile.
    let mut least = u64::MAX;
    for _ in 0..20 {
        (0..16).for_each(|key| append(&mut log, key, 0, &[b'y'; 236]));
        let Some(written) = device_written(dir.path()) else { break };
        sync(&mut log);
        least = least.min(device_written(dir.path()).expect("it was there") - written);
    }
    println!("one commit of 4.8 KB writes {least} bytes to the device");
    assert!(least == u64::MAX || least < 64 << 10, "{least}");

    // The process dies; what is in the page cache survives. A folder of messages, 300 bytes each.
    drop(log);
    let (mut log, count, took) = open(&medium);
    assert_eq!(count.records, KEYS + 20 * 16);
    assert!(took < Duration::from_secs(30), "{took:?}: a bound that holds without optimisation on a shared machine");
    let grown = resident_bytes().saturating_sub(before);
    println!("after the restart {} bytes of memory per key", grown / KEYS);
    assert!(grown < 100 * KEYS, "{grown} bytes: the index and nothing of the records");

    // A snapshot makes the next start read only what came later.
    log.snapshot_now();
    while log.snapshot_due() {
        log.snapshot_step(4096, &mut |slot, out| out.extend(slot.map(|_| [7; 8]).unwrap_or_default()));
        work(&mut log);
        sync(&mut log);
    }
    append(&mut log, 5, 1, b"one");
    sync(&mut log);
    drop(log);
    let (log, count, took) = open(&medium);
    assert_eq!((count.snapshots, count.records), (KEYS, 1));
    println!("with a snapshot {took:?}");
    drop(log);
}
