//! The keys of whoever signs tokens, fetched by one shard for all: at the start, every [`JWKS_FRESH_S`] seconds, and sooner when a token names
//! a key that is not known, which is how a change of keys shows.
//!
//! Invariants: a stranger's tokens cause no more than one request in [`JWKS_PAUSE_S`] seconds; what cannot be fetched or used changes
//! nothing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use glommio::timer::sleep;

use super::outbound::{Call, CallError, Stop};
use super::world::World;
use crate::api::auth::KeySet;
use crate::api::auth::jwks::KeySetError;
use crate::limits::{JWKS_BYTES_MAX, JWKS_FETCH_S, JWKS_FRESH_S, JWKS_PAUSE_S};

/// Why there is no new set.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Call(#[from] CallError),
    #[error("the answer has status {0}")]
    Status(u16),
    #[error("{0}")]
    Keys(#[from] KeySetError),
}

/// Fetches for as long as the server runs.
pub(super) async fn keep_fresh(world: Rc<World>) {
    let Some(url) = world.auth.jwks_url().map(str::to_owned) else { return };
    while !world.state.is_draining() {
        match fetch(&world, &url).await {
            Ok(keys) => {
                let count = keys.len();
                world.auth.take_keys(keys);
                tracing::info!(count, "the keys of tokens were fetched");
            }
            Err(error) => tracing::warn!(%error, "the keys of tokens cannot be fetched, the last ones stay"),
        }
        let mut waited_s = 0;
        while waited_s < JWKS_FRESH_S && !(waited_s >= JWKS_PAUSE_S && world.auth.take_missed_key()) {
            sleep(Duration::from_secs(1)).await;
            waited_s += 1;
        }
    }
}

async fn fetch(world: &World, url: &str) -> Result<KeySet, FetchError> {
    let call = Call {
        url: url.to_owned(),
        headers: vec![("accept".to_owned(), "application/json".to_owned())],
        body: Vec::new(),
        gap_timeout: Duration::from_secs(JWKS_FETCH_S),
        total_timeout: Duration::from_secs(JWKS_FETCH_S),
        response_bytes_max: JWKS_BYTES_MAX as u64,
    };
    let (status, json) = (Cell::new(0), RefCell::new(Vec::new()));
    let on_head = |head: &super::outbound::Head| {
        status.set(head.status);
        head.status == 200
    };
    let on_body = |piece: &[u8]| json.borrow_mut().extend_from_slice(piece);
    world.outbound.get(call, &Stop::default(), on_head, on_body).await?;
    if status.get() != 200 {
        return Err(FetchError::Status(status.get()));
    }
    Ok(KeySet::parse(&json.into_inner())?)
}
