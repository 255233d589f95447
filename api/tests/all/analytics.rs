//! Numbers over HTTP: sums of quarters of an hour in any time zone, for managers, of their own locations, and the truth about who counts.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor;
use testbed::numbers::{roll_up, told as order, told_of};
use testbed::people::{of, token_at};
use testbed::{Client, Pipeline, TestDatabase};

use crate::people::{ask, told};

/// Asks as a manager of the first location.
async fn numbers(api: &Pipeline, path: &str) -> Result<Value> {
    let answer = ask(api, Method::GET, &format!("/analytics/{path}"), &of("manager:max")?, None).await?;
    let status = answer.status();
    let body = answer.json().await?;
    ensure!(status == 200, "{path}: {status} {body}");
    Ok(body)
}

/// An api, and orders that came in at these times.
async fn with(times: &[&str]) -> Result<(TestDatabase, Pipeline)> {
    let (database, api) = crate::api().await?;
    let mut conn = database.connect().await?;
    for at in times {
        order(&mut conn, &[("PENDING", at)]).await?;
    }
    roll_up(&database).await?;
    Ok((database, api))
}

/// Period, beginning and orders accepted, of each.
fn accepted(metrics: &Value) -> Result<Vec<(String, String, i64)>> {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let rows = metrics["orders"].as_array().context("no list")?;
    let shown = rows
        .iter()
        .map(|row| (text(&row["period"]), text(&row["begins"]), row["accepted"].as_i64().unwrap_or(-1)));
    Ok(shown.collect())
}

fn row(period: &str, begins: &str, orders: i64) -> (String, String, i64) {
    (period.to_owned(), begins.to_owned(), orders)
}

#[tokio::test]
async fn where_clocks_are_put_back_an_hour_comes_twice_and_its_day_has_25() -> Result<()> {
    let (_database, api) = with(&[
        "2026-10-24T21:59:59Z", // still Saturday
        "2026-10-24T22:00:00Z",
        "2026-10-25T00:30:00Z", // 02:30, summer time
        "2026-10-25T01:30:00Z", // 02:30 again
        "2026-10-25T22:59:59Z",
        "2026-10-25T23:00:00Z", // Monday
    ])
    .await?;
    let of = "time_zone=Europe/Berlin&from=2026-10-25&to=2026-10-25";
    let by_hours = numbers(&api, &format!("order-metrics?{of}&granularity=hour")).await?;
    assert_eq!(
        accepted(&by_hours)?,
        [
            row("2026-10-25T00:00", "2026-10-25T00:00:00+02:00", 1),
            row("2026-10-25T02:00", "2026-10-25T02:00:00+02:00", 1),
            row("2026-10-25T02:00", "2026-10-25T02:00:00+01:00", 1),
            row("2026-10-25T23:00", "2026-10-25T23:00:00+01:00", 1),
        ]
    );
    let by_days = numbers(&api, &format!("order-metrics?{of}")).await?;
    assert_eq!(accepted(&by_days)?, [row("2026-10-25", "2026-10-25T00:00:00+02:00", 4)]);
    let twice = numbers(&api, &format!("order-metrics?{of}&hour=2")).await?;
    assert_eq!(accepted(&twice)?, [row("2026-10-25", "2026-10-25T00:00:00+02:00", 2)], "both hours of two");
    let day = numbers(&api, "days/2026-10-25?time_zone=Europe/Berlin").await?;
    assert_eq!(
        (&day["begins"], &day["ends"]),
        (&json!("2026-10-24T22:00:00.000000Z"), &json!("2026-10-25T23:00:00.000000Z"))
    );
    assert_eq!(day["orders"]["accepted"], 4);
    api.stop().await
}

#[tokio::test]
async fn where_clocks_are_put_forward_a_day_has_23_hours() -> Result<()> {
    let (_database, api) = with(&[
        "2026-03-28T23:00:00Z",
        "2026-03-29T00:59:59Z",
        "2026-03-29T01:00:00Z",
        "2026-03-29T22:00:00Z",
    ])
    .await?;
    let of = "time_zone=Europe/Berlin&from=2026-03-29&to=2026-03-30";
    let by_days = numbers(&api, &format!("order-metrics?{of}")).await?;
    let days = [
        row("2026-03-29", "2026-03-29T00:00:00+01:00", 3),
        row("2026-03-30", "2026-03-30T00:00:00+02:00", 1),
    ];
    assert_eq!(accepted(&by_days)?, days);
    let by_hours = numbers(&api, &format!("order-metrics?{of}&granularity=hour")).await?;
    let names: Vec<String> = accepted(&by_hours)?.into_iter().map(|(period, ..)| period).collect();
    assert_eq!(names, ["2026-03-29T00:00", "2026-03-29T01:00", "2026-03-29T03:00", "2026-03-30T00:00"]);
    api.stop().await
}

#[tokio::test]
async fn a_year_may_have_53_weeks_and_an_hour_may_begin_at_half_past() -> Result<()> {
    let (_database, api) =
        with(&["2026-12-31T12:00:00Z", "2027-01-03T18:29:59Z", "2027-01-03T18:30:00Z"]).await?;
    let of = "from=2026-12-28&to=2027-01-10";
    let weeks = numbers(&api, &format!("order-metrics?{of}&granularity=week")).await?;
    assert_eq!(accepted(&weeks)?, [row("2026-W53", "2026-12-28T00:00:00Z", 3)], "Sunday ends it");
    // In India it is Monday already.
    let there = format!("order-metrics?{of}&time_zone=Asia/Kolkata");
    let weeks = numbers(&api, &format!("{there}&granularity=week")).await?;
    let expected =
        [row("2026-W53", "2026-12-28T00:00:00+05:30", 2), row("2027-W01", "2027-01-04T00:00:00+05:30", 1)];
    assert_eq!(accepted(&weeks)?, expected);
    let months = numbers(&api, &format!("{there}&granularity=month")).await?;
    let expected =
        [row("2026-12", "2026-12-01T00:00:00+05:30", 1), row("2027-01", "2027-01-01T00:00:00+05:30", 2)];
    assert_eq!(accepted(&months)?, expected);
    let hours = numbers(&api, &format!("{there}&granularity=hour")).await?;
    let begins: Vec<String> = accepted(&hours)?.into_iter().map(|(_, begins, _)| begins).collect();
    let expected = ["2026-12-31T17:00:00+05:30", "2027-01-03T23:00:00+05:30", "2027-01-04T00:00:00+05:30"];
    assert_eq!(begins, expected);
    api.stop().await
}

#[tokio::test]
async fn stays_are_shown_with_their_mean_and_their_shares_where_they_began() -> Result<()> {
    let (database, api) = crate::api().await?;
    let mut conn = database.connect().await?;
    for minutes in [1, 2, 3, 4, 30] {
        let ready = format!("2026-03-31T23:{:02}:00Z", 20 + minutes);
        order(
            &mut conn,
            &[
                ("CONFIRMED", "2026-03-31T23:20:00Z"),
                ("PREPARING", "2026-03-31T23:20:00Z"),
                ("READY", &ready),
            ],
        )
        .await?;
    }
    order(&mut conn, &[("CONFIRMED", "2026-03-31T23:20:00Z"), ("PREPARING", "2026-03-31T23:50:00Z")]).await?;
    roll_up(&database).await?;
    let of = "status-metrics?from=2026-03-31&to=2026-04-02&status=preparing";
    let metrics = numbers(&api, of).await?;
    let rows = metrics["statuses"].as_array().context("no list")?;
    assert_eq!(rows.len(), 1, "{rows:?}");
    let (one, minute) = (&rows[0], 60_000);
    assert_eq!((&one["period"], &one["status"]), (&json!("2026-03-31"), &json!("PREPARING")));
    assert_eq!(
        (&one["entries"], &one["finished"], &one["mean_ms"]),
        (&json!(6), &json!(5), &json!(8 * minute))
    );
    let near = |name: &str, minutes: i64| {
        let shown = one[name].as_i64().unwrap_or(0);
        assert!((shown - minutes * minute).abs() <= minutes * minute / 5, "{name}: {shown}");
    };
    near("p50_ms", 3);
    near("p95_ms", 30);
    let final_one = numbers(&api, "status-metrics?from=2026-03-31&to=2026-04-02&status=READY").await?;
    assert_eq!(final_one["statuses"][0]["mean_ms"], Value::Null, "nothing is known of what goes on");
    api.stop().await
}

#[tokio::test]
async fn stays_are_where_they_began_also_where_hours_begin_at_half_past() -> Result<()> {
    let (database, api) = crate::api().await?;
    let mut conn = database.connect().await?;
    for (since, until) in [
        ("2026-03-30T18:20:00Z", "2026-03-30T18:21:00Z"), // 23:50 in Kolkata
        ("2026-03-30T18:29:59Z", "2026-03-30T18:40:00Z"), // a second before midnight there
        ("2026-03-30T18:30:00Z", "2026-03-30T18:32:00Z"),
        ("2026-03-30T18:59:00Z", "2026-03-30T19:00:00Z"),
    ] {
        order(&mut conn, &[("CONFIRMED", since), ("CANCELLED", until)]).await?;
    }
    conn.execute("UPDATE order_events SET reason = 'changed_mind' WHERE at = '2026-03-30T18:21:00Z'").await?;
    roll_up(&database).await?;
    let of = |rows: &Value| -> Result<Vec<(String, i64, i64)>> {
        let rows = rows["statuses"].as_array().context("no list")?.iter();
        let rows = rows.map(|row| {
            let number = |name: &str| row[name].as_i64().unwrap_or(-1);
            (row["period"].as_str().unwrap_or("").to_owned(), number("finished"), number("mean_ms"))
        });
        Ok(rows.collect())
    };
    let row = |period: &str, finished, mean| (period.to_owned(), finished, mean);
    let asked = "status-metrics?from=2026-03-29&to=2026-03-31&status=CONFIRMED";
    let utc = of(&numbers(&api, asked).await?)?;
    assert_eq!(utc, [row("2026-03-30", 4, 210_250)]);
    let there = format!("{asked}&time_zone=Asia/Kolkata");
    let days = of(&numbers(&api, &there).await?)?;
    assert_eq!(days, [row("2026-03-30", 2, 330_500), row("2026-03-31", 2, 90_000)]);
    let hours = of(&numbers(&api, &format!("{there}&granularity=hour")).await?)?;
    assert_eq!(hours, [row("2026-03-30T23:00", 2, 330_500), row("2026-03-31T00:00", 2, 90_000)]);
    // That hour of the day alone, and a part of an hour of UTC.
    assert_eq!(of(&numbers(&api, &format!("{there}&hour=0")).await?)?, [row("2026-03-31", 2, 90_000)]);
    let part = "status-metrics?from=2026-03-30T18:15:00Z&to=2026-03-30T18:30:00Z&status=CONFIRMED";
    assert_eq!(of(&numbers(&api, part).await?)?, [row("2026-03-30", 2, 330_500)]);
    // Why they ended: most frequent first, and of the time that was asked for alone.
    let ended = |reason: &str, times: i64| json!({"status": "CANCELLED", "reason": reason, "times": times});
    for (asked, expected) in [
        ("from=2026-03-30&to=2026-03-30", json!([ended("none", 3), ended("changed_mind", 1)])),
        ("from=2026-03-30T18:15:00Z&to=2026-03-30T18:30:00Z", json!([ended("changed_mind", 1)])),
    ] {
        assert_eq!(numbers(&api, &format!("order-metrics?{asked}")).await?["reasons"], expected, "{asked}");
    }
    api.stop().await
}

#[tokio::test]
async fn what_cannot_be_asked_is_said_and_whose_numbers_they_are_is_looked_at() -> Result<()> {
    let (database, api) = crate::api().await?;
    let admin = of("admin:root")?;
    for id in ["soho", "dock"] {
        let location = json!({"id": id, "name": id, "time_zone": "Europe/London", "currency": "USD"});
        let opened = ask(&api, Method::POST, "/locations", &admin, Some(location)).await?;
        ensure!(opened.status() == 201, "{}", opened.text().await?);
    }
    let days = "order-metrics?from=2026-03-30&to=2026-03-31";
    let get = async |token: &str, path: &str| {
        told(ask(&api, Method::GET, &format!("/analytics/{path}"), token, None).await?).await
    };
    assert_eq!(get(&admin, days).await?.0, 503, "nothing is counted yet, and no number is made up");
    let mut conn = database.connect().await?;
    for (customer, location) in [("ann", "soho"), ("ann", "soho"), ("bob", "main"), ("ann", "dock")] {
        told_of(&mut conn, (customer, location), &[("PENDING", "2026-03-30T12:00:00Z")]).await?;
    }
    roll_up(&database).await?;
    for (asked, code) in [
        ("order-metrics?to=2026-03-31", "required"),
        ("order-metrics?from=2026-03-31&to=2026-03-30", "from_after_to"),
        ("order-metrics?from=2026-03-31T12:00:00Z&to=2026-03-31T12:00:00Z", "from_after_to"),
        ("order-metrics?from=31.03.2026&to=2026-04-01", "no_time"),
        ("order-metrics?from=9999-12-31&to=9999-12-31", "no_time"),
        ("order-metrics?from=2026-01-01&to=2026-12-31&granularity=hour", "too_far_apart"),
        ("order-metrics?from=2020-01-01&to=2026-12-31", "too_far_apart"),
        ("order-metrics?from=2026-03-31&to=2026-03-31&granularity=year", "unknown_granularity"),
        ("order-metrics?from=2026-03-31&to=2026-03-31&hour=24", "out_of_range"),
        ("order-metrics?from=2026-03-31&to=2026-03-31&hour=-1", "out_of_range"),
        ("order-metrics?from=2026-03-31&to=2026-03-31&time_zone=Europe/Londinium", "unknown_time_zone"),
        ("order-metrics?from=2026-03-31&to=2026-03-31&time_zone=XYZ3", "unknown_time_zone"),
        ("order-metrics?from=2026-03-31&to=2026-03-31&location=So%20Ho", "unknown_location"),
        ("order-metrics?from=2026-03-31&to=2026-03-31&by=weather", "unknown_field"),
        ("status-metrics?from=2026-03-31&to=2026-03-31&status=LOST", "unknown_status"),
        ("customers/lifetime-orders?min_orders=0", "out_of_range"),
        ("customers/lifetime-orders?page_size=101", "out_of_range"),
        ("customers/lifetime-orders?last_from=yesterday", "no_time"),
        ("days/2026-02-30", "no_date"),
        ("days/2026-03-30", "required"),
        ("days/2026-03-30?location=soho&format=pdf", "unknown_format"),
        ("jobs/status", "required"),
    ] {
        assert_eq!(get(&admin, asked).await?, (422, code.to_owned()), "{asked}");
    }
    let at_soho = token_at("mo", "manager", &["soho"])?;
    let at_both = token_at("di", "manager", &["soho", "dock"])?;
    let count = async |token: &str, asked: &str| {
        let answer = ask(&api, Method::GET, &format!("/analytics/{asked}"), token, None).await?;
        anyhow::Ok((answer.status().as_u16(), accepted(&answer.json().await?).unwrap_or_default()))
    };
    let sum = |rows: Vec<(String, String, i64)>| rows.into_iter().map(|(.., orders)| orders).sum::<i64>();
    for (token, asked, status, orders) in [
        (&admin, days.to_owned(), 200, 4),
        (&at_both, days.to_owned(), 200, 3),
        (&at_soho, days.to_owned(), 200, 2),
        (&at_both, format!("{days}&location=dock"), 200, 1),
        (&at_soho, format!("{days}&location=dock"), 403, 0),
        (&admin, format!("{days}&location=nowhere"), 404, 0),
        (&of("staff:bo")?, days.to_owned(), 403, 0),
        (&of("customer:ann")?, days.to_owned(), 403, 0),
        (&String::new(), days.to_owned(), 401, 0),
        (&admin, format!("{days}&channel=dishdash"), 200, 0),
    ] {
        let (answered, rows) = count(token, &asked).await?;
        assert_eq!((answered, sum(rows)), (status, orders), "{asked}");
    }
    // Days are of the location that is asked for, or else of the first one, unless somebody says whose.
    for (asked, zone, from) in [
        ("&location=soho", "Europe/London", "2026-03-29T23:00:00.000000Z"),
        ("", "UTC", "2026-03-30T00:00:00.000000Z"),
        ("&location=soho&time_zone=UTC", "UTC", "2026-03-30T00:00:00.000000Z"),
    ] {
        let answer = ask(&api, Method::GET, &format!("/analytics/{days}{asked}"), &admin, None).await?;
        let of: Value = answer.json().await?;
        assert_eq!((&of["time_zone"], &of["from"]), (&json!(zone), &json!(from)), "{asked}");
    }
    let one = |customer: &str| format!("customers/{customer}/lifetime-orders");
    assert_eq!(get(&at_soho, &one("ann")).await?.0, 200);
    assert_eq!(get(&at_soho, &one("bob")).await?.0, 404, "of other locations nobody is known");
    assert_eq!(get(&admin, &one("nobody")).await?.0, 404);
    assert_eq!(get(&admin, &one("%00")).await?.0, 404);
    api.stop().await
}

#[tokio::test]
async fn which_customers_come_again_is_listed_and_filtered() -> Result<()> {
    let (database, api) = crate::api().await?;
    let mut conn = database.connect().await?;
    for (customer, at) in [
        ("ann", "2026-03-01T12:00:00Z"),
        ("bob", "2026-03-05T12:00:00Z"),
        ("ann", "2026-03-04T12:00:00Z"),
        ("ann", "2026-03-11T12:00:00Z"),
        ("cy", "2026-02-01T12:00:00Z"),
        ("cy", "2026-02-02T12:00:00Z"),
    ] {
        told_of(
            &mut conn,
            (customer, "main"),
            &[("PENDING", at), ("PAYMENT_PROCESSING", at), ("CONFIRMED", at)],
        )
        .await?;
    }
    roll_up(&database).await?;
    let ann = numbers(&api, "customers/ann/lifetime-orders").await?;
    assert_eq!((&ann["orders"], &ann["delivered"]), (&json!(3), &json!(0)));
    assert_eq!(ann["mean_gap_seconds"], json!(5 * 86_400));
    assert_eq!(ann["first_at"], "2026-03-01T12:00:00.000000Z");
    assert_eq!(ann["last_at"], "2026-03-11T12:00:00.000000Z");
    let money = json!([{"currency": "USD", "money_in": 30.00, "money_back": 0.00}]);
    assert_eq!(ann["money"], money);
    let bob = numbers(&api, "customers/bob/lifetime-orders").await?;
    assert_eq!(bob["mean_gap_seconds"], Value::Null, "one order has no gap");
    let names = async |asked: &str| {
        let page = numbers(&api, &format!("customers/lifetime-orders{asked}")).await?;
        let customers = page["customers"].as_array().context("no list")?.iter();
        let names = customers.map(|one| one["customer_id"].as_str().unwrap_or("").to_owned());
        anyhow::Ok((names.collect::<Vec<String>>().join(" "), page["next"].clone()))
    };
    assert_eq!(names("").await?, ("ann bob cy".to_owned(), Value::Null));
    assert_eq!(names("?min_orders=2").await?.0, "ann cy");
    assert_eq!(names("?min_orders=2&max_orders=2").await?.0, "cy");
    assert_eq!(names("?last_from=2026-03-05T12:00:00Z").await?.0, "ann bob");
    assert_eq!(names("?last_from=2026-03-05T12:00:00Z&last_to=2026-03-11T12:00:00Z").await?.0, "bob");
    assert_eq!(
        names("?page_size=3").await?,
        ("ann bob cy".to_owned(), Value::Null),
        "a full page, and the last"
    );
    assert_eq!(names("?page_size=2").await?, ("ann bob".to_owned(), json!("bob")));
    assert_eq!(names("?page_size=2&after=bob").await?, ("cy".to_owned(), Value::Null));
    api.stop().await
}

#[tokio::test]
async fn what_a_manager_signs_in_the_evening_has_all_the_money_of_the_day() -> Result<()> {
    let (database, api) = crate::api().await?;
    let mut order = Client::an_order();
    order["payment"] = json!({"method": "on_delivery"});
    order["adjustments"] = json!([{"kind": "tip", "amount": 2}, {"kind": "delivery_fee", "amount": 3.5}]);
    let (paid, called_off) = (api.client.order(&order).await?, api.client.order(&order).await?);
    // Nobody has paid this one.
    api.client.order(&order).await?;
    for (id, verb) in [(paid, "collect"), (called_off, "cancel")] {
        let answer =
            api.client.http.post(format!("{}/api/v1/orders/{id}/{verb}", api.client.api)).json(&json!({}));
        let answer = answer.send().await?;
        ensure!(answer.status() == 200, "{}", answer.text().await?);
    }
    // On a day that is over.
    let mut conn = database.connect().await?;
    conn.execute("UPDATE order_events SET at = '2026-03-30T20:00:00Z'").await?;
    roll_up(&database).await?;
    let day = numbers(&api, "days/2026-03-30").await?;
    assert_eq!((&day["location"], &day["complete"]), (&json!("main"), &json!(true)));
    let counts =
        json!({"accepted": 3, "confirmed": 3, "failed": 0, "rejected": 0, "cancelled": 1, "delivered": 0});
    assert_eq!(day["orders"], counts);
    assert_eq!(day["reasons"], json!([{"status": "CANCELLED", "reason": "none", "times": 1}]));
    let money = &day["money"][0];
    for (name, amount) in [
        ("money_in", 36.47),
        ("collected", 36.47),
        ("charged", 0.0),
        ("money_back", 0.0),
        ("tips", 6.0),
        ("delivery_fees", 10.5),
        ("due", 36.47),
        ("refunds_owed", 0.0),
    ] {
        assert_eq!(money[name].as_f64(), Some(amount), "{name} of {money}");
    }
    assert_eq!((&money["currency"], &money["payments"]), (&json!("USD"), &json!(1)));
    // What is due stays due, and is told of the next day, too.
    let next = numbers(&api, "days/2026-03-31").await?;
    assert_eq!((&next["money"][0]["due"], &next["money"][0]["money_in"]), (&json!(36.47), &json!(0.0)));
    assert_eq!(numbers(&api, "days/2026-03-29").await?["money"], json!([]), "before, nothing was");

    let path = "/analytics/days/2026-03-30?format=csv";
    let answer = ask(&api, Method::GET, path, &of("manager:max")?, None).await?;
    assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8");
    assert_eq!(answer.headers()["content-disposition"], "attachment; filename=\"main-2026-03-30.csv\"");
    let table = answer.text().await?;
    for line in [
        "what,value",
        "date,2026-03-30",
        "orders_accepted,3",
        "reason_CANCELLED_none,1",
        "money_in_USD,36.47",
        "due_USD,36.47",
    ] {
        assert!(table.lines().any(|one| one == line), "{line} in {table}");
    }
    let today = time::OffsetDateTime::now_utc().date();
    let far = numbers(&api, &format!("days/{}", today.saturating_add(time::Duration::days(1)))).await?;
    assert_eq!(far["complete"], false, "a day that is to come is not signed");
    api.stop().await
}

#[tokio::test]
async fn where_a_follower_stands_is_told_as_it_is() -> Result<()> {
    let (database, api) = crate::api().await?;
    let job = async |name: &str| numbers(&api, &format!("jobs/status?job_name={name}")).await;
    let never = job("roll_up").await?;
    assert_eq!(never["state"], "never_begun");
    assert_eq!((&never["position"], &never["lag_ms"]), (&Value::Null, &Value::Null));
    let mut conn = database.connect().await?;
    order(&mut conn, &[("PENDING", "2026-03-30T12:00:00Z")]).await?;
    roll_up(&database).await?;
    let following = job("roll_up").await?;
    assert_eq!((&following["state"], &following["lag_ms"]), (&json!("following"), &json!(0)));
    assert_eq!((&following["last_error"], &following["aside"]), (&Value::Null, &json!(0)));
    // Nobody follows any more: what has happened since is not read, and that is said.
    order(&mut conn, &[("PENDING", "2026-03-30T12:00:00Z")]).await?;
    store::feed::tick(&mut conn).await?;
    conn.execute(
        "UPDATE feed_ticks SET at = at - interval '1 minute' WHERE tick = (SELECT max(tick) FROM feed_ticks)",
    )
    .await?;
    conn.execute("INSERT INTO feed_faults (follower, fault) VALUES ('roll_up', 'it fell asleep')").await?;
    let behind = job("roll_up").await?;
    assert_eq!(behind["state"], "behind");
    assert!(behind["lag_ms"].as_i64().is_some_and(|lag| lag >= 60_000), "{behind}");
    assert_eq!(behind["last_error"]["fault"], "it fell asleep");
    for other in ["mail", "messages", "webhooks"] {
        assert_eq!(job(other).await?["state"], "never_begun");
    }
    let unknown =
        ask(&api, Method::GET, "/analytics/jobs/status?job_name=payroll", &of("manager:max")?, None).await?;
    assert_eq!(unknown.status(), 404);
    api.stop().await
}
