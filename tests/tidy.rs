//! What a machine can check of how this repository is kept: rules cited, files short, cores pure, dependencies as decided, docs true.
//!
//! Each check names the file and line of everything it minds. It uses only the standard library.

#[path = "tidy/docs.rs"]
mod docs;
#[path = "tidy/policy.rs"]
mod policy;
#[path = "tidy/purity.rs"]
mod purity;
#[path = "tidy/source.rs"]
mod source;

use source::{Source, repository, words};

const RUST_LINES_MAX: usize = 500;
const README_LINES_MAX: usize = 150;
const ARCHITECTURE_LINES_MAX: usize = 200;
const FUNCTION_LINES_MAX: usize = 70;

#[test]
fn every_rule_in_force_is_cited_by_code_and_by_a_test() {
    none(docs::uncited_rules(&repository()));
}

#[test]
fn no_citation_names_a_rule_that_does_not_exist() {
    none(docs::unknown_citations(&repository()));
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    none(docs::unknown_tests(&repository()));
}

#[test]
fn every_link_and_every_file_that_the_docs_name_exists() {
    none(docs::dead_links(&repository()));
}

#[test]
fn every_limit_in_the_readme_is_the_one_in_the_code() {
    none(docs::wrong_limits(&repository()));
}

#[test]
fn no_text_names_a_path_of_one_machine_or_the_host_of_a_registry() {
    none(docs::machine_paths(&repository()));
}

#[test]
fn what_is_left_to_do_names_its_issue() {
    none(docs::unnumbered_tasks(&repository()));
}

#[test]
fn no_file_is_too_long() {
    none(repository().iter().filter_map(too_long).collect());
}

#[test]
fn no_function_is_too_long() {
    none(repository().iter().flat_map(long_functions).collect());
}

#[test]
fn nothing_outside_tests_unwraps_or_is_left_unfinished() {
    none(repository().iter().flat_map(unfinished).collect());
}

#[test]
fn the_pure_parts_name_no_clock_no_task_no_network_no_file_and_no_randomness() {
    none(purity::impure(&repository()));
}

#[test]
fn each_outside_crate_is_named_only_where_it_belongs() {
    none(purity::misplaced(&repository()));
}

#[test]
fn manifests_ask_only_for_what_their_layer_may_use() {
    none(purity::misplaced_dependencies(&repository()));
}

#[test]
fn crates_with_known_traps_have_the_version_they_must_have() {
    none(policy::wrong_versions(&lock()));
}

#[test]
fn no_banned_crate_is_in_the_lock_file() {
    none(policy::banned(&lock()));
}

#[test]
fn only_one_crypto_provider_is_in_the_resolved_tree() {
    none(policy::resolved_tree().map_or_else(Vec::new, |tree| policy::second_providers(&tree)));
}

#[test]
fn every_licence_in_the_resolved_tree_is_on_the_list() {
    none(policy::resolved_tree().map_or_else(Vec::new, |tree| policy::foreign_licences(&tree)));
}

fn none(violations: Vec<String>) {
    assert!(violations.is_empty(), "{} to mend:\n{}\n", violations.len(), violations.join("\n"));
}

fn lock() -> String {
    std::fs::read_to_string("Cargo.lock").expect("Cargo.lock is readable")
}

fn too_long(source: &Source) -> Option<String> {
    let lines_max = match source.path.as_str() {
        "README.md" => README_LINES_MAX,
        "ARCHITECTURE.md" => ARCHITECTURE_LINES_MAX,
        _ if source.is_rust() => RUST_LINES_MAX,
        _ => return None,
    };
    let lines = source.text.lines().count();
    (lines > lines_max).then(|| source.violation(lines, format!("{lines} lines; at most {lines_max}")))
}

fn long_functions(source: &Source) -> Vec<String> {
    let lengths = source.functions().into_iter().map(|(first, last)| (first, last + 1 - first));
    let long = lengths.filter(|(_, lines)| *lines > FUNCTION_LINES_MAX);
    long.map(|(first, lines)| source.violation(first, format!("a function of {lines} lines; at most {FUNCTION_LINES_MAX}"))).collect()
}

fn unfinished(source: &Source) -> Vec<String> {
    let found = ["unwrap", "todo", "dbg", "unimplemented"].into_iter().flat_map(|word| words(&source.code, word).map(move |at| (at, word)));
    found
        .filter(|(at, word)| {
            let next = source.code.as_bytes().get(at + word.len());
            let is_call = *word == "unwrap" && next == Some(&b'(') && source.code[..*at].ends_with('.');
            (is_call || (*word != "unwrap" && next == Some(&b'!'))) && !source.is_test(source.line_of(*at))
        })
        .map(|(at, word)| source.violation(source.line_of(at), format!("`{word}` outside tests")))
        .collect()
}

#[test]
fn a_long_file_and_a_long_function_are_named() {
    let long = Source::new("core/src/x.rs", &format!("fn f() {{\n{}}}\n", "\n".repeat(RUST_LINES_MAX)));
    assert!(too_long(&long).is_some());
    assert_eq!(long_functions(&long), ["core/src/x.rs:1: a function of 502 lines; at most 70"]);
}

#[test]
fn an_unwrap_outside_tests_is_named_and_one_inside_is_not() {
    let source = Source::new("core/src/x.rs", "fn f() { g().unwrap(); }\n#[cfg(test)]\nmod tests { fn f() { g().unwrap(); dbg!(1); } }\n");
    assert_eq!(unfinished(&source), ["core/src/x.rs:1: `unwrap` outside tests"]);
}
