//! Who sees to people, and who does not.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::{PASSWORD, ask, log_in, register, text, told, with_admin};

#[tokio::test]
async fn an_admin_makes_staff_and_takes_it_away_again() -> Result<()> {
    let (_database, api, admin) = with_admin().await?;
    let body =
        json!({"email": "ann@example.com", "password": PASSWORD, "role": "staff", "locations": ["main"]});
    let made = ask(&api, Method::POST, "/users", &admin, Some(body)).await?;
    assert_eq!(made.status(), 201);
    let made: Value = made.json().await?;
    assert_eq!((&made["role"], &made["locations"]), (&json!("staff"), &json!(["main"])));
    let ann = log_in(&api, "ann@example.com", PASSWORD).await?;
    let ann = text(&ann, "access_token")?;
    assert_eq!(ask(&api, Method::GET, "/auth/me", ann, None).await?.json::<Value>().await?["role"], "staff");

    let path = format!("/users/{}", text(&made, "id")?);
    let off = ask(&api, Method::PATCH, &path, &admin, Some(json!({"active": false}))).await?;
    assert_eq!(off.json::<Value>().await?["active"], false);
    testbed::until("her token is refused", async || {
        Ok((ask(&api, Method::GET, "/auth/me", ann, None).await?.status() == 401).then_some(()))
    })
    .await?;
    assert!(log_in(&api, "ann@example.com", PASSWORD).await.is_err());
    api.stop().await
}

#[tokio::test]
async fn nobody_else_sees_to_people() -> Result<()> {
    let (_database, api, admin) = with_admin().await?;
    let eve = register(&api, "eve@example.com").await?;
    let eve_id = text(&eve, "id")?.to_owned();
    let customer = text(&log_in(&api, "eve@example.com", PASSWORD).await?, "access_token")?.to_owned();
    let mut tokens = vec![(String::new(), 401), (customer, 403)];
    for role in ["staff", "manager"] {
        let email = format!("{role}@example.com");
        let body = json!({"email": email, "password": PASSWORD, "role": role});
        assert_eq!(ask(&api, Method::POST, "/users", &admin, Some(body)).await?.status(), 201);
        tokens.push((text(&log_in(&api, &email, PASSWORD).await?, "access_token")?.to_owned(), 403));
    }
    let machine = json!({"name": "till", "role": "service"});
    let machine = ask(&api, Method::POST, "/service-tokens", &admin, Some(machine)).await?;
    tokens.push((text(&machine.json().await?, "token")?.to_owned(), 403));
    let me: Value = ask(&api, Method::GET, "/auth/me", &admin, None).await?.json().await?;
    let (own, root) = (format!("/users/{eve_id}"), format!("/users/{}", text(&me, "id")?));
    let tokens_end = "/service-tokens/0123456789abcdef";
    for (token, expected) in &tokens {
        for (method, path, body) in [
            (
                Method::POST,
                "/users",
                Some(json!({"email": "x@example.com", "password": PASSWORD, "role": "manager"})),
            ),
            (Method::GET, "/users", None),
            (Method::PATCH, own.as_str(), Some(json!({"role": "admin"}))),
            (Method::PATCH, root.as_str(), Some(json!({"active": false}))),
            (Method::POST, "/service-tokens", Some(json!({"name": "x", "role": "admin"}))),
            (Method::GET, "/service-tokens", None),
            (Method::DELETE, tokens_end, None),
        ] {
            let answer = ask(&api, method.clone(), path, token, body).await?;
            assert_eq!(answer.status(), *expected, "{method} {path}");
            assert_eq!(answer.headers().contains_key("www-authenticate"), *expected == 401);
        }
    }
    let all: Value = ask(&api, Method::GET, "/users", &admin, None).await?.json().await?;
    let roles: Vec<_> = all["users"].as_array().unwrap().iter().map(|user| user["role"].clone()).collect();
    assert_eq!(roles, ["admin", "customer", "staff", "manager"], "nothing changed");
    api.stop().await
}

#[tokio::test]
async fn the_last_admin_stays_one_even_against_two_at_once() -> Result<()> {
    let (_database, api, admin) = with_admin().await?;
    let body = json!({"email": "second@example.com", "password": PASSWORD, "role": "admin"});
    let second: Value = ask(&api, Method::POST, "/users", &admin, Some(body)).await?.json().await?;
    let me: Value = ask(&api, Method::GET, "/auth/me", &admin, None).await?.json().await?;
    let token = text(&log_in(&api, "second@example.com", PASSWORD).await?, "access_token")?.to_owned();
    let first = format!("/users/{}", text(&me, "id")?);
    let second = format!("/users/{}", text(&second, "id")?);
    let (one, other) = tokio::join!(
        ask(&api, Method::PATCH, &first, &token, Some(json!({"role": "customer"}))),
        ask(&api, Method::PATCH, &second, &admin, Some(json!({"active": false}))),
    );
    let mut answers = [told(one?).await?, told(other?).await?];
    answers.sort();
    assert_eq!(answers, [(200, String::new()), (409, "last_admin".to_owned())]);
    api.stop().await
}

#[tokio::test]
async fn a_machines_token_is_shown_once_and_ends_when_told() -> Result<()> {
    let (database, api, admin) = with_admin().await?;
    let make = async |body: Value| ask(&api, Method::POST, "/service-tokens", &admin, Some(body)).await;
    let body = json!({"name": "till", "channels": ["Acme"], "locations": ["main"]});
    let made: Value = make(body).await?.json().await?;
    let token = text(&made, "token")?;
    let me: Value = ask(&api, Method::GET, "/auth/me", token, None).await?.json().await?;
    assert_eq!(
        (&me["id"], &me["role"], &me["channels"]),
        (&json!("service:till"), &json!("service"), &json!(["acme"]))
    );
    // A second one of the same name is good beside it: one can follow the other.
    let second: Value = make(json!({"name": "till"})).await?.json().await?;
    assert_eq!(ask(&api, Method::GET, "/auth/me", text(&second, "token")?, None).await?.status(), 200);

    let kept: String = sqlx::query_scalar("SELECT string_agg(t::text, ' ') FROM service_tokens t")
        .fetch_one(&mut database.connect().await?)
        .await?;
    let secret = &token[token.len() - 72..token.len() - 8];
    assert!(kept.contains(text(&made, "id")?) && !kept.contains(secret), "its secret is kept nowhere");
    let list: Value = ask(&api, Method::GET, "/service-tokens", &admin, None).await?.json().await?;
    assert_eq!(list["service_tokens"].as_array().map(Vec::len), Some(2));
    assert!(!list.to_string().contains(secret));

    let path = format!("/service-tokens/{}", text(&made, "id")?);
    assert_eq!(ask(&api, Method::DELETE, &path, &admin, None).await?.status(), 204);
    testbed::until("it is refused", async || {
        Ok((ask(&api, Method::GET, "/auth/me", token, None).await?.status() == 401).then_some(()))
    })
    .await?;
    assert_eq!(ask(&api, Method::GET, "/auth/me", text(&second, "token")?, None).await?.status(), 200);
    for (body, code) in [
        (json!({"name": "till", "role": "customer"}), "unknown_role"),
        (json!({"name": "Till!"}), "invalid"),
        (json!({"name": "till", "until": "soon"}), "no_time"),
        // In UTC that is the year 10000.
        (json!({"name": "till", "until": "9999-12-31T23:59:59-01:00"}), "no_time"),
        (json!({"name": "till", "scopes": []}), "unknown_field"),
        (json!({}), "required"),
    ] {
        assert_eq!(told(make(body.clone()).await?).await?.1, code, "{body}");
    }
    api.stop().await
}
