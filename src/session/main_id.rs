//! Ids of main sessions: the one conversation that a user and an agent have when nobody names one.
//!
//! Such an id follows from namespace, user and agent, so that whoever writes first needs neither to look it up nor to race anybody
//! for making it. Deleting a session ends its id for good, so an id holds a generation too: the next message to a main session that
//! was deleted begins the next generation (docs/decisions/0013).
//!
//! Layout, most significant first: 8 bits of ones, which no id made of the time has before the year 10,854; 16 bits of generation;
//! 104 bits of SHA-256 over the three names. People choose their ids, and a collision would be access to somebody else's session:
//! hence a hash nobody can steer. The shard checks the parties besides.

use super::SessionId;
use sha2::{Digest, Sha256};

const MARK: u128 = 0xFF << 120;
const GENERATION_SHIFT: u32 = 104;
const GENERATION_MASK: u128 = 0xFFFF << GENERATION_SHIFT;
const HASH_MASK: u128 = (1 << GENERATION_SHIFT) - 1;

/// The first generation of the main session of `user_id` and `agent_id`; `namespace` as it is stored.
pub fn main_id(namespace: &str, user_id: &str, agent_id: &str) -> SessionId {
    let mut hash = Sha256::new_with_prefix("fleetlm main 1\0");
    for name in [namespace, user_id, agent_id] {
        hash.update((name.len() as u32).to_be_bytes()); // so that no two triples are one text
        hash.update(name);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let (first, _) = digest.split_first_chunk::<16>().expect("a digest has 32 bytes");
    SessionId::from(MARK | u128::from_be_bytes(*first) & HASH_MASK)
}

impl SessionId {
    /// Whether it is a main session's.
    pub fn is_main(self) -> bool {
        self.to_u128() & MARK == MARK
    }

    /// The first generation of a main session's id; any other id itself. What belongs together stands under this.
    #[must_use]
    pub fn base(self) -> Self {
        if self.is_main() { Self::from(self.to_u128() & !GENERATION_MASK) } else { self }
    }

    /// When it was made, microseconds since 1970, as its id tells to the millisecond; 0 of a main session, whose id tells nothing of it.
    pub fn created_us(self) -> u64 {
        if self.is_main() { 0 } else { self.0.timestamp_ms() * 1000 }
    }

    /// Which generation of a main session's id it is, from 0.
    pub fn generation(self) -> u16 {
        if self.is_main() { (self.to_u128() >> GENERATION_SHIFT) as u16 } else { 0 }
    }

    /// A generation of a main session's id.
    #[must_use]
    pub fn at_generation(self, generation: u16) -> Self {
        debug_assert!(self.is_main(), "only main sessions have generations");
        Self::from(self.base().to_u128() | u128::from(generation) << GENERATION_SHIFT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_fixed_for_ever_and_begins_with_7z() {
        assert!(main_id("", "alice", "bot").to_string().starts_with("7Z"));
        assert_eq!(main_id("", "alice", "bot").to_u128(), MAIN_OF_ALICE_AND_BOT, "placement and data rest on it");
    }

    /// Computed elsewhere.
    const MAIN_OF_ALICE_AND_BOT: u128 = 0xff00_00aa_ed01_f193_3e6a_2d55_dfde_f843;

    #[test]
    fn names_that_run_together_have_different_ids() {
        let ids = [("", "ab", "c"), ("", "a", "bc"), ("a", "b", "c"), ("", "c", "ab"), ("ab", "", "c")];
        let ids = ids.map(|(namespace, user, agent)| main_id(namespace, user, agent));
        for (n, id) in ids.iter().enumerate() {
            assert!(!ids[..n].contains(id));
        }
    }

    #[test]
    fn a_generation_goes_in_and_comes_out() {
        let id = main_id("acme", "alice", "bot");
        for generation in [0, 1, u16::MAX] {
            let later = id.at_generation(generation);
            assert_eq!((later.generation(), later.base(), later.is_main()), (generation, id, true));
        }
    }

    #[test]
    fn an_id_made_of_the_time_is_none() {
        let id = SessionId::from_parts(1_800_000_000_000, u128::MAX >> 48);
        assert_eq!((id.is_main(), id.base(), id.generation()), (false, id, 0));
    }
}
