//! What a child process prints, line by line.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// The lines of a pipe, read by a thread until its other end is closed.
pub(super) struct Lines {
    seen: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Lines {
    pub(super) fn read(pipe: impl Read + Send + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&seen);
        let reader = thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Self { seen, reader: Some(reader) }
    }

    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the last line of a process that has ended.
    pub(super) fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            // The thread cannot panic, and its lines are there whatever it answers.
            drop(reader.join());
        }
    }
}
