//! Several storages as one.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::{Capabilities, Content, Driver, Name, Pending, Reading, StorageError};

/// Writes to all, reads from the first that has it.
///
/// A write is done when all of them did it; one that failed may have taken effect at some, and is repeated.
pub struct Mirror {
    copies: Vec<Arc<dyn Driver>>,
}

impl Mirror {
    /// These storages, the one to ask first at the front.
    ///
    /// # Panics
    /// Without any.
    pub fn new(copies: Vec<Arc<dyn Driver>>) -> Self {
        assert!(!copies.is_empty(), "a mirror has storages");
        Self { copies }
    }
}

impl Driver for Mirror {
    fn capabilities(&self) -> Capabilities {
        let all = |of: fn(Capabilities) -> bool| self.copies.iter().all(|copy| of(copy.capabilities()));
        Capabilities {
            durable: all(|each| each.durable),
            consistent: all(|each| each.consistent),
            list: self.copies.iter().any(|copy| copy.capabilities().list),
            write: all(|each| each.write),
        }
    }

    fn address(&self) -> String {
        self.copies.iter().map(|copy| copy.address()).collect::<Vec<_>>().join(", ")
    }

    fn create<'a>(&'a self, name: &'a Name, content: Content) -> Pending<'a, Result<(), StorageError>> {
        Box::pin(async move { try_join_all(self.copies.iter().map(|copy| copy.create(name, content.clone()))).await.map(drop) })
    }

    fn replace<'a>(&'a self, name: &'a Name, content: Bytes) -> Pending<'a, Result<(), StorageError>> {
        Box::pin(async move { try_join_all(self.copies.iter().map(|copy| copy.replace(name, content.clone()))).await.map(drop) })
    }

    fn read<'a>(&'a self, name: &'a Name, limit: u64) -> Pending<'a, Result<Reading, StorageError>> {
        Box::pin(async move {
            let mut worst = StorageError::Missing;
            for copy in &self.copies {
                match copy.read(name, limit).await {
                    Ok(reading) => return Ok(reading),
                    Err(StorageError::Missing) => {}
                    // Nobody may conclude from one that cannot be asked that the object is gone.
                    Err(error) => worst = error,
                }
            }
            Err(worst)
        })
    }

    fn remove<'a>(&'a self, name: &'a Name) -> Pending<'a, Result<(), StorageError>> {
        Box::pin(async move { try_join_all(self.copies.iter().map(|copy| copy.remove(name))).await.map(drop) })
    }

    fn copies(&self) -> &[Arc<dyn Driver>] {
        &self.copies
    }

    fn list<'a>(&'a self, prefix: &'a Name) -> Pending<'a, Result<Vec<Name>, StorageError>> {
        Box::pin(async move {
            let mut names = std::collections::BTreeSet::new();
            let lists = self.copies.iter().filter(|copy| copy.capabilities().list).map(|copy| copy.list(prefix));
            try_join_all(lists).await?.into_iter().for_each(|list| names.extend(list));
            Ok(names.into_iter().collect())
        })
    }
}
