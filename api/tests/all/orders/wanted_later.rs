//! Orders for later, as their customers and the kitchen see them.

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use testbed::people::{of, of_channel_at, token_at};
use testbed::{Client, Options, Pipeline, TestDatabase, Via};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::orders::dialects::document;
use crate::people::{ask, text, told};

fn in_(after: Duration) -> String {
    let at = OffsetDateTime::now_utc() + after;
    at.replace_nanosecond(0).unwrap().format(&Rfc3339).unwrap()
}

fn wanted(at: &str, beside: Value) -> Value {
    let mut order = Client::an_order();
    order["wanted_at"] = json!(at);
    order.as_object_mut().unwrap().extend(beside.as_object().unwrap().clone());
    order
}

fn time(order: &Value, field: &str) -> Result<OffsetDateTime> {
    Ok(OffsetDateTime::parse(text(order, field)?, &Rfc3339)?)
}

/// The time of all that is held comes.
async fn comes(database: &TestDatabase) -> Result<()> {
    sqlx::query(
        "WITH told AS (UPDATE order_details SET held_until = now() WHERE held_until > now())
         UPDATE payments SET held_until = now() WHERE held_until > now()",
    )
    .execute(&mut database.connect().await?)
    .await?;
    Ok(())
}

#[tokio::test]
async fn an_order_for_tomorrow_is_charged_tomorrow_and_rejected_by_nobody_today() -> Result<()> {
    let database = TestDatabase::new().await?;
    let api = Pipeline::start(&database, Options::new(Via::InProcess)).await?;
    let client = &api.client;
    let tomorrow = in_(Duration::days(1));
    let answer = client.post(&wanted(&tomorrow, json!({}))).await?;
    assert_eq!(answer.status(), 202);
    let placed: Value = answer.json().await?;
    let (half_an_hour, quarter) = (Duration::minutes(30), Duration::minutes(15));
    let held_until = time(&placed, "held_until")?;
    assert_eq!(time(&placed, "wanted_at")? - held_until, half_an_hour, "its location's lead time");
    assert_eq!((&placed["status"], &placed["accept_by"]), (&json!("PENDING"), &Value::Null));
    assert_eq!(time(&placed, "expires_at")? - held_until, quarter, "from when it is charged");
    let id: Uuid = text(&placed, "id")?.parse()?;
    let read = client.read(id).await?;
    assert_eq!(read["payments"][0]["status"], "held");
    assert_eq!(read["expires_at"], placed["expires_at"]);

    // Its channel has its money already: nothing to charge, and the kitchen has until tomorrow.
    let paid = json!({"payment": {"method": "elsewhere"}, "channel": "dishdash", "channel_order_id": "A-1"});
    let paid: Uuid = client.order(&wanted(&tomorrow, paid)).await?;
    let paid = client.read(paid).await?;
    assert_eq!(paid["status"], "CONFIRMED");
    assert_eq!(time(&paid, "accept_by")? - time(&paid, "held_until")?, Duration::minutes(5));

    // Time enough for whoever would charge or reject it.
    let soon = client.order(&Client::an_order()).await?;
    client.until_status(soon, "CONFIRMED").await?;
    assert_eq!(client.ledger().await?.requests.charges, 1, "of the one that is not for later");
    let report = reconcile::reconcile(database.url(), &client.ledger().await?).await?;
    assert!(report.is_clean(), "what waits is in its place: {report}");

    comes(&database).await?;
    let confirmed = client.until_status(id, "CONFIRMED").await?;
    let since = time(&confirmed["timestamps"], "CONFIRMED")?;
    assert_eq!(time(&confirmed, "accept_by")? - since, Duration::minutes(5));
    let report = reconcile::reconcile(database.url(), &client.ledger().await?).await?;
    assert!(report.is_clean(), "{report}");
    api.stop().await
}

#[tokio::test]
async fn cancelled_before_its_time_no_gateway_hears_of_it() -> Result<()> {
    let database = TestDatabase::new().await?;
    let api = Pipeline::start(&database, Options::new(Via::InProcess)).await?;
    let (client, ada) = (&api.client, of("customer:customer_123")?);
    client.faults(json!({"down": true})).await?;
    let id = client.order(&wanted(&in_(Duration::days(3)), json!({}))).await?;
    let more = json!({"items": Client::an_order()["items"], "payment_reference": "more"});
    let added = ask(&api, Method::POST, &format!("/orders/{id}/items"), &ada, Some(more)).await?;
    assert_eq!(added.status(), 200, "it is open to more");
    let cancelled = ask(&api, Method::POST, &format!("/orders/{id}/cancel"), &ada, None).await?;
    assert_eq!(cancelled.status(), 200);
    let cancelled: Value = cancelled.json().await?;
    assert_eq!((&cancelled["status"], &cancelled["cancel_requested"]), (&json!("CANCELLED"), &Value::Null));
    comes(&database).await?;
    client.no_faults().await?;
    let soon = client.order(&Client::an_order()).await?;
    client.until_status(soon, "CONFIRMED").await?;
    testbed::until("what was added is taken off", async || {
        let off = "SELECT FROM payments WHERE order_id = $1 AND dropped_at IS NOT NULL";
        Ok(sqlx::query(off).bind(id).fetch_optional(&mut database.connect().await?).await?)
    })
    .await?;
    let ledger = client.ledger().await?;
    assert!(ledger.charges.iter().all(|charge| charge.reference != id.to_string()));
    let report = reconcile::reconcile(database.url(), &ledger).await?;
    assert!(report.is_clean(), "{report}");
    api.stop().await
}

#[tokio::test]
async fn when_it_is_wanted_must_make_sense_and_the_same_again_is_the_same_order() -> Result<()> {
    let (database, api) = crate::api().await?;
    let staff = of("staff:bo")?;
    let post =
        async |order: Value| told(ask(&api, Method::POST, "/orders", &staff, Some(order)).await?).await;
    let none = || json!({});
    for (at, beside, code) in [
        (in_(-Duration::minutes(1)), none(), "in_the_past"),
        (in_(Duration::days(400)), none(), "too_far"),
        ("tomorrow".to_owned(), none(), "no_time"),
        (in_(Duration::days(2)), json!({"expires_at": in_(Duration::days(1))}), "conflict"),
    ] {
        assert_eq!(post(wanted(&at, beside)).await?, (422, code.to_owned()), "{at}");
    }
    // One that came before is answered as it was then, though its time has passed.
    let order = wanted(&in_(Duration::seconds(60)), json!({"channel": "dish", "channel_order_id": "1"}));
    let first = api.client.post(&order).await?;
    assert_eq!(first.status(), 202);
    let first: Value = first.json().await?;
    assert!(first.get("held_until").is_none(), "sooner than it takes: {first}");
    sqlx::query("UPDATE order_details SET held_until = now() + interval '1 d'")
        .execute(&mut database.connect().await?)
        .await?;
    let again: Value = api.client.post(&order).await?.json().await?;
    assert_eq!((&again["id"], &again["wanted_at"]), (&first["id"], &first["wanted_at"]));
    api.stop().await
}

#[tokio::test]
async fn the_kitchen_sees_what_is_for_later_apart_and_at_its_own_location() -> Result<()> {
    let (_database, api) = crate::api().await?;
    let admin = of("admin:root")?;
    let soho =
        json!({"id": "soho", "name": "Soho", "time_zone": "UTC", "currency": "GBP", "lead_minutes": 0});
    assert_eq!(ask(&api, Method::POST, "/locations", &admin, Some(soho)).await?.status(), 201);
    let mut ids = Vec::new();
    for (hours, location) in [(5, "main"), (1, "soho"), (3, "main")] {
        let order = wanted(&in_(Duration::hours(hours)), json!({"location": location}));
        let placed: Value = ask(&api, Method::POST, "/orders", &admin, Some(order)).await?.json().await?;
        ids.push(text(&placed, "id")?.to_owned());
        let lead = if location == "soho" { 0 } else { 30 };
        assert_eq!(time(&placed, "wanted_at")? - time(&placed, "held_until")?, Duration::minutes(lead));
    }
    let of_soho = token_at("bo", "staff", &["soho"])?;
    for (token, query, shown) in [
        (&admin, "", vec![1, 2, 0]),
        (&admin, "?location=main", vec![2, 0]),
        (&of_soho, "", vec![1]),
        (&of("staff:mo")?, "", vec![2, 0]),
    ] {
        let list: Value =
            ask(&api, Method::GET, &format!("/orders/later{query}"), token, None).await?.json().await?;
        let found: Vec<_> =
            list["orders"].as_array().context("a list")?.iter().map(|one| &one["id"]).collect();
        assert_eq!(found, shown.iter().map(|nth| &ids[*nth]).collect::<Vec<_>>(), "{query}");
    }
    let first: Value =
        ask(&api, Method::GET, "/orders/later?page_size=2", &admin, None).await?.json().await?;
    let path = format!("/orders/later?cursor={}", text(&first, "next_cursor")?);
    let rest: Value = ask(&api, Method::GET, &path, &admin, None).await?.json().await?;
    assert_eq!((&rest["orders"][0]["id"], &rest["next_cursor"]), (&json!(ids[0]), &Value::Null));
    for (token, query, status) in [
        (&of_soho, "?location=main", 403),
        (&admin, "?colour=red", 422),
        (&admin, "?page_size=0", 422),
        (&of("customer:eve")?, "", 403),
    ] {
        let answer = ask(&api, Method::GET, &format!("/orders/later{query}"), token, None).await?;
        assert_eq!(answer.status(), status, "{query}");
    }
    api.stop().await
}

/// A restaurant's evening: its channel has the money for tomorrow's dinner already, or nobody has it yet.
#[tokio::test]
async fn a_channels_order_for_tomorrow_waits_at_its_own_location() -> Result<()> {
    let (database, api) = crate::api().await?;
    let admin = of("admin:root")?;
    let soho = json!({"id": "soho", "name": "Soho", "time_zone": "UTC", "currency": "GBP", "lead_minutes": 60,
        "accept_deadline_seconds": 120});
    assert_eq!(ask(&api, Method::POST, "/locations", &admin, Some(soho)).await?.status(), 201);
    sqlx::query(
        r#"INSERT INTO channels (name, dialect, currency, decimals, locations, secrets, updated_by) VALUES
           ('deli', 'deliverect', 'GBP', false, '{"their-1": "soho", "their-2": "attic", "their-3": "main"}', '{}', 'a test')"#,
    )
    .execute(&mut database.connect().await?)
    .await?;
    let sent =
        async |number: &str, location: &str, paid: bool, at: &str, token: &str| -> Result<(u16, Value)> {
            let mut order = document("deliverect", "modifiers_for_each")?;
            order["_id"] = json!(number);
            order["channelOrderId"] = json!(number);
            order["location"] = json!(location);
            order["orderIsAlreadyPaid"] = json!(paid);
            order["pickupTime"] = json!(at);
            let answer = ask(&api, Method::POST, "/channels/deli/orders", token, Some(order)).await?;
            Ok((answer.status().as_u16(), answer.json().await?))
        };
    let tomorrow = in_(Duration::days(1));
    for paid in [true, false] {
        let (status, order) = sent(&format!("1-{paid}"), "their-1", paid, &tomorrow, &admin).await?;
        assert_eq!(
            (status, &order["location"], &order["status"]),
            (202, &json!("soho"), &json!("CONFIRMED")),
            "{order}"
        );
        let held_until = time(&order, "held_until")?;
        assert_eq!(time(&order, "wanted_at")? - held_until, Duration::hours(1), "its location's lead time");
        assert_eq!(
            time(&order, "accept_by")? - held_until,
            Duration::minutes(2),
            "nobody rejects it tonight"
        );
        // Its channel moves it: what is held, and the kitchen's time, move with it.
        let sooner = in_(Duration::hours(5));
        let (status, order) = sent(&format!("1-{paid}"), "their-1", paid, &sooner, &admin).await?;
        assert_eq!(status, 200, "{order}");
        let held_until = time(&order, "held_until")?;
        assert_eq!(time(&order, "wanted_at")? - held_until, Duration::hours(1), "{order}");
        assert!(held_until < time(&json!({"at": tomorrow}), "at")? - Duration::hours(2), "{order}");
        assert_eq!(time(&order, "accept_by")? - held_until, Duration::minutes(2));
    }
    // So does a charge that is held.
    let (mut moved, mut order) = (Vec::new(), Value::Null);
    for at in [&tomorrow, &in_(Duration::hours(5))] {
        let document = json!({"channelOrderId": "P-1", "pickupTime": at, "orderIsAlreadyPaid": false,
            "items": [{"plu": "B", "name": "Burger", "price": 9.5, "quantity": 1}]});
        let answer = ask(&api, Method::POST, "/channels/plain/orders", &admin, Some(document)).await?;
        moved.push(answer.status().as_u16());
        order = answer.json().await?;
    }
    assert_eq!(moved, [202, 200], "{order}");
    let held: OffsetDateTime = sqlx::query_scalar("SELECT held_until FROM payments WHERE status = 'held'")
        .fetch_one(&mut database.connect().await?)
        .await?;
    assert_eq!(held, time(&order, "held_until")?);
    assert_eq!(time(&order, "wanted_at")? - held, Duration::minutes(30), "{order}");
    let of_soho = of_channel_at("deli", &["soho"])?;
    for (number, location, at, token, status) in [
        ("2", "their-2", &tomorrow, &admin, 422),
        ("3", "their-3", &in_(Duration::days(500)), &admin, 422),
        ("4", "their-3", &in_(Duration::minutes(20)), &admin, 202),
        ("5", "their-3", &tomorrow, &of_soho, 403),
        ("6", "their-1", &in_(Duration::minutes(20)), &of_soho, 202),
    ] {
        let (answered, body) = sent(number, location, true, at, token).await?;
        assert_eq!(answered, status, "{number}: {body}");
        assert!(body.get("held_until").is_none(), "{body}");
    }
    // What is called off elsewhere is shown to nobody who may not read it.
    let mut off = document("deliverect", "modifiers_for_each")?;
    (off["_id"], off["channelOrderId"], off["status"]) = (json!("4"), json!("4"), json!(100));
    let mut answers = Vec::new();
    for token in [&of_soho, &admin, &of_soho, &admin] {
        let answer = ask(&api, Method::POST, "/channels/deli/orders", token, Some(off.clone())).await?;
        answers.push(answer.status().as_u16());
    }
    assert_eq!(answers, [404, 200, 404, 200]);
    let late = sent("7", "their-1", true, &in_(-Duration::hours(1)), &admin).await?;
    assert_eq!((late.0, late.1.get("held_until")), (202, None), "late is as soon as can be");
    let list: Value = ask(&api, Method::GET, "/orders/later", &admin, None).await?.json().await?;
    assert_eq!(list["orders"].as_array().map(Vec::len), Some(3));
    api.stop().await
}
