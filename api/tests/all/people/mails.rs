//! Which mails people get: what they choose, and nobody else for them.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};
use testbed::people::of;

use super::{PASSWORD, ask, embedded, log_in, register, text, told, with_admin};

#[tokio::test]
async fn people_choose_which_mails_they_get_and_only_of_those_that_there_are() -> Result<()> {
    let (_database, api) = embedded().await?;
    let mut tokens = Vec::new();
    for name in ["ada", "eve"] {
        let email = format!("{name}@example.com");
        register(&api, &email).await?;
        tokens.push(text(&log_in(&api, &email, PASSWORD).await?, "access_token")?.to_owned());
    }
    let [ada, eve] = &tokens[..] else { anyhow::bail!("two") };
    let read = async |token: &str| -> Result<Value> {
        Ok(ask(&api, Method::GET, "/users/me/mails", token, None).await?.json().await?)
    };
    let usual = json!(["created", "confirmed", "ready", "rejected", "cancelled", "refunded"]);
    let choose =
        async |token: &str, body: Value| ask(&api, Method::PUT, "/users/me/mails", token, Some(body)).await;
    assert_eq!(read(ada).await?, json!({"mails": usual, "chosen_at": null}));
    for chosen in [json!(["preparing", "ready"]), json!([])] {
        let answer = choose(ada, json!({"mails": chosen})).await?;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.json::<Value>().await?["mails"], chosen);
        let seen = read(ada).await?;
        assert_eq!(seen["mails"], chosen);
        assert!(seen["chosen_at"].is_string());
        assert_eq!(read(eve).await?["mails"], usual, "others get what they did");
    }
    for (body, code) in [
        (json!({"mails": ["ready", "everything"]}), "unknown_mail"),
        (json!({"mails": "ready"}), "not_a_list"),
        (json!({}), "required"),
        (json!({"mails": [], "person": "eve"}), "unknown_field"),
    ] {
        assert_eq!(told(choose(ada, body).await?).await?, (422, code.to_owned()));
    }
    assert_eq!(read(ada).await?["mails"], json!([]), "what is wrong changes nothing");
    assert_eq!(choose("", json!({"mails": []})).await?.status(), 401);
    for path in ["/unsubscribe/abc", "/unsubscribe/%20", &format!("/unsubscribe/{}", "A".repeat(5_000))] {
        for method in [Method::GET, Method::POST] {
            assert_eq!(ask(&api, method, path, "", None).await?.status(), 404, "{path}");
        }
    }
    api.stop().await
}

#[tokio::test]
async fn of_whom_another_issuer_knows_there_is_no_address_to_write_to() -> Result<()> {
    let (_database, api) = crate::api().await?;
    let ada = of("customer:customer_123")?;
    for (method, body) in [(Method::GET, None), (Method::PUT, Some(json!({"mails": []})))] {
        assert_eq!(ask(&api, method, "/users/me/mails", &ada, body).await?.status(), 404);
    }
    api.stop().await
}

#[tokio::test]
async fn people_ask_to_be_told_of_sales_of_products_that_there_are() -> Result<()> {
    let (_database, api, admin) = with_admin().await?;
    let mut tokens = Vec::new();
    for name in ["ada", "eve"] {
        let email = format!("{name}@example.com");
        register(&api, &email).await?;
        tokens.push(text(&log_in(&api, &email, PASSWORD).await?, "access_token")?.to_owned());
    }
    let [ada, eve] = &tokens[..] else { anyhow::bail!("two") };
    let made =
        ask(&api, Method::POST, "/products", &admin, Some(json!({"name": "Latte", "price": 4}))).await?;
    assert_eq!(made.status(), 201);
    let product = text(&made.json().await?, "id")?.to_owned();
    let path = format!("/users/me/sale-notices/{product}");
    let list = async |token: &str| -> Result<Value> {
        let all: Value = ask(&api, Method::GET, "/users/me/sale-notices", token, None).await?.json().await?;
        Ok(all["sale_notices"].clone())
    };
    assert_eq!(list(ada).await?, json!([]));
    for _ in 0..2 {
        assert_eq!(ask(&api, Method::PUT, &path, ada, None).await?.status(), 204);
    }
    let seen = list(ada).await?;
    assert_eq!((seen.as_array().map(Vec::len), &seen[0]["product_id"]), (Some(1), &json!(product)));
    assert_eq!(seen[0]["name"], "Latte");
    assert_eq!(list(eve).await?, json!([]), "of others nobody sees any");
    for (method, token, path, status) in [
        (Method::PUT, ada, format!("/users/me/sale-notices/{}", uuid::Uuid::now_v7()), 404),
        (Method::PUT, ada, "/users/me/sale-notices/latte".to_owned(), 404),
        (Method::PUT, &String::new(), path.clone(), 401),
        (Method::DELETE, eve, path.clone(), 404),
        (Method::DELETE, ada, path.clone(), 204),
        (Method::DELETE, ada, path.clone(), 404),
    ] {
        assert_eq!(ask(&api, method, &path, token, None).await?.status(), status, "{path}");
    }
    assert_eq!(list(ada).await?, json!([]));
    api.stop().await
}
