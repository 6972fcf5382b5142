//! The command line of the fuzzer. The library says what it does.

use anyhow::{Context, bail};
use fuzz::{Budget, TARGETS, Target, run};
use std::cell::RefCell;
use std::time::Duration;

const USAGE: &str = "usage: cargo run --release -p fuzz -- TARGET [--seconds N] [--seed S] [--input HEX]";

thread_local! {
    /// The input that runs now, for the panic hook: panics abort, so nothing runs after it.
    static INPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let target = target(arguments.next().as_deref())?;
    let (mut seconds, mut seed) = (10, 1);
    while let Some(option) = arguments.next() {
        let value = arguments.next().context(USAGE)?;
        match option.as_str() {
            "--seconds" => seconds = value.parse().context("--seconds takes a number")?,
            "--seed" => seed = value.parse().context("--seed takes a number")?,
            "--input" => return run_one(target, &value),
            _ => bail!("unknown option {option}\n{USAGE}"),
        }
    }
    name_input_on_panic(target.name, format!("found by --seed {seed}"));
    let inputs = run(target, seed, Budget::Time(Duration::from_secs(seconds)), remember);
    println!("{}: {inputs} inputs in {seconds} s with seed {seed}, no failure", target.name);
    Ok(())
}

fn target(name: Option<&str>) -> anyhow::Result<&'static Target> {
    let names = TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
    TARGETS.iter().find(|target| Some(target.name) == name).with_context(|| format!("{USAGE}\ntargets: {names}"))
}

fn run_one(target: &Target, hex: &str) -> anyhow::Result<()> {
    let digits = hex.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let input: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    let input = input.filter(|_| digits.len().is_multiple_of(2)).context("--input takes hex")?;
    name_input_on_panic(target.name, "given by --input".to_owned());
    remember(&input);
    (target.run)(&input);
    println!("{}: no failure", target.name);
    Ok(())
}

fn remember(input: &[u8]) {
    INPUT.with_borrow_mut(|kept| input.clone_into(kept));
}

fn name_input_on_panic(target: &'static str, origin: String) {
    let print_message = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print_message(panic);
        let hex: String = INPUT.with_borrow(|input| input.iter().map(|byte| format!("{byte:02x}")).collect());
        eprintln!("{target} failed on an input {origin}; run it again:");
        eprintln!("cargo run --release -p fuzz -- {target} --input {hex}");
    }));
}
