//! Storages over HTTP: buckets and web servers.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future};
use object_store::path::Path as StorePath;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};
use tokio::io::AsyncReadExt;

use super::{Capabilities, Content, Driver, Name, Pending, Reading, StorageError};

/// A storage that `object_store` reaches, below a prefix.
pub(super) struct Remote {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) prefix: StorePath,
    pub(super) address: String,
    pub(super) capabilities: Capabilities,
    pub(super) parts: Parts,
}

/// Whether a long object goes in parts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Parts {
    /// In parts, one after the other, so that one of them is in memory.
    Several,
    /// In one request: plain HTTP has no other way.
    One,
}

/// One part, bytes; buckets take parts of 5 MiB and more.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Longest text of another program in an error.
const TEXT_CHARS_MAX: usize = 200;

impl Remote {
    fn path(&self, name: &Name) -> StorePath {
        name.as_str().split('/').fold(self.prefix.clone(), |path, segment| path.join(segment))
    }

    async fn put(&self, path: &StorePath, content: Content) -> Result<(), StorageError> {
        match content {
            Content::Bytes(bytes) => self.store.put(path, bytes.into()).await.map(drop).map_err(storage_error),
            Content::File(file) => self.put_file(path, &file).await,
        }
    }

    /// In one step where the server knows conditions, else directly after a read.
    async fn exchange(&self, path: &StorePath, seen: Option<Bytes>, content: Bytes) -> Result<bool, StorageError> {
        let mode = match self.store.get(path).await {
            Ok(found) => {
                let limit = seen.as_ref().map_or(0, Bytes::len).max(content.len()) as u64;
                if found.meta.size > limit {
                    return Ok(false);
                }
                let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
                let found = found.bytes().await.map_err(storage_error)?;
                if found == content {
                    return Ok(true);
                }
                if Some(&found) != seen.as_ref() {
                    return Ok(false);
                }
                if version.e_tag.is_some() { PutMode::Update(version) } else { PutMode::Overwrite }
            }
            Err(Error::NotFound { .. }) if seen.is_none() => PutMode::Create,
            Err(Error::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(storage_error(error)),
        };
        match self.store.put_opts(path, content.clone().into(), PutOptions::from(mode)).await {
            Ok(_) => Ok(true),
            Err(Error::Precondition { .. } | Error::AlreadyExists { .. }) => Ok(false),
            Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => self.put(path, Content::Bytes(content)).await.map(|()| true),
            Err(error) => Err(storage_error(error)),
        }
    }

    async fn put_file(&self, path: &StorePath, file: &Path) -> Result<(), StorageError> {
        let mut file = tokio::fs::File::open(file).await.map_err(local_error)?;
        let length = file.metadata().await.map_err(local_error)?.len();
        if self.parts == Parts::One || length <= PART_BYTES as u64 {
            let mut content = Vec::new();
            file.read_to_end(&mut content).await.map_err(local_error)?;
            return self.store.put(path, content.into()).await.map(drop).map_err(storage_error);
        }
        let mut upload = self.store.put_multipart(path).await.map_err(storage_error)?;
        loop {
            let part = next_part(&mut file).await?;
            if part.is_empty() {
                return upload.complete().await.map(drop).map_err(storage_error);
            }
            if let Err(error) = upload.put_part(PutPayload::from(part)).await {
                // Parts that nobody completes would be paid for.
                let _ = upload.abort().await;
                return Err(storage_error(error));
            }
        }
    }

    fn name(&self, path: &StorePath) -> Option<Name> {
        let parts = path.prefix_match(&self.prefix)?;
        Name::new(parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/")).ok()
    }
}

impl Driver for Remote {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn address(&self) -> String {
        self.address.clone()
    }

    fn create<'a>(&'a self, name: &'a Name, content: Content) -> Pending<'a, Result<(), StorageError>> {
        // One that is there is the same: writing it again changes nothing, and asking first would be a second request.
        Box::pin(async move { self.put(&self.path(name), content).await })
    }

    fn replace<'a>(&'a self, name: &'a Name, content: Bytes) -> Pending<'a, Result<(), StorageError>> {
        Box::pin(async move { self.put(&self.path(name), Content::Bytes(content)).await })
    }

    fn exchange<'a>(&'a self, name: &'a Name, seen: Option<Bytes>, content: Bytes) -> Pending<'a, Result<bool, StorageError>> {
        Box::pin(async move { self.exchange(&self.path(name), seen, content).await })
    }

    fn read<'a>(&'a self, name: &'a Name, limit: u64) -> Pending<'a, Result<Reading, StorageError>> {
        Box::pin(async move {
            let found = self.store.get(&self.path(name)).await.map_err(storage_error)?;
            let size = found.meta.size;
            if size > limit {
                return Err(StorageError::TooLarge);
            }
            // A server may send more than it said.
            let bounded = found.into_stream().map_err(storage_error).scan(limit, |left, piece| {
                let piece = piece.and_then(|piece| {
                    *left = left.checked_sub(piece.len() as u64).ok_or(StorageError::TooLarge)?;
                    Ok(piece)
                });
                future::ready(Some(piece))
            });
            Ok(Reading { size, bytes: bounded.boxed() })
        })
    }

    fn remove<'a>(&'a self, name: &'a Name) -> Pending<'a, Result<(), StorageError>> {
        Box::pin(async move {
            match self.store.delete(&self.path(name)).await.map_err(storage_error) {
                Err(StorageError::Missing) => Ok(()),
                done => done,
            }
        })
    }

    fn list<'a>(&'a self, prefix: &'a Name) -> Pending<'a, Result<Vec<Name>, StorageError>> {
        Box::pin(async move {
            if !self.capabilities.list {
                return Err(StorageError::Unsupported("list"));
            }
            let path = self.path(prefix);
            let mut names: Vec<Name> = self
                .store
                .list(Some(&path))
                .map_err(storage_error)
                .try_filter_map(|found| future::ready(Ok(self.name(&found.location))))
                .try_collect()
                .await?;
            names.sort();
            Ok(names)
        })
    }
}

async fn next_part(file: &mut tokio::fs::File) -> Result<Bytes, StorageError> {
    let mut part = Vec::with_capacity(PART_BYTES);
    file.take(PART_BYTES as u64).read_to_end(&mut part).await.map_err(local_error)?;
    Ok(part.into())
}

/// The file to be written cannot be read: repeating will not help.
fn local_error(error: std::io::Error) -> StorageError {
    StorageError::Refused(error.to_string())
}

fn storage_error(error: Error) -> StorageError {
    match error {
        Error::NotFound { .. } => StorageError::Missing,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => StorageError::Refused("access is denied".into()),
        Error::NotSupported { .. } | Error::NotImplemented { .. } => StorageError::Unsupported("do that"),
        other => StorageError::Unavailable(cause(&other)),
    }
}

/// The innermost cause: the outer ones name addresses, which may hold credentials.
fn cause(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string().chars().map(|each| if each.is_control() { ' ' } else { each }).take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use tidings_hostile::{Meal, feed};

    use super::*;

    /// A server lists whatever it likes: what is no name of an object below the prefix is none.
    #[test]
    fn a_place_that_a_server_lists_is_an_object_or_none() {
        let capabilities = Capabilities { durable: false, consistent: false, list: true, write: true };
        for prefix in ["", "x/y"] {
            let remote = Remote {
                store: Arc::new(InMemory::new()),
                prefix: StorePath::parse(prefix).expect("a prefix"),
                address: String::new(),
                capabilities,
                parts: Parts::One,
            };
            let honest = ["a", "objects/0f/0f00"].map(|name| remote.path(&Name::new(name).expect("a name")).as_ref().as_bytes().to_vec());
            feed("place of a listing", Meal::LARGE, &honest, |bytes| {
                let text = std::str::from_utf8(bytes).ok()?;
                let places = [StorePath::parse(text).ok(), StorePath::from_url_path(text).ok()];
                for place in places.into_iter().flatten() {
                    if let Some(name) = remote.name(&place) {
                        assert_eq!(remote.path(&name), place);
                    }
                }
                remote.name(&StorePath::parse(text).ok()?).map(|_| bytes.to_vec())
            });
        }
    }
}
