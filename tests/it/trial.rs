//! The dry run by the real programs: what it tells, and that it tells it to nobody else.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use integration_tests::{
    Provider,
    processes::{Finished, binary, run_to_end},
    provider::Answer,
    stack::DEADLINE,
};

/// A backend of `provider`, and a webhook there, before the apps of the quick start.
fn config(provider: &Provider, url: &str) -> String {
    format!(
        "[queue]\nurl = '{url}'\n\
         [backends.b]\nengine = 'http'\nurl = '{}'\nform = {{ key = '${{KEY}}', to = '{{identity}}', msg = '{{text}}' }}\n\
         [[endpoints]]\nbackend = 'b'\n\
         [[apps]]\napp = 'webhook'\nurl = '{}'\n[[apps]]\napp = 'echo'\n",
        provider.url("/send"),
        provider.url("/sms")
    )
}

/// Runs `PROGRAM try ARGS..` in `folder`, whose configuration has a secret of the environment.
async fn try_it(program: &str, folder: &Path, args: &[&str]) -> Result<Finished> {
    let args: Vec<&str> = std::iter::once("try").chain(args.iter().copied()).collect();
    run_to_end(program, &args, &[("KEY", "the secret")], folder, DEADLINE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_be_sent_is_told_and_nothing_is_sent() -> Result<()> {
    let (provider, folder) = (Provider::start()?, tempfile::tempdir()?);
    fs::write(folder.path().join("gateway.toml"), config(&provider, "embedded:gateway.db"))?;
    let args = ["--backend", "b", "--from", "+111", "--field", "external_id=9", "echo a & b"];
    let told = try_it("gateway", folder.path(), &args).await?;
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}");
    for expected in [
        "not called webhook 127.0.0.1:",
        "claimed    by echo, in handle\n\nreply 1    to +111 through b\n           \"a & b\"\n",
        "           in GSM-7, 5 septets: 1 short message\ncall 1     to +111\n           POST http://127.0.0.1:",
        "           key=HIDDEN&to=%2B111&msg=a+%26+b\n",
    ] {
        assert!(told.stdout.contains(expected), "{expected} is not in {}", told.stdout);
    }
    assert!(!told.stdout.contains("the secret") && !told.stdout.contains("the+secret"), "{}", told.stdout);
    let args: Vec<&str> = args.into_iter().chain(["--show-secrets"]).collect();
    let told = try_it("gateway", folder.path(), &args).await?;
    assert!(told.stdout.contains("key=the+secret&to=%2B111&msg=a+%26+b\n"), "{}", told.stdout);
    assert!(provider.requests().is_empty());
    let left: Vec<_> =
        fs::read_dir(folder.path())?.map(|file| Ok(file?.file_name())).collect::<Result<_>>()?;
    assert_eq!(left, ["gateway.toml"]);
    Ok(())
}

/// The broker of this configuration does not exist.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pair_and_a_program_with_apps_of_its_own_tell_it_too() -> Result<()> {
    let (provider, folder) = (Provider::start()?, tempfile::tempdir()?);
    fs::write(folder.path().join("gateway.toml"), config(&provider, "amqp://127.0.0.1:1/%2f"))?;
    let args = ["--backend", "b", "--from", "+111", "--field", "external_id=9", "echo hello"];
    let told = try_it("dispatcher", folder.path(), &args).await?;
    ensure!(told.code == 0, "{told:?}");
    // The webhook's document has the time.
    let of_reply =
        |told: &Finished| told.stdout.split_once("claimed").map(|(_, of_reply)| of_reply.to_owned());
    let same = try_it("gateway", folder.path(), &args).await?;
    assert_eq!(
        of_reply(&told).context("nothing is claimed")?,
        of_reply(&same).context("nothing is claimed")?
    );
    let told =
        try_it("odd-dispatcher", folder.path(), &["--backend", "b", "--from", "1", "cancel it"]).await?;
    let expected =
        "claimed    by odd, in handle\n\ncancelled  by odd: to 1 through b\n           \"cancel it\"\n";
    assert!(told.stdout.ends_with(expected), "{told:?}");
    assert_eq!(try_it("ingress", folder.path(), &args).await?.code, 2);
    assert!(provider.requests().is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_called_only_when_that_is_asked_for() -> Result<()> {
    let (provider, folder) = (Provider::start()?, tempfile::tempdir()?);
    provider.behave(Answer::new(200, r#"{"messages": [{"text": "Hello, Ann!"}]}"#));
    fs::write(folder.path().join("gateway.toml"), config(&provider, "embedded:gateway.db"))?;
    let args = ["--backend", "b", "--from", "1", "--call-apps", "I am Ann"];
    let told = try_it("gateway", folder.path(), &args).await?;
    assert!(told.stdout.contains("claimed    by webhook 127.0.0.1:"), "{told:?}");
    assert!(told.stdout.contains("&to=1&msg=Hello%2C+Ann%21\n"), "{told:?}");
    let paths: Vec<String> = provider.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/sms"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_tried_is_told_with_the_exit_code() -> Result<()> {
    let (provider, folder) = (Provider::start()?, tempfile::tempdir()?);
    let file = folder.path().join("gateway.toml");
    fs::write(&file, config(&provider, "embedded:gateway.db"))?;
    for (args, told) in [
        (&["--backend", "x", "--from", "1", "a"][..], "there is no backend `x`; give --backend one of"),
        (&["--backend", "b", "a"], "--from <NUMBER>"),
        (&["--backend", "b", "--from", "1"], "<TEXT>"),
        (&["--backend", "b", "--from", "1", "--field", "x", "a"], "NAME=VALUE is wanted"),
        (&["--backend", "b", "--from", " ", "a"], "no form takes a blank number"),
    ] {
        let finished = try_it("gateway", folder.path(), args).await?;
        assert_eq!((finished.code, finished.stdout.as_str()), (2, ""), "{args:?}");
        assert!(finished.stderr.contains(told), "{args:?}: {}", finished.stderr);
    }
    fs::write(&file, config(&provider, "embedded:gateway.db").replace("engine", "engin"))?;
    let finished = try_it("gateway", folder.path(), &["--backend", "b", "--from", "1", "a"]).await?;
    assert_eq!(finished.code, 78);
    assert!(finished.stderr.contains("1 problem in the configuration"), "{}", finished.stderr);
    Ok(())
}

#[test]
fn a_text_is_taken_from_standard_input_without_the_space_around_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("gateway.toml");
    fs::write(
        &file,
        "[queue]\nurl = 'embedded:x'\n[backends.b]\nengine = 'httptester'\n[[endpoints]]\nbackend = 'b'\n",
    )?;
    let args =
        ["--backend", "b", "--from", "1", "-", "--config", file.to_str().context("the folder's name")?];
    let mut command = Command::new(binary("gateway")?);
    command.env_clear().arg("try").args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    child.stdin.take().context("no pipe for stdin")?.write_all(b" two\nlines\x1b[2J \n")?;
    let told = String::from_utf8(child.wait_with_output()?.stdout)?;
    assert!(
        told.starts_with("message    from 1 through b\n           \"two\\u000alines\\u001b[2J\"\n"),
        "{told}"
    );
    Ok(())
}
