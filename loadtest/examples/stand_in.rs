//! The stand-in server of loadtest's tests as a program that can be killed and started again: it keeps its messages in a
//! file, and over a restart it can lose, double or alter exactly one acknowledged message. `loadtest durability` must
//! find that.
//!
//!     loadtest durability --spawn --server-bin target/debug/examples/stand_in --server-arg=--fault --server-arg=lose

#[path = "../tests/stand_in/mod.rs"]
mod stand_in;

use serde_json::{Value, json};
use stand_in::{Fault, Store};
use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1).cloned()
    };
    let folder = value("--data-dir").expect("--data-dir says where the messages are kept");
    let listener = TcpListener::bind(value("--listen").expect("--listen says where")).expect("the address is free");
    let store = open(Path::new(&folder), value("--fault").as_deref());
    let (address, serving) = stand_in::serve_on(listener, store);
    println!("listening on http://{address}");
    std::io::stdout().flush().expect("somebody reads it");
    serving.join().expect("it serves until it is killed");
}

/// What the file holds; with a fault in it from the second start on.
fn open(folder: &Path, fault: Option<&str>) -> Store {
    let path = folder.join("journal.jsonl");
    // A line that was cut by the kill was never acknowledged.
    let text = fs::read_to_string(&path).unwrap_or_default();
    let mut lines: Vec<Value> = text.lines().map_while(|line| serde_json::from_str(line).ok()).collect();
    let broken = folder.join("fault");
    if let Some(fault) = fault.filter(|_| !lines.is_empty() && !broken.exists()) {
        break_one(&mut lines, fault);
        fs::write(broken, fault).expect("the folder can be written");
    }
    let mut store = Store::new(Fault::None);
    lines.iter().for_each(|line| store.replay(line));
    let mut journal = File::create(&path).expect("the folder can be written");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    journal.write_all(text.as_bytes()).expect("the folder can be written");
    store.journal = Some(journal);
    store
}

/// Messages of a session in which one is broken: those behind its middle were all that could be in flight at the kill.
const MESSAGES_MIN: usize = 12;

/// Breaks one promise about the message in the middle of the first session that is long enough.
fn break_one(lines: &mut Vec<Value>, fault: &str) {
    let of = |lines: &[Value], id: &Value| -> Vec<usize> {
        (0..lines.len()).filter(|place| lines[*place]["append"] == *id).collect()
    };
    let ids: Vec<Value> =
        lines.iter().filter(|line| line["create"].is_string()).map(|line| line["create"].clone()).collect();
    let places =
        ids.iter().map(|id| of(lines, id)).find(|places| places.len() >= MESSAGES_MIN).expect("there was load");
    let (middle, last) = (places[places.len() / 2], places[places.len() - 1]);
    match fault {
        "none" => {}
        "lose" => drop(lines.remove(middle)),
        "duplicate" => {
            let mut copy = lines[middle].clone();
            copy["message"]["seq"] = json!(lines[last]["message"]["seq"].as_u64().expect("a number") + 1);
            copy["key"] = Value::Null;
            lines.push(copy);
        }
        "alter" => {
            let text = lines[middle]["message"]["content"]["text"].as_str().expect("a text").replace('.', ":");
            lines[middle]["message"]["content"]["text"] = json!(text);
        }
        unknown => panic!("no fault is called {unknown}"),
    }
}
