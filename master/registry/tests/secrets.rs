//! Secrets in the registry: versions, the nearest role, limits, and what is told of them.

use master_registry::{Effect, Registry, SECRET_BYTES_ALL_MAX, SECRETS_MAX};
use proto::id::{FileName, SecretName};
use proto::log::{Entry, RegistryImage, SecretRemoved, SecretSet};
use proto::role::Role;
use proto::secret::SecretFile;
use proto::wire::Wire;

fn role(path: &str) -> Role {
    Role::new(path).unwrap()
}

fn name(text: &str) -> SecretName {
    SecretName::new(text).unwrap()
}

fn set(path: &str, secret: &str, ciphertext: &[u8]) -> Entry {
    Entry::SecretSet(SecretSet {
        role: role(path),
        name: name(secret),
        nonce: vec![7; 12],
        ciphertext: ciphertext.to_vec(),
        size_bytes: ciphertext.len() as u64,
        by: "user/ada".into(),
    })
}

fn remove(path: &str, secret: &str) -> Entry {
    Entry::SecretRemoved(SecretRemoved { role: role(path), name: name(secret), by: "user/ada".into() })
}

fn applied(registry: &mut Registry, index: u64, entry: Entry) -> Effect {
    registry.apply(index, index * 10, &mut 0, entry)
}

#[test]
fn a_version_grows_with_each_time_it_is_set_and_a_removed_one_begins_anew() {
    let mut registry = Registry::default();
    let version = |registry: &Registry| {
        registry.secret_for(&role("eng"), &name("db")).map(|record| (record.version, record.changed_ms))
    };
    for (index, entry, known) in [
        (1, set("eng", "db", b"one"), Some((1, 10))),
        (2, set("eng", "db", b"two"), Some((2, 20))),
        (3, remove("eng", "db"), None),
        (4, set("eng", "db", b"three"), Some((1, 40))),
    ] {
        assert_eq!(applied(&mut registry, index, entry), Effect::Done);
        assert_eq!(version(&registry), known);
    }
    assert_eq!(applied(&mut registry, 5, remove("eng", "other")), Effect::Nothing);
    let told: Vec<String> = registry
        .history_after(0)
        .map(|event| format!("{} {}: {}", event.kind, event.subject, event.message))
        .collect();
    assert_eq!(
        told,
        [
            "secret-set db: in eng, version 1, by user/ada",
            "secret-set db: in eng, version 2, by user/ada",
            "secret-removed db: in eng, version 2, by user/ada",
            "secret-set db: in eng, version 1, by user/ada",
        ]
    );
    assert_eq!(Registry::from_image(&registry.to_image()).unwrap(), registry, "a snapshot has it all");
}

#[test]
fn only_a_snapshot_with_secrets_asks_for_a_master_that_knows_them() {
    let mut registry = Registry::default();
    let format = |registry: &Registry| RegistryImage::decode(&registry.to_image()).unwrap().format;
    assert_eq!(format(&registry), 2);
    applied(&mut registry, 1, set("eng", "db", b"one"));
    assert_eq!(format(&registry), 3);
    applied(&mut registry, 2, remove("eng", "db"));
    assert_eq!(format(&registry), 2);
}

#[test]
fn the_nearest_role_has_the_word_and_roles_below_and_beside_have_none() {
    let mut registry = Registry::default();
    for (index, entry) in (1..).zip([
        set("eng", "db", b"above"),
        set("eng/web", "db", b"own"),
        set("eng/web/x", "key", b"below"),
    ]) {
        applied(&mut registry, index, entry);
    }
    let found = |path: &str, secret: &str| {
        registry.secret_for(&role(path), &name(secret)).map(|record| record.ciphertext.clone())
    };
    assert_eq!(found("eng/web/x", "db"), Some(b"own".to_vec()));
    assert_eq!(found("eng/ops", "db"), Some(b"above".to_vec()));
    assert_eq!(found("eng/web", "key"), None);
    assert_eq!(found("engine", "db"), None);
    assert_eq!(found("default", "db"), None);
    let files = [
        SecretFile::named(name("db")),
        SecretFile { name: name("key"), file: Some(FileName::new("id_rsa").unwrap()) },
    ];
    assert_eq!(registry.unknown_secrets(&role("eng/web"), &files), [&name("key")]);
}

#[test]
fn there_are_only_so_many_and_only_so_much() {
    let mut registry = Registry::default();
    for number in 0..SECRETS_MAX {
        let entry = set("eng", &format!("s{number}"), b"x");
        assert_eq!(applied(&mut registry, 1, entry), Effect::Done);
    }
    assert_eq!(applied(&mut registry, 2, set("eng", "more", b"x")), Effect::Nothing);
    assert_eq!(applied(&mut registry, 3, set("eng", "s0", b"yy")), Effect::Done, "no new one");
    let left = SECRET_BYTES_ALL_MAX - SECRETS_MAX - 1;
    let key = (role("eng"), name("s1"));
    assert!(registry.room_for_secret(&key, left + 1).is_ok());
    let why = registry.room_for_secret(&key, left + 2).unwrap_err();
    assert!(why.contains("4 MiB"), "{why}");
    let all = vec![0; left + 2];
    assert_eq!(applied(&mut registry, 4, set("eng", "s1", &all)), Effect::Nothing);
    assert_eq!(applied(&mut registry, 5, set("eng", "s1", &all[1..])), Effect::Done);
}
