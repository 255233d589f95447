//! Who somebody is, is not a matter of how they are called.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};
use testbed::people::{of, of_channel, token_at};
use testbed::{Client, Options, Pipeline, TestDatabase, Via};

use crate::people::{PASSWORD, ask, log_in, register, text, told, with_admin};

/// An order of this customer.
fn order_of(customer: &str) -> Value {
    let mut order = Client::an_order();
    order["customer_id"] = json!(customer);
    order
}

#[tokio::test]
async fn a_service_token_and_a_machine_of_an_issuer_are_two_whatever_they_are_called() -> Result<()> {
    let (database, api) = crate::api().await?;
    let new = |name: &str, role| api::identity::bootstrap::NewToken {
        name: name.to_owned(),
        role,
        channels: Vec::new(),
        locations: Vec::new(),
    };
    let database = database.database();
    let machine = domain::person::Role::Service;
    let ours = api::identity::bootstrap::make_token(&database, new("till", machine)).await?;
    let theirs = of("service:till")?;
    testbed::until("the token is known", async || {
        Ok((ask(&api, Method::GET, "/auth/me", &ours, None).await?.status() == 200).then_some(()))
    })
    .await?;
    let place = async |token: &str, customer: &str| -> Result<Value> {
        let url = format!("{}/api/v1/orders", api.client.api);
        let asked = api.client.http.post(url).bearer_auth(token).header("idempotency-key", "1");
        let answer = asked.json(&order_of(customer)).send().await?;
        anyhow::ensure!(answer.status() == 202, "{}", answer.text().await?);
        Ok(answer.json().await?)
    };
    let (one, other) = (place(&ours, "a").await?, place(&theirs, "b").await?);
    assert_ne!(one["id"], other["id"], "a key of one is none of the other");
    assert_eq!(place(&ours, "a").await?["id"], one["id"]);
    assert_eq!(place(&theirs, "b").await?["id"], other["id"]);
    // And nobody of an issuer can be called what a service token is.
    for role in ["service", "customer", "staff"] {
        let mask = testbed::people::token("service:till", role)?;
        assert_eq!(ask(&api, Method::GET, "/auth/me", &mask, None).await?.status(), 401, "{role}");
    }
    let me: Value = ask(&api, Method::GET, "/auth/me", &ours, None).await?.json().await?;
    assert_eq!(me["id"], "service:till");
    api.stop().await
}

/// What looks like `maria` and is not.
const MASKS: [&str; 8] = [
    "ma\u{200b}ria",
    "\u{202e}maria",
    "maria\u{feff}",
    "ma\u{ad}ria",
    "maria\u{3164}",
    "maria\u{e0041}",
    " maria",
    "maria\u{a0}",
];

#[tokio::test]
async fn what_cannot_be_seen_is_no_part_of_anybodys_name() -> Result<()> {
    let (_database, api, admin) = with_admin().await?;
    let made: Value = ask(&api, Method::POST, "/service-tokens", &admin, Some(json!({"name": "till"})))
        .await?
        .json()
        .await?;
    let till = text(&made, "token")?.to_owned();
    for mask in MASKS {
        let unseen = (422, "invisible_character".to_owned());
        let order = ask(&api, Method::POST, "/orders", &till, Some(order_of(mask))).await?;
        // A space at an end is taken off: whoever writes it means the same.
        let same = mask.trim() == "maria";
        let or_unseen = |status| if same { (status, String::new()) } else { unseen.clone() };
        assert_eq!(told(order).await?, or_unseen(202), "a customer {mask:?}");
        let token = json!({"name": "x", "channels": [mask]});
        let token = ask(&api, Method::POST, "/service-tokens", &admin, Some(token)).await?;
        assert_eq!(told(token).await?, or_unseen(201), "a channel {mask:?}");
        let token = json!({"name": "x", "locations": [mask]});
        let token = ask(&api, Method::POST, "/service-tokens", &admin, Some(token)).await?;
        assert_eq!(told(token).await?, or_unseen(201), "a location {mask:?}");
        let token = ask(&api, Method::POST, "/service-tokens", &admin, Some(json!({"name": mask}))).await?;
        assert_eq!(token.status(), if same { 201 } else { 422 }, "a machine {mask:?}");
        let somebody = json!({"email": format!("{mask}@example.com"), "password": PASSWORD});
        let answer = ask(&api, Method::POST, "/auth/register", "", Some(somebody)).await?;
        let (status, code) = told(answer).await?;
        // A space before it is taken off.
        let refused = status == 422 && ["no_email", "invisible_character"].contains(&code.as_str());
        assert!(
            if mask == " maria" { status == 201 } else { refused },
            "an address {mask:?}: {status} {code}"
        );
    }
    // Letters of other scripts that look like ours.
    let cyrillic = json!({"email": "m\u{430}ria@example.com", "password": PASSWORD});
    let answer = ask(&api, Method::POST, "/auth/register", "", Some(cyrillic)).await?;
    assert_eq!(told(answer).await?, (422, "no_email".to_owned()));
    for path in ["/channels/dish%E2%80%8Bdash/orders", "/channels/%E2%80%AEdishdash/orders"] {
        let answer = ask(&api, Method::POST, path, &admin, Some(json!({}))).await?;
        assert_eq!(told(answer).await?, (422, "invisible_character".to_owned()), "{path}");
    }
    api.stop().await
}

#[tokio::test]
async fn no_token_names_somebody_who_cannot_be_told_from_another() -> Result<()> {
    let (_database, api) = crate::api().await?;
    for mask in MASKS {
        let token = of(&format!("customer:{mask}"))?;
        assert_eq!(ask(&api, Method::GET, "/auth/me", &token, None).await?.status(), 401, "{mask:?}");
    }
    api.stop().await
}

/// Under the name that a channel has for an order, that order could not come in any more.
#[tokio::test]
async fn nobody_takes_a_channels_name_for_an_order_who_is_not_named_for_the_channel() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    options.api.identity.guests = true;
    let api = Pipeline::start(&database, options).await?;
    let named = |name: &str| {
        let mut order = order_of("eve");
        order["channel"] = json!("DishDash");
        order["channel_order_id"] = json!(name);
        order
    };
    for (who, token, status) in [
        ("a guest", String::new(), 403),
        ("a customer", of("customer:eve")?, 403),
        ("a machine", of("service:till")?, 403),
        ("another channel's machine", of_channel("other")?, 403),
        ("its machine", of_channel("dishdash")?, 202),
        ("staff", of("staff:bo")?, 202),
        ("staff of another location", token_at("mo", "staff", &["airport"])?, 403),
        ("a manager", of("manager:max")?, 202),
    ] {
        let answer = ask(&api, Method::POST, "/orders", &token, Some(named(who))).await?;
        assert_eq!(answer.status(), status, "{who}");
        let plain = ask(&api, Method::POST, "/orders", &token, Some(order_of("eve"))).await?;
        let elsewhere = who.ends_with("location");
        assert_eq!(plain.status(), if elsewhere { 403 } else { 202 }, "{who}, by no channel");
    }
    let squatted: i64 =
        sqlx::query_scalar("SELECT count(*) FROM names WHERE name IN ('a guest', 'a customer')")
            .fetch_one(&mut database.connect().await?)
            .await?;
    assert_eq!(squatted, 0);
    api.stop().await
}

/// A role is a person's, not a word in their name: somebody called as an administrator is called is a customer.
#[tokio::test]
async fn a_person_of_another_issuer_is_never_one_of_ours() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    options.api.identity.identity_key_file = Some(testbed::people::keys()?);
    options.api.identity.issuers_file = Some(testbed::people::issuers_file_beside_another()?);
    let api = Pipeline::start(&database, options).await?;
    let maria = register(&api, "maria@example.com").await?;
    let id = text(&maria, "id")?;
    let own = text(&log_in(&api, "maria@example.com", PASSWORD).await?, "access_token")?.to_owned();
    let placed = ask(&api, Method::POST, "/orders", &own, Some(order_of(id))).await?;
    assert_eq!(placed.status(), 202);
    let order = text(&placed.json().await?, "id")?.to_owned();
    // The same subject by the word of another issuer: its people have its prefix before their names.
    let double = of(&format!("customer:{id}"))?;
    let me: Value = ask(&api, Method::GET, "/auth/me", &double, None).await?.json().await?;
    assert_eq!(me["id"], format!("x-{id}"));
    assert_eq!(ask(&api, Method::GET, &format!("/orders/{order}"), &double, None).await?.status(), 404);
    assert_eq!(ask(&api, Method::POST, "/orders", &double, Some(order_of(id))).await?.status(), 403);
    let change = json!({"current_password": PASSWORD, "new_password": "seventeen purple otters"});
    assert_eq!(ask(&api, Method::PUT, "/auth/password", &double, Some(change)).await?.status(), 403);
    api.stop().await
}
