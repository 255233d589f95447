//! An issuer that somebody else wrote: its people order here, and nobody is turned away while its keys change or while it is
//! away. Run by `make oidc`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::future::{join_all, try_join_all};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use testbed::{Options, Pipeline, TestDatabase, Via, until};

use super::mint::{Mint, now};
use super::oidc::{ES256, Oidc, RS256};
use super::{ask, text};

/// As Keycloak has them, and oidc-provider by our configuration.
fn keycloak() -> Value {
    json!({"role": "/realm_access/roles", "roles": {"kitchen": "staff", "boss": "manager"}, "default_role": "customer"})
}

async fn trusting(oidc: &Oidc, claims: &Value, every: Duration) -> Result<(TestDatabase, Pipeline)> {
    let database = TestDatabase::new().await?;
    let mut options = Options::new(Via::InProcess);
    options.api.identity.issuers_file = Some(oidc.issuers_file(claims)?);
    options.api.identity.issuer_keys_every = every;
    let api = Pipeline::start(&database, options).await?;
    Ok((database, api))
}

/// What every api has that nobody set up otherwise.
const DEFAULT: Duration = Duration::from_secs(300);

async fn answers(
    api: &Pipeline,
    method: Method,
    path: &str,
    token: &str,
    body: Option<Value>,
) -> Result<(u16, Value)> {
    let answer = ask(api, method, path, token, body).await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

async fn place_and_read(api: &Pipeline, token: &str, who: &str) -> Result<String> {
    let mut order = testbed::Client::an_order();
    order["customer_id"] = json!(who);
    let (status, placed) = answers(api, Method::POST, "/orders", token, Some(order)).await?;
    ensure!(status == 202, "{placed}");
    let id = text(&placed, "id")?.to_owned();
    let confirmed = async || {
        let (status, read) = answers(api, Method::GET, &format!("/orders/{id}"), token, None).await?;
        ensure!(status == 200, "{read}");
        Ok((read["status"] == "CONFIRMED").then_some(()))
    };
    until("it is paid", confirmed).await?;
    Ok(id)
}

#[tokio::test]
#[ignore = "needs oidc-provider: make oidc"]
async fn people_log_in_at_a_real_issuer_and_order() -> Result<()> {
    let oidc = Oidc::start().await?;
    let (_database, api) = trusting(&oidc, &keycloak(), DEFAULT).await?;
    for resource in [RS256, ES256] {
        let ann = oidc.log_in("ann", Some(resource)).await?;
        let ann = text(&ann, "access_token")?;
        let id = place_and_read(&api, ann, "oidc:ann").await?;
        // Somebody else of the same issuer, the kitchen here, the kitchen of another place, and who sees to all.
        for (who, read, taken) in
            [("bob", 404, 403), ("olga", 404, 404), ("kim", 200, 200), ("rosa", 200, 409)]
        {
            let tokens = oidc.log_in(who, Some(resource)).await?;
            let token = text(&tokens, "access_token")?;
            let (status, told) = answers(&api, Method::GET, &format!("/orders/{id}"), token, None).await?;
            assert_eq!(status, read, "{who} reads: {told}");
            let (status, told) =
                answers(&api, Method::POST, &format!("/orders/{id}/accept"), token, None).await?;
            assert_eq!(status, taken, "{who} takes it: {told}");
        }
        let (_, history) = answers(&api, Method::GET, &format!("/orders/{id}/history"), ann, None).await?;
        assert!(history.to_string().contains("oidc:kim"), "{history}");
        // What else she has of it opens nothing: who she is, told to the shop; the token to stay logged in.
        let tokens = oidc.log_in("ann", Some(resource)).await?;
        for kind in ["id_token", "refresh_token"] {
            let (status, told) = answers(&api, Method::GET, "/auth/me", text(&tokens, kind)?, None).await?;
            assert_eq!(status, 401, "{kind}: {told}");
        }
    }
    // Asked for no api in particular it gives a token that only it can read.
    let opaque = oidc.log_in("ann", None).await?;
    assert_eq!(answers(&api, Method::GET, "/auth/me", text(&opaque, "access_token")?, None).await?.0, 401);
    api.stop().await
}

#[tokio::test]
#[ignore = "needs oidc-provider: make oidc"]
async fn a_machine_of_a_real_issuer_may_what_its_scope_says() -> Result<()> {
    let oidc = Oidc::start().await?;
    let by_scope = json!({"role": "scope", "roles": {"order": "customer", "kitchen": "staff"}});
    let (_database, api) = trusting(&oidc, &by_scope, DEFAULT).await?;
    let (status, me) = answers(&api, Method::GET, "/auth/me", &oidc.machine(ES256).await?, None).await?;
    assert_eq!((status, &me["id"], &me["role"]), (200, &json!("oidc:till"), &json!("staff")), "{me}");
    let person = oidc.log_in("ann", Some(RS256)).await?;
    let (_, me) = answers(&api, Method::GET, "/auth/me", text(&person, "access_token")?, None).await?;
    assert_eq!((&me["id"], &me["role"]), (&json!("oidc:ann"), &json!("customer")), "{me}");
    api.stop().await
}

/// So many tokens that for ten seconds a crowd shows each of them once: so each is checked, and none is remembered.
async fn tokens(oidc: &Oidc, count: usize) -> Result<Vec<String>> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let some = (0..20).map(|number| oidc.machine(if number % 2 == 0 { RS256 } else { ES256 }));
        all.extend(try_join_all(some).await?);
    }
    Ok(all)
}

/// Shows tokens while something happens.
struct Crowd<'a> {
    http: Client,
    me: String,
    tokens: &'a [String],
    next: AtomicUsize,
    over: AtomicBool,
    not_200: Mutex<Vec<String>>,
}

impl<'a> Crowd<'a> {
    fn new(api: &Pipeline, tokens: &'a [String]) -> Result<Self> {
        let http = Client::builder().tls_certs_only([]).no_proxy().build()?;
        let me = format!("{}/api/v1/auth/me", api.client.api);
        let (next, over, not_200) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::default());
        Ok(Self { http, me, tokens, next, over, not_200 })
    }

    async fn show(&self, token: &str) -> Result<u16> {
        Ok(self.http.get(&self.me).bearer_auth(token).send().await?.status().as_u16())
    }

    /// Four at a time, one every few milliseconds each, until it is over: then what was not let in.
    async fn come(&self) -> Result<()> {
        let one = async || -> Result<()> {
            while !self.over.load(Ordering::Relaxed) {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                let Some(token) = self.tokens.get(number) else {
                    anyhow::bail!("too few tokens for that long")
                };
                let status = self.show(token).await?;
                if status != 200 {
                    self.not_200.lock().unwrap().push(format!("token {number}: {status}"));
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
            Ok(())
        };
        join_all((0..4).map(|_| one())).await.into_iter().collect()
    }

    fn over(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// How many came, if all were let in.
    fn all_were_let_in(&self) -> Result<usize> {
        let not = self.not_200.lock().unwrap();
        ensure!(not.is_empty(), "{} were not let in: {:?}", not.len(), &not[..not.len().min(9)]);
        Ok(self.next.load(Ordering::Relaxed))
    }
}

#[tokio::test]
#[ignore = "needs oidc-provider: make oidc"]
async fn a_real_issuers_keys_rotate_under_load_and_nobody_is_turned_away() -> Result<()> {
    let mut oidc = Oidc::start().await?;
    let (_database, api) = trusting(&oidc, &keycloak(), DEFAULT).await?;
    let old = tokens(&oidc, 1_600).await?;
    let crowd = Crowd::new(&api, &old)?;
    let meanwhile = async {
        until("some came", async || Ok((crowd.next.load(Ordering::Relaxed) > 100).then_some(()))).await?;
        oidc.rotate()?;
        oidc.end();
        oidc.begin().await?;
        // The first of a new key that anybody shows; and by then the old ones still are good.
        let new = tokens(&oidc, 40).await?;
        for token in &new {
            assert_eq!(crowd.show(token).await?, 200, "at once");
        }
        let come = crowd.next.load(Ordering::Relaxed);
        until("more came", async || Ok((crowd.next.load(Ordering::Relaxed) > come + 100).then_some(())))
            .await?;
        assert_eq!(oidc.asked().await?, 1, "for two new keys");
        crowd.over();
        Ok::<_, anyhow::Error>(())
    };
    tokio::try_join!(crowd.come(), meanwhile)?;
    assert!(crowd.all_were_let_in()? > 200);
    api.stop().await
}

#[tokio::test]
#[ignore = "needs oidc-provider: make oidc"]
async fn while_a_real_issuer_is_away_whoever_it_let_in_stays_let_in() -> Result<()> {
    let mut oidc = Oidc::start().await?;
    // Three hundred times as fast: two seconds are ten minutes.
    let (_database, api) = trusting(&oidc, &keycloak(), Duration::from_secs(1)).await?;
    let old = tokens(&oidc, 1_600).await?;
    let crowd = Crowd::new(&api, &old)?;
    assert_eq!(crowd.show(&old[1_599]).await?, 200);
    let mint = Mint::new()?;
    let meanwhile = async {
        oidc.end();
        let away = Instant::now();
        while away.elapsed() < Duration::from_secs(3) {
            let stranger = made_up(&mint, &oidc);
            let status = crowd.show(&stranger).await?;
            assert!([401, 503].contains(&status), "a key that nobody can look up: {status}");
        }
        oidc.rotate()?;
        oidc.begin().await?;
        // It may have been looked for a moment ago: then it is told to come again, and never that the token is bad.
        let new = oidc.machine(ES256).await?;
        let let_in = async || match crowd.show(&new).await? {
            200 => Ok(Some(())),
            503 => Ok(None),
            status => anyhow::bail!("a good token of a new key: {status}"),
        };
        until("the new key is known", let_in).await?;
        crowd.over();
        Ok::<_, anyhow::Error>(())
    };
    tokio::try_join!(crowd.come(), meanwhile)?;
    assert!(crowd.all_were_let_in()? > 200);
    api.stop().await
}

/// A token whose key nobody has, as an attacker makes it: each names another.
fn made_up(mint: &Mint, oidc: &Oidc) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let kid = format!("made up {}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let claims = json!({"iss": oidc.issuer(), "aud": ES256, "sub": "eve", "iat": now(), "exp": now() + 60});
    mint.signed(&json!({"alg": "ES256", "typ": "at+jwt", "kid": kid}), &claims)
}

#[tokio::test]
#[ignore = "needs oidc-provider: make oidc"]
async fn made_up_keys_make_nobody_ask_a_real_issuer_more_often_than_they_may() -> Result<()> {
    let oidc = Oidc::start().await?;
    let every = Duration::from_secs(5);
    let (_database, api) = trusting(&oidc, &keycloak(), every).await?;
    let good = tokens(&oidc, 20).await?;
    let crowd = Crowd::new(&api, &good)?;
    assert_eq!(crowd.show(&good[0]).await?, 200);
    let mint = Mint::new()?;
    let (before, begun) = (oidc.asked().await?, Instant::now());
    let mut shown = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        let strangers: Vec<String> = (0..50).map(|_| made_up(&mint, &oidc)).collect();
        let told = try_join_all(strangers.iter().map(|token| crowd.show(token))).await?;
        assert!(told.iter().all(|status| [401, 503].contains(status)), "{told:?}");
        shown += told.len();
    }
    let asked = oidc.asked().await? - before;
    // Twice a second because of them, and once every five seconds without.
    let may = begun.elapsed().as_millis() * 11 / every.as_millis() + 2;
    assert!(asked >= 2 && u128::from(asked) <= may, "{shown} made it ask {asked} times, of {may}");
    api.stop().await
}
