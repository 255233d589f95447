//! oidc-provider, started for a test: an issuer that somebody else wrote (tools/oidc), and a browser's part in logging in.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use reqwest::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, RequestBuilder, Response, Url};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use testbed::until;

use super::text;

/// Our api as the issuer knows it, by the algorithm of its tokens.
pub(super) const RS256: &str = "https://orders.example.com/rs256";
pub(super) const ES256: &str = "https://orders.example.com/es256";

const BACK: &str = "http://127.0.0.1/back";
const SECRET: &str = "a-machines-secret-of-these-tests-alone";

/// A running one; it ends with this.
pub(super) struct Oidc {
    folder: tempfile::TempDir,
    port: u16,
    running: Option<Child>,
    http: Client,
}

impl Drop for Oidc {
    fn drop(&mut self) {
        self.end();
    }
}

impl Oidc {
    pub(super) async fn start() -> Result<Self> {
        let http = Client::builder().tls_certs_only([]).no_proxy();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = http.redirect(reqwest::redirect::Policy::none()).build()?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut this = Self { folder: tempfile::tempdir()?, port, running: None, http };
        this.rotate()?;
        this.begin().await?;
        Ok(this)
    }

    fn program(&self, command: &str) -> Result<Command> {
        #[expect(clippy::disallowed_methods, reason = "make oidc says where it is")]
        let issuer = std::env::var("OIDC_ISSUER").context("OIDC_ISSUER is not set: make oidc")?;
        let mut program = Command::new(issuer);
        program.arg(command).arg(self.file("keys.json"));
        program.env("PORT", self.port.to_string()).env("MACHINE_SECRET", SECRET);
        Ok(program)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes new keys, which sign from its next start on; the old ones go on checking.
    pub(super) fn rotate(&self) -> Result<()> {
        ensure!(self.program("keys")?.status()?.success(), "no keys");
        Ok(())
    }

    /// Serves, at the same address as before.
    pub(super) async fn begin(&mut self) -> Result<()> {
        let log = self.file("log");
        let (out, err) = (File::create(&log)?, File::options().append(true).open(&log)?);
        self.running = Some(self.program("serve")?.stdout(out).stderr(err).spawn()?);
        let up = async || {
            let answer = self.http.get(format!("{}/asked", self.issuer())).send().await;
            Ok(answer.ok().filter(|answer| answer.status() == 200).map(drop))
        };
        until("oidc-provider answers", up)
            .await
            .with_context(|| std::fs::read_to_string(&log).unwrap_or_default())
    }

    /// As its machine goes away.
    pub(super) fn end(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.kill();
            let _ = running.wait();
        }
    }

    pub(super) fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Writes the file that names it to an api, which has to ask where its keys are.
    pub(super) fn issuers_file(&self, claims: &Value) -> Result<PathBuf> {
        let issuers = json!([{"issuer": self.issuer(), "audiences": [RS256, ES256], "algorithms": ["RS256", "ES256"],
            "prefix": "oidc:", "claims": claims}]);
        let path: &Path = &self.file("issuers.json");
        std::fs::write(path, issuers.to_string())?;
        Ok(path.to_owned())
    }

    /// How often somebody asked for its keys since it began.
    pub(super) async fn asked(&self) -> Result<u64> {
        let told: Value = self.http.get(format!("{}/asked", self.issuer())).send().await?.json().await?;
        told["asked"].as_u64().context("no number")
    }

    /// An access token of a machine, for our api.
    pub(super) async fn machine(&self, api: &str) -> Result<String> {
        let form = [("grant_type", "client_credentials"), ("scope", "order kitchen"), ("resource", api)];
        let asked = self.http.post(format!("{}/token", self.issuer())).basic_auth("till", Some(SECRET));
        let told: Value = filled(asked, &form).send().await?.json().await?;
        Ok(text(&told, "access_token")?.to_owned())
    }

    /// What somebody gets who logs in on its pages (authorization code flow with PKCE). Without `api` they get in, and their
    /// access token is for the issuer alone.
    pub(super) async fn log_in(&self, who: &str, api: Option<&str>) -> Result<Value> {
        let verifier = "x".repeat(64);
        let challenge = B64.encode(Sha256::digest(&verifier));
        let mut auth = Url::parse(&format!("{}/auth", self.issuer()))?;
        auth.query_pairs_mut()
            .extend_pairs([("client_id", "shop"), ("response_type", "code"), ("redirect_uri", BACK)])
            .extend_pairs([("scope", "openid offline_access order"), ("prompt", "consent")])
            .extend_pairs([
                ("code_challenge_method", "S256"),
                ("code_challenge", challenge.as_str()),
                ("state", "of mine"),
            ])
            .extend_pairs(api.map(|api| ("resource", api)));
        let mut browser = Browser { http: &self.http, cookies: BTreeMap::new(), at: auth };
        let code = browser.code(who).await?;
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", "shop"),
            ("code", code.as_str()),
            ("redirect_uri", BACK),
            ("code_verifier", verifier.as_str()),
        ];
        let answer = filled(self.http.post(format!("{}/token", self.issuer())), &form).send().await?;
        let (status, told) = (answer.status(), answer.json::<Value>().await?);
        ensure!(status == 200, "no tokens: {told}");
        Ok(told)
    }
}

/// A form, as a page sends it.
fn filled(request: RequestBuilder, form: &[(&str, &str)]) -> RequestBuilder {
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
}

/// Goes where it is sent, and keeps cookies.
struct Browser<'o> {
    http: &'o Client,
    cookies: BTreeMap<String, String>,
    at: Url,
}

impl Browser<'_> {
    /// Fills in the pages until the issuer sends it back with a code.
    async fn code(&mut self, who: &str) -> Result<String> {
        for _ in 0..12 {
            let page = self.ask(self.http.get(self.at.clone())).await?;
            if !page.status().is_redirection() {
                let page = page.text().await?;
                let prompt = if page.contains("value=\"login\"") { "login" } else { "consent" };
                let form = [("prompt", prompt), ("login", who), ("password", "any")];
                self.ask(filled(self.http.post(self.at.clone()), &form)).await?;
            }
            if self.at.as_str().starts_with(BACK) {
                let told: BTreeMap<_, _> = self.at.query_pairs().into_owned().collect();
                ensure!(told.get("state").is_some_and(|state| state == "of mine"), "{told:?}");
                return told.get("code").cloned().with_context(|| format!("no code: {told:?}"));
            }
        }
        anyhow::bail!("it never came back from {}", self.at)
    }

    async fn ask(&mut self, request: RequestBuilder) -> Result<Response> {
        let all: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = request.header(COOKIE, all.join("; ")).send().await?;
        ensure!(!answer.status().is_client_error() && !answer.status().is_server_error(), "{answer:?}");
        for set in answer.headers().get_all(SET_COOKIE) {
            let pair = set.to_str()?.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        if let Some(to) = answer.headers().get(LOCATION) {
            self.at = self.at.join(to.to_str()?)?;
        }
        Ok(answer)
    }
}
