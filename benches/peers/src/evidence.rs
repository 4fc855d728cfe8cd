//! The evidence file: what the last run of each workload measured, and when, where and how much.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::Plan;
use crate::sheet::Row;

/// Name of the extent that only shows that everything works.
pub(crate) const QUICK: &str = "quick";
const FILE: &str = "docs/evidence/peers.json";
/// Set by `run.sh`.
const COMMIT: &str = "TIDINGS_PEERS_COMMIT";
const DAY: &str = "TIDINGS_PEERS_DAY";
const VERSIONS: &str = "TIDINGS_PEERS_VERSIONS";

/// The last run of every workload.
pub(crate) struct Evidence {
    path: PathBuf,
    workloads: BTreeMap<String, Workload>,
}

/// One run of one workload.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Workload {
    /// Day of the run.
    pub(crate) day: String,
    /// Commit that was measured.
    pub(crate) commit: String,
    /// Versions of the peers' servers.
    pub(crate) versions: String,
    /// `quick`, `usual` or `full`.
    pub(crate) extent: String,
    /// Processors of the machine.
    pub(crate) processors: usize,
    /// Load average of one minute before anything was started: what others did here.
    pub(crate) load_average: f64,
    /// What was measured.
    pub(crate) rows: Vec<Row>,
}

impl Evidence {
    /// What is known already.
    pub(crate) fn open(repository: &Path) -> Result<Self> {
        let path = repository.join(FILE);
        let workloads = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(_) => BTreeMap::new(),
        };
        Ok(Self { path, workloads })
    }

    /// Keeps a run of a workload in the place of the one before; but a quick one takes the place of a quick one only.
    pub(crate) fn note(&mut self, name: &str, run: Workload) -> Result<()> {
        let known = self.workloads.get(name).map_or(QUICK, |known| &known.extent);
        if run.extent == QUICK && known != QUICK {
            return Ok(());
        }
        self.workloads.insert(name.to_owned(), run);
        let mut all = serde_json::to_value(&self.workloads)?;
        round(&mut all);
        fs::write(&self.path, serde_json::to_string_pretty(&all)? + "\n")?;
        Ok(())
    }

    /// The run of a workload that is kept.
    pub(crate) fn of(&self, name: &str) -> Option<&Workload> {
        self.workloads.get(name)
    }
}

impl Workload {
    /// A run that is about to begin.
    pub(crate) fn begin(plan: &Plan) -> Result<Self> {
        let told = |name| std::env::var(name).unwrap_or_default();
        let processors = std::thread::available_parallelism()?.get();
        let load_average = fs::read_to_string("/proc/loadavg")?.split_whitespace().next().unwrap_or("0").parse()?;
        let (day, commit, versions, extent) = (told(DAY), told(COMMIT), told(VERSIONS), plan.extent.to_owned());
        Ok(Self { day, commit, versions, extent, processors, load_average, rows: Vec::new() })
    }

    /// The same with what was measured.
    pub(crate) fn with(&self, rows: Vec<Row>) -> Self {
        Self { rows, ..self.clone() }
    }
}

/// Nothing here is known better than to four digits.
fn round(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(round),
        Value::Object(values) => values.values_mut().for_each(round),
        Value::Number(number) if number.is_f64() => {
            let exact = number.as_f64().unwrap_or(0.0);
            *value = format!("{exact:.3e}").parse::<f64>().map_or(Value::Null, Value::from);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Evidence, Workload, round};
    use crate::plan::Plan;

    fn run(extent: &'static str, commit: &str) -> Workload {
        let plan = Plan { extent, ..Plan::usual() };
        Workload { commit: commit.to_owned(), ..Workload::begin(&plan).expect("a machine") }
    }

    #[test]
    fn a_quick_run_never_takes_the_place_of_a_longer_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir_all(folder.path().join("docs/evidence")).expect("it is writable");
        let mut evidence = Evidence::open(folder.path()).expect("an empty one");
        for (extent, commit) in [("quick", "1"), ("quick", "2"), ("usual", "3"), ("quick", "4")] {
            evidence.note("live", run(extent, commit)).expect("it is writable");
        }
        let reopened = Evidence::open(folder.path()).expect("it is readable");
        assert_eq!(reopened.of("live").map(|run| run.commit.as_str()), Some("3"));
    }

    #[test]
    fn measured_figures_are_kept_to_four_digits_and_counts_whole() {
        let mut value = json!({"a": [123_456.7, 0.012_345_6], "n": 1_234_567});
        round(&mut value);
        assert_eq!(value, json!({"a": [123_500.0, 0.01235], "n": 1_234_567}));
    }
}
