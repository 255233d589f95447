//! Staying logged in at two apis over one database, with many who refresh one token at the same moment.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testbed::{Options, Pipeline, TestDatabase, Via};

use super::{PASSWORD, ask, embedded_settings, log_in, register, text};

/// Requests with one token at once.
const AT_ONCE: usize = 64;
/// How often, one successor after the other. `REFRESH_ROUNDS=1000` takes a minute or two.
const ROUNDS: usize = 15;
/// How soon what was ended must be refused everywhere.
const EVERYWHERE_WITHIN: Duration = Duration::from_secs(5);

/// Two apis, and a client that keeps its connections.
struct House {
    apis: [Pipeline; 2],
    http: reqwest::Client,
}

impl House {
    async fn start(database: &TestDatabase) -> Result<Self> {
        let options = embedded_settings(Options { with_worker: false, ..Options::new(Via::InProcess) })?;
        let apis =
            [Pipeline::start(database, options.clone()).await?, Pipeline::start(database, options).await?];
        let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?;
        Ok(Self { apis, http })
    }

    /// At either api.
    async fn refresh(&self, at: usize, token: &str) -> Result<(StatusCode, Value)> {
        let url = format!("{}/api/v1/auth/refresh", self.apis[at % 2].client.api);
        let answer = self.http.post(url).json(&json!({"refresh_token": token})).send().await?;
        Ok((answer.status(), answer.json().await?))
    }

    /// What each api says of an access token.
    async fn statuses(&self, token: &str) -> Result<[u16; 2]> {
        let mut statuses = [0; 2];
        for (status, api) in statuses.iter_mut().zip(&self.apis) {
            *status = ask(api, Method::GET, "/auth/me", token, None).await?.status().as_u16();
        }
        Ok(statuses)
    }

    /// Many ask at once, half of them each api; all are told the same. Returns it.
    async fn refresh_at_once(&self, token: &str) -> Result<Value> {
        let answers = try_join_all((0..AT_ONCE).map(|one| self.refresh(one, token))).await?;
        let (_, first) = answers.first().context("somebody asked")?;
        for (status, tokens) in &answers {
            ensure!(*status == 200, "{status}: {tokens}");
            ensure!(tokens["refresh_token"] == first["refresh_token"], "two successors");
        }
        Ok(first.clone())
    }
}

fn rounds() -> Result<usize> {
    #[expect(clippy::disallowed_methods, reason = "how long to go on is asked of whoever starts the test")]
    let asked = std::env::var("REFRESH_ROUNDS");
    Ok(asked.map_or(Ok(ROUNDS), |rounds| rounds.parse())?)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_who_refresh_one_token_at_two_apis_all_get_one_successor_and_a_grandparent_ends_it_at_both()
-> Result<()> {
    let rounds = rounds()?;
    let database = TestDatabase::new().await?;
    let house = House::start(&database).await?;
    register(&house.apis[0], "maria@example.com").await?;
    let mut tokens = log_in(&house.apis[0], "maria@example.com", PASSWORD).await?;
    let mut family = vec![tokens.clone()];
    for round in 0..rounds {
        let next = house.refresh_at_once(text(&tokens, "refresh_token")?).await;
        tokens = next.with_context(|| format!("round {round}"))?;
        family.push(tokens.clone());
    }
    // Nobody was logged out by it.
    assert_eq!(house.statuses(text(&tokens, "access_token")?).await?, [200, 200]);

    // Somebody has a copy of an old one.
    let grandparent = text(&family[family.len() - 3], "refresh_token")?;
    assert_eq!(house.refresh(0, grandparent).await?.0, 401);
    let replayed = Instant::now();
    for at in [0, 1] {
        assert_eq!(house.refresh(at, text(&tokens, "refresh_token")?).await?.0, 401, "the family is dead");
    }
    for old in family.iter().rev().take(3) {
        let token = text(old, "access_token")?;
        testbed::until("its access tokens are refused at both", async || {
            Ok((house.statuses(token).await? == [401, 401]).then_some(()))
        })
        .await?;
    }
    let took = replayed.elapsed();
    assert!(took < EVERYWHERE_WITHIN, "{took:?}");
    // Who logs in anew has nothing to do with it.
    let anew = log_in(&house.apis[1], "maria@example.com", PASSWORD).await?;
    assert_eq!(house.statuses(text(&anew, "access_token")?).await?, [200, 200]);
    println!("{rounds} rounds of {AT_ONCE}; refused everywhere after {took:?}");
    for api in house.apis {
        api.stop().await?;
    }
    Ok(())
}
