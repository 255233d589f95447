//! Where webhooks may go: public addresses, and what the operator allows. Whoever may set a webhook must not have us ask what only
//! this machine can reach. A name is looked up here, for the connection that is then made: it cannot lead elsewhere in between.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

/// Which addresses may be connected to.
#[derive(Debug, Clone)]
pub(super) struct Allowed {
    /// Also those that everybody can reach.
    pub(super) public: bool,
    /// Those that the operator names.
    pub(super) networks: Arc<[IpNet]>,
}

impl Allowed {
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        let ip = unmapped(ip);
        (self.public && is_public(ip)) || self.networks.iter().any(|network| network.contains(&ip))
    }

    /// Whether an address that is written into a URL may be connected to: nobody looks that up.
    pub(super) fn may_be(&self, url: &Url) -> bool {
        match url.host() {
            Some(Host::Ipv4(ip)) => self.has(ip.into()),
            Some(Host::Ipv6(ip)) => self.has(ip.into()),
            Some(Host::Domain(_)) => true,
            None => false,
        }
    }
}

impl Resolve for Allowed {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.filter(|address| allowed.has(address.ip())).collect();
            if found.is_empty() {
                return Err(NotAllowed.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// A name leads to no address that webhooks may go to.
#[derive(Debug)]
pub(super) struct NotAllowed;

impl std::fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not an address that webhooks may go to")
    }
}

impl std::error::Error for NotAllowed {}

/// An IPv4 address that is written as one of IPv6 is that one.
fn unmapped(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

/// Whether everybody can reach it: nobody's loopback, house or neighbourhood, in whatever form.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

const fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || a == 0
        || a >= 224
        // Shared by the customers of a provider; of the IETF, with the anycast of 6to4; for benchmarks.
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && b & 0xfe == 18);
    !special
}

const fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let [high, low] = [g.to_be_bytes(), h.to_be_bytes()];
    // NAT64 and 6to4 lead to the address of IPv4 that is in them.
    if a == 0x64 && b == 0xff9b && c == 0 && d == 0 && e == 0 && f == 0 {
        return is_public_v4(Ipv4Addr::new(high[0], high[1], low[0], low[1]));
    }
    if a == 0x2002 {
        let [high, low] = [b.to_be_bytes(), c.to_be_bytes()];
        return is_public_v4(Ipv4Addr::new(high[0], high[1], low[0], low[1]));
    }
    // Global unicast, but for what is special in it: Teredo and others of 2001::/23, and documentation.
    let special = match a {
        0x2001 => b < 0x200 || b == 0xdb8,
        0x3fff => b < 0x1000,
        _ => false,
    };
    a & 0xe000 == 0x2000 && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_whatever_form_they_are_written_in() {
        let none = Allowed { public: true, networks: Arc::new([]) };
        for public in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "2002:101:101::1", "64:ff9b::101:101"] {
            assert!(none.has(public.parse().unwrap()), "{public}");
        }
        for private in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "3fff::1",
        ] {
            assert!(!none.has(private.parse().unwrap()), "{private}");
        }
        let house = Allowed { public: false, networks: Arc::new(["10.1.0.0/16".parse().unwrap()]) };
        assert!(house.has("10.1.2.3".parse().unwrap()) && house.has("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!house.has("10.2.0.1".parse().unwrap()) && !house.has("1.1.1.1".parse().unwrap()));
        for (url, may) in [
            ("https://[::ffff:127.0.0.1]/", false),
            ("https://2130706433/", false),
            ("https://0x7f.1/", false),
            ("https://1.1.1.1/", true),
            ("https://example.com/", true),
        ] {
            assert_eq!(none.may_be(&Url::parse(url).unwrap()), may, "{url}");
        }
    }
}
