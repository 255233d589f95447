//! Guests: whoever shows no token, where the house lets them in. It does so on loopback alone, where only this machine comes in.
//! So does every browser on it, for whatever page it shows: a stranger's page that has its own name lead to 127.0.0.1 (DNS
//! rebinding) may call as if it were ours. But it cannot hide that name, which stands in `Host`.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::uri::Authority;

/// Whether the request was meant for this machine by a name that nobody else can have.
pub(super) fn meant_for_this_machine(parts: &Parts) -> bool {
    let headers = parts.headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default());
    // In HTTP/2 it is part of the address; in HTTP/1 of one in full.
    let mut named = parts.uri.authority().map(Authority::as_str).into_iter().chain(headers).peekable();
    named.peek().is_some() && named.all(is_of_this_machine)
}

fn is_of_this_machine(named: &str) -> bool {
    let Ok(authority) = named.parse::<Authority>() else { return false };
    let host = authority.host();
    let is_whole = host.len() == named.len() || authority.port_u16().is_some();
    let ip = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(ip) => ip.parse::<Ipv6Addr>().map(IpAddr::from),
        None => host.parse::<IpAddr>(),
    };
    is_whole
        && !named.contains('@')
        && (host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_nobody_else_can_have_are_this_machines() {
        for own in [
            "localhost",
            "LocalHost:3000",
            "127.0.0.1",
            "127.0.0.1:3000",
            "127.8.9.1:80",
            "[::1]:3000",
            "[::1]",
        ] {
            assert!(is_of_this_machine(own), "{own}");
        }
        for other in [
            "",
            "shop.example.com:3000",
            "localhost.example.com",
            "127.0.0.1.example.com:3000",
            "127.0.0.1:3000.example.com",
            "localhost.",
            "a.localhost",
            "example.com@localhost",
            "localhost@example.com",
            "192.168.1.7:3000",
            "0.0.0.0:3000",
            "[::ffff:127.0.0.1]:3000",
            "localhost:3000, example.com",
            "local\u{200b}host",
            "::1",
        ] {
            assert!(!is_of_this_machine(other), "{other}");
        }
    }
}
