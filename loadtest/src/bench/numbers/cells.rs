//! Believable numbers without the orders: three months of a house with ten locations, most busy in the evening, written straight into the
//! tables. How long it takes to read them depends on how many there are, and not on what they are of.

use anyhow::Result;
use domain::order::status::OrderStatus;
use domain::rolled::hour::{Hour, Orders, QUARTERS, Stays, Sum};
use domain::rolled::money::MoneyKind;
use domain::rolled::packed::Packed;
use reconcile::connect;
use sqlx::{Connection, Executor, PgConnection};
use time::{Duration, OffsetDateTime};

use super::LOCATIONS;

/// Three months.
pub(super) const DAYS: i64 = 90;
/// Of a day's orders, in hundredths, by the hour of the day.
const CURVE: [i64; 24] = [2, 1, 1, 1, 1, 1, 1, 2, 3, 3, 4, 6, 9, 8, 5, 4, 4, 6, 9, 10, 8, 5, 4, 2];
/// Channels, and their share in tenths.
const CHANNELS: [(&str, i64); 2] = [("", 7), ("dishdash", 3)];
/// Customers to each million orders.
const CUSTOMERS: i64 = 30_000;
/// Where orders stay: which of them in hundredths come there, how many do not leave, and how long half of them stay.
const STAYS: [(OrderStatus, i64, bool, i64); 10] = [
    (OrderStatus::Pending, 100, true, 8),
    (OrderStatus::PaymentProcessing, 99, true, 140),
    (OrderStatus::PaymentFailed, 4, false, 0),
    (OrderStatus::Confirmed, 95, true, 70_000),
    (OrderStatus::Accepted, 92, true, 240_000),
    (OrderStatus::Preparing, 91, true, 900_000),
    (OrderStatus::Ready, 90, true, 300_000),
    (OrderStatus::Delivered, 89, false, 0),
    (OrderStatus::Rejected, 2, false, 0),
    (OrderStatus::Cancelled, 3, false, 0),
];
/// How stays spread around their middle, in hundredths, a twelfth of a power of ten apart: half to double, mostly.
const SPREAD: [i64; 15] = [1, 1, 2, 4, 7, 10, 13, 15, 14, 11, 8, 6, 4, 2, 2];

/// What money does with each order: of how many in hundredths, and how much.
const MONEY: [(MoneyKind, i64, i64); 5] = [
    (MoneyKind::Charged, 95, 3_097),
    (MoneyKind::RefundOwed, 5, 3_097),
    (MoneyKind::Refunded, 5, 3_097),
    (MoneyKind::Tip, 30, 200),
    (MoneyKind::DeliveryFee, 50, 350),
];
const REASONS: [(OrderStatus, &str, i64); 4] = [
    (OrderStatus::PaymentFailed, "card_declined", 4),
    (OrderStatus::Rejected, "accept_deadline", 2),
    (OrderStatus::Cancelled, "none", 2),
    (OrderStatus::Cancelled, "no_show", 1),
];

/// Writes what so many orders come to, up to this hour, and a cursor behind them.
pub(super) async fn fill(database_url: &str, orders: i64) -> Result<()> {
    let mut conn = connect(database_url).await?;
    conn.execute("SET statement_timeout = 0; SET synchronous_commit = off").await?;
    locations(&mut conn).await?;
    let now = OffsetDateTime::now_utc();
    let first = now.replace_time(time::Time::from_hms(now.hour(), 0, 0)?) - Duration::days(DAYS);
    let mut dice = Dice(7);
    for location in 0..LOCATIONS {
        day_by_day(&mut conn, &name(location), first, orders / LOCATIONS / DAYS, &mut dice).await?;
    }
    sqlx::query(
        "INSERT INTO rolled_customers (customer_id, location, currency, first_at, last_at, orders, delivered, paid_minor, back_minor)
         SELECT 'customer-' || n, CASE n % $2 WHEN 0 THEN 'main' ELSE 'place-' || n % $2 END, 'USD', now() - interval '90 days',
             now() - (n % 80) * interval '1 day', 1 + n % 60, n % 60, 3097 * (n % 60), 3097 * (n % 3)
         FROM generate_series(1, $1::bigint) n",
    )
    .bind(orders * CUSTOMERS / 1_000_000)
    .bind(LOCATIONS)
    .execute(&mut conn)
    .await?;
    conn.execute(
        "INSERT INTO feed_cursors (follower, tick, noted_at) SELECT 'roll_up', tick, at FROM feed_ticks ORDER BY tick DESC LIMIT 1",
    )
    .await?;
    conn.execute("VACUUM (ANALYZE)").await?;
    conn.execute("CHECKPOINT").await?;
    Ok(conn.close().await?)
}

/// The first is there, and has the others opened beside it.
pub(super) async fn locations(conn: &mut PgConnection) -> Result<()> {
    sqlx::query(
        "INSERT INTO locations (id, name, time_zone, currency, lead_minutes, updated_by)
         SELECT 'place-' || n, 'Place ' || n, 'Europe/Berlin', 'USD', 30, 'bench' FROM generate_series(1, $1 - 1) n",
    )
    .bind(LOCATIONS)
    .execute(conn)
    .await?;
    Ok(())
}

/// What a location is called.
pub(super) fn name(location: i64) -> String {
    if location == 0 { "main".to_owned() } else { format!("place-{location}") }
}

async fn day_by_day(
    conn: &mut PgConnection,
    location: &str,
    first: OffsetDateTime,
    a_day: i64,
    dice: &mut Dice,
) -> Result<()> {
    let (mut hours, mut channels) = (Vec::new(), Vec::new());
    let mut packed = Columns::default();
    for n in 0..DAYS * 24 {
        let hour = first + Duration::hours(n);
        for (channel, tenths) in CHANNELS {
            let a_quarter = a_day * CURVE[usize::from(hour.hour())] * tenths / 1_000 / i64::from(QUARTERS);
            hours.push(hour);
            channels.push(channel);
            packed.push(an_hour(a_quarter, dice).pack());
        }
    }
    sqlx::query(
        "INSERT INTO rolled_hours (location, hour, channel, orders, statuses, hourly, money, reasons)
         SELECT $1, * FROM unnest($2::timestamptz[], $3::text[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[], $8::bytea[])",
    )
    .bind(location)
    .bind(hours)
    .bind(channels)
    .bind(packed.orders)
    .bind(packed.statuses)
    .bind(packed.hourly)
    .bind(packed.money)
    .bind(packed.reasons)
    .execute(conn)
    .await?;
    Ok(())
}

#[derive(Default)]
struct Columns {
    orders: Vec<Vec<u8>>,
    statuses: Vec<Vec<u8>>,
    hourly: Vec<Vec<u8>>,
    money: Vec<Vec<u8>>,
    reasons: Vec<Vec<u8>>,
}

impl Columns {
    fn push(&mut self, hour: Packed) {
        self.orders.push(hour.orders);
        self.statuses.push(hour.statuses);
        self.hourly.push(hour.hourly);
        self.money.push(hour.money);
        self.reasons.push(hour.reasons);
    }
}

/// An hour with about so many orders in each quarter.
fn an_hour(a_quarter: i64, dice: &mut Dice) -> Hour {
    let mut hour = Hour::default();
    for quarter in 0..QUARTERS {
        let orders = dice.about(a_quarter);
        let share = |hundredths: i64, dice: &mut Dice| dice.about(orders * hundredths / 100);
        let counted = Orders {
            accepted: orders,
            confirmed: share(95, dice),
            failed: share(4, dice),
            rejected: share(2, dice),
            cancelled: share(3, dice),
            delivered: share(89, dice),
        };
        hour.orders.insert(quarter, counted);
        for (status, hundredths, leaves, millis) in STAYS {
            let stays = stays(share(hundredths, dice), leaves.then_some(millis), dice);
            if stays.entries > 0 {
                hour.statuses.insert((quarter, status), stays);
            }
        }
        for (kind, hundredths, amount) in MONEY {
            let times = share(hundredths, dice);
            if times > 0 {
                hour.money.insert((quarter, "USD".into(), kind), Sum { times, amount: times * amount });
            }
        }
        for (status, reason, hundredths) in REASONS {
            let times = share(hundredths, dice);
            if times > 0 {
                hour.reasons.insert((quarter, status, reason.into()), times);
            }
        }
    }
    hour
}

fn stays(entries: i64, millis: Option<i64>, dice: &mut Dice) -> Stays {
    let mut stays = Stays { entries, ..Stays::default() };
    let Some(millis) = millis else { return stays };
    let middle = usize::try_from(domain::rolled::lengths::bucket(millis)).unwrap_or(0);
    for _ in 0..entries {
        let mut left = dice.below(100);
        let place = SPREAD.iter().position(|share| {
            left -= share;
            left < 0
        });
        let bucket = (middle + place.unwrap_or(0)).saturating_sub(SPREAD.len() / 2);
        stays.end(domain::rolled::lengths::BOUNDS_MS.get(bucket).copied().unwrap_or(millis));
    }
    stays
}

/// The same numbers in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33).cast_signed() % limit.max(1)
    }

    /// A fifth more or less.
    fn about(&mut self, number: i64) -> i64 {
        (number * (80 + self.below(41)) + self.below(100)) / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_about_what_so_many_orders_come_to() {
        assert_eq!((CURVE.iter().sum::<i64>(), SPREAD.iter().sum::<i64>()), (100, 100));
        let hour = an_hour(100, &mut Dice(1));
        let accepted: i64 = hour.orders.values().map(|orders| orders.accepted).sum();
        assert!((320..=480).contains(&accepted), "{accepted}");
        let preparing = &hour.statuses[&(0, OrderStatus::Preparing)];
        assert_eq!(preparing.buckets.values().sum::<i64>(), preparing.entries, "all of them leave");
        let mean = preparing.total_ms / preparing.entries;
        assert!((450_000..1_800_000).contains(&mean), "{mean}");
        assert!(hour.pack().statuses.len() > 300);
    }
}
