//! A gateway of one's own for each test, and a client that speaks to it.

use std::time::Duration;

use domain::gateway::{Ledger, LedgerSummary};
use domain::money::{Currency, Money};
use gateway_mock::wire::{ChargeReceipt, ChargeRequest};
use gateway_mock::{Faults, GatewayMockConfig};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use runtime::tasks::Stop;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use uuid::Uuid;

/// Waiting for something that must come: only a broken gateway uses it up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// What most charges here take.
pub(crate) const PRICE: Money = Money::from_minor(3_097, Currency::USD);

/// A client, and the address that it asks.
#[derive(Clone)]
pub(crate) struct Asker {
    http: Client,
    pub(crate) addr: String,
}

/// A gateway in this process; it stops when this is dropped.
pub(crate) struct Running {
    pub(crate) ask: Asker,
    stop: Stop,
    task: JoinSet<()>,
}

impl Running {
    /// With these faults, and no journal.
    pub(crate) async fn with(faults: Faults) -> Self {
        Self::to(GatewayMockConfig { faults, ..GatewayMockConfig::default() }).await
    }

    /// With these settings.
    pub(crate) async fn to(config: GatewayMockConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ask = Asker::new(listener.local_addr().unwrap().to_string());
        let stop = Stop::new();
        let mut task = JoinSet::new();
        let gateway = gateway_mock::run(config, listener, stop.clone());
        task.spawn(async move { gateway.await.unwrap() });
        Self { ask, stop, task }
    }

    /// One that answers at once and charges everything.
    pub(crate) async fn calm() -> Self {
        Self::with(Faults::none()).await
    }

    pub(crate) fn stop(&self) {
        self.stop.stop();
    }

    /// Waits for it to have stopped.
    pub(crate) async fn ended(mut self) {
        let ended = tokio::time::timeout(PATIENCE, self.task.join_next()).await;
        ended.expect("it never stopped").unwrap().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

/// Status and body of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Said {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
}

impl Said {
    /// The body read as what it should be.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Fails unless this is a problem with this status and code.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str) {
        let body: Value = self.read();
        assert_eq!((self.status.as_u16(), body["code"].as_str()), (status, Some(code)), "{self:?}");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{self:?}");
    }

    /// The receipt of a 201.
    #[track_caller]
    pub(crate) fn is_charged(&self) -> ChargeReceipt {
        assert_eq!(self.status, StatusCode::CREATED, "{self:?}");
        self.read()
    }
}

impl Asker {
    pub(crate) fn new(addr: String) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // No roots: plain HTTP needs none, and without this line no client is built where no CA bundle is installed.
        let http = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .tls_certs_only([])
            .timeout(PATIENCE)
            .build()
            .unwrap();
        Self { http, addr }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.addr))
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Said {
        self.try_send(request).await.unwrap()
    }

    /// `Err`: there was no answer.
    pub(crate) async fn try_send(&self, request: RequestBuilder) -> reqwest::Result<Said> {
        let response = request.send().await?;
        Ok(Said { status: response.status(), body: response.text().await? })
    }

    pub(crate) fn charge_request(&self, key: &str, reference: Uuid, money: Money) -> RequestBuilder {
        let body = ChargeRequest::new(reference, money);
        self.request(Method::POST, "/v1/charges").header("Idempotency-Key", key).json(&body)
    }

    /// Asks for [`PRICE`] under `key`.
    pub(crate) async fn charge(&self, key: &str) -> Said {
        self.send(self.charge_request(key, Uuid::nil(), PRICE)).await
    }

    pub(crate) async fn look_up(&self, key: &str) -> Said {
        self.send(self.request(Method::GET, &format!("/v1/charges/by-key/{key}"))).await
    }

    pub(crate) async fn void(&self, key: &str) -> Said {
        self.send(self.request(Method::POST, &format!("/v1/charges/by-key/{key}/void"))).await
    }

    /// Fails unless all is taken.
    pub(crate) async fn set(&self, faults: Value) {
        let said = self.send(self.request(Method::PUT, "/v1/faults").json(&faults)).await;
        assert_eq!(said.status, StatusCode::OK, "{said:?}");
    }

    /// Everything fine from now on.
    pub(crate) async fn calm_down(&self) {
        let mut calm = serde_json::to_value(Faults::none()).unwrap();
        calm.as_object_mut().unwrap().remove("seed");
        self.set(calm).await;
    }

    pub(crate) async fn ledger(&self) -> Ledger {
        self.send(self.request(Method::GET, "/v1/ledger")).await.read()
    }

    pub(crate) async fn summary(&self) -> LedgerSummary {
        self.send(self.request(Method::GET, "/v1/ledger/summary")).await.read()
    }

    /// Asks again and again until `done`.
    pub(crate) async fn until(&self, what: &str, done: impl Fn(&LedgerSummary) -> bool) {
        let asking = async { while !done(&self.summary().await) {} };
        tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    /// A charge whose client can hang up: drop the connection.
    pub(crate) async fn half_charge(&self, key: &str) -> TcpStream {
        let body = json!({ "reference": Uuid::nil(), "amount": 5, "currency": "USD" }).to_string();
        let mut stream = TcpStream::connect(&self.addr).await.unwrap();
        let head = format!(
            "POST /v1/charges HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nIdempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        stream
    }
}

/// All that comes until the other side closes.
pub(crate) async fn read_to_end(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let reading = stream.read_to_end(&mut bytes);
    tokio::time::timeout(PATIENCE, reading).await.expect("the gateway never closed").unwrap();
    String::from_utf8(bytes).unwrap()
}
