//! What staff and customers may do over HTTP, what they are told, and the operators' own endpoints.

use std::time::Duration;

use anyhow::{Context, Result};
use domain::payment::AttemptOutcome;
use reqwest::Method;
use runtime::tasks::Stop;
use serde_json::{Value, json};
use store::claim::claim;
use store::settle::{Next, Settlement, settle};
use testbed::{Client, TestDatabase};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::api;

const HOUR: Duration = Duration::from_secs(3_600);

/// Asks, and gives the answer's status and body.
async fn ask(client: &Client, method: Method, path: &str, actor: &str, body: Value) -> Result<(u16, Value)> {
    let mut request = client.http.request(method, format!("{}/api/v1/orders/{path}", client.api));
    if !actor.is_empty() {
        request = request.bearer_auth(testbed::people::of(actor)?);
    }
    if !body.is_null() {
        request = request.json(&body);
    }
    let answer = request.send().await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

async fn post(client: &Client, path: &str, actor: &str, body: Value) -> Result<(u16, Value)> {
    ask(client, Method::POST, path, actor, body).await
}

async fn put_status(client: &Client, id: Uuid, body: Value) -> Result<(u16, Value)> {
    ask(client, Method::PUT, &format!("{id}/status"), "staff:bo", body).await
}

/// Code and current status of a conflict.
fn conflict(answer: &(u16, Value)) -> (u16, &str, &str) {
    let (status, body) = answer;
    let text = |value: &'static str| body.pointer(value).and_then(Value::as_str).unwrap_or("");
    (*status, text("/errors/0/code"), text("/current_status"))
}

/// An order whose charge is under way.
async fn claimed(database: &TestDatabase, client: &Client) -> Result<(Uuid, Settlement)> {
    let id = client.order(&Client::an_order()).await?;
    let mut conn = database.connect().await?;
    let claim = claim(&mut conn, &[id], HOUR).await?.pop().context("it can be claimed")?;
    let next = Next::Succeeded { gateway_id: "ch_1".into() };
    let settlement = Settlement::new(&claim, AttemptOutcome::Succeeded, next);
    Ok((id, settlement))
}

pub(crate) async fn confirmed(database: &TestDatabase, client: &Client) -> Result<Uuid> {
    let (id, settlement) = claimed(database, client).await?;
    settle(&mut database.connect().await?, &[settlement], HOUR).await?;
    Ok(id)
}

#[tokio::test]
async fn an_order_goes_through_the_kitchen_and_each_answer_is_the_whole_order() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let id = confirmed(&database, client).await?;
    let (status, order) = post(client, &format!("{id}/accept"), "staff:ann", Value::Null).await?;
    assert_eq!((status, &order["status"], &order["version"]), (200, &json!("ACCEPTED"), &json!(4)));
    assert_eq!(order["payments"][0]["status"], "succeeded");
    assert_eq!(order["payment_attempts"][0]["outcome"], "succeeded");
    for status in ["PENDING", "PAYMENT_PROCESSING", "CONFIRMED", "ACCEPTED"] {
        assert!(order["timestamps"][status].is_string(), "{status} in {}", order["timestamps"]);
    }
    for (body, code) in [
        (json!({"status": "preparing"}), 200),
        (json!({"status": "ACCEPTED"}), 422),
        (json!({"status": "ACCEPTED", "reason": "the stove went out"}), 200),
        (json!({"status": "PREPARING"}), 200),
        (json!({"status": "READY"}), 200),
    ] {
        assert_eq!(put_status(client, id, body.clone()).await?.0, code, "{body}");
    }
    let same = put_status(client, id, json!({"status": "READY"})).await?;
    assert_eq!(conflict(&same), (409, "same_status", "READY"));
    let cancel = post(client, &format!("{id}/cancel"), "customer:customer_123", Value::Null).await?;
    assert_eq!(conflict(&cancel), (409, "illegal_move", "READY"));
    assert_eq!(put_status(client, id, json!({"status": "DELIVERED"})).await?.0, 200);
    for status in ["PENDING", "CONFIRMED", "ACCEPTED", "PREPARING", "READY", "REJECTED", "CANCELLED"] {
        let answer = put_status(client, id, json!({"status": status, "reason": "x"})).await?;
        assert_eq!(conflict(&answer), (409, "illegal_move", "DELIVERED"), "to {status}");
    }

    let history = client.get(&format!("/api/v1/orders/{id}/history")).await?;
    let history = history["history"].as_array().context("a list")?;
    assert_eq!(history.len(), 9);
    assert_eq!(
        (&history[5]["to"], &history[5]["reason"]),
        (&json!("ACCEPTED"), &json!("the stove went out"))
    );
    for (event, next) in history.iter().zip(&history[1..]) {
        assert_eq!((&event["left_at"], &event["to"]), (&next["at"], &next["from"]));
        assert!(event["duration_ms"].as_i64().is_some_and(|ms| (0..60_000).contains(&ms)), "{event}");
    }
    assert_eq!((&history[8]["left_at"], &history[8]["duration_ms"]), (&Value::Null, &Value::Null));
    pipeline.stop().await
}

/// An order that waits to be fetched.
async fn ready(database: &TestDatabase, client: &Client) -> Result<Uuid> {
    let id = confirmed(database, client).await?;
    for status in ["PREPARING", "READY"] {
        assert_eq!(put_status(client, id, json!({"status": status})).await?.0, 200);
    }
    Ok(id)
}

#[tokio::test]
async fn staff_alone_end_what_nobody_came_for_and_say_what_becomes_of_its_money() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    for refund in [true, false] {
        let id = ready(&database, client).await?;
        let path = format!("{id}/no-show");
        let body = json!({"refund": refund});
        assert_eq!(post(client, &path, "customer:customer_123", body.clone()).await?.0, 403);
        for (wrong, code) in [
            (Value::Null, "required"),
            (json!({}), "required"),
            (json!({"refund": null}), "required"),
            (json!({"refund": "yes"}), "not_true_or_false"),
        ] {
            let (status, answer) = post(client, &path, "staff:bo", wrong.clone()).await?;
            let problem = &answer["errors"][0];
            assert_eq!(
                (status, &problem["attr"], &problem["code"]),
                (422, &json!("refund"), &json!(code)),
                "{wrong}"
            );
        }
        let (status, order) = post(client, &path, "staff:bo", body.clone()).await?;
        assert_eq!((status, &order["status"]), (200, &json!("CANCELLED")));
        let payments = order["payments"].as_array().context("a list")?;
        assert_eq!(payments.len(), if refund { 2 } else { 1 });
        if refund {
            assert_eq!((&payments[1]["kind"], &payments[1]["reason"]), (&json!("refund"), &json!("no_show")));
        }
        let history = client.get(&format!("/api/v1/orders/{id}/history")).await?;
        let events = history["history"].as_array().context("a list")?;
        let [end, money] = &events[events.len() - 2..] else { panic!() };
        assert_eq!(
            (&end["from"], &end["to"], &end["reason"], &end["actor"]),
            (&json!("READY"), &json!("CANCELLED"), &json!("no_show"), &json!("staff:bo"))
        );
        assert_eq!(money["what"], if refund { "refund_owed" } else { "kept" });
        assert_eq!(money["amount"], json!(30.97));
        assert_eq!(conflict(&post(client, &path, "staff", body).await?), (409, "same_status", "CANCELLED"));
    }
    let early = confirmed(&database, client).await?;
    let early = post(client, &format!("{early}/no-show"), "staff", json!({"refund": true})).await?;
    assert_eq!(conflict(&early), (409, "illegal_move", "CONFIRMED"));
    // Not by another road, which would not say what becomes of the money.
    let id = ready(&database, client).await?;
    let cancelled = put_status(client, id, json!({"status": "CANCELLED", "reason": "gone"})).await?;
    assert_eq!(conflict(&cancelled), (409, "illegal_move", "READY"));
    pipeline.stop().await
}

#[tokio::test]
async fn what_a_channel_took_for_an_order_that_nobody_came_for_is_to_be_given_back_or_not() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    database.channel("dish").await?;
    for refund in [true, false] {
        let document = json!({"channelOrderId": refund.to_string(), "orderIsAlreadyPaid": true,
            "items": [{"name": "Tea", "plu": "T", "quantity": 1, "price": 2.5}]});
        let url = format!("{}/api/v1/channels/dish/orders", client.api);
        let answer = client.http.post(url).json(&document).send().await?;
        assert_eq!(answer.status(), 202);
        let order: Value = answer.json().await?;
        assert_eq!(order["expires_at"], Value::Null, "nothing is charged");
        let id: Uuid = order["id"].as_str().context("an id")?.parse()?;
        for status in ["PREPARING", "READY"] {
            assert_eq!(put_status(client, id, json!({"status": status})).await?.0, 200);
        }
        let (_, order) = post(client, &format!("{id}/no-show"), "staff", json!({"refund": refund})).await?;
        let refund_by = if refund { json!("channel") } else { Value::Null };
        assert_eq!((&order["status"], &order["refund_by"]), (&json!("CANCELLED"), &refund_by));
        let listed = client.get("/api/v1/orders?status=CANCELLED").await?;
        assert_eq!(listed["orders"][0]["refund_by"], refund_by);
    }
    pipeline.stop().await
}

#[tokio::test]
async fn a_rejection_by_status_has_its_reason_too() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let id = confirmed(&database, client).await?;
    let without = put_status(client, id, json!({"status": "rejected"})).await?;
    let of_reject = post(client, &format!("{id}/reject"), "staff", json!({})).await?;
    assert_eq!((without.0, &without.1["errors"]), (422, &of_reject.1["errors"]));
    assert_eq!(without.1["errors"][0]["code"], "required");
    assert_eq!(put_status(client, id, json!({"status": "REJECTED", "reason": "no buns"})).await?.0, 200);
    pipeline.stop().await
}

#[tokio::test]
async fn a_cancellation_of_what_the_gateway_never_saw_takes_effect_at_once() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let id = client.order(&Client::an_order()).await?;
    let mut conn = database.connect().await?;
    let claim = claim(&mut conn, &[id], HOUR).await?.pop().context("it can be claimed")?;
    let again = Next::Retry { delay: HOUR, spend: false, void: false };
    settle(&mut conn, &[Settlement::new(&claim, AttemptOutcome::Unavailable, again)], HOUR).await?;
    let (status, order) = post(client, &format!("{id}/cancel"), "customer:customer_123", Value::Null).await?;
    assert_eq!(
        (status, &order["status"], &order["cancel_requested"]),
        (200, &json!("CANCELLED"), &Value::Null)
    );
    assert_eq!(
        (&order["payments"][0]["status"], &order["payments"][0]["reason"]),
        (&json!("failed"), &json!("cancelled"))
    );
    pipeline.stop().await
}

#[tokio::test]
async fn a_rejected_order_shows_its_refund_and_so_does_the_list_of_refunds() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let id = confirmed(&database, client).await?;
    let without = post(client, &format!("{id}/reject"), "staff", json!({})).await?;
    assert_eq!((without.0, &without.1["errors"][0]["attr"]), (422, &json!("reason")));
    let (status, order) =
        post(client, &format!("{id}/reject"), "staff", json!({"reason": "no buns"})).await?;
    assert_eq!((status, &order["status"]), (200, &json!("REJECTED")));
    let refund = &order["payments"][1];
    assert_eq!(
        (&refund["kind"], &refund["status"], &refund["reason"]),
        (&json!("refund"), &json!("pending"), &json!("rejected"))
    );
    assert_eq!(refund["refund_of"], order["payments"][0]["id"]);
    assert_eq!(refund["amount"], json!(30.97));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let internal = format!("http://{}/internal", listener.local_addr()?);
    let serve = runtime::serve::serve(
        listener,
        api::operations::router(&database.database(), &testbed::people::identity(&database.database())?),
        runtime::serve::ServeLimits::default(),
        Stop::new(),
    );
    let look = async {
        let get = async |query: &str| -> Result<Value> {
            Ok(client.http.get(format!("{internal}/refunds{query}")).send().await?.json().await?)
        };
        let all = get("").await?;
        let listed = &all["refunds"][0];
        assert_eq!((&listed["id"], &listed["order_id"]), (&refund["id"], &json!(id)));
        assert_eq!(
            (&listed["status"], &listed["amount"].to_string()),
            (&json!("pending"), &"30.97".to_owned())
        );
        assert_eq!(get("?status=pending").await?["refunds"], all["refunds"]);
        for none in ["?status=succeeded", "?status=refused", "?page=2"] {
            assert_eq!(get(none).await?["refunds"], json!([]), "{none}");
        }
        assert_eq!(get("?status=lost").await?["errors"][0]["code"], "unknown_status");

        // The sweep for somebody else's schedulers: nothing to do, then one order.
        let sweep = async || -> Result<Value> {
            Ok(client.http.post(format!("{internal}/sweeps/stale-orders")).send().await?.json().await?)
        };
        assert_eq!(sweep().await?, json!({"rejected": 0, "left": 0}));
        let late = confirmed(&database, client).await?;
        sqlx::query("UPDATE payments SET answer_by = now() WHERE order_id = $1")
            .bind(late)
            .execute(&mut database.connect().await?)
            .await?;
        let too_late = post(client, &format!("{late}/accept"), "staff", Value::Null).await?;
        assert_eq!(conflict(&too_late), (409, "deadline_passed", "CONFIRMED"));
        assert_eq!(sweep().await?, json!({"rejected": 1, "left": 0}));
        assert_eq!(client.read(late).await?["status"], "REJECTED");
        // By a clock that went further than anybody watched nobody is late, until an operator says that it is right.
        let late = confirmed(&database, client).await?;
        let jump = "WITH jump AS (UPDATE clock_trust SET until = now() - interval '2 h')
                    UPDATE payments SET answer_by = now() - interval '1 h' WHERE order_id = $1";
        sqlx::query(jump).bind(late).execute(&mut database.connect().await?).await?;
        assert_eq!(sweep().await?, json!({"rejected": 0, "left": 0}));
        let clock = format!("{internal}/clock");
        let seen: Value = client.http.get(&clock).send().await?.json().await?;
        assert_eq!(seen, json!({"trusted": false, "distrusted_seconds": 7_200, "late_orders": 1}));
        for wrong in ["no", "-1", "86401"] {
            let answer = client.http.post(format!("{clock}?more_seconds={wrong}")).send().await?;
            assert_eq!(answer.status(), 422, "{wrong}");
        }
        let more: Value = client.http.post(format!("{clock}?more_seconds=60")).send().await?.json().await?;
        assert_eq!(more, json!({"trusted": true, "distrusted_seconds": 0, "late_orders": 0}));
        assert_eq!(sweep().await?, json!({"rejected": 0, "left": 0}));
        let accepted = post(client, &format!("{late}/accept"), "staff", Value::Null).await?;
        assert_eq!((accepted.0, &accepted.1["status"]), (200, &json!("ACCEPTED")));
        // Nothing of this is to be had on the public address.
        let public = client.http.get(format!("{}/internal/refunds", client.api)).send().await?;
        assert_eq!(public.status(), 404);
        anyhow::Ok(())
    };
    tokio::select! {
        looked = look => looked?,
        () = serve => anyhow::bail!("nobody told it to stop"),
    }
    pipeline.stop().await
}

#[tokio::test]
async fn a_cancellation_while_the_charge_is_under_way_is_shown_as_a_wish() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let (id, settlement) = claimed(&database, client).await?;
    let reason = json!({"reason": "changed my mind"});
    let (status, order) = post(client, &format!("{id}/cancel"), "customer:customer_123", reason).await?;
    assert_eq!((status, &order["status"]), (200, &json!("PAYMENT_PROCESSING")));
    let wish = &order["cancel_requested"];
    assert_eq!((&wish["by"], &wish["reason"]), (&json!("customer:customer_123"), &json!("changed my mind")));
    settle(&mut database.connect().await?, &[settlement], HOUR).await?;
    let order = client.read(id).await?;
    assert_eq!(
        (&order["status"], &order["payments"][1]["reason"]),
        (&json!("CANCELLED"), &json!("cancelled"))
    );
    // One that nobody has claimed ends at once.
    let id = client.order(&Client::an_order()).await?;
    let (status, order) = post(client, &format!("{id}/cancel"), "", Value::Null).await?;
    assert_eq!((status, &order["status"]), (200, &json!("CANCELLED")));
    assert_eq!(
        (&order["payments"][0]["status"], order["payments"].as_array().map(Vec::len)),
        (&json!("failed"), Some(1))
    );
    pipeline.stop().await
}

#[tokio::test]
async fn who_may_not_is_told_so_and_nothing_moves() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let id = confirmed(&database, client).await?;
    let customer = "customer:customer_123";
    for (path, body) in [("accept", Value::Null), ("reject", json!({"reason": "x"}))] {
        let answer = post(client, &format!("{id}/{path}"), customer, body).await?;
        assert_eq!((answer.0, &answer.1["status"]), (403, &json!(403)), "{path}");
    }
    let stranger = post(client, &format!("{id}/cancel"), "customer:eve", Value::Null).await?;
    assert_eq!(stranger.0, 404);
    for nobody in ["boss:ann", "Staff:ann", "customer:"] {
        let answer = post(client, &format!("{id}/cancel"), nobody, Value::Null).await?;
        assert!(matches!(answer.0, 401 | 403), "{nobody:?}: {answer:?}");
    }
    for path in ["accept", "cancel"] {
        assert_eq!(post(client, &format!("no-id/{path}"), "", Value::Null).await?.0, 404);
        assert_eq!(post(client, &format!("{}/{path}", Uuid::now_v7()), "", Value::Null).await?.0, 404);
    }
    let wrong = [
        (json!({"status": "GONE"}), 422, "status"),
        (json!({"reason": "x"}), 422, "status"),
        (json!({"status": 5, "reason": 7}), 422, "reason"),
        (json!({"status": "READY", "reason": "x".repeat(501)}), 422, "reason"),
        (json!([]), 422, "body"),
    ];
    for (body, code, attr) in wrong {
        let answer = put_status(client, id, body.clone()).await?;
        assert_eq!((answer.0, &answer.1["errors"][0]["attr"]), (code, &json!(attr)), "{body}");
    }
    let read = |actor: &'static str| {
        let request = client.http.get(format!("{}/api/v1/orders/{id}", client.api));
        async move { anyhow::Ok(request.bearer_auth(testbed::people::of(actor)?).send().await?.status().as_u16()) }
    };
    assert_eq!((read("customer:eve").await?, read(customer).await?, read("staff").await?), (404, 200, 200));
    let list = |actor: &'static str, query: &'static str| {
        let request = client.http.get(format!("{}/api/v1/orders{query}", client.api));
        async move {
            let answer = request.bearer_auth(testbed::people::of(actor)?).send().await?;
            anyhow::Ok((answer.status().as_u16(), answer.json::<Value>().await?["total"].clone()))
        }
    };
    assert_eq!(list("customer:eve", "").await?, (200, json!(0)));
    assert_eq!(list(customer, "").await?, (200, json!(1)));
    assert_eq!(list("customer:eve", "?customer_id=customer_123").await?.0, 403);
    assert_eq!(client.read(id).await?["version"], 3, "nothing has moved it");
    pipeline.stop().await
}

#[tokio::test]
async fn the_board_is_filtered_by_statuses_and_times() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let waiting = client.order(&Client::an_order()).await?;
    let paid = confirmed(&database, client).await?;
    let taken = confirmed(&database, client).await?;
    post(client, &format!("{taken}/accept"), "staff", Value::Null).await?;
    sqlx::query("UPDATE orders SET created_at = '2020-01-01T12:00:00Z' WHERE id = $1")
        .bind(waiting)
        .execute(&mut database.connect().await?)
        .await?;
    let ids = async |query: &str| -> Result<Vec<Uuid>> {
        let page = client.get(&format!("/api/v1/orders?{query}")).await?;
        let orders = page["orders"].as_array().with_context(|| page.to_string())?;
        assert_eq!(page["total"], orders.len());
        Ok(orders.iter().filter_map(|order| order["id"].as_str()?.parse().ok()).collect())
    };
    assert_eq!(ids("status=confirmed,ACCEPTED").await?, [taken, paid]);
    assert_eq!(ids("status=accepted").await?, [taken]);
    assert_eq!(ids("status=pending,confirmed,accepted,preparing,ready").await?, [taken, paid, waiting]);
    assert_eq!(ids("status=pending&customer_id=customer_123").await?, [waiting]);
    assert_eq!(ids("from=2024-01-01T00:00:00Z").await?, [taken, paid]);
    assert_eq!(ids("from=2024-01-01T00:00:00Z&status=confirmed&customer_id=customer_123").await?, [paid]);
    assert_eq!(ids("to=2024-01-01T00:00:00%2B02:00").await?, Vec::<Uuid>::new(), "its id is not so old");
    assert_eq!(ids("to=2999-01-01T00:00:00Z").await?, [taken, paid, waiting]);
    assert_eq!(ids("from=2999-01-01T00:00:00Z").await?, Vec::<Uuid>::new());
    for wrong in ["from=yesterday", "to=2024-01-01", "status=CONFIRMED,GONE"] {
        let answer = client.http.get(format!("{}/api/v1/orders?{wrong}", client.api)).send().await?;
        assert_eq!(answer.status(), 422, "{wrong}");
    }
    pipeline.stop().await
}
