//! The marks that counts are judged by.

use std::collections::BTreeMap;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// Kept in the repository.
const FILE: &str = "benches/counts.json";
/// How far a count may be from its mark, in percent, where it was counted by the same tools.
const TOLERANCE: u64 = 3;
/// The same by another compiler or another valgrind: their own changes are no regression of ours.
const TOLERANCE_OTHER_TOOLS: u64 = 15;

/// By what was counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counted {
    /// What the processor that valgrind plays can; on another kind libraries run other code, and no count can be compared.
    machine: String,
    compiler: String,
    valgrind: String,
}

/// Instructions of each path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marks {
    counted: Counted,
    instructions: BTreeMap<String, u64>,
}

impl Counted {
    /// The tools of this machine; `None`, said and counted in the output, where there is no valgrind.
    pub(crate) fn here() -> Option<Self> {
        let Some(valgrind) = said(Command::new("valgrind").arg("--version")) else {
            println!("skipped 1 test: there is no valgrind here");
            return None;
        };
        let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
        let compiler = said(Command::new(compiler).arg("--version")).unwrap_or_else(|| "unknown".to_owned());
        Some(Self { machine: machine(), compiler, valgrind })
    }
}

impl Marks {
    pub(crate) fn new(counted: Counted, instructions: BTreeMap<String, u64>) -> Self {
        Self { counted, instructions }
    }

    /// Those of the repository.
    pub(crate) fn kept() -> Self {
        let text = std::fs::read_to_string(FILE).expect("the marks are in the repository");
        serde_json::from_str(&text).expect("the marks are written by `make counts`")
    }

    /// Replaces those of the repository.
    pub(crate) fn keep(&self) {
        let text = serde_json::to_string_pretty(self).expect("plain numbers");
        std::fs::write(FILE, text + "\n").expect("the repository can be written");
    }

    /// What is wrong with `counts`, a line for each; nothing if they are as marked, or not to be compared, which is said.
    pub(crate) fn judge(&self, by: &Counted, counts: &BTreeMap<String, u64>) -> Vec<String> {
        if by.machine != self.counted.machine {
            println!("skipped 1 test: the marks are of {}, this is {}", self.counted.machine, by.machine);
            return Vec::new();
        }
        let tolerance = if *by == self.counted { TOLERANCE } else { TOLERANCE_OTHER_TOOLS };
        let unknown =
            counts.keys().filter(|path| !self.instructions.contains_key(*path)).map(|path| format!("{path} has no mark: make counts"));
        let wrong = self.instructions.iter().filter_map(|(path, mark)| match counts.get(path) {
            Some(count) => wrong(path, *mark, *count, tolerance),
            None => Some(format!("{path} has a mark and is no path any more: make counts")),
        });
        let mut found: Vec<String> = wrong.chain(unknown).collect();
        if !found.is_empty() && *by != self.counted {
            found.push(format!("the marks were counted by {:?}, this is {by:?}", self.counted));
        }
        found
    }
}

fn wrong(path: &str, mark: u64, count: u64, tolerance: u64) -> Option<String> {
    let (more, less) = (mark + mark * tolerance / 100, mark - mark * tolerance / 100);
    let percent = (count as f64 / mark as f64 - 1.0) * 100.0;
    let told = format!("{path}: {count} instructions, {percent:+.1} % of its mark {mark}");
    if count > more {
        return Some(format!("{told}: a regression. If it is worth it, accept it with `make counts` and say why in the commit"));
    }
    // A mark that stays high would let the next regression pass.
    (count < less).then(|| format!("{told}: it became cheaper. Lower the mark with `make counts`"))
}

/// The kind of processor, as far as libraries choose their code by it under valgrind, which knows nothing beyond AVX2.
fn machine() -> String {
    #[cfg(target_arch = "x86_64")]
    let wide = if std::arch::is_x86_feature_detected!("avx2") { " with AVX2" } else { " without AVX2" };
    #[cfg(not(target_arch = "x86_64"))]
    let wide = "";
    format!("{} {}{wide}", std::env::consts::OS, std::env::consts::ARCH)
}

fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(compiler: &str) -> Counted {
        Counted { machine: "a machine".into(), compiler: compiler.into(), valgrind: "one".into() }
    }

    fn counts(count: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([("path".to_owned(), count)])
    }

    fn judged(count: u64, compiler: &str) -> Vec<String> {
        Marks::new(by("one"), counts(1_000)).judge(&by(compiler), &counts(count))
    }

    #[test]
    fn a_count_within_the_tolerance_is_as_marked() {
        assert!([970, 1_000, 1_030].into_iter().all(|count| judged(count, "one").is_empty()));
    }

    #[test]
    fn a_count_above_the_tolerance_is_told_with_path_counts_and_what_to_do() {
        let [told] = judged(1_031, "one").try_into().expect("one line");
        assert!(["path", "1031", "+3.1 %", "1000", "make counts"].into_iter().all(|part| told.contains(part)), "{told}");
    }

    #[test]
    fn a_count_below_the_tolerance_asks_for_a_lower_mark() {
        assert!(matches!(judged(969, "one").as_slice(), [told] if told.contains("Lower the mark")));
    }

    /// A new compiler is told by wide marks and named, so that nobody looks for the regression in the wrong place.
    #[test]
    fn counts_of_other_tools_have_more_room_and_name_the_tools() {
        assert!(judged(1_150, "two").is_empty());
        assert!(matches!(judged(1_151, "two").as_slice(), [_, tools] if tools.contains("two")));
    }

    #[test]
    fn counts_of_another_machine_are_not_judged() {
        let other = Counted { machine: "another".into(), ..by("one") };
        assert!(Marks::new(by("one"), counts(1_000)).judge(&other, &counts(5_000)).is_empty());
    }

    #[test]
    fn a_path_without_a_mark_and_a_mark_without_a_path_are_told() {
        let other = BTreeMap::from([("other".to_owned(), 1_000)]);
        assert_eq!(Marks::new(by("one"), counts(1_000)).judge(&by("one"), &other).len(), 2);
    }
}
