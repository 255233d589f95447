//! Locations: who says what holds at them, what an order takes from its own, and whose orders are whose business.

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use testbed::people::{of, token_at};
use testbed::{Client, Options, Pipeline, TestDatabase, Via};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::people::{ask, text, told};

/// What holds at Soho.
fn soho() -> Value {
    json!({"id": "soho", "name": "Soho", "time_zone": "Europe/London", "currency": "gbp",
        "accept_deadline_seconds": 120, "lead_minutes": 45})
}

/// The same as it is set anew.
fn without_id(mut location: Value) -> Value {
    location.as_object_mut().map(|fields| fields.remove("id"));
    location
}

async fn open_soho(api: &Pipeline) -> Result<()> {
    let opened = ask(api, Method::POST, "/locations", &of("admin:root")?, Some(soho())).await?;
    anyhow::ensure!(opened.status() == 201, "{}", opened.text().await?);
    Ok(())
}

fn order_at(location: Option<&str>) -> Value {
    let mut order = Client::an_order();
    if let Some(location) = location {
        order["location"] = json!(location);
    }
    order
}

async fn placed(api: &Pipeline, token: &str, order: Value) -> Result<Value> {
    let answer = ask(api, Method::POST, "/orders", token, Some(order)).await?;
    anyhow::ensure!(answer.status() == 202, "{}", answer.text().await?);
    Ok(answer.json().await?)
}

#[tokio::test]
async fn admins_open_locations_their_managers_set_them_and_staff_look() -> Result<()> {
    let (_database, api) = crate::api().await?;
    let (admin, here) = (of("admin:root")?, token_at("mo", "manager", &["soho"])?);
    let (elsewhere, staff) = (of("manager:max")?, of("staff:bo")?);
    for token in [&here, &elsewhere, &staff] {
        let opened = ask(&api, Method::POST, "/locations", token, Some(soho())).await?;
        assert_eq!(opened.status(), 403, "who may open one");
    }
    for (field, wrong, code) in [
        ("id", json!("So Ho"), "invalid"),
        ("time_zone", json!("Europe/Londinium"), "unknown_time_zone"),
        ("time_zone", json!("posixrules"), "unknown_time_zone"),
        ("time_zone", json!("XYZ3"), "unknown_time_zone"),
        ("currency", json!("XXX"), "unknown_currency"),
        ("accept_deadline_seconds", json!(0), "out_of_range"),
        ("lead_minutes", json!(-1), "out_of_range"),
        ("opens", json!("08:00"), "unknown_field"),
    ] {
        let mut location = soho();
        location[field] = wrong;
        let answer = ask(&api, Method::POST, "/locations", &admin, Some(location)).await?;
        assert_eq!(told(answer).await?, (422, code.to_owned()), "{field}");
    }
    let unknown = ask(&api, Method::POST, "/orders", &admin, Some(order_at(Some("soho")))).await?;
    assert_eq!(told(unknown).await?, (422, "unknown_location".to_owned()));
    open_soho(&api).await?;
    let again = ask(&api, Method::POST, "/locations", &admin, Some(soho())).await?;
    assert_eq!(told(again).await?, (409, "location_taken".to_owned()));

    let mut set = without_id(soho());
    set["name"] = json!("Soho Square");
    for (token, status) in [(&elsewhere, 403), (&staff, 403), (&here, 200), (&admin, 200)] {
        let answer = ask(&api, Method::PUT, "/locations/soho", token, Some(set.clone())).await?;
        assert_eq!(answer.status(), status);
    }
    let list: Value = ask(&api, Method::GET, "/locations", &staff, None).await?.json().await?;
    let ids: Vec<_> = list["locations"].as_array().context("a list")?.iter().map(|one| &one["id"]).collect();
    assert_eq!(ids, ["main", "soho"], "main is there from the start");
    let seen: Value = ask(&api, Method::GET, "/locations/soho", &staff, None).await?.json().await?;
    assert_eq!((&seen["name"], &seen["currency"]), (&json!("Soho Square"), &json!("GBP")), "{seen}");
    assert_eq!(ask(&api, Method::GET, "/locations", &of("customer:eve")?, None).await?.status(), 403);
    assert_eq!(ask(&api, Method::GET, "/locations/attic", &staff, None).await?.status(), 404);

    let stays = ask(&api, Method::DELETE, "/locations/main", &admin, None).await?;
    assert_eq!(told(stays).await?, (409, "main_stays".to_owned()));
    assert_eq!(ask(&api, Method::DELETE, "/locations/soho", &elsewhere, None).await?.status(), 403);
    let before = placed(&api, &admin, order_at(Some("soho"))).await?;
    assert_eq!(ask(&api, Method::DELETE, "/locations/soho", &here, None).await?.status(), 204);
    let closed = ask(&api, Method::POST, "/orders", &admin, Some(order_at(Some("soho")))).await?;
    assert_eq!(told(closed).await?, (422, "unknown_location".to_owned()));
    let path = format!("/orders/{}/cancel", text(&before, "id")?);
    assert_eq!(ask(&api, Method::POST, &path, &here, None).await?.status(), 200, "what it has goes on");
    assert_eq!(ask(&api, Method::PUT, "/locations/soho", &here, Some(set)).await?.status(), 200);
    placed(&api, &admin, order_at(Some("soho"))).await?;
    api.stop().await
}

#[tokio::test]
async fn what_is_new_at_one_api_is_known_to_another_that_is_asked_for_it() -> Result<()> {
    let (database, api) = crate::api().await?;
    let options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    let other = Pipeline::start(&database, options).await?;
    let admin = of("admin:root")?;
    placed(&other, &admin, order_at(None)).await?;
    open_soho(&api).await?;
    assert_eq!(placed(&other, &admin, order_at(Some("soho"))).await?["currency"], "GBP");
    other.stop().await?;
    api.stop().await
}

fn time(order: &Value, field: &str) -> Result<OffsetDateTime> {
    Ok(OffsetDateTime::parse(text(order, field)?, &Rfc3339)?)
}

/// How long the kitchen has had from the moment at which the order was confirmed.
fn kitchens_time(order: &Value) -> Result<time::Duration> {
    let confirmed = time(&order["timestamps"], "CONFIRMED")?;
    Ok(time(order, "accept_by")? - confirmed)
}

#[tokio::test]
async fn an_order_takes_its_currency_and_its_kitchens_time_from_its_location() -> Result<()> {
    let database = TestDatabase::new().await?;
    let api = Pipeline::start(&database, Options::new(Via::InProcess)).await?;
    let admin = of("admin:root")?;
    let client = &api.client.clone().with_token(&admin)?;
    open_soho(&api).await?;
    let (two, five) = (time::Duration::minutes(2), time::Duration::minutes(5));
    let confirmed = async |order: Value| -> Result<Value> {
        let id: Uuid = text(&placed(&api, &admin, order).await?, "id")?.parse()?;
        client.until_status(id, "CONFIRMED").await
    };
    let at_soho = confirmed(order_at(Some("soho"))).await?;
    assert_eq!((&at_soho["currency"], &at_soho["location"]), (&json!("GBP"), &json!("soho")));
    assert_eq!(kitchens_time(&at_soho)?, two, "by the worker, when it is charged");
    let at_main = confirmed(order_at(None)).await?;
    assert_eq!((&at_main["currency"], at_main.get("location")), (&json!("USD"), None));
    assert_eq!(kitchens_time(&at_main)?, five, "by the setting");
    for (location, had) in [(Some("soho"), two), (None, five)] {
        let mut in_hand = order_at(location);
        in_hand["payment"] = json!({"method": "on_delivery"});
        assert_eq!(kitchens_time(&confirmed(in_hand).await?)?, had, "by the api, at once");
    }
    // Main may have a time of its own, and an order that says no more is as plain as ever.
    let main = json!({"name": "Main", "time_zone": "UTC", "currency": "EUR", "accept_deadline_seconds": 60});
    assert_eq!(ask(&api, Method::PUT, "/locations/main", &admin, Some(main)).await?.status(), 200);
    let at_main = confirmed(order_at(None)).await?;
    assert_eq!((&at_main["currency"], kitchens_time(&at_main)?), (&json!("EUR"), time::Duration::minutes(1)));
    let details: i64 = sqlx::query_scalar("SELECT count(*) FROM order_details WHERE order_id = $1")
        .bind(text(&at_main, "id")?.parse::<Uuid>()?)
        .fetch_one(&mut database.connect().await?)
        .await?;
    assert_eq!(details, 0);

    client.faults(json!({"success_rate": 0.0})).await?;
    let failed: Uuid = text(&placed(&api, &admin, order_at(Some("soho"))).await?, "id")?.parse()?;
    client.until_status(failed, "PAYMENT_FAILED").await?;
    client.no_faults().await?;
    let anew = json!({"payment_reference": "again"});
    ask(&api, Method::POST, &format!("/orders/{failed}/payment"), &admin, Some(anew)).await?;
    assert_eq!(kitchens_time(&client.until_status(failed, "CONFIRMED").await?)?, two, "paid anew");
    let report = reconcile::reconcile(database.url(), &client.ledger().await?).await?;
    assert!(report.is_clean(), "{report}");
    api.stop().await
}

#[tokio::test]
async fn people_and_machines_have_business_at_their_own_locations_alone() -> Result<()> {
    let (_database, api) = crate::api().await?;
    open_soho(&api).await?;
    let (admin, everywhere) = (of("admin:root")?, token_at("jo", "manager", &["main", "soho"])?);
    let (of_soho, of_main) = (token_at("bo", "staff", &["soho"])?, of("staff:mo")?);
    let till = token_at("till", "service", &["soho"])?;
    let mut hand = order_at(Some("soho"));
    hand["payment"] = json!({"method": "on_delivery"});
    let soho = placed(&api, &till, hand.clone()).await?;
    hand["location"] = json!("main");
    let main = placed(&api, &of_main, hand.clone()).await?;
    for token in [&till, &of_soho] {
        let placed = ask(&api, Method::POST, "/orders", token, Some(hand.clone())).await?;
        assert_eq!(placed.status(), 403, "an order at main");
    }
    let customer = of("customer:customer_123")?;
    assert_eq!(placed(&api, &customer, order_at(Some("soho"))).await?["currency"], "GBP");

    let (soho, main) = (text(&soho, "id")?, text(&main, "id")?);
    for (token, own, others) in [(&of_soho, soho, main), (&of_main, main, soho)] {
        for (method, path) in [
            (Method::GET, ""),
            (Method::GET, "/history"),
            (Method::POST, "/accept"),
            (Method::POST, "/cancel"),
            (Method::POST, "/collect"),
        ] {
            let answer = ask(&api, method.clone(), &format!("/orders/{others}{path}"), token, None).await?;
            assert_eq!(answer.status(), 404, "{method} {path} of another location");
        }
        let answer = ask(&api, Method::POST, &format!("/orders/{own}/accept"), token, None).await?;
        assert_eq!(answer.status(), 200);
    }
    let seen: Value = ask(&api, Method::GET, &format!("/orders/{soho}"), &admin, None).await?.json().await?;
    assert_eq!(seen["status"], "ACCEPTED", "nobody of another location moved it");

    for (token, query, shown) in [
        (&of_soho, "", Ok(2)),
        (&of_soho, "?status=ACCEPTED", Ok(1)),
        (&of_soho, "?location=soho", Ok(2)),
        (&of_soho, "?location=main", Err(403)),
        (&of_main, "", Ok(1)),
        (&of_main, "?location=soho", Err(403)),
        (&everywhere, "", Ok(3)),
        (&everywhere, "?location=main", Ok(1)),
        (&till, "", Ok(2)),
        (&admin, "", Ok(3)),
        (&admin, "?location=soho&status=PENDING,ACCEPTED", Ok(2)),
        (&admin, "?location=attic", Ok(0)),
        (&admin, "?location=A%20B", Err(422)),
        (&customer, "?location=soho", Ok(2)),
    ] {
        let answer = ask(&api, Method::GET, &format!("/orders{query}"), token, None).await?;
        let status = answer.status().as_u16();
        let list: Value = answer.json().await?;
        let count = list["orders"].as_array().map(Vec::len);
        assert_eq!(count.ok_or(status), shown, "{query}: {list}");
        assert!(count.is_none() || list["total"] == json!(count), "{list}");
    }
    api.stop().await
}
