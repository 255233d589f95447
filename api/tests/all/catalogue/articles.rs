//! What managers make of the catalogue, and who else may not.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};
use testbed::people;

use super::{by, id_of, latte, manage, product};
use crate::api;
use crate::people::{ask, told};

#[tokio::test]
async fn a_product_is_made_changed_replaced_and_deleted_and_its_name_is_free_again() -> Result<()> {
    let (database, api) = api().await?;
    let drinks = manage(&api, Method::POST, "/categories", json!({"name": "Hot drinks"})).await?;
    let mut new = latte();
    new["category_id"] = drinks["id"].clone();
    let made = by("manager:max", &api, Method::POST, "/products", Some(new)).await?;
    assert_eq!(made.status(), 201);
    let location = made.headers()["location"].to_str()?.to_owned();
    let made: Value = made.json().await?;
    let path = format!("/products/{}", made["id"].as_str().unwrap());
    assert_eq!(location, format!("/api/v1{path}"));
    assert_eq!((&made["price"], &made["currency"]), (&json!(3.0), &json!("USD")));
    assert_eq!(api.client.get(&location).await?, made);

    // What is left out stays; and what keeps its name keeps its id.
    let large = id_of(&made["variations"], "Large");
    let sizes = json!([{"id": large, "name": "Huge", "price": 5}, {"name": "Small", "price": 2.5}]);
    let changed = manage(&api, Method::PATCH, &path, json!({"variations": sizes})).await?;
    assert_eq!(id_of(&changed["variations"], "Huge"), large);
    assert_eq!(id_of(&changed["variations"], "Small"), id_of(&made["variations"], "Small"));
    assert_eq!((&changed["option_groups"], &changed["price"]), (&made["option_groups"], &json!(2.5)));
    let whole = manage(&api, Method::PUT, &path, json!({"name": "Latte", "price": 0})).await?;
    assert_eq!((&whole["price"], &whole["variations"]), (&json!(0.0), &json!([])));
    assert_eq!(whole["category_id"], Value::Null);

    let again = json!({"name": "LATTE", "price": 1});
    let taken = by("manager:max", &api, Method::POST, "/products", Some(again.clone())).await?;
    assert_eq!(told(taken).await?, (409, "name_taken".to_owned()));
    assert_eq!(by("manager:max", &api, Method::DELETE, &path, None).await?.status(), 204);
    assert_eq!(by("manager:max", &api, Method::DELETE, &path, None).await?.status(), 404);
    assert_eq!(by("manager:max", &api, Method::GET, &path, None).await?.status(), 404);
    let gone = by("manager:max", &api, Method::PATCH, &path, Some(json!({"price": 1}))).await?;
    assert_eq!(gone.status(), 404);
    assert_ne!(product(&api, again).await?["id"], made["id"]);
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM products WHERE lower(name) = 'latte'")
        .fetch_one(&mut database.connect().await?)
        .await?;
    assert_eq!(kept, 2, "what is deleted stays");
    api.stop().await
}

#[tokio::test]
async fn nobody_sells_at_other_peoples_locations_and_customers_sell_nothing() -> Result<()> {
    let (database, api) = api().await?;
    sqlx::query("INSERT INTO locations (id, name, time_zone, currency, lead_minutes, updated_by) VALUES ('airport', 'Airport', 'UTC', 'USD', 30, 'test')")
        .execute(&mut database.connect().await?)
        .await?;
    let bagel = json!({"name": "Bagel", "price": 2, "locations": ["airport"]});
    let elsewhere = people::token_at("moe", "manager", &["airport"])?;
    let made = ask(&api, Method::POST, "/products", &elsewhere, Some(bagel.clone())).await?;
    assert_eq!(made.status(), 201);
    let made: Value = made.json().await?;
    let path = format!("/products/{}", made["id"].as_str().unwrap());
    let post = |body: &Value| (Method::POST, "/products".to_owned(), Some(body.clone()));
    let both = json!({"name": "Both", "price": 2, "locations": ["main", "airport"]});
    for (who, status, (method, path, body)) in [
        ("manager:max", 403, post(&bagel)),
        ("manager:max", 403, post(&both)),
        ("manager:max", 403, (Method::PATCH, path.clone(), Some(json!({"price": 1})))),
        ("manager:max", 403, (Method::DELETE, path.clone(), None)),
        ("staff:bo", 403, post(&json!({"name": "x", "price": 1}))),
        ("customer:eve", 403, post(&json!({"name": "x", "price": 1}))),
        ("service:till", 403, (Method::GET, path.clone(), None)),
        ("admin:root", 201, post(&both)),
        ("admin:root", 200, (Method::PATCH, path.clone(), Some(json!({"locations": ["main"]})))),
        ("manager:max", 200, (Method::PATCH, path.clone(), Some(json!({"price": 1})))),
        ("manager:max", 403, (Method::PATCH, path.clone(), Some(json!({"locations": ["airport"]})))),
    ] {
        let answer = by(who, &api, method.clone(), &path, body).await?;
        assert_eq!(answer.status().as_u16(), status, "{who}: {method} {path}: {}", answer.text().await?);
    }
    for (field, value, code) in [
        ("locations", json!(["moon"]), "unknown_location"),
        ("category_id", json!(made["id"]), "unknown_category"),
        ("stock", json!(1), "unknown_field"),
    ] {
        let mut body = json!({"name": "x", "price": 1});
        body[field] = value;
        let refused = by("admin:root", &api, Method::POST, "/products", Some(body)).await?;
        assert_eq!(told(refused).await?, (422, code.to_owned()));
    }
    api.stop().await
}

#[tokio::test]
async fn categories_stand_in_their_order_and_leave_their_products_behind() -> Result<()> {
    let (_database, api) = api().await?;
    let cold = manage(&api, Method::POST, "/categories", json!({"name": "Cold", "position": 2})).await?;
    manage(&api, Method::POST, "/categories", json!({"name": "Hot", "position": 1})).await?;
    let names = async |api: &testbed::Pipeline| -> Result<Vec<String>> {
        // Nobody needs a token.
        let list: Value = ask(api, Method::GET, "/categories", "", None).await?.json().await?;
        let names = list["categories"].as_array().unwrap().iter();
        Ok(names.map(|one| one["name"].as_str().unwrap().to_owned()).collect())
    };
    assert_eq!(names(&api).await?, ["Hot", "Cold"]);
    let tea = product(&api, json!({"name": "Iced tea", "price": 2, "category_id": cold["id"]})).await?;
    let path = format!("/categories/{}", cold["id"].as_str().unwrap());
    let renamed = manage(&api, Method::PATCH, &path, json!({"name": "Iced", "position": 0})).await?;
    assert_eq!(
        (&renamed["id"], names(&api).await?),
        (&cold["id"], vec!["Iced".to_owned(), "Hot".to_owned()])
    );
    let taken = by("manager:max", &api, Method::PATCH, &path, Some(json!({"name": "hot"}))).await?;
    assert_eq!(told(taken).await?, (409, "name_taken".to_owned()));
    assert_eq!(by("staff:bo", &api, Method::DELETE, &path, None).await?.status(), 403);
    assert_eq!(by("manager:max", &api, Method::DELETE, &path, None).await?.status(), 204);
    assert_eq!(by("manager:max", &api, Method::DELETE, &path, None).await?.status(), 404);
    assert_eq!(names(&api).await?, ["Hot"]);
    let listed =
        api.client.get(&format!("/api/v1/catalog?category={}", cold["id"].as_str().unwrap())).await?;
    assert_eq!(listed["products"], json!([]));
    let tea = api.client.get(&format!("/api/v1/catalog/{}", tea["id"].as_str().unwrap())).await?;
    assert_eq!((&tea["name"], &tea["category_id"]), (&json!("Iced tea"), &Value::Null));
    manage(&api, Method::POST, "/categories", json!({"name": "iced"})).await?;
    api.stop().await
}
