//! Delivery reports of the real Kannel: it calls the URL that each message has told it.

use std::cell::Cell;

use anyhow::{Context, Result, ensure};
use integration_tests::{
    Kannel, Provider, eventually,
    kannel::BACKEND,
    provider::Request,
    stack::{DEADLINE, Shape, Stack},
};
use serde_json::Value;

use crate::on_every_shape;

/// What is told of each message: that Kannel has it, that the network has it, and that the phone has it.
const STATES: [&str; 3] = ["queued", "sent", "delivered"];

on_every_shape!(every_text_is_reported_to_the_apps);

/// The documented configuration, with reports to `gateway`, of which `listener` is told.
fn config(kannel: &Kannel, gateway: &Provider, listener: &Provider) -> Result<String> {
    let engine = "engine         = \"kannel\"\n";
    let documented = kannel.gateway_config()?;
    ensure!(documented.contains(engine), "{documented}");
    let asking = format!("{engine}delivery_report_url = '{}'\n", gateway.url(""));
    let elsewhere = format!(
        "[[endpoints]]\nbackend = '{BACKEND}'\npath = '/in'\n[[apps]]\napp = 'echo'\n\
         [[apps]]\napp = 'forward'\nurl = '{}'\nphases = ['report']\n",
        listener.url("/")
    );
    Ok(documented.replacen(engine, &asking, 1) + &elsewhere)
}

/// Passes on what Kannel asks of `gateway`, as a proxy in front would, until `listener` was told so often.
async fn pass_on(stack: &Stack, gateway: &Provider, listener: &Provider, told: usize) -> Result<Vec<Value>> {
    let passed = Cell::new(0);
    eventually("all reports are told", DEADLINE, async || {
        let requests = gateway.requests();
        for request in &requests[passed.get()..] {
            ask(stack, request).await?;
            passed.set(passed.get() + 1);
        }
        let documents: Vec<Value> = listener.requests().iter().map(Request::json).collect::<Result<_>>()?;
        ensure!(documents.len() >= told, "{documents:?}");
        anyhow::Ok(documents)
    })
    .await
}

async fn ask(stack: &Stack, request: &Request) -> Result<()> {
    let credentials = request.header("authorization").context("no credentials")?;
    let url = stack.url(&format!("{}?{}", request.path, request.query))?;
    let answer = stack.client().get(url).header("authorization", credentials).send().await?;
    ensure!(answer.status() == 200, "{request:?}: {answer:?}");
    ensure!(answer.text().await?.is_empty(), "an answer that Kannel might send on");
    Ok(())
}

async fn every_text_is_reported_to_the_apps(shape: Shape) -> Result<()> {
    let (gateway, listener) = (Provider::start()?, Provider::start()?);
    let kannel = Kannel::start().await?;
    let stack = Stack::start(shape, &config(&kannel, &gateway, &listener)?, &[BACKEND]).await?;
    let texts = [
        "h\u{e9}llo 5\u{20ac} [x]",
        "\u{645}\u{631}\u{62d}\u{628}\u{627} 1+1",
        "\u{1f469}\u{200d}\u{1f469} \u{1f600}",
    ];
    for (count, text) in texts.into_iter().enumerate() {
        let number = format!("+25471122233{count}");
        stack.accept("/in", &number, &format!("echo {text}")).await?;
        let on_air = kannel.wait_on_air(count + 1, DEADLINE).await?;
        assert_eq!(on_air[count].text, text);
        let told = pass_on(&stack, &gateway, &listener, STATES.len() * (count + 1)).await?;
        let of_this: Vec<&Value> = told.iter().filter(|told| told["identity"] == number).collect();
        let states: Vec<_> = of_this.iter().filter_map(|told| told["state"].as_str()).collect();
        assert_eq!(states, STATES);
    }
    stack.finish().await
}
