//! What a node sees: each record with the hash and length of its value.

use std::collections::BTreeMap;

use serde_json::Value;

use super::children::{Stage, failed};
use crate::failure::Failure;

/// Path to (hash of the value, length of the value).
pub(super) type View = BTreeMap<String, (String, u64)>;

/// What `tidings ls` lists for a node; what is here, without the network.
pub(super) fn of(stage: &Stage, node: &str, place: &[&str]) -> Result<View, Failure> {
    let printed = stage.run(node, &[&["ls", "--offline"], place].concat())?;
    printed.out.lines().map(|line| record(node, line)).collect()
}

/// Sum of the lengths of all values.
pub(super) fn bytes(view: &View) -> u64 {
    view.values().map(|(_, size)| size).sum()
}

fn record(node: &str, line: &str) -> Result<(String, (String, u64)), Failure> {
    let record: Value = serde_json::from_str(line).map_err(|error| failed(node, &error))?;
    let text = |key: &str| record[key].as_str().map(str::to_owned).ok_or_else(|| failed(node, &line));
    Ok((text("path")?, (text("hash")?, record["size"].as_u64().unwrap_or_default())))
}
