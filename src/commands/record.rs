//! How records are printed.

use std::io::{self, Read};

use data_encoding::{BASE64, HEXLOWER};
use serde::Serialize;
use tidings_client::{FollowedValue, OwnValue, Stage};
use tidings_core::Mutation;
use tidings_datastore::Value;
use tidings_proto::Timestamp;

use crate::clock;
use crate::failure::Failure;
use crate::output::Form;

/// Longest value that is part of a line.
const JSON_BYTES_MAX: u64 = 64 * 1024;
/// Piece in which a value is written.
const PIECE_BYTES: usize = 64 * 1024;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    fetched: Option<bool>,
    #[serde(flatten)]
    value: Option<Text>,
}

/// A value inside JSON: as text if it is some, else as base64; `null` for one that is too long for a line.
#[derive(Debug, Serialize)]
enum Text {
    #[serde(rename = "value")]
    Utf8(Option<String>),
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

    /// A record of a followed owner; whether its value is here.
    pub(crate) fn followed(owner: &str, value: &FollowedValue, fetched: bool) -> Self {
        let (owner, as_of) = (Some(owner.to_owned()), Some(clock::text(value.as_of)));
        Self { owner, as_of, fetched: Some(fetched), offset: Some(value.offset.value()), ..Self::of(&value.mutation) }
    }

    /// One line: the path, or the JSON object.
    pub(crate) fn list(&self, form: &Form) -> Result<(), Failure> {
        form.line(self, || self.path.clone())
    }

    /// The value as it is, or the JSON object with it. Blocks.
    pub(crate) fn show(mut self, form: &Form, value: Value) -> Result<(), Failure> {
        if !form.is_json() {
            return write(form, value);
        }
        self.value = Some(if value.size() > JSON_BYTES_MAX { Text::Utf8(None) } else { Text::of(bytes(value)?) });
        form.line(&self, String::new)
    }

    /// In words nothing; the JSON object without the value, which was put elsewhere.
    pub(crate) fn tell(mut self, form: &Form) -> Result<(), Failure> {
        self.value = Some(Text::Utf8(None));
        if form.is_json() { form.line(&self, String::new) } else { Ok(()) }
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
            fetched: None,
            value: None,
        }
    }
}

impl Text {
    fn of(value: Vec<u8>) -> Self {
        String::from_utf8(value).map_or_else(|error| Self::Base64(BASE64.encode(error.as_bytes())), |text| Self::Utf8(Some(text)))
    }
}

/// Piece by piece; all of it is verified already.
fn write(form: &Form, value: Value) -> Result<(), Failure> {
    let value = match value {
        Value::Inline(bytes) => return form.write(&bytes),
        Value::File(value) => value,
    };
    let (mut file, mut piece) = (value.into_file(), vec![0; PIECE_BYTES]);
    loop {
        match file.read(&mut piece).map_err(unreadable)? {
            0 => return Ok(()),
            count => form.write(&piece[..count])?,
        }
    }
}

fn bytes(value: Value) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    match value {
        Value::Inline(value) => bytes.extend_from_slice(&value),
        Value::File(value) => drop(value.into_file().read_to_end(&mut bytes).map_err(unreadable)?),
    }
    Ok(bytes)
}

fn unreadable(error: io::Error) -> Failure {
    Failure::new(format!("a temporary file cannot be read: {error}"), "repeat")
}

/// BLAKE3 of the value in hex.
pub(crate) fn hash(mutation: &Mutation) -> Option<String> {
    mutation.value_hash().map(|hash| HEXLOWER.encode(&hash))
}
