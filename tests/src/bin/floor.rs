//! The floors that `bench` measures the gateway beside: what each service has to do at the least, straight on, in one file.
//! Nothing is retried, recovered, validated or logged.
//!
//! `floor form` answers a form without a queue; `floor ingress URL QUEUE` after the confirm; `floor confirms URL QUEUE TASKS`
//! publishes with so many tasks on one channel; `floor pipeline URL QUEUE SINK` consumes, echoes, publishes, consumes and posts;
//! `floor fill URL QUEUE COUNT` publishes so many and ends.

use std::{
    io::{Write, stdout},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

/// How many deliveries are unsettled at a time.
const PREFETCH: u16 = 300;

/// How many are published at a time to a queue that is filled.
const FILLING: usize = 1000;

/// The text that makes a message a reply.
const ECHO: &str = "echo ";

/// A channel with confirms, and the queue that is declared through it.
async fn open(url: &str, queue: &str) -> Result<(Connection, Channel)> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), durable, arguments).await?;
    Ok((connection, channel))
}

#[expect(clippy::disallowed_methods, reason = "the floor of what `shared::queue` does")]
async fn publish(channel: &Channel, queue: &str, body: &[u8]) -> Result<()> {
    let properties = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    let confirmed = channel.basic_publish("".into(), queue.into(), options, body, properties).await?.await?;
    ensure!(confirmed.is_ack(), "the broker has not taken a message");
    Ok(())
}

/// The form as JSON.
fn envelope(form: &Bytes) -> Vec<u8> {
    let fields = form.split(|byte| *byte == b'&').filter_map(|pair| {
        let (name, value) = std::str::from_utf8(pair).ok()?.split_once('=')?;
        let value = value.replace('+', " ");
        Some((
            name.to_owned(),
            percent_encoding::percent_decode_str(&value).decode_utf8_lossy().into_owned().into(),
        ))
    });
    Value::Object(fields.collect()).to_string().into_bytes()
}

async fn serve(routes: Router) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    writeln!(stdout(), "listening ingress={address} admin={address}")?;
    Ok(axum::serve(listener, routes).await?)
}

async fn form() -> Result<()> {
    serve(Router::new().route("/", post(async |form: Bytes| drop(envelope(&form))))).await
}

async fn ingress(url: &str, queue: &str) -> Result<()> {
    let (_connection, channel) = open(url, queue).await?;
    let state = Arc::new((channel, queue.to_owned()));
    let take = async |State(state): State<Arc<(Channel, String)>>, form: Bytes| {
        let published = publish(&state.0, &state.1, &envelope(&form)).await;
        published.map_or(StatusCode::SERVICE_UNAVAILABLE, |()| StatusCode::OK)
    };
    serve(Router::new().route("/", post(take)).with_state(state)).await
}

/// How long each confirm took, in microseconds, since it was last asked.
type Confirmed = Arc<Mutex<Histogram<u64>>>;

async fn confirms(url: &str, queue: &str, tasks: usize) -> Result<()> {
    let (_connection, channel) = open(url, queue).await?;
    let confirmed: Confirmed = Arc::new(Mutex::new(Histogram::new(3)?));
    let mut publishing = JoinSet::new();
    for _ in 0..tasks {
        let (channel, queue, confirmed) = (channel.clone(), queue.to_owned(), Arc::clone(&confirmed));
        publishing.spawn(async move {
            let body = envelope(&Bytes::from_static(b"identity=%2B10000000001&text=echo+hello+1"));
            loop {
                let begun = Instant::now();
                publish(&channel, &queue, &body).await?;
                let micros = u64::try_from(begun.elapsed().as_micros())?;
                confirmed.lock().unwrap_or_else(PoisonError::into_inner).record(micros)?;
            }
        });
    }
    let tell = async |State(confirmed): State<Confirmed>| {
        let mut micros = confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        let at = |quantile| micros.value_at_quantile(quantile);
        let told = json!({ "count": micros.len(), "p50": at(0.5), "p99": at(0.99) }).to_string();
        micros.reset();
        told
    };
    let ended = async { publishing.join_next().await.map_or(Ok(()), |ended: Result<Result<()>, _>| ended?) };
    let page = serve(Router::new().route("/confirmed", get(tell)).with_state(confirmed));
    tokio::try_join!(page, ended).map(drop)
}

async fn fill(url: &str, queue: &str, count: u64) -> Result<()> {
    let (_connection, channel) = open(url, queue).await?;
    // As large as ours are with their properties: how fast a broker reads what has waited depends on that.
    let form = format!("identity=%2B10000000001&text=echo+hello+1&rest={:420}", "").into();
    let messages = stream::iter((0..count).map(Ok));
    messages
        .try_for_each_concurrent(FILLING, async |_| publish(&channel, queue, &envelope(&form)).await)
        .await
}

async fn pipeline(url: &str, queue: &str, sink: &str) -> Result<()> {
    let replies = format!("{queue}.replies");
    let (_connection, channel) = open(url, &replies).await?;
    let echo = consume(url, queue, async |body| {
        let message: Value = serde_json::from_slice(body)?;
        let text = message["text"].as_str().and_then(|text| text.strip_prefix(ECHO)).context("no text")?;
        let reply = json!({ "to": message["identity"], "text": text });
        publish(&channel, &replies, reply.to_string().as_bytes()).await
    });
    let client = reqwest::Client::builder().pool_max_idle_per_host(PREFETCH.into()).build()?;
    let send = consume(url, &replies, async |body| {
        client.post(sink).body(body.to_vec()).send().await?.error_for_status()?;
        Ok(())
    });
    tokio::try_join!(serve(Router::new()), echo, send).map(drop)
}

/// Has `work` done on each delivery, many at a time, and acknowledges it.
async fn consume(url: &str, queue: &str, work: impl AsyncFn(&[u8]) -> Result<()>) -> Result<()> {
    let (_connection, channel) = open(url, queue).await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let deliveries =
        channel.basic_consume(queue.into(), "floor".into(), options, FieldTable::default()).await?;
    let done = deliveries.map(async |delivery| {
        let delivery = delivery?;
        work(&delivery.data).await?;
        delivery.ack(BasicAckOptions::default()).await?;
        anyhow::Ok(())
    });
    let mut done = done.buffer_unordered(PREFETCH.into());
    while let Some(done) = done.next().await {
        done?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    shared::cli::install_tls_provider();
    match arguments[..] {
        ["form"] => form().await,
        ["ingress", url, queue] => ingress(url, queue).await,
        ["pipeline", url, queue, sink_url] => pipeline(url, queue, sink_url).await,
        ["confirms", url, queue, tasks] => confirms(url, queue, tasks.parse()?).await,
        ["fill", url, queue, count] => fill(url, queue, count.parse()?).await,
        _ => bail!(
            "usage: floor form | ingress URL QUEUE | confirms URL QUEUE TASKS | pipeline URL QUEUE SINK | fill URL QUEUE COUNT"
        ),
    }
}
