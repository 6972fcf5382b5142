//! API keys on the directory's shard: durable before they are told, there again after a restart, nobody's to ask for but the server's.

use super::*;
use crate::session::{KeyId, KeyPut, KeyScope, SecretHash};

fn key(number: u128) -> KeyPut {
    KeyPut {
        id: KeyId::from(number),
        hash: SecretHash([7; 32]),
        name: "shop".into(),
        namespace: "acme".into(),
        user: "robot".into(),
        scope: KeyScope::All,
        is_admin: false,
        created_at_us: 5,
        revoked_at_us: None,
    }
}

fn create(number: u128) -> Command {
    Command::Keys(KeyCommand::Create(Box::new(key(number))))
}

fn known(bench: &Bench, number: u128) -> Option<bool> {
    bench.shard.keyring().key(KeyId::from(number)).map(|key| key.revoked_at_us.is_some())
}

#[test]
fn a_key_is_told_when_it_is_durable_and_is_there_after_a_restart() {
    let mut bench = Bench::new();
    bench.hold_syncs = true;
    let token = bench.send(create(1));
    assert_eq!((bench.answer(token), known(&bench, 1)), (None, None));
    bench.release_syncs();
    assert_eq!(bench.answer(token), Some(Ok(Reply::Key(Box::new(key(1))))));
    assert_eq!(known(&bench, 1), Some(false));
    bench.hold_syncs = false;
    let revoke = |number| Command::Keys(KeyCommand::Revoke { id: KeyId::from(number) });
    bench.call(create(2)).unwrap();
    bench.call(revoke(2)).unwrap();
    assert_eq!(bench.call(revoke(3)), Err(Refusal::KeyNotFound));
    bench.shard = open(&bench.disk, &bench.options);
    assert_eq!((known(&bench, 1), known(&bench, 2), known(&bench, 3)), (Some(false), Some(true), None));
}

#[test]
fn nobody_with_an_access_of_his_own_asks_for_keys() {
    let mut bench = Bench::new();
    assert_eq!(bench.call(Command::Keys(KeyCommand::List)), Ok(Reply::Keys(Vec::new())));
    let access = Access { namespace: crate::session::Namespace::parse("acme").unwrap(), ..Access::default() };
    for access in [access, Access { reads_only: true, ..Access::default() }] {
        let from = Caller { shard: HERE, token: 77 };
        let command = Command::Keys(KeyCommand::List);
        let mut out = Vec::new();
        bench.shard.step(bench.now(), Input::Call { from, access: Some(Box::new(access)), command }, &mut out);
        assert!(matches!(out[..], [Output::Reply { reply: Err(Refusal::Forbidden), .. }, ..]));
    }
}
