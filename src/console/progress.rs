//! Progress bars on standard error.

use std::io;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use super::Console;
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
    console: Console,
    what: &'static str,
    printed: Option<u64>,
}

impl Progress {
    /// A bar for `what`. Its length is set with the first step.
    pub(super) fn new(console: Console, mode: ProgressMode, what: &'static str) -> Self {
        let terminal = console.terminal();
        let target = match terminal {
            Some(_) if mode == ProgressMode::Never => ProgressDrawTarget::hidden(),
            Some(_) if console.is_local() => ProgressDrawTarget::stderr(),
            Some(columns) => ProgressDrawTarget::term_like(Box::new(Distant { console: console.clone(), columns })),
            None => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len} {per_sec} {eta}").expect("the template is well formed");
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(what);
        let lines = (mode == ProgressMode::Always && terminal.is_none()).then_some(Tenths { console, what, printed: None });
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
            self.console.tell(format_args!("{} {done}/{of}", self.what));
            self.printed = Some(tenth);
        }
    }
}

/// A terminal at which another process sits.
#[derive(Debug)]
struct Distant {
    console: Console,
    columns: u16,
}

impl Distant {
    fn write(&self, text: &str) -> io::Result<()> {
        self.console.err(text.as_bytes());
        Ok(())
    }

    /// Moves the cursor `count` times as the letter of the control sequence says.
    fn step(&self, count: usize, letter: char) -> io::Result<()> {
        if count == 0 { Ok(()) } else { self.write(&format!("\x1b[{count}{letter}")) }
    }
}

impl TermLike for Distant {
    fn width(&self) -> u16 {
        self.columns
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.step(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.step(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.step(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.step(n, 'D')
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.write(&format!("{s}\n"))
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        self.write(s)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.write("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
