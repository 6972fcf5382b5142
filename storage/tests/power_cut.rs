//! A real file system loses its power: ext4 on a loop device is shut down without flushing its journal, mounted again,
//! and recovered. Needs root, loop devices and `mkfs.ext4`; says so when it cannot run.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use storage::{AppendError, File, Key, Kind, Log, Lsn, NewRecord, Options, ReadError, recover};

/// `FS_IOC_SHUTDOWN`, `_IOR('X', 125, u32)`, from the kernel's `uapi/linux/fs.h` family; ext4 has it since 4.13.
const FS_IOC_SHUTDOWN: u64 = 0x8004_587d;
/// Stop at once, without writing the journal: what a power cut does.
const SHUTDOWN_NO_LOG_FLUSH: u32 = 2;
const IMAGE_BYTES: u64 = 96 << 20;
const ROUNDS: u64 = 5;

fn run(program: &str, arguments: &[&OsStr]) -> Result<(), String> {
    let result = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    match result {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

/// A mounted image; unmounted when dropped, also by a test that fails.
struct Mount {
    at: PathBuf,
}

impl Mount {
    fn new(image: &Path, at: &Path) -> Result<Self, String> {
        run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_os_str(), at.as_os_str()])?;
        Ok(Self { at: at.to_owned() })
    }

    fn shut_down(&self) -> Result<(), String> {
        let dir = fs::File::open(&self.at).map_err(|error| error.to_string())?;
        let flags = SHUTDOWN_NO_LOG_FLUSH;
        // SAFETY: the kernel reads four bytes through the pointer, which is valid for the call. No safe wrapper exists.
        #[allow(unsafe_code)]
        let result = unsafe { libc::ioctl(dir.as_raw_fd(), FS_IOC_SHUTDOWN, &raw const flags) };
        if result == 0 { Ok(()) } else { Err(format!("shutdown: {}", std::io::Error::last_os_error())) }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(error) = run("umount", &[self.at.as_os_str()]) {
            eprintln!("{error}");
        }
    }
}

fn work(log: &mut Log<File>) {
    while let Some(work) = log.begin_work() {
        let done = work.run();
        log.finish_work(done);
    }
}

fn append(log: &mut Log<File>, number: u64) -> Lsn {
    let key = Key(u128::from(number % 7));
    let seq = log.slot(key).map_or(0, |slot| log.last_seq(slot)) + 1;
    let payload = number.to_le_bytes().repeat(1 + number as usize % 60);
    loop {
        let record = NewRecord { kind: Kind(1), flags: 0, key, seq, time_us: 0, meta: &[], payload: &[&payload] };
        match log.append(record) {
            Ok(appended) => return appended.lsn,
            Err(AppendError::NotReady) => work(log),
            Err(error) => panic!("{error}"),
        }
    }
}

fn open(dir: &Path) -> (Log<File>, storage::Recovered) {
    let options = Options { segment_bytes: 256 << 10, ..Options::default() };
    let medium = File::open(dir).expect("the folder is free");
    let recovered = recover(&medium, &options).expect("it recovers");
    let log = Log::open(medium, &recovered, options, |_| true, &mut ()).expect("it opens");
    (log, recovered)
}

/// The addresses of a life's records, and the durable mark when the power went.
fn live(dir: &Path, mount: &Mount, first: u64) -> Result<(Vec<Lsn>, Lsn), String> {
    let (mut log, recovered) = open(dir);
    assert!(recovered.report.corrupt.is_empty(), "{:?}", recovered.report);
    let mut lsns = Vec::new();
    for number in 0..2000 {
        lsns.push(append(&mut log, first + number));
        if number % 50 == 0 && number < 1500 {
            let sync = log.begin_sync().expect("something is new");
            let result = sync.run();
            log.finish_sync(sync, result).expect("it syncs");
            work(&mut log);
        }
    }
    let durable = log.durable();
    mount.shut_down()?;
    // The disk is gone: the sync fails, and the log says so instead of promising anything.
    let sync = log.begin_sync().expect("something is new");
    let result = sync.run();
    assert!(result.is_err(), "a sync on a dead file system fails");
    assert!(log.finish_sync(sync, result).is_err() && log.status().poisoned);
    assert_eq!(log.durable(), durable);
    Ok((lsns, durable))
}

fn cut_the_power() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("it needs root".to_owned());
    }
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (image, at) = (scratch.path().join("image"), scratch.path().join("mount"));
    fs::create_dir(&at).map_err(|error| error.to_string())?;
    fs::File::create(&image).and_then(|file| file.set_len(IMAGE_BYTES)).map_err(|error| error.to_string())?;
    run("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), image.as_os_str()])?;
    let mut known: Vec<Lsn> = Vec::new();
    for round in 0..ROUNDS {
        let mount = Mount::new(&image, &at)?;
        let dir = at.join("data");
        let first = known.len() as u64;
        let (lsns, durable) = live(&dir, &mount, first)?;
        drop(mount);
        let _mount = Mount::new(&image, &at)?;
        let (log, recovered) = open(&dir);
        assert!(recovered.report.corrupt.is_empty(), "{:?}", recovered.report);
        for (number, lsn) in known.iter().enumerate() {
            assert!(log.read(*lsn).is_ok(), "record {number} of an earlier life");
        }
        let there = lsns.iter().take_while(|lsn| log.read(**lsn).is_ok()).count();
        let synced = lsns.iter().filter(|lsn| **lsn < durable).count();
        assert!(there >= synced, "{there} of {synced} synced records are there");
        assert!(lsns[there..].iter().all(|lsn| log.read(*lsn) == Err(ReadError::Unknown)), "a prefix and nothing else");
        println!(
            "round {round}: {synced} synced, {there} of {} there, {} bytes cut",
            lsns.len(),
            recovered.report.bytes_cut
        );
        known.extend(&lsns[..there]);
    }
    Ok(())
}

#[test]
fn a_power_cut_loses_nothing_that_was_synced() {
    if let Err(why) = cut_the_power() {
        eprintln!("\n*** power_cut: NOT RUN, so a real power cut is untested here: {why} ***\n");
    }
}
