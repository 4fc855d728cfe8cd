//! Puts tables and plots between the markers of the page for people, and leaves the rest of it alone.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::evidence::Evidence;
use crate::workloads::WORKLOADS;
use crate::{plot, table};

const PAGE: &str = "docs/performance.md";
const FIRST: &str = "<!-- bench-peers: written by the command, from here -->";
const LAST: &str = "<!-- bench-peers: to here -->";

/// Draws every workload that the evidence has, and writes all tables.
pub(crate) fn write(repository: &Path, evidence: &Evidence) -> Result<()> {
    let mut text = String::from("\n");
    for name in WORKLOADS {
        let Some(workload) = evidence.of(name) else { continue };
        text += &table::workload(name, workload);
        let image = format!("evidence/peers-{name}.svg");
        fs::write(repository.join("docs").join(&image), plot::workload(name, &workload.rows))?;
        text += &format!("![{}]({image})\n\n", table::title(name));
    }
    let path = repository.join(PAGE);
    let page = fs::read_to_string(&path)?;
    fs::write(&path, between(&page, &text).with_context(|| format!("{PAGE} lacks the markers"))?)?;
    Ok(())
}

fn between(page: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(FIRST)?;
    let (_, after) = rest.split_once(LAST)?;
    Some(format!("{before}{FIRST}\n{text}{LAST}{after}"))
}

#[cfg(test)]
mod tests {
    use super::{FIRST, LAST, between};

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let page = format!("a\n{FIRST}\nold\n{LAST}\nb\n");
        assert_eq!(between(&page, "new\n"), Some(format!("a\n{FIRST}\nnew\n{LAST}\nb\n")));
        assert_eq!(between("no markers", "new"), None);
    }
}
