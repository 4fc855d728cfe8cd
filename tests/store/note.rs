//! Where figures go: to the screen, and with `TIDINGS_STORE_EVIDENCE` set to that file, a section for each test.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

/// Whether the lab runs at full size.
pub(crate) fn full() -> bool {
    std::env::var("FULL").is_ok_and(|full| full == "1")
}

/// Keeps the figures of one test in place of those that were there.
pub(crate) fn note(section: &str, figures: Value) {
    println!("{section}: {figures:#}");
    let Some(file) = std::env::var_os("TIDINGS_STORE_EVIDENCE").map(PathBuf::from) else { return };
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let mut kept: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
    kept.insert("made_by".to_owned(), json!("make store-lab, each section by the test of its name in tests/store"));
    let mut section_value = json!({ "size": if full() { "full" } else { "small" } });
    section_value["figures"] = figures;
    kept.insert(section.to_owned(), section_value);
    let text = serde_json::to_string_pretty(&kept).expect("plain data") + "\n";
    std::fs::write(file, text).expect("the repository is writable");
}
