//! What an operator sees when something is wrong at start: one clear line that says what to do, and the exit code.

use std::{fs, net::TcpListener, path::Path, time::Duration};

use anyhow::Result;
use integration_tests::{
    Service, broker,
    processes::{Finished, run_to_end},
    stack::DEADLINE,
};

const PROGRAMS: [&str; 3] = ["ingress", "dispatcher", "gateway"];

/// A configuration on `url`, with free ports.
fn config(url: &str) -> String {
    format!(
        "[queue]\nurl = '{url}'\nprefix = 't{}'\nconnect_timeout = '500ms'\n\
         [ingress]\nlisten = '127.0.0.1:0'\nadmin_listen = '127.0.0.1:0'\n[dispatcher]\nadmin_listen = '127.0.0.1:0'\n\
         [backends.b]\nengine = 'httptester'\n[[endpoints]]\nbackend = 'b'\n",
        uuid::Uuid::new_v4().simple()
    )
}

async fn run(program: &str, folder: &Path, config: &str, args: &[&str]) -> Result<Finished> {
    fs::write(folder.join("gateway.toml"), config)?;
    run_to_end(program, args, &[], folder, DEADLINE).await
}

/// The one line in which the program tells its end.
fn told<'f>(program: &str, finished: &'f Finished) -> &'f str {
    let prefix = format!("{program}: ");
    let mut lines = finished.stderr.lines().filter(|line| line.starts_with(&prefix));
    let line = lines.next().unwrap_or("");
    assert_eq!(lines.next(), None, "more than one line: {}", finished.stderr);
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_configuration_is_told_whole_by_every_program() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let wrong = config("amqp://127.0.0.1/%2f").replace("engine", "engin").replace("'b'\n", "'c'\n");
    for program in PROGRAMS {
        for args in [&["check"][..], &[], &["run"], &["health"]] {
            let finished = run(program, folder.path(), &wrong, args).await?;
            assert_eq!(finished.code, 78, "{program} {args:?}: {}", finished.stderr);
            for expected in [
                "gateway.toml:10: backends.b: `engine` is missing; `engin` is written instead",
                "gateway.toml:13: endpoints[0].backend: there is no backend `c`; did you mean `b`?",
                "2 problems in the configuration",
            ] {
                assert!(finished.stderr.contains(expected), "{program} {args:?}: {}", finished.stderr);
            }
            assert_eq!(finished.stdout, "");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_only_reads_and_says_what_it_read() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let config = config("amqp://127.0.0.1:1/%2f").replace("127.0.0.1:0", &taken.local_addr()?.to_string());
    let config = config.replacen("admin_listen = '127.0.0.1:", "admin_listen = '127.0.0.2:", 1);
    let config = config.replacen("admin_listen = '127.0.0.1:", "admin_listen = '127.0.0.3:", 1);
    for program in PROGRAMS {
        let finished = run(program, folder.path(), &config, &["check"]).await?;
        assert_eq!(
            (finished.code, finished.stdout.as_str()),
            (0, "gateway.toml: ok, 1 backend, 1 endpoint, 0 apps\n")
        );
    }
    let embedded = config.replace("amqp://127.0.0.1:1/%2f", "embedded:x.db");
    assert_eq!(run("gateway", folder.path(), &embedded, &["check"]).await?.code, 0);
    assert!(!folder.path().join("x.db").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_file_and_a_wrong_command_line_are_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for program in PROGRAMS {
        let finished = run_to_end(program, &[], &[], folder.path(), DEADLINE).await?;
        assert_eq!(finished.code, 78);
        assert!(told(program, &finished).contains("cannot read gateway.toml"), "{}", finished.stderr);
        assert!(told(program, &finished).contains("--config FILE or GATEWAY_CONFIG"), "{}", finished.stderr);
        let finished = run_to_end(program, &["--confg", "x"], &[], folder.path(), DEADLINE).await?;
        assert_eq!(finished.code, 2);
    }
    fs::write(folder.path().join("gateway.toml"), b"# caf\xe9\n")?;
    let finished = run_to_end("gateway", &["check"], &[], folder.path(), DEADLINE).await?;
    let expected = "gateway.toml:1: line 1 is not UTF-8; save the file as UTF-8";
    assert!(finished.code == 78 && finished.stderr.contains(expected), "{}", finished.stderr);
    let elsewhere = folder.path().join("elsewhere.toml");
    fs::write(&elsewhere, config("amqp://127.0.0.1/%2f"))?;
    let elsewhere = elsewhere.display().to_string();
    let variable = [("GATEWAY_CONFIG", elsewhere.as_str())];
    assert_eq!(run_to_end("ingress", &["check"], &variable, folder.path(), DEADLINE).await?.code, 0);
    assert_eq!(
        run_to_end("ingress", &["--config", &elsewhere, "check"], &[], folder.path(), DEADLINE).await?.code,
        0
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_queue_is_refused_by_the_two_services() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for program in ["ingress", "dispatcher"] {
        let wrong = config("embedded:x.db").replace("engine", "engin");
        for args in [&[][..], &["check"]] {
            let finished = run(program, folder.path(), &wrong, args).await?;
            assert_eq!(finished.code, 78);
            for expected in [
                "gateway.toml:2: queue.url: the embedded queue is for one process; run `gateway`",
                "gateway.toml:10: backends.b: `engine` is missing",
            ] {
                assert!(finished.stderr.contains(expected), "{}", finished.stderr);
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_told_with_its_key() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let taken = taken.local_addr()?.to_string();
    let keys = [
        ("ingress", "ingress.listen"),
        ("gateway", "ingress.listen"),
        ("dispatcher", "dispatcher.admin_listen"),
    ];
    for (program, key) in keys {
        let (section, name) = key.split_once('.').unwrap_or_default();
        let variable = format!("GATEWAY__{}__{}", section.to_uppercase(), name.to_uppercase());
        fs::write(folder.path().join("gateway.toml"), config("amqp://127.0.0.1:1/%2f"))?;
        let env = [(variable.as_str(), taken.as_str())];
        let finished = run_to_end(program, &[], &env, folder.path(), DEADLINE).await?;
        assert_eq!(finished.code, 69);
        let line = told(program, &finished);
        assert!(line.contains(&format!("cannot listen on {taken}")) && line.contains(key), "{line}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_cannot_be_reached_is_waited_for_and_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for program in PROGRAMS {
        let finished =
            run(program, folder.path(), &config("amqp://user:s3cret@127.0.0.1:1/%2f"), &[]).await?;
        assert_eq!(finished.code, 69, "{}", finished.stderr);
        let line = told(program, &finished);
        assert!(line.contains("127.0.0.1:1/%2f cannot be reached for 500ms: "), "{line}");
        assert!(
            line.contains("start it, or correct queue.url") && !finished.stderr.contains("s3cret"),
            "{line}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_refuses_is_told_at_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = broker::shared_url()?;
    for program in PROGRAMS {
        // Long enough that only "at once" passes the deadline of the test.
        let patient = |url: &str| config(url).replace("500ms", "10m");
        let finished =
            run(program, folder.path(), &patient(&url.replace("guest:guest", "guest:wrong")), &[]).await?;
        assert_eq!(finished.code, 69, "{}", finished.stderr);
        let line = told(program, &finished);
        assert!(
            line.contains("refuses: ") && line.contains("correct the user and password in queue.url"),
            "{line}"
        );

        let finished = run(program, folder.path(), &patient(&url.replace("%2f", "nowhere")), &[]).await?;
        assert_eq!(finished.code, 69, "{}", finished.stderr);
        let line = told(program, &finished);
        assert!(line.contains("correct the virtual host in queue.url"), "{line}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_with_other_arguments_is_told_with_the_argument() -> Result<()> {
    use lapin::{
        Connection, ConnectionProperties,
        options::{QueueDeclareOptions, QueueDeleteOptions},
        types::FieldTable,
    };
    let folder = tempfile::tempdir()?;
    let url = broker::shared_url()?;
    let config = config(&url);
    let prefix = config.split('\'').nth(3).unwrap_or_default();
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let name = format!("{prefix}.dead");
    channel
        .queue_declare(name.as_str().into(), QueueDeclareOptions::durable(), FieldTable::default())
        .await?;
    for program in PROGRAMS {
        let finished = run(program, folder.path(), &config, &[]).await?;
        assert_eq!(finished.code, 69, "{}", finished.stderr);
        let line = told(program, &finished);
        assert!(line.contains("inequivalent arg 'x-") && line.contains(&name), "{line}");
        let tool = if program == "gateway" { "gateway" } else { "dispatcher" };
        assert!(line.ends_with(&format!("run: {tool} queues migrate {name}")), "{line}");
    }
    let queues =
        integration_tests::Queues::connect(&url, prefix, &["b"], &["5s", "30s", "5m", "30m"]).await?;
    queues.delete_everything().await?;
    channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_be_used_is_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(
        folder.path().join("text.db"),
        "this is a text file, and not a short one, so that nobody takes it for new",
    )?;
    fs::create_dir(folder.path().join("folder.db"))?;
    for file in ["no/such/folder/x.db", "text.db", "folder.db", "/proc/x.db"] {
        let finished = run("gateway", folder.path(), &config(&format!("embedded:{file}")), &[]).await?;
        assert_eq!(finished.code, 69, "{file}: {}", finished.stderr);
        assert!(
            told("gateway", &finished).contains("x.db") || told("gateway", &finished).contains(file),
            "{}",
            finished.stderr
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_asked_of_the_running_process() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("gateway.toml");
    fs::write(&file, config(&format!("embedded:{}", folder.path().join("x.db").display())))?;
    let mut gateway = Service::start("gateway", &[], &file, &[]).await?;
    let admin = gateway.admin_url("").replace("http://", "");
    let variable = [("GATEWAY__INGRESS__ADMIN_LISTEN", admin.as_str())];
    let healthy = run_to_end("gateway", &["health"], &variable, folder.path(), DEADLINE).await?;
    assert_eq!(healthy.code, 0, "{}", healthy.stderr);
    assert!(healthy.stdout.contains(r#""status":"ok""#), "{}", healthy.stdout);
    gateway.terminate()?;
    assert_eq!(gateway.wait_exit(Duration::from_secs(10)).await?, 0);
    let gone = run_to_end("gateway", &["health"], &variable, folder.path(), DEADLINE).await?;
    assert_eq!(gone.code, 69);
    Ok(())
}
