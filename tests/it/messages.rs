//! A message in, a reply out, through everything between.

use anyhow::{Context, Result};
use integration_tests::stack::{Shape, Stack};

use crate::on_every_shape;

on_every_shape!(
    every_app_answers,
    encodings_arrive,
    one_connection_stays_in_order,
    an_unclaimed_message_is_done_with,
    numbers_and_texts_stay_out_of_the_logs
);

const BACKEND: &str = "[backends.b]\nengine = 'httptester'\n[[endpoints]]\nbackend = 'b'\n";

async fn every_app_answers(shape: Shape) -> Result<()> {
    // The quick-start's own apps, which the README shows.
    let quick_start = include_str!("../../gateway.toml");
    let apps = quick_start.split_once("\n[[apps]]").context("gateway.toml has no apps")?.1;
    let config = format!("project_name = 'Clinic'\n{BACKEND}[[apps]]{apps}");
    let stack = Stack::start(shape, &config, &["b"]).await?;
    for (identity, text, reply) in [
        ("1", "ECHO: hello\nworld", "hello\nworld"),
        ("2", "echo", "To echo some text, send: ECHO <ANYTHING>"),
        ("3", "  ping  ", "pong"),
        ("4", "Join", "To register, send JOIN <NAME>"),
        ("5", "join Ann", "Thank you for registering, Ann!"),
        ("6", "1 plus 2", "You sent 1 and 2."),
        ("7", "joinery", "Sorry, Clinic could not understand your message."),
        ("8", "echoes of you", "Sorry, Clinic could not understand your message."),
    ] {
        stack.accept("/backends/b/", identity, text).await?;
        stack.expect_sent("b", identity, &[reply]).await?;
    }
    stack.finish().await
}

async fn encodings_arrive(shape: Shape) -> Result<()> {
    let stack = Stack::start(shape, &format!("{BACKEND}[[apps]]\napp = 'echo'\n"), &["b"]).await?;
    let text = "h\u{e9}llo \u{263a} \u{645}\u{631}\u{62d}\u{628}\u{627} \u{1f469}\u{200d}\u{1f469} + & % {x}";
    stack.accept("/backends/b/", "post", &format!("echo {text}")).await?;
    stack.expect_sent("b", "post", &[text]).await?;

    let query = [("identity", "get"), ("text", &format!("echo {text}"))];
    let answer = stack.client().get(stack.url("/backend/b")?).query(&query).send().await?;
    assert_eq!(answer.status(), 200);
    stack.expect_sent("b", "get", &[text]).await?;

    let form =
        reqwest::multipart::Form::new().text("identity", "multipart").text("text", format!("echo {text}"));
    let answer = stack.client().post(stack.url("/backends/b")?).multipart(form).send().await?;
    assert_eq!(answer.status(), 200);
    stack.expect_sent("b", "multipart", &[text]).await?;

    let latin = stack.client().post(stack.url("/backends/b")?);
    let latin = latin.header("content-type", "application/x-www-form-urlencoded; charset=iso-8859-1");
    assert_eq!(latin.body("identity=latin&text=echo+caf%E9").send().await?.status(), 200);
    stack.expect_sent("b", "latin", &["caf\u{e9}"]).await?;
    stack.finish().await
}

async fn one_connection_stays_in_order(shape: Shape) -> Result<()> {
    let stack = Stack::start(shape, &format!("{BACKEND}[[apps]]\napp = 'echo'\n"), &["b"]).await?;
    let texts: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    // Across replicas the order is not promised, so one sender's messages are awaited there one by one.
    let one_replica = !matches!(shape, Shape::Pair { dispatchers: 2.., .. });
    for (count, text) in texts.iter().enumerate() {
        stack.accept("/backends/b/", "1", &format!("echo {text}")).await?;
        if !one_replica {
            let so_far: Vec<&str> = texts[..=count].iter().map(String::as_str).collect();
            stack.expect_sent("b", "1", &so_far).await?;
        }
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    stack.expect_sent("b", "1", &texts).await?;
    stack.finish().await
}

async fn an_unclaimed_message_is_done_with(shape: Shape) -> Result<()> {
    let stack = Stack::start(shape, &format!("{BACKEND}[[apps]]\napp = 'ping'\n"), &["b"]).await?;
    stack.accept("/backends/b/", "1", "not for anybody").await?;
    stack.accept("/backends/b/", "1", "ping").await?;
    stack.expect_sent("b", "1", &["pong"]).await?;
    stack.finish().await
}

async fn numbers_and_texts_stay_out_of_the_logs(shape: Shape) -> Result<()> {
    let config = "params = { external_id = 'id' }\n[[apps]]\napp = 'echo'\n\
         [logging]\nlevel = 'trace,hyper=info,hyper_util=info'\n";
    let stack = Stack::start(shape, &format!("{BACKEND}{config}"), &["b"]).await?;
    // Whoever numbers by sender has the number in the id.
    let form = [("identity", "1112223333"), ("text", "echo a-secret-text"), ("id", "1112223333-7")];
    assert_eq!(stack.post("/backends/b/", &form).await?.0, 200);
    stack.expect_sent("b", "1112223333", &["a-secret-text"]).await?;
    let (status, _) =
        stack.post("/backends/b/", &[("identity", "1112223333"), ("text", "a-secret-text\0")]).await?;
    assert_eq!(status, 400);
    stack.expect_logged("(hidden)").await?;
    let logged = stack.logged();
    assert!(!logged.contains("1112223333") && !logged.contains("a-secret-text"), "{logged}");
    stack.finish().await
}
