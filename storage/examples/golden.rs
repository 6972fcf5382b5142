//! Writes a golden folder of the present format: `cargo run -p fleetlm-storage --example golden -- DIR`.
//!
//! Only for a new version of the format: what was written once is never written again.

#[path = "../tests/support/mod.rs"]
mod support;

use storage::Medium;

fn main() -> std::io::Result<()> {
    let Some(dir) = std::env::args_os().nth(1) else {
        eprintln!("usage: golden DIR");
        std::process::exit(2);
    };
    std::fs::create_dir_all(&dir)?;
    let medium = support::golden_v1();
    for entry in medium.list()? {
        std::fs::write(std::path::Path::new(&dir).join(&entry.name), medium.read(&entry.name)?)?;
        println!("{} {} bytes", entry.name, entry.bytes);
    }
    Ok(())
}
