//! The count of all power cuts, kept in a file so that a long run can be interrupted and gone on with.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::cuts::{Count, cut_power};

/// Cuts in each world of the long run.
const CUTS: u64 = 40;

/// The file.
fn place() -> PathBuf {
    crate::world::repository().join("docs/evidence/power-lab.json")
}

/// What is in it, if this version wrote it.
fn kept() -> Value {
    let text = fs::read_to_string(place()).unwrap_or_default();
    let kept: Value = serde_json::from_str(&text).unwrap_or_default();
    if kept["version"] == env!("CARGO_PKG_VERSION") { kept } else { json!({ "version": env!("CARGO_PKG_VERSION") }) }
}

fn add(kept: &mut Value, name: &str, more: u64) {
    kept[name] = json!(kept[name].as_u64().unwrap_or_default() + more);
}

/// One world more.
fn add_world(kept: &mut Value, count: &Count) {
    let numbers = BTreeMap::from([
        ("worlds", 1),
        ("cuts", count.all()),
        ("promises_checked", count.promises),
        ("receipts_checked", count.receipts),
        ("heads_compared", count.heads),
        ("violations", count.violations.len() as u64),
    ]);
    numbers.into_iter().for_each(|(name, more)| add(kept, name, more));
    for ((who, mode), cuts) in &count.cuts {
        add(&mut kept["cuts_by_victim_and_what_was_kept"][who], mode, *cuts);
    }
}

fn keep(kept: &Value) {
    fs::create_dir_all(place().parent().expect("a folder")).expect("made");
    let draft = place().with_extension("draft");
    fs::write(&draft, format!("{}\n", serde_json::to_string_pretty(kept).expect("it is JSON"))).expect("written");
    fs::rename(draft, place()).expect("renamed");
}

/// Cuts the power until as many cuts are counted as `TIDINGS_POWER_CUTS` says; each world has a seed of its own.
#[test]
#[ignore = "takes long: make power-lab"]
fn as_many_power_cuts_as_are_asked_for_lose_nothing() {
    let wanted = std::env::var("TIDINGS_POWER_CUTS").ok().and_then(|number| number.parse().ok()).unwrap_or(2_000);
    let mut kept = kept();
    while kept["cuts"].as_u64().unwrap_or_default() < wanted {
        let seed = 1_000 + kept["worlds"].as_u64().unwrap_or_default();
        let Some(count) = cut_power(seed, CUTS) else { return };
        add_world(&mut kept, &count);
        keep(&kept);
        println!("{} cuts, {} violations", kept["cuts"], kept["violations"]);
        assert_eq!(count.violations, Vec::<String>::new());
    }
}
