//! Byte-level fuzzing: arbitrary bytes against everything that reads bytes from strangers or from disk.
//!
//! ```text
//! cargo run --release -p fuzz -- TARGET [--seconds N] [--seed S]     search for a failing input (default: 10 s, seed 1)
//! cargo run --release -p fuzz -- TARGET --input HEX                  run one input again
//! cargo test -p fuzz                                                 a few seconds of every target, the same each time
//! ```
//!
//! A target is a function of some bytes that panics when an invariant does not hold: a decoder must say the same about
//! bytes that arrive whole, one by one or cut anywhere; what it takes must encode back to itself; and an independent
//! implementation (httparse, tungstenite) must agree wherever the standard leaves no choice. Inputs are mutations of a few seeds,
//! without coverage feedback, so that the stable toolchain is enough; a run is determined by its seed. A failing input is printed as hex
//! with the run's seed.

mod agents;
mod auth;
mod channels;
mod http;
mod mutation;
mod ws;

pub use agents::{answer, assembler, told_text};
pub use auth::{jwks, jwt};
pub use channels::{api, channel_message, channel_socket};
pub use http::http;
pub use mutation::{Random, mutate};
pub use ws::ws_frame;

use std::time::{Duration, Instant};

/// Something that reads bytes.
pub struct Target {
    /// Name on the command line.
    pub name: &'static str,
    /// Panics when `data` breaks an invariant.
    pub run: fn(data: &[u8]),
    /// Well-formed inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "http", run: http, seeds: http::seeds },
    Target { name: "ws_frame", run: ws_frame, seeds: ws::seeds },
    Target { name: "channel_message", run: channel_message, seeds: channels::message_seeds },
    Target { name: "channel_socket", run: channel_socket, seeds: channels::socket_seeds },
    Target { name: "api", run: api, seeds: channels::api_seeds },
    Target { name: "answer", run: answer, seeds: agents::answer_seeds },
    Target { name: "assembler", run: assembler, seeds: agents::assembler_seeds },
    Target { name: "told_text", run: told_text, seeds: agents::assembler_seeds },
    Target { name: "jwt", run: jwt, seeds: auth::jwt_seeds },
    Target { name: "jwks", run: jwks, seeds: auth::jwks_seeds },
];

/// Inputs longer than this only make a run slow.
const INPUT_BYTES_MAX: usize = 4096;

/// When a run ends.
#[derive(Debug, Clone, Copy)]
pub enum Budget {
    /// After so many inputs: the same work each time.
    Inputs(u64),
    /// After so much time.
    Time(Duration),
}

/// Runs mutations of the target's seeds until the budget is spent. `report` is told each input before it runs, so that it can be named should the
/// target panic. Returns the number of inputs.
pub fn run(target: &Target, seed: u64, budget: Budget, mut report: impl FnMut(&[u8])) -> u64 {
    let mut random = Random::new(seed);
    let seeds = (target.seeds)();
    for input in &seeds {
        report(input);
        (target.run)(input);
    }
    let started = Instant::now();
    let mut inputs = 0;
    while match budget {
        Budget::Inputs(most) => inputs < most,
        Budget::Time(most) => started.elapsed() < most,
    } {
        let mut input = seeds[random.below(seeds.len())].clone();
        mutate(&mut input, &seeds, &mut random);
        input.truncate(INPUT_BYTES_MAX);
        report(&input);
        (target.run)(&input);
        inputs += 1;
    }
    inputs
}

/// The ways in which `data` is handed to a decoder: whole, one by one, and in pieces whose sizes depend on nothing but `data`.
fn cuts(data: &[u8]) -> [Vec<&[u8]>; 3] {
    let digest = data.iter().fold(data.len() as u64, |digest, &byte| digest.wrapping_mul(31).wrapping_add(byte.into()));
    let mut random = Random::new(digest);
    let mut pieces = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + random.below(24)).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    [vec![data], data.chunks(1).collect(), pieces]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_survives_a_short_run() {
        for target in TARGETS {
            let mut last = Vec::new();
            let inputs = run(target, 1, Budget::Inputs(20_000), |input| input.clone_into(&mut last));
            assert_eq!(inputs, 20_000, "{}", target.name);
        }
    }

    #[test]
    fn a_run_is_determined_by_its_seed() {
        let inputs = |seed| {
            let mut inputs = Vec::new();
            run(&TARGETS[0], seed, Budget::Inputs(50), |input| inputs.push(input.to_vec()));
            inputs
        };
        assert_eq!(inputs(7), inputs(7));
        assert_ne!(inputs(7), inputs(8));
    }

    #[test]
    fn pieces_are_the_whole_again() {
        let data: Vec<u8> = (0..200).collect();
        for pieces in cuts(&data) {
            assert_eq!(pieces.concat(), data);
        }
    }
}
