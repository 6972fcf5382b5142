//! Content-addressed files beside the log: a blob is named by the SHA-256 of its bytes, written once and never changed.
//!
//! Invariants: a file under a blob's name is whole and durable, and so is its name, before [`Blobs::put`] returns; two who
//! put the same bytes share one file. Bytes that were put stay for at least the age that [`Blobs::sweep`] is given, counted
//! from the last `put`, and as long as they are claimed. A crash at any point leaves at most unfinished files, which the
//! next [`Blobs::open`] removes, and whole ones that nobody has claimed, which a sweep does.
//! Not here: who claims what (notes in the log), how large a blob may be. All of it blocks: it is run where blocking is
//! allowed.

use crate::file::TEMPORARY_SUFFIX;
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Who holds this lock alone may remove a blob; who shares it may count on one that is there.
const LOCK_NAME: &str = "LOCK";
/// Attempts to find a name for an unfinished file that nobody else writes. As many puts of the same bytes at a time.
const TEMPORARIES_MAX: u32 = 64;

/// The name of a blob: SHA-256 of its bytes, written as 64 hexadecimal digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobHash(pub [u8; 32]);

impl BlobHash {
    /// The name of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads a name. `None`: it is not 64 hexadecimal digits in lower case.
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(hash))
    }
}

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobHash({self})")
    }
}

/// What a sweep came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Blobs that are there still.
    pub kept: u64,
    /// Blobs that were removed.
    pub removed: u64,
    /// Bytes of them.
    pub removed_bytes: u64,
}

/// What the blobs of a folder weigh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// How many were counted.
    pub blobs: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// There are no others.
    pub is_whole: bool,
}

/// A folder of blobs: `<first two digits>/<64 digits>`. Any number of threads may work on it; it is not for two servers.
#[derive(Clone, Debug)]
pub struct Blobs {
    dir: PathBuf,
}

impl Blobs {
    /// Opens the folder, makes it when it is missing, and removes what a crash has left unfinished. Nobody else may be
    /// putting.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let blobs = Self { dir: dir.into() };
        fs::create_dir_all(&blobs.dir)?;
        OpenOptions::new().create(true).truncate(false).write(true).open(blobs.dir.join(LOCK_NAME))?;
        sync_dir(&blobs.dir)?;
        if let Some(parent) = blobs.dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_dir(parent)?;
        }
        for file in blobs.files()? {
            if file.to_string_lossy().ends_with(TEMPORARY_SUFFIX) {
                fs::remove_file(file)?;
            }
        }
        Ok(blobs)
    }

    /// Keeps these bytes. On return they and their name are on the disk, and no sweep takes them within its age, whether
    /// they were there before or not.
    ///
    /// # Errors
    /// What the file system says, first of all that it is full. Then there is no such blob, unless it was there before; trying again is safe.
    pub fn put(&self, bytes: &[u8]) -> io::Result<BlobHash> {
        let hash = BlobHash::of(bytes);
        let path = self.path(hash);
        let folder = folder_of(&path);
        fs::create_dir_all(folder)?;
        if !self.renew(&path)? {
            let temporary = write_temporary(&path, bytes)?;
            fs::rename(&temporary, &path).inspect_err(|_| drop(fs::remove_file(&temporary)))?;
        }
        // Also of a blob that was there: whoever has put it may have been cut off before this.
        sync_dir(folder)?;
        sync_dir(&self.dir)?;
        Ok(hash)
    }

    /// A blob, to be read. Its bytes are what was put unless the disk has damaged them: they are not hashed again. It can
    /// be read to its end even when a sweep removes it meanwhile.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`]: there is no such blob. Others: what the file system says.
    pub fn open_blob(&self, hash: BlobHash) -> io::Result<fs::File> {
        fs::File::open(self.path(hash))
    }

    /// Removes the blobs that nobody claims and that were last put before `older_than_us`, microseconds since 1970. That
    /// time must lie before `claimed` was begun to be gathered, by more than anybody takes from a put to its claim. Files
    /// of other names are left alone.
    ///
    /// # Errors
    /// What the file system says; what was removed until then is removed. Trying again is safe.
    pub fn sweep(&self, claimed: &HashSet<BlobHash>, older_than_us: u64) -> io::Result<Swept> {
        let mut swept = Swept::default();
        for path in self.files()? {
            let hash = path.file_name().and_then(|name| BlobHash::parse(name.to_str()?));
            let Some(hash) = hash.filter(|hash| self.path(*hash) == path) else { continue };
            match if claimed.contains(&hash) { None } else { self.remove_older(&path, older_than_us)? } {
                Some(bytes) => {
                    swept.removed += 1;
                    swept.removed_bytes += bytes;
                }
                None => swept.kept += 1,
            }
        }
        Ok(swept)
    }

    /// What is there, claimed or not, unfinished ones aside; no more than `count_max` are counted. What comes or goes meanwhile counts or
    /// does not.
    ///
    /// # Errors
    /// What the file system says.
    pub fn weigh(&self, count_max: u64) -> io::Result<Weight> {
        let mut weight = Weight { is_whole: true, ..Weight::default() };
        for folder in fs::read_dir(&self.dir)? {
            let folder = folder?;
            if !folder.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(folder.path())? {
                let file = file?;
                if file.file_name().to_str().and_then(BlobHash::parse).is_none() {
                    continue;
                }
                if weight.blobs == count_max {
                    return Ok(Weight { is_whole: false, ..weight });
                }
                match file.metadata() {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    metadata => {
                        weight.blobs += 1;
                        weight.bytes += metadata?.len();
                    }
                }
            }
        }
        Ok(weight)
    }

    /// Removes a blob unless it was put since. Gives its bytes if it did.
    fn remove_older(&self, path: &Path, older_than_us: u64) -> io::Result<Option<u64>> {
        let lock = fs::File::open(self.dir.join(LOCK_NAME))?;
        lock.lock()?; // until it is dropped: nobody may find the blob between the look at its age and its end
        let metadata = fs::metadata(path)?;
        if modified_us(&metadata) >= older_than_us {
            return Ok(None);
        }
        fs::remove_file(path)?;
        Ok(Some(metadata.len()))
    }

    /// Makes a blob that is there as young as if it were put now. Whether it is there.
    fn renew(&self, path: &Path) -> io::Result<bool> {
        let lock = fs::File::open(self.dir.join(LOCK_NAME))?;
        lock.lock_shared()?;
        let file = match fs::File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => file?,
        };
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        };
        rustix::fs::futimens(&file, &times)?;
        Ok(true)
    }

    fn path(&self, hash: BlobHash) -> PathBuf {
        let name = hash.to_string();
        self.dir.join(&name[..2]).join(name)
    }

    /// All files in the folders of blobs.
    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for folder in fs::read_dir(&self.dir)? {
            let folder = folder?;
            if folder.file_type()?.is_dir() {
                for file in fs::read_dir(folder.path())? {
                    files.push(file?.path());
                }
            }
        }
        Ok(files)
    }
}

/// Writes the bytes durably beside where they are to stand, under a name that nobody else has.
fn write_temporary(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let named = |n: u32| PathBuf::from(format!("{}.{n}{TEMPORARY_SUFFIX}", path.display()));
    for temporary in (0..TEMPORARIES_MAX).map(named) {
        let mut file = match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            file => file?,
        };
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        // Gives the room back, which may be what the disk lacks.
        written.inspect_err(|_| drop(fs::remove_file(&temporary)))?;
        return Ok(temporary);
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "too many are putting the same blob"))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().expect("a blob stands in a folder")
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// Microseconds since 1970; 0 before that.
fn modified_us(metadata: &fs::Metadata) -> u64 {
    let seconds = u64::try_from(metadata.mtime()).unwrap_or(0);
    seconds.saturating_mul(1_000_000).saturating_add(metadata.mtime_nsec() as u64 / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::time::{Duration, UNIX_EPOCH};

    const NOBODY: u64 = u64::MAX;

    fn folder() -> (tempfile::TempDir, Blobs) {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path().join("data/blobs")).unwrap();
        (dir, blobs)
    }

    fn read(blobs: &Blobs, hash: BlobHash) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        blobs.open_blob(hash)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Makes a blob as old as 1970 and a second.
    fn age(blobs: &Blobs, hash: BlobHash) {
        let file = fs::File::open(blobs.path(hash)).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
    }

    fn names(blobs: &Blobs) -> Vec<String> {
        let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<String> = blobs.files().unwrap().into_iter().map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn a_blob_has_the_name_that_everybody_gives_its_bytes() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(BlobHash::of(b"").to_string(), empty);
        assert_eq!(BlobHash::parse(empty), Some(BlobHash::of(b"")));
        let upper = empty.to_uppercase();
        for text in ["", &empty[1..], &upper, &empty.replace('e', "g"), &format!("{empty}0"), &format!("{empty}00")] {
            assert_eq!(BlobHash::parse(text), None, "{text}");
        }
        assert!(format!("{:?}", BlobHash::of(b"")).contains(empty));
    }

    #[test]
    fn what_was_put_is_read_back_also_after_the_next_start() {
        let (_dir, blobs) = folder();
        let large = vec![7; 3 << 20];
        let (small, large_hash) = (blobs.put(b"small").unwrap(), blobs.put(&large).unwrap());
        assert_eq!((small, large_hash), (BlobHash::of(b"small"), BlobHash::of(&large)));
        let blobs = Blobs::open(blobs.dir.clone()).unwrap();
        assert_eq!(read(&blobs, small).unwrap(), b"small");
        assert_eq!(read(&blobs, large_hash).unwrap(), large);
        let missing = read(&blobs, BlobHash::of(b"other")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn blobs_are_weighed_up_to_a_bound() {
        let (_dir, blobs) = folder();
        assert_eq!(blobs.weigh(9).unwrap(), Weight { blobs: 0, bytes: 0, is_whole: true });
        let hash = blobs.put(b"four").unwrap();
        blobs.put(b"twelve bytes").unwrap();
        fs::write(blobs.path(hash).with_extension("0.temporary"), b"unfinished").unwrap();
        assert_eq!(blobs.weigh(2).unwrap(), Weight { blobs: 2, bytes: 16, is_whole: true });
        let part = blobs.weigh(1).unwrap();
        assert_eq!((part.blobs, part.is_whole), (1, false));
    }

    #[test]
    fn the_same_bytes_are_one_file_which_a_second_put_makes_young_again() {
        let (_dir, blobs) = folder();
        let hash = blobs.put(b"same").unwrap();
        let inode = fs::metadata(blobs.path(hash)).unwrap().ino();
        age(&blobs, hash);
        assert_eq!(blobs.put(b"same").unwrap(), hash);
        assert_eq!((names(&blobs).len(), fs::metadata(blobs.path(hash)).unwrap().ino()), (1, inode));
        assert_eq!(blobs.sweep(&HashSet::new(), 1_000_000_000).unwrap(), Swept { kept: 1, ..Swept::default() });
    }

    #[test]
    fn a_sweep_takes_what_is_old_and_not_claimed_and_nothing_else() {
        let (_dir, blobs) = folder();
        let [old, claimed, young] = [&b"old"[..], b"claimed", b"young"].map(|bytes| blobs.put(bytes).unwrap());
        age(&blobs, old);
        age(&blobs, claimed);
        for foreign in ["readme", "00"] {
            fs::write(folder_of(&blobs.path(old)).join(foreign), b"not ours").unwrap();
        }
        let misplaced = folder_of(&blobs.path(old)).join(BlobHash::of(b"elsewhere").to_string());
        fs::write(&misplaced, b"elsewhere").unwrap();
        let held = blobs.open_blob(old).unwrap();
        assert_eq!(blobs.sweep(&HashSet::new(), 1_000_000).unwrap().removed, 0, "the age itself is young enough");
        let swept = blobs.sweep(&HashSet::from([claimed]), 1_000_001).unwrap();
        assert_eq!(swept, Swept { kept: 2, removed: 1, removed_bytes: 3 });
        assert!(read(&blobs, old).is_err() && read(&blobs, claimed).is_ok() && read(&blobs, young).is_ok());
        assert_eq!(io::read_to_string(held).unwrap(), "old", "who reads it reads on");
        assert_eq!(names(&blobs).len(), 5, "{:?}", names(&blobs));
        assert_eq!(blobs.sweep(&HashSet::new(), NOBODY).unwrap().removed, 2);
        assert_eq!(blobs.put(b"old").unwrap(), old, "a blob can come back");
        assert_eq!(read(&blobs, old).unwrap(), b"old");
    }

    #[test]
    fn a_crash_at_every_step_of_a_put_leaves_no_half_blob_and_the_next_put_is_whole() {
        let bytes = b"some bytes that were put";
        for step in 0..4 {
            let (_dir, blobs) = folder();
            let hash = BlobHash::of(bytes);
            let path = blobs.path(hash);
            let temporary = PathBuf::from(format!("{}.0{TEMPORARY_SUFFIX}", path.display()));
            // What the steps so far have left when the process ended.
            fs::create_dir(folder_of(&path)).unwrap();
            match step {
                0 => {}
                1 => fs::write(&temporary, &bytes[..5]).unwrap(),
                2 => fs::write(&temporary, bytes).unwrap(),
                _ => drop(blobs.put(bytes).unwrap()),
            }
            let blobs = Blobs::open(blobs.dir.clone()).unwrap();
            assert_eq!(read(&blobs, hash).is_ok(), step == 3, "step {step}");
            assert!(!names(&blobs).iter().any(|name| name.ends_with(TEMPORARY_SUFFIX)), "step {step}");
            assert_eq!(blobs.put(bytes).unwrap(), hash);
            assert_eq!(read(&blobs, hash).unwrap(), bytes, "step {step}");
        }
    }

    #[test]
    fn unfinished_files_of_others_are_not_written_into() {
        let (_dir, blobs) = folder();
        let path = blobs.path(BlobHash::of(b"x"));
        fs::create_dir(folder_of(&path)).unwrap();
        let theirs = PathBuf::from(format!("{}.0{TEMPORARY_SUFFIX}", path.display()));
        fs::write(&theirs, b"theirs").unwrap();
        blobs.put(b"x").unwrap();
        assert_eq!(fs::read(&theirs).unwrap(), b"theirs");
        for n in 0..TEMPORARIES_MAX {
            fs::write(format!("{}.{n}{TEMPORARY_SUFFIX}", path.display()), b"theirs").unwrap();
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(blobs.put(b"x").unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    }

    #[test]
    fn what_cannot_be_written_is_an_error_and_leaves_nothing() {
        let (_dir, blobs) = folder();
        let path = blobs.path(BlobHash::of(b"x"));
        fs::create_dir_all(&path).unwrap(); // a folder where the blob should stand
        fs::write(path.join("in it"), b"").unwrap();
        fs::remove_file(blobs.dir.join(LOCK_NAME)).unwrap();
        assert!(blobs.put(b"x").is_err() && blobs.sweep(&HashSet::new(), NOBODY).is_err());
        assert_eq!(names(&blobs), [path.file_name().unwrap().to_str().unwrap()]);
    }

    #[test]
    fn a_put_and_a_sweep_at_the_same_time_leave_the_blob() {
        let (_dir, blobs) = folder();
        for round in 0..100 {
            let hash = blobs.put(b"raced for").unwrap();
            age(&blobs, hash);
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| blobs.put(b"raced for").unwrap());
                }
                scope.spawn(|| blobs.sweep(&HashSet::new(), 1_000_001).unwrap());
            });
            assert_eq!(read(&blobs, hash).unwrap(), b"raced for", "round {round}");
        }
        assert_eq!(names(&blobs), [BlobHash::of(b"raced for").to_string()]);
    }
}
