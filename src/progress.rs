//! Progress bars on standard error.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::ProgressMode;

/// A bar that shows how far something has come; invisible where nobody looks.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Without a terminal a bar cannot be redrawn: every tenth is a line of its own.
    lines: Option<Tenths>,
}

#[derive(Debug)]
struct Tenths {
    what: &'static str,
    printed: Option<u64>,
}

impl Progress {
    /// A bar for `what`. Its length is set with the first step.
    pub(crate) fn new(mode: ProgressMode, what: &'static str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let visible = terminal && mode != ProgressMode::Never;
        let bar = ProgressBar::with_draw_target(None, if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
        let style = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len} {per_sec} {eta}").expect("the template is well formed");
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(what);
        let lines = (mode == ProgressMode::Always && !terminal).then_some(Tenths { what, printed: None });
        Self { bar, lines }
    }

    /// `done` of `of`.
    pub(crate) fn step(&mut self, done: u64, of: u64) {
        self.bar.set_length(of);
        self.bar.set_position(done.min(of));
        if let Some(lines) = &mut self.lines {
            lines.step(done.min(of), of);
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Tenths {
    fn step(&mut self, done: u64, of: u64) {
        let tenth = done.saturating_mul(10).checked_div(of).unwrap_or(10);
        if self.printed.is_none_or(|printed| tenth > printed) {
            eprintln!("{} {done}/{of}", self.what);
            self.printed = Some(tenth);
        }
    }
}
