//! `dead-letters`: what an operator sees of them, and is told of what was done.

use std::{
    fmt::Write as _,
    time::{Duration, UNIX_EPOCH},
};

use serde_json::json;

use super::{
    arguments::{Chosen, DeadLetters},
    out::{Out, one_line},
};
use crate::{
    clock::UnixMillis,
    config::Config,
    lifecycle::{Exit, Failure},
    queue::{
        dead_letters::{self, Action, DeadQueue, Filter, Letter, MAX_REPLAYS, Selection},
        header,
    },
};

/// The last second whose year has four digits.
const LAST_SECOND: u64 = 253_402_300_799;

/// The columns of `list`; the last is as long as it is.
const COLUMNS: [&str; 7] = ["ID", "SINCE (UTC)", "ROUTE", "CLASS", "ATTEMPTS", "REPLAYS", "REASON"];

/// Does what is asked for. `program` is named in advice.
pub(super) async fn run(program: &str, config: &Config, command: DeadLetters) -> Result<(), Failure> {
    // Printed when the letters are back in their queue: a reader that pauses would hold them.
    let mut out = Out::default();
    let done = match command {
        DeadLetters::List { chosen, limit, json } => list(config, chosen, limit, json, &mut out).await,
        DeadLetters::Show { id, place } => show(program, config, place.dead_queue(), id, &mut out).await,
        DeadLetters::Replay { chosen, limit } => replay(program, config, chosen, limit, &mut out).await,
        DeadLetters::Discard { chosen, limit, all: _ } => {
            discard(program, config, chosen, limit, &mut out).await
        }
    };
    out.print()?;
    done
}

async fn list(
    config: &Config,
    chosen: Chosen,
    limit: usize,
    json: bool,
    out: &mut Out,
) -> Result<(), Failure> {
    let (dead_queue, Selection { filter, .. }) = (chosen.dead_queue(), chosen.selection(None));
    let (mut rows, mut found, mut all) = (Vec::new(), 0_usize, 0);
    let mut look = |letter: &Letter| {
        all += 1;
        if filter.selects(letter) {
            found += 1;
            if found <= limit && json {
                out.line(&object(letter));
            } else if found <= limit {
                rows.push(row(letter));
            }
        }
        Action::Keep
    };
    dead_letters::visit(config, dead_queue, &mut look).await?;
    for line in table(&rows) {
        out.line(&line);
    }
    if json {
        return Ok(());
    }
    if found == 0 && all > 0 {
        out.line(&format!("none of {} is meant", letters(dead_queue, all)));
    } else if found == 0 {
        out.line(&letters(dead_queue, 0));
    } else if found > limit {
        out.line(&format!("and {} more; see --limit", found - limit));
    }
    Ok(())
}

async fn show(
    program: &str,
    config: &Config,
    dead_queue: DeadQueue,
    id: String,
    out: &mut Out,
) -> Result<(), Failure> {
    let filter = Filter { ids: [id.clone()].into(), ..Filter::default() };
    let mut found = false;
    let mut look = |letter: &Letter| {
        if filter.selects(letter) {
            found = true;
            out.line(&whole(letter));
        }
        Action::Keep
    };
    dead_letters::visit(config, dead_queue, &mut look).await?;
    let missing = if found { Vec::new() } else { vec![id] };
    all_found(program, dead_queue, &missing)
}

async fn replay(
    program: &str,
    config: &Config,
    chosen: Chosen,
    limit: Option<usize>,
    out: &mut Out,
) -> Result<(), Failure> {
    let (dead_queue, selection) = (chosen.dead_queue(), chosen.selection(limit));
    let done = dead_letters::replay(config, dead_queue, selection).await?;
    out.line(&format!("replayed {}", letters(dead_queue, done.replayed)));
    if done.too_often > 0 {
        let told = format!(
            "{} stay: replayed {MAX_REPLAYS} times already; what is tried again all the same is named with --id",
            done.too_often
        );
        out.line(&told);
    }
    if done.unrouted > 0 {
        let told =
            format!("{} stay: no queue is bound for their routes; configure the backends", done.unrouted);
        out.line(&told);
    }
    all_found(program, dead_queue, &done.missing)
}

async fn discard(
    program: &str,
    config: &Config,
    chosen: Chosen,
    limit: Option<usize>,
    out: &mut Out,
) -> Result<(), Failure> {
    let (dead_queue, selection) = (chosen.dead_queue(), chosen.selection(limit));
    let done = dead_letters::discard(config, dead_queue, selection).await?;
    out.line(&format!("discarded {}", letters(dead_queue, done.discarded)));
    all_found(program, dead_queue, &done.missing)
}

/// An error that names what was asked for by its id and is not there.
fn all_found(program: &str, dead_queue: DeadQueue, missing: &[String]) -> Result<(), Failure> {
    if missing.is_empty() {
        return Ok(());
    }
    let option = if dead_queue == DeadQueue::Unrouted { " --unrouted" } else { "" };
    let what = letters(dead_queue, 1);
    let told = format!(
        "there is no {} with the id {}; `{program} dead-letters list{option}` prints those that there are",
        what.trim_start_matches("1 "),
        missing.iter().map(|id| one_line(id)).collect::<Vec<_>>().join(", ")
    );
    Err(Failure::new(Exit::Unavailable, told))
}

/// `3 dead letters`.
fn letters(dead_queue: DeadQueue, count: usize) -> String {
    let what = match dead_queue {
        DeadQueue::Dead => "dead letter",
        DeadQueue::Unrouted => "unrouted message",
    };
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

fn row(letter: &Letter) -> [String; 7] {
    let message = &letter.message;
    let id = if message.id.is_empty() { "-".to_owned() } else { one_line(&message.id) };
    [
        id,
        time(letter.since),
        one_line(&message.route),
        one_line(letter.class()),
        message.attempts().to_string(),
        letter.replays().to_string(),
        one_line(&letter.reason()),
    ]
}

/// Lines with columns as wide as their widest cell.
fn table(rows: &[[String; 7]]) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let head = COLUMNS.map(str::to_owned);
    let all = || std::iter::once(&head).chain(rows);
    let widths: [usize; 7] =
        std::array::from_fn(|column| all().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let line = |row: &[String; 7]| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths).take(COLUMNS.len() - 1) {
            write!(line, "{cell:width$}  ").ok();
        }
        line + &row[COLUMNS.len() - 1]
    };
    all().map(line).collect()
}

fn object(letter: &Letter) -> String {
    let message = &letter.message;
    let object = json!({
        "id": message.id,
        "since": time(letter.since),
        "route": message.route,
        "backend": letter.backend(),
        "class": letter.class(),
        "attempts": message.attempts(),
        "replays": letter.replays(),
        "reason": letter.reason(),
    });
    one_line(&object.to_string())
}

/// The headers that `show` prints elsewhere than among the headers.
const SHOWN: [&str; 5] = [header::CLASS, header::REASON, header::ATTEMPTS, header::REPLAYS, header::HISTORY];

/// All of a letter.
fn whole(letter: &Letter) -> String {
    let message = &letter.message;
    let mut text = String::new();
    let mut field = |name: &str, value: &str| writeln!(text, "{name:<10} {}", one_line(value)).ok();
    field("id", &message.id);
    field("since", &time(letter.since));
    field("route", &message.route);
    field("class", letter.class());
    field("reason", &letter.reason());
    field("attempts", &message.attempts().to_string());
    field("replays", &letter.replays().to_string());
    field("published", &time(message.published_at));
    field("type", &message.kind);
    text.push_str("headers\n");
    for (name, value) in message.headers.iter().filter(|(name, _)| !SHOWN.contains(&name.as_str())) {
        writeln!(text, "  {:<13} {}", one_line(name), one_line(value)).ok();
    }
    text.push_str("history\n");
    for attempt in letter.history() {
        let (at, class, reason) = (time(attempt.at), one_line(&attempt.class), one_line(&attempt.reason));
        writeln!(text, "  {at}  {class}  {reason}").ok();
    }
    text.push_str("body\n  ");
    text.push_str(&one_line(&String::from_utf8_lossy(&message.body)));
    text.push('\n');
    text
}

fn time(at: UnixMillis) -> String {
    let at = UNIX_EPOCH + Duration::from_secs(at.seconds().min(LAST_SECOND));
    humantime::format_rfc3339_seconds(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Headers, Message};

    fn letter(route: &str, reason: &str) -> Letter {
        let headers = [("class", "rejected"), ("reason", reason), ("attempts", "1"), ("sent", r#"["0/1"]"#)];
        let history = r#"[{"at":1790000000000,"class":"rejected","reason":"status 400"}]"#;
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let message = Message {
            id: "019a".to_owned(),
            kind: "outgoing.v1".into(),
            route: route.to_owned(),
            body: r#"{"text":"hello"}"#.into(),
            published_at: UnixMillis(1_789_999_999_000),
            headers: headers.into_iter().chain([("history", history)]).map(own).collect::<Headers>(),
        };
        Letter::new(DeadQueue::Dead, message, None)
    }

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let rows = [
            row(&letter("outgoing.a", "status 400: no\nsuch \u{1b}[2Jnumber")),
            row(&letter("incoming.longer", "x")),
        ];
        let expected = [
            "ID    SINCE (UTC)           ROUTE            CLASS     ATTEMPTS  REPLAYS  REASON",
            "019a  2026-09-21T14:13:20Z  outgoing.a       rejected  1         0        status 400: no\\u000asuch \\u001b[2Jnumber",
            "019a  2026-09-21T14:13:20Z  incoming.longer  rejected  1         0        x",
        ];
        assert_eq!(table(&rows), expected);
        assert!(table(&[]).is_empty());
    }

    #[test]
    fn a_letter_is_shown_whole_and_listed_without_its_body() {
        let letter = letter("outgoing.a", "400");
        let whole = whole(&letter);
        for expected in [
            "id         019a\n",
            "class      rejected\n",
            "published  2026-09-21T14:13:19Z\n",
            "  sent          [\"0/1\"]\n",
            "history\n  2026-09-21T14:13:20Z  rejected  status 400\n",
            "body\n  {\"text\":\"hello\"}\n",
        ] {
            assert!(whole.contains(expected), "{expected} is not in {whole}");
        }
        assert!(!object(&letter).contains("hello") && object(&letter).contains(r#""backend":"a""#));
    }

    #[test]
    fn any_time_can_be_told() {
        assert_eq!(time(UnixMillis(u64::MAX)), "9999-12-31T23:59:59Z");
        assert_eq!(time(UnixMillis(0)), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn counts_are_told_in_words() {
        let told = [0, 1, 2].map(|count| format!("replayed {}", letters(DeadQueue::Dead, count)));
        assert_eq!(told, ["replayed no dead letters", "replayed 1 dead letter", "replayed 2 dead letters"]);
        let failure = all_found("gateway", DeadQueue::Unrouted, &["1".to_owned()]).unwrap_err();
        assert_eq!(
            failure.message,
            "there is no unrouted message with the id 1; `gateway dead-letters list --unrouted` prints those that there are"
        );
    }
}
