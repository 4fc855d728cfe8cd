//! The checker sees what it is there for: histories with one defect each, and their sound twins.

use serde_json::{Value, json};
use tidings_proto::{HeadNumber, HeadRank, Term};

use super::printed::Printed;
use super::witnessed::Witnessed;
use super::written::{Records, Written};

/// Three writes of one record in one life, the first two receipted, and a delete of another one.
fn written() -> Written {
    let mut written = Written::default();
    for (line, hash) in [(1, "one"), (2, "two"), (3, "three")] {
        written.give((1, line), "/a", Some(hash.to_owned()));
    }
    written.answered((1, 1), "receipted");
    written.answered((1, 2), "receipted");
    written
}

fn records(list: &[(&str, &str)]) -> Records {
    list.iter().map(|(path, hash)| ((*path).to_owned(), (*hash).to_owned())).collect()
}

/// What is said about records that are found in the end.
fn found(mut written: Written, list: &[(&str, &str)]) -> String {
    written.found("the owner", &records(list));
    written.violations.join("; ")
}

fn change(op: &str, offset: u64, hash: Option<&str>) -> Value {
    json!({"event": "change", "path": "/a", "op": op, "term": 1, "offset": offset, "hash": hash, "fetched": true})
}

/// What is said about lives of a reader of `written`.
fn printed(lives: &[&[Value]]) -> String {
    let (mut printed, mut written) = (Printed::default(), written());
    written.give((1, 4), "/a", None);
    for (number, events) in lives.iter().enumerate() {
        if number > 0 {
            printed.killed();
        }
        events.iter().for_each(|event| printed.take(event, &written));
    }
    printed.violations.join("; ")
}

/// The same after a kill, with one more delete that was written.
fn printed_with_two_deletes(events: &[Value]) -> String {
    let (mut printed, mut written) = (Printed::default(), written());
    [4, 5].into_iter().for_each(|line| written.give((1, line), "/a", None));
    printed.killed();
    events.iter().for_each(|event| printed.take(event, &written));
    printed.violations.join("; ")
}

fn rank(number: u64) -> HeadRank {
    HeadRank { term: Term::new(1), number: HeadNumber::new(number) }
}

#[test]
fn an_acknowledged_write_that_vanished_is_named() {
    assert_eq!(found(written(), &[("/a", "two")]), "");
    assert_eq!(found(written(), &[("/a", "three")]), "");
    for lost in [&[("/a", "one")][..], &[]] {
        assert!(found(written(), lost).contains("acknowledged line Some((1, 2)) is lost"));
    }
}

#[test]
fn an_acknowledged_delete_that_came_undone_is_named() {
    let deleted = || {
        let mut written = written();
        written.give((1, 4), "/a", None);
        written.answered((1, 4), "receipted");
        written
    };
    assert_eq!(found(deleted(), &[]), "");
    assert!(found(deleted(), &[("/a", "three")]).contains("acknowledged line Some((1, 4)) is lost"));
}

#[test]
fn a_value_that_nobody_wrote_there_is_named() {
    assert!(found(written(), &[("/a", "two"), ("/b", "two")]).contains("/b has a value that nobody wrote there"));
}

/// Lines of one `apply` happen in their order: what stands proves all that was given before it.
#[test]
fn a_gap_before_a_write_that_stands_is_named() {
    let with_another = || {
        let mut written = written();
        written.give((1, 4), "/b", Some("four".to_owned()));
        written
    };
    assert_eq!(found(with_another(), &[("/a", "three"), ("/b", "four")]), "");
    assert!(found(with_another(), &[("/a", "two"), ("/b", "four")]).contains("acknowledged line Some((1, 3)) is lost"));
}

#[test]
fn a_write_that_goes_back_between_two_looks_is_named() {
    let mut written = written();
    written.found("the owner", &records(&[("/a", "three")]));
    assert!(found(written, &[("/a", "two")]).contains("acknowledged line Some((1, 3)) is lost"));
}

#[test]
fn a_refusal_without_a_reason_is_named() {
    let mut written = written();
    written.answered((1, 3), "failed");
    assert!(written.violations[0].contains("was failed, and nothing stood in its way"));
}

#[test]
fn a_change_that_is_printed_twice_is_named_unless_a_kill_came_between() {
    let once = change("create", 1, Some("one"));
    assert!(printed(&[&[once.clone(), once.clone()]]).contains("printed again after it was noted"));
    let life = std::slice::from_ref(&once);
    assert_eq!(printed(&[life, life]), "");
    let noted = json!({"event": "caught-up", "term": 1, "number": 1, "offset": 1});
    assert!(printed(&[&[once.clone(), noted], &[once]]).contains("printed again after it was noted"));
}

#[test]
fn another_effect_under_the_same_id_is_named() {
    let lives: [&[Value]; 2] = [&[change("create", 1, Some("one"))], &[change("create", 1, Some("two"))]];
    assert!(printed(&lives).contains("another effect under the same id"));
}

#[test]
fn changes_that_go_back_are_named() {
    let back = [change("create", 2, Some("two")), change("update", 1, Some("three"))];
    assert!(printed(&[&back]).contains("an order that goes back"));
    let older = [change("create", 2, Some("two")), change("update", 3, Some("one"))];
    assert!(printed(&[&older]).contains("an older write after a newer one"));
}

#[test]
fn a_create_of_what_exists_and_a_delete_of_what_does_not_are_named() {
    let twice = [change("create", 1, Some("one")), change("create", 2, Some("two"))];
    let said = printed(&[&twice]);
    assert!(said.contains("a create of what exists"), "{said}");
    assert!(printed(&[&[change("update", 1, Some("one"))]]).contains("what does not exist"));
    assert!(printed(&[&[change("delete", 4, None)]]).contains("what does not exist"));
    // After a kill a create may have been on its way, but not two.
    assert_eq!(printed(&[&[], &[change("delete", 4, None)]]), "");
    let two = [change("delete", 4, None), change("delete", 5, None)];
    assert!(printed_with_two_deletes(&two).contains("what does not exist"));
}

/// The last batch before a kill may not be noted; a longer run of changes is, all but that batch.
#[test]
fn a_repetition_of_more_than_the_last_batch_is_named() {
    let mut written = Written::default();
    let mut printed = Printed::default();
    let change = |number: u64| {
        let (path, hash) = (format!("/{number}"), number.to_string());
        json!({"event": "change", "path": path, "op": "create", "term": 1, "offset": number, "hash": hash, "fetched": true})
    };
    for number in 1..=300 {
        written.give((1, number), &format!("/{number}"), Some(number.to_string()));
        printed.take(&change(number), &written);
    }
    printed.killed();
    printed.take(&change(300 - 255), &written);
    assert_eq!(printed.violations, Vec::<String>::new());
    printed.take(&change(300 - 256), &written);
    assert!(printed.violations[0].contains("printed again after it was noted"));
}

#[test]
fn a_verdict_without_a_cause_and_a_view_that_goes_back_are_named() {
    let verdict = json!({"event": "verdict", "verdict": "forked", "evidence": null});
    assert!(printed(&[&[verdict]]).contains("nobody gave cause for a verdict"));
    let caught_up = |number| json!({"event": "caught-up", "term": 1, "number": number, "offset": number});
    assert!(printed(&[&[caught_up(2)], &[caught_up(1)]]).contains("the view went back"));
}

#[test]
fn a_receipt_that_a_broker_forgot_is_named() {
    let mut witnessed = Witnessed::default();
    witnessed.receipt(rank(3));
    witnessed.stands(rank(3), "three".to_owned());
    assert_eq!(witnessed.violations, Vec::<String>::new());
    witnessed.stands(rank(2), "two".to_owned());
    assert!(witnessed.violations[0].contains("the broker stands at 1.2 and had receipted 1.3"));
}

/// [P-3]
#[test]
fn a_rank_that_was_signed_twice_is_named() {
    let mut witnessed = Witnessed::default();
    witnessed.stands(rank(3), "one".to_owned());
    witnessed.stands(rank(3), "other".to_owned());
    assert!(witnessed.violations[0].contains("head 1.3 was signed twice"));
}

#[test]
fn an_acknowledgement_that_fell_or_was_a_lie_is_named() {
    let mut witnessed = Witnessed::default();
    witnessed.acknowledged("bob", rank(3));
    witnessed.acknowledged("bob", rank(2));
    witnessed.reader_has(rank(2), rank(3));
    assert!(witnessed.violations[0].contains("the acknowledgement fell from 1.3 to 1.2"));
    assert!(witnessed.violations[1].contains("the reader has 1.2 and had acknowledged 1.3"));
}
