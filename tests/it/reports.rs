//! Delivery reports: from the provider's request to what an app is told, and what becomes of those that nobody understands.

use anyhow::{Context, Result};
use integration_tests::{
    Provider,
    provider::{Answer, Request},
    stack::{DEADLINE, Shape, Stack},
};
use serde_json::{Value, json};

use crate::{on_every_shape, sending::dead};

on_every_shape!(
    each_state_is_told_once_and_none_after_a_final_one,
    a_provider_that_has_only_its_own_id_is_understood,
    who_may_not_report_is_refused,
    what_nobody_understands_is_kept,
    an_app_that_is_away_is_told_later,
);

/// A backend whose provider gives back our name of a part, or has only its own; a copy of every report goes to `listener`.
fn config(provider: &Provider, listener: &Provider) -> String {
    format!(
        "[backends.p]\nengine = 'http'\nurl = '{}'\nmessage_id = {{ json = '/id' }}\n\
         json = {{ to = '{{identity}}', msg = '{{text}}', ref = '{{reference}}' }}\n\
         [[endpoints]]\nbackend = 'p'\n\
         [[reports]]\nbackend = 'p'\neach = '/results'\nauth = {{ token = {{ header = 'x-key', value = 'k' }} }}\n\
         params = {{ reference = '/ref', external_id = '/id', state = '/status', detail = '/error' }}\n\
         states = {{ accepted = 'sent', DELIVRD = 'delivered', UNDELIV = 'failed' }}\n\
         [[apps]]\napp = 'echo'\n[[apps]]\napp = 'forward'\nurl = '{}'\nphases = ['report']\n",
        provider.url("/send"),
        listener.url("/reports"),
    )
}

/// A gateway, its provider, and who is told of the reports.
struct Scene {
    stack: Stack,
    provider: Provider,
    listener: Provider,
}

impl Scene {
    async fn start(shape: Shape) -> Result<Self> {
        let (provider, listener) = (Provider::start()?, Provider::start()?);
        provider.decide(|request| {
            let to = request.json().map_or(Value::Null, |body| body["to"].clone());
            Answer::new(200, json!({ "id": format!("x{}", to.as_str().unwrap_or_default()) }).to_string())
                .into()
        });
        let stack = Stack::start(shape, &config(&provider, &listener), &["p"]).await?;
        Ok(Self { stack, provider, listener })
    }

    /// Sends a message to `identity`, waits until the apps are told that it is taken, and gives our name of it.
    async fn send(&self, identity: &str) -> Result<String> {
        let (sent, told) = (self.provider.count(), self.listener.count());
        self.stack.accept("/backends/p/", identity, "echo hello").await?;
        let request = self.provider.wait_for(sent + 1, DEADLINE).await?.remove(sent).json()?;
        self.listener.wait_for(told + 1, DEADLINE).await?;
        request["ref"].as_str().map(str::to_owned).context("no reference")
    }

    async fn report(&self, key: &str, results: &[Value]) -> Result<u16> {
        let request = self.stack.client().post(self.stack.url("/backends/p/report/")?);
        let request = request.header("x-key", key).json(&json!({ "results": results }));
        Ok(request.send().await?.status().as_u16())
    }

    /// What was told of `identity`.
    fn told(&self, identity: &str) -> Result<Vec<Value>> {
        let documents: Vec<Value> =
            self.listener.requests().iter().map(Request::json).collect::<Result<_>>()?;
        Ok(documents.into_iter().filter(|document| document["identity"] == identity).collect())
    }

    /// Waits until nothing that was reported before is still on its way: until a later report is told.
    async fn settle(&self, identity: &str) -> Result<()> {
        let reference = self.send(identity).await?;
        let told = self.listener.count();
        assert_eq!(self.report("k", &[json!({ "ref": reference, "status": "DELIVRD" })]).await?, 200);
        self.listener.wait_for(told + 1, DEADLINE).await?;
        Ok(())
    }
}

fn states(documents: &[Value]) -> Vec<&str> {
    documents.iter().filter_map(|document| document["state"].as_str()).collect()
}

async fn each_state_is_told_once_and_none_after_a_final_one(shape: Shape) -> Result<()> {
    let scene = Scene::start(shape).await?;
    let reference = scene.send("+1").await?;
    let one = |status: &str| json!({ "ref": reference, "status": status, "error": "E7" });
    assert_eq!(scene.report("k", &[one("accepted"), one("accepted")]).await?, 200);
    scene.listener.wait_for(2, DEADLINE).await?;
    for status in ["DELIVRD", "UNDELIV", "accepted", "DELIVRD"] {
        assert_eq!(scene.report("k", &[one(status)]).await?, 200);
    }
    scene.settle("+2").await?;
    let told = scene.told("+1")?;
    assert_eq!(states(&told), ["queued", "sent", "delivered"]);
    let message_id = reference.split('.').next();
    for (document, is_final) in told.iter().zip([false, false, true]) {
        assert_eq!((&document["phase"], &document["final"]), (&json!("report"), &json!(is_final)));
        assert_eq!((document["message_id"].as_str(), &document["part"]), (message_id, &json!(1)));
        assert_eq!(document["backend"], "p");
    }
    assert_eq!((&told[0]["external_id"], &told[1]["detail"]), (&json!("x+1"), &json!("E7")));
    scene.stack.finish().await
}

async fn a_provider_that_has_only_its_own_id_is_understood(shape: Shape) -> Result<()> {
    let scene = Scene::start(shape).await?;
    scene.send("+1").await?;
    // And one that comes before the message is sent: it is kept until then.
    let early = json!({ "id": "x+2", "status": "UNDELIV" });
    assert_eq!(scene.report("k", &[json!({ "id": "x+1", "status": "DELIVRD" }), early]).await?, 200);
    scene.listener.wait_for(2, DEADLINE).await?;
    scene.stack.accept("/backends/p/", "+2", "echo hello").await?;
    scene.listener.wait_for(4, DEADLINE).await?;
    assert_eq!(states(&scene.told("+1")?), ["queued", "delivered"]);
    assert_eq!(states(&scene.told("+2")?), ["queued", "failed"]);
    scene.stack.finish().await
}

async fn who_may_not_report_is_refused(shape: Shape) -> Result<()> {
    let scene = Scene::start(shape).await?;
    let reference = scene.send("+1").await?;
    let one = |status: &str| json!({ "ref": reference, "status": status });
    assert_eq!(scene.report("wrong", &[one("DELIVRD")]).await?, 401);
    assert_eq!(scene.report("k", &[one("odd")]).await?, 400);
    assert_eq!(scene.report("k", &[]).await?, 400);
    let get = scene.stack.client().delete(scene.stack.url("/backends/p/report")?).send().await?;
    assert_eq!(get.status(), 405);
    scene.settle("+2").await?;
    assert_eq!(states(&scene.told("+1")?), ["queued"]);
    scene.stack.finish().await
}

async fn what_nobody_understands_is_kept(shape: Shape) -> Result<()> {
    let scene = Scene::start(shape).await?;
    let foreign = json!({ "ref": "somebody-elses", "id": "y", "status": "DELIVRD" });
    let unknown = json!({ "id": "z", "status": "DELIVRD" });
    assert_eq!(scene.report("k", &[foreign, unknown]).await?, 200);
    let left = scene.stack.wait_dead_and_stop(2).await?;
    assert_eq!(dead(&left, "class"), ["unmatched", "unmatched"]);
    assert_eq!(scene.listener.count(), 0);
    Ok(())
}

async fn an_app_that_is_away_is_told_later(shape: Shape) -> Result<()> {
    let mut scene = Scene::start(shape).await?;
    let reference = scene.send("+1").await?;
    // The listener counts a report before it has answered, and one without an answer is told again.
    scene.stack.expect_logged("state=queued outcome=\"new\"").await?;
    scene.listener.stop();
    assert_eq!(scene.report("k", &[json!({ "ref": reference, "status": "DELIVRD" })]).await?, 200);
    scene.stack.expect_logged("report not told").await?;
    scene.listener.restart()?;
    scene.listener.wait_for(2, DEADLINE).await?;
    assert_eq!(states(&scene.told("+1")?), ["queued", "delivered"]);
    scene.stack.finish().await
}

/// Who stands by takes over, and understands our name of a part that it has never heard of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_that_is_killed_leaves_the_reports_to_the_next() -> Result<()> {
    let mut scene = Scene::start(Shape::Pair { ingress: 1, dispatchers: 1 }).await?;
    let reference = scene.send("+1").await?;
    scene.stack.start_sender().await?;
    scene.stack.kill_senders()?;
    scene.stack.start_sender().await?;
    for status in ["accepted", "accepted", "DELIVRD", "accepted"] {
        assert_eq!(scene.report("k", &[json!({ "ref": reference, "status": status })]).await?, 200);
    }
    scene.settle("+2").await?;
    let told = scene.listener.requests().iter().map(Request::json).collect::<Result<Vec<Value>>>()?;
    let of_it: Vec<Value> = told
        .into_iter()
        .filter(|document| reference.starts_with(document["message_id"].as_str().unwrap_or("?")))
        .collect();
    assert_eq!(states(&of_it), ["queued", "sent", "delivered"]);
    scene.stack.finish().await
}
