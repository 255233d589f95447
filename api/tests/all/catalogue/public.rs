//! What everybody sees of the catalogue, and how soon.

use std::time::{Duration, Instant};

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};
use testbed::{Options, Pipeline, TestDatabase, Via};

use super::{manage, product};
use crate::api;
use crate::people::{ask, told};

async fn names(api: &Pipeline, query: &str) -> Result<(Vec<String>, Value)> {
    let page: Value = ask(api, Method::GET, &format!("/catalog{query}"), "", None).await?.json().await?;
    let list = page["products"].as_array().unwrap().iter();
    Ok((list.map(|one| one["name"].as_str().unwrap().to_owned()).collect(), page["next_cursor"].clone()))
}

#[tokio::test]
async fn pages_follow_each_other_and_filters_leave_out_the_rest() -> Result<()> {
    let (database, api) = api().await?;
    sqlx::query("INSERT INTO locations (id, name, time_zone, currency, lead_minutes, updated_by) VALUES ('airport', 'Airport', 'UTC', 'USD', 30, 'test')")
        .execute(&mut database.connect().await?)
        .await?;
    let cakes = manage(&api, Method::POST, "/categories", json!({"name": "Cakes"})).await?;
    let cakes = cakes["id"].as_str().unwrap();
    let admin = testbed::people::of("admin:root")?;
    for (name, price, more) in [
        ("Tea", 2.0, json!({})),
        ("Donut", 1.5, json!({"category_id": cakes})),
        ("Tart", 4.25, json!({"category_id": cakes, "locations": ["airport", "main"]})),
        ("Bretzel", 2.0, json!({"currency": "EUR", "locations": ["airport"]})),
        ("Muffin", 3.0, json!({"category_id": cakes})),
    ] {
        let mut body = json!({"name": name, "price": price});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(ask(&api, Method::POST, "/products", &admin, Some(body)).await?.status(), 201);
    }
    let mut walked = Vec::new();
    let mut cursor = String::new();
    loop {
        let (page, next) = names(&api, &format!("?page_size=2{cursor}")).await?;
        assert!(page.len() <= 2);
        walked.extend(page);
        let Some(next) = next.as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(walked, ["Tea", "Donut", "Tart", "Bretzel", "Muffin"], "each once, as they were made");
    for (query, expected) in [
        (format!("?category={cakes}"), &["Donut", "Tart", "Muffin"][..]),
        (format!("?category={cakes}&page_size=2"), &["Donut", "Tart"]),
        ("?location=airport".to_owned(), &["Tart", "Bretzel"]),
        ("?min_price=2&max_price=3.00".to_owned(), &["Tea", "Muffin"]),
        ("?max_price=2&currency=eur".to_owned(), &["Bretzel"]),
        (format!("?category={cakes}&location=airport&min_price=5"), &[]),
    ] {
        assert_eq!(names(&api, &query).await?.0, expected, "{query}");
    }
    for (query, code) in [
        ("?page_size=0", "out_of_range"),
        ("?cursor=7", "no_id"),
        ("?min_price=cheap", "not_decimal"),
        ("?currency=XXX", "unknown_currency"),
        ("?colour=red", "invalid"),
    ] {
        let refused = ask(&api, Method::GET, &format!("/catalog{query}"), "", None).await?;
        assert_eq!(told(refused).await?, (422, code.to_owned()), "{query}");
    }
    api.stop().await
}

#[tokio::test]
async fn a_coffee_shop_opens_once_and_has_something_to_order() -> Result<()> {
    let (database, api) = api().await?;
    assert!(api::catalogue::seed::seed(&database.database()).await?);
    assert!(!api::catalogue::seed::seed(&database.database()).await?, "something is sold already");
    // Opened by somebody else: it is seen within 200 ms.
    let page = testbed::until("it is open", async || {
        let page = api.client.get("/api/v1/catalog?page_size=100").await?;
        Ok((page["products"] != json!([])).then_some(page))
    })
    .await?;
    let all = page["products"].as_array().unwrap();
    let counted: Vec<&Value> = all.iter().filter(|one| one["tracked"] == true).collect();
    assert_eq!((all.len(), counted.len()), (27, 20));
    assert!(all.iter().all(|one| one["sold_out"] == false && one["category_id"].is_string()));
    let donut = counted[0]["id"].as_str().unwrap();
    let stock = api.client.get(&format!("/api/v1/products/{donut}/stock")).await?;
    assert_eq!(stock["stock"][0]["available"], 52);
    let order = json!({"customer_id": "ann", "items": [{"product_id": donut, "quantity": 1}]});
    assert_eq!(api.client.post(&order).await?.status(), 202);
    api.stop().await
}

#[tokio::test]
async fn the_shop_has_customers_and_an_order_at_each_status_and_all_of_it_adds_up() -> Result<()> {
    let (database, api) = api().await?;
    let made = api::seed::seed(&database.database()).await?.expect("nothing is sold yet");
    assert_eq!(made.len(), 3, "customers with their passwords");
    assert!(api::seed::seed(&database.database()).await?.is_none(), "something is sold already");
    let mut seen = Vec::new();
    for status in domain::order::status::OrderStatus::ALL {
        let page = api.client.get(&format!("/api/v1/orders?status={}", status.as_str())).await?;
        seen.push((status.as_str(), page["total"].as_u64()));
    }
    let missing: Vec<_> = seen.iter().filter(|(_, many)| many.is_none_or(|many| many == 0)).collect();
    assert!(missing.is_empty(), "{seen:?}");
    // Each sees theirs.
    let ids: Vec<uuid::Uuid> =
        sqlx::query_scalar("SELECT id FROM users").fetch_all(&mut database.connect().await?).await?;
    for id in ids {
        let own = super::by(&format!("customer:{id}"), &api, Method::GET, "/orders", None).await?;
        let own: Value = own.json().await?;
        assert!(own["total"].as_u64() > Some(1), "{own}");
    }
    // The gateway knows of none of them, and need not.
    let report = reconcile::reconcile(database.url(), &domain::gateway::Ledger::default()).await?;
    // But for the one that a worker is said to have in hand.
    let open = [
        reconcile::Invariant::OrdersEnded,
        reconcile::Invariant::NothingDue,
        reconcile::Invariant::AttemptsClosed,
    ];
    assert!(report.broken().iter().all(|one| open.contains(one)), "{report}");
    api.stop().await
}

#[tokio::test]
async fn a_page_that_has_not_changed_is_304_and_one_that_has_is_not() -> Result<()> {
    let (_database, api) = api().await?;
    let tea = product(&api, json!({"name": "Tea", "price": 2})).await?;
    let one = format!("/catalog/{}", tea["id"].as_str().unwrap());
    for path in ["/catalog", one.as_str()] {
        let url = format!("{}/api/v1{path}", api.client.api);
        let tag = api.client.http.get(&url).send().await?.headers()["etag"].clone();
        let again = async |tag: &reqwest::header::HeaderValue| {
            let answer = api.client.http.get(&url).header("if-none-match", tag).send().await?;
            anyhow::Ok(answer.status().as_u16())
        };
        assert_eq!(again(&tag).await?, 304, "{path}");
        let price = if path == "/catalog" { 2.5 } else { 2.6 };
        manage(
            &api,
            Method::PATCH,
            &format!("/products/{}", tea["id"].as_str().unwrap()),
            json!({"price": price}),
        )
        .await?;
        assert_eq!(again(&tag).await?, 200, "{path}");
    }
    assert_eq!(ask(&api, Method::GET, "/catalog/7", "", None).await?.status(), 404);
    api.stop().await
}

#[tokio::test]
async fn a_change_is_seen_at_every_api_within_200_ms_whether_somebody_was_reading_or_not() -> Result<()> {
    let database = TestDatabase::new().await?;
    let options = || Options { with_worker: false, ..Options::new(Via::InProcess) };
    let (here, there) =
        (Pipeline::start(&database, options()).await?, Pipeline::start(&database, options()).await?);
    let tea = product(&here, json!({"name": "Tea", "price": 0})).await?;
    let (change, read) = (
        format!("/products/{}", tea["id"].as_str().unwrap()),
        format!("/api/v1/catalog/{}", tea["id"].as_str().unwrap()),
    );
    let mut slowest = Duration::ZERO;
    for price in 1..=20 {
        if price == 10 {
            // From here on nobody has read for a while: who reads first waits for a look.
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        manage(&here, Method::PATCH, &change, json!({"price": price})).await?;
        let changed = Instant::now();
        let shown = |read: &Value| read["price"].as_f64() == Some(f64::from(price));
        assert!(shown(&here.client.get(&read).await?), "at once where it was changed");
        testbed::until("it is seen there", async || Ok(shown(&there.client.get(&read).await?).then_some(())))
            .await?;
        slowest = slowest.max(changed.elapsed());
    }
    println!("seen elsewhere after {slowest:?} at most");
    // On a busy machine a look takes longer; what it waits for is bounded.
    assert!(slowest < Duration::from_millis(1_000), "{slowest:?}");
    there.stop().await?;
    here.stop().await
}
