//! Values in storage: alice imports folders, x and y fetch them and end with the same bytes on their own disks.

use std::time::Instant;

use serde_json::Value;

use super::children::{Running, Stage, argument, failed};
use super::secrecy::Pieces;
use super::sources::{self, SourceFile};
use super::story::{check, next_event};
use super::teller::{Step, Teller};
use crate::failure::Failure;

/// Where the imported records are.
const PREFIX: &str = "/sources";

/// Alice imports; x, which listens, fetches at once, y when it comes back. Gives what was imported.
pub(super) fn play(stage: &Stage, teller: &Teller, x: &Running) -> Result<Vec<SourceFile>, Failure> {
    let files = import(stage, teller)?;
    x_fetches(teller, x, &files)?;
    y_fetches(stage, teller)?;
    for reader in ["x", "y"] {
        exports(stage, teller, reader, &files)?;
    }
    Ok(files)
}

fn import(stage: &Stage, teller: &Teller) -> Result<Vec<SourceFile>, Failure> {
    let folder = stage.path("alice-sources");
    let files = sources::copy_to(&folder).map_err(|error| failed("alice", &error))?;
    let began = Instant::now();
    let printed = stage.run("alice", &["import", argument(&folder)?, PREFIX])?;
    let took = began.elapsed();
    let receipted = printed.out.lines().filter(|line| line.contains(r#""result":"receipted""#)).count();
    check(receipted == files.len(), "alice", "not every imported file has a receipt")?;
    let bytes = files.iter().map(|(_, content)| content.len() as u64).sum();
    let what = "imported the source folders here; the values are sealed in her storage, the broker has only their mutations".to_owned();
    teller.figures(&Step { who: "alice", what, took, entries: Some(files.len() as u64), bytes: Some(bytes) })?;
    Ok(files)
}

/// Every file is printed as fetched, once.
fn x_fetches(teller: &Teller, x: &Running, files: &[SourceFile]) -> Result<(), Failure> {
    let began = Instant::now();
    let mut missing: std::collections::BTreeSet<_> = files.iter().map(|(name, _)| format!("{PREFIX}/{name}")).collect();
    while !missing.is_empty() {
        let change = next_event(x, "change")?;
        let path = change["path"].as_str().unwrap_or_default();
        check(change["fetched"] == true, "x", "it printed a change whose value it does not have")?;
        check(missing.remove(path), "x", "it printed a change twice, or one that was not made")?;
    }
    let what = "heard of each of them and fetched its value from alice's storage".to_owned();
    teller.figures(&Step { who: "x", what, took: began.elapsed(), entries: Some(files.len() as u64), bytes: None })
}

fn y_fetches(stage: &Stage, teller: &Teller) -> Result<(), Failure> {
    let began = Instant::now();
    let printed = stage.run("y", &["watch", "--once"])?;
    let changes: Vec<Value> = printed.out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let changes: Vec<_> = changes.iter().filter(|event| event["event"] == "change").collect();
    check(changes.iter().all(|change| change["fetched"] == true), "y", "a value is missing")?;
    let what = "came back, caught up and fetched".to_owned();
    teller.figures(&Step { who: "y", what, took: began.elapsed(), entries: Some(changes.len() as u64), bytes: None })
}

/// What a reader writes to its own disk is what alice had on hers.
fn exports(stage: &Stage, teller: &Teller, reader: &str, files: &[SourceFile]) -> Result<(), Failure> {
    let began = Instant::now();
    let folder = stage.path(&format!("{reader}-sources"));
    stage.run(reader, &["export", &format!("alice:{PREFIX}"), argument(&folder)?])?;
    let exported = sources::below(&folder).map_err(|error| failed(reader, &error))?;
    check(exported == files, reader, "its files differ from alice's")?;
    let bytes = files.iter().map(|(_, content)| content.len() as u64).sum();
    let what = "wrote them to its own disk: byte for byte what alice imported".to_owned();
    teller.figures(&Step { who: reader, what, took: began.elapsed(), entries: Some(files.len() as u64), bytes: Some(bytes) })
}

/// Nothing of what was imported stands in the clear in the broker's folder or in the storage; the same search finds it at alice.
pub(super) fn search(stage: &Stage, teller: &Teller, files: &[SourceFile]) -> Result<(), Failure> {
    let began = Instant::now();
    let pieces = Pieces::of(files);
    let unreadable = |error| failed("the search", &error);
    let control = pieces.search(&[&stage.path("alice-sources")]).map_err(unreadable)?;
    check(control.found.len() > files.len() / 2, "the search", "it does not find what is there")?;
    let searched = pieces.search(&[&stage.path("broker"), &stage.path("alice-storage")]).map_err(unreadable)?;
    check(searched.found.is_empty(), "the search", "a clear text stands in the broker's folder or in the storage")?;
    let what = format!(
        "looked for {} pieces of these files and of their paths in {} files of the broker and of the storage: none; in alice's own folder the same \
         search finds {} files",
        pieces.count(),
        searched.files,
        control.found.len()
    );
    teller.figures(&Step { who: "search", what, took: began.elapsed(), entries: None, bytes: Some(searched.bytes) })
}
