//! Free ports.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use anyhow::{Result, bail};

/// Below the ports that Linux (32768 up) and macOS (49152 up) give to outgoing connections. A server that is killed and
/// started again must find its port free, and a client that keeps calling a dead port of that range sooner or later is
/// given the very same port as its own and is connected to itself. Above the usual homes of servers (RabbitMQ: 25672).
const PORTS: Range<u16> = 26_000..32_000;

/// With a tenth of the ports free, not finding one in this many tries has a chance of one in a thousand million.
const TRIES: usize = 200;

/// A port on 127.0.0.1 where nobody listens. Chosen at random, so that two who look at the same time do not meet.
pub(crate) fn free() -> Result<u16> {
    for _ in 0..TRIES {
        let port = rand::random_range(PORTS);
        if is_free(port) {
            return Ok(port);
        }
    }
    bail!("no free port on 127.0.0.1 between {} and {}", PORTS.start, PORTS.end)
}

pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
