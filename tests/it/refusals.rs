//! What is not accepted, and what the sender is told. Nothing of it reaches a queue.

use anyhow::Result;
use integration_tests::stack::{Shape, Stack};
use reqwest::Method;

use crate::on_every_shape;

on_every_shape!(wrong_requests_are_told_why, credentials_are_wanted);

async fn wrong_requests_are_told_why(shape: Shape) -> Result<()> {
    let config =
        "[backends.b]\nengine = 'httptester'\n[[endpoints]]\nbackend = 'b'\n[[apps]]\napp = 'echo'\n";
    let stack = Stack::start(shape, config, &["b"]).await?;
    for (form, told) in [
        (vec![("text", "x")], "identity: this field is required"),
        (vec![("identity", "1"), ("text", " \n ")], "text: this field is required"),
        (vec![("identity", "1"), ("text", "a\0b")], "text: null characters are not allowed"),
    ] {
        let (status, body) = stack.post("/backends/b/", &form).await?;
        assert_eq!((status, body), (400, format!("form failed to validate\n{told}\n")));
    }
    let long = "x".repeat(10_001);
    let (status, body) = stack.post("/backends/b/", &[("identity", "1"), ("text", &long)]).await?;
    assert_eq!(status, 400);
    assert!(body.contains("text: ensure this value has at most 10000 characters (it has 10001)"), "{body}");
    let long = "1".repeat(101);
    let (_, body) = stack.post("/backends/b/", &[("identity", &long), ("text", "x")]).await?;
    assert!(body.contains("identity: ensure this value has at most 100 characters (it has 101)"), "{body}");

    let json = stack.client().post(stack.url("/backends/b/")?).json(&serde_json::json!({"identity": "1"}));
    assert_eq!(json.send().await?.status(), 400);
    let big = stack.client().post(stack.url("/backends/b/")?).body("x".repeat(1024 * 1024 + 1));
    assert_eq!(big.send().await?.status(), 413);
    assert_eq!(stack.post("/backends/nobody/", &[]).await?.0, 404);
    for method in [Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS] {
        let answer = stack.client().request(method, stack.url("/backends/b/")?).send().await?;
        assert_eq!((answer.status().as_u16(), answer.headers()["allow"].to_str()?), (405, "GET, POST"));
    }
    stack.finish().await
}

async fn credentials_are_wanted(shape: Shape) -> Result<()> {
    let config = "[backends.b]\nengine = 'httptester'\n[[apps]]\napp = 'ping'\n\
        [[endpoints]]\nbackend = 'b'\npath = '/basic'\nauth = { basic = { user = 'u', password = 'p' } }\n\
        [[endpoints]]\nbackend = 'b'\npath = '/header/'\nauth = { token = { header = 'X-Token', value = 't' } }\n\
        [[endpoints]]\nbackend = 'b'\npath = '/parameter'\nauth = { token = { parameter = 'key', value = 't' } }\n\
        [[endpoints]]\nbackend = 'b'\npath = '/elsewhere'\nauth = { allow_ips = ['192.0.2.0/24'] }\n\
        [[endpoints]]\nbackend = 'b'\npath = '/here'\nauth = { allow_ips = ['127.0.0.0/8'] }\n";
    let stack = Stack::start(shape, config, &["b"]).await?;
    let form = [("identity", "1"), ("text", "ping")];
    for (path, status) in
        [("/basic", 401), ("/header", 401), ("/parameter/", 401), ("/elsewhere", 403), ("/here/", 200)]
    {
        assert_eq!(stack.post(path, &form).await?.0, status, "{path}");
    }
    let basic = |password| {
        Ok::<_, anyhow::Error>(
            stack.client().post(stack.url("/basic/")?).basic_auth("u", Some(password)).form(&form),
        )
    };
    assert_eq!(basic("wrong")?.send().await?.status(), 401);
    assert_eq!(basic("p")?.send().await?.status(), 200);
    let header = stack.client().post(stack.url("/header")?).header("x-token", "t").form(&form);
    assert_eq!(header.send().await?.status(), 200);
    let answer = stack.post("/parameter", &[("identity", "1"), ("text", "ping"), ("key", "t")]).await?;
    assert_eq!(answer.0, 200);
    stack.expect_sent("b", "1", &["pong"; 4]).await?;
    stack.finish().await
}
