//! What the gateway knows us by. It goes into one header and nowhere else. A file is read again when the gateway refuses us:
//! whoever puts a new token there need not restart anybody.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use anyhow::{Context, Result, ensure};
use hyper::header::HeaderValue;

use crate::config::WorkerSettings;

/// The token, as the header `Authorization` has it.
#[derive(Debug)]
pub(super) struct Token {
    header: RwLock<HeaderValue>,
    file: Option<PathBuf>,
}

impl Token {
    /// The token that the settings name, if they name one.
    pub(super) fn of(settings: &WorkerSettings) -> Result<Option<Self>> {
        let (header, file) = match (&settings.gateway_token, &settings.gateway_token_file) {
            (Some(token), _) => (bearer(token.expose()).context("GATEWAY_TOKEN")?, None),
            (None, Some(file)) => {
                let text = std::fs::read_to_string(file).map_err(anyhow::Error::from);
                (in_file(file, text)?, Some(file.clone()))
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(Self { header: RwLock::new(header), file }))
    }

    /// As it is sent.
    pub(super) fn header(&self) -> HeaderValue {
        self.header.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file again, where it stands in one. What cannot be read leaves the token as it is.
    pub(super) async fn read_again(&self) {
        let Some(file) = &self.file else { return };
        let text = tokio::fs::read_to_string(file).await.map_err(anyhow::Error::from);
        match in_file(file, text) {
            Ok(header) => *self.header.write().unwrap_or_else(PoisonError::into_inner) = header,
            Err(error) => tracing::warn!(error = format!("{error:#}"), "the gateway's token stays as it was"),
        }
    }
}

fn in_file(file: &Path, text: Result<String>) -> Result<HeaderValue> {
    text.and_then(|text| bearer(text.trim()))
        .with_context(|| format!("GATEWAY_TOKEN_FILE={}", file.display()))
}

fn bearer(token: &str) -> Result<HeaderValue> {
    ensure!(!token.is_empty(), "the token is empty");
    let is_visible = token.bytes().all(|byte| byte.is_ascii_graphic());
    ensure!(is_visible, "the token holds what no header may: it has visible characters of ASCII alone");
    let mut header = HeaderValue::try_from(format!("Bearer {token}"))?;
    header.set_sensitive(true);
    Ok(header)
}
