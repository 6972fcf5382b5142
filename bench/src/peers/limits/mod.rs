//! The limits: programs that do what a server must do at the least and nothing else, as processes of their own beside the servers.
//!
//! They are hidden subcommands of this binary. What they answer is what our server was seen to answer, byte for byte, so that the kernel's
//! part of the work is the same.

mod echo;
mod fan;
mod sendfile;
mod sync;

use anyhow::Result;
use clap::Subcommand;
use rustix::fs::{FallocateFlags, fallocate, fdatasync};
use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub use sync::Synced;

/// Bytes of a file that is written to; writing starts again at its beginning.
const FILE_BYTES: u64 = 64 << 20;

/// What to do at the least.
#[derive(Clone, Debug, Subcommand)]
pub enum Limit {
    /// Answer every request with the same bytes; with a file, first append a record for each to it and sync once a turn.
    Echo {
        /// Bytes of every request.
        #[arg(long)]
        request_bytes: usize,
        /// Holds the bytes of every reply.
        #[arg(long)]
        reply: PathBuf,
        /// Group commit into this file.
        #[arg(long)]
        commit: Option<PathBuf>,
        /// Bytes of every record.
        #[arg(long, default_value_t = 256)]
        record_bytes: usize,
    },
    /// Append a record and sync, one after the other, without a network.
    Sync {
        /// The file.
        #[arg(long)]
        file: PathBuf,
        /// Bytes of every record.
        #[arg(long, default_value_t = 256)]
        record_bytes: usize,
        /// For so long.
        #[arg(long)]
        seconds: f64,
    },
    /// Answer every request with a file by sendfile.
    Sendfile {
        /// Bytes of every request.
        #[arg(long)]
        request_bytes: usize,
        /// The file.
        #[arg(long)]
        file: PathBuf,
    },
    /// Send every line of the first connection, in a frame made once, to all others.
    Fan {
        /// Connections besides the first.
        #[arg(long)]
        readers: usize,
        /// Holds what stands before a line in its frame.
        #[arg(long)]
        before: PathBuf,
        /// Holds what stands behind it.
        #[arg(long)]
        behind: PathBuf,
        /// Lines that lie ready together are sent together.
        #[arg(long)]
        fold: bool,
    },
}

/// Runs until it is killed.
///
/// # Errors
/// As the system says.
pub fn run(limit: Limit) -> Result<()> {
    match limit {
        Limit::Echo { request_bytes, reply, commit, record_bytes } => {
            let commit = commit.map(|path| Appended::create(&path)).transpose()?;
            echo::run(&listen()?, request_bytes, &std::fs::read(reply)?, commit, record_bytes)
        }
        Limit::Sync { file, record_bytes, seconds } => sync::run(Appended::create(&file)?, record_bytes, seconds),
        Limit::Sendfile { request_bytes, file } => sendfile::run(&listen()?, request_bytes, &File::open(file)?),
        Limit::Fan { readers, before, behind, fold } => {
            fan::run(&listen()?, readers, &std::fs::read(before)?, &std::fs::read(behind)?, fold)
        }
    }
}

/// A listener on a free port, which is printed.
fn listen() -> Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("listening on {}", listener.local_addr()?);
    std::io::stdout().flush()?;
    Ok(listener)
}

/// A file whose blocks are allocated and written, so that a sync is about data alone.
struct Appended {
    file: File,
    at: u64,
}

impl Appended {
    fn create(path: &Path) -> Result<Self> {
        let file = File::options().create_new(true).write(true).open(path)?;
        fallocate(&file, FallocateFlags::empty(), 0, FILE_BYTES)?;
        let zeros = vec![0; 1 << 20];
        for at in (0..FILE_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, at)?;
        }
        fdatasync(&file)?;
        Ok(Self { file, at: 0 })
    }

    /// Appends and waits for the disk.
    fn append(&mut self, records: &[u8]) -> Result<()> {
        if self.at + records.len() as u64 > FILE_BYTES {
            self.at = 0;
        }
        self.file.write_all_at(records, self.at)?;
        self.at += records.len() as u64;
        Ok(fdatasync(&self.file)?)
    }
}
