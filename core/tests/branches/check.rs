//! What was promised, looked at when everything has come to rest.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::head::{Entry, Head, Path, Row, contains};
use super::world::World;

/// A promise that was broken.
#[derive(Clone, Debug)]
pub(crate) enum Broken {
    /// A receipted value is nowhere.
    Lost { _value: Row },
    /// A value lives that a receipted delete of somebody who knew it had ended.
    Resurrected { _value: Row },
    /// A rank was signed twice.
    SignedTwice { _rank: (u64, u64) },
    /// A row was put over a later one.
    OlderOverNewer { _row: Row },
    /// It did not come to rest.
    NoProgress,
}

/// One write of an application.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) row: Row,
    /// Heads that signed it.
    pub(crate) signed: Vec<Rc<Head>>,
    /// When each broker receipted a head with it in its history.
    pub(crate) receipted: BTreeMap<usize, u64>,
}

impl World {
    /// Every broken promise of this life.
    pub(crate) fn check(&self) -> Vec<Broken> {
        let held = self.log.iter().filter(|written| !written.receipted.is_empty() && !self.is_excused(written));
        let broken = held.filter_map(|written| if written.row.delete { self.check_delete(written) } else { self.check_value(written) });
        self.broken.iter().cloned().chain(broken).collect()
    }

    fn check_value(&self, written: &Written) -> Option<Broken> {
        let (row, Path::Plain(place)) = (&written.row, written.row.path) else { return None };
        let covers = |entry: &Entry| match entry.row.path {
            Path::Plain(_) => entry.row.path == row.path && entry.row.version >= row.version,
            Path::Rescued(other, version) => other == place && version >= row.version,
        };
        let there = self.final_state().head.as_ref().is_some_and(|head| head.live.values().any(covers));
        let kept = self.final_state().kept.iter().any(|kept| kept.path == row.path && kept.version >= row.version);
        let deleted = self.log.iter().any(|later| later.row.delete && later.row.path == row.path && later.row.version > row.version);
        (!there && !kept && !deleted).then(|| Broken::Lost { _value: row.clone() })
    }

    fn check_delete(&self, written: &Written) -> Option<Broken> {
        let head = self.final_state().head.as_ref()?;
        let entry = head.entry(written.row.path).filter(|entry| !entry.row.delete && entry.row.version < written.row.version)?;
        let value = self.log.iter().find(|other| other.row == entry.row)?;
        let knew = |delete: &Rc<Head>| value.signed.iter().any(|signed| contains(&Some(delete.clone()), signed.id));
        written.signed.iter().any(knew).then(|| Broken::Resurrected { _value: entry.row.clone() })
    }

    /// The owner lost its state, and every broker that held it was rolled back or lied.
    fn is_excused(&self, written: &Written) -> bool {
        let first = written.receipted.values().min().copied().unwrap_or(0);
        let failed = |(broker, held): (&usize, &u64)| self.brokers[*broker].failed.iter().any(|time| time >= held);
        self.lost.iter().any(|time| *time >= first) && written.receipted.iter().all(failed)
    }
}
