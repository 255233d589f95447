mod addresses;
mod mails;
mod mint;
mod oidc;
mod orders;
mod rate_limits;
mod real_issuer;
mod refreshing;
mod routes;
mod sign_in;
mod tokens;
mod users;

use anyhow::{Context, Result};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use testbed::{Options, Pipeline, TestDatabase, Via};

/// Good enough for anybody.
pub(crate) const PASSWORD: &str = "copper lantern seventy walrus";

/// Asks; with a token where one is given.
pub(crate) async fn ask(
    api: &Pipeline,
    method: Method,
    path: &str,
    token: &str,
    body: Option<Value>,
) -> Result<Response> {
    let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?;
    let mut request = http.request(method, format!("{}/api/v1{path}", api.client.api));
    if !token.is_empty() {
        request = request.bearer_auth(token);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    Ok(request.send().await?)
}

/// What was answered, and the first problem's code where there is one.
pub(crate) async fn told(answer: Response) -> Result<(u16, String)> {
    let status = answer.status().as_u16();
    let body: Value = serde_json::from_str(&answer.text().await?).unwrap_or_default();
    Ok((status, body["errors"][0]["code"].as_str().unwrap_or("").to_owned()))
}

pub(crate) async fn register(api: &Pipeline, email: &str) -> Result<Value> {
    let body = json!({"email": email, "password": PASSWORD});
    let answer = ask(api, Method::POST, "/auth/register", "", Some(body)).await?;
    anyhow::ensure!(answer.status() == 201, "registering {email}: {}", answer.text().await?);
    Ok(answer.json().await?)
}

pub(crate) async fn log_in(api: &Pipeline, email: &str, password: &str) -> Result<Value> {
    let body = json!({"email": email, "password": password});
    let answer = ask(api, Method::POST, "/auth/login", "", Some(body)).await?;
    anyhow::ensure!(answer.status() == 200, "logging in {email}: {}", answer.text().await?);
    Ok(answer.json().await?)
}

pub(crate) fn text<'v>(value: &'v Value, field: &str) -> Result<&'v str> {
    value[field].as_str().with_context(|| format!("no {field} in {value}"))
}

/// An api with the embedded issuer alone.
pub(crate) async fn embedded() -> Result<(TestDatabase, Pipeline)> {
    let database = TestDatabase::new().await?;
    let options = embedded_settings(Options { with_worker: false, ..Options::new(Via::InProcess) })?;
    let pipeline = Pipeline::start(&database, options).await?;
    Ok((database, pipeline))
}

/// With the embedded issuer alone.
pub(crate) fn embedded_settings(mut options: Options) -> Result<Options> {
    options.api.identity.issuers_file = None;
    options.api.identity.identity_key_file = Some(testbed::people::keys()?);
    Ok(options)
}

/// The same, and its first administrator's access token.
pub(crate) async fn with_admin() -> Result<(TestDatabase, Pipeline, String)> {
    let (database, api) = embedded().await?;
    let password = api::identity::bootstrap::make_admin(&database.database(), "Root@Example.com").await?;
    let tokens = log_in(&api, "root@example.com", &password).await?;
    Ok((database, api, text(&tokens, "access_token")?.to_owned()))
}
