//! Requests as no library sends them: half of one, several at once, escaped in odd places; and a stop among them.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use integration_tests::{
    Provider, Service, eventually,
    provider::Behaviour,
    stack::{DEADLINE, Shape, Stack},
};

use crate::on_every_shape;

on_every_shape!(
    requests_follow_each_other_on_a_connection,
    a_body_that_is_too_large_is_not_asked_for,
    a_body_without_an_end_is_refused_by_every_form,
    a_head_that_is_too_large_is_refused,
    a_path_may_be_escaped,
    an_answer_may_have_no_body,
    the_private_listener_lists_its_pages,
);

const CONFIG: &str = "[backends.b]\nengine = 'httptester'\n[[endpoints]]\nbackend = 'b'\n\
                      [[endpoints]]\nbackend = 'b'\npath = '/silent'\nanswer = { status = 204 }\n\
                      [[apps]]\napp = 'echo'\n";

/// A request to each endpoint of [`FORMS`], with each kind of body that it takes.
const REQUESTS: [(&str, &str); 6] = [
    ("POST /urlencoded", "Content-Type: application/x-www-form-urlencoded\r\n"),
    ("POST /urlencoded", "Content-Type: multipart/form-data; boundary=X\r\n"),
    ("POST /json", "Content-Type: application/json\r\n"),
    ("GET /kannel?id=1&text=echo+a", ""),
    ("POST /vumi", ""),
    ("POST /twilio", "Content-Type: application/x-www-form-urlencoded\r\nX-Twilio-Signature: x\r\n"),
];

/// An endpoint of each form; two want a signature of the body.
const FORMS: &str = "[backends.b]\nengine = 'httptester'\n\
    [[endpoints]]\nbackend = 'b'\npath = '/urlencoded'\n\
    [[endpoints]]\nbackend = 'b'\npath = '/json'\nparams = { identity = '/a', text = '/b' }\n\
    auth = { hmac = { header = 'X-Signature', secret = 's' } }\n\
    [[endpoints]]\nbackend = 'b'\npath = '/kannel'\nform = 'kannel'\n\
    [[endpoints]]\nbackend = 'b'\npath = '/vumi'\nform = 'vumi'\n\
    [[endpoints]]\nbackend = 'b'\npath = '/twilio'\nform = 'twilio'\n\
    auth = { twilio = { auth_token = 't', public_url = 'https://h' } }\n";

/// How soon a stop must end that has nothing to wait for; less than any timeout of the configuration.
const SOON: Duration = Duration::from_secs(8);

/// A connection to the service at `url`, on which `bytes` are sent.
fn send(url: &str, bytes: &str) -> Result<TcpStream> {
    let address =
        url.strip_prefix("http://").and_then(|rest| rest.split('/').next()).context("no address")?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(bytes.as_bytes())?;
    Ok(stream)
}

fn read_to_end(mut stream: &TcpStream) -> Result<String> {
    let mut answers = String::new();
    stream.read_to_string(&mut answers)?;
    Ok(answers)
}

/// The status of the answer that begins on `stream`.
fn status(mut stream: TcpStream) -> Result<String> {
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(String::from_utf8_lossy(&status[9..]).into_owned())
}

async fn requests_follow_each_other_on_a_connection(shape: Shape) -> Result<()> {
    let stack = Stack::start(shape, CONFIG, &["b"]).await?;
    let request = |text: &str, version: &str| {
        format!("GET /backends/b/?identity=1&text={text} HTTP/{version}\r\nHost: x\r\n\r\n")
    };
    let all = request("echo+a", "1.1") + &request("", "1.1") + &request("echo+a", "1.0");
    let answers = read_to_end(&send(&stack.url("/")?, &all)?)?;
    let statuses: Vec<&str> =
        answers.split("HTTP/1.").skip(1).filter_map(|answer| answer.split(' ').nth(1)).collect();
    assert_eq!(statuses, ["200", "400", "200"], "{answers}");
    stack.expect_sent("b", "1", &["a"; 2]).await?;
    stack.finish().await
}

async fn a_body_that_is_too_large_is_not_asked_for(shape: Shape) -> Result<()> {
    let stack = Stack::start(shape, CONFIG, &["b"]).await?;
    let head = "POST /backends/b/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                Content-Length: 10000000\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(status(send(&stack.url("/")?, head)?)?, "413");
    stack.finish().await
}

/// Whether it is too large or too slow, and whether its length is told or not.
async fn a_body_without_an_end_is_refused_by_every_form(shape: Shape) -> Result<()> {
    let limits = "[ingress]\nlisten = '127.0.0.1:0'\nadmin_listen = '127.0.0.1:0'\n\
                  max_body_bytes = 40000\nrequest_timeout = '500ms'\n";
    let stack = Stack::start(shape, &format!("{FORMS}{limits}"), &["b"]).await?;
    let flood = format!("1000\r\n{}\r\n", "[".repeat(0x1000)).repeat(10);
    for (target, headers) in REQUESTS {
        for (length, body, expected) in [
            ("Content-Length: 40001", "", "413"),
            ("Transfer-Encoding: chunked", flood.as_str(), "413"),
            ("Content-Length: 40000", "a=b", "408"),
            ("Transfer-Encoding: chunked", "3\r\na=b\r\n2", "408"),
        ] {
            let request = format!("{target} HTTP/1.1\r\nHost: x\r\n{headers}{length}\r\n\r\n{body}");
            let answer = read_to_end(&send(&stack.url("/")?, &request)?)?;
            assert_eq!(answer.get(9..12), Some(expected), "{target} {headers} {length}");
            // The rest of the body is no request.
            assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        }
    }
    stack.finish().await
}

/// What has no body has a head, which ends somewhere too.
async fn a_head_that_is_too_large_is_refused(shape: Shape) -> Result<()> {
    let stack = Stack::start(shape, FORMS, &["b"]).await?;
    let long = "a".repeat(70_000);
    let target = format!("GET /kannel?id=1&text={long} HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(status(send(&stack.url("/")?, &target)?)?, "414");
    // Who is refused while it still writes cannot write on.
    let mut stream = send(&stack.url("/")?, "GET /kannel?id=1&text=a HTTP/1.1\r\nHost: x\r\n")?;
    drop(stream.write_all(format!("X: {long}\r\n").repeat(7).as_bytes()));
    assert_eq!(status(stream)?, "431");
    stack.finish().await
}

async fn a_path_may_be_escaped(shape: Shape) -> Result<()> {
    let stack = Stack::start(shape, CONFIG, &["b"]).await?;
    for (path, status) in [("/backends/%62/", 200), ("/%62ackend/b", 200), ("/backends/%FF/", 404)] {
        assert_eq!(stack.post(path, &[("identity", "1"), ("text", "echo a")]).await?.0, status, "{path}");
    }
    stack.expect_sent("b", "1", &["a"; 2]).await?;
    stack.finish().await
}

async fn an_answer_may_have_no_body(shape: Shape) -> Result<()> {
    let stack = Stack::start(shape, CONFIG, &["b"]).await?;
    let answer = stack.post("/silent", &[("identity", "1"), ("text", "echo a")]).await?;
    assert_eq!(answer, (204, String::new()));
    stack.expect_sent("b", "1", &["a"]).await?;
    stack.finish().await
}

async fn the_private_listener_lists_its_pages(shape: Shape) -> Result<()> {
    let stack = Stack::start(shape, CONFIG, &["b"]).await?;
    let pages = [
        "/health/live",
        "/health/ready",
        "/metrics",
        "/httptester/",
        "/api/v1/messages",
        "/api/v1/openapi.json",
    ];
    // The dispatcher alone has no API.
    let pages = if shape == Shape::Standalone { &pages[..] } else { &pages[..4] };
    for (path, lines) in [("/", pages), ("/httptester/", &["/httptester/b"])] {
        for url in stack.admin_urls(path) {
            let answer = stack.client().get(url).send().await?;
            assert!(answer.headers()["content-type"].to_str()?.starts_with("text/plain"));
            assert_eq!(answer.text().await?.lines().collect::<Vec<_>>(), lines);
        }
    }
    stack.finish().await
}

/// A gateway with `config` in `folder`.
async fn gateway(folder: &Path, config: &str, env: &[(&str, &str)]) -> Result<Service> {
    let file = folder.join("gateway.toml");
    let queue = format!("[queue]\nurl = 'embedded:{}'\n", folder.join("x.db").display());
    let listen = "[ingress]\nlisten = '127.0.0.1:0'\nadmin_listen = '127.0.0.1:0'\n";
    std::fs::write(&file, format!("{config}{queue}{listen}"))?;
    Service::start("gateway", &[], &file, env).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_never_ended_is_given_up() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let env = [("GATEWAY__INGRESS__REQUEST_TIMEOUT", "300ms")];
    let mut gateway = gateway(folder.path(), CONFIG, &env).await?;
    for head in ["", "POST /backends/b/ HTTP/1.1\r\nHost:"] {
        assert_eq!(read_to_end(&send(&gateway.ingress_url("/")?, head)?)?, "", "{head:?}");
    }
    gateway.terminate()?;
    assert_eq!(gateway.wait_exit(DEADLINE).await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_no_half_request() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut gateway = gateway(folder.path(), CONFIG, &[]).await?;
    let half = "GET / HTTP/1.1\r\nHost: x";
    let (public, private) = (gateway.ingress_url("/")?, gateway.admin_url("/"));
    let open = [send(&public, half)?, send(&private, half)?, send(&public, "")?, send(&private, "")?];
    // Answered after those were accepted.
    for url in [&public, &private] {
        read_to_end(&send(url, "GET /none HTTP/1.0\r\n\r\n")?)?;
    }
    let begun = Instant::now();
    gateway.terminate()?;
    assert_eq!(gateway.wait_exit(DEADLINE).await?, 0);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    drop(open);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_tells_what_an_operator_can_mend() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = format!(
        "{CONFIG}[[endpoints]]\nbackend = 'b'\npath = '/one'\n[endpoints.fields]\n\
                          identity = {{ one_of = ['123'], message = 'other than 123' }}\n\
                          [[endpoints]]\nbackend = 'b'\npath = '/closed'\n\
                          auth = {{ basic = {{ user = 'u', password = 'p' }} }}\n"
    );
    let mut gateway = gateway(folder.path(), &config, &[]).await?;
    let closed = ("/closed?identity=1", "401");
    for (path, status) in [("/none", "404"), closed, closed, ("/one?identity=1&text=x", "400")] {
        let answer =
            read_to_end(&send(&gateway.ingress_url("/")?, &format!("GET {path} HTTP/1.0\r\n\r\n"))?)?;
        assert!(answer.contains(status), "{answer}");
    }
    gateway.terminate()?;
    assert_eq!(gateway.wait_exit(DEADLINE).await?, 0);
    let log = gateway.stderr();
    let refused: Vec<&String> = log.iter().filter(|line| line.contains("refused")).collect();
    // Of the two without credentials the first.
    assert_eq!(refused.len(), 2, "{log:?}");
    assert!(refused[0].contains("reason=\"credentials\""), "{refused:?}");
    assert!(refused[1].contains("identity: select one of") && !refused[1].contains("123"), "{refused:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_the_process_at_once() -> Result<()> {
    let (folder, provider) = (tempfile::tempdir()?, Provider::start()?);
    provider.behave(Behaviour::Hang);
    let config = format!(
        "drain_timeout = '10m'\n[backends.p]\nengine = 'http'\nurl = '{}'\ntimeout = '10m'\n\
         [dispatcher]\nstuck_after = '20m'\n[[endpoints]]\nbackend = 'p'\n[[apps]]\napp = 'echo'\n",
        provider.url("/send")
    );
    let mut gateway = gateway(folder.path(), &config, &[]).await?;
    let request = "GET /backends/p/?identity=1&text=echo+a HTTP/1.0\r\n\r\n";
    assert!(read_to_end(&send(&gateway.ingress_url("/")?, request)?)?.contains(" 200 "));
    provider.wait_for(1, DEADLINE).await?;
    gateway.terminate()?;
    let told = |gateway: &Service, text: &str| {
        let found = gateway.stderr().iter().any(|line| line.contains(text));
        if found { Ok(()) } else { Err(anyhow!("not told: {text}")) }
    };
    eventually("the stop has begun", DEADLINE, async || told(&gateway, "SIGTERM: stopping")).await?;
    gateway.terminate()?;
    assert_eq!(gateway.wait_exit(DEADLINE).await?, 75);
    told(&gateway, "SIGTERM again")
}
