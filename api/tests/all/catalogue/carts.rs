//! Carts: they hold what is in them for a while, never against their own, and become orders.

use anyhow::Result;
use api::orders::writer::{Answer, Writer};
use domain::catalogue::menu::Take;
use domain::order::NewOrder;
use domain::order::request::CartRef;
use reqwest::Method;
use serde_json::{Value, json};
use store::accept::{Accept, Accepted};
use testbed::{Pipeline, TestDatabase};

use super::stock::{counted, left};
use crate::api;
use crate::people::told;
use testbed::people;

/// Who asks: a customer by name, or a guest by the token of their cart.
enum Who<'w> {
    Customer(&'w str),
    Guest(Option<&'w str>),
}

async fn ask(
    api: &Pipeline,
    who: &Who<'_>,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<reqwest::Response> {
    let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?;
    let mut request = http.request(method, format!("{}/api/v1{path}", api.client.api));
    request = match who {
        Who::Customer(name) => request.bearer_auth(people::of(&format!("customer:{name}"))?),
        Who::Guest(Some(token)) => request.header("cart-token", *token),
        Who::Guest(None) => request,
    };
    if let Some(body) = body {
        request = request.json(&body);
    }
    Ok(request.send().await?)
}

async fn fill(api: &Pipeline, who: &Who<'_>, id: &str, quantity: u32) -> Result<(u16, Value)> {
    let body = json!({"items": [{"product_id": id, "quantity": quantity}]});
    let answer = ask(api, who, Method::PUT, "/cart", Some(body)).await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

/// Gives back what is due, as a worker's sweep does.
async fn sweep(database: &TestDatabase) -> Result<u64> {
    Ok(store::stock::holds::settle(&mut database.connect().await?, 100).await?)
}

#[tokio::test]
async fn a_cart_holds_what_is_in_it_and_its_own_hold_is_in_nobodys_way() -> Result<()> {
    let (database, api) = api().await?;
    let id = counted(&api, "Donut", 5).await?;
    let (ann, eve) = (Who::Customer("ann"), Who::Customer("eve"));
    let (status, cart) = fill(&api, &ann, &id, 3).await?;
    assert_eq!((status, &cart["total"], left(&api, &id).await?), (200, &json!(6.0), (2, 3)));
    let (status, refused) = fill(&api, &eve, &id, 3).await?;
    assert_eq!((status, &refused["short"][0]["available"]), (409, &json!(2)));
    // What she holds herself counts for her.
    for (quantity, status, expected) in
        [(5, 200, (0, 5)), (6, 409, (0, 5)), (1, 200, (4, 1)), (4, 200, (1, 4))]
    {
        let (told, body) = fill(&api, &ann, &id, quantity).await?;
        assert_eq!((told, left(&api, &id).await?), (status, expected), "{quantity}: {body}");
        assert!(told == 200 || body["short"][0]["available"] == 5, "{body}");
    }
    let mut conn = database.connect().await?;
    // Looking renews nothing, and a change does.
    let due = "SELECT due_at::text FROM holds";
    let before = ask(&api, &ann, Method::GET, "/cart", None).await?.json::<Value>().await?;
    let due_before: String = sqlx::query_scalar(due).fetch_one(&mut conn).await?;
    let again = ask(&api, &ann, Method::GET, "/cart", None).await?.json::<Value>().await?;
    assert_eq!((&before["held_until"], &before["items"][0]["quantity"]), (&again["held_until"], &json!(4)));
    assert_eq!(sqlx::query_scalar::<_, String>(due).fetch_one(&mut conn).await?, due_before);
    let (_, changed) = fill(&api, &ann, &id, 4).await?;
    assert!(changed["held_until"].as_str() > before["held_until"].as_str(), "{changed}");
    assert_ne!(sqlx::query_scalar::<_, String>(due).fetch_one(&mut conn).await?, due_before);
    let nobodys = ask(&api, &eve, Method::GET, "/cart", None).await?.json::<Value>().await?;
    assert_eq!((&nobodys["items"], &nobodys["id"]), (&json!([]), &Value::Null), "eve has none");
    // Its time is over: it holds nothing, and takes it again if it is there.
    sqlx::query("UPDATE holds SET due_at = now()").execute(&mut conn).await?;
    assert_eq!((sweep(&database).await?, sweep(&database).await?, left(&api, &id).await?), (1, 0, (5, 0)));
    assert_eq!(fill(&api, &eve, &id, 5).await?.0, 200);
    let late = ask(&api, &ann, Method::POST, "/cart/checkout", Some(json!({"customer_id": "ann"}))).await?;
    assert_eq!(told(late).await?, (409, "out_of_stock".to_owned()));
    assert_eq!(ask(&api, &eve, Method::DELETE, "/cart", None).await?.status(), 204);
    assert_eq!((sweep(&database).await?, left(&api, &id).await?), (1, (5, 0)));
    assert_eq!(ask(&api, &eve, Method::DELETE, "/cart", None).await?.status(), 404);
    let late = ask(&api, &ann, Method::POST, "/cart/checkout", Some(json!({"customer_id": "ann"}))).await?;
    assert_eq!((late.status().as_u16(), left(&api, &id).await?), (202, (1, 4)), "it was there again");
    api.stop().await
}

#[tokio::test]
async fn a_guests_cart_goes_along_when_they_log_in_and_becomes_one_order() -> Result<()> {
    let (database, api) = api().await?;
    let id = counted(&api, "Donut", 5).await?;
    assert_eq!(ask(&api, &Who::Guest(None), Method::GET, "/cart", None).await?.status(), 404);
    let made_up = "0f".repeat(32);
    assert_eq!(ask(&api, &Who::Guest(Some(&made_up)), Method::GET, "/cart", None).await?.status(), 404);
    for shared in ["null", "undefined", "", "made up"] {
        let answer = ask(&api, &Who::Guest(Some(shared)), Method::GET, "/cart", None).await?;
        assert_eq!(answer.status(), 422, "{shared}: no cart that two could share by mistake");
    }
    assert_eq!(fill(&api, &Who::Guest(None), &id, 21).await?.0, 422, "nobody knows who that is");
    assert_eq!(fill(&api, &Who::Customer("ann"), &id, 21).await?.0, 409, "there are five");
    let (_, cart) = fill(&api, &Who::Guest(None), &id, 2).await?;
    let token = cart["token"].as_str().unwrap().to_owned();
    let guest = Who::Guest(Some(&token));
    let made_up = ask(&api, &Who::Guest(Some(&made_up)), Method::GET, "/cart", None).await?;
    assert_eq!(made_up.status(), 404, "another token opens no cart, also when there is one");
    let (status, same) = fill(&api, &guest, &id, 3).await?;
    assert_eq!(
        (status, &same["id"], same.get("token"), left(&api, &id).await?),
        (200, &cart["id"], None, (2, 3))
    );
    let stored: Vec<String> =
        sqlx::query_scalar("SELECT owner FROM carts").fetch_all(&mut database.connect().await?).await?;
    assert!(!stored[0].contains(&token), "whoever reads the database opens no cart");

    let check_out = async |key: &str, body: Value| {
        let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?;
        let post = http.post(format!("{}/api/v1/cart/checkout", api.client.api)).json(&body);
        let post = post.bearer_auth(people::of("customer:ann")?).header("cart-token", &token);
        anyhow::Ok(post.header("idempotency-key", key).send().await?)
    };
    let body = json!({"customer_id": "ann", "total": 6, "note": "ring"});
    for (wrong, status, code) in [
        (json!({"customer_id": "ann", "total": 1}), 422, "total_mismatch"),
        (json!({"customer_id": "ann", "items": []}), 422, "unknown_field"),
        (json!({"customer_id": "eve"}), 403, ""),
    ] {
        assert_eq!(told(check_out("wrong", wrong).await?).await?, (status, code.to_owned()));
    }
    let first = check_out("k", body.clone()).await?;
    assert_eq!(first.status(), 202);
    let first: Value = first.json().await?;
    assert_eq!(
        (&first["items"][0]["item_id"], &first["note"], left(&api, &id).await?),
        (&json!(id), &json!("ring"), (2, 3))
    );
    let again = check_out("k", body.clone()).await?;
    assert_eq!((again.status().as_u16(), &again.json::<Value>().await?["id"]), (202, &first["id"]));
    assert_eq!(check_out("other", body).await?.status(), 404, "the cart is no more");
    assert_eq!(left(&api, &id).await?, (2, 3), "taken once");
    // What the order holds goes the way of all orders'.
    assert_eq!(sweep(&database).await?, 0);
    let cancel = format!("/orders/{}/cancel", first["id"].as_str().unwrap());
    assert_eq!(ask(&api, &Who::Customer("ann"), Method::POST, &cancel, None).await?.status(), 200);
    assert_eq!((sweep(&database).await?, left(&api, &id).await?), (1, (5, 0)));
    api.stop().await
}

#[tokio::test]
async fn two_who_order_the_same_cart_at_once_make_one_order() -> Result<()> {
    let (database, api) = api().await?;
    let id = counted(&api, "Donut", 50).await?;
    let ann = Who::Customer("ann");
    for _ in 0..10 {
        assert_eq!(fill(&api, &ann, &id, 2).await?.0, 200);
        let body = || Some(json!({"customer_id": "ann"}));
        let (one, other) = tokio::join!(
            ask(&api, &ann, Method::POST, "/cart/checkout", body()),
            ask(&api, &ann, Method::POST, "/cart/checkout", body())
        );
        let mut told = [one?.status().as_u16(), other?.status().as_u16()];
        told.sort_unstable();
        assert!(told[0] == 202 && [404, 409].contains(&told[1]), "{told:?}");
    }
    assert_eq!(left(&api, &id).await?, (30, 20));
    let orders: i64 =
        sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&mut database.connect().await?).await?;
    assert_eq!(orders, 10);
    api.stop().await
}

/// On a database that is slow at it, all carts of one batch together take longer than anybody waits for one of them.
#[tokio::test]
async fn each_cart_of_a_batch_is_answered_for_itself_however_slow_the_others_are() -> Result<()> {
    const CARTS: u32 = 11;
    let (database, api) = api().await?;
    let id = counted(&api, "Donut", 50).await?;
    for n in 0..CARTS {
        assert_eq!(fill(&api, &Who::Customer(&format!("c{n}")), &id, 2).await?.0, 200);
    }
    let mut conn = database.connect().await?;
    sqlx::raw_sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.25); RETURN OLD; END $$;
         CREATE TRIGGER slow BEFORE DELETE ON carts FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    .execute(&mut conn)
    .await?;
    let found: Vec<(uuid::Uuid, i64)> =
        sqlx::query_as("SELECT id, version FROM carts").fetch_all(&mut conn).await?;
    let (desk, lane) = runtime::batch::desk::<Accept, Answer>(64, 64);
    let (publish, _hints) = tokio::sync::mpsc::channel(64);
    let grace = std::time::Duration::from_secs(60);
    let mut writer = Writer::of_stocked(lane, database.database().session(), publish, grace);
    let mut callers = Vec::new();
    for (id_of_cart, version) in found {
        let body = testbed::Client::an_order().to_string();
        let mut order = NewOrder::parse(&serde_json::from_str(&body)?).unwrap();
        order.takes = vec![Take { item: id.parse()?, quantity: 2, line: 0 }];
        order.cart = Some(CartRef { id: id_of_cart, version });
        let (desk, order_id) = (desk.clone(), order.id);
        let mut caller = Box::pin(async move { desk.offer(Accept { order, key: None }).await });
        assert!(futures_util::poll!(&mut caller).is_pending());
        callers.push((order_id, caller));
    }
    assert_eq!(writer.run_once().await, Some(CARTS as usize), "one batch");
    for (order_id, caller) in callers {
        let (_, answer) = caller.await?;
        let durable: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM orders WHERE id = $1)")
            .bind(order_id)
            .fetch_one(&mut conn)
            .await?;
        assert_eq!(matches!(answer, Ok(Accepted::New { .. })), durable, "{answer:?}");
        assert!(durable, "{answer:?}");
    }
    api.stop().await
}

#[tokio::test]
async fn a_cart_that_holds_too_little_may_be_ordered_in_part() -> Result<()> {
    let (database, api) = api().await?;
    let id = counted(&api, "Donut", 5).await?;
    let (ann, eve) = (Who::Customer("ann"), Who::Customer("eve"));
    assert_eq!(fill(&api, &ann, &id, 4).await?.0, 200);
    // Its time is over, and somebody else was faster.
    let mut conn = database.connect().await?;
    sqlx::query("UPDATE holds SET due_at = now()").execute(&mut conn).await?;
    sweep(&database).await?;
    assert_eq!(fill(&api, &eve, &id, 3).await?.0, 200);
    let check_out = async |body: Value| ask(&api, &ann, Method::POST, "/cart/checkout", Some(body)).await;
    assert_eq!(check_out(json!({"customer_id": "ann"})).await?.status(), 409);
    let partly: Value = check_out(json!({"customer_id": "ann", "allow_partial": true})).await?.json().await?;
    assert_eq!(
        (&partly["left_out"][0]["asked"], &partly["left_out"][0]["taken"], &partly["total"]),
        (&json!(4), &json!(2), &json!(4.0)),
        "{partly}"
    );
    assert_eq!(left(&api, &id).await?, (0, 5));
    let gone = check_out(json!({"customer_id": "ann", "allow_partial": true})).await?;
    assert_eq!(gone.status(), 404, "the cart is no more");
    api.stop().await
}

/// Of two things the hold of one is over, and somebody else was faster: the other one counts for its own.
#[tokio::test]
async fn what_a_cart_still_holds_is_ordered_though_the_rest_of_it_is_gone() -> Result<()> {
    let (database, api) = api().await?;
    let (donut, bagel) = (counted(&api, "Donut", 2).await?, counted(&api, "Bagel", 2).await?);
    let (ann, eve) = (Who::Customer("ann"), Who::Customer("eve"));
    let lines = json!([{"product_id": donut, "quantity": 2}, {"product_id": bagel, "quantity": 2}]);
    let filled = ask(&api, &ann, Method::PUT, "/cart", Some(json!({"items": lines}))).await?;
    assert_eq!(filled.status(), 200);
    sqlx::query("UPDATE holds SET due_at = now() WHERE item = $1")
        .bind(bagel.parse::<uuid::Uuid>()?)
        .execute(&mut database.connect().await?)
        .await?;
    assert_eq!(sweep(&database).await?, 1);
    assert_eq!(fill(&api, &eve, &bagel, 2).await?.0, 200);
    let check_out = async |body: Value| ask(&api, &ann, Method::POST, "/cart/checkout", Some(body)).await;
    let refused = check_out(json!({"customer_id": "ann"})).await?;
    let (status, refused) = (refused.status(), refused.json::<Value>().await?);
    assert_eq!((status.as_u16(), refused["short"].as_array().map(Vec::len)), (409, Some(1)), "{refused}");
    let partly: Value = check_out(json!({"customer_id": "ann", "allow_partial": true})).await?.json().await?;
    assert_eq!(
        (&partly["items"][0]["item_id"], &partly["items"][0]["quantity"], &partly["total"]),
        (&json!(donut), &json!(2), &json!(4.0)),
        "{partly}"
    );
    assert_eq!((left(&api, &donut).await?, left(&api, &bagel).await?), ((0, 2), (0, 2)));
    api.stop().await
}

/// Whoever takes it is always faster, and has always given it back when one looks: nobody is told that it is gone, or that they have
/// it.
#[tokio::test]
async fn where_nobody_can_say_whether_it_is_there_one_is_asked_to_come_again() -> Result<()> {
    let (database, api) = api().await?;
    let id = counted(&api, "Donut", 5).await?;
    let (ann, eve) = (Who::Customer("ann"), Who::Customer("eve"));
    assert_eq!(fill(&api, &ann, &id, 2).await?.0, 200);
    let mut conn = database.connect().await?;
    sqlx::query("UPDATE holds SET due_at = now()").execute(&mut conn).await?;
    sweep(&database).await?;
    // As if it were there for each look, and never for a take.
    sqlx::raw_sql(
        "CREATE FUNCTION faster() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
         CREATE TRIGGER faster BEFORE UPDATE ON stock FOR EACH ROW EXECUTE FUNCTION faster()",
    )
    .execute(&mut conn)
    .await?;
    let check_out = async || {
        let body = json!({"customer_id": "ann"});
        anyhow::Ok(ask(&api, &ann, Method::POST, "/cart/checkout", Some(body)).await?.status())
    };
    let order =
        json!({"customer_id": "ann", "allow_partial": true, "items": [{"product_id": id, "quantity": 2}]});
    assert_eq!(fill(&api, &eve, &id, 2).await?.0, 503);
    assert_eq!(check_out().await?, 503);
    assert_eq!(api.client.post(&order).await?.status(), 503);
    let (orders, holds): (i64, i64) =
        sqlx::query_as("SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM holds)")
            .fetch_one(&mut conn)
            .await?;
    assert_eq!((orders, holds, left(&api, &id).await?), (0, 0, (5, 0)), "nothing came of it");

    sqlx::query("DROP TRIGGER faster ON stock").execute(&mut conn).await?;
    assert_eq!(fill(&api, &eve, &id, 2).await?.0, 200);
    assert_eq!(check_out().await?, 202);
    assert_eq!((api.client.post(&order).await?.status().as_u16(), left(&api, &id).await?), (202, (0, 5)));
    api.stop().await
}

#[tokio::test]
async fn a_cart_is_of_its_location_and_so_is_its_order() -> Result<()> {
    let (database, api) = api().await?;
    sqlx::query("INSERT INTO locations (id, name, time_zone, currency, lead_minutes, updated_by) VALUES ('airport', 'Airport', 'UTC', 'EUR', 30, 'test')")
        .execute(&mut database.connect().await?)
        .await?;
    let there = json!({"name": "Bretzel", "price": 2, "currency": "EUR", "locations": ["airport"]});
    let there: Value =
        super::by("admin:root", &api, Method::POST, "/products", Some(there)).await?.json().await?;
    let ann = Who::Customer("ann");
    let lines = json!([{"product_id": there["id"], "quantity": 2}]);
    let fill = async |location: &str| {
        ask(&api, &ann, Method::PUT, "/cart", Some(json!({"items": lines, "location": location}))).await
    };
    assert_eq!(told(fill("moon").await?).await?, (422, "unknown_location".to_owned()));
    let main =
        ask(&api, &ann, Method::PUT, "/cart", Some(json!({"items": lines, "currency": "EUR"}))).await?;
    assert_eq!(told(main).await?, (422, "not_sold_here".to_owned()));
    let filled: Value = fill("airport").await?.json().await?;
    assert_eq!(
        (&filled["location"], &filled["currency"], &filled["total"]),
        (&json!("airport"), &json!("EUR"), &json!(4.0))
    );
    let read: Value = ask(&api, &ann, Method::GET, "/cart", None).await?.json().await?;
    assert_eq!(
        (&read["location"], &read["total"], &read["problems"]),
        (&json!("airport"), &json!(4.0), &json!([]))
    );
    let check_out = async |body: Value| ask(&api, &ann, Method::POST, "/cart/checkout", Some(body)).await;
    let elsewhere = check_out(json!({"customer_id": "ann", "location": "main"})).await?;
    assert_eq!(told(elsewhere).await?, (422, "unknown_field".to_owned()));
    let order: Value = check_out(json!({"customer_id": "ann"})).await?.json().await?;
    assert_eq!(
        (&order["location"], &order["total"], &order["currency"]),
        (&json!("airport"), &json!(4.0), &json!("EUR"))
    );
    api.stop().await
}
