//! The end-to-end tests: real processes, a real broker, a real HTTP provider.
//!
//! `tests/run` runs them. Each test of [`on_every_shape`] runs on the pair, on two ingress and three dispatchers, and
//! on the standalone.

#![expect(clippy::panic_in_result_fn, reason = "a test ends by an assertion or by an error")]

mod harness;

mod quick_start;

mod messages;

mod refusals;

mod odd_requests;

mod forms;

mod sending;

mod providers;

mod odd_answers;

mod recipes;

mod kannel;

mod parts;

mod reports;

mod metrics;

mod logs;

mod api;

mod pause;

mod webhook;

mod migrating;

mod dead_letters;

mod poison;

mod crashed;

mod migration;

mod embedded;

mod seed;

mod startup;

mod rate;

mod reload;

mod single;

mod scale;

mod outage;

mod backpressure;

mod ladder;

mod torture;

mod trial;

mod shutdown;

mod queue_contract;

/// Defines a test that runs on every shape. Its function gets the [`Shape`](integration_tests::stack::Shape).
#[macro_export]
macro_rules! on_every_shape {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            use integration_tests::stack::Shape;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn pair() -> anyhow::Result<()> {
                super::$name(Shape::Pair { ingress: 1, dispatchers: 1 }).await
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn two_ingress_three_dispatchers() -> anyhow::Result<()> {
                super::$name(Shape::Pair { ingress: 2, dispatchers: 3 }).await
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn standalone() -> anyhow::Result<()> {
                super::$name(Shape::Standalone).await
            }
        }
    )*};
}
