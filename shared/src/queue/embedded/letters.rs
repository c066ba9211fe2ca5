//! Visits letters in the queue file, beside a gateway that may be running: it takes what is replayed within a second.
//!
//! The gateway's lock is not taken; SQLite's own are, for a few milliseconds at a time.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Result, TransactionBehavior, params};

use super::{
    file::{self, Problem},
    operation::Row,
    store::{MESSAGE, last, message},
};
use crate::{
    clock::UnixMillis,
    lifecycle::{Exit, Failure},
    queue::{
        dead_letters::{Action, DeadQueue, Letter, Visit, Visited, revive},
        routes::Routes,
    },
};

/// How many letters are read, and changed, at a time: the gateway waits as long for its turn.
const CHUNK: i64 = 500;

/// Goes through the letters in `file`.
pub(in crate::queue) fn visit(file: &Path, routes: &Routes, visit: Visit<'_>) -> Result<Visited, Failure> {
    let failed = |problem: Problem| {
        Failure::new(Exit::Unavailable, format!("the queue file {} {problem}", file.display()))
    };
    let connection = file::open_shared(file).map_err(failed)?;
    let mut letters =
        Letters { connection, queue: visit.dead_queue.queue().to_string(), dead_queue: visit.dead_queue };
    letters.visit(routes, visit).map_err(|error| failed(error.into()))
}

/// Where a letter lies: when it came there, and its number.
type Place = (i64, i64);

/// The letters of one queue.
struct Letters {
    connection: Connection,
    queue: String,
    dead_queue: DeadQueue,
}

impl Letters {
    fn visit(&mut self, routes: &Routes, visit: Visit<'_>) -> Result<Visited> {
        let Visit { began, decide, .. } = visit;
        let mut visited = Visited::default();
        let Some(newest) = self.newest()? else { return Ok(visited) };
        let mut after = (i64::MIN, 0);
        loop {
            let chunk = self.read(after, newest)?;
            let Some((last, _)) = chunk.last() else { return Ok(visited) };
            after = *last;
            let mut actions = chunk.into_iter().map(|(place, letter)| (decide(&letter), place, letter));
            let mut chosen = Vec::new();
            let ends = loop {
                match actions.next() {
                    Some((Action::Keep, ..)) => {}
                    Some((Action::End, ..)) => break true,
                    Some((Action::Replay, (_, seq), letter)) => {
                        let message = revive(letter.message, began);
                        let queue = routes.queue(&message.route);
                        chosen.push((seq, Some(Row::new(message, queue))));
                    }
                    Some((Action::Discard, (_, seq), _)) => chosen.push((seq, None)),
                    None => break false,
                }
            };
            self.change(&chosen, began, &mut visited)?;
            if ends {
                return Ok(visited);
            }
        }
    }

    /// The last letter that is there: what comes later is not visited.
    fn newest(&self) -> Result<Option<Place>> {
        let sql = "SELECT due_at, seq FROM messages WHERE claimed = 0 AND queue = ?1
                   ORDER BY due_at DESC, seq DESC LIMIT 1";
        self.connection.query_row(sql, [&self.queue], |row| Ok((row.get(0)?, row.get(1)?))).optional()
    }

    fn read(&self, after: Place, newest: Place) -> Result<Vec<(Place, Letter)>> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT due_at, seq, {MESSAGE} FROM messages
             WHERE claimed = 0 AND queue = ?1 AND (due_at, seq) > (?2, ?3) AND (due_at, seq) <= (?4, ?5)
             ORDER BY due_at, seq LIMIT ?6"
        ))?;
        let params = params![self.queue, after.0, after.1, newest.0, newest.1, CHUNK];
        let rows = statement.query_map(params, |row| {
            let place: Place = (row.get(0)?, row.get(1)?);
            let since = u64::try_from(place.0).ok().map(UnixMillis);
            Ok((place, Letter::new(self.dead_queue, message(row, 2)?, since)))
        })?;
        rows.collect()
    }

    /// Changes a chunk in one transaction. A letter that another tool has taken meanwhile is left to it.
    fn change(
        &mut self,
        chosen: &[(i64, Option<Row>)],
        now: UnixMillis,
        visited: &mut Visited,
    ) -> Result<()> {
        if chosen.is_empty() {
            return Ok(());
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut changed = *visited;
        // Not in the future of a gateway that runs, whose clock is its own: it would not deliver.
        let (_, seen) = last(&transaction)?;
        let due_at = seen.min(i64::try_from(now.0).unwrap_or(i64::MAX));
        for (seq, row) in chosen {
            match row {
                Some(row) => {
                    changed.replayed += transaction
                        .prepare_cached(
                            "UPDATE messages SET queue = ?3, due_at = ?4, delay = 0, deliveries = 0, headers = ?5
                             WHERE seq = ?1 AND queue = ?2 AND claimed = 0",
                        )?
                        .execute(params![seq, self.queue, row.queue, due_at, row.headers])?;
                }
                None => {
                    changed.discarded += transaction
                        .prepare_cached("DELETE FROM messages WHERE seq = ?1 AND queue = ?2 AND claimed = 0")?
                        .execute(params![seq, self.queue])?;
                }
            }
        }
        transaction.commit()?;
        *visited = changed;
        Ok(())
    }
}
