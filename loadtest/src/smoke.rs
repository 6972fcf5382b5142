//! Each scenario for a moment, in its variants: whether everything works, not how fast.

use crate::options::{By, Common, Fanout, HotPath, Mix, Replay, Rest, Scenario, Sessions};

/// Seconds of each.
const DURATION: f64 = 0.5;

/// The scenarios of a smoke run with the options they share.
pub fn scenarios(common: &Common) -> (Vec<(&'static str, Scenario)>, Common) {
    let hot_path = HotPath { connections: 4, depth: 5, size: 256, rate: None };
    let rest = Rest { connections: 4, size: 1024, mix: Mix::Mixed, limit: 50, rate: None };
    let replay = Replay { sessions: 2, messages: 1_500, size: 256, readers: 3, page: 400, by: By::Get };
    let fanout = Fanout { subscribers: 20, sessions: 3, size: 200, rate: 300.0, window: None, webhook: false };
    let list = vec![
        ("hot-path", Scenario::HotPath(hot_path.clone())),
        ("hot-path, open loop", Scenario::HotPath(HotPath { rate: Some(500.0), ..hot_path })),
        ("rest", Scenario::Rest(rest.clone())),
        ("rest, open loop", Scenario::Rest(Rest { rate: Some(200.0), ..rest })),
        ("replay by GET", Scenario::Replay(replay.clone())),
        ("replay by join", Scenario::Replay(Replay { by: By::Join, ..replay })),
        ("fanout", Scenario::Fanout(fanout.clone())),
        ("fanout, closed loop", Scenario::Fanout(Fanout { window: Some(8), ..fanout.clone() })),
        ("fanout, webhook", Scenario::Fanout(Fanout { webhook: true, ..fanout })),
        ("sessions", Scenario::Sessions(Sessions { count: 500, connections: 2, pipeline: 8, sockets: 10 })),
    ];
    (list, Common { duration: DURATION, warmup: 0.1, ..common.clone() })
}
