//! A connection for an operator's tool: tried once, used by one task, closed at the end.

use std::time::{Duration, Instant};

use lapin::{
    Channel, Connection,
    options::{ConfirmSelectOptions, QueueDeclareOptions},
    types::ShortString,
};
use secrecy::{ExposeSecret, SecretString};

use super::{
    declaration::{Seen, look},
    link::{self, Link, SessionError, refused, with_heartbeat},
    topology::{Topology, classic},
};
use crate::{config::Config, lifecycle::Failure};

/// The name of the connection on RabbitMQ's own page.
const ROLE: &str = "operator";

/// How long any step may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How long another tool may take to leave a queue: one that was killed a moment ago is still seen.
const LEAVE: Duration = Duration::from_secs(5);

/// How often it is looked whether it has left.
const LOOK: Duration = Duration::from_millis(200);

/// AMQP's reply code for a queue that is exclusive to another connection.
const RESOURCE_LOCKED: u16 = 405;

/// A connection, and the names of the deployment.
pub(super) struct Operator {
    pub(super) connection: Connection,
    pub(super) address: String,
    pub(super) topology: Topology,
}

impl Operator {
    /// Connects. The topology is not declared: the tool may be here because it cannot be.
    pub(super) async fn connect(url: &SecretString, config: &Config) -> Result<Self, Failure> {
        let (url, address) = with_heartbeat(url.expose_secret());
        let connecting = patiently(Connection::connect(&url, Link::properties(ROLE)));
        let connection = connecting.await.map_err(|error| link::failure(&address, &error))?;
        Ok(Self { connection, address, topology: Topology::new(config) })
    }

    /// A channel.
    pub(super) async fn channel(&self) -> Result<Channel, SessionError> {
        patiently(self.connection.create_channel()).await
    }

    /// A channel that confirms.
    pub(super) async fn publishing(&self) -> Result<Channel, SessionError> {
        let channel = self.channel().await?;
        patiently(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(channel)
    }

    /// Looks at a queue; nothing when there is none.
    pub(super) async fn look(&self, queue: &ShortString) -> Result<Option<Seen>, SessionError> {
        patiently(look(&self.connection, queue.clone())).await
    }

    /// Makes this the only tool that works on `queue`, until the connection is closed. False when another one does, or when
    /// its connection is not dead yet: what it holds is in no count.
    pub(super) async fn lock(&self, queue: &ShortString) -> Result<bool, SessionError> {
        let begun = Instant::now();
        while !self.try_lock(queue).await? {
            if begun.elapsed() > LEAVE {
                return Ok(false);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(true)
    }

    /// Waits until nobody consumes `queue`. False when somebody goes on.
    pub(super) async fn is_left_alone(&self, queue: &ShortString) -> Result<bool, SessionError> {
        let begun = Instant::now();
        while self.look(queue).await?.is_some_and(|seen| seen.consumers > 0) {
            if begun.elapsed() > LEAVE {
                return Ok(false);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(true)
    }

    /// An exclusive queue lives as long as the connection that has declared it, and no other connection may declare it.
    async fn try_lock(&self, queue: &ShortString) -> Result<bool, SessionError> {
        let (channel, name) = (self.channel().await?, format!("{}.lock", queue.as_str()));
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        match patiently(channel.queue_declare(name.into(), options, classic())).await {
            Ok(_) => patiently(channel.close(200, "locked".into())).await.map(|()| true),
            Err(SessionError::Lapin(error))
                if refused(&error).is_some_and(|(code, _)| code == RESOURCE_LOCKED) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// What to tell when a session has ended too early.
    pub(super) fn failure(&self, error: &SessionError) -> Failure {
        link::interruption(&self.address, error)
    }

    /// Says goodbye: what was read and kept goes back to where it was.
    pub(super) async fn close(&self) {
        Link::close_connection(&self.connection).await;
    }
}

/// The answer of the broker, unless it takes too long.
pub(super) async fn patiently<T>(step: impl Future<Output = lapin::Result<T>>) -> Result<T, SessionError> {
    Ok(tokio::time::timeout(PATIENCE, step).await.map_err(|_| SessionError::OpenTimeout)??)
}
