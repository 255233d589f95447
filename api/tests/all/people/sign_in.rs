//! Registering, logging in, staying logged in and logging out.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};
use testbed::Pipeline;

use super::{PASSWORD, ask, embedded, log_in, register, text, told};

async fn refresh(api: &Pipeline, token: &str) -> Result<(u16, Value)> {
    let answer = ask(api, Method::POST, "/auth/refresh", "", Some(json!({"refresh_token": token}))).await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

async fn status_of(api: &Pipeline, token: &str) -> Result<u16> {
    Ok(ask(api, Method::GET, "/auth/me", token, None).await?.status().as_u16())
}

/// Waits until a token is refused, and says how long that took.
async fn until_refused(api: &Pipeline, token: &str) -> Result<std::time::Duration> {
    let began = std::time::Instant::now();
    testbed::until("the token is refused", async || Ok((status_of(api, token).await? == 401).then_some(())))
        .await?;
    Ok(began.elapsed())
}

#[tokio::test]
async fn somebody_registers_logs_in_and_is_known() -> Result<()> {
    let (_database, api) = embedded().await?;
    let user = register(&api, "Maria@Example.com").await?;
    assert_eq!((&user["email"], &user["role"]), (&json!("maria@example.com"), &json!("customer")));
    let tokens = log_in(&api, "MARIA@example.com ", PASSWORD).await?;
    let me = ask(&api, Method::GET, "/auth/me", text(&tokens, "access_token")?, None).await?;
    assert_eq!(me.headers()["cache-control"], "no-store");
    let me: Value = me.json().await?;
    assert_eq!((&me["id"], &me["role"]), (&user["id"], &json!("customer")));
    let again = json!({"email": "maria@example.com", "password": PASSWORD});
    let again = ask(&api, Method::POST, "/auth/register", "", Some(again)).await?;
    assert_eq!(told(again).await?, (409, "email_taken".to_owned()));
    api.stop().await
}

#[tokio::test]
async fn no_field_of_a_registration_makes_anybody_more_than_a_customer() -> Result<()> {
    let (_database, api) = embedded().await?;
    for extra in [
        json!({"role": "admin"}),
        json!({"role": "manager"}),
        json!({"locations": ["main"]}),
        json!({"active": true}),
        json!({"id": "0192f0c1-2345-7abc-8def-000000000001"}),
        json!({"is_admin": true}),
    ] {
        let mut body = json!({"email": "eve@example.com", "password": PASSWORD});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let answer = ask(&api, Method::POST, "/auth/register", "", Some(body)).await?;
        assert_eq!(told(answer).await?, (422, "unknown_field".to_owned()), "{extra}");
    }
    let twice =
        format!(r#"{{"email":"eve@example.com","password":"{PASSWORD}","email":"root@example.com"}}"#);
    let url = format!("{}/api/v1/auth/register", api.client.api);
    let answer =
        api.client.http.post(url).header("content-type", "application/json").body(twice).send().await?;
    assert_eq!(answer.status(), 422, "an address given twice");
    api.stop().await
}

#[tokio::test]
async fn what_is_no_address_no_number_and_no_password_is_refused() -> Result<()> {
    let (_database, api) = embedded().await?;
    let good = json!({"email": "a@example.com", "password": PASSWORD});
    for (field, value, code) in [
        ("email", json!("a"), "no_email"),
        ("email", json!("a@b"), "no_email"),
        ("email", json!("a\u{200b}@example.com"), "invisible_character"),
        ("email", json!("a b@example.com"), "no_email"),
        ("email", json!("a@b@example.com"), "no_email"),
        ("email", json!("a@example..com"), "no_email"),
        ("email", json!("a@exam_ple.com"), "no_email"),
        ("name", json!(format!("a{}", " ".repeat(200))), "too_long"),
        ("email", json!(format!("{}@example.com", "a".repeat(250))), "too_long"),
        ("email", json!(7), "not_text"),
        ("password", json!("short"), "too_short"),
        ("password", json!("password123"), "too_easy"),
        ("phone", json!("0170 1234567"), "no_phone"),
        ("name", json!("\u{7}"), "control_character"),
    ] {
        let mut body = good.clone();
        body[field] = value.clone();
        let answer = ask(&api, Method::POST, "/auth/register", "", Some(body)).await?;
        assert_eq!(told(answer).await?, (422, code.to_owned()), "{field}: {value}");
    }
    let mut body = good.clone();
    body["phone"] = json!("+1 (555) 010-0123");
    let answer = ask(&api, Method::POST, "/auth/register", "", Some(body)).await?;
    assert_eq!(answer.json::<Value>().await?["phone"], "+15550100123");
    api.stop().await
}

#[tokio::test]
async fn an_unknown_user_and_a_wrong_password_read_alike() -> Result<()> {
    let (_database, api) = embedded().await?;
    register(&api, "maria@example.com").await?;
    let mut texts = Vec::new();
    for (email, password) in
        [("maria@example.com", "another"), ("nobody@example.com", PASSWORD), ("\0", PASSWORD)]
    {
        let body = json!({"email": email, "password": password});
        let answer = ask(&api, Method::POST, "/auth/login", "", Some(body)).await?;
        assert_eq!(answer.status(), 401);
        let mut body: Value = answer.json().await?;
        for field in ["instance", "trace_id"] {
            body[field] = Value::Null;
        }
        texts.push(body.to_string());
    }
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    api.stop().await
}

#[tokio::test]
async fn the_documentations_login_is_the_standards() -> Result<()> {
    let (_database, api) = embedded().await?;
    register(&api, "maria@example.com").await?;
    // Where the pages' Authorize asks.
    let document = api.client.get("/openapi.json").await?;
    let path = &document["components"]["securitySchemes"]["token"]["flows"]["password"]["tokenUrl"];
    let path = path.as_str().unwrap_or_default().to_owned();
    let token = async |form: &[(&str, &str)]| -> Result<(u16, Value)> {
        let url = format!("{}{path}", api.client.api);
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let form_type = "application/x-www-form-urlencoded";
        let asked = api.client.http.post(url).header("content-type", form_type).body(form);
        // As those pages do for a client that has no name.
        let asked = asked.header("authorization", "Basic Og==").header("x-requested-with", "XMLHttpRequest");
        let answer = asked.send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    };
    let password = [
        ("grant_type", "password"),
        ("username", "maria@example.com"),
        ("password", PASSWORD),
        ("scope", ""),
    ];
    let (status, tokens) = token(&password).await?;
    assert_eq!((status, &tokens["token_type"]), (200, &json!("Bearer")));
    let me = ask(&api, Method::GET, "/auth/me", text(&tokens, "access_token")?, None).await?;
    assert_eq!(me.status(), 200, "and with it the pages may ask what they like");
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", text(&tokens, "refresh_token")?)];
    assert_eq!(token(&refresh).await?.0, 200);
    for (form, error) in [
        (
            vec![("grant_type", "password"), ("username", "maria@example.com"), ("password", "no")],
            "invalid_grant",
        ),
        (vec![("grant_type", "password"), ("username", "maria@example.com")], "invalid_request"),
        (vec![("grant_type", "client_credentials")], "unsupported_grant_type"),
        (vec![("grant_type", "password"), ("grant_type", "password")], "invalid_request"),
        (vec![], "invalid_request"),
    ] {
        assert_eq!(token(&form).await?, (400, json!({ "error": error })), "{form:?}");
    }
    api.stop().await
}

#[tokio::test]
async fn a_lost_answer_logs_nobody_out_and_a_copied_token_everybody() -> Result<()> {
    let (_database, api) = embedded().await?;
    register(&api, "maria@example.com").await?;
    let first = log_in(&api, "maria@example.com", PASSWORD).await?;
    let first_token = text(&first, "refresh_token")?;
    let (_, second) = refresh(&api, first_token).await?;
    // The answer was lost: the same successor.
    let (status, again) = refresh(&api, first_token).await?;
    assert_eq!((status, &again["refresh_token"]), (200, &second["refresh_token"]));
    let (status, third) = refresh(&api, text(&second, "refresh_token")?).await?;
    assert_eq!(status, 200);
    // A grandparent: somebody has a copy.
    assert_eq!(refresh(&api, first_token).await?.0, 401);
    assert_eq!(refresh(&api, text(&third, "refresh_token")?).await?.0, 401, "nobody knows whose it is");
    let took = until_refused(&api, text(&third, "access_token")?).await?;
    assert!(took < std::time::Duration::from_secs(5), "{took:?}");
    api.stop().await
}

#[tokio::test]
async fn of_many_at_once_with_one_token_all_get_one_successor() -> Result<()> {
    let (_database, api) = embedded().await?;
    register(&api, "maria@example.com").await?;
    let mut token = text(&log_in(&api, "maria@example.com", PASSWORD).await?, "refresh_token")?.to_owned();
    for _ in 0..10 {
        let all = (0..64).map(|_| refresh(&api, &token));
        let answers = futures_util::future::try_join_all(all).await?;
        assert!(answers.iter().all(|(status, _)| *status == 200));
        let next = &answers[0].1["refresh_token"];
        assert!(answers.iter().all(|(_, tokens)| tokens["refresh_token"] == *next));
        token = next.as_str().unwrap_or_default().to_owned();
    }
    api.stop().await
}

#[tokio::test]
async fn whoever_logs_out_is_out_and_a_made_up_token_was_never_in() -> Result<()> {
    let (_database, api) = embedded().await?;
    register(&api, "maria@example.com").await?;
    let tokens = log_in(&api, "maria@example.com", PASSWORD).await?;
    let (access, token) = (text(&tokens, "access_token")?, text(&tokens, "refresh_token")?);
    assert_eq!(status_of(&api, token).await?, 401, "a refresh token is no access token");
    let (named, _) = token.rsplit_once('_').unwrap_or_default();
    for made_up in [
        "",
        "x",
        "cmr_x_1_y",
        named,
        &format!("{named}_"),
        &token.replace("_1_", "_2_"),
        &format!("{token}A"),
    ] {
        assert_eq!(refresh(&api, made_up).await?.0, 401, "{made_up}");
    }
    let (status, next) = refresh(&api, token).await?;
    assert_eq!(status, 200, "nor did that put anybody out");
    let token = text(&next, "refresh_token")?;
    assert_eq!(refresh(&api, access).await?.0, 401, "an access token is no refresh token");
    for _ in 0..2 {
        let out = ask(&api, Method::POST, "/auth/logout", "", Some(json!({"refresh_token": token}))).await?;
        assert_eq!(out.status(), 204);
    }
    assert_eq!(refresh(&api, token).await?.0, 401);
    until_refused(&api, access).await?;
    api.stop().await
}

#[tokio::test]
async fn a_new_password_ends_every_other_session() -> Result<()> {
    let (_database, api) = embedded().await?;
    register(&api, "maria@example.com").await?;
    let other = log_in(&api, "maria@example.com", PASSWORD).await?;
    let own = log_in(&api, "maria@example.com", PASSWORD).await?;
    let access = text(&own, "access_token")?;
    let change = async |current: &str, new: &str| -> Result<u16> {
        let body = json!({"current_password": current, "new_password": new});
        Ok(ask(&api, Method::PUT, "/auth/password", access, Some(body)).await?.status().as_u16())
    };
    assert_eq!(change("wrong", "seventeen purple otters").await?, 401);
    assert_eq!(change(PASSWORD, "maria@example.com1").await?, 422);
    assert_eq!(change(PASSWORD, "seventeen purple otters").await?, 204);
    assert_eq!(refresh(&api, text(&other, "refresh_token")?).await?.0, 401);
    until_refused(&api, text(&other, "access_token")?).await?;
    assert_eq!(status_of(&api, access).await?, 200, "who changed it stays");
    assert!(log_in(&api, "maria@example.com", PASSWORD).await.is_err());
    log_in(&api, "maria@example.com", "seventeen purple otters").await?;
    api.stop().await
}
