//! Files that sessions claim: who may, what a restart knows of them, what a message may name.

use super::runs::NOW;
use super::*;
use crate::limits::BLOBS_MAX;
use crate::session::{BlobClaimed, BlobReleased};

fn claimed(hash: u8, name: &str) -> BlobClaimed {
    BlobClaimed { hash: [hash; 32], bytes: 7, name: name.into(), mime: "image/png".into() }
}

impl Bench {
    fn blob(&mut self, n: u64, command: BlobCommand) -> Result<Reply, Refusal> {
        self.call(Command::Blob { session: id(n), command })
    }

    fn claim(&mut self, hash: u8, name: &str) -> Result<Reply, Refusal> {
        self.blob(1, BlobCommand::Claim(Box::new(claimed(hash, name))))
    }

    fn release(&mut self, hash: u8, name: &str) -> Result<Reply, Refusal> {
        self.blob(1, BlobCommand::Release(BlobReleased { hash: [hash; 32], name: name.into() }))
    }

    fn find(&mut self, hash: u8, name: &str) -> Result<Reply, Refusal> {
        self.blob(1, BlobCommand::Find { hash: [hash; 32], name: name.into() })
    }

    fn claims(&mut self) -> Vec<u8> {
        let Ok(Reply::Claims(hashes)) = self.call(Command::ListClaims) else { panic!("claims") };
        let mut firsts: Vec<u8> = hashes.iter().map(|hash| hash[0]).collect();
        firsts.sort_unstable();
        firsts
    }
}

#[test]
fn what_is_claimed_and_given_up_is_known_after_every_restart() {
    let mut bench = Bench::with_agent(NOW);
    for (hash, name) in [(1, "a"), (1, "b"), (2, "a"), (3, "c"), (1, "a")] {
        assert_eq!(bench.claim(hash, name), Ok(Reply::Done));
    }
    assert_eq!(bench.release(3, "c"), Ok(Reply::Done));
    assert_eq!(bench.release(3, "c"), Err(Refusal::BlobNotFound));
    for restart in 0..4 {
        assert_eq!(bench.find(1, "b"), Ok(Reply::Blob(Box::new(claimed(1, "b")))), "restart {restart}");
        assert_eq!(bench.find(1, "c"), Err(Refusal::BlobNotFound));
        assert_eq!(bench.claims(), [1, 1, 2]);
        match restart {
            0 => bench.kill(),
            1 => bench.cut_power(),
            _ => {
                bench.snapshot_now();
                bench.kill();
            }
        }
    }
    bench.call(Command::DeleteSession { id: id(1) }).unwrap();
    assert!(bench.claims().is_empty());
    bench.kill();
    assert!(bench.claims().is_empty());
}

#[test]
fn a_session_that_gave_all_up_is_snapshotted_as_one_that_never_had_any() {
    let mut bench = Bench::with_agent(NOW);
    let slot = bench.shard.log.slot(storage::Key(id(1).to_u128())).unwrap();
    let snapshot = |bench: &Bench| {
        let mut bytes = Vec::new();
        fold::encode_session(&bench.shard.catalog, None, slot, &mut bytes);
        bytes
    };
    let before = snapshot(&bench);
    bench.claim(1, "a").unwrap();
    assert_ne!(snapshot(&bench), before);
    bench.release(1, "a").unwrap();
    assert_eq!(snapshot(&bench), before);
}

#[test]
fn only_an_active_session_claims_and_not_without_end() {
    let mut bench = Bench::with_agent(NOW);
    for n in 0..BLOBS_MAX {
        assert_eq!(bench.claim(0, &n.to_string()), Ok(Reply::Done));
    }
    assert!(matches!(bench.claim(0, "more"), Err(Refusal::Full { max: BLOBS_MAX, .. })));
    assert_eq!(bench.release(0, "0"), Ok(Reply::Done));
    assert_eq!(bench.claim(0, "more"), Ok(Reply::Done));
    bench.call(Command::ArchiveSession { id: id(1) }).unwrap();
    assert_eq!(bench.release(0, "1"), Ok(Reply::Done));
    assert_eq!(bench.claim(0, "1"), Err(Refusal::SessionInactive));
    assert!(bench.find(0, "2").is_ok(), "what is claimed is still read");
    assert_eq!(bench.blob(9, BlobCommand::Claim(Box::new(claimed(1, "a")))), Err(Refusal::SessionNotFound));
    assert_eq!(bench.blob(9, BlobCommand::Check), Err(Refusal::SessionNotFound));
}

#[test]
fn a_message_names_only_files_that_its_session_claims() {
    let mut bench = Bench::with_agent(NOW);
    bench.claim(1, "a").unwrap();
    let naming = |hash: u8| {
        let terms = Terms { claims: vec![[1; 32], [hash; 32]], ..Terms::default() };
        Command::Append(Box::new(Append { terms: Some(Box::new(terms)), ..message(1, "alice", "hi") }))
    };
    assert!(bench.call(naming(1)).is_ok());
    assert_eq!(bench.call(naming(2)), Err(Refusal::BlobNotFound));
}

#[test]
fn a_log_that_takes_nothing_more_does_not_say_what_is_claimed() {
    let mut bench = Bench::with_agent(NOW);
    bench.claim(1, "a").unwrap();
    bench.hold_syncs = true;
    bench.send(Command::Blob { session: id(1), command: BlobCommand::Claim(Box::new(claimed(2, "a"))) });
    bench.fail_sync();
    assert_eq!(bench.call(Command::ListClaims), Err(Refusal::LogPoisoned));
}
