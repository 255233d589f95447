//! Whether mail is sent, by which server or into which folder, and from whom.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use lettre::message::Mailbox;
use runtime::config::seconds;
use url::Url;

use super::post::Post;

/// How mail is sent. Without a server and a folder none is.
#[derive(Debug, Clone, Args)]
pub struct MailSettings {
    /// The server that mail is handed to: `smtps://user@host:465`, or `smtp://user@host:587`, which must offer STARTTLS unless the
    /// URL says `?tls=off`. Without it, and without a folder, no mail is sent
    #[arg(long, env = "SMTP_URL", hide_env_values = true)]
    pub smtp_url: Option<String>,
    /// A file with the password, where the URL has none; read again at each connection
    #[arg(long, env = "SMTP_PASSWORD_FILE", value_name = "FILE")]
    pub smtp_password_file: Option<PathBuf>,
    /// A folder that mails are put into as files `.eml` instead, for trying it out [default of standalone: `mail` below `COMANDA_DATA_DIR`]
    #[arg(long, env = "MAIL_FOLDER", value_name = "DIR")]
    pub mail_folder: Option<PathBuf>,
    /// Who writes, such as `Comanda <orders@example.com>`
    #[arg(long, env = "MAIL_FROM", value_name = "MAILBOX")]
    pub mail_from: Option<String>,
    /// Where the apis are for customers, such as `https://orders.example.com`: mails have links there [default of standalone: its own
    /// address]
    #[arg(long, env = "PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
    /// Connections to the server at once
    #[arg(long, env = "MAIL_CONNECTIONS", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub mail_connections: u16,
    /// How long it may take to hand a mail over, in seconds
    #[arg(long, env = "MAIL_TIMEOUT_SECONDS", default_value = "60", value_parser = seconds)]
    pub mail_timeout: Duration,
    /// How long after each failed try the next one comes, in seconds, a fifth longer at most; after the last one it is parked
    #[arg(long, env = "MAIL_RETRY_SECONDS", default_value = "5,300,1800,7200,18000,36000", value_delimiter = ',', value_parser = seconds)]
    pub mail_retries: Vec<Duration>,
}

/// Where mail goes, and from whom it is.
#[derive(Debug, Clone)]
pub struct Outbox {
    pub(super) post: Arc<Post>,
    pub(super) from: Mailbox,
    /// Below it are the links.
    pub(super) links: Url,
    pub(super) connections: usize,
    pub(super) timeout: Duration,
    pub(super) retries: Vec<Duration>,
}

impl MailSettings {
    /// Whether mail is sent.
    pub fn is_on(&self) -> bool {
        self.server().is_some() || self.mail_folder.is_some()
    }

    /// A variable that is set to nothing is not set.
    fn server(&self) -> Option<&str> {
        self.smtp_url.as_deref().filter(|url| !url.is_empty())
    }

    /// Into a folder, where nothing else is set, with links to this address: for a first look.
    #[must_use]
    pub fn or_into(self, folder: PathBuf, public_url: &str) -> Self {
        let mail_folder = if self.is_on() { self.mail_folder.clone() } else { Some(folder) };
        let mail_from = self.mail_from.or_else(|| Some("Comanda <orders@comanda.example>".to_owned()));
        let public_url = self.public_url.or_else(|| Some(public_url.to_owned()));
        Self { mail_folder, mail_from, public_url, ..self }
    }

    /// Where mail goes; `None`: none is sent. What makes no sense is refused.
    pub fn open(&self) -> Result<Option<Outbox>> {
        if !self.is_on() {
            return Ok(None);
        }
        let from = self.mail_from.as_deref().context("mail is to be sent, and MAIL_FROM is not set")?;
        let from: Mailbox = from.parse().context("MAIL_FROM must be such as Comanda <orders@example.com>")?;
        let links = self.public_url.as_deref().context("mail is to be sent, and PUBLIC_URL is not set")?;
        let links = Url::parse(links).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let links = links.context("PUBLIC_URL must be such as https://orders.example.com")?;
        let post = match (self.server(), &self.mail_folder) {
            (Some(url), None) => {
                Post::to_server(url, self.smtp_password_file.clone(), from.email.domain(), self.mail_timeout)?
            }
            (None, Some(folder)) => {
                std::fs::create_dir_all(folder)
                    .with_context(|| format!("cannot make {} (MAIL_FOLDER)", folder.display()))?;
                Post::Folder(folder.clone())
            }
            _ => bail!("SMTP_URL and MAIL_FOLDER are both set: mail goes to one of them"),
        };
        ensure!(!links.cannot_be_a_base(), "PUBLIC_URL must be such as https://orders.example.com");
        Ok(Some(Outbox {
            post: Arc::new(post),
            from,
            links,
            connections: self.mail_connections.into(),
            timeout: self.mail_timeout,
            retries: self.mail_retries.clone(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> MailSettings {
        MailSettings {
            smtp_url: Some("smtp://ada%40example.com:secret@mail.example.com".to_owned()),
            smtp_password_file: None,
            mail_folder: None,
            mail_from: Some("Comanda <orders@example.com>".to_owned()),
            public_url: Some("https://orders.example.com".to_owned()),
            mail_connections: 4,
            mail_timeout: Duration::from_secs(1),
            mail_retries: Vec::new(),
        }
    }

    #[test]
    fn mail_is_off_unless_it_is_set_and_what_makes_no_sense_is_refused() {
        assert!(settings().open().unwrap().is_some());
        for nothing in [None, Some(String::new())] {
            let off = MailSettings { smtp_url: nothing, ..settings() };
            assert!(off.open().unwrap().is_none());
        }
        let smtp = |url: &str| MailSettings { smtp_url: Some(url.to_owned()), ..settings() };
        let from = |from: &str| MailSettings { mail_from: Some(from.to_owned()), ..settings() };
        for (wrong, named) in [
            (MailSettings { mail_from: None, ..settings() }, "MAIL_FROM"),
            (from("nobody"), "MAIL_FROM"),
            (from("Me <me@example.com>\r\nBcc: eve@example.com"), "MAIL_FROM"),
            (MailSettings { public_url: None, ..settings() }, "PUBLIC_URL"),
            (MailSettings { public_url: Some("orders.example.com".to_owned()), ..settings() }, "PUBLIC_URL"),
            (MailSettings { mail_folder: Some("/tmp".into()), ..settings() }, "MAIL_FOLDER"),
            (smtp("mail.example.com:25"), "SMTP_URL"),
            (smtp("https://mail.example.com"), "SMTP_URL"),
            (smtp("smtps://mail.example.com?tls=off"), "SMTP_URL"),
            (smtp("smtp://mail.example.com?tls=on"), "SMTP_URL"),
            (smtp("smtp://me:%ff@mail.example.com"), "SMTP_URL"),
            (smtp("smtp://:secret@mail.example.com"), "SMTP_URL"),
        ] {
            let error = wrong.open().map(drop).unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
            assert!(!format!("{error:#}").contains("secret"), "{error:#}");
        }
    }
}
