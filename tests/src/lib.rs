//! The harness of the integration tests: a private RabbitMQ, the real binaries, and a provider to talk to.
//!
//! Everything here returns a [`Result`](anyhow::Result) whose text says what was awaited and what was seen
//! instead. What a value starts (a process, a server, a folder) ends when it is dropped, so a test that panics
//! leaves nothing behind. All deadlines are [`Duration`](std::time::Duration)s from the moment of the call.

pub mod bench;
pub mod broker;
pub mod client;
pub mod eventually;
pub mod kannel;
pub mod owned;
pub mod ports;
pub mod processes;
pub mod provider;
pub mod proxy;
pub mod python;
pub mod queues;
pub mod stack;
pub mod torture;

pub use broker::Broker;
pub use eventually::eventually;
pub use kannel::Kannel;
pub use processes::Service;
pub use provider::Provider;
pub use proxy::Proxy;
pub use queues::Queues;
