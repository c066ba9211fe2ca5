//! Free TCP ports that stay free while nobody listens on them.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};

/// The first port and how many there are from it on. They end below the range from which the kernel gives ports
/// to outgoing connections: a client that keeps trying to reach a stopped server on a port of that range will
/// one day be connected to itself.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

/// Enough for a machine that is busy with many tests at once.
const ATTEMPTS: u16 = 100;

/// Listens on a free loopback port that nobody is given by chance.
pub fn listen() -> Result<TcpListener> {
    let random = RandomState::new();
    (0..ATTEMPTS)
        .map(|attempt| {
            let [low, high, ..] = random.hash_one(attempt).to_le_bytes();
            FIRST + u16::from_le_bytes([low, high]) % COUNT
        })
        .find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
        .with_context(|| format!("no free port in {ATTEMPTS} attempts"))
}

/// A loopback port that was free a moment ago, for a server that opens its port itself.
pub fn free() -> Result<u16> {
    Ok(listen()?.local_addr()?.port())
}
