//! What Kannel does of itself, with the keys of its documented configuration and without them: what its page says of each.

use anyhow::{Context, Result, ensure};
use integration_tests::{
    Kannel, Provider,
    client::client,
    kannel::{GATEWAY, OnAir, PASSWORD},
    provider::{Answer, Behaviour, Request},
    stack::DEADLINE,
};

const NO_SILENCE: (&str, &str) = ("omit-empty = true\nmax-messages = 0\n", "");
const NO_REPEAT: (&str, &str) = ("http-request-retry = 8640\n", "");

/// A Kannel with `changes`, whose gateway is `provider`.
async fn kannel(provider: &Provider, changes: &[(&str, &str)]) -> Result<Kannel> {
    let address = provider.address().to_string();
    Kannel::start_with(&[&[(GATEWAY, address.as_str())], changes].concat()).await
}

fn message(text: &str) -> OnAir {
    OnAir::new("1", "123", "text", text)
}

/// Sends a text past the provider, to be behind all that Kannel sends before.
async fn send(kannel: &Kannel, text: &str) -> Result<()> {
    let query =
        [("username", "rapidsms"), ("password", PASSWORD), ("from", "9"), ("to", "1"), ("text", text)];
    let answer = client()?.get(kannel.sendsms_url()).query(&query).send().await?;
    ensure!(answer.status() == 202, "{answer:?}");
    Ok(())
}

fn id(request: &Request) -> Result<String> {
    request.field("sms_id").filter(|id| !id.is_empty()).context("no sms_id")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_keys_kannel_writes_to_the_phone() -> Result<()> {
    let provider = Provider::start()?;
    let text = |status, body| Answer::new(status, body).header("content-type", "text/plain");
    for (changes, answer, told) in [
        (&[NO_SILENCE][..], text(200, ""), "<Empty reply from service provider>"),
        (&[("max-messages = 0\n", "")], text(200, "OK"), "OK"),
        (&[NO_SILENCE, NO_REPEAT], text(503, ""), "Could not fetch content, sorry."),
    ] {
        provider.behave(answer);
        let mut kannel = kannel(&provider, changes).await?;
        kannel.inject(&message("hello")).await?;
        assert_eq!(kannel.wait_on_air(1, DEADLINE).await?[0].text, told);
    }
    assert_eq!(provider.count(), 3, "none of them is repeated");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_its_keys_kannel_writes_nothing_of_its_own() -> Result<()> {
    let provider = Provider::start()?;
    let mut kannel = kannel(&provider, &[]).await?;
    for (count, (status, body)) in [(200, ""), (200, "OK"), (202, "OK")].into_iter().enumerate() {
        provider.behave(Answer::new(status, body).header("content-type", "text/plain"));
        kannel.inject(&message("hello")).await?;
        provider.wait_for(count + 1, DEADLINE).await?;
    }
    send(&kannel, "last").await?;
    kannel.wait_on_air(1, DEADLINE).await?;
    assert_eq!(kannel.on_air()?, [OnAir::new("9", "1", "text", "last")]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_taken_is_repeated_with_the_same_id() -> Result<()> {
    let mut provider = Provider::start()?;
    let mut kannel = kannel(&provider, &[("http-timeout = 30", "http-timeout = 1")]).await?;
    let statuses = [201, 204, 400, 401, 404, 503];
    for status in statuses {
        provider.behave_once(Answer::new(status, ""));
    }
    provider.behave_once(Behaviour::Close);
    provider.behave_once(Behaviour::Hang);
    kannel.inject(&message("a  b")).await?;
    let requests = provider.wait_for(statuses.len() + 3, DEADLINE).await?;
    let first = id(&requests[0])?;
    for request in &requests {
        assert_eq!((id(request)?, request.field("text").as_deref()), (first.clone(), Some("a  b")));
    }

    provider.stop();
    kannel.inject(&message("b")).await?;
    kannel.wait_logged("Socket not connected").await?;
    provider.restart()?;
    let requests = provider.wait_for(statuses.len() + 4, DEADLINE).await?;
    let last = requests.last().context("no request")?;
    assert_eq!(last.field("text").as_deref(), Some("b"));
    assert_ne!(id(last)?, first);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_in_bearerbox_survives_its_crash() -> Result<()> {
    let provider = Provider::start()?;
    let mut kannel = kannel(&provider, &[]).await?;
    kannel.end_smsbox().await?;
    kannel.inject(&message("hello")).await?;
    kannel.wait_stored(1).await?;
    kannel.crash().await?;
    let requests = provider.wait_for(1, DEADLINE).await?;
    assert_eq!(requests[0].field("text").as_deref(), Some("hello"));
    Ok(())
}
