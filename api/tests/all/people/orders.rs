//! Whose orders are whose.

use anyhow::{Result, bail};
use reqwest::Method;
use runtime::tasks::Stop;
use serde_json::{Value, json};
use testbed::people::of;
use testbed::{Client, Options, Pipeline, TestDatabase, Via};
use tokio::net::TcpListener;

use super::{ask, text};

#[tokio::test]
async fn a_customers_order_is_theirs_and_nobody_elses() -> Result<()> {
    let (_database, api) = crate::api().await?;
    let (ada, eve) = (of("customer:customer_123")?, of("customer:eve")?);
    let placed = ask(&api, Method::POST, "/orders", &ada, Some(Client::an_order())).await?;
    assert_eq!(placed.status(), 202);
    let id = text(&placed.json().await?, "id")?.to_owned();
    let forged = ask(&api, Method::POST, "/orders", &eve, Some(Client::an_order())).await?;
    assert_eq!(forged.status(), 403, "an order in somebody else's name");
    for (method, path, body) in [
        (Method::GET, format!("/orders/{id}"), None),
        (Method::GET, format!("/orders/{id}/history"), None),
        (Method::POST, format!("/orders/{id}/cancel"), None),
        (Method::POST, format!("/orders/{id}/payment"), Some(json!({"payment_reference": "x"}))),
        (
            Method::POST,
            format!("/orders/{id}/items"),
            Some(json!({"items": Client::an_order()["items"], "payment_reference": "x"})),
        ),
    ] {
        let answer = ask(&api, method.clone(), &path, &eve, body.clone()).await?;
        assert_eq!(answer.status(), 404, "{method} {path}");
        let nobody = ask(&api, method.clone(), &path, "", body).await?;
        assert_eq!(nobody.status(), 401, "{method} {path} of nobody");
    }
    let list: Value = ask(&api, Method::GET, "/orders", &eve, None).await?.json().await?;
    assert_eq!(list["orders"], json!([]));
    assert_eq!(ask(&api, Method::GET, "/orders?customer_id=customer_123", &eve, None).await?.status(), 403);
    assert_eq!(api.client.read(id.parse()?).await?["status"], "PENDING", "nothing moved it");
    api.stop().await
}

/// An order of this customer's that is paid by these names of the gateway's.
fn an_order_paid_by(payment: &Value) -> Value {
    let mut order = Client::an_order();
    order["payment"] = payment.clone();
    order
}

#[tokio::test]
async fn only_the_house_says_whose_card_pays_and_only_it_sees_the_gateways_names() -> Result<()> {
    let (_database, api) = crate::api().await?;
    let (ada, till) = (of("customer:customer_123")?, of("service:till")?);
    let names = json!({"method": "card", "gateway_payment_method": "pm_1", "gateway_customer": "cus_of_bob"});
    let another = json!({"gateway_customer": "cus_of_bob"});
    // What nobody has paid would be cooked (CASE 22).
    let elsewhere = json!({"method": "elsewhere"});
    for payment in [&names, &another, &elsewhere] {
        let order = an_order_paid_by(payment);
        let refused = ask(&api, Method::POST, "/orders", &ada, Some(order)).await?;
        assert_eq!(refused.status(), 403, "a customer says that somebody else pays, or has paid: {payment}");
    }
    let list: Value = ask(&api, Method::GET, "/orders/me", &ada, None).await?.json().await?;
    assert_eq!(list["orders"], json!([]), "nothing came of it");

    // What they have from the gateway's own form is theirs to send, and nobody has to show it to them.
    let own = an_order_paid_by(&json!({"gateway_payment_method": "pm_own", "reference": "t-7"}));
    let own: Value = ask(&api, Method::POST, "/orders", &ada, Some(own)).await?.json().await?;
    assert_eq!(own["payment"], json!({"method": "card", "reference": "t-7"}));

    let placed = ask(&api, Method::POST, "/orders", &till, Some(an_order_paid_by(&names))).await?;
    assert_eq!(placed.status(), 202);
    let placed: Value = placed.json().await?;
    assert_eq!(placed["payment"], names, "as the service has sent it");
    let id = text(&placed, "id")?;
    let (one, list) = (format!("/orders/{id}"), "/orders?customer_id=customer_123");
    for who in ["service:till", "staff:sam", "manager:max", "admin:root"] {
        let read: Value = ask(&api, Method::GET, &one, &of(who)?, None).await?.json().await?;
        let page: Value = ask(&api, Method::GET, list, &of(who)?, None).await?.json().await?;
        assert_eq!((&read["payment"], &page["orders"][0]["payment"]), (&names, &names), "{who}");
    }
    for (method, path) in [
        (Method::GET, one.clone()),
        (Method::GET, format!("{one}/history")),
        (Method::GET, list.to_owned()),
        (Method::GET, "/orders/me".to_owned()),
        (Method::POST, format!("{one}/cancel")),
    ] {
        let answer = ask(&api, method, &path, &ada, None).await?;
        assert_eq!(answer.status(), 200, "{path}");
        let said = answer.text().await?;
        assert!(!said.contains("pm_") && !said.contains("cus_of_bob") && said.contains(id), "{path}: {said}");
    }
    api.stop().await
}

#[tokio::test]
async fn staff_of_another_location_have_no_business_here_and_machines_order_for_everybody() -> Result<()> {
    let (_database, api) = crate::api().await?;
    let elsewhere = testbed::people::token_at("bo", "staff", &["airport"])?;
    let here = testbed::people::token_at("bo", "staff", &["airport", "main"])?;
    let till = of("service:till")?;
    let placed = ask(&api, Method::POST, "/orders", &till, Some(Client::an_order())).await?;
    assert_eq!(placed.status(), 202);
    let id = text(&placed.json().await?, "id")?.to_owned();
    let taken = ask(&api, Method::POST, &format!("/orders/{id}/accept"), &till, None).await?;
    assert_eq!(taken.status(), 403, "a machine is no kitchen");
    for (token, status, shown) in [(&elsewhere, 404, 0), (&here, 200, 1)] {
        assert_eq!(ask(&api, Method::GET, &format!("/orders/{id}"), token, None).await?.status(), status);
        let list: Value = ask(&api, Method::GET, "/orders", token, None).await?.json().await?;
        assert_eq!(list["orders"].as_array().map(Vec::len), Some(shown));
    }
    api.stop().await
}

#[tokio::test]
async fn nobody_of_another_location_hands_in_channel_orders_or_sees_to_this_one() -> Result<()> {
    let (database, api) = crate::api().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let internal = format!("http://{}/internal/channels/dishdash/prices", listener.local_addr()?);
    let identity = testbed::people::identity(&database.database())?;
    let router = api::operations::router(&database.database(), &identity);
    let serve = runtime::serve::serve(listener, router, runtime::serve::ServeLimits::default(), Stop::new());
    tokio::select! {
        () = serve => bail!("the internal endpoints ended"),
        tried = try_from_everywhere(&api, &internal) => tried?,
    }
    api.stop().await
}

async fn try_from_everywhere(api: &Pipeline, internal: &str) -> Result<()> {
    let at = |role: &str, locations: &[&str]| testbed::people::token_at("bo", role, locations);
    let document = |name: &str| json!({"channelOrderId": name, "items": [{"name": "n", "plu": "P-1", "quantity": 1, "price": 5}]});
    for (role, locations, handed_in, looked) in [
        ("manager", &["airport"][..], 403, 403),
        ("manager", &["airport", "main"], 202, 200),
        ("manager", &[], 202, 200),
        // Who sees to everything.
        ("admin", &["airport"], 202, 200),
        ("staff", &["main"], 403, 403),
    ] {
        let token = at(role, locations)?;
        let body = Some(document(&format!("{role} of {locations:?}")));
        let posted = ask(api, Method::POST, "/channels/dishdash/orders", &token, body).await?;
        assert_eq!(posted.status(), handed_in, "{role} of {locations:?} hands in");
        let list = api.client.http.get(internal).bearer_auth(&token).send().await?;
        assert_eq!(list.status(), looked, "{role} of {locations:?} looks at the prices");
    }
    for (locations, status) in [(&["airport"][..], 403), (&["main"], 202), (&[], 202)] {
        let till = at("service", locations)?;
        let placed = ask(api, Method::POST, "/orders", &till, Some(Client::an_order())).await?;
        assert_eq!(placed.status(), status, "a machine of {locations:?}");
    }
    Ok(())
}

#[tokio::test]
async fn my_orders_are_mine_whoever_i_am_and_nobodys_for_a_guest() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    options.api.identity.guests = true;
    let api = Pipeline::start(&database, options).await?;
    let (ada, eve, till) = (of("customer:ada")?, of("customer:eve")?, of("service:till")?);
    let mut mine = Vec::new();
    for (who, token) in [("ada", &ada), ("eve", &eve), ("ada", &till)] {
        let order = json!({"customer_id": who, "items": Client::an_order()["items"]});
        let placed: Value = ask(&api, Method::POST, "/orders", token, Some(order)).await?.json().await?;
        if who == "ada" {
            mine.insert(0, text(&placed, "id")?.to_owned());
        }
    }
    let ids = |list: &Value| -> Vec<String> {
        list["orders"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    let list: Value = ask(&api, Method::GET, "/orders/me", &ada, None).await?.json().await?;
    assert_eq!((ids(&list), &list["total"]), (mine.clone(), &json!(2)), "{list}");
    let page: Value = ask(&api, Method::GET, "/orders/me?page_size=1", &ada, None).await?.json().await?;
    assert_eq!(ids(&page), mine[..1]);
    let path = format!("/orders/me/?status=pending&cursor={}", text(&page, "next_cursor")?);
    let rest: Value = ask(&api, Method::GET, &path, &ada, None).await?.json().await?;
    assert_eq!((ids(&rest), &rest["next_cursor"]), (mine[1..].to_vec(), &Value::Null));
    // Staff order as everybody does: what is theirs is not what they may see.
    let bo: Value = ask(&api, Method::GET, "/orders/me", &of("manager:bo")?, None).await?.json().await?;
    assert_eq!(bo["orders"], json!([]));
    for (query, token, status) in
        [("?customer_id=eve", &ada, 403), ("?customer_id=ada", &ada, 200), ("", &String::new(), 401)]
    {
        let answer = ask(&api, Method::GET, &format!("/orders/me{query}"), token, None).await?;
        assert_eq!(answer.status(), status, "{query}");
    }
    api.stop().await
}

#[tokio::test]
async fn guests_are_let_in_where_the_house_says_so_and_no_further_than_the_door() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    options.api.identity.guests = true;
    let api = Pipeline::start(&database, options).await?;
    let placed = ask(&api, Method::POST, "/orders", "", Some(Client::an_order())).await?;
    assert_eq!(placed.status(), 202);
    let id = text(&placed.json().await?, "id")?.to_owned();
    assert_eq!(ask(&api, Method::GET, &format!("/orders/{id}"), "", None).await?.status(), 200);
    for (method, path) in [
        (Method::GET, "/orders".to_owned()),
        (Method::POST, format!("/orders/{id}/cancel")),
        (Method::POST, format!("/orders/{id}/accept")),
        (Method::POST, "/channels/dishdash/orders?paid=true".to_owned()),
        (Method::GET, "/users".to_owned()),
    ] {
        assert_eq!(ask(&api, method.clone(), &path, "", None).await?.status(), 401, "{method} {path}");
    }
    let bad = ask(&api, Method::GET, &format!("/orders/{id}"), "rubbish", None).await?;
    assert_eq!(bad.status(), 401, "a bad token is no guest");
    api.stop().await
}

#[tokio::test]
async fn nobodys_idempotency_key_is_anybody_elses() -> Result<()> {
    let (_database, api) = crate::api().await?;
    let place = async |who: &str| -> Result<Value> {
        let mut order = Client::an_order();
        order["customer_id"] = json!(who);
        let url = format!("{}/api/v1/orders", api.client.api);
        let token = of(&format!("customer:{who}"))?;
        let answer = api.client.http.post(url).bearer_auth(token).header("idempotency-key", "1").json(&order);
        let answer = answer.send().await?;
        assert_eq!(answer.status(), 202, "{who}");
        Ok(answer.json().await?)
    };
    let (ada, eve) = (place("ada").await?, place("eve").await?);
    assert_ne!(ada["id"], eve["id"]);
    assert_eq!(place("ada").await?["id"], ada["id"]);
    api.stop().await
}
