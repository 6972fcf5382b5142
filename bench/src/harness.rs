//! Timing: cases of a group take turns, round by round, so that whatever else the machine does hits all of them alike.
//!
//! The figures of a case are the median over the rounds and their range; its ratio is the median of its ratios to the reference (the
//! group's first case) in the same round. Trust the ratio, not the nanoseconds.

use serde::Serialize;
use std::fmt;
use std::time::{Duration, Instant};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Turns of every case.
    pub rounds: usize,
    /// How long one turn should take.
    pub turn: Duration,
}

/// Something to measure.
struct Case<'a> {
    name: String,
    /// Operations of one call.
    operations: u64,
    call: Box<dyn FnMut() + 'a>,
}

/// Cases that are compared. The first one is the reference.
pub struct Group<'a> {
    name: String,
    cases: Vec<Case<'a>>,
}

/// What a group came to.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The group.
    pub group: String,
    /// Its cases, the reference first.
    pub cases: Vec<Figures>,
}

/// What a case came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// The case.
    pub name: String,
    /// Nanoseconds of one operation, median of the rounds.
    pub ns: f64,
    /// The fastest round.
    pub ns_min: f64,
    /// The slowest round.
    pub ns_max: f64,
    /// To the reference, median of the rounds.
    pub ratio: f64,
}

impl<'a> Group<'a> {
    /// A group without cases.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), cases: Vec::new() }
    }

    /// Adds a case, one operation per call.
    pub fn case(self, name: impl Into<String>, call: impl FnMut() + 'a) -> Self {
        self.batch(name, 1, call)
    }

    /// Adds a case with `operations` operations per call.
    pub fn batch(mut self, name: impl Into<String>, operations: u64, call: impl FnMut() + 'a) -> Self {
        self.cases.push(Case { name: name.into(), operations, call: Box::new(call) });
        self
    }

    /// Measures all cases in turns.
    pub fn measure(self, effort: Effort) -> Measured {
        let start = Instant::now();
        self.measure_by(effort, &|| start.elapsed())
    }

    /// The same by any clock.
    fn measure_by(mut self, effort: Effort, clock: &dyn Fn() -> Duration) -> Measured {
        let calls: Vec<u64> = self.cases.iter_mut().map(|case| calls_for(case, effort.turn, clock)).collect();
        let mut rounds = vec![Vec::with_capacity(effort.rounds); self.cases.len()];
        for _ in 0..effort.rounds {
            for ((case, calls), rounds) in self.cases.iter_mut().zip(&calls).zip(&mut rounds) {
                rounds.push(time(case, *calls, clock).as_nanos() as f64 / (calls * case.operations) as f64);
            }
        }
        let reference = rounds.first().cloned().unwrap_or_default();
        let names = self.cases.into_iter().map(|case| case.name);
        let cases = names.zip(rounds).map(|(name, rounds)| figures(name, &rounds, &reference)).collect();
        Measured { group: self.name, cases }
    }
}

fn time(case: &mut Case<'_>, calls: u64, clock: &dyn Fn() -> Duration) -> Duration {
    let start = clock();
    (0..calls).for_each(|_| (case.call)());
    clock() - start
}

/// How many calls fill a turn, found by doubling; the calls made for it are the warm-up.
fn calls_for(case: &mut Case<'_>, turn: Duration, clock: &dyn Fn() -> Duration) -> u64 {
    let mut calls = 1;
    loop {
        let took = time(case, calls, clock);
        if took * 4 >= turn {
            let per_call = (took.as_nanos() as u64 / calls).max(1);
            return (turn.as_nanos() as u64 / per_call).max(1);
        }
        calls *= 2;
    }
}

fn figures(name: String, rounds: &[f64], reference: &[f64]) -> Figures {
    let ratios = rounds.iter().zip(reference).map(|(ns, reference)| ns / reference).collect();
    Figures {
        name,
        ns: median(rounds.to_vec()),
        ns_min: rounds.iter().copied().fold(f64::INFINITY, f64::min),
        ns_max: rounds.iter().copied().fold(0.0, f64::max),
        ratio: median(ratios),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.group)?;
        for case in &self.cases {
            let Figures { name, ns, ns_min, ns_max, ratio } = case;
            writeln!(f, "  {name:<44}{ns:>12.1} ns   [{ns_min:.1} .. {ns_max:.1}]   x{ratio:.2}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const EFFORT: Effort = Effort { rounds: 3, turn: Duration::from_nanos(10_000) };

    /// A clock that only the cases move.
    #[derive(Default)]
    struct Clock(Cell<u64>);

    impl Clock {
        fn pass(&self, ns: u64) {
            self.0.set(self.0.get() + ns);
        }

        fn measure(&self, group: Group<'_>) -> Measured {
            group.measure_by(EFFORT, &|| Duration::from_nanos(self.0.get()))
        }
    }

    #[test]
    fn a_case_is_told_per_operation_and_as_a_ratio_to_the_first() {
        let clock = Clock::default();
        let group = Group::new("work").case("one", || clock.pass(50)).case("four", || clock.pass(200)).batch(
            "four as a batch",
            4,
            || clock.pass(200),
        );
        let told: Vec<_> = clock.measure(group).cases.iter().map(|case| (case.ns, case.ns_min, case.ratio)).collect();
        assert_eq!(told, [(50.0, 50.0, 1.0), (200.0, 200.0, 4.0), (50.0, 50.0, 1.0)]);
    }

    #[test]
    fn cases_take_turns_that_are_as_long_as_asked_for() {
        let clock = Clock::default();
        let calls = [Cell::new(0_u64), Cell::new(0)];
        let (last, turns) = (Cell::new(2), Cell::new(0));
        let call = |who: usize, ns: u64| {
            clock.pass(ns);
            calls[who].set(calls[who].get() + 1);
            if last.replace(who) != who {
                turns.set(turns.get() + 1);
            }
        };
        clock.measure(Group::new("turns").case("a", || call(0, 100)).case("b", || call(1, 1_000)));
        assert_eq!(turns.get(), 2 + 2 * EFFORT.rounds, "one calibration each, then in turns");
        // 10 us of turn are 100 calls of 100 ns; the calibration doubles from 1 until a quarter of a turn has passed.
        assert_eq!(calls[0].get(), 3 * 100 + (1 + 2 + 4 + 8 + 16 + 32));
        assert_eq!(calls[1].get(), 3 * 10 + (1 + 2 + 4));
    }

    #[test]
    fn medians_are_robust_and_of_even_numbers_too() {
        assert_eq!(median(vec![1.0, 100.0, 2.0]), 2.0);
        assert_eq!(median(vec![1.0, 2.0, 3.0, 100.0]), 2.5);
        let figures = figures("case".into(), &[4.0, 6.0, 80.0], &[2.0, 2.0, 20.0]);
        assert_eq!(figures, Figures { name: "case".into(), ns: 6.0, ns_min: 4.0, ns_max: 80.0, ratio: 3.0 });
    }
}
