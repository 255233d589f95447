//! post: hands mails to the server of the house, or puts them into a folder. A connection is used again for the next mail, and dropped
//! after any fault: what was left half said on it is said to nobody else.
//!
//! What a server says in words is kept nowhere: it may name whom the mail was for.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lettre::Message;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use percent_encoding::percent_decode_str;
use runtime::password::put_into;
use url::Url;

/// Ports of their own, where the URL names none (RFC 8314).
const SMTPS: u16 = 465;
const SUBMISSION: u16 = 587;
/// What a server says that does not know us, though it says it of a mail (RFC 4954): no mail is to blame for that.
const NOT_LET_IN: [u16; 3] = [530, 535, 538];

/// What became of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It was taken.
    Taken,
    /// It was not taken now.
    NotNow(u16),
    /// It was refused for good.
    Refused(u16),
    /// It cannot be a mail, and why.
    Unsendable(&'static str),
    /// Nobody gave an answer, and why: of no mail in particular.
    Fault(&'static str),
}

/// Where mails go.
#[derive(Debug)]
pub(super) enum Post {
    /// To a server.
    Server(Box<Server>),
    /// Into a folder, a file each.
    Folder(PathBuf),
}

/// A server and how to reach it.
pub(super) struct Server {
    host: String,
    port: u16,
    /// As the settings have it, perhaps without its password.
    url: String,
    password_file: Option<PathBuf>,
    /// `None`: in the clear.
    tls: Option<TlsParameters>,
    /// TLS from the first byte, and not after STARTTLS.
    is_wrapped: bool,
    hello: ClientId,
    timeout: Duration,
    idle: Mutex<Vec<AsyncSmtpConnection>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Post {
    /// To the server at `url`, as the one that sends for `domain`.
    pub(super) fn to_server(
        url: &str,
        password_file: Option<PathBuf>,
        domain: &str,
        timeout: Duration,
    ) -> Result<Self> {
        let form = "SMTP_URL must be such as smtps://user@host:465 or smtp://user@host:587";
        let parsed =
            Url::parse(url).ok().filter(|url| matches!(url.scheme(), "smtp" | "smtps")).context(form)?;
        let host = parsed.host_str().filter(|host| !host.is_empty()).context(form)?.to_owned();
        ensure!(matches!(parsed.path(), "" | "/"), "{form}");
        let is_wrapped = parsed.scheme() == "smtps";
        let is_clear = match parsed.query() {
            None => false,
            Some("tls=off") => {
                ensure!(!is_wrapped, "SMTP_URL says both smtps:// and tls=off");
                true
            }
            Some(_) => anyhow::bail!("of TLS SMTP_URL may say tls=off and nothing else"),
        };
        credentials(&put_into(url, password_file.as_deref(), "SMTP_PASSWORD_FILE")?)?;
        let tls = if is_clear {
            None
        } else {
            let tls = TlsParameters::builder(host.trim_matches(['[', ']']).to_owned()).build_rustls();
            Some(tls.context("cannot use TLS: are the system's CA certificates installed?")?)
        };
        Ok(Self::Server(Box::new(Server {
            port: parsed.port().unwrap_or(if is_wrapped { SMTPS } else { SUBMISSION }),
            host: host.trim_matches(['[', ']']).to_owned(),
            url: url.to_owned(),
            password_file,
            tls,
            is_wrapped,
            hello: ClientId::Domain(domain.to_owned()),
            timeout,
            idle: Mutex::new(Vec::new()),
        })))
    }

    /// Hands a mail over that is called `name`.
    pub(super) async fn send(&self, name: &str, mail: &Message) -> Answer {
        match self {
            Self::Server(server) => server.send(mail).await,
            Self::Folder(folder) => put(folder, name, mail).await,
        }
    }
}

/// The same mail again is the same file.
async fn put(folder: &std::path::Path, name: &str, mail: &Message) -> Answer {
    let (new, path) = (folder.join(format!("{name}.new")), folder.join(format!("{name}.eml")));
    let written = async {
        tokio::fs::write(&new, mail.formatted()).await?;
        tokio::fs::rename(&new, &path).await
    };
    match written.await {
        Ok(()) => Answer::Taken,
        Err(_) => Answer::Fault("no_folder"),
    }
}

/// Who we are to the server, if it is to know.
fn credentials(url: &str) -> Result<Option<Credentials>> {
    let url = Url::parse(url).context("SMTP_URL is no URL")?;
    let decoded = |text: &str| {
        let text = percent_decode_str(text)
            .decode_utf8()
            .context("SMTP_URL has a name or password that is no text")?;
        Ok::<_, anyhow::Error>(text.into_owned())
    };
    let password = url.password().map(decoded).transpose()?;
    let user = decoded(url.username())?;
    ensure!(
        user.is_empty() == password.is_none(),
        "SMTP_URL needs both a user and a password, or neither (SMTP_PASSWORD_FILE)"
    );
    Ok(password.map(|password| Credentials::new(user, password)))
}

impl Server {
    async fn send(&self, mail: &Message) -> Answer {
        match tokio::time::timeout(self.timeout, self.try_to_send(mail)).await {
            Ok(answer) => answer,
            // Its connection is dropped with the future.
            Err(_) => Answer::Fault("timeout"),
        }
    }

    async fn try_to_send(&self, mail: &Message) -> Answer {
        let mut connection = match self.idle().await {
            Some(connection) => connection,
            None => match self.connect().await {
                Ok(connection) => connection,
                Err(why) => return Answer::Fault(why),
            },
        };
        match connection.send(mail.envelope(), &mail.formatted()).await {
            Ok(_) => {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                Answer::Taken
            }
            Err(error) => {
                let code = error.status().map(u16::from);
                match code {
                    Some(code) if NOT_LET_IN.contains(&code) => Answer::Fault("not_let_in"),
                    Some(code) if error.is_permanent() => Answer::Refused(code),
                    Some(code) => Answer::NotNow(code),
                    None if error.is_client() => Answer::Unsendable("not_for_this_server"),
                    None if error.is_timeout() => Answer::Fault("timeout"),
                    None => Answer::Fault("broken"),
                }
            }
        }
    }

    /// A connection that still answers.
    async fn idle(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let mut one = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if one.test_connected().await {
                return Some(one);
            }
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, &'static str> {
        let url = put_into(&self.url, self.password_file.as_deref(), "SMTP_PASSWORD_FILE");
        let credentials = url.and_then(|url| credentials(&url)).map_err(|_| "no_password")?;
        let wrapped = self.tls.clone().filter(|_| self.is_wrapped);
        let address = (self.host.as_str(), self.port);
        let connected =
            AsyncSmtpConnection::connect_tokio1(address, Some(self.timeout), &self.hello, wrapped, None)
                .await;
        let mut connection = connected.map_err(|error| match error {
            _ if error.is_tls() => "no_tls",
            _ if error.is_timeout() => "timeout",
            _ if error.status().is_some() => "not_let_in",
            _ => "no_connection",
        })?;
        if let Some(tls) = self.tls.clone().filter(|_| !self.is_wrapped) {
            // Not without: whoever stands in between could take the offer out.
            connection.starttls(tls, &self.hello).await.map_err(|_| "no_tls")?;
        }
        if let Some(credentials) = credentials {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            connection.auth(&mechanisms, &credentials).await.map_err(|_| "not_let_in")?;
        }
        Ok(connection)
    }
}
