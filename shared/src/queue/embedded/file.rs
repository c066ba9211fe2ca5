//! Opens the queue file: locks it to this process, and refuses what is not ours before a byte is changed.

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, TransactionBehavior, config::DbConfig};

/// Marks a SQLite file as one of ours: `SMSq`.
const APPLICATION_ID: i64 = 0x534d_5371;

/// The migrations; the one at position N leads to version N + 1. Never changed once released, only added to.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE messages (
        seq          INTEGER PRIMARY KEY,        -- order of arrival
        queue        TEXT    NOT NULL,
        due_at       INTEGER NOT NULL,           -- milliseconds since 1970; not delivered before
        delay        INTEGER NOT NULL,           -- how much of due_at is a retry's delay
        claimed      INTEGER NOT NULL,           -- 1: handed out, not settled
        deliveries   INTEGER NOT NULL,           -- how often handed out since the last move
        id           TEXT    NOT NULL,
        kind         TEXT    NOT NULL,
        route        TEXT    NOT NULL,
        published_at INTEGER NOT NULL,
        headers      TEXT    NOT NULL,           -- a JSON object
        body         BLOB    NOT NULL
    ) STRICT;
    CREATE INDEX messages_waiting ON messages (queue, due_at, seq) WHERE claimed = 0;
    CREATE INDEX messages_delivered ON messages (queue) WHERE deliveries > 0;
"];

/// How long another program that writes (an operator's `sqlite3`) is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// How long an operator's tool waits for the gateway, which writes again and again.
const SHARED_BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The write-ahead log is cut to this when it was longer, in bytes.
const LOG_LIMIT: i64 = 64 * 1024 * 1024;

/// Why a queue file cannot be used. Each text follows "the queue file NAME", and says what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("is in use by another gateway; stop it, or name another file in `queue.url`")]
    InUse,
    #[error(
        "is to be in a folder that does not exist; create the folder, or name another file in `queue.url`"
    )]
    NoFolder,
    #[error("cannot be written ({0}); allow it, or name another file in `queue.url`")]
    NotWritable(String),
    #[error("cannot be written: the disk is full; make room, or name another file in `queue.url`")]
    DiskFull,
    #[error("is not a queue of this gateway; name another file in `queue.url`")]
    Foreign,
    #[error(
        "was written by a newer gateway (its version is {0}); upgrade this one, or name another file in `queue.url`"
    )]
    Newer(i64),
    #[error("is damaged ({0}); restore it, or move it away to begin with an empty one")]
    Damaged(String),
    #[error("does not exist; start the gateway, which makes it, or correct `queue.url`")]
    Missing,
    #[error(
        "was written by an older gateway (its version is {0}); start this one, which brings it up to date"
    )]
    Older(i64),
    #[error("cannot be used ({0}); name another file in `queue.url`")]
    Unusable(String),
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::Foreign,
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged(text),
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::NotWritable(text)
            }
            _ => Self::Unusable(text),
        }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        let kind = error.kind();
        if kind == io::ErrorKind::NotFound {
            Self::NoFolder
        } else if matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            Self::DiskFull
        } else {
            Self::NotWritable(error.to_string())
        }
    }
}

/// The database, ready to use, and the lock that makes it ours for as long as it is held.
pub(super) fn open(file: &Path) -> Result<(Connection, File), Problem> {
    let file = resolve(file)?;
    let lock = lock(&file)?;
    let (mut connection, version) = connect(&file, OpenFlags::SQLITE_OPEN_CREATE, BUSY_TIMEOUT)?;
    configure(&connection)?;
    migrate(&mut connection, version)?;
    Ok((connection, lock))
}

/// The database of a gateway that may be running: it is only shared, as SQLite shares, and neither made nor migrated.
pub(super) fn open_shared(file: &Path) -> Result<Connection, Problem> {
    let file = file.canonicalize().map_err(|_| Problem::Missing)?;
    let (connection, version) = connect(&file, OpenFlags::empty(), SHARED_BUSY_TIMEOUT)?;
    if usize::try_from(version) != Ok(MIGRATIONS.len()) {
        return Err(Problem::Older(version));
    }
    configure(&connection)?;
    Ok(connection)
}

fn connect(file: &Path, flags: OpenFlags, busy_timeout: Duration) -> Result<(Connection, i64), Problem> {
    let flags = flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(busy_timeout)?;
    let version = version(&connection)?;
    // Asked to write where it must not, SQLite opens for reading and says nothing.
    if connection.is_readonly(MAIN_DB)? {
        return Err(Problem::NotWritable("it is read-only".to_owned()));
    }
    Ok((connection, version))
}

/// The real path, so that two names of one file share one lock, and no name means anything else to SQLite.
fn resolve(file: &Path) -> Result<PathBuf, Problem> {
    if let Ok(existing) = file.canonicalize() {
        return Ok(existing);
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = file.file_name().ok_or_else(|| Problem::Unusable("it has no name".to_owned()))?;
    Ok(folder.canonicalize()?.join(name))
}

/// A lock beside the file: a lock on the file itself would be in the way of SQLite's own.
fn lock(file: &Path) -> Result<File, Problem> {
    let mut path = file.as_os_str().to_owned();
    path.push(".lock");
    let lock = File::options().create(true).truncate(false).write(true).open(path)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Problem::InUse),
        Err(TryLockError::Error(error)) => Err(Problem::Unusable(format!("it cannot be locked: {error}"))),
    }
}

/// The version of the file: 0 when it is new.
fn version(connection: &Connection) -> Result<i64, Problem> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (application, version) {
        (0, 0) if tables == 0 => Ok(0),
        (APPLICATION_ID, version)
            if usize::try_from(version).is_ok_and(|version| version <= MIGRATIONS.len()) =>
        {
            Ok(version)
        }
        (APPLICATION_ID, version) => Err(Problem::Newer(version)),
        _ => Err(Problem::Foreign),
    }
}

fn configure(connection: &Connection) -> Result<(), Problem> {
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Problem::Unusable(
            "its file system has no shared memory, which a write-ahead log needs".to_owned(),
        ));
    }
    // A commit is on the disk when it returns; anything less would confirm what a power cut can take away.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_LIMIT, |_| Ok(()))?;
    connection.set_prepared_statement_cache_capacity(32);
    // A plan does not depend on the values that are bound: else statements are prepared again at each use. An index with a
    // condition is used where that stands in the statement, not where its value is bound.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

fn migrate(connection: &mut Connection, version: i64) -> Result<(), Problem> {
    let done = usize::try_from(version).unwrap_or(0);
    if done == MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for migration in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX))?;
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests;
