//! CPU and memory of the server and of this program, looked at over time by the main thread; and the lines of a long run
//! that tell of them.
//!
//! Costs a few reads of /proc, never a step of a worker.

use crate::clock::now_ns;
use crate::figures::{Bytes, Grouped, Time};
use crate::usage;
use crate::worker::Shared;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Samples of a run at the most; one more, and every other is dropped.
const SAMPLES_MAX: usize = 600;

/// One look.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds from the start of the window.
    pub t_s: f64,
    /// CPUs that this program used since the look before.
    pub generator_cpus: f64,
    /// Resident memory of this program.
    pub generator_rss_bytes: u64,
    /// The server, when its process is known.
    pub server: Option<ServerSample>,
}

/// The server's part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerSample {
    /// CPUs that it used since the look before.
    pub cpus: f64,
    /// Its memory.
    #[serde(flatten)]
    pub memory: usage::Memory,
    /// Open descriptors, threads and bytes of its data folder, in long runs.
    pub deep: Option<Deep>,
}

/// What is too dear to be looked at all the time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deep {
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
    /// Bytes of the data folder on its disk, when the folder is known.
    pub disk_bytes: Option<u64>,
}

/// CPU seconds used up to a time, by this program and by a process of the server.
#[derive(Clone, Copy)]
struct Used {
    at_ns: u64,
    generator_s: f64,
    server: Option<(u32, f64)>,
    progress: u64,
}

/// The looking side.
pub struct Sampler {
    every_ns: u64,
    /// A long run: each look is deep and told in a line.
    deep: bool,
    folder: Option<PathBuf>,
    last: Used,
    samples: Vec<Sample>,
}

impl Sampler {
    /// For a run of `duration_s`; with an `interval` its looks are deep, and each is told.
    pub fn new(shared: &Shared, duration_s: f64, interval: Option<Duration>) -> Self {
        let every_s = interval.map_or((duration_s / 50.0).clamp(0.2, 1.0), |interval| interval.as_secs_f64());
        let folder = interval.and_then(|_| shared.subject.data_folder());
        let last = Used { at_ns: 0, generator_s: 0.0, server: None, progress: 0 };
        Self { every_ns: (every_s * 1e9) as u64, deep: interval.is_some(), folder, last, samples: Vec::new() }
    }

    /// Looks when it is time, and in a long run says what it saw.
    pub fn look(&mut self, shared: &Shared) -> Option<String> {
        let (now_ns, from_ns) = (now_ns(), shared.recording.window_from_ns()?);
        // The first look only remembers where the counters stood.
        if now_ns < from_ns || (self.last.at_ns > 0 && now_ns < self.last.at_ns + self.every_ns) {
            return None;
        }
        let before = self.last;
        self.last = used(now_ns, shared)?;
        if before.at_ns == 0 {
            return None;
        }
        let passed_s = (now_ns - before.at_ns) as f64 / 1e9;
        let sample = self.sample(before, (now_ns - from_ns) as f64 / 1e9, passed_s)?;
        self.keep(sample);
        let done = self.last.progress - before.progress;
        self.deep.then(|| line(&sample, done as f64 / passed_s, &shared.recording.p99s_us(passed_s)))
    }

    fn sample(&self, before: Used, t_s: f64, passed_s: f64) -> Option<Sample> {
        let server = self.last.server.and_then(|(pid, cpu_s)| {
            let same = before.server.filter(|(before, _)| *before == pid);
            let cpus = same.map_or(0.0, |(_, before_s)| (cpu_s - before_s) / passed_s);
            Some(ServerSample {
                cpus,
                memory: usage::memory(pid).ok()?,
                deep: self.deep.then(|| self.deep_look(pid)).flatten(),
            })
        });
        Some(Sample {
            t_s,
            generator_cpus: (self.last.generator_s - before.generator_s) / passed_s,
            generator_rss_bytes: usage::memory(std::process::id()).ok()?.rss_bytes,
            server,
        })
    }

    fn deep_look(&self, pid: u32) -> Option<Deep> {
        let (descriptors, threads) = usage::descriptors_and_threads(pid).ok()?;
        Some(Deep { descriptors, threads, disk_bytes: self.folder.as_deref().map(usage::bytes_on_disk) })
    }

    fn keep(&mut self, sample: Sample) {
        if self.samples.len() == SAMPLES_MAX {
            let mut place = 0;
            self.samples.retain(|_| {
                place += 1;
                place % 2 == 0
            });
        }
        self.samples.push(sample);
    }

    /// All of them.
    pub fn samples(self) -> Vec<Sample> {
        self.samples
    }
}

/// `None` when /proc cannot be read; a server that is just being restarted is only left out.
fn used(at_ns: u64, shared: &Shared) -> Option<Used> {
    let generator_s = usage::cpu_s(Some(std::process::id())).ok()?;
    let server = shared.subject.pid().and_then(|pid| Some((pid, usage::cpu_s(Some(pid)).ok()?)));
    Some(Used { at_ns, generator_s, server, progress: shared.progress() })
}

fn line(sample: &Sample, per_s: f64, p99s_us: &[(&str, f64)]) -> String {
    let mut line = format!("{:>7.0} s {:>9}/s", sample.t_s, Grouped(per_s.round()));
    for (name, p99_us) in p99s_us.iter().filter(|(name, _)| *name != crate::report::SEND_LAG) {
        line += &format!("  {name} {}", Time(*p99_us));
    }
    if let Some(server) = &sample.server {
        let [rss, anon] = [server.memory.rss_bytes, server.memory.anon_bytes].map(|bytes| Bytes(bytes as f64));
        line += &format!("  | {:.2} CPUs, {rss} ({anon} own)", server.cpus);
        if let Some(deep) = &server.deep {
            line += &format!(", {} fds, {} threads", deep.descriptors, deep.threads);
            line += &deep.disk_bytes.map_or(String::new(), |bytes| format!(", {} on disk", Bytes(bytes as f64)));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_matters_of_a_look() {
        let memory = usage::Memory { rss_bytes: 3 << 20, anon_bytes: 1 << 20 };
        let deep = Deep { descriptors: 12, threads: 4, disk_bytes: Some(128 << 20) };
        let server = ServerSample { cpus: 0.5, memory, deep: Some(deep) };
        let sample = Sample { t_s: 10.0, generator_cpus: 0.1, generator_rss_bytes: 1, server: Some(server) };
        let line = line(&sample, 1_234.0, &[("ack", 900.0), (crate::report::SEND_LAG, 1.0)]);
        assert_eq!(
            line,
            "     10 s     1,234/s  ack 900 us  | 0.50 CPUs, 3.0 MiB (1.0 MiB own), 12 fds, 4 threads, 128.0 MiB on disk"
        );
    }
}
