//! A flipped byte in the broker's database is named, by the broker and by the reader, and changes nothing that anybody reads.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::children::{Running, Stage, failed};
use super::story::{check, field, start_broker};
use super::teller::Teller;
use crate::failure::Failure;

/// The broker is stopped, a byte of its largest table file is flipped, and a new reader comes.
pub(super) fn play(stage: &Stage, teller: &Teller, broker: &Running, place: &str) -> Result<(), Failure> {
    let began = Instant::now();
    stage.run("z", &["init"])?;
    let card = field(&stage.run("z", &["id"])?, "card")?;
    let invitation = field(&stage.run("alice", &["grant", &card, "--as", "z"])?, "invitation")?;
    stage.run("z", &["follow", &invitation, "--as", "alice"])?;
    broker.interrupt()?;
    // What came last stands in the log until the next start.
    start_broker(stage, place)?.0.interrupt()?;
    flip(&largest_table(&stage.path("broker"))?)?;
    let (broker, _) = start_broker(stage, place)?;
    let (code, printed) = stage.run_failing("z", &["watch", "--once"])?;
    check(code == 4, "z", &format!("it ended with {code}: {}", printed.error.trim()))?;
    check(printed.out.contains(r#""verdict":"withheld""#), "z", "it does not name the damage")?;
    check(!printed.out.contains(r#""event":"change""#), "z", "it was handed something")?;
    broker.interrupt_failing(1)?;
    let log = std::fs::read_to_string(stage.path("broker.log")).map_err(|error| failed("broker", &error))?;
    let told = log.lines().any(|line| line.contains("ERROR") && line.contains("is damaged") && line.contains(".sst"));
    check(told, "broker", "its log does not name the damage")?;
    teller.step(
        "z",
        "a byte was flipped in the broker's database: z, a new reader, is handed nothing, says `withheld` and exits with 4; the broker's log names the file",
        began.elapsed(),
    )
}

/// The table file with most in it: the entries.
fn largest_table(folder: &Path) -> Result<PathBuf, Failure> {
    let files = super::sources::below(folder).map_err(|error| failed("broker", &error))?;
    let tables = files.into_iter().filter(|(name, _)| name.ends_with(".sst"));
    let largest = tables.max_by_key(|(_, content)| content.len());
    largest.map(|(name, _)| folder.join(name)).ok_or_else(|| failed("broker", &"it has no table file"))
}

fn flip(file: &Path) -> Result<(), Failure> {
    let unusable = |error| failed("broker", &error);
    let mut bytes = std::fs::read(file).map_err(unusable)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).map_err(unusable)
}
