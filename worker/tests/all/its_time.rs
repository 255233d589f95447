//! Orders for later, by the worker's own steps.

use std::time::Duration;

use anyhow::Result;
use domain::catalogue::menu::NoMenu;
use domain::location::{Location, Locations};
use domain::order::NewOrder;
use serde_json::json;
use store::accept::{Accept, accept};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use worker::sweep::Chores;

use crate::{Bench, tries};

#[tokio::test]
async fn a_chore_lets_it_go_when_its_time_comes_and_the_sweep_charges_it() -> Result<()> {
    let mut bench = Bench::new().await?;
    let wanted_at = OffsetDateTime::now_utc() + time::Duration::seconds(1_803);
    let body = json!({"customer_id": "ann", "wanted_at": wanted_at.format(&Rfc3339)?,
        "items": [{"item_id": "i", "item_name": "n", "quantity": 1, "price": 5}]})
    .to_string();
    // Half an hour's lead, and a second or two more.
    let places: Locations = std::iter::empty::<Location>().collect();
    let order = NewOrder::parse_with(&serde_json::from_str(&body)?, &places, &NoMenu).unwrap();
    let batch = [Accept { order: order.clone(), key: None }];
    accept(&mut bench.database.connect().await?, &batch, Duration::from_nanos(1)).await?;
    let mut chores = Chores::new(bench.database.database().session(), &bench.settings);
    assert!(chores.watch_clock().await?);
    bench.publish(std::slice::from_ref(&order)).await?;
    bench.consume().await?;
    assert_eq!((chores.let_go_later().await?, bench.sweep().await?), (0, 0), "not yet");
    assert_eq!((bench.status(&order).await?.as_str(), bench.tries(&order).await?), ("PENDING", vec![]));

    sqlx::query("UPDATE payments SET held_until = now()")
        .execute(&mut bench.database.connect().await?)
        .await?;
    assert_eq!((chores.let_go_later().await?, chores.let_go_later().await?), (1, 0), "once");
    assert_eq!(bench.sweep().await?, 1);
    assert_eq!(bench.status(&order).await?, "CONFIRMED");
    assert_eq!(bench.tries(&order).await?, tries(&[("charge", "succeeded")]));
    Ok(())
}
