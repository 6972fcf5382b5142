//! The `fleetlm` binary.
fn main() {}
