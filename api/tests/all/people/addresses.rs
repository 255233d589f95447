//! What people keep about themselves: their addresses, and how to reach them. Nobody else sees or uses them.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};
use testbed::Client;
use testbed::people::of;
use uuid::Uuid;

use super::{PASSWORD, ask, embedded, log_in, register, text, told};

fn home() -> Value {
    json!({"label": "Home", "street": "12 St James's Square", "city": "London", "postal_code": "SW1Y 4JH"})
}

fn order_to(address: &str) -> Value {
    let mut order = Client::an_order();
    order["fulfilment"] = json!("delivery");
    order["delivery_address_id"] = json!(address);
    order
}

#[tokio::test]
async fn an_order_takes_a_copy_of_its_customers_address_and_of_nobody_elses() -> Result<()> {
    let (_database, api) = crate::api().await?;
    let (ada, eve, till) = (of("customer:customer_123")?, of("customer:eve")?, of("service:till")?);
    let kept = ask(&api, Method::POST, "/users/me/addresses", &ada, Some(home())).await?;
    assert_eq!(kept.status(), 201);
    let id = text(&kept.json().await?, "id")?.to_owned();
    for (who, token) in [("its owner", &ada), ("a machine, for its owner", &till)] {
        let placed = ask(&api, Method::POST, "/orders", token, Some(order_to(&id))).await?;
        assert_eq!(placed.status(), 202, "{who}");
        let placed: Value = placed.json().await?;
        assert_eq!(placed["delivery_address"]["street"], "12 St James's Square", "{who}");
        assert!(placed.get("delivery_address_id").is_none());
    }
    let mut stolen = order_to(&id);
    stolen["customer_id"] = json!("eve");
    for (token, order, code) in [
        (&eve, stolen, "unknown_address"),
        (&ada, order_to(&Uuid::now_v7().to_string()), "unknown_address"),
        (&ada, order_to("home"), "unknown_address"),
    ] {
        let answer = ask(&api, Method::POST, "/orders", token, Some(order)).await?;
        assert_eq!(told(answer).await?, (422, code.to_owned()));
    }
    let mut both = order_to(&id);
    both["delivery_address"] = json!({"street": "s", "city": "c"});
    let answer = ask(&api, Method::POST, "/orders", &ada, Some(both)).await?;
    assert_eq!(told(answer).await?, (422, "conflict".to_owned()));

    // The same request again is the same order, though the address is another by then, or gone.
    let mut named = order_to(&id);
    named["metadata"] = json!({"n": "1"});
    let again = async || -> Result<Value> {
        let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?;
        let request = http.post(format!("{}/api/v1/orders", api.client.api)).bearer_auth(&ada);
        Ok(request.header("idempotency-key", "k").json(&named).send().await?.json().await?)
    };
    let first = again().await?;
    let mut moved = home();
    moved["street"] = json!("1 Elsewhere");
    let path = format!("/users/me/addresses/{id}");
    for (token, status) in [(&eve, 404), (&ada, 200)] {
        assert_eq!(ask(&api, Method::PUT, &path, token, Some(moved.clone())).await?.status(), status);
    }
    assert_eq!(again().await?["id"], first["id"]);
    for (token, status) in [(&eve, 404), (&ada, 204), (&ada, 404)] {
        assert_eq!(ask(&api, Method::DELETE, &path, token, None).await?.status(), status);
    }
    let last = again().await?;
    assert_eq!(
        (&last["id"], &last["delivery_address"]["street"]),
        (&first["id"], &json!("12 St James's Square"))
    );
    api.stop().await
}

#[tokio::test]
async fn addresses_are_checked_and_no_more_than_twenty() -> Result<()> {
    let (_database, api) = crate::api().await?;
    let (ada, eve) = (of("customer:ada")?, of("customer:eve")?);
    for (field, wrong, code) in [
        ("street", json!(""), "empty"),
        ("city", Value::Null, "required"),
        ("floor", json!("2"), "unknown_field"),
        ("owner", json!("eve"), "unknown_field"),
    ] {
        let mut address = home();
        address[field] = wrong;
        let answer = ask(&api, Method::POST, "/users/me/addresses", &ada, Some(address)).await?;
        assert_eq!(told(answer).await?, (422, code.to_owned()), "{field}");
    }
    for _ in 0..20 {
        assert_eq!(ask(&api, Method::POST, "/users/me/addresses", &ada, Some(home())).await?.status(), 201);
    }
    let answer = ask(&api, Method::POST, "/users/me/addresses", &ada, Some(home())).await?;
    assert_eq!(told(answer).await?, (422, "too_many".to_owned()));
    for (token, count) in [(&ada, 20), (&eve, 0)] {
        let list: Value = ask(&api, Method::GET, "/users/me/addresses", token, None).await?.json().await?;
        assert_eq!(list["addresses"].as_array().map(Vec::len), Some(count));
    }
    assert_eq!(ask(&api, Method::GET, "/users/me/addresses", "", None).await?.status(), 401);
    api.stop().await
}

#[tokio::test]
async fn people_change_their_own_name_and_number_and_nothing_else() -> Result<()> {
    let (_database, api) = embedded().await?;
    for name in ["ada", "eve"] {
        register(&api, &format!("{name}@example.com")).await?;
    }
    let ada = log_in(&api, "ada@example.com", PASSWORD).await?;
    let eve = log_in(&api, "eve@example.com", PASSWORD).await?;
    let (ada, eve) = (text(&ada, "access_token")?.to_owned(), text(&eve, "access_token")?.to_owned());
    let patch =
        async |token: &str, body: Value| ask(&api, Method::PATCH, "/users/me", token, Some(body)).await;
    let changed = patch(&ada, json!({"name": "Ada", "phone": "+1 (555) 010-0123"})).await?;
    assert_eq!(changed.status(), 200);
    assert_eq!(
        told(patch(&eve, json!({"phone": "+15550100123"})).await?).await?,
        (409, "phone_taken".to_owned())
    );
    for (body, code) in [
        (json!({"phone": "call me"}), "no_phone"),
        (json!({"role": "admin"}), "unknown_field"),
        (json!({"locations": ["main"]}), "unknown_field"),
        (json!({"email": "root@example.com"}), "unknown_field"),
    ] {
        assert_eq!(told(patch(&eve, body).await?).await?, (422, code.to_owned()));
    }
    let me: Value = ask(&api, Method::GET, "/users/me", &ada, None).await?.json().await?;
    assert_eq!(
        (&me["name"], &me["phone"], &me["role"]),
        (&json!("Ada"), &json!("+15550100123"), &json!("customer"))
    );
    assert_eq!(patch("", json!({})).await?.status(), 401);
    api.stop().await
}
