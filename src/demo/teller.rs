//! What is printed: who did what, how long it took, how much it was.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::failure::Failure;
use crate::output::Form;

/// Tells steps that were asserted.
pub(super) struct Teller {
    form: Form,
    began: Instant,
}

/// One step.
#[derive(Debug, Serialize)]
pub(super) struct Step<'a> {
    /// Who did it.
    pub(super) who: &'a str,
    /// What.
    pub(super) what: String,
    /// How long it took.
    #[serde(rename = "ms", serialize_with = "milliseconds")]
    pub(super) took: Duration,
    /// Entries or records that it was about.
    pub(super) entries: Option<u64>,
    /// Bytes that it was about.
    pub(super) bytes: Option<u64>,
}

impl Teller {
    /// A teller whose clock starts now.
    pub(super) fn new(form: Form) -> Self {
        Self { form, began: Instant::now() }
    }

    /// Tells a step without figures.
    pub(super) fn step(&self, who: &str, what: impl Into<String>, took: Duration) -> Result<(), Failure> {
        self.figures(&Step { who, what: what.into(), took, entries: None, bytes: None })
    }

    /// Tells a step.
    pub(super) fn figures(&self, step: &Step<'_>) -> Result<(), Failure> {
        self.form.line(step, || format!("{:6.2} s  {:<8}{}", self.began.elapsed().as_secs_f64(), step.who, step.words()))
    }
}

impl Step<'_> {
    fn words(&self) -> String {
        let entries = self.entries.map(|entries| format!("{entries} entries"));
        let bytes = self.bytes.map(|bytes| format!("{bytes} bytes"));
        let took = Some(format!("{} ms", self.took.as_millis()));
        let figures: Vec<_> = [entries, bytes, took].into_iter().flatten().collect();
        format!("{} ({})", self.what, figures.join(", "))
    }
}

fn milliseconds<S: serde::Serializer>(took: &Duration, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_u128(took.as_millis())
}
