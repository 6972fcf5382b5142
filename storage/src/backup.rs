//! A copy of a data folder as it was at one moment, taken beside the server that writes it.
//!
//! Invariants:
//! - The copy holds every record that was acknowledged before its moment, and of each shard a prefix of its log that ends with the last
//!   record that is stamped at the moment or before. A shard that has stamps ahead of the clock, because that was set back, cannot be
//!   cut by them and is copied up to where it was found.
//! - Every blob that a record of the copy claims is in it: blobs are durable before their claim, and those that were there before the
//!   moment are copied before it.
//! - The copy has its name only when it is whole and on the disk. Nothing of the source is changed.
//! - Snapshots stay behind: one could hold what is later than the moment. The first start on the copy folds the log anew.
//!
//! What may happen meanwhile: appends, rolls, seals, and rewrites without dead records. Files are opened at the moment, and an open
//! file keeps its bytes when its name goes; what was rewritten around the moment makes it choose another.

use crate::BlobHash;
use crate::file::{self, LOCK_NAME};
use crate::scan::{scan, walk};
use crate::segment::{Layout, SEGMENT_HEADER_BYTES, SegmentHeader, parse_file_name};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The folder of blobs in a data folder.
pub const BLOBS_FOLDER: &str = "blobs";
/// What the name of an unfinished copy ends in.
const UNFINISHED_SUFFIX: &str = ".partial";
/// Moments that are tried before the folder counts as too lively. Rewrites are rare, one in minutes; two in a row are not to be expected.
const MOMENTS_MAX: usize = 16;
/// A segment in use is read again this often before a hole in it counts as damage, as `check` does.
const READS_MAX: usize = 3;
/// The copy is for its owner, as the data is: keys and secrets are in it.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something has the name already.
    #[error("{} exists already; a backup replaces nothing", path.display())]
    Exists {
        /// The target, or the unfinished copy that somebody left.
        path: PathBuf,
    },
    /// There is no log.
    #[error("{} is not a data folder: it has no segment", dir.display())]
    NoData {
        /// The source.
        dir: PathBuf,
    },
    /// A copy within what is copied.
    #[error("{} lies in the data folder itself", path.display())]
    Inside {
        /// The target.
        path: PathBuf,
    },
    /// Segments were rewritten at every moment that was tried.
    #[error("the folder changes too fast to be copied; try again")]
    Restless,
    /// A blob's bytes are not those of its name.
    #[error("{} is damaged: its bytes do not have the hash that is its name", path.display())]
    DamagedBlob {
        /// The blob's file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What a copy holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackupReport {
    /// The moment, microseconds since 1970.
    pub moment_us: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes of them, without the room that unsealed ones have left.
    pub segment_bytes: u64,
    /// Blobs.
    pub blobs: u64,
    /// Bytes of them.
    pub blob_bytes: u64,
    /// Shards whose stamps are later than the caller's clock: they were copied up to where they were found.
    pub shards_ahead: u64,
}

/// Copies the data folder `dir` to `to`, which must not exist. `now_us` is the wall clock, microseconds since 1970, the same that stamps
/// the records.
///
/// # Errors
/// [`BackupError`]. What an attempt left under an unfinished name is removed.
pub fn backup(dir: &Path, to: &Path, now_us: &mut dyn FnMut() -> u64) -> Result<BackupReport, BackupError> {
    let unfinished = prepare(dir, to)?;
    let result = fill(dir, &unfinished, now_us).and_then(|report| {
        fs::rename(&unfinished, to).and_then(|()| sync_dir(parent(to))).map_err(at(to))?;
        Ok(report)
    });
    if result.is_err() {
        let _ = fs::remove_dir_all(&unfinished); // what failed is worth more words than that this failed too
    }
    result
}

/// Makes the unfinished folder.
fn prepare(dir: &Path, to: &Path) -> Result<PathBuf, BackupError> {
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists { path: to.to_owned() });
    }
    let source = dir.canonicalize().map_err(at(dir))?;
    if parent(to).canonicalize().map_err(at(parent(to)))?.starts_with(&source) {
        return Err(BackupError::Inside { path: to.to_owned() });
    }
    let mut name = to.file_name().ok_or_else(|| BackupError::Exists { path: to.to_owned() })?.to_owned();
    name.push(UNFINISHED_SUFFIX);
    let unfinished = to.with_file_name(name);
    fs::DirBuilder::new().mode(FOLDER_MODE).create(&unfinished).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists { path: unfinished.clone() },
        _ => BackupError::Io { path: unfinished.clone(), source },
    })?;
    Ok(unfinished)
}

fn fill(dir: &Path, to: &Path, now_us: &mut dyn FnMut() -> u64) -> Result<BackupReport, BackupError> {
    let mut report = BackupReport::default();
    let mut copied = HashSet::new();
    copy_blobs(dir, to, &mut copied, &mut report)?;
    let (moment_us, segments) = moment(dir, now_us)?;
    report.moment_us = moment_us;
    copy_segments(dir, to, segments, now_us, &mut report)?;
    copy_blobs(dir, to, &mut copied, &mut report)?;
    let lock = to.join(LOCK_NAME);
    create(&lock).map_err(at(&lock))?;
    sync_dir(to).map_err(at(to))?;
    Ok(report)
}

/// A segment of the source.
struct Opened {
    name: String,
    file: File,
    /// `None`: its header does not verify. It is copied as it is, and named by whoever checks the copy.
    header: Option<SegmentHeader>,
    /// Nothing is appended to it any more.
    is_sealed: bool,
    inode: u64,
}

/// The segments of one moment. Sealed ones among them were sealed before it, rewritten ones rewritten before it.
fn moment(dir: &Path, now_us: &mut dyn FnMut() -> u64) -> Result<(u64, Vec<Opened>), BackupError> {
    let look = |segment: &Opened| (segment.name.clone(), segment.inode, segment.is_sealed);
    let mut before: BTreeSet<_> = open_segments(dir)?.iter().map(look).collect();
    for _ in 0..MOMENTS_MAX {
        let moment_us = now_us();
        let mut segments = open_segments(dir)?;
        let is_rewritten = |segment: &Opened| segment.header.is_some_and(|header| header.packed);
        if segments.iter().all(|segment| !is_rewritten(segment) || before.contains(&look(segment))) {
            if segments.is_empty() {
                return Err(BackupError::NoData { dir: dir.to_owned() });
            }
            for segment in &mut segments {
                segment.is_sealed &= before.contains(&look(segment));
            }
            return Ok((moment_us, segments));
        }
        before = segments.iter().map(look).collect();
    }
    Err(BackupError::Restless)
}

/// Every segment of the folder, open.
fn open_segments(dir: &Path) -> Result<Vec<Opened>, BackupError> {
    'list: for _ in 0..MOMENTS_MAX {
        let mut segments = Vec::new();
        let entries = match file::list(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && dir.is_dir() => continue,
            entries => entries.map_err(at(dir))?,
        };
        for entry in entries {
            if parse_file_name(&entry.name).is_none() {
                continue;
            }
            match open_segment(dir, entry.name) {
                Ok(segment) => segments.push(segment),
                // It was dead and has been removed since: another may have been made as well.
                Err(BackupError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => continue 'list,
                Err(error) => return Err(error),
            }
        }
        return Ok(segments);
    }
    Err(BackupError::Restless)
}

fn open_segment(dir: &Path, name: String) -> Result<Opened, BackupError> {
    let path = dir.join(&name);
    let file = File::open(&path).map_err(at(&path))?;
    let mut page = vec![0; SEGMENT_HEADER_BYTES as usize];
    let header = match file.read_exact_at(&mut page, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
        read => read.map(|()| SegmentHeader::decode(&page)).map_err(at(&path))?,
    };
    let metadata = file.metadata().map_err(at(&path))?;
    let is_sealed = header.is_none_or(|header| header.packed || metadata.len() < u64::from(header.allocated));
    Ok(Opened { name, file, header, is_sealed, inode: metadata.ino() })
}

fn copy_segments(
    dir: &Path,
    to: &Path,
    mut segments: Vec<Opened>,
    now_us: &mut dyn FnMut() -> u64,
    report: &mut BackupReport,
) -> Result<(), BackupError> {
    segments.sort_by(|one, other| one.name.cmp(&other.name));
    let mut logs: BTreeMap<(u32, u16), Vec<(String, Growing)>> = BTreeMap::new();
    for mut segment in segments {
        let (source, target) = (dir.join(&segment.name), to.join(&segment.name));
        match segment.header.filter(|_| !segment.is_sealed) {
            Some(header) => {
                let growing = Growing::read(&mut segment.file, header).map_err(at(&source))?;
                logs.entry((header.life, header.shard)).or_default().push((segment.name, growing));
            }
            None => {
                report.segment_bytes += copy(&mut segment.file, &target).map_err(at(&target))?;
                report.segments += 1;
            }
        }
    }
    let read_at_us = now_us();
    for log in logs.into_values() {
        let stamps = || log.iter().flat_map(|(_, growing)| growing.stamps.iter().map(|(_, time_us)| *time_us));
        let is_ahead = stamps().any(|time_us| time_us > read_at_us);
        report.shards_ahead += u64::from(is_ahead);
        // What was appended before something of the moment or earlier is of before the moment, whatever its own stamp says: clocks are set.
        let is_older = |time_us: u64| is_ahead || time_us <= report.moment_us;
        let mut left =
            stamps().enumerate().filter(|(_, time_us)| is_older(*time_us)).last().map_or(0, |(at, _)| at + 1);
        for (name, growing) in &log {
            let end = growing.stamps.get(left).map(|(offset, _)| *offset);
            left = left.saturating_sub(growing.stamps.len());
            let target = to.join(name);
            report.segment_bytes += growing.write(end, &target).map_err(at(&target))?;
            report.segments += 1;
            if end.is_some() {
                break; // nothing of a log is copied behind a cut
            }
        }
    }
    Ok(())
}

/// A segment that was open for appends at the moment, as it was a little later.
struct Growing {
    header: SegmentHeader,
    /// Up to the last byte that is not zero.
    bytes: Vec<u8>,
    /// Of the file: shorter than allocated when it has been sealed since.
    file_bytes: u64,
    /// Where the records stand, and their stamps.
    stamps: Vec<(u32, u64)>,
}

impl Growing {
    fn read(file: &mut File, header: SegmentHeader) -> io::Result<Self> {
        let SegmentHeader { number, salt, .. } = header;
        let mut bytes = Vec::new();
        for _ in 0..READS_MAX {
            file.rewind()?;
            bytes.clear();
            file.read_to_end(&mut bytes)?;
            // It may have grown between its beginning and its end; what is a hole every time is one.
            if scan(&bytes, number, salt).runs.len() == 1 {
                break;
            }
        }
        let file_bytes = bytes.len() as u64;
        let mut stamps = Vec::new();
        for run in scan(&bytes, number, salt).runs {
            let layout = Layout { number, salt, end: run.to, table: None };
            walk(&bytes, &layout, &[], run.from, &mut |record| stamps.push((record.lsn.offset(), record.time_us)));
        }
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        bytes.shrink_to_fit();
        Ok(Self { header, bytes, file_bytes, stamps })
    }

    /// Writes it as it is; with an `end` as a crash there would have left it, in a file of the length that was allocated. Gives the bytes.
    fn write(&self, end: Option<u32>, target: &Path) -> io::Result<u64> {
        let (bytes, file_bytes) = match end {
            Some(end) => (&self.bytes[..end as usize], u64::from(self.header.allocated)),
            None => (&self.bytes[..], self.file_bytes),
        };
        let file = create(target)?;
        file.write_all_at(bytes, 0)?;
        file.set_len(file_bytes)?;
        file.sync_all()?;
        Ok(bytes.len() as u64)
    }
}

/// Copies the blobs that are not in `copied` yet. One that goes meanwhile was claimed by nobody.
fn copy_blobs(
    dir: &Path,
    to: &Path,
    copied: &mut HashSet<BlobHash>,
    report: &mut BackupReport,
) -> Result<(), BackupError> {
    let blobs = dir.join(BLOBS_FOLDER);
    for folder in names(&blobs)? {
        for name in names(&blobs.join(&folder))? {
            let Some(hash) = BlobHash::parse(&name).filter(|hash| folder == hash.to_string()[..2]) else { continue };
            if copied.contains(&hash) {
                continue;
            }
            let (source, target) = (blobs.join(&folder).join(&name), to.join(BLOBS_FOLDER).join(&folder));
            let bytes = match fs::read(&source) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                bytes => bytes.map_err(at(&source))?,
            };
            if BlobHash::of(&bytes) != hash {
                return Err(BackupError::DamagedBlob { path: source });
            }
            fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&target).map_err(at(&target))?;
            write_blob(&target, &name, &bytes).map_err(at(&target))?;
            copied.insert(hash);
            report.blobs += 1;
            report.blob_bytes += bytes.len() as u64;
        }
    }
    Ok(())
}

fn write_blob(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let file = create(&folder.join(name))?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()?;
    sync_dir(folder)?;
    sync_dir(parent(folder))
}

/// The names in a folder, of those that are UTF-8. None when there is no such folder.
fn names(dir: &Path) -> Result<Vec<String>, BackupError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries.map_err(at(dir))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(at(dir))?.file_name().into_string());
    }
    Ok(names)
}

/// Copies a whole file within the kernel where that can.
fn copy(source: &mut File, target: &Path) -> io::Result<u64> {
    source.rewind()?;
    let mut file = create(target)?;
    let bytes = io::copy(source, &mut file)?;
    file.sync_all()?;
    Ok(bytes)
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Io { path, source }
}
