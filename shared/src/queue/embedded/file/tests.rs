//! What opening refuses, and with which words.

use std::fs;

use rusqlite::{OptionalExtension, StatementStatus, params};

use super::*;

fn refusal(file: &Path) -> String {
    open(file).map(drop).unwrap_err().to_string()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_file_is_made_marked_and_opened_again() {
    let folder = folder();
    let file = folder.path().join("gateway.db");
    drop(open(&file).unwrap());
    let (connection, _lock) = open(&file).unwrap();
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((pragma("application_id"), pragma("user_version")), (APPLICATION_ID, 1));
    assert_eq!(pragma("synchronous"), 2);
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

#[test]
fn a_file_is_for_one_process_by_whatever_name() {
    let folder = folder();
    let file = folder.path().join("gateway.db");
    let held = open(&file).unwrap();
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for name in [file.clone(), link, folder.path().join("./gateway.db")] {
        assert_eq!(
            refusal(&name),
            "is in use by another gateway; stop it, or name another file in `queue.url`"
        );
    }
    drop(held);
    open(&file).unwrap();
}

#[test]
fn a_folder_must_exist() {
    let refused = refusal(&folder().path().join("missing/gateway.db"));
    assert!(refused.contains("folder that does not exist; create the folder"), "{refused}");
    let refused = refusal(Path::new("/"));
    assert!(refused.contains("cannot be"), "{refused}");
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    // In the kernel's folders nobody makes files, not even root.
    let refused = refusal(Path::new("/proc/self/gateway.db"));
    assert!(refused.contains("name another file in `queue.url`"), "{refused}");
    let read_only = Problem::from(io::Error::from(io::ErrorKind::ReadOnlyFilesystem)).to_string();
    assert!(read_only.starts_with("cannot be written (read-only filesystem"), "{read_only}");
    let full = Problem::from(io::Error::from(io::ErrorKind::StorageFull)).to_string();
    assert!(full.contains("the disk is full; make room"), "{full}");
}

#[test]
fn a_read_only_file_is_refused_for_whom_it_is_read_only() {
    let folder = folder();
    let file = folder.path().join("gateway.db");
    drop(open(&file).unwrap());
    let mut permissions = fs::metadata(&file).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&file, permissions).unwrap();
    // Root may write all the same, and is then served.
    match File::options().write(true).open(&file) {
        Ok(_) => drop(open(&file).unwrap()),
        Err(_) => assert!(refusal(&file).contains("read-only"), "{}", refusal(&file)),
    }
}

#[test]
fn what_sqlite_cannot_write_is_told() {
    for (code, told) in [
        (rusqlite::ffi::SQLITE_READONLY, "cannot be written ("),
        (rusqlite::ffi::SQLITE_CANTOPEN, "cannot be written ("),
        (rusqlite::ffi::SQLITE_FULL, "cannot be written: the disk is full; make room"),
        (rusqlite::ffi::SQLITE_CORRUPT, "is damaged ("),
        (rusqlite::ffi::SQLITE_IOERR, "cannot be used ("),
    ] {
        let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
        let problem = Problem::from(error).to_string();
        assert!(problem.starts_with(told), "{problem}");
    }
}

#[test]
fn a_newer_file_is_refused_and_left_alone() {
    let folder = folder();
    let file = folder.path().join("gateway.db");
    drop(open(&file).unwrap());
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let before = fs::read(&file).unwrap();
    assert!(
        refusal(&file).starts_with("was written by a newer gateway (its version is 2); upgrade this one")
    );
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn what_is_no_queue_is_refused_and_left_alone() {
    let folder = folder();
    let text = folder.path().join("notes.txt");
    fs::write(&text, "not a database, but long enough to look at: ".repeat(100)).unwrap();
    let other = folder.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE django_session (id)").unwrap();
    let marked = folder.path().join("marked.db");
    Connection::open(&marked).unwrap().pragma_update(None, "application_id", 7).unwrap();
    for file in [text, other, marked] {
        let before = fs::read(&file).unwrap();
        assert_eq!(refusal(&file), "is not a queue of this gateway; name another file in `queue.url`");
        assert_eq!(fs::read(&file).unwrap(), before);
    }
}

#[test]
fn a_tool_shares_the_file_and_neither_makes_nor_migrates_one() {
    let folder = folder();
    let file = folder.path().join("gateway.db");
    let refusal = || open_shared(&file).map(drop).unwrap_err().to_string();
    assert_eq!(refusal(), "does not exist; start the gateway, which makes it, or correct `queue.url`");
    assert!(!file.exists());
    let _held = open(&file).unwrap();
    let count = "SELECT count(*) FROM messages";
    open_shared(&file).unwrap().query_row(count, [], |row| row.get::<_, i64>(0)).unwrap();
    let version =
        |version| Connection::open(&file).unwrap().pragma_update(None, "user_version", version).unwrap();
    version(0);
    assert!(refusal().starts_with("was written by an older gateway (its version is 0); start this one"));
    version(1000);
    assert!(refusal().starts_with("was written by a newer gateway"));
    let text = folder.path().join("notes.txt");
    fs::write(&text, "not a database, but long enough to look at: ".repeat(100)).unwrap();
    let refusal = open_shared(&text).map(drop).unwrap_err().to_string();
    assert!(refusal.starts_with("is not a queue of this gateway"), "{refusal}");
}

#[test]
fn a_statement_is_prepared_once_whatever_is_bound() {
    let folder = folder();
    let (connection, _lock) = open(&folder.path().join("gateway.db")).unwrap();
    let due = "SELECT seq FROM messages WHERE claimed = 0 AND queue = ?1 ORDER BY due_at, seq LIMIT ?2";
    let mut statement = connection.prepare(due).unwrap();
    for most in 1..4 {
        statement.query_row(params!["incoming", most], |_| Ok(())).optional().unwrap();
    }
    assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
}
