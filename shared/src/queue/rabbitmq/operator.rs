//! A connection for an operator's tool: tried once, used by one task, closed at the end.

use std::time::Duration;

use lapin::{Channel, Connection, options::ConfirmSelectOptions, types::ShortString};
use secrecy::{ExposeSecret, SecretString};

use super::{
    link::{self, Link, SessionError, with_heartbeat},
    topology::{self, Seen, Topology},
};
use crate::{config::Config, lifecycle::Failure};

/// The name of the connection on RabbitMQ's own page.
const ROLE: &str = "operator";

/// How long any step may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

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
        patiently(topology::look(&self.connection, queue.clone())).await
    }

    /// What to tell when a session has ended too early.
    pub(super) fn failure(&self, error: &SessionError) -> Failure {
        link::failure(&self.address, error)
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
