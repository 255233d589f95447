//! How fast who may ask: each customer by themselves, everybody whom we do not know yet by their address, and log in harder
//! than the rest. Whoever is over gets 429 with the seconds to wait; nothing is queued.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use axum::http::Extensions;
use axum::http::HeaderMap;
use domain::person::Role;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnet::IpNet;
use runtime::serve::Peer;
use runtime::tasks::Stop;

use super::Principal;
use super::settings::RateLimitSettings;
use crate::http::error::ApiError;

/// Keys that one limit remembers, some 50 bytes each; further ones share places, so that nobody can fill the memory.
const REMEMBERED: usize = 100_000;
const SHARED_PLACES: u64 = 4_096;
/// Between looks for keys that nobody has used.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// The limits, by what metrics and headers call them.
pub(super) const NAMES: [&str; 4] = ["customer", "staff", "address", "log_in"];

/// One limit, a bucket a key.
#[derive(Debug)]
struct Limit {
    name: &'static str,
    quota: Quota,
    buckets: DefaultKeyedRateLimiter<u64>,
    clock: DefaultClock,
    hash: RandomState,
    /// More keys than are remembered.
    full: AtomicBool,
}

impl Limit {
    /// `None`: there is none.
    fn new(name: &'static str, rate: u32, every: fn(NonZeroU32) -> Quota, burst: u32) -> Option<Self> {
        let burst = NonZeroU32::new(rate.saturating_mul(burst))?;
        let quota = every(NonZeroU32::new(rate)?).allow_burst(burst);
        Some(Self {
            name,
            quota,
            buckets: RateLimiter::keyed(quota),
            clock: DefaultClock::default(),
            hash: RandomState::new(),
            full: AtomicBool::new(false),
        })
    }

    /// One more request of `key`.
    fn take(&self, key: impl Hash) -> Result<(), TooFast> {
        let mut place = self.hash.hash_one(key);
        if self.full.load(Ordering::Relaxed) {
            place %= SHARED_PLACES;
        }
        self.buckets.check_key(&place).map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            metrics::counter!("identity_too_fast_total", "limit" => self.name).increment(1);
            TooFast { limit: self.name, quota: self.quota, wait }
        })
    }

    fn forget(&self) {
        self.buckets.retain_recent();
        self.full.store(self.buckets.len() > REMEMBERED, Ordering::Relaxed);
    }
}

/// Somebody asks faster than they may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooFast {
    limit: &'static str,
    quota: Quota,
    wait: Duration,
}

impl From<TooFast> for ApiError {
    fn from(TooFast { limit, quota, wait }: TooFast) -> Self {
        // Rounded up: who comes a moment too early is turned away again.
        let wait = wait.as_secs() + 1;
        let window = quota.burst_size_replenished_in().as_secs().max(1);
        let policy = format!("\"{limit}\";q={};w={window}", quota.burst_size());
        Self::too_fast(wait, policy, format!("\"{limit}\";r=0;t={wait}"))
    }
}

/// All limits.
#[derive(Debug)]
pub(crate) struct RateLimits {
    customer: Option<Limit>,
    staff: Option<Limit>,
    address: Option<Limit>,
    log_in: Option<Limit>,
    trusted: Vec<IpNet>,
    /// A proxy that we do not trust was told of once.
    told: AtomicBool,
}

impl RateLimits {
    pub(crate) fn new(settings: &RateLimitSettings) -> Self {
        let [customer, staff, address, log_in] = NAMES;
        let [customer, staff, address, log_in] = [
            Limit::new(customer, settings.rate_limit_customer, Quota::per_second, 5),
            Limit::new(staff, settings.rate_limit_staff, Quota::per_second, 5),
            Limit::new(address, settings.rate_limit_address, Quota::per_second, 5),
            Limit::new(log_in, settings.rate_limit_log_in, Quota::per_minute, 1),
        ];
        let trusted = settings.trusted_proxies.clone();
        Self { customer, staff, address, log_in, trusted, told: AtomicBool::new(false) }
    }

    /// Of somebody who is known.
    pub(crate) fn known(&self, principal: &Principal) -> Result<(), TooFast> {
        let limit = if principal.role == Role::Customer { &self.customer } else { &self.staff };
        limit.as_ref().map_or(Ok(()), |limit| limit.take(&principal.id))
    }

    /// Of somebody who is not, or not yet.
    pub(crate) fn unknown(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<(), TooFast> {
        self.by_address(self.address.as_ref(), headers, extensions)
    }

    /// Of somebody who wants to be.
    pub(crate) fn log_in(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<(), TooFast> {
        self.by_address(self.log_in.as_ref(), headers, extensions)
    }

    fn by_address(
        &self,
        limit: Option<&Limit>,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<(), TooFast> {
        let Some(limit) = limit else { return Ok(()) };
        // In tests of a router without a socket there is none.
        let Some(&Peer(peer)) = extensions.get::<Peer>() else { return Ok(()) };
        limit.take(network(self.client(peer, headers)))
    }

    /// Who asks: the last address in `X-Forwarded-For` that is no proxy of ours. What stands before it anybody may have
    /// written.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let ours = |address: &IpAddr| self.trusted.iter().any(|network| network.contains(address));
        let peer = peer.to_canonical();
        let mut forwarded = headers.get_all(FORWARDED_FOR).iter();
        if !ours(&peer) {
            if forwarded.next().is_some() && !self.told.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    %peer,
                    "requests come through a proxy that TRUSTED_PROXIES does not name: all of them count as one address"
                );
            }
            return peer;
        }
        let named: Vec<&str> =
            forwarded.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).collect();
        let mut last = peer;
        for address in named.iter().rev() {
            // What is no address was not written by a proxy that we know.
            let Ok(address) = address.trim().parse::<IpAddr>() else { return last };
            last = address.to_canonical();
            if !ours(&last) {
                return last;
            }
        }
        last
    }

    /// Forgets who has not asked for a while, until `stop`.
    pub(crate) async fn run(&self, stop: Stop) -> Result<()> {
        while !stop.is_stopped() {
            for limit in [&self.customer, &self.staff, &self.address, &self.log_in].into_iter().flatten() {
                limit.forget();
            }
            stop.or_stopped(tokio::time::sleep(FORGET_EVERY)).await;
        }
        Ok(())
    }
}

const FORWARDED_FOR: &str = "x-forwarded-for";

/// What one customer of a provider is given: an address of IPv4, a /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(trusted: &str) -> RateLimits {
        let trusted_proxies = trusted.split(',').filter_map(|network| network.parse().ok()).collect();
        RateLimits::new(&RateLimitSettings {
            rate_limit_customer: 1,
            rate_limit_staff: 0,
            rate_limit_address: 1,
            rate_limit_log_in: 3,
            trusted_proxies,
        })
    }

    fn client(trusted: &str, peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        limits(trusted).client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_proxies_of_ours_are_believed_and_only_what_they_themselves_wrote() {
        for (trusted, peer, forwarded, expected) in [
            ("", "203.0.113.9", &["198.51.100.1"][..], "203.0.113.9"),
            ("10.0.0.0/8", "10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.0/8", "10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.0.0.7"], "198.51.100.1"),
            ("10.0.0.0/8", "10.0.0.1", &["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
            ("10.0.0.0/8", "10.0.0.1", &["1.1.1.1, rubbish, 10.0.0.7"], "10.0.0.7"),
            ("10.0.0.0/8", "10.0.0.1", &["10.0.0.8, 10.0.0.7"], "10.0.0.8"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", &["2001:db8::7"], "2001:db8::7"),
            ("10.0.0.0/8,2001:db8::/32", "2001:db8::1", &["::ffff:198.51.100.1"], "198.51.100.1"),
        ] {
            assert_eq!(client(trusted, peer, forwarded), expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn an_address_of_ipv6_counts_as_its_network_and_others_by_themselves() {
        let limits = limits("");
        let ask = |address: &str| {
            let mut extensions = Extensions::new();
            extensions.insert(Peer(address.parse().unwrap()));
            limits.log_in(&HeaderMap::new(), &extensions).is_ok()
        };
        let all = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4", "2001:db8:0:1::1"].map(ask);
        assert_eq!(all, [true, true, true, false, true]);
        assert_eq!(["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"].map(ask), all);
    }

    #[test]
    fn whoever_comes_by_the_hundred_thousand_shares_places_and_is_forgotten() {
        let limits = limits("");
        let limit = limits.address.as_ref().unwrap();
        for key in 0..REMEMBERED + 10 {
            let _ = limit.take(key);
        }
        limit.forget();
        assert!(limit.full.load(Ordering::Relaxed));
        for key in 0..3 * REMEMBERED {
            let _ = limit.take(("another", key));
        }
        let places = usize::try_from(SHARED_PLACES).unwrap();
        assert!(limit.buckets.len() <= REMEMBERED + 10 + places, "{}", limit.buckets.len());
    }
}
