//! Every route, asked by everybody, for their own order and another's. What comes of it is the table in docs/api.md: a
//! route that is new, or that lets in somebody else, is seen there, or this fails.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testbed::people::{self, of, token_at};
use testbed::{Client, Options, Pipeline, TestDatabase, Via};
use uuid::Uuid;

use super::{PASSWORD, ask, text};

/// Who asks: the column's name, and their token.
fn callers() -> Result<Vec<(&'static str, String)>> {
    Ok(vec![
        ("no token", String::new()),
        ("its customer", of("customer:customer_123")?),
        ("another", of("customer:eve")?),
        ("staff", of("staff:bo")?),
        ("... elsewhere", token_at("mo", "staff", &["airport"])?),
        ("manager", of("manager:max")?),
        ("... elsewhere", token_at("moe", "manager", &["airport"])?),
        ("service", of("service:till")?),
        ("... of the channel", people::of_channel("dishdash")?),
        ("admin", of("admin:root")?),
    ])
}

/// A request that comes to something if it is let in.
struct Asked {
    path: String,
    body: Option<Value>,
}

/// One of its customer's.
fn an_order() -> Value {
    let mut order = Client::an_order();
    order["customer_id"] = json!("x-customer_123");
    order
}

/// Numbers of a day, or of a customer.
fn of_numbers(path: &str) -> String {
    let path = path.replace("{date}", "2026-01-31").replace("{customer}", "x-customer_123");
    let asked = match path.rsplit('/').next() {
        Some("status") => "?job_name=roll_up",
        Some("status-metrics" | "order-metrics" | "revenue") => "?from=2026-01-31&to=2026-01-31",
        _ => "",
    };
    format!("{path}{asked}")
}

/// An api of two issuers, its internal endpoints, and what the requests are about.
struct House {
    database: TestDatabase,
    api: Pipeline,
    internal: String,
    manager: String,
    admin: String,
}

impl House {
    /// An order of its customer's.
    async fn order(&self) -> Result<String> {
        let placed = ask(&self.api, Method::POST, "/orders", &self.manager, Some(an_order())).await?;
        Ok(text(&placed.json().await?, "id")?.to_owned())
    }

    /// The location of those who are elsewhere.
    async fn open_airport(&self) -> Result<()> {
        let airport = json!({"id": "airport", "name": "Airport", "time_zone": "UTC", "currency": "USD"});
        ask(&self.api, Method::POST, "/locations", &self.admin, Some(airport)).await.map(drop)
    }

    /// A document that was refused.
    async fn refused(&self) -> Result<String> {
        let wrong = json!({"channelOrderId": Uuid::now_v7()});
        ask(&self.api, Method::POST, "/channels/dishdash/orders", &self.manager, Some(wrong)).await?;
        let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?;
        let list = http.get(format!("{}/internal/channels/dishdash/refused", self.internal));
        let list: Value = list.bearer_auth(&self.manager).send().await?.json().await?;
        Ok(text(&list["refused"][0], "id")?.to_owned())
    }

    /// What `path` means, filled in. A route that is not named here has no row in the table: give it one.
    async fn request(&self, method: &Method, path: &str) -> Result<Asked> {
        let mut body = None;
        let mut path = path.trim_start_matches("/api/v1").to_owned();
        if path.starts_with("/orders/{id}") {
            path = path.replace("{id}", &self.order().await?);
        }
        if path.starts_with("/catalog") || path.starts_with("/products") || path.starts_with("/categories") {
            return self.of_the_catalogue(method, path).await;
        }
        if path.starts_with("/cart") {
            let fill = json!({"items": Client::an_order()["items"]});
            let order = json!({"customer_id": "x-customer_123"});
            body = (method == Method::PUT).then_some(fill).or((method == Method::POST).then_some(order));
            return Ok(Asked { path, body });
        }
        if path.starts_with("/analytics") {
            self.open_airport().await?;
            self.order().await?;
            testbed::numbers::roll_up(&self.database).await?;
            return Ok(Asked { path: of_numbers(&path), body });
        }
        let email = format!("{}@example.com", Uuid::now_v7());
        let last = path.rsplit('/').next().unwrap_or_default();
        match (method.as_str(), last) {
            (method, "{id}") if path.contains("/refused/") => {
                path = path.replace("{id}", &self.refused().await?).replace("{channel}", "dishdash");
                body = (method == "POST").then(|| json!({}));
            }
            ("POST", "orders") if path == "/orders" => body = Some(an_order()),
            ("POST", "orders") => {
                path = path.replace("{channel}", "dishdash");
                body =
                    Some(json!({"channelOrderId": Uuid::now_v7(), "account": "a", "customer": {"name": "A"},
                    "items": [{"name": "Burger", "plu": "P", "quantity": 1, "price": 12.99}]}));
            }
            ("POST", "reject") => body = Some(json!({"reason": "no bread"})),
            ("POST", "no-show") => body = Some(json!({"refund": true})),
            ("PUT", "status") => body = Some(json!({"status": "PREPARING"})),
            ("POST", "items") => {
                body = Some(json!({"items": Client::an_order()["items"], "payment_reference": "x"}));
            }
            ("POST", "payment") => body = Some(json!({"payment_reference": "x"})),
            ("POST", "register" | "users") => body = Some(json!({"email": email, "password": PASSWORD})),
            // Nobody's: let in, it is told that this is no password, which is 422, or no token.
            ("POST", "login" | "token" | "refresh" | "logout") | ("PUT", "password") => {
                body = Some(json!({}))
            }
            ("POST", "locations") => {
                body = Some(
                    json!({"id": Uuid::now_v7().simple().to_string(), "name": "New", "time_zone": "UTC", "currency": "USD"}),
                );
            }
            (method, "{location}") => {
                if method == "DELETE" {
                    self.open_airport().await?;
                }
                let place = if method == "DELETE" { "airport" } else { "main" };
                path = path.replace("{location}", place);
                body =
                    (method == "PUT").then(|| json!({"name": "Main", "time_zone": "UTC", "currency": "USD"}));
            }
            ("POST", "webhooks") => body = Some(json!({"url": "https://example.com/orders"})),
            (method, last) if path.starts_with("/webhooks/{id}") => {
                let hook = json!({"url": "https://example.com/orders"});
                let made = ask(&self.api, Method::POST, "/webhooks", &self.manager, Some(hook)).await?;
                body = (method == "PATCH" || last == "replay").then(|| json!({}));
                path = path.replace("{id}", text(&made.json().await?, "id")?);
            }
            ("POST", "addresses") => body = Some(json!({"street": "s", "city": "c"})),
            // Nobody's: let in, everybody is told that they have none, which is 404.
            (method, "{address}") => {
                path = path.replace("{address}", &Uuid::now_v7().to_string());
                body = (method == "PUT").then(|| json!({"street": "s", "city": "c"}));
            }
            // Nobody's: the callers are other issuers' people, which is 404.
            (_, "{product}") => path = path.replace("{product}", &Uuid::now_v7().to_string()),
            ("PUT", "mails") => body = Some(json!({"mails": []})),
            // Nobody's: let in, everybody is told that there is no such link, which is 404.
            (_, "{token}") => path = path.replace("{token}", "none"),
            ("PATCH", "me") => body = Some(json!({})),
            ("PATCH", "{id}") => {
                let user = json!({"email": email, "password": PASSWORD});
                let made = ask(&self.api, Method::POST, "/users", &self.admin, Some(user)).await?;
                path = path.replace("{id}", text(&made.json().await?, "id")?);
                body = Some(json!({"active": true}));
            }
            ("POST", "service-tokens") => body = Some(json!({"name": "till"})),
            ("DELETE", "{id}") => {
                let made =
                    ask(&self.api, Method::POST, "/service-tokens", &self.admin, Some(json!({"name": "x"})))
                        .await?;
                path = path.replace("{id}", text(&made.json().await?, "id")?);
            }
            ("GET", "{channel_order_id}") => {
                let order = self.order().await?;
                let number = format!("n-{order}");
                let named = json!({"customer_id": "x-customer_123", "items": Client::an_order()["items"],
                    "channel": "dishdash", "channel_order_id": number});
                ask(&self.api, Method::POST, "/orders", &self.manager, Some(named)).await?;
                path = path.replace("{channel_order_id}", &number);
            }
            (method, "{channel}") => {
                let settings = json!({"dialect": "plain"});
                if method != "PUT" {
                    let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?;
                    let put = http.put(format!("{}/internal/channels/dishdash", self.internal));
                    ensure!(put.bearer_auth(&self.manager).json(&settings).send().await?.status() == 200);
                }
                body = (method == "PUT").then_some(settings);
            }
            ("PUT", "prices") => body = Some(json!({"currency": "EUR", "prices": []})),
            ("GET", _) | ("POST", "accept" | "cancel" | "collect" | "clock" | "stale-orders") => {}
            _ => anyhow::bail!("what does one send to {method} {path}?"),
        }
        Ok(Asked { path: path.replace("{channel}", "dishdash").replace("{name}", "conflict"), body })
    }

    /// The same, of what can be ordered.
    async fn of_the_catalogue(&self, method: &Method, mut path: String) -> Result<Asked> {
        let all = if path.starts_with("/categories") { "/categories" } else { "/products" };
        let new = json!({"name": Uuid::now_v7(), "price": 1});
        let new = if all == "/products" { new } else { json!({"name": new["name"]}) };
        if path.contains("{id}") {
            let made = ask(&self.api, Method::POST, all, &self.manager, Some(new.clone())).await?;
            path = path.replace("{id}", text(&made.json().await?, "id")?);
        }
        let has_body = [Method::POST, Method::PUT, Method::PATCH].contains(method);
        Ok(Asked { path, body: has_body.then_some(new) })
    }

    /// Asks, and says what came of it.
    async fn outcome(&self, method: &Method, pattern: &str, token: &str) -> Result<&'static str> {
        let Asked { path, body } = self.request(method, pattern).await?;
        let base = match (pattern.starts_with("/internal"), pattern.starts_with("/api/v1")) {
            (true, _) => self.internal.clone(),
            (false, true) => format!("{}/api/v1", self.api.client.api),
            (false, false) => self.api.client.api.clone(),
        };
        let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?;
        let mut request = http.request(method.clone(), format!("{base}{path}"));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if let Some(body) = &body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        ensure!(!status.is_server_error() && status != 405, "{method} {pattern}: {}", answer.text().await?);
        Ok(match status {
            StatusCode::UNAUTHORIZED => "401",
            StatusCode::FORBIDDEN => "403",
            StatusCode::NOT_FOUND => "404",
            _ => "yes",
        })
    }
}

/// The routes: the public ones as `openapi.json` has them, and those on the metrics' address.
async fn routes(house: &House) -> Result<Vec<(Method, String)>> {
    let document = house.api.client.get("/openapi.json").await?;
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().context("no paths")? {
        for method in methods.as_object().context("no methods")?.keys() {
            routes.push((Method::from_bytes(method.to_uppercase().as_bytes())?, path.clone()));
        }
    }
    for (method, path) in [
        (Method::GET, "/internal/refunds"),
        (Method::POST, "/internal/sweeps/stale-orders"),
        (Method::GET, "/internal/clock"),
        (Method::POST, "/internal/clock"),
        (Method::GET, "/internal/channels/{channel}"),
        (Method::PUT, "/internal/channels/{channel}"),
        (Method::DELETE, "/internal/channels/{channel}"),
        (Method::GET, "/internal/channels/{channel}/refused"),
        (Method::GET, "/internal/channels/{channel}/refused/{id}"),
        (Method::DELETE, "/internal/channels/{channel}/refused/{id}"),
        (Method::GET, "/internal/channels/{channel}/prices"),
        (Method::PUT, "/internal/channels/{channel}/prices"),
    ] {
        routes.push((method, path.to_owned()));
    }
    Ok(routes)
}

/// What everybody may, as the page shows it.
async fn table(house: &House) -> Result<String> {
    let callers = callers()?;
    let mut table = String::from("| | ");
    table += &callers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" | ");
    let _ = writeln!(table, " |\n|---|{}", "---|".repeat(callers.len()));
    for (method, path) in routes(house).await? {
        let _ = write!(table, "| `{method} {path}` |");
        for (_, token) in &callers {
            let _ = write!(table, " {} |", house.outcome(&method, &path, token).await?);
        }
        table.push('\n');
    }
    Ok(table)
}

/// The table in docs/api.md, between these two lines.
const BEGIN: &str = "<!-- routes x callers: written by api/tests/all/people/routes.rs -->\n";
const END: &str = "<!-- end of routes x callers -->";

#[tokio::test]
async fn what_everybody_may_is_what_the_page_says() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    options.api.identity.identity_key_file = Some(people::keys()?);
    options.api.identity.issuers_file = Some(people::issuers_file_beside_another()?);
    let identity = api::identity::Identity::open(&options.api.identity, &database.database())?;
    let api = Pipeline::start(&database, options).await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let internal = format!("http://{}", listener.local_addr()?);
    let stop = runtime::tasks::Stop::new();
    let limits = runtime::serve::ServeLimits::default();
    let router = api::operations::router(&database.database(), &identity);
    let served = runtime::serve::serve(listener, router, limits, stop.clone());
    let house = House { database, api, internal, manager: of("manager:max")?, admin: of("admin:root")? };
    let walked = async {
        let table = table(&house).await;
        stop.stop();
        table
    };
    let table = tokio::join!(walked, served).0?;
    house.api.stop().await?;

    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md");
    let before = std::fs::read_to_string(&page)?;
    let (head, rest) = before.split_once(BEGIN).context("docs/api.md has no place for the table")?;
    let (shown, tail) = rest.split_once(END).context("the table in docs/api.md has no end")?;
    if std::env::var_os("WRITE_ROUTES").is_some() {
        std::fs::write(&page, format!("{head}{BEGIN}\n{table}\n{END}{tail}"))?;
        return Ok(());
    }
    let say = "docs/api.md says otherwise; if this is meant: WRITE_ROUTES=1 make test ARGS=\"-p api -E 'test(routes)'\"";
    ensure!(shown.trim() == table.trim(), "{say}\n{table}");
    Ok(())
}
