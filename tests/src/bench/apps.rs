//! What routing one message costs: the dispatcher's router within this process, with apps that are built of a configuration.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use dispatcher::engines::calls::Calls;
use dispatcher::router::{Outcome, Router};
use futures_util::FutureExt;
use shared::clock;
use shared::config::Config;
use shared::message::{IncomingMessage, MessageId};

use super::case::{Case, Group, Measure, Subject, Values};
use super::meter::float;

const COUNTS: [usize; 3] = [1, 10, 100];

/// How many messages are made before they are routed.
const AT_A_TIME: usize = 1000;

pub(super) static GROUP: Group =
    Group { name: "routing by apps", axis: "apps", plot: &[&[Measure::RoutingUs]] };

pub(super) fn cases() -> Vec<Case> {
    COUNTS.map(at).into()
}

/// The case of so many apps, of which the last claims the message.
pub(super) fn at(apps: usize) -> Case {
    let key = GROUP.key(apps as u64, Subject::Router);
    Case::new(key, move |bench| {
        let time = bench.options.time() / 4;
        async move { Ok(vec![(key, tokio::task::spawn_blocking(move || route(apps, time)).await??)]) }
            .boxed_local()
    })
}

fn route(apps: usize, time: Duration) -> Result<Values> {
    let mut text = String::from("[queue]\nurl = 'embedded:none'\n[backends.p]\nengine = 'httptester'\n");
    for number in 1..=apps {
        write!(
            text,
            "[[apps]]\napp = 'keyword'\nkeyword = 'word{number}'\nreply = 'Thank you, {{text}}!'\n"
        )?;
    }
    let config = Config::parse("gateway.toml", &text, &BTreeMap::new());
    let config = config.map_err(|problems| anyhow!("{problems}"))?;
    let router = Router::new(dispatcher::apps::build(&config, &Calls::Made)?, &config);
    let message = IncomingMessage {
        id: MessageId::new(),
        accepted_at: clock::now(),
        backend: "p".parse()?,
        identity: "+10000000001".into(),
        text: format!("word{apps} Ann"),
        fields: BTreeMap::new(),
        no_reply: false,
    };
    let (begun, mut count, mut nanos) = (Instant::now(), 0, 0);
    while begun.elapsed() < time {
        let messages = vec![message.clone(); AT_A_TIME];
        let before = used()?;
        for message in messages {
            let outcome =
                router.route(message, 1).now_or_never().context("the apps wait for something")??;
            ensure!(matches!(outcome.outcome, Outcome::Handled { .. }), "nobody has claimed it");
        }
        nanos += used()? - before;
        count += AT_A_TIME as u64;
    }
    Ok(Values::from([(Measure::RoutingUs, float(nanos / 1000) / float(count))]))
}

/// The CPU time of this thread, in nanoseconds.
fn used() -> Result<u64> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(stat.split(' ').next().context("no time")?.parse()?)
}
