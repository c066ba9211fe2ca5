//! The rows of the queue file: every statement that is run while the queue works.

use std::{collections::HashSet, fs::File, path::Path};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Result, Transaction, TransactionBehavior, params};

use super::{
    file::{self, Problem},
    operation::{Row, headers_from_text, headers_to_text},
};
use crate::{
    clock::UnixMillis,
    queue::{Headers, Message},
};

/// What the probe writes: enough to need new pages.
const PROBE_BYTES: i64 = 64 * 1024;

/// The open file.
pub(super) struct Store {
    connection: Connection,
    next_seq: i64,
    /// Dropped after the connection, so that the next process finds a file that is closed.
    _lock: File,
}

/// What was in the file when it was opened.
pub(super) struct Found {
    /// Queues with messages that were handed out before and not settled: one of them may have killed the process.
    pub(super) suspects: HashSet<String>,
    /// How many messages wait in each queue.
    pub(super) waiting: Vec<(String, i64)>,
    /// The latest time the file has seen, about.
    pub(super) seen: i64,
}

/// A row that is to be handed out.
pub(super) struct Claimed {
    pub(super) tag: u64,
    pub(super) redelivered: bool,
    pub(super) message: Message,
}

impl Store {
    /// Opens the file, and takes back what a process that died had been handed.
    pub(super) fn open(path: &Path) -> Result<(Self, Found), Problem> {
        let (connection, lock) = file::open(path)?;
        let (last_seq, seen) = last(&connection)?;
        let mut store = Self { connection, next_seq: last_seq + 1, _lock: lock };
        let found = store.write(|batch| {
            batch.probe()?;
            let suspects =
                batch.list("SELECT DISTINCT queue FROM messages WHERE deliveries > 0", |row| row.get(0))?;
            batch.0.execute("UPDATE messages SET claimed = 0 WHERE deliveries > 0 AND claimed = 1", [])?;
            let waiting = batch
                .list("SELECT queue, count(*) FROM messages WHERE claimed = 0 GROUP BY queue", |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?;
            Ok(Found { suspects: suspects.into_iter().collect(), waiting, seen })
        })?;
        Ok((store, found))
    }

    /// Runs `work` in one transaction, which is on the disk when this returns, or never was.
    pub(super) fn write<T>(&mut self, work: impl FnOnce(&mut Batch<'_>) -> Result<T>) -> Result<T> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut batch = Batch(&transaction, &mut self.next_seq);
        let result = work(&mut batch)?;
        transaction.commit()?;
        Ok(result)
    }

    /// How many messages of a queue are due that nobody holds. No more than `most` are counted.
    pub(super) fn count_due(&self, queue: &str, now: i64, most: u32) -> Result<u64> {
        let mut statement = self.connection.prepare_cached(
            "SELECT count(*) FROM
             (SELECT 1 FROM messages WHERE claimed = 0 AND queue = ?1 AND due_at <= ?2 LIMIT ?3)",
        )?;
        statement.query_row(params![queue, now, most], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
    }

    /// Brings the write-ahead log into the file, as far as no reader is in the way.
    pub(super) fn checkpoint(&self) -> Result<()> {
        self.connection.pragma(None, "wal_checkpoint", "TRUNCATE", |_| Ok(()))
    }

    /// A number that is another one whenever another program has written to the file.
    pub(super) fn data_version(&self) -> Result<i64> {
        self.connection.pragma_query_value(None, "data_version", |row| row.get(0))
    }

    /// Makes the file full when it has `pages` pages.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: i64) {
        self.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    }
}

/// The last message that arrived and is still there, and when it did or was last moved: no clock of a gateway on this
/// file is behind that.
pub(super) fn last(connection: &Connection) -> Result<(i64, i64)> {
    let sql = "SELECT seq, due_at - delay FROM messages ORDER BY seq DESC LIMIT 1";
    let last = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(last.unwrap_or((0, 0)))
}

/// The columns of a message, in the order in which [`message`] reads them.
pub(super) const MESSAGE: &str = "id, kind, route, published_at, headers, body";

/// The message in a row whose columns [`MESSAGE`] begin at `first`.
pub(super) fn message(row: &rusqlite::Row<'_>, first: usize) -> Result<Message> {
    Ok(Message {
        id: row.get(first)?,
        kind: row.get::<_, String>(first + 1)?.into(),
        route: row.get(first + 2)?,
        published_at: UnixMillis(row.get::<_, i64>(first + 3)?.try_into().unwrap_or(0)),
        headers: headers_from_text(row.get_ref(first + 4)?.as_str()?),
        body: Bytes::from(row.get::<_, Vec<u8>>(first + 5)?),
    })
}

/// One transaction.
pub(super) struct Batch<'a>(&'a Transaction<'a>, &'a mut i64);

impl Batch<'_> {
    /// Adds a message that is due at once.
    pub(super) fn insert(&mut self, row: &Row, now: i64) -> Result<()> {
        let seq = self.next_seq();
        self.statement(
            "INSERT INTO messages
             (seq, queue, due_at, delay, claimed, deliveries, id, kind, route, published_at, headers, body)
             VALUES (?1, ?2, ?3, 0, 0, 0, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                seq,
                row.queue,
                now,
                row.id,
                row.kind,
                row.route,
                row.published_at,
                row.headers,
                row.body.as_ref()
            ],
        )
    }

    /// Takes a message away.
    pub(super) fn remove(&self, tag: u64) -> Result<()> {
        self.statement("DELETE FROM messages WHERE seq = ?1", params![tag.cast_signed()])
    }

    /// Moves a message: as new, but for its body and its place among those that are due at the same time.
    pub(super) fn rewrite(&self, tag: u64, row: &Row, due_at: i64, delay: i64) -> Result<()> {
        self.statement(
            "UPDATE messages SET queue = ?2, due_at = ?3, delay = ?4, claimed = 0, deliveries = 0,
             id = ?5, kind = ?6, route = ?7, published_at = ?8, headers = ?9 WHERE seq = ?1",
            params![
                tag.cast_signed(),
                row.queue,
                due_at,
                delay,
                row.id,
                row.kind,
                row.route,
                row.published_at,
                row.headers
            ],
        )
    }

    /// Buries a message that is waiting.
    pub(super) fn bury(&self, tag: u64, queue: &str, headers: &Headers, now: i64) -> Result<()> {
        self.statement(
            "UPDATE messages SET queue = ?2, due_at = ?3, delay = 0, deliveries = 0, headers = ?4 WHERE seq = ?1",
            params![tag.cast_signed(), queue, now, headers_to_text(headers)],
        )
    }

    /// Puts a message back as if it was never handed out.
    pub(super) fn give_back(&self, tag: u64) -> Result<()> {
        self.statement(
            "UPDATE messages SET claimed = 0, deliveries = max(deliveries - 1, 0) WHERE seq = ?1 AND claimed = 1",
            params![tag.cast_signed()],
        )
    }

    /// Puts all messages back that are handed out.
    pub(super) fn give_all_back(&self) -> Result<()> {
        self.statement(
            "UPDATE messages SET claimed = 0, deliveries = max(deliveries - 1, 0)
             WHERE deliveries > 0 AND claimed = 1",
            [],
        )
    }

    /// The oldest messages of a queue that are due, and how often each was handed out before.
    pub(super) fn due(&self, queue: &str, now: i64, limit: usize) -> Result<Vec<(Claimed, u32)>> {
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT seq, deliveries, {MESSAGE} FROM messages
             WHERE claimed = 0 AND queue = ?1 AND due_at <= ?2 ORDER BY due_at, seq LIMIT ?3",
        ))?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        statement
            .query_map(params![queue, now, limit], |row| {
                let deliveries: u32 = row.get(1)?;
                let message = message(row, 2)?;
                let tag = row.get::<_, i64>(0)?.cast_unsigned();
                Ok((Claimed { tag, redelivered: deliveries > 0, message }, deliveries))
            })?
            .collect()
    }

    /// Notes that a message is handed out.
    pub(super) fn claim(&self, tag: u64) -> Result<()> {
        self.statement(
            "UPDATE messages SET claimed = 1, deliveries = deliveries + 1 WHERE seq = ?1",
            params![tag.cast_signed()],
        )
    }

    /// When the next message of a queue is due.
    pub(super) fn next_due(&self, queue: &str) -> Result<Option<i64>> {
        let mut statement = self.0.prepare_cached(
            "SELECT due_at FROM messages WHERE claimed = 0 AND queue = ?1 ORDER BY due_at, seq LIMIT 1",
        )?;
        statement.query_row([queue], |row| row.get(0)).optional()
    }

    /// Writes and takes away a message, to see whether one can be written.
    pub(super) fn probe(&mut self) -> Result<()> {
        let seq = self.next_seq();
        self.statement(
            "INSERT INTO messages
             (seq, queue, due_at, delay, claimed, deliveries, id, kind, route, published_at, headers, body)
             VALUES (?1, '', 0, 0, 0, 0, '', '', '', 0, '{}', zeroblob(?2))",
            params![seq, PROBE_BYTES],
        )?;
        self.remove(seq.cast_unsigned())
    }

    fn next_seq(&mut self) -> i64 {
        let seq = *self.1;
        *self.1 += 1;
        seq
    }

    fn statement(&self, sql: &str, params: impl rusqlite::Params) -> Result<()> {
        self.0.prepare_cached(sql)?.execute(params).map(drop)
    }

    fn list<T>(&self, sql: &str, read: impl FnMut(&rusqlite::Row<'_>) -> Result<T>) -> Result<Vec<T>> {
        self.0.prepare(sql)?.query_map([], read)?.collect()
    }
}
