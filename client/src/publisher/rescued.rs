//! Values that no merge could decide about: kept as records of their own until a person takes or drops them. [P-5]

use tidings_core::{Mutation, RecordPath, Version};
use tokio::sync::oneshot;

use super::error::WriteError;
use super::owner::Part;
use super::task::{Command, WriteCommand};
use super::write::{OwnValue, Ticket, Write};
use super::{Publisher, own_value};
use crate::state::{OwnView, StateError, receipted_offset};

/// Where rescued values are.
const RESCUED: &str = "/.tidings/rescued";

/// A value that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rescued {
    /// What it is called: the last segment of its own path, in hex.
    pub id: String,
    /// The record that had this value.
    pub path: RecordPath,
    /// Version it had there.
    pub version: Version,
    /// Length of the value, bytes.
    pub size: u64,
    /// Its media type; empty if unknown.
    pub content_type: String,
    /// The record that keeps it, with the value.
    pub mutation: Mutation,
    /// What the record has now; `None` if it is not there.
    pub now: Option<OwnValue>,
}

impl Publisher {
    /// Rescued values, ascending by id.
    pub fn rescued(&self) -> Result<Vec<Rescued>, StateError> {
        self.shared.state.read(|transaction| {
            let view = OwnView(transaction);
            let receipted = receipted_offset(&view)?;
            let mut found = Vec::new();
            for path in view.paths(RESCUED)? {
                let Some(kept) = own_value(&view, &path, receipted)? else { continue };
                let Some(was) = kept.mutation.rescued() else { continue };
                let now = own_value(&view, &was.path, receipted)?;
                found.push(Rescued {
                    id: path.as_str().rsplit('/').next().unwrap_or_default().to_owned(),
                    path: was.path.clone(),
                    version: was.version,
                    size: kept.mutation.size(),
                    content_type: content_type(&kept.mutation),
                    mutation: kept.mutation,
                    now,
                });
            }
            Ok(found)
        })
    }

    /// The value becomes that of its record, with a new version, and the rescued record is deleted: both in one transaction, and in one
    /// publish if it has room.
    ///
    /// # Errors
    /// [`WriteError::NotFound`] if there is no such value; nothing was written.
    pub async fn take_rescued(&self, id: &str) -> Result<Vec<Ticket>, WriteError> {
        let found = self.rescued_value(id)?;
        let Rescued { path, content_type, mutation, .. } = found;
        let kept = mutation.path.clone();
        let value = match (mutation.object, mutation.inline) {
            (Some(object), _) => Write::PutObject { path, object },
            (None, value) => Write::Put { path, value: value.unwrap_or_default(), content_type },
        };
        self.write_reserved(vec![value, Write::Delete { path: kept }]).await
    }

    /// The rescued value goes.
    ///
    /// # Errors
    /// [`WriteError::NotFound`] if there is no such value; nothing was written.
    pub async fn drop_rescued(&self, id: &str) -> Result<Ticket, WriteError> {
        let kept = self.rescued_value(id)?.mutation.path;
        let mut tickets = self.write_reserved(vec![Write::Delete { path: kept }]).await?;
        tickets.pop().ok_or(WriteError::Closed)
    }

    fn rescued_value(&self, id: &str) -> Result<Rescued, WriteError> {
        let found = self.rescued()?.into_iter().find(|rescued| rescued.id == id);
        match (found, format!("{RESCUED}/{id}").parse()) {
            (Some(found), _) => Ok(found),
            (None, Ok(path)) => Err(WriteError::NotFound(path)),
            (None, Err(_)) => Err(WriteError::NoSuchValue),
        }
    }

    async fn write_reserved(&self, writes: Vec<Write>) -> Result<Vec<Ticket>, WriteError> {
        let (done, answer) = oneshot::channel();
        let parts = vec![Part { writes, rows: Vec::new(), reserved: true }];
        self.commands.send(Command::Write(WriteCommand { parts, done })).await.map_err(|_| WriteError::Closed)?;
        let answers = answer.await.map_err(|_| WriteError::Closed)??;
        answers.into_iter().next().unwrap_or(Err(WriteError::Closed))
    }
}

fn content_type(mutation: &Mutation) -> String {
    let header = mutation.headers.iter().find(|(name, _)| name == super::write::CONTENT_TYPE);
    match (&mutation.object, header) {
        (Some(object), _) => object.content_type.clone(),
        (None, Some((_, value))) => String::from_utf8_lossy(value).into_owned(),
        (None, None) => String::new(),
    }
}

/// How many values wait for a person.
pub(super) fn count(view: &OwnView<'_>) -> Result<u64, StateError> {
    let mut count = 0;
    for path in view.paths(RESCUED)? {
        count += u64::from(own_value(view, &path, tidings_proto::Offset::ZERO)?.is_some());
    }
    Ok(count)
}
