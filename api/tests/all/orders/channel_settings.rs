//! How a channel speaks, and what it signs with: set by managers, and believed of nobody else.

use std::path::Path;

use anyhow::{Context, Result};
use api::identity::secrets::Secrets;
use base64::Engine as _;
use ring::hmac;
use runtime::tasks::Stop;
use serde_json::{Value, json};
use testbed::{Client, Options, Pipeline, TestDatabase, Via};
use tokio::net::TcpListener;

use crate::api;
use crate::orders::from_channels::{document, post};

/// Asks the internal endpoints of an api over `database` while it is there.
pub(crate) async fn inside<T>(
    database: &TestDatabase,
    client: &Client,
    ask: impl AsyncFnOnce(&Internal<'_>) -> Result<T>,
) -> Result<T> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let internal = Internal { base: format!("http://{}/internal", listener.local_addr()?), client };
    let identity = testbed::people::identity(&database.database())?;
    let router = api::operations::router(&database.database(), &identity);
    let limits = runtime::serve::ServeLimits::default();
    tokio::select! {
        asked = ask(&internal) => asked,
        () = runtime::serve::serve(listener, router, limits, Stop::new()) => anyhow::bail!("nobody told it to stop"),
    }
}

pub(crate) struct Internal<'a> {
    pub(crate) base: String,
    client: &'a Client,
}

impl Internal<'_> {
    pub(crate) async fn put(&self, channel: &str, settings: Value) -> Result<(u16, Value)> {
        let put = self.client.http.put(format!("{}/channels/{channel}", self.base)).json(&settings);
        let answer = put.send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    pub(crate) async fn get(&self, channel: &str) -> Result<(u16, Value)> {
        let answer = self.client.http.get(format!("{}/channels/{channel}", self.base)).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    /// Asks for something below the channels.
    pub(crate) async fn ask(&self, method: reqwest::Method, path: &str) -> Result<(u16, Value)> {
        let ask = self.client.http.request(method, format!("{}/channels/{path}", self.base));
        let answer = ask.send().await?;
        Ok((answer.status().as_u16(), answer.json().await.unwrap_or_default()))
    }

    async fn delete(&self, channel: &str) -> Result<u16> {
        let delete = self.client.http.delete(format!("{}/channels/{channel}", self.base));
        Ok(delete.send().await?.status().as_u16())
    }
}

pub(crate) fn sign(secret: &str, body: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body.as_bytes()).as_ref().to_vec()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn signed(client: &Client, channel: &str, signature: &str, body: &str) -> Result<(u16, Value)> {
    signed_as(client, channel, "x-signature-sha256", signature, body).await
}

/// Posts without a token, with this signature.
pub(crate) async fn signed_as(
    client: &Client,
    channel: &str,
    header: &str,
    signature: &str,
    body: &str,
) -> Result<(u16, Value)> {
    let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?;
    let post = http.post(format!("{}/api/v1/channels/{channel}/orders", client.api));
    let post = post.header("content-type", "application/json").header(header, signature);
    let answer = post.body(body.to_owned()).send().await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

#[tokio::test]
async fn what_is_set_is_shown_but_for_its_secrets_which_lie_sealed() -> Result<()> {
    let (database, pipeline) = api().await?;
    inside(&database, &pipeline.client, async |internal| {
        assert_eq!(internal.get("eats").await?.0, 404, "nothing is set");
        let settings = json!({"dialect": "Plain", "currency": "eur", "unit": "minor", "unique_days": 2,
            "locations": {"their-7": "main"}, "products": "by_plu", "secrets": ["first secret", "second secret"]});
        let (status, set) = internal.put("EATS", settings).await?;
        assert_eq!(status, 200, "{set}");
        for (field, value) in [
            ("channel", json!("eats")),
            ("dialect", json!("plain")),
            ("currency", json!("EUR")),
            ("unit", json!("minor")),
            ("digits", json!(2)),
            ("unique_days", json!(2)),
            ("locations", json!({"their-7": "main"})),
            ("products", json!("by_plu")),
            ("secrets", json!(2)),
            ("signature_header", json!("x-signature-sha256")),
            ("updated_by", json!("staff:max")),
        ] {
            assert_eq!(set[field], value, "{field}");
        }
        assert_eq!(internal.get("eats").await?, (200, set.clone()));
        let sealed: Vec<Vec<u8>> = sqlx::query_scalar("SELECT secrets FROM channels WHERE name = 'eats'")
            .fetch_one(&mut database.connect().await?)
            .await?;
        assert!(sealed.iter().all(|one| !String::from_utf8_lossy(one).contains("secret")));

        // As a whole; secrets alone stay where none are named.
        let (_, again) = internal.put("eats", json!({"dialect": "plain"})).await?;
        assert_eq!(
            (&again["currency"], &again["unit"], &again["secrets"]),
            (&Value::Null, &Value::Null, &json!(2))
        );
        assert_eq!(internal.put("eats", json!({"dialect": "plain", "secrets": []})).await?.1["secrets"], 0);
        for (body, attr, code) in [
            (json!({}), "dialect", "required"),
            (json!({"dialect": "klingon"}), "dialect", "unknown_dialect"),
            (json!({"dialect": "plain", "currency": "XAU"}), "currency", "unknown_currency"),
            (json!({"dialect": "plain", "unit": "dozens"}), "unit", "unknown_unit"),
            (json!({"dialect": "plain", "unit": "minor"}), "digits", "required"),
            (json!({"dialect": "plain", "digits": 2}), "digits", "conflict"),
            (json!({"dialect": "plain", "unit": "minor", "digits": 7}), "digits", "out_of_range"),
            (json!({"dialect": "plain", "unique_days": 0}), "unique_days", "out_of_range"),
            (json!({"dialect": "plain", "products": "all"}), "products", "unknown_products"),
            (json!({"dialect": "plain", "locations": ["main"]}), "locations", "not_an_object"),
            (json!({"dialect": "plain", "secrets": ["a", "long enough"]}), "secrets[0]", "too_short"),
            (
                json!({"dialect": "plain", "secrets": ["12345678", "12345678", "12345678"]}),
                "secrets",
                "not_a_list",
            ),
            (json!({"dialect": "plain", "secret": "12345678"}), "secret", "unknown_field"),
        ] {
            let (status, problem) = internal.put("eats", body.clone()).await?;
            let first = (&problem["errors"][0]["attr"], &problem["errors"][0]["code"]);
            assert_eq!((status, first), (422, (&json!(attr), &json!(code))), "{body}: {problem}");
        }
        assert_eq!((internal.delete("eats").await?, internal.delete("eats").await?), (204, 404));
        assert_eq!(internal.get("eats").await?.0, 404);
        Ok(())
    })
    .await?;
    pipeline.stop().await
}

#[tokio::test]
async fn a_signature_over_the_body_shows_that_the_channel_sent_it_whichever_secret_made_it() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let body = document().to_string();
    let good = hex(&sign("second secret", &body));
    inside(&database, client, async |internal| {
        assert_eq!(signed(client, "eats", &good, &body).await?.0, 401, "nothing is set");
        internal.put("eats", json!({"dialect": "plain"})).await?;
        assert_eq!(signed(client, "eats", &good, &body).await?.0, 401, "it has no secret");
        let settings = json!({"dialect": "plain", "secrets": ["first secret", "second secret"]});
        internal.put("eats", settings.clone()).await?;
        internal.put("other", json!({"dialect": "plain", "secrets": ["another secret"]})).await?;

        let (status, order) = signed(client, "eats", &good, &body).await?;
        assert_eq!((status, &order["channel"]), (202, &json!("eats")), "{order}");
        let first = hex(&sign("first secret", &body));
        assert_eq!(signed(client, "eats", &first, &body).await?, (202, order.clone()), "either secret");
        let base64 = base64::prelude::BASE64_STANDARD.encode(sign("first secret", &body));
        let changed = body.replace("12.99", "0.01");
        for (channel, signature, body) in [
            ("eats", &*base64, &body),
            ("eats", "", &body),
            ("eats", &good[2..], &body),
            ("eats", &good, &changed),
            ("eats", &hex(&sign("another secret", &body)), &body),
            ("other", &good, &body),
        ] {
            let (status, problem) = signed(client, channel, signature, body).await?;
            assert_eq!(status, 401, "{channel} {signature}: {problem}");
        }
        // What is set holds at once.
        internal.put("eats", json!({"dialect": "plain", "secrets": ["first secret"]})).await?;
        assert_eq!(signed(client, "eats", &good, &body).await?.0, 401);
        // Who shows a token needs no signature.
        assert_eq!(post(client, "/channels/eats/orders", &document()).await?, (202, order));
        Ok(())
    })
    .await?;
    pipeline.stop().await
}

/// A document without a currency is meant in the channel's.
#[tokio::test]
async fn an_order_that_names_no_currency_is_in_its_channels() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    inside(&database, client, async |internal| {
        internal.put("eats", json!({"dialect": "plain", "currency": "EUR"})).await?;
        let (status, order) = post(client, "/channels/eats/orders", &document()).await?;
        assert_eq!((status, &order["currency"]), (202, &json!("EUR")));
        let mut francs = document();
        francs["channelOrderId"] = json!("A-2");
        francs["currency"] = json!("CHF");
        assert_eq!(post(client, "/channels/eats/orders", &francs).await?.1["currency"], "CHF");
        Ok(())
    })
    .await?;
    pipeline.stop().await
}

/// Composed or decomposed, in any case: one channel, one order.
#[tokio::test]
async fn a_channel_is_the_same_however_its_name_is_written() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let (status, order) = post(client, "/channels/caf%C3%A9/orders", &document()).await?;
    assert_eq!((status, &order["channel"]), (202, &json!("café")));
    for same in ["CAFE%CC%81", "Cafe%CC%81", "%EF%BD%83af%C3%A9"] {
        assert_eq!(
            post(client, &format!("/channels/{same}/orders"), &document()).await?,
            (202, order.clone())
        );
    }
    let (status, problem) = post(client, "/channels/caf%C3%A9%E2%80%8B/orders", &document()).await?;
    assert_eq!((status, &problem["errors"][0]["code"]), (422, &json!("invisible_character")));
    let listed = client.get("/api/v1/orders?channel=CAFE%CC%81").await?;
    assert_eq!(listed["orders"][0]["id"], order["id"]);
    pipeline.stop().await
}

#[tokio::test]
async fn an_api_that_cannot_open_a_channels_secret_does_not_start() -> Result<()> {
    let database = TestDatabase::new().await?;
    let options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    let pipeline = Pipeline::start(&database, options.clone()).await?;
    inside(&database, &pipeline.client, async |internal| {
        let settings = json!({"dialect": "deliverect", "secrets": ["first secret"], "status_url": "https://example.com/status",
            "status_secret": "what the platform knows"});
        let set = internal.put("eats", settings).await?;
        assert_eq!(set.0, 200);
        Ok(())
    })
    .await?;
    let hooks = format!("{}/api/v1/webhooks", pipeline.client.api);
    let hook = pipeline.client.http.post(hooks).json(&json!({"url": "https://example.com/in"}));
    let hook: Value = hook.send().await?.json().await?;
    pipeline.stop().await?;

    let expect = async |file: Option<&Path>| {
        api::operations::channels::expect_keys(&database.database(), &Secrets::open(file)?).await
    };
    let own = options.api.identity.secrets_key_file.context("a file")?;
    expect(Some(&own)).await?;
    let told = format!("{:#}", expect(None).await.unwrap_err());
    assert!(
        told.contains("channel eats") && told.contains("SECRETS_KEY_FILE") && !told.contains('\n'),
        "{told}"
    );
    let dir = tempfile::tempdir()?;
    let other = dir.path().join("other.keys");
    api::identity::secrets::make(&other)?;
    let told = format!("{:#}", expect(Some(&other)).await.unwrap_err());
    assert!(told.contains("does not have the key"), "{told}");

    // Sealed anew with a newer key, and the older ones forgotten.
    let file = dir.path().join("moved.keys");
    std::fs::copy(&own, &file)?;
    for _ in 0..2 {
        api::identity::secrets::rotate(&file)?;
    }
    assert_eq!(api::operations::channels::reseal(&database.database(), &file).await?, 1);
    expect(Some(&file)).await?;
    assert!(expect(Some(&own)).await.is_err(), "the key that sealed it before opens it no more");
    // Those of webhooks and of platforms, too: with the newest key, and what they were.
    let keys = Secrets::open(Some(&file))?;
    let id = hook["id"].as_str().context("no id")?;
    let webhooks = store::webhooks::list(&mut database.connect().await?, true).await?;
    assert_eq!(webhooks.len(), 2);
    for webhook in webhooks {
        let purpose = api::identity::secrets::webhook(&webhook.id.to_string(), webhook.platform.as_deref());
        let secret = if webhook.id.to_string() == id {
            hook["secret"].as_str()
        } else {
            Some("what the platform knows")
        };
        assert!(webhook.secrets.iter().all(|sealed| keys.is_newest(sealed)));
        assert_eq!(keys.unseal(&purpose, &webhook.secrets[0]).ok().as_deref(), secret);
    }
    Ok(())
}
