//! How a channel speaks: what is set for it, and what holds for one of which nothing is. No I/O.

use std::collections::BTreeMap;
use std::fmt;

use crate::money::Currency;

/// Most secrets of a channel: the one that it signs with, and the one that follows.
pub const MAX_SECRETS: usize = 2;
/// Characters of a secret: shorter ones are guessed, longer ones are no secrets.
pub const SECRET_CHARS: std::ops::RangeInclusive<usize> = 8..=500;
/// Most locations that a channel may name.
pub const MAX_LOCATIONS: usize = 1_000;
/// Longest time for which a channel's numbers may be said to stay unique, in days; longer is for good.
pub const MAX_UNIQUE_DAYS: i16 = 3_650;
/// Most digits behind the point that an amount in minor units may have.
pub const MAX_DIGITS: i16 = 6;

/// What a channel speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// The aggregators' common document, in decimals.
    #[default]
    Plain,
    /// Deliverect's.
    Deliverect,
    /// Shopify's.
    Shopify,
    /// That of `WooCommerce`.
    WooCommerce,
}

/// How a platform signs what it sends: HMAC-SHA256 over the body as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// Where it stands, in small letters.
    pub header: &'static str,
    /// How it is written.
    pub written: Written,
}

/// How the bytes of a signature are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Two digits a byte.
    Hex,
    /// With padding.
    Base64,
}

/// How amounts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unit {
    /// As the dialect has it.
    #[default]
    Dialects,
    /// As decimals: 12.99.
    Decimals,
    /// In minor units, with as many digits behind the point: 1299.
    Minor(u8),
}

/// What is set for a channel.
#[derive(Debug, Clone, Default)]
pub struct ChannelSettings {
    /// What it speaks.
    pub dialect: Dialect,
    /// That of orders that name none.
    pub currency: Option<Currency>,
    /// How its amounts are written.
    pub unit: Unit,
    /// For how many days its numbers stay unique; `None`: for good.
    pub unique_days: Option<u16>,
    /// Its names for locations, and ours.
    pub locations: BTreeMap<String, String>,
    /// Its plus name products of the catalogue, whose stock its orders take.
    pub products_by_plu: bool,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Deliverect, Self::Shopify, Self::WooCommerce];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Deliverect => "deliverect",
            Self::Shopify => "shopify",
            Self::WooCommerce => "woocommerce",
        }
    }

    /// The one of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == name)
    }

    /// How whoever speaks it signs.
    pub const fn signature(self) -> Signature {
        match self {
            Self::Plain => Signature { header: "x-signature-sha256", written: Written::Hex },
            Self::Deliverect => {
                Signature { header: "x-server-authorization-hmac-sha256", written: Written::Hex }
            }
            Self::Shopify => Signature { header: "x-shopify-hmac-sha256", written: Written::Base64 },
            Self::WooCommerce => Signature { header: "x-wc-webhook-signature", written: Written::Base64 },
        }
    }
}

/// What a platform makes of an answer that is no success.
impl Dialect {
    /// Whether it only sends the same again, and in the end nothing any more: so what is refused and kept is told as received. The
    /// others show their people what is wrong.
    pub const fn only_repeats(self) -> bool {
        matches!(self, Self::Shopify | Self::WooCommerce)
    }

    /// Whether this is how it asks if anybody is there, before it sends anything. Nobody signs that.
    pub fn is_ping(self, body: &[u8]) -> bool {
        let id = body.strip_prefix(b"webhook_id=");
        self == Self::WooCommerce
            && id.is_some_and(|id| (1..=20).contains(&id.len()) && id.iter().all(u8::is_ascii_digit))
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
