//! What a tool prints: gathered first, printed at once, and fit for a terminal.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use crate::lifecycle::{Exit, Failure};

/// The lines so far.
#[derive(Default)]
pub(super) struct Out(String);

impl Out {
    pub(super) fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// Prints. That nobody reads any more is no error: `list | head`.
    pub(super) fn print(&self) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        let printed = stdout.write_all(self.0.as_bytes()).and_then(|()| stdout.flush());
        match printed {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(Exit::Unavailable, format!("standard output cannot be written: {error}")))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// `text` on one line: what comes from outside must not move the cursor of a terminal, nor turn its text around.
#[must_use]
pub fn one_line(text: &str) -> String {
    let moves = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if moves(c) {
            write!(line, "\\u{:04x}", u32::from(c)).ok();
        } else {
            line.push(c);
        }
    }
    line
}
