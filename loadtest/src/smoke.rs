//! Each scenario for a moment, in its variants: whether everything works, not how fast.

use crate::options::{By, Durability, Fanout, HotPath, Mix, Replay, Rest, Scenario, Sessions, Soak};
use crate::run::Plan;

/// Seconds of each.
const DURATION_S: f64 = 0.5;
/// Seconds before them.
const WARMUP_S: f64 = 0.1;

/// The runs of a smoke test; those that stop the server only when it is our `own`.
pub fn plans(own: bool) -> Vec<Plan> {
    let hot_path = HotPath { connections: 4, depth: 5, size: 256, rate: None };
    let rest = Rest { connections: 4, size: 1024, mix: Mix::Mixed, limit: 50, rate: None };
    let replay = Replay { sessions: 2, messages: 1_500, size: 256, readers: 3, page: 400, by: By::Get, cold: false };
    let fanout = Fanout { subscribers: 20, sessions: 3, size: 200, rate: 300.0, window: None, webhook: false };
    let mut list = vec![
        ("hot-path", Scenario::HotPath(hot_path.clone())),
        ("hot-path, open loop", Scenario::HotPath(HotPath { rate: Some(500.0), ..hot_path })),
        ("rest", Scenario::Rest(rest.clone())),
        ("rest, open loop", Scenario::Rest(Rest { rate: Some(200.0), ..rest })),
        ("replay by GET", Scenario::Replay(replay.clone())),
        ("replay by join", Scenario::Replay(Replay { by: By::Join, ..replay.clone() })),
        ("fanout", Scenario::Fanout(fanout.clone())),
        ("fanout, closed loop", Scenario::Fanout(Fanout { window: Some(8), ..fanout.clone() })),
        ("fanout, webhook", Scenario::Fanout(Fanout { webhook: true, ..fanout })),
        ("sessions", Scenario::Sessions(Sessions { count: 500, connections: 2, pipeline: 8, sockets: 10 })),
        ("soak", Scenario::Soak(soak())),
    ];
    if own {
        list.push(("replay by GET, cold", Scenario::Replay(Replay { cold: true, ..replay.clone() })));
        list.push(("replay by join, cold", Scenario::Replay(Replay { by: By::Join, cold: true, ..replay })));
        list.push(("durability", Scenario::Durability(durability())));
    }
    let plan = |(name, scenario)| Plan { name, scenario, duration_s: DURATION_S, warmup_s: WARMUP_S };
    list.into_iter().map(plan).collect()
}

fn soak() -> Soak {
    Soak {
        rate: 500.0,
        sockets: 4,
        rest: 2,
        subscribers: 10,
        replayers: 1,
        churners: 1,
        size: 256,
        interval: 10.0,
        rss_growth_max: None,
    }
}

fn durability() -> Durability {
    Durability { cycles: 2, kill_within: 0.3, seed: Some(1), sockets: 3, depth: 5, rest: 3, size: 256 }
}
