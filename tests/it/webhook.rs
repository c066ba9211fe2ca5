//! Apps in any language: the example project in Python behind the real programs, and what a web application's failures
//! make of a message. And the guard against robots, which needs more than one message to be seen.

use anyhow::{Result, anyhow};
use integration_tests::{
    Provider, Service,
    client::client,
    eventually,
    provider::{Answer, Behaviour, Request},
    python::Handlers,
    stack::{DEADLINE, Shape, Stack},
};

use crate::on_every_shape;

on_every_shape!(
    python_answers_what_is_its_own_and_leaves_the_rest,
    a_killed_python_leaves_its_messages_on_the_ladder,
    a_wrong_secret_is_refused_and_the_message_is_kept,
    a_webhook_that_fails_is_asked_again_with_the_same_key,
    what_a_forward_copies_is_answered_by_others,
    an_application_that_fails_on_the_way_out_holds_nothing_back_and_is_counted,
);

const SECRET: &str = "the secret of both";

/// A `httptester` backend, an app of this kind at `url`, and `echo` and `default` behind it.
fn config(kind: &str, url: &str, keys: &str) -> String {
    format!(
        "[backends.b]\nengine = 'httptester'\n[[endpoints]]\nbackend = 'b'\n\
         [[apps]]\napp = '{kind}'\nurl = '{url}'\n{keys}\n[[apps]]\napp = 'echo'\n\
         [[apps]]\napp = 'default'\nreply = 'not understood'\n"
    )
}

fn signed(handlers: &Handlers) -> String {
    config("webhook", &handlers.url(), &format!("secret = '{SECRET}'"))
}

async fn python_answers_what_is_its_own_and_leaves_the_rest(shape: Shape) -> Result<()> {
    let handlers = Handlers::start(SECRET).await?;
    let stack = Stack::start(shape, &signed(&handlers), &["b"]).await?;
    for (identity, text, reply) in [
        ("1", "join Ann", "Thank you for registering, Ann!"),
        ("2", "REGISTER, \u{c5}nn\n\u{263a}", "Thank you for registering, \u{c5}nn\n\u{263a}!"),
        ("3", "join", "To register, send JOIN <NAME>"),
        ("4", "1 plus 2", "1 plus 2 equals 3."),
        ("5", "joinery", "not understood"),
        ("6", "echo hello", "hello"),
    ] {
        stack.accept("/backends/b/", identity, text).await?;
        stack.expect_sent("b", identity, &[reply]).await?;
    }
    stack.finish().await
}

async fn a_killed_python_leaves_its_messages_on_the_ladder(shape: Shape) -> Result<()> {
    let mut handlers = Handlers::start(SECRET).await?;
    let mut stack = Stack::start(shape, &signed(&handlers), &["b"]).await?;
    stack.halt().await?;
    // However long this machine takes to start Python again.
    stack.start_again(|text| text.replace("max_attempts = 3", "max_attempts = 1000")).await?;
    stack.accept("/backends/b/", "1", "join Ann").await?;
    stack.expect_sent("b", "1", &["Thank you for registering, Ann!"]).await?;

    handlers.kill();
    for identity in ["2", "3"] {
        stack.accept("/backends/b/", identity, "join Bob").await?;
    }
    stack.expect_logged("failed in handle: no connection").await?;
    assert_eq!(stack.sent("b", "2").await?, Vec::<String>::new());
    handlers.restart().await?;
    for identity in ["2", "3"] {
        stack.expect_sent("b", identity, &["Thank you for registering, Bob!"]).await?;
    }
    stack.finish().await
}

async fn a_wrong_secret_is_refused_and_the_message_is_kept(shape: Shape) -> Result<()> {
    let handlers = Handlers::start("another secret").await?;
    let stack = Stack::start(shape, &signed(&handlers), &["b"]).await?;
    stack.accept("/backends/b/", "1", "join Ann").await?;
    stack.wait_dead(1).await?;
    assert_eq!(stack.sent("b", "1").await?, Vec::<String>::new());
    let left = stack.stop().await?;
    let [dead] = &left["dead"][..] else { panic!("{left:?}") };
    let told = |header: &str| dead.headers.get(header).map_or("", String::as_str);
    assert_eq!((told("class"), told("attempts"), dead.route.as_str()), ("app_failed", "3", "incoming.b"));
    assert!(told("reason").ends_with("failed in handle: status 401"), "{}", told("reason"));
    let message: serde_json::Value = serde_json::from_slice(&dead.body)?;
    assert_eq!(message["text"], "join Ann");
    assert_eq!(left.len(), 1);
    Ok(())
}

async fn a_webhook_that_fails_is_asked_again_with_the_same_key(shape: Shape) -> Result<()> {
    let application = Provider::start()?;
    application.behave_once(Answer::new(500, "Internal Server Error"));
    application.behave_once(Behaviour::Close);
    application.behave(Answer::new(200, r#"{"messages": [{"text": "Hello, Ann!"}]}"#));
    let stack = Stack::start(shape, &config("webhook", &application.url("/sms"), ""), &["b"]).await?;
    stack.accept("/backends/b/", "1", "I am Ann").await?;
    stack.expect_sent("b", "1", &["Hello, Ann!"]).await?;
    let requests = application.requests();
    let mut keys: Vec<_> = requests.iter().map(|request| request.header("idempotency-key")).collect();
    keys.dedup();
    assert_eq!((requests.len(), keys.len()), (3, 1));
    let documents: Vec<_> = requests.iter().map(Request::json).collect::<Result<_>>()?;
    for ((number, request), document) in (1..).zip(&requests).zip(&documents) {
        assert_eq!((document, &document["text"]), (&documents[0], &"I am Ann".into()));
        assert_eq!(request.header("x-gateway-attempt"), Some(number.to_string().as_str()));
        let key = format!("{}-handle", document["id"].as_str().unwrap_or_default());
        assert_eq!(request.header("idempotency-key"), Some(key.as_str()));
    }
    stack.finish().await
}

async fn what_a_forward_copies_is_answered_by_others(shape: Shape) -> Result<()> {
    let archive = Provider::start()?;
    archive.behave(Answer::new(200, "thank you"));
    let keys = "phases = ['parse', 'outgoing']";
    let stack = Stack::start(shape, &config("forward", &archive.url("/"), keys), &["b"]).await?;
    stack.accept("/backends/b/", "1", "echo hello").await?;
    stack.expect_sent("b", "1", &["hello"]).await?;
    let copies: Vec<_> = archive.requests().iter().map(Request::json).collect::<Result<_>>()?;
    let [came, went] = &copies[..] else { panic!("{copies:?}") };
    assert_eq!((&came["phase"], &came["text"]), (&"parse".into(), &"echo hello".into()));
    assert_eq!((&went["phase"], &went["text"]), (&"outgoing".into(), &"hello".into()));
    assert_eq!(went["in_response_to"], came["id"]);
    stack.finish().await
}

async fn an_application_that_fails_on_the_way_out_holds_nothing_back_and_is_counted(
    shape: Shape,
) -> Result<()> {
    let application = Provider::start()?;
    application.behave(Answer::new(500, "Internal Server Error"));
    let keys = "phases = ['outgoing']";
    let stack = Stack::start(shape, &config("webhook", &application.url("/sms"), keys), &["b"]).await?;
    stack.accept("/backends/b/", "1", "echo hello").await?;
    stack.expect_sent("b", "1", &["hello"]).await?;
    stack.expect_logged("failed in outgoing; sent all the same").await?;
    let mut counted = 0.0;
    for url in stack.admin_urls("/metrics") {
        let page = stack.client().get(url).send().await?.text().await?;
        let lines =
            page.lines().filter(|line| line.starts_with("gateway_ignored_errors_total{app=\"webhook "));
        counted += lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>();
    }
    assert!((counted - 1.0).abs() < f64::EPSILON, "{counted}");
    stack.finish().await
}

/// The folder's own configuration, and the two lines of its README, on ports of the test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_project_works_as_its_readme_says() -> Result<()> {
    let handlers = Handlers::start(SECRET).await?;
    let folder = tempfile::tempdir()?;
    let database = format!("embedded:{}", folder.path().join("gateway.db").display());
    let (url, file) = (handlers.url(), Handlers::folder().join("gateway.toml"));
    let env = [
        ("WEBHOOK_SECRET", SECRET),
        // Nobody's business: the handlers are called directly.
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("ALL_PROXY", "http://127.0.0.1:1"),
        ("GATEWAY__APPS__0__URL", &url),
        ("GATEWAY__QUEUE__URL", &database),
        ("GATEWAY__INGRESS__LISTEN", "127.0.0.1:0"),
        ("GATEWAY__INGRESS__ADMIN_LISTEN", "127.0.0.1:0"),
    ];
    let mut gateway = Service::start("gateway", &[], &file, &env).await?;
    let client = client()?;
    let form = [("identity", "1112223333"), ("text", "join Ann")];
    let answer = client.post(gateway.ingress_url("/backends/httptester/")?).form(&form).send().await?;
    assert_eq!(answer.text().await?, "OK");
    let page = gateway.admin_url("/httptester/httptester?identity=1112223333");
    eventually("the reply is on the page", DEADLINE, async || {
        let page: serde_json::Value = client.get(&page).send().await?.json().await?;
        let there = page["messages"][0]["text"] == "Thank you for registering, Ann!";
        if there { Ok(()) } else { Err(anyhow!("{page}")) }
    })
    .await?;
    gateway.terminate()?;
    assert_eq!(gateway.wait_exit(DEADLINE).await?, 0);
    Ok(())
}

/// With one dispatcher: each has a memory of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_robot_is_answered_a_few_times_and_others_always() -> Result<()> {
    let config = "[backends.b]\nengine = 'httptester'\n[[endpoints]]\nbackend = 'b'\n\
                  [[apps]]\napp = 'loop-guard'\nmax_repeats = 2\n[[apps]]\napp = 'default'\nreply = 'not understood'\n";
    let stack = Stack::start(Shape::Pair { ingress: 1, dispatchers: 1 }, config, &["b"]).await?;
    for _ in 0..6 {
        stack.accept("/backends/b/", "robot", "This number takes no messages.").await?;
    }
    stack.accept("/backends/b/", "person", "This number takes no messages.").await?;
    stack.expect_sent("b", "person", &["not understood"]).await?;
    eventually("four of the robot's are not answered", DEADLINE, async || {
        let dropped = stack.metric("gateway_dropped_replies_total", "").await?;
        if dropped >= 4.0 { Ok(()) } else { Err(anyhow!("{dropped}")) }
    })
    .await?;
    // They were heard all the same.
    let labels = r#"{outcome="handled",app="default"}"#;
    assert!(stack.metric("gateway_routed_total", labels).await? >= 7.0);
    stack.expect_sent("b", "robot", &["not understood", "not understood"]).await?;
    stack.finish().await
}
