//! The README's first command, as a newcomer runs it: `gateway` with the `gateway.toml` of the repository.

use std::process::Command;

use anyhow::{Context, Result, anyhow};
use integration_tests::{Service, client::client, eventually, stack::DEADLINE};

/// The ports of the file are taken from the environment, so that tests can run beside a gateway.
const PORTS: [(&str, &str); 2] =
    [("GATEWAY__INGRESS__LISTEN", "127.0.0.1:0"), ("GATEWAY__INGRESS__ADMIN_LISTEN", "127.0.0.1:0")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_printed_line_sends_a_message_and_its_reply_is_seen() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let database = format!("embedded:{}", folder.path().join("gateway.db").display());
    let config = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway.toml");
    let env = [PORTS[0], PORTS[1], ("GATEWAY__QUEUE__URL", database.as_str())];
    let mut gateway = Service::start("gateway", &[], &config, &env).await?;

    let printed = gateway.stdout();
    let line = printed.iter().find_map(|line| line.strip_prefix("try: ")).context("no line to try")?;
    let curl = Command::new("sh").arg("-c").arg(line).output()?;
    assert_eq!(String::from_utf8(curl.stdout)?, "OK", "{line}: {}", String::from_utf8_lossy(&curl.stderr));

    let url = gateway.admin_url("/httptester/httptester?identity=1112223333");
    let client = client()?;
    let page = eventually("the reply is on the page", DEADLINE, async || {
        let page: serde_json::Value = client.get(&url).send().await?.json().await?;
        if page["messages"][0]["text"] == "hello" { Ok(page) } else { Err(anyhow!("{page}")) }
    })
    .await?;
    assert_eq!(
        (&page["messages"][0]["direction"], &page["messages"][0]["identity"]),
        (&"out".into(), &"1112223333".into())
    );
    eventually("the reply is in the terminal", DEADLINE, async || {
        let seen = gateway.stderr().iter().any(|line| line.contains("sent") && line.contains("\"hello\""));
        if seen { Ok(()) } else { Err(anyhow!("it is not")) }
    })
    .await?;

    let metrics = client.get(gateway.admin_url("/metrics")).send().await?.text().await?;
    assert!(metrics.contains("gateway_accepted_total{backend=\"httptester\"} 1"), "{metrics}");
    assert_eq!(client.get(gateway.admin_url("/health/live")).send().await?.status(), 200);
    gateway.terminate()?;
    assert_eq!(gateway.wait_exit(DEADLINE).await?, 0);
    Ok(())
}
