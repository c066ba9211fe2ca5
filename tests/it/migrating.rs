//! The page for projects of RapidSMS, as its reader follows it.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Context, Result};
use integration_tests::{
    Provider, Service,
    client::client,
    provider::{Answer, Behaviour},
    python,
    stack::{DEADLINE, Shape, Stack},
};
use serde_json::json;

/// What a project can name of RapidSMS, a line each.
const NAMES: &str = include_str!("../fixtures/rapidsms-2.2.0.txt");

fn page() -> Result<String> {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/migrating-from-rapidsms.md");
    Ok(std::fs::read_to_string(page)?)
}

/// The first example in `language` that begins with `start`.
fn example(page: &str, language: &str, start: &str) -> Result<String> {
    let fence = format!("```{language}\n");
    let mut examples = page.split(&fence).skip(1);
    let example = examples.find(|example| example.starts_with(start));
    let code = example.and_then(|example| example.split("```").next());
    code.map(str::to_owned).with_context(|| format!("no example {start:?}"))
}

#[test]
fn every_name_of_rapidsms_has_a_row() -> Result<()> {
    let page = page()?;
    let code = page.split('`').skip(1).step_by(2);
    let separators = |c: char| c.is_whitespace() || ",;:()=\"'[]{}|".contains(c);
    let words: BTreeSet<&str> = code.flat_map(|code| code.split(separators)).collect();
    let names = NAMES.lines().filter(|line| !line.starts_with('#'));
    let missing: Vec<&str> = names.filter(|name| !words.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    Ok(())
}

/// The clinic's `gateway.toml`, at the URLs of its `urls.py`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configuration_does_what_the_project_did() -> Result<()> {
    let kannel = Provider::start()?;
    kannel.behave(Answer::new(202, "0: Accepted for delivery"));
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, example(&page()?, "toml", "project_name")?)?;
    let database = format!("embedded:{}", folder.path().join("gateway.db").display());
    let sendsms = kannel.url("/cgi-bin/sendsms");
    let env = [
        ("KANNEL_PASSWORD", "k"),
        ("TWILIO_AUTH_TOKEN", "t"),
        ("INBOUND_PASSWORD", "i"),
        ("GATEWAY__QUEUE__URL", &database),
        ("GATEWAY__INGRESS__LISTEN", "127.0.0.1:0"),
        ("GATEWAY__INGRESS__ADMIN_LISTEN", "127.0.0.1:0"),
        ("GATEWAY__BACKENDS__KANNEL_FAKE_SMSC__SENDSMS_URL", &sendsms),
    ];
    let mut gateway = Service::start("gateway", &[], &file, &env).await?;
    let client = client()?;
    for (count, (text, reply)) in (1..).zip([
        ("echo h\u{e9}llo", "h\u{e9}llo"),
        ("ping", "pong"),
        ("join", "To register, send JOIN <NAME>"),
        ("JOIN, Ann", "Thank you for registering, Ann!"),
        ("joinery", "Sorry, Clinic could not understand your message."),
    ]) {
        let url = gateway.ingress_url("/backend/kannel-fake-smsc/")?;
        let query = [("id", "+256700000001"), ("text", text), ("charset", "UTF-8"), ("coding", "0")];
        let request = client.get(&url).query(&query).basic_auth("kannel", Some("i"));
        let answer = request.send().await?.error_for_status()?;
        assert_eq!(answer.text().await?, "");
        let calls = kannel.wait_for(count, DEADLINE).await?;
        let call = calls.last().context("no call")?;
        let sent = ["smsc", "from", "username", "password", "to", "text"].map(|name| call.field(name));
        let sent: Vec<&str> = sent.iter().flatten().map(String::as_str).collect();
        assert_eq!(sent, ["FAKE", "123", "rapidsms", "k", "+256700000001", reply]);
    }
    let forged = [("From", "+1"), ("To", "+15550001"), ("Body", "ping"), ("MessageSid", "SM1")];
    let answer = client.post(gateway.ingress_url("/backend/twilio/")?).form(&forged).send().await?;
    assert_eq!(answer.status(), 403);
    gateway.terminate()?;
    assert_eq!(gateway.wait_exit(DEADLINE).await?, 0);
    Ok(())
}

/// Runs `script` beside the page's `sms.py`, with a gateway at `url`, and gives what it prints.
fn run(script: &str, url: &str, token: &str) -> Result<String> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("sms.py"), example(&page()?, "python", "# clinic/sms.py")?)?;
    let env = [("GATEWAY_URL", url.trim_end_matches('/')), ("GATEWAY_TOKEN", token)];
    python::run(folder.path(), &format!("import sms\n{script}"), &env)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_sends_and_repeats_without_doubling() -> Result<()> {
    let config = "[backends.b]\nengine = 'httptester'\n[[api.tokens]]\nname = 'clinic'\nbackends = ['b']\n\
                  hash = '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'\n";
    let stack = Stack::start(Shape::Standalone, config, &["b"]).await?;
    let script = "ids = [sms.send('See you \u{263a}', {'+1', '+2'}, backend='b', id='visit-7') for _ in range(2)]\n\
                  assert ids[0] == ids[1], ids\n\
                  sms.send('Tomorrow', ['+1'], backend='b', expires_in=60)";
    run(script, &stack.private_url(""), "")?;
    stack.expect_sent("b", "+1", &["See you \u{263a}", "Tomorrow"]).await?;
    stack.expect_sent("b", "+2", &["See you \u{263a}"]).await?;

    run("sms.send('with a token', ['+3'], backend='b')", &stack.url("")?, "test")?;
    stack.expect_sent("b", "+3", &["with a token"]).await?;
    let script = "try:\n    sms.send('', [], backend='c')\nexcept ValueError as error:\n    print(error)";
    let told = run(script, &stack.private_url(""), "")?;
    assert!(told.contains("there is no such backend") && told.contains("\"field\":\"to\""), "{told}");
    stack.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_asks_again_with_the_same_id_until_it_is_certain() -> Result<()> {
    let gateway = Provider::start()?;
    gateway.behave_once(Answer::new(503, ""));
    gateway.behave_once(Behaviour::Close);
    gateway.behave(Answer::new(202, json!({ "id": "a" }).to_string()));
    let script = "sms.WAITS = [0, 0]\nprint(sms.send('a', ['1'], backend='b'))";
    assert_eq!(run(script, &gateway.url(""), "")?, "a\n");
    let requests = gateway.requests();
    let bodies: BTreeSet<_> = requests.iter().map(|request| request.body.clone()).collect();
    assert_eq!((requests.len(), bodies.len()), (3, 1));

    gateway.behave(Answer::new(503, ""));
    let script =
        "sms.WAITS = [0]\ntry:\n    sms.send('a', ['1'], backend='b')\nexcept OSError:\n    print('raised')";
    assert_eq!(run(script, &gateway.url(""), "")?, "raised\n");
    assert_eq!(gateway.count(), 5);
    Ok(())
}

/// The bridge is for a project of its reader; here it is only looked at by Python.
#[test]
fn every_python_example_compiles() -> Result<()> {
    let page = page()?;
    let folder = tempfile::tempdir()?;
    let examples: Vec<&str> =
        page.split("```python\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 5);
    for example in examples {
        std::fs::write(folder.path().join("example.py"), example)?;
        python::run(folder.path(), "compile(open('example.py').read(), 'example.py', 'exec')", &[])?;
    }
    Ok(())
}
