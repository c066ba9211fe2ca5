//! Many messages, and many processes: nothing is lost, nothing is doubled, and more dispatchers do more.

use std::{collections::HashMap, time::Instant};

use anyhow::{Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use integration_tests::{
    Provider,
    provider::Answer,
    stack::{DEADLINE, Shape, Stack},
};

const MESSAGES: usize = 10_000;
const CLIENTS: usize = 32;

fn config(provider: &Provider, keys: &str) -> String {
    format!(
        "[backends.p]\nengine = 'http'\nurl = '{}'\nform = {{ to = '{{identity}}', msg = '{{text}}' }}\n{keys}\n\
         [[endpoints]]\nbackend = 'p'\n[[apps]]\napp = 'echo'\n",
        provider.url("/send")
    )
}

/// Posts `echo 0`, `echo 1`, ... from as many clients; each must be answered with 200.
async fn post(stack: &Stack, count: usize, clients: usize) -> Result<()> {
    let post = async |number: usize| {
        stack.accept("/backends/p/", &format!("+{number}"), &format!("echo {number}")).await
    };
    stream::iter(0..count).map(Ok).try_for_each_concurrent(clients, post).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_come_out_once_each() -> Result<()> {
    let provider = Provider::start()?;
    let shape = Shape::Pair { ingress: 1, dispatchers: 1 };
    let stack = Stack::start(shape, &config(&provider, ""), &["p"]).await?;
    post(&stack, MESSAGES, CLIENTS).await?;
    provider.wait_for(MESSAGES, DEADLINE * 4).await?;
    stack.finish().await?;
    let mut seen: HashMap<String, usize> = HashMap::new();
    for text in provider.texts("msg") {
        *seen.entry(text).or_default() += 1;
    }
    assert_eq!(provider.count(), MESSAGES);
    assert!((0..MESSAGES).all(|number| seen.get(&number.to_string()) == Some(&1)));
    Ok(())
}

/// How many messages a second `dispatchers` bring to a provider that takes 50 ms, while they are posted and after.
async fn rate_of(dispatchers: usize) -> Result<f64> {
    let provider = Provider::start()?;
    provider.behave(Answer::new(200, "").after(std::time::Duration::from_millis(50)));
    let shape = Shape::Pair { ingress: 1, dispatchers };
    let stack = Stack::start(shape, &config(&provider, "concurrency = 8"), &["p"]).await?;
    let (count, begun) = (1500, Instant::now());
    post(&stack, count, CLIENTS).await?;
    let requests = provider.wait_for(count, DEADLINE * 4).await?;
    ensure!(provider.most_at_once() <= 8 * dispatchers, "{} at once", provider.most_at_once());
    stack.finish().await?;
    // The first and the last messages find some lanes empty; what is between is the rate.
    let times: Vec<f64> =
        requests.iter().map(|request| request.at.duration_since(begun).as_secs_f64()).collect();
    let (first, last) = (count / 5, count * 4 / 5);
    let rate = f64::from(u32::try_from(last - first)?) / (times[last] - times[first]);
    Ok(rate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_dispatchers_do_what_one_cannot() -> Result<()> {
    let (one, three) = (rate_of(1).await?, rate_of(3).await?);
    ensure!(three >= 2.5 * one, "one dispatcher sends {one:.0} a second, three send {three:.0}");
    Ok(())
}
