//! How a client knows whom it talks to. What this machine trusts is read once: it takes some milliseconds and a quarter of a
//! megabyte, and there may be hundreds of clients.

use std::sync::LazyLock;

use rustls::{ClientConfig, client::Resumption};
use rustls_platform_verifier::ConfigVerifierExt;
use shared::cli;

/// The protocols that a server is offered, the best one first.
const PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];

static TRUSTING: LazyLock<Result<ClientConfig, rustls::Error>> = LazyLock::new(|| {
    cli::install_tls_provider();
    let mut config = ClientConfig::with_platform_verifier()?;
    config.alpn_protocols = PROTOCOLS.map(Into::into).to_vec();
    Ok(config)
});

/// The settings of a client, which has sessions of its own.
pub(super) fn settings() -> Result<ClientConfig, rustls::Error> {
    let mut config = TRUSTING.clone()?;
    config.resumption = Resumption::default();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::{io::Read, net::TcpListener, time::Duration};

    use reqwest::{Method, Request};

    use super::super::{calls::Calls, client::Client};

    #[tokio::test]
    async fn a_server_is_offered_both_protocols() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        let hello = tokio::task::spawn_blocking(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 5];
            stream.read_exact(&mut head).unwrap();
            let mut hello = vec![0; u16::from_be_bytes([head[3], head[4]]).into()];
            stream.read_exact(&mut hello).unwrap();
            hello
        });
        let client = Client::new("test", Duration::from_secs(30), 1, &Calls::Made).unwrap();
        // The server hangs up.
        assert!(client.call(Request::new(Method::GET, url.parse().unwrap())).await.is_err());
        let (hello, offered) = (hello.await.unwrap(), b"\x02h2\x08http/1.1");
        assert!(hello.windows(offered.len()).any(|bytes| bytes == offered));
    }
}
