//! A stop finishes what was begun within its deadline, and says so in the exit code.

use std::time::Duration;

use anyhow::Result;
use integration_tests::{
    Provider,
    provider::{Answer, Behaviour},
    stack::{DEADLINE, Shape, Stack},
};

use crate::on_every_shape;

on_every_shape!(what_was_begun_is_finished, what_cannot_be_finished_is_kept);

fn config(provider: &Provider) -> String {
    format!(
        "drain_timeout = '2s'\n[backends.p]\nengine = 'http'\nurl = '{}'\nquery = {{ msg = '{{text}}' }}\n\
         [[endpoints]]\nbackend = 'p'\n[[apps]]\napp = 'echo'\n",
        provider.url("/send")
    )
}

async fn what_was_begun_is_finished(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave(Answer::new(200, "").after(Duration::from_millis(700)));
    let stack = Stack::start(shape, &config(&provider), &["p"]).await?;
    stack.accept("/backends/p/", "1", "echo a").await?;
    provider.wait_for(1, DEADLINE).await?;
    stack.finish().await?;
    assert_eq!(provider.texts("msg"), ["a"]);
    Ok(())
}

async fn what_cannot_be_finished_is_kept(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave(Behaviour::Hang);
    let stack = Stack::start(shape, &config(&provider), &["p"]).await?;
    stack.accept("/backends/p/", "1", "echo a").await?;
    provider.wait_for(1, DEADLINE).await?;
    let left = stack.stop_unfinished("outgoing.p").await?;
    assert_eq!(left.len(), 1);
    assert_eq!(left["outgoing.p"].len(), 1);
    Ok(())
}
