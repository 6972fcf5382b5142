//! A data folder on the disk of the build, removed with the test, and what a test may do to its files.

use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder that outlives the servers started on it and is removed at the end of the test.
pub struct Folder(TempDir);

impl Folder {
    /// A new empty folder. Beside the build and not in `/tmp`, which may be memory: syncs must be real.
    pub fn new() -> Self {
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        std::fs::create_dir_all(parent).expect("the build's folder for tests can be created");
        Self(tempfile::Builder::new().prefix("blackbox-").tempdir_in(parent).expect("a folder can be created"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Every file below, sorted by path.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![self.path().to_path_buf()];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(&folder).expect("the folder can be listed") {
                let path = entry.expect("the folder can be listed").path();
                if path.is_dir() { open.push(path) } else { found.push(path) }
            }
        }
        found.sort();
        found
    }

    /// The files that hold `text`, each with the position of its first byte.
    pub fn holding(&self, text: &str) -> Vec<(PathBuf, u64)> {
        let needle = text.as_bytes();
        let position = |path: &PathBuf| {
            let bytes = std::fs::read(path).ok()?;
            bytes.windows(needle.len()).position(|window| window == needle).map(|at| at as u64)
        };
        self.files().into_iter().filter_map(|path| position(&path).map(|at| (path.clone(), at))).collect()
    }

    /// Inverts one byte of a file in place.
    pub fn flip(path: &Path, at: u64) {
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::options().read(true).write(true).open(path).expect("the file opens");
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("the byte is there");
        file.write_all_at(&[!byte[0]], at).expect("the byte can be written");
        file.sync_all().expect("the file syncs");
    }
}
