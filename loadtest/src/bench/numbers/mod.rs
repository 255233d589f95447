//! Numbers: how soon they show what has happened, how fast a month of them is read, and how long it takes to make them anew.

mod anew;
mod cells;
mod fresh;
mod pages;

use std::time::Duration;

use anyhow::{Context, Result};
use domain::rolled::packed;
use serde::Serialize;
use sqlx::PgConnection;

use super::stack::Stack;
use crate::latency::Percentiles;

/// Locations: of a house with several.
const LOCATIONS: i64 = 10;

/// Numbers.
#[derive(Debug, Clone, Serialize)]
pub struct NumbersRun {
    /// Orders a second while they were watched.
    pub rate: u32,
    /// From an order's first event to when the numbers show it.
    pub fresh: Percentiles,
    /// Orders that the numbers which are read are of.
    pub orders: u64,
    /// Hours that they are kept in, and their size with their index.
    pub hours: u64,
    /// As above.
    pub megabytes: f64,
    /// What was asked of them, and how long the answers took.
    pub pages: Vec<(&'static str, Percentiles)>,
    /// Events that they were made anew of.
    pub events: u64,
    /// Seconds that this took.
    pub anew_seconds: f64,
}

/// Measures all three.
pub(super) async fn measure(
    stack: &Stack,
    (rate, time): (u32, Duration),
    orders: u64,
    events: u64,
) -> Result<NumbersRun> {
    let fresh = fresh::watch(stack, rate, time).await.context("how soon they are shown")?;
    eprintln!("at {rate}/s an order is shown {fresh}");
    let (kept, pages) = pages::read(stack, orders).await.context("a month of them")?;
    pages.iter().for_each(|(name, took)| eprintln!("{name}: {took}"));
    let (events, anew) = anew::make(stack, events).await.context("making them anew")?;
    eprintln!("of {events} events anew in {:.0} s", anew.as_secs_f64());
    Ok(NumbersRun {
        rate,
        fresh,
        orders,
        hours: kept.hours,
        megabytes: kept.megabytes,
        pages,
        events,
        anew_seconds: anew.as_secs_f64(),
    })
}

/// How many orders came in, by the numbers.
async fn accepted(conn: &mut PgConnection) -> Result<i64> {
    let hours: Vec<Vec<u8>> = sqlx::query_scalar("SELECT orders FROM rolled_hours").fetch_all(conn).await?;
    let mut accepted = 0;
    for hour in hours {
        packed::orders(&hour, |_, orders| accepted += orders.accepted)?;
    }
    Ok(accepted)
}
