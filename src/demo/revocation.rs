//! x is revoked: it hears so at once, with the owner's signed reason, and reads nothing that is written afterwards.

use std::time::Instant;

use super::children::{Running, Stage, argument, failed};
use super::story::{check, next_event};
use super::teller::Teller;
use crate::failure::Failure;

/// A record that is written after the revocation.
const AFTER: &str = "/after-the-revocation";

/// Alice revokes x while it listens and writes on; y goes on.
pub(super) fn play(stage: &Stage, teller: &Teller, x: &Running) -> Result<(), Failure> {
    let began = Instant::now();
    stage.run("alice", &["revoke", "x"])?;
    loop {
        let verdict = next_event(x, "verdict")?;
        if verdict["verdict"] == "denied" {
            break;
        }
    }
    teller.step(
        "alice",
        "revoked x; its open subscription ended with her signed list, counted from the start of her command",
        began.elapsed(),
    )?;
    let began = Instant::now();
    let value = stage.path("after");
    std::fs::write(&value, "not for x").map_err(|error| failed("alice", &error))?;
    stage.run("alice", &["put", AFTER, argument(&value)?])?;
    stage.run("y", &["watch", "--once"])?;
    let place = format!("alice:{AFTER}");
    check(stage.run("y", &["get", &place])?.out.contains("not for x"), "y", "it does not read what alice writes now")?;
    let (code, printed) = stage.run_failing("x", &["get", &place])?;
    check(code != 0 && !printed.out.contains("not for x"), "x", "it reads what was written after its revocation")?;
    let listed = stage.run("x", &["ls", "--offline", "alice:"])?;
    check(!listed.out.contains(AFTER), "x", "it knows a record that was made after its revocation")?;
    teller.step("alice", "wrote on under new keys: y reads it, x reads nothing new and keeps what it had", began.elapsed())
}
