//! Dependency policy: what the lock file and the resolved tree may hold.

use std::process::Command;

/// Crates that must not be there, with the start of the versions meant: a second TLS stack, an old generation of random numbers.
const BANNED: [(&str, &str); 5] = [("openssl", ""), ("openssl-sys", ""), ("native-tls", ""), ("rand", "0.7."), ("rand", "0.8.")];

const LICENCES: [&str; 14] = [
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "0BSD",
];

/// Packages of a lock file as (line, name, version).
fn locked(lock: &str) -> Vec<(usize, &str, &str)> {
    let lines: Vec<_> = lock.lines().collect();
    let pairs = lines.windows(2).enumerate();
    pairs.filter_map(|(at, pair)| Some((at + 1, quoted(pair[0], "name = ")?, quoted(pair[1], "version = ")?))).collect()
}

fn quoted<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.strip_prefix(key)?.strip_prefix('"')?.strip_suffix('"')
}

fn parts(version: &str) -> Vec<u64> {
    let numbers = version.split(['-', '+']).next().unwrap_or_default();
    numbers.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// Packages of the lock file that have a version they must not have, and required ones that are missing.
pub(crate) fn wrong_versions(lock: &str) -> Vec<String> {
    type Rule = (&'static str, &'static str, fn(&[u64]) -> bool);
    let rules: [Rule; 4] = [
        ("quinn-proto", "0.11.19 or later (earlier ones panic on one packet)", |found| found >= [0, 11, 19].as_slice()),
        ("hpke", "exactly 0.15.1", |found| found == [0, 15, 1]),
        ("rocksdb", "0.25", |found| found.starts_with(&[0, 25])),
        ("rustls", "0.23", |found| found.starts_with(&[0, 23])),
    ];
    let packages = locked(lock);
    let mut wrong = Vec::new();
    for (name, wanted, holds) in rules {
        let found: Vec<_> = packages.iter().filter(|package| package.1 == name).collect();
        if found.is_empty() {
            wrong.push(format!("Cargo.lock:1: {name} is missing; it must be {wanted}"));
        }
        for (line, _, version) in found.into_iter().filter(|(_, _, version)| !holds(&parts(version))) {
            wrong.push(format!("Cargo.lock:{line}: {name} {version} must be {wanted}"));
        }
    }
    wrong
}

/// Packages of the lock file that must not be there on any platform.
pub(crate) fn banned(lock: &str) -> Vec<String> {
    let is_banned = |name: &str, version: &str| BANNED.iter().any(|(bad, start)| *bad == name && version.starts_with(start));
    let packages = locked(lock);
    assert!(packages.len() > 100, "the lock file was not understood");
    let found = packages.iter().filter(|(_, name, version)| is_banned(name, version));
    found.map(|(line, name, version)| format!("Cargo.lock:{line}: {name} {version} is banned")).collect()
}

/// What is compiled into the program on Linux, one `name vN path|licence` per line; `None`, with the reason printed, where cargo cannot say.
pub(crate) fn resolved_tree() -> Option<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let arguments = "tree --offline --locked --workspace -e normal --target x86_64-unknown-linux-gnu --prefix none --format {p}|{l}";
    let output = match Command::new(cargo).args(arguments.split(' ')).output() {
        Ok(output) => output,
        Err(error) => {
            println!("skipped: cargo cannot be run: {error}");
            return None;
        }
    };
    if !output.status.success() {
        println!("skipped: cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Crates of the resolved tree that would be a second crypto provider.
pub(crate) fn second_providers(tree: &str) -> Vec<String> {
    tree.lines().filter(|line| line.starts_with("ring v")).map(|line| format!("Cargo.lock:1: {line} is in the resolved tree")).collect()
}

/// Crates of the resolved tree whose licence is not on the list.
pub(crate) fn foreign_licences(tree: &str) -> Vec<String> {
    let lines = tree.lines().map(|line| line.trim_end_matches(" (*)")).filter(|line| line.contains('|'));
    let mut foreign: Vec<_> = lines
        .filter(|line| !line.split_once('|').is_some_and(|(_, licence)| allowed(licence)))
        .map(|line| format!("Cargo.lock:1: the licence of {line} is not on the list"))
        .collect();
    foreign.sort();
    foreign.dedup();
    foreign
}

/// Whether an SPDX expression can be met with listed licences. `AND` binds closer than `OR`; `/` is an old form of `OR`.
fn allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<_> = expression.split_whitespace().collect();
    let (holds, rest) = any_of(&words);
    holds && rest.is_empty()
}

fn any_of<'a, 'b>(words: &'a [&'b str]) -> (bool, &'a [&'b str]) {
    let (mut holds, mut rest) = all_of(words);
    while rest.first() == Some(&"OR") {
        let (next, after) = all_of(&rest[1..]);
        (holds, rest) = (holds | next, after);
    }
    (holds, rest)
}

fn all_of<'a, 'b>(words: &'a [&'b str]) -> (bool, &'a [&'b str]) {
    let (mut holds, mut rest) = one(words);
    while rest.first() == Some(&"AND") {
        let (next, after) = one(&rest[1..]);
        (holds, rest) = (holds & next, after);
    }
    (holds, rest)
}

fn one<'a, 'b>(words: &'a [&'b str]) -> (bool, &'a [&'b str]) {
    match words {
        ["(", inside @ ..] => {
            let (holds, rest) = any_of(inside);
            (holds && rest.first() == Some(&")"), rest.get(1..).unwrap_or_default())
        }
        [name, "WITH", exception, rest @ ..] => (LICENCES.contains(&format!("{name} WITH {exception}").as_str()), rest),
        [name, rest @ ..] => (LICENCES.contains(name), rest),
        [] => (false, words),
    }
}

#[test]
fn a_licence_is_allowed_if_some_choice_is_on_the_list_and_all_demands_are() {
    let told = ["MIT OR GPL-3.0", "(MIT OR Apache-2.0) AND Unicode-3.0", "MIT/Apache-2.0", "MIT AND GPL-3.0", "GPL-3.0", ""].map(allowed);
    assert_eq!(told, [true, true, true, false, false, false]);
}

#[test]
fn a_second_provider_and_a_foreign_licence_are_named() {
    let tree = "ring v0.17.14|Apache-2.0 AND ISC\nx v1.0.0|GPL-3.0-only\nx v1.0.0|GPL-3.0-only (*)\ny v1.0.0|MIT\n";
    assert_eq!(second_providers(tree).len(), 1);
    assert_eq!(foreign_licences(tree), ["Cargo.lock:1: the licence of x v1.0.0|GPL-3.0-only is not on the list"]);
}

#[test]
fn an_old_transport_and_a_missing_crate_are_named() {
    let lock =
        "name = \"quinn-proto\"\nversion = \"0.11.18\"\nname = \"hpke\"\nversion = \"0.15.1\"\nname = \"rustls\"\nversion = \"0.23.1\"\n";
    let wrong = wrong_versions(lock);
    assert_eq!(wrong.len(), 2, "{wrong:?}");
}
