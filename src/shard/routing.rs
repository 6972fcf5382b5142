//! Which shard owns what: a stable hash into virtual slots, slots in equal runs to shards.

use crate::session::SessionId;
use xxhash_rust::xxh3::xxh3_64;

/// Virtual slots. Part of the design: another number of shards moves whole slots.
pub const SLOTS: u64 = 4096;

/// One of the server's shards, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// The shard whose directory holds the agents: few, listed whole, renamed, unique. See docs/decisions.
pub const DIRECTORY_SHARD: ShardId = ShardId(0);

/// The owner of `session` among `shards` (at least 1). All generations of a main session have one owner.
pub fn owner_of_session(session: SessionId, shards: u16) -> ShardId {
    assert!(shards > 0, "a server has at least one shard");
    let slot = xxh3_64(&session.base().to_u128().to_be_bytes()) % SLOTS;
    ShardId((slot * u64::from(shards) / SLOTS) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placement_is_stable_and_balanced() {
        let fixed = SessionId::from_parts(1_700_000_000_000, 7);
        assert_eq!(owner_of_session(fixed, 16), owner_of_session(fixed, 16));
        let mut counts = [0u32; 16];
        for random in 0..16_000u128 {
            counts[usize::from(owner_of_session(SessionId::from_parts(1, random * 77_777), 16).0)] += 1;
        }
        assert!(counts.iter().all(|&count| (700..1300).contains(&count)), "{counts:?}");
    }
}
