//! Each example of the document that this project was made from, with its literal parameters.

use anyhow::Result;
use integration_tests::stack::{Shape, Stack};

use crate::on_every_shape;

on_every_shape!(seed_echo_hello, seed_custom_parameters, seed_extra_field, seed_only_from_one_number);

const APPS: &str = "[[apps]]\napp = 'echo'\n[[apps]]\napp = 'ping'\n";

async fn seed_echo_hello(shape: Shape) -> Result<()> {
    let config = format!(
        "{APPS}[backends.httptester]\nengine = 'httptester'\n[[endpoints]]\nbackend = 'httptester'\n"
    );
    let stack = Stack::start(shape, &config, &["httptester"]).await?;
    let form = [("identity", "1112223333"), ("text", "echo hello")];
    assert_eq!(stack.post("/backends/httptester/", &form).await?, (200, "OK".to_owned()));
    stack.expect_sent("httptester", "1112223333", &["hello"]).await?;
    stack.finish().await
}

async fn seed_custom_parameters(shape: Shape) -> Result<()> {
    let config = format!(
        "{APPS}[backends.customhttp]\nengine = 'httptester'\n\
         [[endpoints]]\nbackend = 'customhttp'\nparams = {{ identity = 'phone', text = 'message' }}\n"
    );
    let stack = Stack::start(shape, &config, &["customhttp"]).await?;
    let form = [("phone", "1112223333"), ("message", "ping")];
    assert_eq!(stack.post("/backends/customhttp/", &form).await?, (200, "OK".to_owned()));
    stack.expect_sent("customhttp", "1112223333", &["pong"]).await?;
    let (status, body) =
        stack.post("/backends/customhttp/", &[("identity", "1112223333"), ("text", "ping")]).await?;
    assert_eq!((status, body.lines().next()), (400, Some("form failed to validate")));
    stack.finish().await
}

async fn seed_extra_field(shape: Shape) -> Result<()> {
    // Nobody is at this address: the field is looked for in the queue.
    let config = "[[apps]]\napp = 'echo'\n[backends.extra]\nengine = 'http'\nurl = 'http://127.0.0.1:1/'\n\
                  [[endpoints]]\nbackend = 'extra'\n[endpoints.fields]\nextra = { required = true }\n";
    let stack = Stack::start(shape, config, &["extra"]).await?;
    let (status, body) =
        stack.post("/backends/extra/", &[("identity", "1112223333"), ("text", "echo hello")]).await?;
    assert_eq!((status, body.as_str()), (400, "form failed to validate\nextra: this field is required\n"));

    let form = [("identity", "1112223333"), ("text", "echo hello"), ("extra", "more")];
    assert_eq!(stack.post("/backends/extra/", &form).await?, (200, "OK".to_owned()));
    stack.expect_logged("paused: the provider takes nothing").await?;
    let left = stack.stop().await?;
    let reply: serde_json::Value = serde_json::from_slice(&left["outgoing.extra"][0].body)?;
    assert_eq!((reply["text"].as_str(), reply["fields"]["extra"].as_str()), (Some("hello"), Some("more")));
    assert_eq!(left.len(), 1);
    Ok(())
}

async fn seed_only_from_one_number(shape: Shape) -> Result<()> {
    let config = format!(
        "{APPS}[backends.b]\nengine = 'httptester'\n[[endpoints]]\nbackend = 'b'\n[endpoints.fields]\n\
         identity = {{ one_of = ['1231231234'], message = 'SMS received from number other than 1231231234' }}\n"
    );
    let stack = Stack::start(shape, &config, &["b"]).await?;
    let (status, body) = stack.post("/backends/b/", &[("identity", "1112223333"), ("text", "ping")]).await?;
    let expected = "form failed to validate\nidentity: SMS received from number other than 1231231234\n";
    assert_eq!((status, body.as_str()), (400, expected));
    stack.accept("/backends/b/", "1231231234", "ping").await?;
    stack.expect_sent("b", "1231231234", &["pong"]).await?;
    stack.finish().await
}
