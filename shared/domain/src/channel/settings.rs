//! How a channel speaks: what is set for it, and what holds for one of which nothing is. No I/O.

use std::collections::BTreeMap;

use crate::channel::dialect::Dialect;
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
}
