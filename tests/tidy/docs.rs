//! Whether the docs are true: rules cited, tests and files that they name exist, nothing points outside the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::source::{Source, words};

const SPECIFICATION: &str = "docs/protocol.md";
/// These checks themselves hold what they look for.
const SELF: &str = "tests/tidy";
const MACHINE_PATHS: [&str; 4] = ["/home/", "/Users/", concat!("/ro", "ot/"), concat!("crates", ".io")];
const TASK_WORDS: [&str; 3] = ["TODO", "FIXME", "XXX"];

/// Figures of the README with the caps they must equal, as both are written.
const LIMITS: [(&str, &str); 7] = [
    ("| value in storage | 64 MiB |", "OBJECT_BYTES_MAX: u64 = 64 * 1024 * 1024;"),
    ("| value in the queue | 4 KiB |", "INLINE_BYTES_MAX: usize = 4 * 1024;"),
    ("| path | 1,024 bytes,", "PATH_BYTES_MAX: usize = 1_024;"),
    ("| one entry, sealed | 16 KiB |", "ENTRY_BYTES_MAX: usize = 16 * 1024;"),
    ("| one publish | 4,096 entries, 4 MiB |", "PUBLISH_ENTRIES_MAX: usize = 4_096;"),
    ("| one publish | 4,096 entries, 4 MiB |", "PUBLISH_BYTES_MAX: usize = 4 * 1024 * 1024;"),
    ("| readers of a queue | 1,024 |", "READERS_MAX: usize = 1_024;"),
];

#[derive(Clone, Copy, PartialEq)]
enum State {
    InForce,
    Reserved,
}

/// Rules in force without a citation in code or in a test; rules whose state is not given.
pub(crate) fn uncited_rules(sources: &[Source]) -> Vec<String> {
    let (rules, mut violations) = rules(sources);
    let (mut code, mut tests) = (BTreeSet::new(), BTreeSet::new());
    for source in sources.iter().filter(|source| source.is_rust() && !source.path.starts_with(SELF)) {
        for (line, rule) in citations(&source.text) {
            let cited = if source.is_test(line) { &mut tests } else { &mut code };
            cited.insert(rule);
        }
    }
    for (rule, (line, state)) in rules {
        let missing: Vec<_> =
            [(&code, "code"), (&tests, "test")].into_iter().filter(|(cited, _)| !cited.contains(&rule)).map(|(_, what)| what).collect();
        if state == State::InForce && !missing.is_empty() {
            violations.push(format!("{SPECIFICATION}:{line}: [P-{rule}] is in force, but no {} cites it", missing.join(" and no ")));
        }
    }
    violations
}

/// Citations of rules that the specification does not have.
pub(crate) fn unknown_citations(sources: &[Source]) -> Vec<String> {
    let (rules, _) = rules(sources);
    let cited = sources.iter().filter(|source| !source.path.starts_with(SELF));
    let cited = cited.flat_map(|source| citations(&source.text).into_iter().map(move |(line, rule)| (source, line, rule)));
    cited
        .filter(|(_, _, rule)| !rules.contains_key(rule))
        .map(|(source, line, rule)| source.violation(line, format!("there is no rule P-{rule}")))
        .collect()
}

/// Rules as number -> (line, state), from headings `### [P-7] ...` with a line `State: in force ...` or `State: reserved ...` below.
fn rules(sources: &[Source]) -> (BTreeMap<u32, (usize, State)>, Vec<String>) {
    let specification = sources.iter().find(|source| source.path == SPECIFICATION).expect("the specification is there");
    let (mut rules, mut violations) = (BTreeMap::new(), Vec::new());
    let lines: Vec<_> = specification.text.lines().collect();
    for (at, heading) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("### [P-")) {
        let state = match lines[at + 1..].iter().find(|line| !line.is_empty()) {
            Some(line) if line.starts_with("State: in force") => Some(State::InForce),
            Some(line) if line.starts_with("State: reserved") => Some(State::Reserved),
            _ => None,
        };
        match (citations(heading).first(), state) {
            (Some((_, rule)), Some(state)) => drop(rules.insert(*rule, (at + 1, state))),
            _ => {
                violations.push(specification.violation(at + 1, "a rule needs a number and a line `State: in force` or `State: reserved`"))
            }
        }
    }
    assert!(!rules.is_empty(), "{SPECIFICATION} holds no rules");
    (rules, violations)
}

/// Citations `[P-7]` or `[P-7, P-9]` as (line, rule).
fn citations(text: &str) -> Vec<(usize, u32)> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for (start, _) in line.match_indices("[P-") {
            let inside = line[start + 1..].split(']').next().unwrap_or_default();
            let rules = inside.split(',').filter_map(|rule| rule.trim().strip_prefix("P-")?.parse().ok());
            found.extend(rules.map(|rule| (at + 1, rule)));
        }
    }
    found
}

/// Tests that the threat model or the consistency page name but nobody wrote.
pub(crate) fn unknown_tests(sources: &[Source]) -> Vec<String> {
    let written: BTreeSet<_> = sources.iter().flat_map(functions_by_name).collect();
    let mut unknown = Vec::new();
    for source in
        sources.iter().filter(|source| ["docs/threat-model.md", "docs/consistency.md", "docs/storage.md"].contains(&source.path.as_str()))
    {
        for (line, span) in spans(&source.text) {
            let is_test = span.matches('_').count() >= 3
                && span.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            if is_test && !written.contains(span) {
                unknown.push(source.violation(line, format!("there is no test `{span}`")));
            }
        }
    }
    unknown
}

fn functions_by_name(source: &Source) -> Vec<&str> {
    let names = words(&source.code, "fn").map(|at| source.code[at + 2..].trim_start());
    names.map(|rest| rest.split(|next: char| !next.is_alphanumeric() && next != '_').next().unwrap_or_default()).collect()
}

/// Text between backticks, as (line, text), outside of fenced blocks.
fn spans(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        if !fenced {
            found.extend(line.split('`').skip(1).step_by(2).map(|span| (at + 1, span)));
        }
    }
    found
}

/// Links, named files and relative paths that lead to no file of this repository.
pub(crate) fn dead_links(sources: &[Source]) -> Vec<String> {
    let mut dead = Vec::new();
    for source in sources.iter().filter(|source| !source.path.starts_with(SELF)) {
        let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut named = upward_paths(source);
        if source.path.ends_with(".md") {
            named.extend(links(&source.text));
        }
        // Code names docs; docs name any file.
        let prefix = if source.path.ends_with(".md") { "" } else { "docs/" };
        let files = spans(&source.text).into_iter().filter(|(_, span)| is_file_name(span) && span.starts_with(prefix));
        named.extend(files.filter(|(_, span)| !exists("", span)).map(|(line, span)| (line, span.to_owned())));
        let missing = named.into_iter().filter(|(_, target)| !exists(folder, target));
        dead.extend(missing.map(|(line, target)| source.violation(line, format!("`{target}` is no file of this repository"))));
    }
    dead
}

fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next());
        let targets = targets.filter(|target| !target.is_empty() && !target.contains(':'));
        found.extend(targets.map(|target| (at + 1, target.to_owned())));
    }
    found
}

/// Words that climb out of their folder, in docs and in comment lines.
fn upward_paths(source: &Source) -> Vec<(usize, String)> {
    let is_prose = |line: &str| !source.is_rust() || line.trim_start().starts_with("//");
    let lines = source.text.lines().enumerate().filter(|(_, line)| is_prose(line));
    let words = lines.flat_map(|(at, line)| line.split([' ', '`', '(', ')', '"', '\'', '<', '>']).map(move |word| (at + 1, word)));
    let upward = words.filter(|(_, word)| word.starts_with("../") && word.len() > 3);
    upward.map(|(line, word)| (line, word.trim_end_matches(['.', ',', ':', ';']).to_owned())).collect()
}

fn is_file_name(span: &str) -> bool {
    let kind = span.rsplit('.').next().unwrap_or_default();
    span.contains('/')
        && !span.contains([' ', '*', '<', '$', '~', ':'])
        && !span.starts_with('/')
        && ["rs", "md", "toml", "proto"].contains(&kind)
}

/// Limits that the README gives otherwise than the code, or not at all; lines of its table that are not compared.
pub(crate) fn wrong_limits(sources: &[Source]) -> Vec<String> {
    let text = |path: &str| sources.iter().find(|source| source.path == path).map_or("", |source| source.text.as_str());
    let (readme, caps) = (text("README.md"), text("proto/src/caps.rs"));
    let wrong = LIMITS.into_iter().filter(|(shown, cap)| !readme.contains(shown) || !caps.contains(cap));
    let wrong = wrong.map(|(shown, cap)| format!("README.md:1: `{shown}` and `{cap}` are not both there"));
    let table = readme.lines().enumerate().skip_while(|(_, line)| *line != "| what | limit |").skip(2);
    let unknown =
        table.take_while(|(_, line)| line.starts_with('|')).filter(|(_, line)| !LIMITS.iter().any(|(shown, _)| line.starts_with(shown)));
    wrong.chain(unknown.map(|(at, line)| format!("README.md:{}: no cap is compared with `{line}`", at + 1))).collect()
}

/// Whether `target`, seen from `folder`, is in this repository.
fn exists(folder: &str, target: &str) -> bool {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match part {
            ".." if parts.pop().is_none() => return false,
            ".." => {}
            part => parts.push(part),
        }
    }
    Path::new(".").join(parts.join("/")).exists()
}

/// Paths that exist on one machine only, and hosts of registries.
pub(crate) fn machine_paths(sources: &[Source]) -> Vec<String> {
    lines_where(sources, |line| MACHINE_PATHS.into_iter().find(|path| line.contains(path)).map(|path| format!("names `{path}`")))
}

/// Task words without the number of an issue.
pub(crate) fn unnumbered_tasks(sources: &[Source]) -> Vec<String> {
    lines_where(sources, |line| {
        let word = TASK_WORDS.into_iter().find(|word| words(line, word).any(|at| !is_numbered(&line[at + word.len()..])))?;
        Some(format!("`{word}` without `#number`"))
    })
}

fn is_numbered(rest: &str) -> bool {
    rest.trim_start_matches(['(', ' ']).strip_prefix('#').is_some_and(|number| number.starts_with(|digit: char| digit.is_ascii_digit()))
}

fn lines_where(sources: &[Source], mut wrong: impl FnMut(&str) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !source.path.starts_with(SELF)) {
        let lines = source.text.lines().enumerate();
        found.extend(lines.filter_map(|(at, line)| Some(source.violation(at + 1, wrong(line)?))));
    }
    found
}

#[test]
fn an_uncited_rule_and_an_unknown_citation_are_named() {
    let specification = Source::new(SPECIFICATION, "### [P-1] One\n\nState: in force.\n\n### [P-2] Two\n\nState: reserved, comes later.\n");
    let code = Source::new("core/src/x.rs", "/// [P-3]\nfn f() {}\n#[cfg(test)]\nmod tests {\n    /// [P-1]\n    fn g() {}\n}\n");
    let sources = [specification, code];
    assert_eq!(uncited_rules(&sources), ["docs/protocol.md:1: [P-1] is in force, but no code cites it"]);
    assert_eq!(unknown_citations(&sources), ["core/src/x.rs:1: there is no rule P-3"]);
}

#[test]
fn dead_links_paths_of_one_machine_and_unnumbered_tasks_are_named() {
    let text = "[a](nowhere.md) [b](../outside.md) `core/src/nothing.rs` [c](protocol.md#part)\nsee /home/me TODO\nTODO(#7)\n";
    let sources = [Source::new("docs/x.md", text)];
    assert_eq!(dead_links(&sources).len(), 4, "{:?}", dead_links(&sources));
    assert_eq!((machine_paths(&sources).len(), unnumbered_tasks(&sources).len()), (1, 1));
}
