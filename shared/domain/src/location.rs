//! Where food is made. Whatever names no location belongs to [`MAIN`]. No I/O.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use time::OffsetDateTime;

use crate::limits::DEFAULT_CURRENCY;
use crate::money::Currency;

/// The one that is always there.
pub const MAIN: &str = "main";
/// Longest id.
pub const MAX_LOCATION_CHARS: usize = 50;
/// How long before it is wanted an order for later is made, where a location does not say.
pub const LEAD_MINUTES: i64 = 30;
/// What a location may say of that: up to a week.
pub const LEADS: RangeInclusive<i64> = 0..=10_080;
/// How many seconds a location may give its kitchen to take an order: up to a day.
pub const ACCEPT_SECONDS: RangeInclusive<i64> = 1..=86_400;

/// A location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// As orders and people name it.
    pub id: String,
    /// For people.
    pub name: String,
    /// As IANA has it.
    pub time_zone: String,
    /// Of its orders that name none.
    pub currency: Currency,
    /// How long its kitchen has to take an order; `None`: as long as the programs' setting says.
    pub accept_in: Option<Duration>,
    /// How long before it is wanted an order for later is charged and put before the kitchen.
    pub lead: Duration,
}

impl Location {
    /// Until when an order is held that is wanted then.
    pub fn held_until(&self, wanted_at: OffsetDateTime) -> Option<OffsetDateTime> {
        wanted_at.checked_sub(self.lead.try_into().ok()?)
    }

    /// Whether it is the one that is always there.
    pub fn is_main(&self) -> bool {
        self.id == MAIN
    }
}

/// Those that take orders.
#[derive(Debug, Clone)]
pub struct Locations {
    main: Location,
    others: BTreeMap<String, Location>,
}

/// [`MAIN`] alone, as it is at the start.
impl Default for Locations {
    fn default() -> Self {
        let main = Location {
            id: MAIN.to_owned(),
            name: "Main".to_owned(),
            time_zone: "UTC".to_owned(),
            currency: DEFAULT_CURRENCY,
            accept_in: None,
            lead: Duration::from_secs(LEAD_MINUTES.unsigned_abs() * 60),
        };
        Self { main, others: BTreeMap::new() }
    }
}

impl FromIterator<Location> for Locations {
    fn from_iter<T: IntoIterator<Item = Location>>(all: T) -> Self {
        let mut locations = Self::default();
        for one in all {
            if one.is_main() {
                locations.main = one;
            } else {
                locations.others.insert(one.id.clone(), one);
            }
        }
        locations
    }
}

impl Locations {
    /// The one of whatever names none.
    pub const fn main(&self) -> &Location {
        &self.main
    }

    /// The one of this id.
    pub fn get(&self, id: &str) -> Option<&Location> {
        if id == MAIN { Some(&self.main) } else { self.others.get(id) }
    }

    /// Whether there is but one.
    pub fn is_one(&self) -> bool {
        self.others.is_empty()
    }
}

/// Whether a location may be called so.
pub fn is_id(text: &str) -> bool {
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    (1..=MAX_LOCATION_CHARS).contains(&text.len()) && text.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn main_is_always_there_and_ids_are_plain() {
        let soho = Location { id: "soho".to_owned(), ..Locations::default().main };
        let locations: Locations = [soho].into_iter().collect();
        assert_eq!(locations.main().id, MAIN);
        assert_eq!(locations.get("soho").map(Location::is_main), Some(false));
        assert!(locations.get(MAIN).is_some() && locations.get("Soho").is_none() && !locations.is_one());
        for id in ["main", "soho-2", "a_b", &"x".repeat(50)] {
            assert!(is_id(id), "{id}");
        }
        for no_id in ["", "Soho", "so ho", "café", "a/b", &"x".repeat(51)] {
            assert!(!is_id(no_id), "{no_id}");
        }
    }
}
