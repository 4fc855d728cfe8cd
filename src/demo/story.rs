//! What happens in the demo, step by step. A step is told after what it claims was checked.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::children::{Printed, Running, Stage, argument, failed};
use super::teller::{Step, Teller};
use super::view::{self, View};
use super::workload::{self, MUTATIONS, RECORDS};
use super::{damage, moves, paragraphs, revocation, storage};
use crate::failure::Failure;

/// Plays everything.
///
/// # Errors
/// The first thing that does not hold.
pub(super) fn play(stage: &Stage, teller: &Teller) -> Result<(), Failure> {
    let (broker, address) = start_broker(stage, "127.0.0.1:0")?;
    teller.step("broker", format!("serves {}; it can read nothing of what follows", host(&address)), Duration::ZERO)?;
    meet(stage, teller, &address)?;
    publish_paragraphs(stage, teller)?;
    let x = watch_live(stage, teller)?;
    y_catches_up_and_leaves(stage, teller)?;
    let broker = work_through_a_crash(stage, teller, &broker, &address)?;
    x_hears_all(stage, teller, &x)?;
    y_returns(stage, teller)?;
    let sources = storage::play(stage, teller, &x)?;
    all_see_the_same(stage, teller)?;
    revocation::play(stage, teller, &x)?;
    x.interrupt()?;
    moves::play(stage, teller, &address)?;
    storage::search(stage, teller, &sources)?;
    damage::play(stage, teller, &broker, host(&address))
}

/// Begins a broker; it has printed its two lines.
pub(super) fn start_broker(stage: &Stage, listen: &str) -> Result<(Running, String), Failure> {
    begin_broker(stage, "broker", listen)
}

/// The same with a folder and a log of that name.
pub(super) fn begin_broker(stage: &Stage, name: &str, listen: &str) -> Result<(Running, String), Failure> {
    let data = stage.path(name);
    let broker = stage.begin(name, &["broker", "--data", argument(&data)?, "--listen", listen])?;
    let (listening, address) = (broker.line()?, broker.line()?);
    check(listening.starts_with("listening on 127.0.0.1:") && address.starts_with("tidings://"), "broker", "it printed something else")?;
    Ok((broker, address))
}

fn meet(stage: &Stage, teller: &Teller, address: &str) -> Result<(), Failure> {
    let began = Instant::now();
    let storage = format!("file://{}", argument(&stage.path("alice-storage"))?);
    stage.run("alice", &["init", "--broker", address, "--storage", &storage])?;
    for reader in ["x", "y"] {
        stage.run(reader, &["init"])?;
        let card = field(&stage.run(reader, &["id"])?, "card")?;
        let invitation = field(&stage.run("alice", &["grant", &card, "--as", reader])?, "invitation")?;
        stage.run(reader, &["follow", &invitation, "--as", "alice"])?;
    }
    teller.step("alice", "made her keys and granted x and y her queue; both follow her", began.elapsed())
}

fn publish_paragraphs(stage: &Stage, teller: &Teller) -> Result<(), Failure> {
    let paragraphs = paragraphs::all();
    let lines = stage.path("paragraphs.jsonl");
    std::fs::write(&lines, paragraphs::as_lines(&paragraphs)).map_err(|error| failed("alice", &error))?;
    let began = Instant::now();
    let printed = stage.run("alice", &["apply", argument(&lines)?])?;
    let took = began.elapsed();
    let receipted = printed.out.lines().filter(|line| line.contains(r#""result":"receipted""#)).count();
    check(receipted == paragraphs.len(), "alice", "not every paragraph has a receipt")?;
    let bytes = paragraphs.iter().map(|(_, value)| value.len() as u64).sum();
    let what = "published the paragraphs of the Markdown files here, one record each; the broker has all on disk".to_owned();
    teller.figures(&Step { who: "alice", what, took, entries: Some(receipted as u64), bytes: Some(bytes) })
}

/// x begins to watch, and hears red and blue while they happen.
fn watch_live(stage: &Stage, teller: &Teller) -> Result<Running, Failure> {
    let began = Instant::now();
    let x = stage.begin("x", &["watch"])?;
    let (changes, caught_up) = until_caught_up(&x)?;
    let theirs = view::of(stage, "alice", &[])?;
    check(changes == theirs.len() as u64, "x", "it was handed another number of records than alice has")?;
    told_catch_up(teller, "x", "began to watch and caught up", &caught_up, began.elapsed())?;
    for color in ["red", "blue"] {
        let value = stage.path("color");
        std::fs::write(&value, color).map_err(|error| failed("alice", &error))?;
        let began = Instant::now();
        let put = stage.begin("alice", &["put", "/favorites/color", argument(&value)?])?;
        let change = next_event(&x, "change")?;
        let heard = began.elapsed();
        put.finish()?;
        let (hash, _) = view::of(stage, "alice", &["/favorites/color"])?.remove("/favorites/color").unwrap_or_default();
        check(change["path"] == "/favorites/color" && change["hash"] == hash.as_str(), "x", "it heard something else than alice wrote")?;
        teller.step("alice", format!("set /favorites/color to {color}; x heard it, counted from the start of alice's command"), heard)?;
    }
    Ok(x)
}

fn y_catches_up_and_leaves(stage: &Stage, teller: &Teller) -> Result<(), Failure> {
    let began = Instant::now();
    let printed = stage.run("y", &["watch", "--once"])?;
    let events = events(&printed)?;
    let caught_up = last(&events, "caught-up", "y")?;
    told_catch_up(teller, "y", "caught up once and goes away", caught_up, began.elapsed())
}

/// 5,000 mutations of 200 records; in their middle the broker is killed and started again.
fn work_through_a_crash(stage: &Stage, teller: &Teller, broker: &Running, address: &str) -> Result<Running, Failure> {
    let before = own(stage)?;
    let began = Instant::now();
    let mut apply = stage.begin("alice", &["apply"])?;
    let mut again = None;
    workload::send(&mut apply, || {
        let began = Instant::now();
        broker.kill()?;
        let (broker, same) = start_broker(stage, host(address))?;
        check(same == address, "broker", "it came back under another address")?;
        teller.step("broker", "was killed (SIGKILL) with mutations on their way and started again on the same data", began.elapsed())?;
        again = Some(broker);
        Ok(())
    })?;
    let took = began.elapsed();
    let offsets = own(stage)? - before;
    check(offsets == MUTATIONS as u64, "alice", "the queue did not grow by one entry for each mutation")?;
    let kinds = workload::kinds();
    let what = format!(
        "made {MUTATIONS} mutations of {RECORDS} records, {} deletes and {} re-creations among them; each has its receipt, none is lost or doubled",
        kinds.deletes, kinds.again
    );
    teller.figures(&Step { who: "alice", what, took, entries: Some(offsets), bytes: None })?;
    again.ok_or_else(|| failed("broker", &"it was not started again"))
}

fn x_hears_all(stage: &Stage, teller: &Teller, x: &Running) -> Result<(), Failure> {
    let began = Instant::now();
    let newest = own(stage)?;
    loop {
        let caught_up = next_event(x, "caught-up")?;
        if caught_up["offset"].as_u64() == Some(newest) {
            break;
        }
    }
    teller.step("x", "reconnected by itself and has heard all of it", began.elapsed())
}

/// y is shown progress, is handed only what is newest, and pays for records, not for mutations.
fn y_returns(stage: &Stage, teller: &Teller) -> Result<(), Failure> {
    let began = Instant::now();
    let printed = stage.run("y", &["--progress", "always", "watch", "--once"])?;
    let took = began.elapsed();
    check(printed.error.contains("catching up"), "y", "it was shown no progress")?;
    let events = events(&printed)?;
    let caught_up = last(&events, "caught-up", "y")?;
    let theirs = view::of(stage, "alice", &[])?;
    let changes: Vec<_> = events.iter().filter(|event| event["event"] == "change").collect();
    check(changes.iter().all(|change| is_newest(change, &theirs)), "y", "it was handed something before it had caught up")?;
    let entries = caught_up["entries"].as_u64().unwrap_or_default();
    check((1..=RECORDS as u64 + 50).contains(&entries), "y", "it paid for mutations, not for records")?;
    let what = format!("came back, saw its progress and was handed nothing before it had caught up, then {} changes", changes.len());
    told_catch_up(teller, "y", &what, caught_up, took)
}

fn is_newest(change: &Value, view: &View) -> bool {
    let newest = change["path"].as_str().and_then(|path| view.get(path));
    match (change["op"].as_str(), newest) {
        (Some("delete"), None) => true,
        (Some("create" | "update"), Some((hash, _))) => change["hash"] == hash.as_str(),
        _ => false,
    }
}

fn all_see_the_same(stage: &Stage, teller: &Teller) -> Result<(), Failure> {
    let began = Instant::now();
    let theirs = view::of(stage, "alice", &[])?;
    for reader in ["x", "y"] {
        check(view::of(stage, reader, &["alice:"])? == theirs, reader, "its view differs from alice's")?;
    }
    let what = "see byte for byte what alice sees".to_owned();
    let (entries, bytes) = (Some(theirs.len() as u64), Some(view::bytes(&theirs)));
    teller.figures(&Step { who: "x and y", what, took: began.elapsed(), entries, bytes })
}

/// Newest offset of alice's queue.
fn own(stage: &Stage) -> Result<u64, Failure> {
    let printed = stage.run("alice", &["status", "--offline"])?;
    let status: Value = serde_json::from_str(&printed.out).map_err(|error| failed("alice", &error))?;
    status["own"]["offset"].as_u64().ok_or_else(|| failed("alice", &"no offset"))
}

/// The changes handed out before the next catch-up, and that.
fn until_caught_up(watch: &Running) -> Result<(u64, Value), Failure> {
    let mut changes = 0;
    loop {
        let event = watch.json()?;
        match event["event"].as_str() {
            Some("change") => changes += 1,
            Some("caught-up") => return Ok((changes, event)),
            _ => {}
        }
    }
}

pub(super) fn next_event(watch: &Running, kind: &str) -> Result<Value, Failure> {
    loop {
        let event = watch.json()?;
        if event["event"] == kind {
            return Ok(event);
        }
    }
}

fn events(printed: &Printed) -> Result<Vec<Value>, Failure> {
    printed.out.lines().map(|line| serde_json::from_str(line).map_err(|error| failed("an event", &error))).collect()
}

fn last<'a>(events: &'a [Value], kind: &str, who: &str) -> Result<&'a Value, Failure> {
    events.iter().rfind(|event| event["event"] == kind).ok_or_else(|| failed(who, &format!("no {kind} event")))
}

pub(super) fn field(printed: &Printed, name: &str) -> Result<String, Failure> {
    let object: Value = serde_json::from_str(&printed.out).map_err(|error| failed(name, &error))?;
    object[name].as_str().map(str::to_owned).ok_or_else(|| failed(name, &"it was not printed"))
}

fn told_catch_up(teller: &Teller, who: &str, what: &str, caught_up: &Value, took: Duration) -> Result<(), Failure> {
    let (entries, bytes) = (caught_up["entries"].as_u64(), caught_up["bytes"].as_u64());
    teller.figures(&Step { who, what: what.to_owned(), took, entries, bytes })
}

/// `host:port` of an address.
pub(super) fn host(address: &str) -> &str {
    address.trim_start_matches("tidings://").split('?').next().unwrap_or_default()
}

pub(super) fn check(holds: bool, who: &str, otherwise: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(failed(who, &otherwise)) }
}
