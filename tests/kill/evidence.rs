//! What the lab has done so far. With a file it goes on where it stopped.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::round::Kills;
use super::scene::Scene;

/// The sum of all worlds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Evidence {
    /// Rounds that are done.
    pub(crate) rounds: u64,
    /// Worlds that are done, each with a seed of its own: the numbers from 1 on.
    pub(crate) worlds: u64,
    /// Processes that were killed.
    pub(crate) kills: Kills,
    /// Result lines with a receipt; each was looked for.
    pub(crate) receipts_checked: u64,
    /// Comparisons of acknowledgements.
    pub(crate) acknowledgements_checked: u64,
    /// Changes that readers printed; each was compared with what was written and printed before.
    pub(crate) changes_checked: u64,
    /// Of these, those that were printed again after a kill, as is allowed.
    pub(crate) changes_repeated: u64,
    /// Of these, those of records whose create a killed reader may have printed and had not, as is allowed.
    pub(crate) unseen_creates: u64,
    /// Heads of which a hash or a signing time was seen.
    pub(crate) heads_checked: u64,
    /// What contradicted a promise.
    pub(crate) violations: Vec<String>,
    /// Rounds by program version and commit.
    pub(crate) programs: BTreeMap<String, u64>,
}

/// Evidence, and the file that keeps it.
pub(crate) struct Kept {
    pub(crate) evidence: Evidence,
    file: Option<PathBuf>,
    program: String,
}

impl Kept {
    /// As the environment says: `TIDINGS_KILL_EVIDENCE` names a file, `TIDINGS_KILL_COMMIT` the commit that is tried.
    pub(crate) fn open() -> Self {
        let file = std::env::var_os("TIDINGS_KILL_EVIDENCE").map(PathBuf::from);
        let commit = std::env::var("TIDINGS_KILL_COMMIT").unwrap_or_default();
        let program = format!("{} {commit}", env!("CARGO_PKG_VERSION")).trim_end().to_owned();
        let text = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        let evidence = text.map(|text| serde_json::from_str(&text).expect("evidence that this lab wrote")).unwrap_or_default();
        Self { evidence, file, program }
    }

    /// Adds a world that is done, and writes the file.
    pub(crate) fn add(&mut self, seed: u64, rounds: u64, kills: &Kills, scene: Option<&Scene>, violations: Vec<String>) {
        let sum = &mut self.evidence;
        sum.rounds += rounds;
        sum.worlds += 1;
        sum.kills.add(kills);
        if let Some(scene) = scene {
            sum.receipts_checked += scene.witnessed.receipts;
            sum.acknowledgements_checked += scene.witnessed.acknowledgements;
            sum.changes_checked += scene.printed.changes;
            sum.changes_repeated += scene.printed.repeated;
            sum.unseen_creates += scene.printed.unseen_creates;
            sum.heads_checked += scene.witnessed.heads();
        }
        sum.violations.extend(violations.into_iter().map(|violation| format!("seed {seed}: {violation}")));
        *sum.programs.entry(self.program.clone()).or_default() += rounds;
        self.write();
    }

    /// Whole or not at all: the lab itself may be stopped at any time.
    fn write(&self) {
        if let Some(file) = &self.file {
            let text = serde_json::to_string_pretty(&self.evidence).expect("it is JSON");
            let draft = file.with_extension("draft");
            std::fs::write(&draft, text + "\n").expect("the folder is writable");
            std::fs::rename(&draft, file).expect("the folder is writable");
        }
    }
}
