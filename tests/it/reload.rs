//! SIGHUP: what a running process follows, what it refuses, and what it says of the rest. And a restart without a gap.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use integration_tests::{
    Provider, Service, eventually,
    provider::Answer,
    stack::{DEADLINE, Shape, Stack},
};

use crate::{on_every_shape, rate::ensure_within};

on_every_shape!(
    a_new_rate_is_obeyed_at_once,
    a_bad_file_is_refused_and_all_goes_on,
    the_log_level_changes,
    what_needs_a_restart_is_named_without_its_value,
);

/// A backend with these keys.
fn config(provider: &Provider, keys: &str) -> String {
    format!(
        "[backends.p]\nengine = 'http'\nurl = '{}'\nform = {{ to = '{{identity}}', msg = '{{text}}' }}\n{keys}\n\
         [[endpoints]]\nbackend = 'p'\n[[apps]]\napp = 'echo'\n",
        provider.url("/send")
    )
}

/// Each from another identity.
async fn post(stack: &Stack, count: usize) -> Result<()> {
    for number in 0..count {
        stack.accept("/backends/p/", &format!("+{number}"), &format!("echo {number}")).await?;
    }
    Ok(())
}

/// What waits for a slow rate does not wait for its old turn, and as many calls run at a time as the new rate needs.
async fn a_new_rate_is_obeyed_at_once(shape: Shape) -> Result<()> {
    let (provider, count) = (Provider::start()?, 40);
    provider.behave(Answer::new(200, "").after(Duration::from_millis(200)));
    let mut stack = Stack::start(shape, &config(&provider, "rate = 0.01"), &["p"]).await?;
    post(&stack, count).await?;
    eventually("all are routed", DEADLINE, async || {
        let routed = stack.logged().matches("INFO routed ").count();
        ensure!(routed == count, "{routed} are");
        Ok(())
    })
    .await?;
    ensure!(provider.count() == 0, "the rate was not obeyed");
    stack.reload(|text| text.replace("rate = 0.01", "rate = 20"))?;
    stack.expect_all_log("INFO SIGHUP: applied: backends.p.rate").await?;
    let requests = provider.wait_for(count, DEADLINE).await?;
    stack.finish().await?;
    let many = shape == (Shape::Pair { ingress: 2, dispatchers: 3 });
    ensure_within(20.0, if many { 4 } else { 1 }, &requests)?;
    // Four are needed for this rate, and one at a time was enough for the old one.
    ensure!(provider.most_at_once() > 1, "the number of deliveries at a time has not followed");
    let mut texts = provider.texts("msg");
    texts.sort_unstable();
    texts.dedup();
    ensure!(
        (texts.len(), provider.count()) == (count, count),
        "{} calls for {} texts",
        provider.count(),
        texts.len()
    );
    Ok(())
}

/// Two calls at a time, which is what the old rate needs, would be ten a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_has_its_prefetch_gets_another_one() -> Result<()> {
    let (provider, count) = (Provider::start()?, 50);
    provider.behave(Answer::new(200, "").after(Duration::from_millis(200)));
    let shape = Shape::Pair { ingress: 1, dispatchers: 3 };
    let mut stack = Stack::start(shape, &config(&provider, "rate = 1"), &["p"]).await?;
    post(&stack, count).await?;
    provider.wait_for(3, DEADLINE).await?;
    stack.reload(|text| text.replace("rate = 1\n", "rate = 20\n"))?;
    let requests = provider.wait_for(count, DEADLINE).await?;
    stack.finish().await?;
    // The consumer is replaced, and until it is there another process may have sent its first ones.
    ensure_within(20.0, 5, &requests)?;
    ensure!(provider.most_at_once() > 2, "the number of deliveries at a time has not followed");
    ensure!(provider.count() == count, "{} calls", provider.count());
    Ok(())
}

async fn a_bad_file_is_refused_and_all_goes_on(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    let mut stack = Stack::start(shape, &config(&provider, "rate = 100"), &["p"]).await?;
    stack.reload(|text| text.replace("rate = 100", "rate = 0\nspeed = 1"))?;
    stack.expect_all_log("gateway.toml:5: backends.p.rate: messages a second are wanted").await?;
    stack.expect_all_log("gateway.toml:6: backends.p.speed: unknown key").await?;
    stack.expect_all_log("ERROR SIGHUP: refused, all goes on as before").await?;
    post(&stack, 5).await?;
    provider.wait_for(5, DEADLINE).await?;
    stack.reload(|text| text.replace("rate = 0\nspeed = 1", "rate = 200"))?;
    stack.expect_all_log("INFO SIGHUP: applied: backends.p.rate").await?;
    stack.wait_ready().await?;
    stack.finish().await
}

async fn the_log_level_changes(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    let config = config(&provider, "") + "[logging]\nlevel = 'error'\nshow_messages = true\n";
    let mut stack = Stack::start(shape, &config, &["p"]).await?;
    stack.accept("/backends/p/", "+1", "echo before").await?;
    provider.wait_for(1, DEADLINE).await?;
    stack.reload(|text| text.replace("level = 'error'", "level = 'info'"))?;
    stack.expect_all_log("INFO SIGHUP: applied: logging.level").await?;
    stack.accept("/backends/p/", "+1", "echo after").await?;
    stack.expect_logged("text=\"after\"").await?;
    let logged = stack.logged();
    ensure!(logged.contains("INFO accepted ") && !logged.contains("before"), "{logged}");
    stack.finish().await
}

async fn what_needs_a_restart_is_named_without_its_value(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    let keys = "headers = { Authorization = 'Bearer s3cret' }";
    let mut stack = Stack::start(shape, &config(&provider, keys), &["p"]).await?;
    stack.reload(|text| text.replace("s3cret", "0ther").replace("max_attempts = 3", "max_attempts = 4"))?;
    let keys = "backends.p.headers.Authorization, queue.max_attempts";
    stack.expect_all_log(&format!("WARN SIGHUP: changed, and needs a restart: {keys}")).await?;
    post(&stack, 1).await?;
    let requests = provider.wait_for(1, DEADLINE).await?;
    assert_eq!(requests[0].header("authorization"), Some("Bearer s3cret"));
    let logged = stack.logged();
    ensure!(!logged.contains("s3cret") && !logged.contains("0ther"), "{logged}");
    stack.finish().await
}

/// As an operator would who is in a hurry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_no_process_whose_broker_is_not_there_yet_however_often_it_comes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("gateway.toml");
    let text = "[queue]\nurl = 'amqp://127.0.0.1:1/%2f'\nconnect_timeout = '10m'\n[backends.b]\nengine = 'httptester'\n\
                rate = 1\n[ingress]\nlisten = '127.0.0.1:0'\nadmin_listen = '127.0.0.1:0'\n\
                [dispatcher]\nadmin_listen = '127.0.0.1:0'\n";
    fs::write(&file, text)?;
    for program in ["ingress", "dispatcher", "gateway"] {
        let mut service = Service::start(program, &[], &file, &[]).await?;
        fs::write(&file, text.replace("rate = 1", "rate = 2"))?;
        for _ in 0..50 {
            service.hangup()?;
        }
        eventually("the file is read", DEADLINE, async || {
            let lines = service.stderr();
            let is_read = lines.iter().any(|line| line.contains("SIGHUP: applied: backends.b.rate"));
            ensure!(is_read, "{lines:?}");
            Ok(())
        })
        .await?;
        ensure!(service.exit_status()?.is_none());
        fs::write(&file, text)?;
    }
    Ok(())
}

/// The new process is ready before the old one is asked to stop; who finds the old one gone asks the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingress_is_replaced_under_load_and_nothing_is_refused_or_lost() -> Result<()> {
    let provider = Provider::start()?;
    let stack =
        Stack::start(Shape::Pair { ingress: 1, dispatchers: 1 }, &config(&provider, ""), &["p"]).await?;
    let (mut old, mut new) = (stack.start_program("ingress").await?, stack.start_program("ingress").await?);
    let urls = [old.ingress_url("/backends/p/")?, new.ingress_url("/backends/p/")?];
    let client = stack.client();
    let traffic = async {
        let (mut accepted, mut gone, mut after) = (0, false, 0);
        while after < 20 {
            let form = [("identity", format!("+{accepted}")), ("text", format!("echo {accepted}"))];
            match client.post(&urls[usize::from(gone)]).form(&form).send().await {
                Ok(answer) => {
                    ensure!(answer.status() == 200, "{}", answer.status());
                    accepted += 1;
                    after += usize::from(gone);
                }
                Err(error) => {
                    ensure!(!gone, "the new one does not answer: {error}");
                    gone = true;
                }
            }
        }
        Ok(accepted)
    };
    let replace = async {
        provider.wait_for(50, DEADLINE).await?;
        let url = new.admin_url("/health/ready");
        eventually("the new one is ready", DEADLINE, async || {
            Ok::<_, anyhow::Error>(client.get(&url).send().await?.error_for_status()?)
        })
        .await?;
        old.terminate()?;
        ensure!(old.wait_exit(DEADLINE).await? == 0);
        anyhow::Ok(())
    };
    let (accepted, replaced) = tokio::join!(traffic, replace);
    replaced?;
    let accepted: usize = accepted?;
    eventually("all that was accepted is sent", DEADLINE, async || {
        let mut texts = provider.texts("msg");
        texts.sort_unstable();
        texts.dedup();
        ensure!(texts.len() == accepted, "{} of {accepted}", texts.len());
        Ok(())
    })
    .await?;
    new.terminate()?;
    ensure!(new.wait_exit(DEADLINE).await? == 0);
    stack.finish().await
}
