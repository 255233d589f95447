//! clock: whether the database's clock is believed. Deadlines are its business, and it can be wrong: put forward by an hour, or
//! another server's after a failover. All that was waiting would be rejected at once.
//!
//! So the clock is trusted only a little way ahead, and workers that watch, by a clock of their own that nobody can set, push
//! that bound on. A clock that has passed it went on while nobody watched or the server was down, or was set: then nothing
//! is late any more, for the sweep and for the kitchen alike, until an operator says so.

use std::time::Duration;

use sqlx::PgConnection;

/// How far ahead the clock is trusted: a failover and a restart take less, and an order's deadline is five times that.
pub const TRUSTED_FOR: Duration = Duration::from_secs(60);

/// Whether the clock is believed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Clock {
    /// It is.
    Trusted,
    /// It went so many seconds further than anybody watched, and something would be late by it.
    Distrusted {
        /// So many.
        by_seconds: f64,
    },
}

/// Pushes the bound on, as a worker that has been watching. A bound that the clock has passed stays, unless nothing is late:
/// no order that the kitchen did not answer, none for later whose time has come, no open charge whose time is over or that is older than
/// `charge_age`.
pub async fn watch(conn: &mut PgConnection, charge_age: Duration) -> sqlx::Result<Clock> {
    let beyond: Option<f64> = sqlx::query_scalar(
        "WITH kept AS (
             UPDATE clock_trust SET until = now() + $1::bigint * interval '1 ms'
             WHERE now() <= until
                 OR NOT (EXISTS (SELECT FROM payments WHERE answer_by <= now())
                     OR EXISTS (SELECT FROM payments WHERE status = 'held' AND held_until <= now())
                     OR EXISTS (SELECT FROM open_charges
                                WHERE NOT voiding
                                    AND charge_ends_at(expires_at, created_at, $2) < now()))
             RETURNING one
         )
         SELECT extract(epoch FROM now() - until)::float8 FROM clock_trust WHERE NOT EXISTS (SELECT FROM kept)",
    )
    .bind(crate::millis(TRUSTED_FOR))
    .bind(crate::millis(charge_age))
    .fetch_optional(conn)
    .await?;
    Ok(match beyond {
        None => Clock::Trusted,
        Some(by_seconds) => Clock::Distrusted { by_seconds },
    })
}

/// What an operator sees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// How far beyond its bound the clock is, in seconds; below 0: it is believed for so long.
    pub beyond_seconds: f64,
    /// Orders that would be rejected if it were believed.
    pub late_orders: i64,
}

/// Looks, and changes nothing.
pub async fn standing(conn: &mut PgConnection) -> sqlx::Result<Standing> {
    let (beyond_seconds, late_orders) = sqlx::query_as(
        "SELECT extract(epoch FROM now() - until)::float8, (SELECT count(*) FROM payments WHERE answer_by <= now())
         FROM clock_trust",
    )
    .fetch_one(conn)
    .await?;
    Ok(Standing { beyond_seconds, late_orders })
}

/// An operator says that the clock is right. Orders whose deadline has passed get `more` time first, of the clock as it is now;
/// says how many. With none, they are rejected by the next sweep.
pub async fn trust(conn: &mut PgConnection, more: Duration) -> sqlx::Result<u64> {
    let put_off: i64 = sqlx::query_scalar(
        "WITH trusted AS (
             UPDATE clock_trust SET until = now() + $1::bigint * interval '1 ms'
         ), put_off AS (
             -- One after the other, as everybody does who locks several.
             UPDATE payments SET answer_by = now() + $2::bigint * interval '1 ms'
             WHERE answer_by <= now() AND id = ANY(ARRAY(
                 SELECT id FROM payments WHERE answer_by <= now() AND $2::bigint > 0 ORDER BY id FOR UPDATE))
             RETURNING id
         )
         SELECT count(*) FROM put_off",
    )
    .bind(crate::millis(TRUSTED_FOR))
    .bind(crate::millis(more))
    .fetch_one(conn)
    .await?;
    Ok(put_off.unsigned_abs())
}
