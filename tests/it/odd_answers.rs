//! Answers as no provider should give them: without an end, too slow, broken off. The verdict is what the status says, where
//! the body does not decide; the call ends in its time, and memory stays flat.

use std::fmt::Write as _;

use anyhow::{Result, anyhow, ensure};
use integration_tests::{
    Provider, eventually,
    provider::{Answer, Then},
    stack::{DEADLINE, Shape, Stack},
};

use crate::{
    providers::{kannel, twilio, vumi},
    sending::dead,
};

const ODD: [Then; 3] = [Then::Flood, Then::Drip, Then::Break];

const PAIR: Shape = Shape::Pair { ingress: 1, dispatchers: 1 };

/// By how much the memory of a dispatcher may grow: a flood brings more in a tenth of a second.
const GROWTH_KIB: u64 = 30 * 1024;

/// An engine, at a provider of its own.
type Sender = (&'static str, fn(&Provider) -> String);

/// Those of them whose answers' bodies say what became of the message.
const DECIDED_BY_BODY: [&str; 2] = ["reads", "vumi"];

const SENDERS: [Sender; 5] = [
    ("http", |provider| {
        format!("engine = 'http'\nurl = '{}'\nform = {{ text = '{{text}}' }}", provider.url("/"))
    }),
    ("reads", |provider| {
        format!(
            "engine = 'http'\nurl = '{}'\nform = {{ text = '{{text}}' }}\nsuccess = {{ body = 'OK' }}",
            provider.url("/")
        )
    }),
    ("kannel", kannel),
    ("twilio", twilio),
    ("vumi", vumi),
];

/// A gateway that sends through all engines, each to its own provider.
struct Scene {
    providers: Vec<Provider>,
    stack: Stack,
}

impl Scene {
    async fn start() -> Result<Self> {
        let (mut providers, mut config) = (Vec::new(), "[[apps]]\napp = 'echo'\n".to_owned());
        for (name, keys) in SENDERS {
            let provider = Provider::start()?;
            provider.behave(Answer::new(200, "OK"));
            let keys = keys(&provider);
            write!(config, "[backends.{name}]\ntimeout = '1s'\n{keys}\n[[endpoints]]\nbackend = '{name}'\n")?;
            providers.push(provider);
        }
        Ok(Self { providers, stack: Stack::start(PAIR, &config, &SENDERS.map(|(name, _)| name)).await? })
    }

    /// Has every provider answer its next request by `answer`, and sends a message through each.
    async fn send(&self, answer: &Answer) -> Result<()> {
        for (provider, (name, _)) in self.providers.iter().zip(SENDERS) {
            provider.behave_once(answer.clone());
            self.stack.accept(&format!("/backends/{name}/"), "+1", "echo a").await?;
        }
        Ok(())
    }

    /// Waits until `backend` has sent so many messages.
    async fn wait_sent(&self, backend: &str, count: usize) -> Result<()> {
        let name = format!(" backend={backend} ");
        eventually(&format!("{backend} has sent {count}"), DEADLINE, async || {
            let log = self.stack.logged();
            let sent =
                log.lines().filter(|line| line.contains("INFO sent message_id=") && line.contains(&name));
            let sent = sent.count();
            if sent == count { Ok(()) } else { Err(anyhow!("sent: {sent}\n{log}")) }
        })
        .await
    }

    fn calls(&self) -> Vec<usize> {
        self.providers.iter().map(Provider::count).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_success_is_one_however_its_body_ends() -> Result<()> {
    let scene = Scene::start().await?;
    scene.send(&Answer::new(200, "OK")).await?;
    for (name, _) in SENDERS {
        scene.wait_sent(name, 1).await?;
    }
    let before = scene.stack.senders_kib()?;
    for (round, then) in ODD.into_iter().enumerate() {
        scene.send(&Answer::new(200, "OK").then(then)).await?;
        for (name, _) in SENDERS.into_iter().filter(|(name, _)| !DECIDED_BY_BODY.contains(name)) {
            scene.wait_sent(name, round + 2).await?;
        }
        // Whose body decides, nobody knows of.
        scene.stack.wait_dead(DECIDED_BY_BODY.len() * (round + 1)).await?;
    }
    let grown = scene.stack.senders_kib()?.saturating_sub(before);
    ensure!(grown < GROWTH_KIB, "the dispatcher has grown by {grown} KiB");
    assert_eq!(scene.calls(), [ODD.len() + 1; SENDERS.len()]);
    let left = scene.stack.stop().await?;
    assert_eq!(dead(&left, "class"), ["unknown"; DECIDED_BY_BODY.len() * ODD.len()]);
    let reasons = dead(&left, "reason");
    for (what, expected) in [
        ("the body, which decides,", ["is too large", "broke off", "broke off"]),
        ("the list of those who were served", ["broke off"; 3]),
    ] {
        let beginning = format!("status 200, but {what} ");
        let told: Vec<_> = reasons.iter().filter_map(|reason| reason.strip_prefix(&beginning)).collect();
        assert_eq!(told, expected);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_tried_again_however_its_body_ends() -> Result<()> {
    let scene = Scene::start().await?;
    for (round, then) in ODD.into_iter().enumerate() {
        scene.send(&Answer::new(500, "no").then(then)).await?;
        for (name, _) in SENDERS {
            scene.wait_sent(name, round + 1).await?;
        }
    }
    assert_eq!(scene.calls(), [2 * ODD.len(); SENDERS.len()]);
    scene.stack.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_one_however_its_body_ends() -> Result<()> {
    let scene = Scene::start().await?;
    for then in ODD {
        scene.send(&Answer::new(400, "no").then(then)).await?;
    }
    let left = scene.stack.wait_dead_and_stop(ODD.len() * SENDERS.len()).await?;
    assert!(dead(&left, "class").into_iter().all(|class| class == "rejected"), "{left:?}");
    assert!(dead(&left, "reason").into_iter().all(|reason| reason == "status 400: no"), "{left:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_application_is_asked_again_when_its_answer_has_no_end() -> Result<()> {
    let provider = Provider::start()?;
    provider.behave(Answer::new(200, r#"{"messages": [{"text": "a"}]}"#));
    let url = provider.url("/");
    let config = format!(
        "[backends.b]\nengine = 'httptester'\n[[endpoints]]\nbackend = 'b'\n\
         [[apps]]\napp = 'webhook'\nurl = '{url}'\ntimeout = '1s'\n"
    );
    let stack = Stack::start(PAIR, &config, &["b"]).await?;
    let mut texts = Vec::new();
    for (then, reason) in
        ODD.into_iter().zip(["is too large", "broke off, or was too slow", "broke off, or was too slow"])
    {
        provider.behave_once(Answer::new(200, r#"{"messages": [{"text": "#).then(then));
        stack.accept("/backends/b/", "1", "hello").await?;
        texts.push("a");
        stack.expect_sent("b", "1", &texts).await?;
        stack.expect_logged(&format!("failed in handle: the answer {reason}")).await?;
    }
    assert_eq!(provider.count(), 2 * ODD.len());
    stack.finish().await
}
