//! A queue that moves to another broker, and an owner that has nothing left but its key.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::children::{Running, Stage, argument, failed};
use super::story::{begin_broker, check, field, host, next_event};
use super::teller::Teller;
use super::view;
use crate::failure::Failure;

/// Carol moves from the broker at `address` to a second one while w watches; then all of hers is lost but her key.
pub(super) fn play(stage: &Stage, teller: &Teller, address: &str) -> Result<(), Failure> {
    stage.run("carol", &["init", "--broker", address])?;
    let w = begin_reader(stage)?;
    put(stage, "/moves/before")?;
    hears(&w, "/moves/before")?;
    let began = Instant::now();
    let (_second, second) = begin_broker(stage, "second-broker", "127.0.0.1:0")?;
    stage.run("carol", &["brokers", "add", &second])?;
    let removed = parsed(&stage.run("carol", &["brokers", "remove", host(address)])?.out)?;
    check(removed["informed"] == true, "carol", "the broker that was left does not know of it")?;
    put(stage, "/moves/after")?;
    hears(&w, "/moves/after")?;
    w.interrupt()?;
    teller.step("carol", "moved her queue to a second broker; w, which watches, followed along and missed nothing", began.elapsed())?;
    restore(stage, teller, &second)
}

fn begin_reader(stage: &Stage) -> Result<Running, Failure> {
    stage.run("w", &["init"])?;
    let card = field(&stage.run("w", &["id"])?, "card")?;
    let invitation = field(&stage.run("carol", &["grant", &card, "--as", "w"])?, "invitation")?;
    stage.run("w", &["follow", &invitation, "--as", "carol"])?;
    stage.begin("w", &["watch"])
}

fn put(stage: &Stage, path: &str) -> Result<(), Failure> {
    let value = stage.path("moved");
    std::fs::write(&value, path).map_err(|error| failed("carol", &error))?;
    stage.run("carol", &["put", path, argument(&value)?]).map(drop)
}

/// Anything else in between would be a change that was told twice.
fn hears(w: &Running, path: &str) -> Result<(), Failure> {
    let change = next_event(w, "change")?;
    check(change["path"] == path, "w", "it heard something else than carol wrote")
}

fn restore(stage: &Stage, teller: &Teller, address: &str) -> Result<(), Failure> {
    let before = view::of(stage, "carol", &[])?;
    let key = stage.path("kept.key");
    let gone = |error| failed("carol", &error);
    std::fs::copy(stage.path("carol").join("node.key"), &key).map_err(gone)?;
    std::fs::remove_dir_all(stage.path("carol")).map_err(gone)?;
    let began = Instant::now();
    let restored = parsed(&stage.run("carol", &["init", "--restore", argument(&key)?, "--broker", address])?.out)?;
    let took: Duration = began.elapsed();
    check(restored["readers"] == 1, "carol", "she lost a reader")?;
    check(view::of(stage, "carol", &[])? == before, "carol", "she has not what she had")?;
    put(stage, "/moves/restored")?;
    stage.run("w", &["watch", "--once"])?;
    check(view::of(stage, "w", &["carol:"])? == view::of(stage, "carol", &[])?, "w", "its view differs from carol's")?;
    teller.step("carol", "lost all but her key, and has everything again from her broker; w reads on", took)
}

fn parsed(line: &str) -> Result<Value, Failure> {
    serde_json::from_str(line).map_err(|error| failed("carol", &error))
}
