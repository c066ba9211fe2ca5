//! The HTTP client with which the tests play a provider that delivers messages, and an operator.

use anyhow::Result;

/// A client that shows what the server really answers: no redirects followed, no proxy of the environment used.
pub fn client() -> Result<reqwest::Client> {
    // Only the first call installs the provider; that another one was faster is no failure.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
    Ok(client)
}
