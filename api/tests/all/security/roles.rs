//! Nobody becomes more than they are by any field of any endpoint: every route of openapi.json, asked with every word that
//! might mean a role, a place or a person.

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Map, Value, json};
use testbed::{Client, Pipeline, TestDatabase};

use crate::people::{PASSWORD, ask, log_in, register, text, with_admin};

/// What somebody might try, and with what.
fn tries(root: &str) -> Vec<(&'static str, Value)> {
    let mut tries = Vec::new();
    for name in ["role", "roles", "user_role", "type", "scope", "scopes", "permissions", "groups"] {
        tries.push((name, json!("admin")));
        tries.push((name, json!(["admin"])));
    }
    for name in [
        "is_admin",
        "isAdmin",
        "admin",
        "is_staff",
        "superuser",
        "active",
        "verified",
        "guests",
        "let_everybody_in",
    ] {
        tries.push((name, json!(true)));
    }
    for name in ["locations", "channels", "audiences"] {
        tries.push((name, json!(["main"])));
    }
    for name in
        ["id", "user_id", "subject", "sub", "sid", "session", "created_by", "customer", "principal", "actor"]
    {
        tries.push((name, json!(root)));
    }
    for name in [
        "issuer",
        "iss",
        "aud",
        "location",
        "email_verified",
        "password_hash",
        "secret_hash",
        "token",
        "until",
        "exp",
    ] {
        tries.push((name, json!("comanda")));
    }
    for name in ["user", "claims", "__proto__", "constructor"] {
        tries.push((name, json!({"role": "admin", "is_admin": true})));
    }
    tries
}

/// One JSON body that openapi.json would let pass, filled in with what is Eve's own.
fn sample(document: &Value, schema: &Value) -> Value {
    if let Some(to) = schema["$ref"].as_str() {
        return sample(document, document.pointer(to.trim_start_matches('#')).unwrap_or(&Value::Null));
    }
    if let Some(example) = schema.get("example") {
        return example.clone();
    }
    if let Some(first) = schema["oneOf"].get(0) {
        return sample(document, first);
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
    match kind {
        Some("array") => json!([sample(document, &schema["items"])]),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(true),
        Some("string") => schema["enum"].get(0).cloned().unwrap_or_else(|| json!("x")),
        _ => {
            let properties = schema["properties"].as_object().cloned().unwrap_or_default();
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let is_required = |name: &str| required.iter().any(|one| one == name);
            let fields = properties.iter().filter(|(name, _)| is_required(name));
            Value::Object(
                fields.map(|(name, of)| (name.clone(), sample(document, of))).collect::<Map<_, _>>(),
            )
        }
    }
}

/// All that says who may do what, as it stands in the database.
async fn rights(database: &TestDatabase) -> Result<String> {
    Ok(sqlx::query_scalar(
        "SELECT concat((SELECT string_agg(u::text, E'\\n' ORDER BY id) FROM users u),
             (SELECT string_agg(t::text, E'\\n' ORDER BY id) FROM service_tokens t),
             (SELECT string_agg(concat(id, user_id, ended_at), E'\\n' ORDER BY id) FROM sessions))",
    )
    .fetch_one(&mut database.connect().await?)
    .await?)
}

struct House {
    api: Pipeline,
    document: Value,
    root: String,
    order: String,
}

/// A route that reads JSON, with every `{..}` of its path filled in.
struct Route {
    method: Method,
    path: String,
    body: Value,
}

impl House {
    fn routes(&self, eve: &str) -> Result<Vec<Route>> {
        let mut routes = Vec::new();
        for (path, methods) in self.document["paths"].as_object().context("no paths")? {
            for (method, operation) in methods.as_object().context("no methods")? {
                let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") else {
                    continue;
                };
                let mut body = sample(&self.document, schema);
                for (field, own) in [
                    ("email", json!("eve2@example.com")),
                    ("password", json!(PASSWORD)),
                    ("current_password", json!(PASSWORD)),
                    ("new_password", json!("seventeen purple otters")),
                    ("customer_id", json!(eve)),
                    ("refresh_token", json!("cmr_x_1_y")),
                ] {
                    if body.get(field).is_some() {
                        body[field] = own;
                    }
                }
                if path.starts_with("/api/v1/orders") && body.get("items").is_some() {
                    body["items"] = Client::an_order()["items"].clone();
                }
                let of_users = path.starts_with("/api/v1/users");
                let ids = if of_users { vec![eve, &self.root] } else { vec![self.order.as_str()] };
                for id in ids {
                    let path = path.replace("{id}", id).replace("{channel}", "dishdash");
                    let path = path.trim_start_matches("/api/v1").to_owned();
                    let method = Method::from_bytes(method.to_uppercase().as_bytes())?;
                    routes.push(Route { method, path, body: body.clone() });
                }
            }
        }
        Ok(routes)
    }
}

/// Money and food: what of an order is known there, and refused otherwise, is told by the tests of orders.
fn is_of_orders(path: &str) -> bool {
    path.contains("/orders")
}

#[tokio::test]
async fn nobody_becomes_more_by_any_field_of_any_endpoint() -> Result<()> {
    let (database, api, admin) = with_admin().await?;
    let me: Value = ask(&api, Method::GET, "/auth/me", &admin, None).await?.json().await?;
    let root = text(&me, "id")?.to_owned();
    let eve = register(&api, "eve@example.com").await?;
    let eve = text(&eve, "id")?.to_owned();
    let token = text(&log_in(&api, "eve@example.com", PASSWORD).await?, "access_token")?.to_owned();
    let mut order = Client::an_order();
    order["customer_id"] = json!(eve);
    let placed = ask(&api, Method::POST, "/orders", &token, Some(order)).await?;
    let order = text(&placed.json().await?, "id")?.to_owned();
    let document = api.client.get("/openapi.json").await?;
    let house = House { api, document, root, order };
    let before = rights(&database).await?;

    let routes = house.routes(&eve)?;
    assert!(routes.len() >= 15, "openapi.json has lost its bodies: {}", routes.len());
    for Route { method, path, body } in &routes {
        for (field, value) in tries(&house.root) {
            // Whatever a body has of its own is no try: a registration's `type` would be one.
            if body.get(field).is_some() {
                continue;
            }
            let mut tried = body.clone();
            tried[field] = value.clone();
            let answer = ask(&house.api, method.clone(), path, &token, Some(tried)).await?;
            let status = answer.status().as_u16();
            // Where there is no cart, nothing of it is read.
            let refused = status == 403 || status == 422 || (status == 404 && path == "/cart/checkout");
            assert!(
                refused || is_of_orders(path),
                "{method} {path} with {field}: {value}: {status} {}",
                answer.text().await?
            );
            assert!(status < 500, "{method} {path} with {field}: {value}");
        }
    }
    assert_eq!(rights(&database).await?, before, "somebody is somebody else now");

    // And what comes beside a body is read by nobody.
    for (field, value) in tries(&house.root) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let query: String =
            url::form_urlencoded::Serializer::new(String::new()).append_pair(field, &value).finish();
        let url = format!("{}/api/v1/auth/me?{query}", house.api.client.api);
        let mut asked = house.api.client.http.get(url).bearer_auth(&token);
        for name in
            ["X-Actor", "X-Role", "X-User-Id", "X-Forwarded-User", "X-Original-URL", "Role", "From", "Cookie"]
        {
            asked = asked.header(name, value.as_str());
        }
        let me: Value = asked.send().await?.json().await?;
        assert_eq!(
            (&me["id"], &me["role"], &me["locations"]),
            (&json!(eve), &json!("customer"), &json!([])),
            "{field}"
        );
    }
    // A log in as OAuth2 has it may ask for scopes; it gets what its user has.
    let form = format!(
        "grant_type=password&username=eve@example.com&password={}&scope=admin&role=admin",
        PASSWORD.replace(' ', "+")
    );
    let url = format!("{}/api/v1/auth/token", house.api.client.api);
    let form = house
        .api
        .client
        .http
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form);
    let tokens: Value = form.send().await?.json().await?;
    let me: Value =
        ask(&house.api, Method::GET, "/auth/me", text(&tokens, "access_token")?, None).await?.json().await?;
    assert_eq!(me["role"], "customer");
    house.api.stop().await
}

#[tokio::test]
async fn an_ordinary_user_makes_no_manager_and_deletes_no_administrator() -> Result<()> {
    let (database, api, admin) = with_admin().await?;
    let me: Value = ask(&api, Method::GET, "/auth/me", &admin, None).await?.json().await?;
    let root = text(&me, "id")?.to_owned();
    register(&api, "eve@example.com").await?;
    let mut tokens =
        vec![text(&log_in(&api, "eve@example.com", PASSWORD).await?, "access_token")?.to_owned()];
    for role in ["staff", "manager"] {
        let email = format!("{role}@example.com");
        let body = json!({"email": email, "password": PASSWORD, "role": role});
        assert_eq!(ask(&api, Method::POST, "/users", &admin, Some(body)).await?.status(), 201);
        tokens.push(text(&log_in(&api, &email, PASSWORD).await?, "access_token")?.to_owned());
    }
    for role in ["service", "staff", "manager"] {
        let body = json!({"name": "m", "role": role});
        let made = ask(&api, Method::POST, "/service-tokens", &admin, Some(body)).await?;
        tokens.push(text(&made.json().await?, "token")?.to_owned());
    }
    let before = rights(&database).await?;
    for token in &tokens {
        for (method, path, body) in [
            (
                Method::POST,
                "/users".to_owned(),
                json!({"email": "m@example.com", "password": PASSWORD, "role": "manager"}),
            ),
            (Method::POST, "/users".to_owned(), json!({"email": "m@example.com", "password": PASSWORD})),
            (Method::PATCH, format!("/users/{root}"), json!({"role": "customer"})),
            (Method::PATCH, format!("/users/{root}"), json!({"active": false})),
            (Method::PATCH, format!("/users/{root}"), json!({})),
            (Method::POST, "/service-tokens".to_owned(), json!({"name": "x", "role": "admin"})),
        ] {
            let status = ask(&api, method.clone(), &path, token, Some(body.clone())).await?.status();
            assert_eq!(status, 403, "{method} {path} {body}");
        }
        for (method, path) in [
            (Method::DELETE, format!("/users/{root}")),
            (Method::PUT, format!("/users/{root}")),
            (Method::POST, format!("/users/{root}")),
            (Method::DELETE, "/users".to_owned()),
            (Method::PUT, "/auth/me".to_owned()),
            (Method::PATCH, "/auth/me".to_owned()),
        ] {
            let status =
                ask(&api, method.clone(), &path, token, Some(json!({"role": "admin"}))).await?.status();
            assert_eq!(status, 405, "{method} {path}: there is no such thing, for anybody");
        }
    }
    assert_eq!(rights(&database).await?, before);
    api.stop().await
}
