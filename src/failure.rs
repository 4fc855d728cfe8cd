//! How a command fails: what happened, whether it may have taken effect, what to do, and the exit code.

use std::fmt;

use serde::Serialize;

use crate::console::Console;

/// Exit codes other than 0. Scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A peer refused or denied.
    Refused = 3,
    /// Verification failed: a lie was named.
    Lie = 4,
    /// Nothing could be reached in time.
    Unreachable = 5,
}

/// Whether what was asked for has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Effect {
    /// Nothing was changed.
    None,
    /// It is durable; do not repeat.
    Done,
    /// It may or may not have happened.
    Unknown,
}

/// A failed command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What happened.
    pub(crate) error: String,
    /// Whether it took effect.
    pub(crate) effect: Effect,
    /// What to do.
    pub(crate) action: String,
    /// The exit code.
    pub(crate) exit: Exit,
}

impl Failure {
    /// A failure with exit code 1 that changed nothing.
    pub(crate) fn new(error: impl fmt::Display, action: impl Into<String>) -> Self {
        Self { error: error.to_string(), effect: Effect::None, action: action.into(), exit: Exit::Failed }
    }

    /// A mistake in the command line. Nothing was changed.
    pub(crate) fn usage(error: impl fmt::Display, action: impl Into<String>) -> Self {
        Self::new(error, action).exit(Exit::Usage)
    }

    /// The same with another exit code.
    #[must_use]
    pub(crate) fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// The same with another effect.
    #[must_use]
    pub(crate) fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// The same with something else to do.
    #[must_use]
    pub(crate) fn action(mut self, action: impl Into<String>) -> Self {
        self.action = action.into();
        self
    }

    /// Prints it to standard error: in words, or as one line of JSON.
    pub(crate) fn report(&self, console: &Console, json: bool) {
        if json {
            console.tell(self.json());
            return;
        }
        let effect = match self.effect {
            Effect::None => "nothing was changed",
            Effect::Done => "it is saved",
            Effect::Unknown => "it may have taken effect",
        };
        console.tell(format_args!("tidings: {}\n  {effect}; {}", self.error, self.action));
    }

    fn json(&self) -> String {
        let line = Line { error: &self.error, effect: self.effect, action: &self.action, exit: self.exit as u8 };
        serde_json::to_string(&line).unwrap_or_else(|error| error.to_string())
    }
}

/// The fields in the order of the documentation.
#[derive(Serialize)]
struct Line<'a> {
    error: &'a str,
    effect: Effect,
    action: &'a str,
    exit: u8,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_form_is_the_documented_one() {
        let failure = Failure::new("no broker answered", "do not repeat").effect(Effect::Done).exit(Exit::Unreachable);
        let expected = r#"{"error":"no broker answered","effect":"done","action":"do not repeat","exit":5}"#;
        assert_eq!(failure.json(), expected);
    }
}
