//! What is to be added to which cells: a statement to read the hours that it is added to, one to write them, and one for customers.
//! Each comes sorted by its key. One at a time adds, so nobody writes between the two.

use std::collections::BTreeMap;

use domain::rolled::cells::{Cells, CustomerAt, Lifetime, Place};
use domain::rolled::hour::Hour;
use domain::rolled::packed::Packed;
use sqlx::PgConnection;
use time::OffsetDateTime;

type Hours = BTreeMap<(Place, OffsetDateTime), Hour>;

/// Adds to cells.
pub async fn cells(conn: &mut PgConnection, cells: Cells) -> sqlx::Result<()> {
    let Cells { hours, customers: of_customers } = cells;
    if !hours.is_empty() {
        let hours = add_to_what_is_there(conn, hours).await?;
        write_hours(conn, &hours).await?;
    }
    runtime::chaos::crash_point("follower.mid_roll_up");
    customers(conn, &of_customers).await
}

/// The columns that every hour has.
#[derive(Default)]
struct Keys<'a> {
    locations: Vec<&'a str>,
    hours: Vec<OffsetDateTime>,
    channels: Vec<&'a str>,
}

impl<'a> Keys<'a> {
    fn of(hours: &'a Hours) -> Self {
        let mut keys = Self::default();
        for (place, hour) in hours.keys() {
            keys.locations.push(&place.location);
            keys.hours.push(*hour);
            keys.channels.push(&place.channel);
        }
        keys
    }
}

async fn add_to_what_is_there(conn: &mut PgConnection, mut hours: Hours) -> sqlx::Result<Hours> {
    let keys = Keys::of(&hours);
    let there = sqlx::query!(
        r#"
        SELECT h.location AS "location!", h.hour AS "hour!", h.channel AS "channel!", h.orders AS "orders!",
            h.statuses AS "statuses!", h.money AS "money!", h.reasons AS "reasons!"
        FROM unnest($1::text[], $2::timestamptz[], $3::text[]) AS asked(location, hour, channel)
        JOIN rolled_hours h USING (location, hour, channel)
        "#,
        &keys.locations as &[&str],
        &keys.hours,
        &keys.channels as &[&str]
    )
    .fetch_all(conn)
    .await?;
    for row in there {
        let place = Place { location: row.location.into(), channel: row.channel.into() };
        let packed = Packed {
            orders: row.orders,
            statuses: row.statuses,
            money: row.money,
            reasons: row.reasons,
            ..Packed::default()
        };
        if let Some(hour) = hours.get_mut(&(place, row.hour)) {
            hour.add(&Hour::unpack(&packed).map_err(|error| sqlx::Error::Decode(error.into()))?);
        }
    }
    Ok(hours)
}

async fn write_hours(conn: &mut PgConnection, hours: &Hours) -> sqlx::Result<()> {
    let keys = Keys::of(hours);
    let packed: Vec<Packed> = hours.values().map(Hour::pack).collect();
    let column = |pick: fn(&Packed) -> &[u8]| packed.iter().map(pick).collect::<Vec<&[u8]>>();
    sqlx::query!(
        r#"
        INSERT INTO rolled_hours AS h (location, hour, channel, orders, statuses, hourly, money, reasons)
        SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[], $8::bytea[])
        ON CONFLICT (location, hour, channel) DO UPDATE
        SET orders = excluded.orders, statuses = excluded.statuses, hourly = excluded.hourly, money = excluded.money,
            reasons = excluded.reasons
        "#,
        &keys.locations as &[&str],
        &keys.hours,
        &keys.channels as &[&str],
        &column(|hour| &hour.orders) as &[&[u8]],
        &column(|hour| &hour.statuses) as &[&[u8]],
        &column(|hour| &hour.hourly) as &[&[u8]],
        &column(|hour| &hour.money) as &[&[u8]],
        &column(|hour| &hour.reasons) as &[&[u8]]
    )
    .execute(conn)
    .await
    .map(drop)
}

async fn customers(conn: &mut PgConnection, customers: &BTreeMap<CustomerAt, Lifetime>) -> sqlx::Result<()> {
    if customers.is_empty() {
        return Ok(());
    }
    let name = |pick: fn(&CustomerAt) -> &str| customers.keys().map(pick).collect::<Vec<&str>>();
    let column = |pick: fn(&Lifetime) -> i64| customers.values().map(pick).collect::<Vec<i64>>();
    let time = |pick: fn(&Lifetime) -> OffsetDateTime| customers.values().map(pick).collect::<Vec<_>>();
    sqlx::query!(
        r#"
        INSERT INTO rolled_customers AS c
            (customer_id, location, currency, first_at, last_at, orders, delivered, paid_minor, back_minor)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::bigint[], $7::bigint[],
                             $8::bigint[], $9::bigint[])
        ON CONFLICT (customer_id, location, currency) DO UPDATE
        SET first_at = least(c.first_at, excluded.first_at), last_at = greatest(c.last_at, excluded.last_at),
            orders = c.orders + excluded.orders, delivered = c.delivered + excluded.delivered,
            paid_minor = c.paid_minor + excluded.paid_minor, back_minor = c.back_minor + excluded.back_minor
        "#,
        &name(|at| &at.customer) as &[&str],
        &name(|at| &at.location) as &[&str],
        &name(|at| &at.currency) as &[&str],
        &time(|lifetime| lifetime.first_at),
        &time(|lifetime| lifetime.last_at),
        &column(|lifetime| lifetime.orders),
        &column(|lifetime| lifetime.delivered),
        &column(|lifetime| lifetime.paid),
        &column(|lifetime| lifetime.back)
    )
    .execute(conn)
    .await
    .map(drop)
}
