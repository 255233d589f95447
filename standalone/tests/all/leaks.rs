//! After a run with people, machines, faults and a worker that is killed: no secret and no card number in any log, any table,
//! any message, or in the gateway's ledger.

use std::collections::HashSet;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};
use testbed::people::{self, of};
use testbed::{CARDS, TestQueue, cards, until};

use crate::processes::Processes;

const PASSWORD: &str = "copper lantern seventy walrus";

/// A run, and what must be seen nowhere.
struct Run {
    processes: Processes,
    secrets: HashSet<String>,
}

impl Run {
    async fn ask(&self, method: Method, path: &str, token: &str, body: Value) -> Result<(u16, Value)> {
        let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?;
        let mut asked =
            http.request(method, format!("{}/api/v1{path}", self.processes.client.api)).json(&body);
        if !token.is_empty() {
            asked = asked.bearer_auth(token);
        }
        let answer = asked.send().await?;
        Ok((answer.status().as_u16(), serde_json::from_str(&answer.text().await?).unwrap_or_default()))
    }

    fn keep(&mut self, answer: &Value, field: &str) -> Result<String> {
        let secret = answer[field].as_str().with_context(|| format!("no {field} in {answer}"))?.to_owned();
        self.secrets.insert(secret.clone());
        Ok(secret)
    }

    /// Nothing of it is in any of these texts.
    fn seen_nowhere(&self, texts: &[(&str, String)]) -> Result<()> {
        for (place, text) in texts {
            ensure!(!text.is_empty(), "{place} is empty: nothing was looked at");
            for secret in &self.secrets {
                // Columns of bytes are shown in hex.
                let bytes: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
                let is_there = text.contains(secret.as_str()) || text.contains(&bytes);
                ensure!(!is_there, "{secret} is in {place}");
            }
            ensure!(cards(text).is_empty(), "{:?} in {place}", cards(text));
        }
        Ok(())
    }

    fn logs(&self) -> [(&'static str, String); 3] {
        let Processes { api, worker, gateway, .. } = &self.processes;
        [
            ("the api's log", api.said()),
            ("the worker's log", worker.said()),
            ("the gateway's log", gateway.said()),
        ]
    }

    /// People and machines come, go, and mistype.
    async fn people(&mut self) -> Result<()> {
        let admin = of("admin:root")?;
        self.secrets.extend([PASSWORD.to_owned(), admin.clone()]);
        let somebody = json!({"email": "maria@example.com", "password": PASSWORD});
        ensure!(self.ask(Method::POST, "/auth/register", "", somebody.clone()).await?.0 == 201);
        let (_, tokens) = self.ask(Method::POST, "/auth/login", "", somebody).await?;
        let (access, refresh) = (self.keep(&tokens, "access_token")?, self.keep(&tokens, "refresh_token")?);
        let (_, next) =
            self.ask(Method::POST, "/auth/refresh", "", json!({"refresh_token": refresh})).await?;
        let (_, next) = (self.keep(&next, "access_token")?, self.keep(&next, "refresh_token")?);
        let (_, machine) = self.ask(Method::POST, "/service-tokens", &admin, json!({"name": "till"})).await?;
        let machine = self.keep(&machine, "token")?;
        // What is secret of it, without its name and its checksum.
        let secret = machine.rsplit('_').next().and_then(|rest| rest.get(..64)).context("a secret")?;
        self.secrets.insert(secret.to_owned());
        ensure!(self.ask(Method::GET, "/auth/me", &machine, Value::Null).await?.0 == 200);
        let wrong = "seventeen purple otters!";
        self.secrets.insert(wrong.to_owned());
        let guess = json!({"email": "maria@example.com", "password": wrong});
        ensure!(self.ask(Method::POST, "/auth/login", "", guess).await?.0 == 401);
        let change = json!({"current_password": PASSWORD, "new_password": wrong});
        ensure!(self.ask(Method::PUT, "/auth/password", &access, change).await?.0 == 204);
        // A copied token: that is told, by the session's name alone.
        for token in [&next, &next, &refresh] {
            self.ask(Method::POST, "/auth/refresh", "", json!({"refresh_token": token})).await?;
        }
        let gone = json!({"refresh_token": next});
        ensure!(self.ask(Method::POST, "/auth/logout", "", gone).await?.0 == 204);
        Ok(())
    }

    /// Cards where none belongs.
    async fn mistakes(&mut self) -> Result<()> {
        let manager = of("manager:max")?;
        self.secrets.insert(manager.clone());
        for card in CARDS {
            self.secrets.insert(card.to_owned());
            let http = &self.processes.client.http;
            let url = format!("{}/api/v1/orders", self.processes.client.api);
            let path: String = card.replace(' ', "%20");
            for asked in [
                http.post(&url).body(format!("{{\"customer_id\":\"a\",\"card\":\"{card}")),
                http.post(&url).body(format!("{{\"customer_id\":7,\"items\":\"{card}\"}}")),
                http.post(&url).body(format!("card={card}")),
                http.get(format!("{url}/{path}")),
                http.get(format!("{url}?card={path}&cursor={path}")),
                http.get(format!("{url}/{path}/history")),
                http.post(&url).header("idempotency-key", format!("{card}\u{e9}")),
                http.post(&url).header("if-match", card).header("cookie", format!("card={card}")),
            ] {
                asked.bearer_auth(&manager).header("content-type", "application/json").send().await?;
            }
            http.get(&url).bearer_auth(card).send().await?;
            http.get(&url).header("authorization", format!("Basic {card}")).send().await?;
            let guess = json!({"email": "maria@example.com", "password": card});
            self.ask(Method::POST, "/auth/login", "", guess).await?;
            let guess = json!({"refresh_token": card, card: card});
            self.ask(Method::POST, "/auth/refresh", "", guess).await?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_no_card_number_is_left_anywhere_after_a_run_with_faults() -> Result<()> {
    let queue = TestQueue::new()?;
    let keys = people::keys()?.display().to_string();
    let issuers = people::issuers_file_beside_another()?.display().to_string();
    let loud = ("LOG_LEVEL", "info,api=trace,worker=trace,gateway_mock=trace,shared=trace,sqlx=debug");
    let (named, token) =
        (("AMQP_QUEUE", queue.config().amqp_queue.as_str()), ("GATEWAY_TOKEN", "hunter2-of-the-gateway"));
    let shown = ("GATEWAY_MOCK_TOKEN", token.1);
    let of_people = [loud, named, ("IDENTITY_KEY_FILE", &*keys), ("ISSUERS_FILE", &*issuers)];
    let processes = Processes::with(&[loud, shown], &[loud, named, token], &of_people).await?;
    let key_file: Value = serde_json::from_str(&std::fs::read_to_string(&keys)?)?;
    let mut run = Run { processes, secrets: HashSet::from([token.1.to_owned()]) };
    for list in ["signing", "secrets"] {
        let key = key_file[list][0]["key"].as_str().context("a key")?;
        run.secrets.insert(key.to_owned());
    }
    run.people().await?;
    run.seen_nowhere(&run.logs())?;
    run.mistakes().await?;
    run.seen_nowhere(&run.logs())?;

    // Orders, while the gateway errs; the worker is killed in the middle, and the next one carries on.
    let manager = of("manager:max")?;
    let client = run.processes.client.clone().with_token(&manager)?;
    client
        .faults(
            json!({"error_rate": 0.2, "timeout_after_rate": 0.1, "malformed_rate": 0.1, "success_rate": 0.8}),
        )
        .await?;
    client.orders(30, 8).await?;
    run.seen_nowhere(&run.logs())?;
    run.processes.worker.signal(Signal::SIGKILL)?;
    run.processes.worker.ended().await?;
    client.no_faults().await?;
    client.orders(10, 4).await?;
    // What lies in the queue now: names of payments.
    let mut consumer = queue.broker().consumer(16).await?;
    let message = format!("{:?}", consumer.next().await?.message);
    consumer.close().await;
    run.seen_nowhere(&[("a message", message)])?;

    let mut conn = run.processes.database.connect().await?;
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'",
    )
    .fetch_all(&mut conn)
    .await?;
    let (mut all, mut filled) = (String::from("tables:"), 0);
    for table in &tables {
        let rows = sqlx::AssertSqlSafe(format!("SELECT string_agg(t::text, E'\\n') FROM {table} t"));
        let rows: Option<String> = sqlx::query_scalar(rows).fetch_one(&mut conn).await?;
        filled += usize::from(rows.is_some());
        all += &rows.unwrap_or_default();
    }
    ensure!(filled >= 6 && tables.len() >= 10, "{filled} of {tables:?}");
    run.seen_nowhere(&[("the tables", all)])?;
    run.seen_nowhere(&run.logs())?;
    let ledger = client
        .http
        .get(format!("{}/v1/ledger", client.gateway))
        .bearer_auth(token.1)
        .send()
        .await?
        .text()
        .await?;
    run.seen_nowhere(&[("the ledger", ledger)])?;
    // The gateway and the api end well; the worker has ended as it was made to.
    until(
        "the api still answers",
        async || Ok((client.get("/ready").await?["broker"] == "up").then_some(())),
    )
    .await?;
    let Processes { api, gateway, .. } = run.processes;
    api.stop().await?;
    gateway.stop().await?;
    queue.delete().await
}

/// What anybody on the machine may read: how the programs were started.
#[tokio::test(flavor = "multi_thread")]
async fn no_list_of_processes_shows_a_secret() -> Result<()> {
    let processes = Processes::with(&[], &[], &[]).await?;
    let own = format!("PPid:\t{}", std::process::id());
    let mut looked = 0;
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        // Only what this test has started: the machine is not ours alone.
        let Ok(status) = std::fs::read_to_string(path.join("status")) else { continue };
        if !status.lines().any(|line| line == own) {
            continue;
        }
        let line = String::from_utf8_lossy(&std::fs::read(path.join("cmdline"))?).replace('\0', " ");
        looked += 1;
        ensure!(!line.contains("://") && !line.to_lowercase().contains("password"), "{line}");
    }
    ensure!(looked >= 3, "the programs were not found");
    processes.client.get("/health").await?;
    processes.stop().await
}
