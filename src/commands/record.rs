//! How records are printed.

use data_encoding::{BASE64, HEXLOWER};
use serde::Serialize;
use tidings_client::{FollowedValue, OwnValue, Stage};
use tidings_core::Mutation;
use tidings_proto::Timestamp;

use crate::clock;
use crate::failure::Failure;
use crate::output::{self, Form};

/// A record as JSON. `None` is left out.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    path: String,
    size: u64,
    hash: Option<String>,
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'static str>,
    written: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<String>,
    #[serde(flatten)]
    value: Option<Text>,
}

/// A value inside JSON: as text if it is some, else as base64.
#[derive(Debug, Serialize)]
enum Text {
    #[serde(rename = "value")]
    Utf8(String),
    #[serde(rename = "value_base64")]
    Base64(String),
}

impl Record {
    /// An own record.
    pub(crate) fn own(value: &OwnValue) -> Self {
        let stage = match value.stage {
            Stage::Waiting => "waiting",
            Stage::Signed => "signed",
            Stage::Receipted => "receipted",
        };
        Self { stage: Some(stage), offset: value.offset.map(|offset| offset.value()), ..Self::of(&value.mutation) }
    }

    /// A record of a followed owner.
    pub(crate) fn followed(owner: &str, value: &FollowedValue) -> Self {
        let (owner, as_of) = (Some(owner.to_owned()), Some(clock::text(value.as_of)));
        Self { owner, as_of, offset: Some(value.offset.value()), ..Self::of(&value.mutation) }
    }

    /// One line: the path, or the JSON object.
    pub(crate) fn list(&self, form: Form) -> Result<(), Failure> {
        form.line(self, || self.path.clone())
    }

    /// The value as it is, or the JSON object with it.
    pub(crate) fn show(mut self, form: Form, mutation: &Mutation) -> Result<(), Failure> {
        let Some(value) = &mutation.inline else {
            let error = format!("{}: the value is in a storage, and this version of Tidings has no storage drivers", self.path);
            return Err(Failure::new(error, "use a newer version of Tidings"));
        };
        if form == Form::Words {
            return output::write(value);
        }
        self.value = Some(match std::str::from_utf8(value) {
            Ok(text) => Text::Utf8(text.to_owned()),
            Err(_) => Text::Base64(BASE64.encode(value)),
        });
        form.line(&self, String::new)
    }

    fn of(mutation: &Mutation) -> Self {
        let content_type = mutation.headers.iter().find(|(name, _)| name == "content-type");
        Self {
            owner: None,
            path: mutation.path.as_str().to_owned(),
            size: mutation.size(),
            hash: hash(mutation),
            offset: None,
            stage: None,
            written: clock::text(Timestamp::new(mutation.version.clock >> 16)),
            content_type: content_type.map(|(_, value)| String::from_utf8_lossy(value).into_owned()),
            as_of: None,
            value: None,
        }
    }
}

/// BLAKE3 of the value in hex.
pub(crate) fn hash(mutation: &Mutation) -> Option<String> {
    mutation.value_hash().map(|hash| HEXLOWER.encode(&hash))
}
