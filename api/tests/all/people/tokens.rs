//! Tokens of another issuer: the good ones, and every way to be bad.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::Result;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use reqwest::Method;
use serde_json::{Value, json};
use testbed::{Options, Pipeline, TestDatabase, Via};

use super::ask;
use super::mint::{ISSUER, Mint, claims, now};

async fn trusting(issuers: std::path::PathBuf) -> Result<(TestDatabase, Pipeline)> {
    let database = TestDatabase::new().await?;
    let mut options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    options.api.identity.issuers_file = Some(issuers);
    let pipeline = Pipeline::start(&database, options).await?;
    Ok((database, pipeline))
}

async fn me(api: &Pipeline, token: &str) -> Result<(u16, Value)> {
    let answer = ask(api, Method::GET, "/auth/me", token, None).await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

fn with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().into_iter().flatten() {
        match value {
            Value::Null => claims.as_object_mut().and_then(|claims| claims.remove(name)),
            value => claims.as_object_mut().and_then(|claims| claims.insert(name.clone(), value.clone())),
        };
    }
    claims
}

#[tokio::test]
async fn a_good_token_of_a_trusted_issuer_is_taken() -> Result<()> {
    let mint = Mint::new()?;
    let (_database, api) = trusting(mint.write()?).await?;
    for token in [
        mint.token(&claims()),
        mint.signed(&json!({"alg": "EdDSA", "kid": "ed", "typ": "JWT"}), &claims()),
        // The only key for its algorithm needs no name.
        mint.signed(&json!({"alg": "ES256"}), &claims()),
        mint.token(&with(json!({"aud": ["else", "comanda"], "nbf": now()}))),
    ] {
        let (status, me) = me(&api, &token).await?;
        assert_eq!((status, &me["id"], &me["role"]), (200, &json!("ex:maria"), &json!("customer")), "{me}");
    }
    let (_, manager) =
        me(&api, &mint.token(&with(json!({"role": ["manager"], "locations": ["main"]})))).await?;
    assert_eq!((&manager["role"], &manager["locations"]), (&json!("manager"), &json!(["main"])));
    let (status, _) = me(&api, &mint.token(&with(json!({"role": "emperor"})))).await?;
    assert_eq!(status, 403, "a good token of nobody we know");
    api.stop().await
}

#[tokio::test]
async fn every_bad_token_is_401_and_says_nothing_more_than_why() -> Result<()> {
    let mint = Mint::new()?;
    let other = Mint::new()?;
    let (_database, api) = trusting(mint.write()?).await?;
    let good = mint.token(&claims());
    let es = |changes: Value| mint.token(&with(changes));
    let head = |header: Value| mint.signed(&header, &claims());
    let parts: Vec<&str> = good.split('.').collect();
    let bad = [
        ("expired", es(json!({"exp": now() - 10}))),
        ("not yet", es(json!({"nbf": now() + 60}))),
        ("no expiry", es(json!({"exp": null}))),
        ("for somebody else", es(json!({"aud": "else"}))),
        ("for nobody", es(json!({"aud": null}))),
        ("another issuer", es(json!({"iss": "https://evil.example.com/"}))),
        ("our own issuer's name", es(json!({"iss": "comanda", "aud": "comanda"}))),
        ("no issuer", es(json!({"iss": null}))),
        ("nobody", es(json!({"sub": null}))),
        ("an empty subject", es(json!({"sub": ""}))),
        ("a subject with a control character", es(json!({"sub": "a\u{7}b"}))),
        ("another's key", other.token(&claims())),
        ("none", head(json!({"alg": "none"}))),
        ("None", head(json!({"alg": "None", "kid": "es"}))),
        ("the public key as a secret", head(json!({"alg": "HS256", "kid": "es"}))),
        ("a key that two sides share", head(json!({"alg": "HS256", "kid": "oct"}))),
        ("another algorithm than the key's", head(json!({"alg": "EdDSA", "kid": "es"}))),
        ("an algorithm that is not taken", head(json!({"alg": "RS256", "kid": "enc"}))),
        ("an unknown key", mint.signed(&json!({"alg": "ES256", "kid": "gone"}), &with(json!({"iat": 1})))),
        (
            "a path for a key",
            mint.signed(&json!({"alg": "ES256", "kid": "../../etc/passwd"}), &with(json!({"iat": 1}))),
        ),
        (
            "SQL for a key",
            mint.signed(&json!({"alg": "ES256", "kid": "' OR 1=1 --"}), &with(json!({"iat": 1}))),
        ),
        (
            "a key of its own by jku",
            other.signed(&json!({"alg": "ES256", "kid": "es", "jku": "http://127.0.0.1:1/"}), &claims()),
        ),
        (
            "a key of its own by x5u",
            other.signed(&json!({"alg": "ES256", "kid": "es", "x5u": "http://127.0.0.1:1/"}), &claims()),
        ),
        (
            "a key of its own in jwk",
            other.signed(&json!({"alg": "ES256", "kid": "es", "jwk": other.key_set()["keys"][0]}), &claims()),
        ),
        ("something critical", head(json!({"alg": "ES256", "kid": "es", "crit": ["exp2"], "exp2": 1}))),
        ("bound to a key", es(json!({"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}))),
        ("another kind of token", head(json!({"alg": "ES256", "kid": "es", "typ": "logout+jwt"}))),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{good}.x")),
        ("other claims", format!("{}.{}.{}", parts[0], good.split('.').next().unwrap_or(""), parts[2])),
        ("too long", es(json!({"x": "x".repeat(9_000)}))),
        ("rubbish", "rubbish".to_owned()),
        ("deep JSON", mint.token(&with(json!({"x": (0..200).fold(json!(1), |deep, _| json!([deep]))})))),
    ];
    // Which of several reasons it is tells which look refused it: what a later one would refuse, too, is stopped at the first.
    let because = [
        ("another issuer", "nobody here trusts"),
        ("too long", "too long"),
        ("expired", "expired"),
        ("not yet", "not good yet"),
        ("for somebody else", "for somebody else"),
        ("something critical", "another kind"),
        ("bound to a key", "bound to a key"),
    ];
    let mut wrong = Vec::new();
    for (what, token) in bad {
        let answer = ask(&api, Method::GET, "/auth/me", &token, None).await?;
        let status = answer.status().as_u16();
        let challenge = answer.headers().get("www-authenticate").map(|value| format!("{value:?}"));
        let body = answer.text().await?;
        let reason = because.iter().find(|(known, _)| *known == what).map_or("", |(_, reason)| reason);
        let is_told = challenge.as_deref().is_some_and(|said| said.contains("invalid_token"))
            && body.contains(reason)
            && !body.contains(&token)
            && !body.contains("jsonwebtoken");
        if status != 401 || !is_told {
            wrong.push(format!("{what}: {status} {challenge:?} {body}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(me(&api, &good).await?.0, 200, "and the good one still is");
    api.stop().await
}

#[tokio::test]
async fn other_ways_to_show_a_token_are_none() -> Result<()> {
    let mint = Mint::new()?;
    let (_database, api) = trusting(mint.write()?).await?;
    let good = mint.token(&claims());
    let url = format!("{}/api/v1/auth/me", api.client.api);
    let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?;
    let get = || http.get(&url);
    for (what, request) in [
        ("two headers", get().bearer_auth(&good).header("Authorization", format!("Bearer {good}"))),
        ("basic", get().header("Authorization", format!("Basic {good}"))),
        ("nothing after it", get().header("Authorization", "Bearer ")),
        ("no scheme", get().header("Authorization", good.as_str())),
        ("in the address", http.get(format!("{url}?access_token={good}"))),
        ("in a cookie", get().header("Cookie", format!("access_token={good}"))),
    ] {
        assert_eq!(request.send().await?.status(), 401, "{what}");
    }
    let lower = get().header("Authorization", format!("bearer {good}")).send().await?;
    assert_eq!(lower.status(), 200, "the scheme in any case (RFC 9110, 11.1)");
    api.stop().await
}

/// An issuer's address that can be away, and counts who asks.
#[derive(Clone, Default)]
struct Site {
    keys: Arc<std::sync::Mutex<Value>>,
    away: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Site {
    async fn open(self) -> Result<String> {
        let answer = async |State(site): State<Self>| {
            site.asked.fetch_add(1, Ordering::Relaxed);
            if site.away.load(Ordering::Relaxed) {
                return Err(StatusCode::BAD_GATEWAY);
            }
            Ok(site.keys.lock().map(|keys| keys.to_string()).unwrap_or_default())
        };
        let app = axum::Router::new().route("/keys", get(answer)).with_state(self);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/keys", listener.local_addr()?);
        #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(url)
    }
}

#[tokio::test]
async fn keys_are_looked_up_once_and_kept_while_their_issuer_is_away() -> Result<()> {
    let (old, new) = (Mint::new()?, Mint::new()?);
    let site = Site::default();
    *site.keys.lock().unwrap() = old.key_set();
    let (_database, api) = trusting(old.write_issuer(&site.clone().open().await?)?).await?;
    // 100 at once, of whom nobody knows the key: one look.
    let token = old.token(&claims());
    let all = futures_util::future::try_join_all((0..100).map(|_| me(&api, &token))).await?;
    assert!(all.iter().all(|(status, _)| *status == 200));
    let asked = site.asked.load(Ordering::Relaxed);
    assert!(asked <= 2, "one in the background, and one at most for the requests: {asked}");
    // Its issuer is away: what it signed stays good, also for whoever was not seen before.
    site.away.store(true, Ordering::Relaxed);
    for number in 0..20 {
        let (status, _) = me(&api, &old.token(&with(json!({"sub": format!("guest {number}")})))).await?;
        assert_eq!(status, 200);
    }
    // A key that came later: nobody can tell, and it is not called bad.
    let renamed = new.signed(&json!({"alg": "ES256", "kid": "es2"}), &with(json!({"iat": now() + 2})));
    assert_eq!(me(&api, &renamed).await?.0, 503);
    // That look failed, and took nothing away.
    assert_eq!(me(&api, &old.token(&with(json!({"sub": "a late guest"})))).await?.0, 200);
    // Made-up keys do not make anybody ask.
    for number in 0..50 {
        let header = json!({"alg": "ES256", "kid": format!("made up {number}")});
        assert_ne!(me(&api, &new.signed(&header, &claims())).await?.0, 200);
    }
    assert!(site.asked.load(Ordering::Relaxed) <= asked + 1, "at most once in half a minute");
    assert_eq!(claims()["iss"], ISSUER);
    api.stop().await
}
