//! Who comes in, who does not, and how soon nobody does any more.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Digest;
use sqlx::Connection;
use testbed::{Options, Pipeline, TestDatabase, Via};

use crate::people::{PASSWORD, ask, embedded, log_in, register, text, told, with_admin};

/// Whoever changes a password because somebody knows it must not find them logged in afterwards: not even by a log in that
/// was looked at before and carried out after.
#[tokio::test]
async fn a_log_in_by_the_old_password_does_not_outlive_its_change() -> Result<()> {
    let (database, api) = embedded().await?;
    let maria = register(&api, "maria@example.com").await?;
    let id: uuid::Uuid = text(&maria, "id")?.parse()?;
    let mut conn = database.connect().await?;
    let old: String = sqlx::query_scalar("SELECT password_hash FROM users").fetch_one(&mut conn).await?;
    store::accounts::users::set_password(&mut conn, id, "another", None).await?;
    let life = Duration::from_secs(60);
    // The password was right a moment ago.
    let late = store::accounts::sessions::begin(&mut conn, uuid::Uuid::now_v7(), id, &old, life).await?;
    assert!(late.is_none(), "{late:?}");
    // And one that waits for the change to be committed sees it.
    let mut beside = database.connect().await?;
    let mut changing = beside.begin().await?;
    sqlx::query("UPDATE users SET password_hash = 'a third'").execute(&mut *changing).await?;
    let waiting = store::accounts::sessions::begin(&mut conn, uuid::Uuid::now_v7(), id, "another", life);
    let committed = async {
        testbed::until("it waits", async || {
            let waits: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')",
            )
            .fetch_one(&mut *changing)
            .await?;
            Ok(waits.then_some(()))
        })
        .await?;
        changing.commit().await.context("it was changed")
    };
    let (late, committed) = tokio::join!(waiting, committed);
    committed?;
    assert!(late?.is_none());
    let sessions: i64 = sqlx::query_scalar("SELECT count(*) FROM sessions").fetch_one(&mut conn).await?;
    assert_eq!(sessions, 0);
    api.stop().await
}

/// Two apis over one database: what is taken away at one is refused at the other.
async fn two() -> Result<(TestDatabase, Pipeline, Pipeline, String)> {
    let (database, one, admin) = with_admin().await?;
    let mut options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    options.api.identity.issuers_file = None;
    options.api.identity.identity_key_file = Some(testbed::people::keys()?);
    let other = Pipeline::start(&database, options).await?;
    Ok((database, one, other, admin))
}

const EVERYWHERE_WITHIN: Duration = Duration::from_secs(5);

/// What was made at one api a moment ago, the other may have to look for; and before its first look it cannot tell.
async fn until_known(api: &Pipeline, token: &str) -> Result<()> {
    testbed::until("it is known", async || {
        Ok((ask(api, Method::GET, "/auth/me", token, None).await?.status() == 200).then_some(()))
    })
    .await
}

async fn until_refused(api: &Pipeline, token: &str) -> Result<()> {
    let began = Instant::now();
    testbed::until("it is refused", async || {
        Ok((ask(api, Method::GET, "/auth/me", token, None).await?.status() == 401).then_some(()))
    })
    .await?;
    anyhow::ensure!(began.elapsed() < EVERYWHERE_WITHIN, "after {:?}", began.elapsed());
    Ok(())
}

#[tokio::test]
async fn who_is_put_out_is_out_everywhere_within_five_seconds() -> Result<()> {
    let (_database, one, other, admin) = two().await?;
    let eve = register(&one, "eve@example.com").await?;
    let tokens = log_in(&one, "eve@example.com", PASSWORD).await?;
    let (access, refresh) = (text(&tokens, "access_token")?, text(&tokens, "refresh_token")?);
    for api in [&one, &other] {
        until_known(api, access).await?;
    }
    let made = json!({"name": "till", "channels": ["dishdash"]});
    let made: Value = ask(&one, Method::POST, "/service-tokens", &admin, Some(made)).await?.json().await?;
    let machine = text(&made, "token")?;
    until_known(&other, machine).await?;

    let off = json!({"active": false});
    let path = format!("/users/{}", text(&eve, "id")?);
    assert_eq!(ask(&one, Method::PATCH, &path, &admin, Some(off)).await?.status(), 200);
    let path = format!("/service-tokens/{}", text(&made, "id")?);
    assert_eq!(ask(&one, Method::DELETE, &path, &admin, None).await?.status(), 204);
    for api in [&one, &other] {
        until_refused(api, access).await?;
        until_refused(api, machine).await?;
        let body = Some(json!({"refresh_token": refresh}));
        assert_eq!(ask(api, Method::POST, "/auth/refresh", "", body).await?.status(), 401);
        assert!(log_in(api, "eve@example.com", PASSWORD).await.is_err());
    }
    one.stop().await?;
    other.stop().await
}

/// What a thief of the table would have: ids and hashes.
#[tokio::test]
async fn what_is_kept_of_secrets_opens_nothing() -> Result<()> {
    let (database, api, admin) = with_admin().await?;
    register(&api, "maria@example.com").await?;
    let tokens = log_in(&api, "maria@example.com", PASSWORD).await?;
    let made: Value = ask(&api, Method::POST, "/service-tokens", &admin, Some(json!({"name": "till"})))
        .await?
        .json()
        .await?;
    let mut conn = database.connect().await?;
    let (id, hash): (String, String) =
        sqlx::query_as("SELECT id, encode(secret_hash, 'hex') FROM service_tokens")
            .fetch_one(&mut conn)
            .await?;
    let own = text(&made, "token")?;
    // Whatever it is, its checksum is right.
    let sum = sha2::Sha256::digest(format!("{id}_{hash}"));
    let sum: String = sum[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    for forged in [format!("cmd_{id}_{hash}{sum}"), format!("cmd_{id}_{hash}"), hash.clone(), id.clone()] {
        assert_eq!(ask(&api, Method::GET, "/auth/me", &forged, None).await?.status(), 401, "{forged}");
    }
    let hash: String = sqlx::query_scalar("SELECT password_hash FROM users WHERE role = 'customer'")
        .fetch_one(&mut conn)
        .await?;
    assert!(log_in(&api, "maria@example.com", &hash).await.is_err(), "a hash is no password");
    let (session, generation): (uuid::Uuid, i32) =
        sqlx::query_as("SELECT id, generation FROM sessions ORDER BY created_at DESC LIMIT 1")
            .fetch_one(&mut conn)
            .await?;
    for forged in [
        format!("cmr_{}_{generation}_", session.simple()),
        format!("cmr_{}_{generation}_{}", session.simple(), "A".repeat(43)),
        session.to_string(),
    ] {
        let body = Some(json!({"refresh_token": forged}));
        assert_eq!(ask(&api, Method::POST, "/auth/refresh", "", body).await?.status(), 401, "{forged}");
    }
    // And what is kept has none of it as it was shown.
    let kept: String = sqlx::query_scalar(
        "SELECT concat((SELECT string_agg(t::text, ' ') FROM users t), (SELECT string_agg(t::text, ' ') FROM sessions t),
             (SELECT string_agg(t::text, ' ') FROM service_tokens t))",
    )
    .fetch_one(&mut conn)
    .await?;
    let refresh = text(&tokens, "refresh_token")?;
    let mark = refresh.splitn(4, '_').last().unwrap_or(refresh);
    for secret in [PASSWORD, mark, text(&tokens, "access_token")?, &own[21..85]] {
        assert!(!kept.contains(secret), "{secret} in {kept}");
    }
    api.stop().await
}

#[tokio::test]
async fn nobody_is_there_from_the_start_and_the_first_password_is_nobodys_guess() -> Result<()> {
    let (database, api) = embedded().await?;
    let mut conn = database.connect().await?;
    let known: i64 =
        sqlx::query_scalar("SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM service_tokens)")
            .fetch_one(&mut conn)
            .await?;
    assert_eq!(known, 0);
    for (email, password) in [
        ("admin", "admin"),
        ("admin@example.com", "admin"),
        ("root@example.com", "password"),
        ("admin@admin.com", "changeme"),
    ] {
        assert!(log_in(&api, email, password).await.is_err(), "{email}");
    }
    let made = database.database();
    let first = api::identity::bootstrap::make_admin(&made, "root@example.com").await?;
    let second = api::identity::bootstrap::make_admin(&made, "second@example.com").await?;
    assert!(first.len() >= 20 && first != second, "120 bits of chance each");
    log_in(&api, "root@example.com", &first).await?;
    // Asked again, it is a new one, and the old one and its logins are gone.
    let before = log_in(&api, "root@example.com", &first).await?;
    let again = api::identity::bootstrap::make_admin(&made, "root@example.com").await?;
    assert!(again != first && log_in(&api, "root@example.com", &first).await.is_err());
    let body = Some(json!({"refresh_token": text(&before, "refresh_token")?}));
    assert_eq!(ask(&api, Method::POST, "/auth/refresh", "", body).await?.status(), 401);
    api.stop().await
}

/// That an address is taken cannot be hidden from whoever may register it, as long as nobody is sent a mail: so asking is slow,
/// and costs the asker a hash and a place in the limit each time.
#[tokio::test]
async fn asking_who_is_registered_is_as_dear_as_registering_and_limited_by_address() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    options.api.identity.issuers_file = None;
    options.api.identity.identity_key_file = Some(testbed::people::keys()?);
    options.api.identity.rate_limits.rate_limit_log_in = 4;
    let api = Pipeline::start(&database, options).await?;
    register(&api, "maria@example.com").await?;
    let ask_for = async |email: &str| {
        let body = json!({"email": email, "password": PASSWORD});
        told(ask(&api, Method::POST, "/auth/register", "", Some(body)).await?).await
    };
    assert_eq!(ask_for("MARIA@example.com").await?, (409, "email_taken".to_owned()));
    // A password that nobody would get is told before it is looked who has the address.
    let body = json!({"email": "maria@example.com", "password": "password1"});
    let answer = ask(&api, Method::POST, "/auth/register", "", Some(body)).await?;
    assert_eq!(told(answer).await?, (422, "too_easy".to_owned()));
    let body = json!({"email": "nobody@example.com", "password": "x"});
    assert_eq!(ask(&api, Method::POST, "/auth/login", "", Some(body)).await?.status(), 401);
    assert_eq!(
        ask_for("eve@example.com").await?.0,
        429,
        "one minute's worth is used up, by whatever was asked"
    );
    api.stop().await
}

/// A guess at a password is one whether it is made at the door or with a stolen token.
#[tokio::test]
async fn guesses_at_the_current_password_are_limited_like_log_ins() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    options.api.identity.issuers_file = None;
    options.api.identity.identity_key_file = Some(testbed::people::keys()?);
    options.api.identity.rate_limits.rate_limit_log_in = 5;
    let api = Pipeline::start(&database, options).await?;
    register(&api, "maria@example.com").await?;
    let tokens = log_in(&api, "maria@example.com", PASSWORD).await?;
    let mut told = Vec::new();
    for guess in 0..5 {
        let body = json!({"current_password": guess.to_string(), "new_password": "seventeen purple otters"});
        let answer =
            ask(&api, Method::PUT, "/auth/password", text(&tokens, "access_token")?, Some(body)).await?;
        told.push(answer.status().as_u16());
    }
    assert_eq!(told, [401, 401, 401, 429, 429]);
    api.stop().await
}

/// The more often somebody says that they log out, the less happens.
#[tokio::test]
async fn who_is_out_is_not_put_out_again() -> Result<()> {
    let (database, api) = embedded().await?;
    register(&api, "maria@example.com").await?;
    log_in(&api, "maria@example.com", PASSWORD).await?;
    let mut conn = database.connect().await?;
    let id: uuid::Uuid = sqlx::query_scalar("SELECT id FROM sessions").fetch_one(&mut conn).await?;
    let mut ended = Vec::new();
    for _ in 0..3 {
        ended.push(store::accounts::sessions::end(&mut conn, id).await?);
    }
    assert_eq!(ended, [true, false, false]);
    api.stop().await
}

#[tokio::test]
async fn keys_are_for_this_service_alone_and_new_ones_log_nobody_out() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir()?;
    let keys = folder.path().join("keys");
    anyhow::ensure!(api::identity::key_file::make(&keys)?);
    let mode = |path: &std::path::Path| {
        Ok::<_, std::io::Error>(std::fs::metadata(path)?.permissions().mode() & 0o777)
    };
    assert_eq!(mode(&keys)?, 0o600);
    let database = TestDatabase::new().await?;
    let mut options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    options.api.identity.issuers_file = None;
    options.api.identity.identity_key_file = Some(keys.clone());
    let api = Pipeline::start(&database, options).await?;
    register(&api, "maria@example.com").await?;
    let tokens = log_in(&api, "maria@example.com", PASSWORD).await?;
    api::identity::key_file::rotate(&keys)?;
    assert_eq!(mode(&keys)?, 0o600);
    testbed::until("the new key is published beside the old one", async || {
        let set = api.client.get("/api/v1/auth/jwks.json").await?;
        Ok((set["keys"].as_array().map(Vec::len) == Some(2)).then_some(()))
    })
    .await?;
    let access = text(&tokens, "access_token")?;
    assert_eq!(ask(&api, Method::GET, "/auth/me", access, None).await?.status(), 200);
    let body = Some(json!({"refresh_token": text(&tokens, "refresh_token")?}));
    assert_eq!(ask(&api, Method::POST, "/auth/refresh", "", body).await?.status(), 200);
    // What is published is the public half alone.
    let set = api.client.get("/api/v1/auth/jwks.json").await?.to_string();
    assert!(!set.contains("\"d\"") && !set.contains("\"k\""), "{set}");
    api.stop().await?;

    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o644))?;
    let refused = api::identity::key_file::KeyFile::open(&keys).err().context("anybody may read it")?;
    assert!(refused.to_string().contains("chmod 600"), "{refused:#}");
    Ok(())
}
